"""Turns, kernels and steps are measured as they say: by their calls, not by their times."""

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pytest

from disttrain.bench import kernels, step
from disttrain.bench.turns import in_turns
from disttrain.comm.alone import Alone
from disttrain.config import Settings, from_keywords
from disttrain.errors import UsageError
from tests.cli.shell import blobs

ROOT = Path(__file__).parents[3]


def test_every_way_has_its_turn_in_each_round_after_it_was_prepared() -> None:
    said: list[str] = []
    ways = {name: lambda name=name: said.append(name) for name in "ab"}
    found = in_turns(Alone(), ways, 2, prepare=lambda name: said.append(f"prepare {name}"))
    assert said == ["prepare a", "a", "prepare b", "b"] * 3
    assert list(found) == ["a", "b"]


def test_the_first_round_does_not_count_and_the_median_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0, 100, 0, 1, 0, 2, 0, 9])
    monkeypatch.setattr("disttrain.bench.turns.time.perf_counter", lambda: next(clock))
    assert in_turns(Alone(), {"a": lambda: None}, 3) == {"a": 2}


def test_the_kernels_are_built_by_the_flags_of_an_installation() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    modules = project["tool"]["setuptools"]["ext-modules"]
    assert modules[0]["extra-compile-args"] == list(kernels.FLAGS)


def test_what_a_kernel_is_said_to_move_is_what_it_reads_and_writes() -> None:
    said = {name: moved for name, (moved, _) in kernels.calls("float32").items()}
    activations, parameters = 4 * 128 * 800, 4 * 636_010
    assert said["activate"] == 2 * activations
    assert said["momentum nesterov"] == 5 * parameters
    assert said["gather"] == 128 * 784 * (1 + 4)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = str(blobs(tmp_path / "blobs.h5"))
    layers = [{"units": 8, "activation": "relu"}, {"units": 3}]
    return from_keywords(None, {"path": path, "layers": layers, "batch_size": 16})


def test_a_step_is_measured_with_its_products_and_its_share(settings: Settings) -> None:
    found = step.measure(settings, Alone(), quick=True)
    assert (found.ranks, found.hosts, found.rows, found.way) == (1, 1, 16, "none")
    assert found.floor is not None
    assert min(found.floor, found.compute) > 0
    assert dataclasses.replace(found, step=found.compute / 2).waiting == 0


def test_measuring_changes_no_weight(settings: Settings) -> None:
    run = step.ready(settings, Alone())
    before = run.host_values().copy()
    one = step.loop(run)
    for _ in range(3):
        one()
    np.testing.assert_array_equal(run.host_values(), before)


def test_compute_is_measured_for_each_number_of_rows(settings: Settings) -> None:
    assert list(step.compute_times(settings, [1, 8, 100], quick=True)) == [1, 8, 100]


def test_a_protocol_without_a_batch_size_is_refused(settings: Settings) -> None:
    batch = settings.replace(training={"protocol": "batch"})
    with pytest.raises(UsageError, match="has no batch size to divide"):
        step.compute_times(batch, [4])


def test_the_products_are_those_of_the_step(settings: Settings) -> None:
    """Their inputs and outputs have the shapes of the network's layers."""
    run = step.ready(settings, Alone())
    calls: list[tuple[tuple[int, ...], ...]] = []
    dot = np.dot

    def counted(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        calls.append((a.shape, b.shape))
        return dot(a, b, out=out)

    products = step.products_of_share(run, 16)
    assert products is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "dot", counted)
        products()
    forward = [((16, 5), (5, 8)), ((16, 8), (8, 3))]
    backward = [((3, 16), (16, 8)), ((16, 3), (3, 8)), ((8, 16), (16, 5))]
    assert calls == forward + backward
