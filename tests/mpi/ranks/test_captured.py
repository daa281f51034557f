"""Steps captured on a GPU (a stand-in) on several ranks: the bits of eager ones, and of one."""

import numpy as np
import pytest

import disttrain
from disttrain.comm.alone import Alone
from disttrain.data.writer import write_data_file
from disttrain.training import build as build_module
from disttrain.training.trainer import train_step
from tests.gpu.fake_cupy import fake_gpu, log
from tests.gpu.host_cuda import COMPILER

LAYERS = [
    {"kind": "conv", "filters": 3, "size": 3, "activation": "relu"}, {"kind": "max-pool"},
    {"units": 6, "activation": "tanh", "dropout": 0.3}, {"units": 3},
]  # fmt: skip


def write(path):
    draw = np.random.default_rng(0)
    inputs = draw.integers(0, 256, (72, 6, 6), np.uint8)
    write_data_file(path, {"train": (inputs, draw.integers(0, 3, 72))})


@pytest.fixture
def gpu(comm, monkeypatch):
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    with fake_gpu() as device:
        monkeypatch.setattr(build_module, "choose", lambda *_: device)
        if comm.is_root:
            # The others find its library.
            device.total(device.put(np.zeros(3)))
            device.kernels.average(*[device.put(np.zeros(3, "f4"))] * 2, 0.5)
        comm.share(None)
        yield device


@pytest.mark.parametrize("mode", ["fast", "exact", "exact with batch-norm"])
def test_captured_steps_have_the_bits_of_eager_ones(comm, made, gpu, mode):
    mode, _, batches = mode.partition(" with ")
    layers = [LAYERS[0], {"kind": "batch-norm"}, *LAYERS[1:]] if batches else LAYERS
    settings = disttrain.Settings.model_validate({
        "data": {"path": str(made("captured.h5", write)), "validation_fraction": 0.0},
        "model": {"layers": layers}, "training": {"batch_size": 32},
        "optimizer": {"weight_decay": 0.01}, "device": {"kind": "gpu"},
        "reproducibility": {"mode": mode},
    })  # fmt: skip

    def trained(comm, eager):
        run = disttrain.build(settings, comm=comm)
        if eager:
            run.recordings.why_not = "the test asks for it"
        totals = [train_step(run, step, 0.05) for step in range(6)]
        run.compare_replicas()
        digest = run.digest()
        run.close()
        return totals, digest

    captured = trained(comm, eager=False)
    # On several ranks the sums of batch normalization go through the host.
    assert bool(log.replays) == (not batches or comm.size == 1)
    assert trained(comm, eager=True) == captured
    # One rank alone runs eagerly: as where it has no rows.
    assert trained(comm, eager=comm.rank == comm.size - 1) == captured
    if mode == "exact":
        assert trained(Alone(), eager=False)[1] == captured[1]
