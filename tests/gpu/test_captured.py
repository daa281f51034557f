"""A step as a CUDA graph has the bits of the same step launched by Python, kernel by kernel.

The GPU is a stand-in: the CUDA source runs on the processor, streams and captures are imitated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import disttrain
from disttrain.model import Loss
from disttrain.training.trainer import train_step
from tests.gpu.cases import BATCH, CASES, ROWS, built, drawn, stepped
from tests.gpu.fake_cupy import FakeArray, Refused, log
from tests.gpu.host_cuda import COMPILER

if COMPILER is None:
    pytest.skip("no C++ compiler", allow_module_level=True)


@pytest.mark.parametrize("case", CASES)
def test_a_captured_step_has_the_bits_of_an_eager_one(gpu: Any, tmp_path: Path, case: str) -> None:
    captured, eager = (built(tmp_path, CASES[case]) for _ in range(2))
    eager.recordings.why_not = "the test asks for it"
    assert captured.recordings.in_words == "captured in a CUDA graph"
    totals = stepped(captured)
    # Rows of uint8 lie on the GPU; others come from the host.
    from_host = captured.recordings.of(0)._reading._feed is not None
    assert from_host == (case in ("streamed", "augmented", "streamed passes"))
    # A whole batch of 16 rows and the last one of 8 (of a perceptron: one row): a graph each, which
    # ran once before, launch by launch.
    shapes = 1 if "perceptron" in case else 2
    assert (log.graphs, log.replays) == (shapes, 7 - shapes)
    assert stepped(eager) == totals
    assert (log.graphs, log.replays) == (shapes, 7 - shapes)
    assert captured.digest() == eager.digest()


@pytest.mark.parametrize("case", [
    "dense", "images", "squares", "adamw", "normalized", "batches", "weights", "smoothed", "rates",
    "rates of adamw", "clipped leaves", "passes", "passes of leaves", "perceptron", "numbers",
    "weighed perceptron",
])  # fmt: skip
def test_a_captured_step_computes_what_the_processor_computes(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    settings = CASES[case] | {"dtype": "float64"}
    captured = built(tmp_path, settings)
    totals = stepped(captured)
    monkeypatch.undo()
    plain = built(tmp_path, settings, "cpu")
    for found, wanted in zip(totals, stepped(plain), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10)
    np.testing.assert_allclose(captured.host_values(), plain.host_values(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_a_random_network_has_the_bits_of_an_eager_one(gpu: Any, tmp_path: Path, seed: int) -> None:
    captured, eager = (built(tmp_path, drawn(seed)) for _ in range(2))
    eager.recordings.why_not = "the test asks for it"
    assert stepped(captured) == stepped(eager)
    assert log.replays == 5
    assert captured.digest() == eager.digest()
    scores = [captured.validate().facts() for _ in range(2)]
    assert scores == [eager.validate().facts()] * 2


def test_a_replayed_step_launches_nothing_but_its_graph(gpu: Any, tmp_path: Path) -> None:
    run = built(tmp_path, CASES["images"])
    stepped(run)
    before = log.launches, log.replays
    train_step(run, 7, 0.02)
    assert (log.launches, log.replays) == (before[0], before[1] + 1)


def test_a_loss_that_is_not_finite_leaves_the_weights_alone(gpu: Any, tmp_path: Path) -> None:
    run = built(tmp_path, CASES["dense"])
    stepped(run, 4)
    run.network.values[...] = np.inf
    velocity = run.optimizer.slots["velocity"].copy()
    with pytest.raises(disttrain.Divergence):
        train_step(run, 4, 0.02)
    assert np.array_equal(run.optimizer.slots["velocity"], velocity)


class Halved(Loss):
    """A user's own loss, in another type of numbers than the losses of disttrain."""

    kind = "halved"

    def forward(self, outputs: Any, targets: Any, ctx: Any) -> Any:
        chosen = outputs[np.arange(len(outputs)), targets]
        d = outputs * 0
        d[np.arange(len(outputs)), targets] = -0.5
        return (-0.5 * chosen).astype("f4"), lambda: d


