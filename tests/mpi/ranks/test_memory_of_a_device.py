"""What goes to a device and back on several ranks: nobody writes to memory that is being copied."""

import numpy as np
import pytest

import disttrain
from disttrain.data.writer import write_data_file
from disttrain.training import build as build_module
from disttrain.training.trainer import train_step
from tests.gpu.fake_cupy import Failed, fake_gpu
from tests.gpu.host_cuda import COMPILER
from tests.gpu.stand_in import StandIn

LAYERS = [{"units": 6, "activation": "tanh", "dropout": 0.3}, {"units": 3}]


def write(path):
    draw = np.random.default_rng(0)
    inputs = draw.integers(0, 256, (22, 5), np.uint8)
    write_data_file(path, {"train": (inputs, draw.integers(0, 3, 22))})


def built(comm, made, mode="fast", batch=8, way="auto"):
    return disttrain.build(
        disttrain.Settings.model_validate({
            "data": {"path": str(made("device.h5", write)), "validation_fraction": 0.0},
            "model": {"layers": LAYERS}, "training": {"batch_size": batch},
            "communication": {"sum": way}, "device": {"kind": "gpu"},
            "reproducibility": {"mode": mode, "arithmetic": "leaves"},
        }),
        comm=comm,
    )  # fmt: skip


@pytest.mark.parametrize("batch", [2, 8])
@pytest.mark.parametrize(
    ("mode", "way"), [("fast", "auto"), ("fast", "ring"), ("fast", "allreduce"), ("exact", "auto")]
)
def test_each_copy_is_waited_for(comm, made, monkeypatch, mode, way, batch):
    def trained():
        run = built(comm, made, mode, batch, way)
        # With two rows some of the ranks have none; the last batch is another size.
        totals = [train_step(run, step, 0.05) for step in range(14)]
        run.compare_replicas()
        run.close()
        return totals, run.digest()

    monkeypatch.setattr(build_module, "choose", lambda *_: StandIn())
    assert trained() == trained()


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_a_gpu_that_is_lost_ends_all_ranks_in_one_sentence(comm, made, monkeypatch, mode):
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    with fake_gpu() as device:
        monkeypatch.setattr(build_module, "choose", lambda *_: device)
        run = built(comm, made, mode)
        for step in range(2):
            train_step(run, step, 0.05)

        def lost(*_, **__):
            raise Failed("cudaErrorECCUncorrectable: uncorrectable ECC error encountered")

        if comm.rank == comm.size - 1:
            # From now on each call of CUDA's says so.
            stream, event = device.xp.cuda.Stream, device.xp.cuda.Event
            for kind, name in ((stream, "synchronize"), (event, "synchronize"),
                               (stream, "wait_event")):  # fmt: skip
                monkeypatch.setattr(kind, name, lost)
            monkeypatch.setattr(device.xp.cuda.runtime, "memcpyAsync", lost)
        with pytest.raises(disttrain.DisttrainError) as caught:
            train_step(run, 2, 0.05)
        assert caught.value.exit_code == 5
        said = str(caught.value)
        assert "gpu 0 (none, stands for one) failed (cudaErrorECCUncorrectable" in said
        assert "go on with --resume" in said
        assert "\n" not in said
        monkeypatch.undo()
        run.close()
