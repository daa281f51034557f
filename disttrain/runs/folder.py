"""The run folder: a lock lets one run at a time write in it, as long as the folder is in place."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disttrain import journal
from disttrain.checkpoint import all_checkpoints, write_atomically
from disttrain.config import Settings, to_toml
from disttrain.disk import make_directory
from disttrain.errors import CheckpointError, UsageError
from disttrain.runs import replaced
from disttrain.runs.held import how_to_go_on, refuse_another
from disttrain.runs.layers import LayerFolder
from disttrain.runs.lines import append, line
from disttrain.runs.lock import LOCK, place_of_lock
from disttrain.runs.saving import write_files
from disttrain.written import FINISHED, summary_of, text_of, why

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["RunFolder"]

# What `plot = true` and `disttrain plot` draw.
PICTURES = ("curves", "confusion", "weights", "regions", "growth", "hidden", "features",
            "reconstructions", "filters", "maps")  # fmt: skip
# The lock file says which step was saved last, in so many bytes.
SAVED, NOTHING = "saved step {:<20}\n", "saved no step yet"


class RunFolder:
    """The folder of one run; rank 0 alone writes in it, but for the ranks' own files in `logs`.

    run.toml  metrics.jsonl  digests.jsonl  checkpoints/step-00000430.h5  best.h5  summary.json
    pretraining-1/step-00000200.h5 (of the first hidden layer)  and pictures
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.on_stop = how_to_go_on(path)
        self.checkpoints = path / "checkpoints"
        self.best = path / "best.h5"
        self.metrics = path / "metrics.jsonl"
        self.digests = path / "digests.jsonl"
        self.summary = path / "summary.json"
        self.run_file = path / "run.toml"
        self._lock: int | None = None
        # True from `begin` on: the files are those of this process's run.
        self.begun = False
        self._replaces = self._first = False

    def claim(self, resume: bool, overwrite: bool) -> None:
        """Lock the folder for this process; refuse one that is in use or holds another run.

        The lock goes with the process, however it ends. With `overwrite` the old run is replaced
        once the new one begins.
        """
        if resume and overwrite:
            raise UsageError("give --resume or --overwrite, not both")
        self._take_lock()
        if resume:
            replaced.put_back(self.run_file)
            return
        refuse_another(self.path, self.run_file.name)
        if not overwrite:
            self.refuse_to_replace()
        self._replaces = self.holds_a_run()
        # Now, because the ranks open their logs before `begin`.
        for log in self.path.glob("logs/rank-*.jsonl"):
            replaced.move(log) if self._replaces else _remove(log)

    def _take_lock(self) -> None:
        try:
            make_directory(self.path)
            self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o644)
        except OSError as error:
            raise UsageError(
                f"run folder {self.path} can't be used ({error.strerror}): choose another --output"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"run folder {self.path} is in use by another run: wait for it or choose another "
                "--output"
            ) from None
        except OSError as error:
            raise UsageError(
                f"run folder {self.path} can't be locked ({error.strerror}): its file system must "
                "support flock"
            ) from None
        # It may have been moved between opening and locking.
        self.refuse_lost()

    def take_over(self, overwrite: bool) -> None:
        """Lock the folder in place of a rank that died in it; with `overwrite` go on replacing."""
        self._take_lock()
        aside = self.run_file.with_name(self.run_file.name + replaced.ENDING)
        self._replaces = overwrite and not aside.exists()

    def go_on(self, run: Run) -> None:
        """Write metrics and digests as they are at the present state: some may be there twice."""
        self._write(self.metrics, "".join(line(report) for report in run.state.history))
        self._write(self.digests, "".join(line(record) for record in run.state.digests))
        self.begun = self._first = True

    @property
    def is_locked(self) -> bool:
        """True where this process has the lock."""
        return self._lock is not None

    def refuse_to_replace(self) -> None:
        """Raise UsageError where the folder holds a run."""
        if self.holds_a_run():
            raise UsageError(
                f"run folder {self.path} holds a run: go on with it by --resume, replace it by "
                "--overwrite, or choose another --output"
            )

    def refuse_lost(self) -> None:
        """Raise CheckpointError where the folder at this path is no longer the one that is locked.

        It was renamed or removed, and another run may use a new folder at this path.
        """
        if self._lock is None:
            return
        held = os.fstat(self._lock)
        if place_of_lock(self.path) != (held.st_dev, held.st_ino):
            raise CheckpointError(
                f"run folder {self.path} was moved, removed or replaced while the run was in it: "
                "nothing more is written; go on with --resume and --output where it is now"
            )

    def release(self) -> None:
        """Let another run use the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def holds_a_run(self) -> bool:
        """Return True where there is a file here that --resume would use."""
        files = (self.run_file, self.best, self.metrics, self.digests)
        return any(map(os.path.lexists, files)) or bool(self._states())

    def finished(self, warn: Callable[[str], None]) -> dict[str, Any] | None:
        """Return the summary of a run that came to its end here, else None.

        A summary that can't be read is reported by `warn`; the run then counts as not finished.
        """
        try:
            summary = summary_of(self.summary)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            warn(f"{self.summary} can't be read ({why(error)}): the run counts as not finished")
            return None
        return summary if summary["status"] in FINISHED else None

    def saved_step(self) -> int | None:
        """Return the step that a run of this folder has saved last, None where it never saved."""
        words = self._said().split()
        said = len(words) == 3 and words[:2] == ["saved", "step"] and words[2].isdecimal()
        return int(words[2]) if said else None

    def may_have_saved(self) -> bool:
        """Return True where a run began and no lock says that it saved nothing: a copy, perhaps."""
        begun = any(map(os.path.lexists, (self.metrics, self.digests)))
        return begun and not self._said().startswith(NOTHING)

    def _said(self) -> str:
        """Return what the lock file says; nothing where it can't be read."""
        try:
            return text_of(self.path / LOCK)
        except (OSError, ValueError):
            return ""

    def begin(self, run: Run, chain: list[dict[str, Any]] | None) -> None:
        """Write the resolved run file, and metrics and digests up to the present step.

        `chain` holds the records of digests up to there, None for a run at its beginning.
        """
        self.refuse_unusable()
        # Temporary files of a process that was killed while it wrote; the lock shows that it ended.
        for stray in self.path.glob(".*.tmp"):
            _remove(stray)
        if self._replaces:
            replaced.set_aside(self._files(), self.run_file)
            self._replaces = False
        if chain is None and self._lock is not None:
            os.ftruncate(self._lock, os.pwrite(self._lock, NOTHING.encode(), 0))
            os.fdatasync(self._lock)
        _remove(self.summary)
        self._write(self.run_file, to_toml(run.settings))
        reports = [*run.state.pretraining, *run.state.history]
        self._write(self.metrics, "".join(line(report) for report in reports))
        run.state.digests[:] = chain or []
        self._write(self.digests, "".join(line(record) for record in run.state.digests))
        self.begun = self._first = True

    def refuse_unusable(self) -> None:
        """Raise CheckpointError where the folder is lost, or a folder stands where a file must."""
        self.refuse_lost()
        for path in (self.summary, self.run_file, self.metrics, self.digests, self.best):
            if path.is_dir():
                raise CheckpointError(f"{path} is a folder, and must be a file: move it away")

    def _files(self) -> list[Path]:
        """Return the files of a run except `run.toml`; those that --resume needs come last."""
        pictures = [self.path / f"{name}.png" for name in PICTURES]
        ring = self._states()
        return [self.summary, *pictures, self.metrics, self.digests, self.best, *ring]

    def _states(self) -> list[Path]:
        """Return all checkpoints but `best.h5`: those of pre-trained layers first."""
        layers = sorted(self.path.glob("pretraining-*/"))
        return [path for part in (*layers, self.checkpoints) for path in all_checkpoints(part)]

    def of_layer(self, number: int) -> LayerFolder:
        """Return the keeper of the pre-training of the `number`-th hidden layer."""
        return LayerFolder(self, number)

    def found(self, settings: Settings, data: str) -> None:
        """Return None: only layers are looked up here."""

    def add_metrics(self, report: dict[str, Any]) -> None:
        """Append one interval to `metrics.jsonl`."""
        self._append(self.metrics, line(report), durable=False)

    def add_digest(self, record: dict[str, Any]) -> None:
        """Append the digests of one interval to `digests.jsonl`."""
        self._append(self.digests, line(record), durable=False)

    def save(self, run: Run, improved: bool) -> None:
        """Save the state, and also as `best.h5` if it has improved. Collective."""
        with run.comm.together("saving"):
            if run.comm.is_root:
                begin, snapshot = time.perf_counter(), run.snapshot()
                size = write_files(
                    snapshot, self.checkpoints, run.settings.checkpoint.keep,
                    self.best if improved else None,
                    self._sync_digests, run.work.audit.refuse_unaudited, self.refuse_lost,
                )  # fmt: skip
                self._note_saved(snapshot.step)
                seconds = round(time.perf_counter() - begin, 4)
                journal.note("saved", step=snapshot.step, best=improved, seconds=seconds,
                             bytes=size)  # fmt: skip

    def _sync_digests(self) -> None:
        # A checkpoint holds only the end of the chain.
        if self.digests.exists():
            self._append(self.digests, "", durable=True)

    def _note_saved(self, step: int) -> None:
        """Note the saved step in the lock file, and delete the run that this one replaces."""
        # A failure of either does not end the run.
        with contextlib.suppress(OSError):
            if self._lock is not None:
                os.pwrite(self._lock, SAVED.format(step).encode(), 0)
            if self._first:
                replaced.discard(self.run_file)
            self._first = False

    def end(self, summary: dict[str, Any]) -> None:
        """Write `summary.json`, which states how the run ended."""
        if summary["status"] in FINISHED:
            # No resume writes these files again once the run is finished: they must be on disk.
            self._append(self.metrics, "", durable=True)
            self._append(self.digests, "", durable=True)
        self._write(self.summary, json.dumps(summary, indent=2) + "\n")

    def _append(self, path: Path, text: str, durable: bool) -> None:
        self.refuse_lost()
        append(path, text, durable)

    def _write(self, path: Path, text: str) -> None:
        self.refuse_lost()
        write_atomically(path, text.encode())


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"{path} can't be removed ({error.strerror}): remove it, then --resume goes on"
        ) from None