def test_a_loss_of_ones_own_runs_eagerly_and_check_says_so(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = CASES["dense"] | {"dtype": "float64", "own": Halved()}
    run = built(tmp_path, settings)
    assert run.recordings.in_words == "not recorded: the loss Halved has no recorded form"
    totals = stepped(run)
    assert log.graphs == 0
    monkeypatch.undo()
    plain = built(tmp_path, settings, "cpu")
    for found, wanted in zip(totals, stepped(plain), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_allclose(run.host_values(), plain.host_values(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "case", ["images", "batches", "smoothed", "numbers", "streamed", "squares"]
)
def test_a_captured_validation_has_the_bits_of_an_eager_one(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setattr("disttrain.training.evaluation.BLOCK_ROWS", 10)
    captured, eager = (built(tmp_path, CASES[case]) for _ in range(2))
    eager.recordings.why_not = "the test asks for it"
    for run in (captured, eager):
        stepped(run, 3)
    graphs = log.graphs, log.replays
    scores = [captured.validate() for _ in range(3)]
    # Blocks of 10, 10 and 3 rows: the second and the third pass replay both, the first one of them.
    assert (log.graphs - graphs[0], log.replays - graphs[1]) == (2, 7)
    assert eager.validate().facts() == scores[0].facts() == scores[2].facts()
    train_step(captured, 3, 0.5)
    assert captured.validate().loss != scores[0].loss


def test_targets_and_rows_are_copied_to_the_gpu_once(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, sizes = built(tmp_path, CASES["numbers"]), []
    own = gpu.put
    monkeypatch.setattr(gpu, "put", lambda host, *to: sizes.append(host.shape) or own(host, *to))
    stepped(run)
    assert sorted(sizes) == [(40,), (40, 3), (40, 64)]


def test_rows_that_do_not_fit_are_read_on_the_host(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals, own = stepped(built(tmp_path, CASES["passes"])), gpu.put
    # Of 8 ranks on a GPU each may take an eighth of half of what is free.
    monkeypatch.setattr(gpu, "ranks_sharing", lambda ranks: 8)
    needed = 2 * 8 * (ROWS * 64 + ROWS * 8)

    def full(host: Any, *to: Any) -> Any:
        if host.shape == (ROWS, 64):
            raise MemoryError("other programs took it")
        return own(host, *to)

    for free, put, stay in ((needed, own, True), (needed - 1, own, False), (needed, full, False)):
        monkeypatch.setattr(gpu, "free_memory", lambda free=free: free)
        monkeypatch.setattr(gpu, "put", put)
        run = built(tmp_path, CASES["passes"])
        assert stepped(run) == totals
        assert (run.recordings.of(0)._reading._feed is None) == stay


def test_where_cuda_refuses_a_capture_steps_are_launched_one_by_one(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any) -> None:
        raise Refused("the driver is too old")

    straight = built(tmp_path, CASES["dense"])
    totals = stepped(straight)
    monkeypatch.setattr("tests.gpu.fake_cupy.Stream.begin_capture", refuse)
    monkeypatch.setattr("tests.gpu.fake_cupy.Stream.end_capture", refuse)
    run = built(tmp_path, CASES["dense"])
    assert stepped(run) == totals
    assert run.digest() == straight.digest()


def test_a_capture_refuses_memory_and_waiting(gpu: Any) -> None:
    cupy, held = gpu.xp, gpu.put(np.ones(3))
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        for refused in (lambda: gpu.empty((3,), "f4"), lambda: held + held, stream.synchronize,
                        lambda: gpu.get(held), lambda: gpu.put(np.ones(2))):  # fmt: skip
            with pytest.raises(Refused):
                refused()
        stream.end_capture()
    assert isinstance(held, FakeArray)


def test_an_error_of_the_gpu_is_told_to_the_other_ranks(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = built(tmp_path, CASES["leaves"])
    stepped(run, 2)
    sent = []
    own = run.work.reducer.sum_gradients
    monkeypatch.setattr(
        run.work.reducer, "sum_gradients", lambda *given: sent.append(given[1]) or own(*given)
    )
    recording = run.recordings._found[BATCH]

    def fail() -> None:
        raise RuntimeError("an illegal address")

    monkeypatch.setattr(recording._program, "run", fail)
    monkeypatch.setattr("disttrain.training.recorded.step.replaced", lambda _: False)
    with pytest.raises(disttrain.RankFailure, match="an illegal address"):
        train_step(run, 3, 0.02)
    assert sent == [True]
