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

CONV = {"kind": "conv", "filters": 3, "size": 3, "activation": "relu"}
WIDE = {"units": 6, "activation": "tanh", "dropout": 0.3, "rate": 0.5}
LAYERS = [CONV, {"kind": "max-pool"}, WIDE, {"units": 3}]
BATCHES = [CONV, {"kind": "batch-norm"}, *LAYERS[1:3], {"kind": "batch-norm"}, LAYERS[3]]
PARTS = {
    "layers": (LAYERS, BATCHES),
    "training": ({}, {"label_smoothing": 0.1}, {"class_weights": [1, 2, 0.5]}),
    "optimizer": ({}, {"kind": "adamw"}, {"clip_norm": 0.05}, {"form": "nesterov"}),
    "mode": ("fast", "exact"),
    "accumulate": (1, 3),
    "weights": (False, True),
}


def drawn(seed):
    """Return settings of a run, drawn from all of these."""
    draw = np.random.default_rng(seed)
    return {name: some[draw.integers(len(some))] for name, some in PARTS.items()}


PLAIN = {name: some[0] for name, some in PARTS.items()}
CASES = [PLAIN | {"mode": "exact"}, PLAIN | {"layers": BATCHES, "mode": "exact"},
         PLAIN | {"layers": BATCHES, "optimizer": {"clip_norm": 0.05}}]  # fmt: skip
NAMES = [
    "exact",
    "exact with batch-norm",
    "clipped with batch-norm",
    *map("drawn {}".format, range(6)),
]


def write(path):
    draw = np.random.default_rng(0)
    inputs = draw.integers(0, 256, (72, 6, 6), np.uint8)
    splits = {"train": (inputs, draw.integers(0, 3, 72)),
              "validation": (inputs[:9], draw.integers(0, 3, 9))}  # fmt: skip
    weights = {name: draw.random(len(rows)) for name, (rows, _) in splits.items()}
    write_data_file(path, splits, weights=weights if "weights" in path.name else None)


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


@pytest.mark.parametrize("case", [*CASES, *map(drawn, range(6))], ids=NAMES)
def test_captured_steps_have_the_bits_of_eager_ones(comm, made, gpu, case):
    path = made("captured-weights.h5" if case["weights"] else "captured.h5", write)
    # A batch that layers take statistics of is not cut.
    passes = 1 if case["layers"] is BATCHES else case["accumulate"]
    mode = case["mode"]
    settings = disttrain.Settings.model_validate({
        "data": {"path": str(path)}, "model": {"layers": case["layers"]},
        "training": {"batch_size": 32, "accumulate": passes, **case["training"]},
        "optimizer": {"weight_decay": 0.01, **case["optimizer"]}, "device": {"kind": "gpu"},
        "reproducibility": {"mode": mode},
    })  # fmt: skip

    def trained(comm, eager):
        run = disttrain.build(settings, comm=comm)
        if eager:
            run.recordings.why_not = "the test asks for it"
        totals = [train_step(run, step, 0.05) for step in range(6)]
        scores = [run.validate().facts() for _ in range(2)]
        run.compare_replicas()
        digest = run.digest()
        run.close()
        return totals, scores, digest

    captured = trained(comm, eager=False)
    assert log.replays
    before = log.replays
    assert trained(comm, eager=True) == captured
    assert log.replays == before
    # One rank alone runs eagerly: as where it has no rows.
    assert trained(comm, eager=comm.rank == comm.size - 1) == captured
    if mode == "exact":
        assert trained(Alone(), eager=False)[1:] == captured[1:]
