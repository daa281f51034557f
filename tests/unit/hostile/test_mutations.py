"""Every byte of a small file, changed: an error of ours, or what the file holds; never a crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.hostile import valid
from tests.unit.hostile.run import child

FLIPS = "1,128,255"
Write = Callable[[Path], Path]


@pytest.mark.parametrize(
    "every",
    [
        pytest.param(41, id="a sample"),
        pytest.param(1, id="all", marks=[pytest.mark.long, pytest.mark.timeout(300)]),
    ],
)
@pytest.mark.parametrize(
    ("kind", "write", "recommit"),
    [
        ("checkpoint", valid.checkpoint, False),
        # Anyone can write a right record behind anything: then nothing stands before the reader.
        ("checkpoint", valid.checkpoint, True),
        ("data", valid.prepared, False),
        ("data", valid.plain, None),
    ],
    ids=["checkpoint", "checkpoint with a right record", "data", "data without a record"],
)
def test_a_changed_byte(
    tmp_path: Path, kind: str, write: Write, recommit: bool | None, every: int
) -> None:
    path = write(tmp_path / "whole.h5")
    found = child(path, kind, "mutate", FLIPS, 7 % every, every, recommit, limit=290)
    if recommit is None:
        # Without a record no one can tell what the rows were: here only the reader is on trial.
        found["bad"] = [bad for bad in found["bad"] if bad[2] != "read"]
    assert found["bad"] == []
    assert found["opened"] == []
    assert found["counts"].pop("read", 0) < sum(found["counts"].values()) or recommit is not False
    tried = sum(found["counts"].values())
    assert tried > 0
