"""Starts a child that reads files behind closed doors, and says what became of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[3]


def child(valid: Path, kind: str, *arguments: object, limit: float = 100) -> dict[str, Any]:
    """Return what the child found; fail, naming the place, where it crashed or hung."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.hostile.child", str(valid), kind, *map(str, arguments)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=limit,
    )  # fmt: skip
    place = valid.with_suffix(".place")
    where = f", at byte and flip {place.read_text()}" if place.exists() else ""
    died = signal.Signals(-done.returncode).name if done.returncode < 0 else done.returncode
    assert done.returncode == 0, f"the child ended with {died}{where}: {done.stderr[-2000:]}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def name_of(make: object) -> str:
    """Return the name of a function as words."""
    return str(getattr(make, "__name__", make)).replace("_", " ")


def refused(found: dict[str, Any], name: str, *errors: str) -> str:
    """Return the one sentence by which a file was refused; fail where anything else happened."""
    outcome = found["outcome"].replace("DamagedCheckpoint", "CheckpointError")
    assert outcome in errors, found
    assert found["opened"] == []
    sentence: str = found["text"]
    assert name in sentence
    assert sentence.isprintable()
    assert len(sentence) < 800
    # Refused before memory was asked for, not because there was none.
    assert "MemoryError" not in sentence
    assert "allocate" not in sentence
    return sentence
