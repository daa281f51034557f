"""What the run folder shows of a training: that it began, and how it ended.

`mpirun`'s exit status is no evidence: it is 0 after many deaths. A training has ended where rank 0
has written `summary.json`.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
from collections.abc import Sequence
from pathlib import Path

from disttrain.errors import DisttrainError
from disttrain.written import run_at, summary_of

__all__ = ["RunMark", "resuming"]

CODES = {"completed": 0, "stopped-early": 0, "preempted": 75, "diverged": 4}
# Of each command: the file that shows that it began, the one that says how it ended, the lock.
FILES = {
    "train": ("run.toml", "summary.json", ".lock"),
    "search": ("study.jsonl", "study.json", "study.jsonl"),
    "cross-validate": ("folds.jsonl", "folds.json", "folds.jsonl"),
    "ensemble": ("members", "ensemble.json", ".lock"),
}
OF_ENSEMBLES = ("--members", "--top", "--checkpoints", "--split")
CHECKPOINT = re.compile(r"step-(\d+)\.h5")


class RunMark:
    """The folder of `train ARGUMENTS`, a search, a cross-validation or an ensemble, from now on.

    What stands there already is of an earlier run and says nothing about this one.
    """

    def __init__(self, arguments: Sequence[str], command: str = "train") -> None:
        self.folder, self.is_of_one_run = _run_folder(arguments, command), command == "train"
        self._begins, self._ends, self._lock = FILES[command]
        self._run_file = self._signature(self._begins)
        self.renew()

    def renew(self) -> None:
        """Ignore the present summary: another attempt begins."""
        self._summary = self._signature(self._ends)

    def code(self) -> int | None:
        """Return the exit code of the run that has ended here since; None where none has.

        A run that says that it failed does not say with which code.
        """
        if self.folder is None or self._signature(self._ends) == self._summary:
            return None
        try:
            return CODES.get(summary_of(self.folder / self._ends)["status"])
        except (OSError, ValueError):
            return None

    @property
    def began(self) -> bool:
        """True where this launch's training has begun to write in the folder."""
        return self._signature(self._begins) != self._run_file

    def newest_step(self) -> int | None:
        """Return the step of the newest checkpoint, None where there is none."""
        folder = self.folder / "checkpoints" if self.folder else None
        names = [path.name for path in folder.iterdir()] if folder and folder.is_dir() else []
        return max((int(m[1]) for n in names if (m := CHECKPOINT.fullmatch(n))), default=None)

    def in_use(self) -> bool:
        """Return True where a process holds the lock of the run folder, or a file server says so.

        A file server gives up the lock of a dead host only after a while.
        """
        try:
            lock = os.open(self.folder / self._lock, os.O_RDWR) if self.folder else -1
        except OSError:
            return False
        if lock < 0:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(lock)
        return False

    def _signature(self, name: str) -> tuple[int, int, int] | None:
        """Return what differs between two versions of a file; None where there is none."""
        try:
            found = (self.folder / name).stat() if self.folder else None
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None


def resuming(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `train` with `--resume`, in place of `--overwrite` too."""
    kept = [word for word in arguments if word not in ("--resume", "--overwrite")]
    return [*kept, "--resume"]


def _run_folder(arguments: Sequence[str], command: str) -> Path | None:
    """Return the folder that a command writes in; None where its arguments make no sense."""
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False, add_help=False)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--output", "-o", type=Path)
    parser.add_argument("--layers")
    parser.add_argument("--inject", action="append")
    for option in ("--over", "--folds", "--repeats", "--ranks-each", *OF_ENSEMBLES):
        parser.add_argument(option, action="append")
    parser.add_argument("run_file", nargs="?")
    for flag in ("--resume", "--overwrite", "--json"):
        parser.add_argument(flag, action="store_true")
    try:
        known, _ = parser.parse_known_args(list(arguments))
        if known.output is not None:
            return known.output.absolute()  # type: ignore[no-any-return]
        run = run_at(Path(known.run_file or "")) if known.resume else None
        if run is not None:
            return run.absolute()
        from disttrain import config

        runs, file = Path("runs").absolute(), known.run_file or ""
        if command == "search":
            return runs / Path(file).stem
        if command == "ensemble" and Path(file).is_dir():
            return Path(file).absolute() / "ensemble"
        name = config.read(file, known.set).name
        return runs / (
            name + {"cross-validate": "-folds", "ensemble": "-ensemble"}.get(command, "")
        )
    except (argparse.ArgumentError, SystemExit, DisttrainError):
        # The ranks report what is wrong with it.
        return None
