"""Tiles of a small product: as many in a call as change no bits on the shapes of a run."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from disttrain.data import Leaves
from disttrain.model import Dense
from disttrain.model.passes import times
from disttrain.training import Run
from disttrain.training.exact import tiles
from disttrain.training.reducers import Plan

PLAN = Plan(False, 12, True, (12, 12))
Build = Callable[..., Run]


@pytest.fixture
def found(build: Build) -> Callable[[Plan], int]:
    run = build("reproducibility.mode=exact", layers=[Dense(40, "relu"), Dense(3)])
    return lambda plan: tiles.tiles_at_once(run, [130, 58], Leaves(0, 1, 8, False, 12), plan)


@pytest.mark.parametrize(("most", "want"), [(1, 1), (3, 2), (10, 8), (100, 16)])
def test_as_many_are_taken_as_have_the_bits_of_one_by_one(
    found: Callable[[Plan], int], monkeypatch: pytest.MonkeyPatch, most: int, want: int
) -> None:
    def other(dot: Any, rows: Any, matrix: Any, out: Any, tile: int, at_once: int) -> Any:
        times(dot, rows, matrix, out, tile)
        if at_once > most and len(rows) == 58:  # in one of the shapes
            out[-1, -1] = np.nextafter(out[-1, -1], 9, dtype=out.dtype)
        return out

    monkeypatch.setattr(tiles, "times", other)
    assert found(PLAN) == want


def test_without_tiles_there_is_nothing_to_find(
    found: Callable[[Plan], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "small", None)
    assert found(PLAN._replace(tiled=False)) == 1


def test_a_call_has_so_many_tiles() -> None:
    seen = []

    def dot(a: Any, b: Any, out: Any) -> None:
        seen.append(len(a))
        np.dot(a, b, out=out)

    rows, matrix = np.ones((58, 5)), np.ones((5, 3))
    out = times(dot, rows, matrix, np.empty((58, 3)), 12, 2)
    assert seen == [24, 24, 10]
    np.testing.assert_array_equal(out, 5)
    seen.clear()
    times(dot, rows[:46], matrix, np.empty((46, 3)), 12, 2)
    assert seen == [24, 12, 10], "rows behind the last whole tile are in a call of their own"


def test_a_run_computes_so_many_at_once(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found reaches the passes of a run."""
    monkeypatch.setattr("disttrain.training.work.tiles_at_once", lambda *_: 4)
    run = build("reproducibility.mode=exact", "reproducibility.arithmetic=shared")
    piece = run.work.batches.division.parts(16)[0]
    assert run.work.reducer.open(0, piece).tiles == 4
