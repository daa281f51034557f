"""Every byte of a small file, changed: an error of ours, or what the file holds; never a crash."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.unit.hostile import valid
from tests.unit.hostile.run import child

FLIPS = "1,128,255"
SAMPLE = pytest.param(97, id="a sample")
ALL = pytest.param(1, id="all", marks=[pytest.mark.long, pytest.mark.timeout(600)])


def mutated(
    folder: Path, write: Callable[[Path], Path], kind: str, every: int, sign: str = ""
) -> tuple[dict[str, int], list[Any]]:
    """Return how often each outcome was, and those that must not be, over all changed bytes."""

    children = 2 if every == 1 else 1
    paths = [write(folder / f"{number}.h5") for number in range(children)]
    step = every * children

    def part(number: int) -> dict[str, Any]:
        first = number * every
        return child(paths[number], kind, "mutate", FLIPS, first, step, sign, limit=500)

    with ThreadPoolExecutor(children) as pool:
        parts = list(pool.map(part, range(children)))
    assert [part["opened"] for part in parts] == [[]] * children
    counts: dict[str, int] = {}
    for part_of in parts:
        for word, count in part_of["counts"].items():
            counts[word] = counts.get(word, 0) + count
    return counts, [bad for part_of in parts for bad in part_of["bad"]]


@pytest.mark.parametrize("every", [SAMPLE, ALL])
def test_a_checkpoint(tmp_path: Path, every: int) -> None:
    counts, bad = mutated(tmp_path, valid.checkpoint, "checkpoint", every)
    assert bad == []
    assert set(counts) == {"DamagedCheckpoint"}


@pytest.mark.parametrize("sign", ["anew", "first"])
@pytest.mark.parametrize("every", [SAMPLE, ALL])
def test_a_checkpoint_that_is_signed_again(tmp_path: Path, every: int, sign: str) -> None:
    """Anyone can write a right record: then nothing stands before the reader of what is inside."""
    counts, bad = mutated(tmp_path, valid.checkpoint, "checkpoint", every, sign)
    assert bad == []
    ours = {"CheckpointError", "DamagedCheckpoint", "RunFileError"}
    assert {"CheckpointError", "read"} <= set(counts) <= {*ours, "read"}


@pytest.mark.parametrize("every", [SAMPLE, ALL])
def test_a_prepared_data_file(tmp_path: Path, every: int) -> None:
    counts, bad = mutated(tmp_path, valid.prepared, "data", every)
    assert bad == []
    # A record that is no longer seen as one leaves the data as they are.
    assert set(counts) <= {"DataError", "read"}
    assert counts.get("read", 0) <= 3 * len(b"disttrain-blocks")
