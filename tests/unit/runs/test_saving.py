"""The files of one save: what is left where the second of them can't be written at once."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.checkpoint import Snapshot, all_checkpoints, load
from disttrain.errors import CheckpointError
from disttrain.runs import saving


def snapshot(step: int) -> Snapshot:
    plain = {"kind": "none", "divisor": 1.0, "mean": np.zeros(2), "deviation": np.ones(2)}
    return Snapshot(step, 1.0, "x", {"a/w": np.full((300, 300), step, "f4")}, {}, plain)


def save(folder: Path, step: int) -> None:
    nothing = (lambda: None,) * 3
    saving.write_files(snapshot(step), folder / "checkpoints", 1, folder / "best.h5", *nothing)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("number", "room"), [(errno.ENOSPC, 1), (errno.EDQUOT, 1),
                                              (errno.ENOSPC, 0), (errno.EIO, 1)])  # fmt: skip
def test_a_best_without_room_beside_the_older_checkpoint_is_written_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, room: int
) -> None:
    """The disk holds `room` checkpoints and the best one; EIO is a fault whatever the room."""
    save(tmp_path, 1)
    real, delete, failed = os.fsync, saving.delete_older, threading.Event()

    def fsync(file: int) -> None:
        path = os.readlink(f"/proc/self/fd/{file}")
        if ".best" in path and len(all_checkpoints(tmp_path / "checkpoints")) > room:
            failed.set()
            raise OSError(number, os.strerror(number))
        real(file)

    def delete_older(*args: Any) -> None:
        assert failed.wait(20)
        delete(*args)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(saving, "delete_older", delete_older)
    mended = room == 1 and number != errno.EIO
    if mended:
        save(tmp_path, 2)
    else:
        with pytest.raises(CheckpointError, match=f"best.h5 can't.*{os.strerror(number)}"):
            save(tmp_path, 2)
    assert left(tmp_path) == ["best.h5", "step-00000002.h5"]
    assert load(tmp_path / "best.h5").step == (2 if mended else 1)


def test_an_interrupt_while_the_best_is_written_leaves_no_hidden_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)
    drafted, deleted = saving.drafted, threading.Event()

    def late(*args: Any) -> saving.Draft:
        # The thread that saves waits for this one by now.
        assert deleted.wait(20)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        return drafted(*args)

    def delete_older(*args: Any) -> None:
        delete(*args)
        deleted.set()

    delete = saving.delete_older
    monkeypatch.setattr(saving, "drafted", late)
    monkeypatch.setattr(saving, "delete_older", delete_older)
    # A shell that starts the tests in the background has them ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert left(tmp_path) == ["best.h5", "step-00000002.h5"]
    assert load(tmp_path / "best.h5").step == 1
