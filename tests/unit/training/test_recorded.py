"""Recorded steps: the bits of steps that run eagerly, for random networks and settings."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import disttrain
from disttrain.arrays import recording
from disttrain.arrays.recording import Block, Program
from disttrain.comm.alone import Alone
from disttrain.data import ArrayRows, Normalization
from disttrain.model import BatchNorm, Dense, Dropout, Softmax
from disttrain.model.losses import SquaredInUnits
from disttrain.training import Run
from disttrain.training.recorded import step as recorded_step
from disttrain.training.recorded import sums
from disttrain.training.trainer import train_step

ROWS = 45
ACTIVATIONS = "identity", "relu", "leaky-relu", "elu", "gelu", "silu", "tanh", "sigmoid"
OPTIMIZERS: list[dict[str, Any]] = [
    {"kind": "sgd", "form": "classical"},
    {"kind": "sgd", "form": "averaged", "weight_decay": 0.01},
    {"kind": "sgd", "form": "nesterov", "weight_decay": 0.01},
    {"kind": "sgd", "clip_norm": 0.5},
    {"kind": "adam", "weight_decay": 0.01},
    {"kind": "adamw", "weight_decay": 0.01},
]
MODES: list[dict[str, Any]] = [
    {"mode": "fast"},
    {"mode": "exact", "arithmetic": "leaves"},
    {"mode": "exact", "arithmetic": "shared"},
]


def given(
    write_data: Callable[..., str], draw: np.random.Generator, mode: dict[str, Any]
) -> dict[str, Any]:
    """Return settings of a random network on random data, to be trained in this mode.

    Shared products are for dense layers only; other networks have normalization, also of the data:
    a grey image, which is one channel, or go through in several passes. Samples, classes and layers
    may count differently; rows lie in memory or are read from the file.
    """

    def pick(*what: Any) -> Any:
        return what[draw.integers(len(what))]

    outputs, classes = pick(1, 3), pick(True, False)
    outputs = 3 if classes else outputs
    inputs = draw.integers(0, 256, (ROWS, 5, 4), np.uint8)
    if pick(True, False):
        inputs = (inputs / 255 - 0.3).astype(pick("f4", "f8"))
    shared, passes = mode.get("arithmetic") == "shared", pick(1, 1, 3)
    passes = 1 if shared else passes
    targets = draw.integers(0, 3, ROWS) if classes else draw.standard_normal((ROWS, outputs))
    layers: list[dict[str, Any]] = []
    for _ in range(draw.integers(4)):
        if not shared and pick(True, True, False):
            norm = "layer-norm" if passes > 1 else pick("layer-norm", "batch-norm")
            layers.append({"kind": norm, "epsilon": pick(1e-5, 0.1)})
        dense = {
            "units": pick(1, 2, 7, 16, 33),
            "activation": pick(*ACTIVATIONS),
            "dropout": pick(0.0, 0.3),
            "rate": pick(1.0, 0.3),
            "frozen": pick(False, False, True),
        }
        layers.append(dense)
    loss = pick("softmax", "squared") if classes else "squared"
    train = (inputs, targets)
    if pick(True, False):
        train += ((draw.integers(0, 4, ROWS) / 3).astype("f4"),)
    of_classes = {
        "class_weights": pick(None, "balanced", [0.5, 0.0, 2.0]), "label_smoothing": pick(0.0, 0.1),
    }  # fmt: skip
    return {
        "reproducibility": mode,
        "seed": int(draw.integers(100)),
        "data": {
            "path": write_data(f"{draw.integers(1 << 60)}.h5", train=train),
            "validation_fraction": 0.0,
            "normalize": pick("auto", "auto", "range"),
            "memory": pick("auto", "stream"),
            "block_rows": pick(2, 7, 1024),
        },
        "model": {
            "layers": [*layers, {"units": outputs}],
            "loss": loss,
            "dtype": pick("float32", "float64"),
            "input_dropout": pick(0.0, 0.1),
        },
        "training": {"batch_size": pick(2, 8, 16, 32, 43, 44, 45), "accumulate": passes}
        | (of_classes if loss == "softmax" else {}),
        "schedule": {"learning_rate": 0.001},
        "device": {"kind": "cpu"},
    }


def made(settings: dict[str, Any]) -> Run:
    return disttrain.build(disttrain.Settings.model_validate(settings), comm=Alone())


def trained(settings: dict[str, Any], eager: bool) -> tuple[Any, ...]:
    """Return all that seven steps leave behind, and how many shapes were recorded."""
    run = made(settings)
    if eager:
        run.recordings.why_not = "the test asks for it"
    totals = [train_step(run, step, 0.001) for step in range(7)]
    recorded = [run.recordings.of(step) is not None for step in range(7)]
    run.state.step = 7
    score = run.score(run.dataset.splits["train"], "scoring")
    judged = run.recordings.judgement(run.dataset.splits["train"], ROWS) is not None
    vectors = [vector.tobytes() for vector in run.optimizer.vectors.values()]
    left = vectors, run.optimizer.checksum_read, score, score.metrics
    return totals, left, sum(recorded), judged


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.get("arithmetic", "fast"))
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: "-".join(map(str, o.values())))
def test_replays_have_the_bits_of_eager_steps(
    write_data: Callable[..., str], mode: dict[str, Any], optimizer: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    draw = np.random.default_rng(OPTIMIZERS.index(optimizer) * 10 + MODES.index(mode))
    for trial in range(6):
        # Leaves one after another, or some side by side, as where there are many weights.
        monkeypatch.setattr(sums, "CACHE", trial % 2 << 30)
        monkeypatch.setattr(sums, "TOGETHER", 16)
        # Read at once, or pass by pass, as where there are many rows.
        monkeypatch.setattr(recorded_step, "PIECE_ROWS", 4 if trial > 3 else 8192)
        settings = given(write_data, draw, mode) | {"optimizer": optimizer}
        replayed, eager = trained(settings, eager=False), trained(settings, eager=True)
        assert replayed[:2] == eager[:2], settings
        assert eager[2:] == (0, False)
        assert replayed[2:] == (7, True), settings


def test_outputs_with_units_of_their_own(write_data: Callable[..., str]) -> None:
    draw = np.random.default_rng(3)
    targets = draw.standard_normal((ROWS, 3)) * [1, 10, 100]
    settings = given(write_data, draw, MODES[2])
    settings["data"]["path"] = write_data(train=(draw.standard_normal((ROWS, 4)), targets))
    settings["model"] |= {"layers": [{"units": 9, "activation": "tanh"}, {"units": 3}]}
    settings["model"]["loss"], settings["training"] = "squared", {"batch_size": 16}
    settings["data"]["normalize"] = "auto"
    assert type(made(settings).loss) is SquaredInUnits
    replayed, eager = trained(settings, eager=False), trained(settings, eager=True)
    assert replayed[:2] == eager[:2]
    assert replayed[2:] == (7, True)


def test_a_recording_takes_no_copy_of_the_targets(write_data: Callable[..., str]) -> None:
    """It reads those of the split: also what a callback writes there, as an eager step does."""
    draw, many = np.random.default_rng(6), 20_000
    settings = given(write_data, draw, MODES[0])
    train = draw.standard_normal((many, 2)), draw.standard_normal((many, 50)) * 3 + 1
    settings["data"] = {"path": write_data(train=train), "validation_fraction": 0.0}
    settings["model"], settings["training"] = {"layers": [{"units": 50}]}, {"batch_size": 16}
    digests = []
    for eager in (False, True):
        run = made(settings)
        if eager:
            run.recordings.why_not = "the test asks for it"
        split = run.dataset.splits["train"]
        tracemalloc.start()
        train_step(run, 0, 0.1)
        judgement = run.recordings.judgement(split, 64)
        assert tracemalloc.get_traced_memory()[1] < split.targets.nbytes / 4
        tracemalloc.stop()
        assert bool(judgement) is not eager
        split.targets[:] = -split.targets
        train_step(run, 1, 0.1)
        digests.append(run.digest())
    assert digests[0] == digests[1]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.get("arithmetic", "fast"))
@pytest.mark.parametrize("batch", [1, 16])
def test_the_perceptrons_rule(
    write_data: Callable[..., str], mode: dict[str, Any], batch: int
) -> None:
    draw = np.random.default_rng(5)
    settings = given(write_data, draw, mode)
    train = draw.standard_normal((ROWS, 4)), draw.integers(0, 2, ROWS)
    settings["data"]["path"] = write_data(train=train)
    settings["training"] = {"batch_size": batch}
    settings["model"] = {
        "layers": [{"units": 1, "activation": "sign"}], "loss": "perceptron",
        "dtype": "float32" if batch == 1 else "float64",
    }  # fmt: skip
    replayed, eager = trained(settings, eager=False), trained(settings, eager=True)
    assert replayed[:2] == eager[:2]
    assert replayed[2:] == (7, True)


@pytest.mark.parametrize("mode", MODES[:2], ids=["fast", "leaves"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normalization_of_images(
    write_data: Callable[..., str], mode: dict[str, Any], dtype: str
) -> None:
    """Many pixels, and few channels whose numbers are of very different sizes: order tells."""
    draw = np.random.default_rng(4)
    inputs = draw.integers(0, 256, (ROWS, 15, 14, 3), np.uint8)
    settings = given(write_data, draw, mode)
    settings["data"]["path"] = write_data(train=(inputs, draw.integers(0, 3, ROWS)))
    settings["training"] = {"batch_size": 43}
    norm, conv = {"kind": "batch-norm", "momentum": 0.3}, {"kind": "conv", "filters": 5}
    one = conv | {"filters": 1, "activation": "elu"}
    settings["model"] = {"dtype": dtype, "layers": [
        norm, conv | {"activation": "gelu"}, {"kind": "layer-norm"}, one, norm,
        {"kind": "max-pool"}, {"kind": "flatten"}, {"units": 3},
    ]}  # fmt: skip
    replayed, eager = trained(settings, eager=False), trained(settings, eager=True)
    assert replayed[:2] == eager[:2]
    assert replayed[2:] == (7, True)


def test_a_norm_is_added_as_by_fsum() -> None:
    draw = np.random.default_rng(2)
    ties = [[1, 2**-53, 2**-106], [1, 2**-53], [2**53, 1, 2**-60], [1 + 2**-52, 2**-53], [0, 0]]
    wide = [(10.0 ** draw.uniform(-200, 200, 50)).tolist() for _ in range(50)]
    beyond = [[1e308] * 20, [1.0, np.inf], [np.nan]]
    for numbers in [*beyond, *ties, *wide]:
        sums, block = np.array(numbers, "f8"), Block(divisor=3.0)
        norm = math.nan if numbers in beyond else math.sqrt(math.fsum(sums)) / 3
        limit = 0.7 * norm if norm > 0 else 1.0
        program = Program("float32")
        program.note("clip", (sums,), (len(sums),), (limit,))
        program.replay(block)
        want = min(1.0, limit / (norm + 1e-6)) / 3 if math.isfinite(norm) else math.nan
        np.testing.assert_equal(block.inverse, want)


def test_rows_that_do_not_lie_in_one_run(build: Callable[..., Run]) -> None:
    """Slices of an array: as of a user's own."""
    wide = np.random.default_rng(1).integers(0, 256, (200, 8), np.uint8)
    digests = []
    for array in (wide[:, ::2], wide[:, ::2].copy()):
        run = build()
        split = run.dataset.splits["train"]
        split = replace(split, rows=ArrayRows(array[: split.count]))
        run.dataset.splits["train"] = run.work.batches._split = split
        run = replace(run, normalization=Normalization("none", 255.0, np.zeros(4), np.ones(4)))
        for step in range(3):
            train_step(run, step, 0.1)
        assert run.recordings.of(0)
        digests.append(run.digest())
    assert digests[0] == digests[1]


