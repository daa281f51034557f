"""Signs that the ranks of one attempt leave for their launch, as files in a folder they share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from disttrain.environment import ALIVE, MET

__all__ = ["FolderOfSigns", "Signs", "remove_dead"]

PREFIX = ".disttrain-"


class Signs:
    """Signs in `folder`: that the ranks have met, that they live, and the exit code.

    A file for each attempt: a rank of an earlier one, on a host that comes back, changes nothing.
    Without a folder that all hosts see there are none.
    """

    def __init__(self, folder: Path | None, number: int = 1, expected: bool = True) -> None:
        self.path = folder / f"status-{number}" if folder else None
        self._expected = expected

    def can_come(self) -> bool:
        """Return True where there is a place for them, and the program is one that leaves some."""
        return self._expected and self.path is not None and self.path.parent.is_dir()

    def met(self) -> bool:
        """Return True where all ranks have found each other."""
        return self.path is not None and Path(f"{self.path}{MET}").exists()

    def code(self) -> int | None:
        """Return the exit code that a rank has left, None where none has."""
        try:
            return int(self.path.read_text()) if self.path else None
        except (OSError, ValueError):
            return None

    def of_life(self) -> dict[str, str]:
        """Return the newest sign of life from each host that has ever given one."""
        found = {}
        for path in self.path.parent.glob(f"{self.path.name}{ALIVE}*") if self.path else ():
            with contextlib.suppress(OSError):
                found[path.name.partition(ALIVE)[2]] = path.read_text()
        return found


class FolderOfSigns:
    """A folder in the first of `places` that can have one; `path` is None where none can.

    Its lock is held as long as this process lives: so the next launch can see, on any host, what
    a dead one has left, and removes it.
    """

    def __init__(self, places: Sequence[Path]) -> None:
        self.path: Path | None = None
        self._lock = -1
        for place in places:
            remove_dead(place)
            with contextlib.suppress(OSError):
                self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
                self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.path:
                break

    def remove(self) -> None:
        """Remove it and all in it."""
        if self._lock >= 0:
            os.close(self._lock)
        if self.path:
            shutil.rmtree(self.path, ignore_errors=True)


def remove_dead(place: Path) -> list[str]:
    """Remove folders in `place` whose launches or drills, of this user, are dead; return them."""
    removed = []
    for folder in place.glob(f"{PREFIX}*"):
        # Without a lock, or where locks do not work, the launch may be alive: the folder stays.
        with contextlib.suppress(OSError):
            lock = os.open(folder / "lock", os.O_RDWR | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.getuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
                    removed.append(str(folder))
            finally:
                os.close(lock)
    return removed
