"""The pieces of a checkpoint: the file that HDF5 would write, and none of its arrays copied."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from disttrain.checkpoint import layout
from disttrain.checkpoint.layout import LARGE, bytes_of
from disttrain.checkpoint.save import written

ATTRIBUTES = {"": {"format": "disttrain-checkpoint", "version": 1, "epoch": 1.5}, "velocity": {}}


def arrays() -> layout.Arrays:
    draw = np.random.default_rng(1)
    return {
        "parameters/a/weight": draw.normal(size=(300, 200)).astype("f4"),
        "parameters/a/bias": draw.normal(size=7),
        "velocity/a/weight": np.asfortranarray(draw.normal(size=(200, 300))),
        "velocity/a/bias": np.zeros((0, 4), "f4"),
        "run_file": np.bytes_(b"a text"),
        "state": np.bytes_(b"longer than any small array" * LARGE),
    }


def test_they_are_the_file_that_hdf5_writes_with_all_arrays_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = b"".join(written(arrays(), ATTRIBUTES))
    # HDF5 itself, given every array.
    monkeypatch.setattr(layout, "_place", lambda needed: None)
    monkeypatch.setattr(layout, "_is_large", lambda array: False)
    assert found == b"".join(written(arrays(), ATTRIBUTES))


def test_without_a_place_for_the_structure_they_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = b"".join(written(arrays(), ATTRIBUTES))
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result([0] * 10))
    assert found == b"".join(written(arrays(), ATTRIBUTES))


def test_arrays_are_pieces_where_they_are_in_memory() -> None:
    given = arrays()
    weight = given["parameters/a/weight"]
    assert any(
        isinstance(piece, memoryview)
        and np.shares_memory(np.frombuffer(piece, "u1"), np.asarray(weight))
        for piece in written(given, ATTRIBUTES)
    )
    assert bytes(bytes_of(given["velocity/a/weight"])) == given["velocity/a/weight"].tobytes()


def test_no_file_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(layout, "PLACE", str(tmp_path))
    written(arrays(), ATTRIBUTES)
    with pytest.raises(TypeError):
        written({"a": np.bytes_(b"text")}, {"": {"key": object()}})
    assert not list(tmp_path.iterdir())
