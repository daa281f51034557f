"""Tries out in the run folder what a training does there."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from disttrain.disk import sync_directory
from disttrain.launch.doctor.facts import Disk

__all__ = ["Disk", "mounted", "nearest", "try_out", "whole"]

RENAMES = 50
BYTES = 1 << 20


def nearest(folder: Path) -> Path:
    """Return `folder`, or where it is not there yet the nearest parent that is."""
    return next(path for path in (folder, *folder.parents) if os.path.lexists(path))


def whole(folder: Path) -> Path:
    """Return `folder` from the root on; as it is where the working directory has been deleted."""
    try:
        return folder.absolute()
    except OSError:
        return folder


def try_out(folder: Path) -> Disk:
    """Return what works in `folder` on this host; leaves nothing behind."""
    if not folder.is_absolute():
        gone = "the working directory has been deleted, cd to another"
        return Disk(str(folder), str(folder), write_problem=gone)
    base = nearest(folder)
    kind, source = mounted(base)
    found = Disk(str(folder), str(base), kind, source)
    try:
        space = os.statvfs(base)
        trial = Path(tempfile.mkdtemp(prefix=".doctor-", dir=base))
    except OSError as error:
        return replace(found, write_problem=_why(error))
    try:
        begin = time.perf_counter()
        sync_problem = _problem(_sync, trial)
        seconds = time.perf_counter() - begin
        return replace(
            found,
            free=space.f_bavail * space.f_frsize,
            rename_problem=_problem(_rename, trial),
            sync_problem=sync_problem,
            sync_seconds=seconds,
            lock_problem=_problem(_lock, trial),
        )
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def mounted(path: Path, table: str = "/proc/self/mountinfo") -> tuple[str, str]:
    """Return the kind of the file system under `path` and what is mounted there; "" if unknown."""
    best, found = -1, ("", "")
    try:
        lines = Path(table).read_text().splitlines()
    except OSError:
        return found
    real = path.resolve()
    for line in lines:
        place, rest = line.split(" - ", 1)
        # Spaces and the like are written as in \040.
        point = Path(place.split()[4].encode().decode("unicode_escape"))
        # Of two mounts at one point the later hides the other.
        if len(point.parts) >= best and real.is_relative_to(point):
            kind, source = rest.split()[:2]
            best, found = len(point.parts), (kind, source)
    return found


def _problem(attempt: Callable[[Path], None], trial: Path) -> str:
    """Return why `attempt` did not work in the folder `trial`, nothing where it did."""
    try:
        attempt(trial)
    except OSError as error:
        return _why(error)
    return ""


def _why(error: OSError) -> str:
    return error.strerror or (str(error) or type(error).__name__).splitlines()[0]


def _sync(trial: Path) -> None:
    """Write and sync as a checkpoint does."""
    with open(trial / "synced", "wb") as file:
        file.write(bytes(BYTES))
        file.flush()
        os.fsync(file.fileno())
    sync_directory(trial)


def _rename(trial: Path) -> None:
    """Rename over a file while another thread reads it: it must find a whole one every time."""
    target, wrong, over = trial / "target", [], threading.Event()
    contents = [bytes([number]) * 4096 for number in range(2)]
    target.write_bytes(contents[0])

    def reading() -> None:
        """Read again and again."""
        while not over.is_set():
            try:
                if target.read_bytes() not in contents:
                    wrong.append("a reader saw half of it")
            except OSError as error:
                wrong.append(f"a reader was told: {_why(error)}")

    reader = threading.Thread(target=reading, daemon=True)
    reader.start()
    try:
        for turn in range(RENAMES):
            (trial / "new").write_bytes(contents[turn % 2])
            os.replace(trial / "new", target)
    finally:
        over.set()
        reader.join(1)
    if target.read_bytes() != contents[(RENAMES - 1) % 2]:
        raise OSError("the old file is still there")
    if wrong:
        raise OSError(wrong[0])


def _lock(trial: Path) -> None:
    """Lock a file twice, as a second run in the same folder would: the second must be refused."""
    with open(trial / "lock", "w") as first, open(trial / "lock", "w") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        raise OSError("a second lock is granted while the first one holds")
