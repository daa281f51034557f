"""The closed doors are closed: a reader that does what none may is caught at it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.hostile.run import child

CAUGHT: dict[str, dict[str, Any]] = {
    "open_another": {"outcome": "read"},
    "unpickle": {"outcome": "not one of ours: ModuleNotFoundError"},
    "take_memory": {"outcome": "not one of ours: MemoryError"},
    "take_time": {"outcome": f"died by {signal.SIGPROF.value}"},
}


@pytest.mark.parametrize("what", CAUGHT)
def test_what_no_reader_may_do(tmp_path: Path, what: str) -> None:
    (tmp_path / "file").write_bytes(b"\x80\x04N.")
    found = child(tmp_path / "file", what, "each", tmp_path / "file")["file"]
    assert CAUGHT[what].items() <= found.items()
    if what == "open_another":
        assert [Path(path).name for path in found["opened"]] == ["child.py"]