class Mine(Dense):
    """A layer of a user's own, although it does nothing else."""


class Other(Softmax):
    """The same for a loss."""


def test_what_a_user_wrote_runs_eagerly_and_is_named(build: Callable[..., Run]) -> None:
    assert build().recordings.why_not == ""
    layers = build(layers=[Dense(3), Mine(3)]).recordings.why_not
    assert layers == "dense2 (Mine) is not a layer of disttrain's own"
    assert build(loss=Other()).recordings.why_not == "the loss Other has no recorded form"


def test_a_method_that_was_replaced_is_called(
    build: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = build()
    train_step(run, 0, 0.1)
    assert run.recordings.of(1)
    called = []

    def forward(*arguments: Any) -> Any:
        called.append(1)
        return Softmax.forward(run.loss, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(run.loss, "forward", forward)
    train_step(run, 1, 0.1)
    assert called
    monkeypatch.undo()
    assert run.recordings.of(2)


def test_what_a_callback_changes_in_a_layer_holds_from_then_on(build: Callable[..., Run]) -> None:
    found = []
    for eager in (False, True):
        layers = [BatchNorm(), Dense(8), Dropout(0.5), Dense(3)]
        run = build("training.label_smoothing=0.1", layers=layers)
        if eager:
            run.recordings.why_not = "the test asks for it"
        for step in range(6):
            if step == 3:
                layers[0].momentum, layers[2].rate = 0.5, 0.0  # type: ignore[attr-defined]
                run.loss.class_weights = np.array([1.0, 2.0, 3.0])  # type: ignore[attr-defined]
            if step == 4:
                run.loss.class_weights = np.array([3.0, 2.0, 1.0])  # type: ignore[attr-defined]
            train_step(run, step, 0.1)
            assert (run.recordings.of(step) is None) is eager
        found.append((run.digest(), run.score(run.dataset.splits["train"], "scoring")))
    assert found[0] == found[1]


def test_without_the_blas_of_numpy_steps_run_eagerly(
    build: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.why_no_recordings.cache_clear()
    monkeypatch.setattr(recording, "blas_function", lambda name: None)
    run = build()
    assert run.recordings.why_not == "the BLAS of numpy was not found"
    recording.why_no_recordings.cache_clear()
    assert train_step(run, 0, 0.1).samples == 16


def test_a_loss_that_is_not_finite_changes_nothing(
    build: Callable[..., Run],
) -> None:
    run = build()
    run.network.values[:] = np.nan
    before = run.optimizer.slots["velocity"].copy()
    with pytest.raises(disttrain.Divergence, match="the loss is nan at step 0"):
        train_step(run, 0, 0.1)
    assert run.recordings.of(0)
    np.testing.assert_array_equal(run.optimizer.slots["velocity"], before)
