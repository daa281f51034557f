"""The run folder: one run at a time in it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disttrain import journal
from disttrain.checkpoint import (
    Snapshot,
    all_checkpoints,
    image,
    load,
    path_of,
    put_aside,
    save_newest,
    write_atomically,
)
from disttrain.config import to_toml
from disttrain.disk import make_directory, sync_directory
from disttrain.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["RunFolder"]

# What `plot = true` and `disttrain plot` draw.
PICTURES = ("curves", "confusion", "weights", "regions", "growth", "hidden")
FINISHED = ("completed", "stopped-early")


class RunFolder:
    """The folder of one run; rank 0 alone writes in it, but for the ranks' own files in `logs`.

    run.toml  metrics.jsonl  digests.jsonl  checkpoints/step-00000430.h5  best.h5  summary.json
    and pictures
    """

    on_stop = "the state is saved, --resume goes on"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.best = path / "best.h5"
        self.metrics = path / "metrics.jsonl"
        self.digests = path / "digests.jsonl"
        self.summary = path / "summary.json"
        self.run_file = path / "run.toml"
        self._lock: int | None = None

    def claim(self, resume: bool, overwrite: bool) -> None:
        """Lock the folder for this process; refuse one that is in use or holds another run.

        The lock goes with the process, however it ends. With `overwrite` the old run is removed.
        """
        if resume and overwrite:
            raise UsageError("give --resume or --overwrite, not both")
        try:
            make_directory(self.path)
            self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
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
        if resume:
            return
        if not overwrite:
            self.refuse_to_replace()
        self.clear()
        # Not by `clear`: what was written before there was a checkpoint is for whoever resumes.
        for log in self.path.glob("logs/rank-*.jsonl"):
            log.unlink(missing_ok=True)

    def refuse_to_replace(self) -> None:
        """Raise UsageError where the folder holds a run."""
        if self.holds_a_run():
            raise UsageError(
                f"run folder {self.path} holds a run: go on with it by --resume, replace it by "
                "--overwrite, or choose another --output"
            )

    def clear(self) -> None:
        """Remove the files of a run, and nothing else."""
        files = [self.summary, self.metrics, self.digests, self.best, self.run_file]
        files += [self.path / f"{name}.png" for name in PICTURES]
        for old in [*files, *all_checkpoints(self.checkpoints), *self.path.glob(".*.tmp")]:
            old.unlink(missing_ok=True)
        # None of them may come back beside those of the next run.
        for folder in (self.checkpoints, self.path):
            if folder.is_dir():
                sync_directory(folder)

    def release(self) -> None:
        """Let another run use the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def holds_a_run(self) -> bool:
        """Return True where a run has left anything here."""
        return self.run_file.exists() or bool(all_checkpoints(self.checkpoints))

    def finished(self) -> dict[str, Any] | None:
        """Return the summary of a run that came to its end here, else None."""
        try:
            summary = json.loads(self.summary.read_text())
        except (OSError, ValueError):
            return None
        return summary if summary.get("status") in FINISHED else None

    def load_best(self, snapshot: Snapshot, say: Callable[[str], None]) -> Snapshot | None:
        """Return the best state up to `snapshot`, and see to it that `best.h5` holds that one.

        A crash inside a save leaves a `best.h5` that is older than the checkpoint, falling back to
        an older checkpoint one that is newer: neither is believed. The state is then among the
        checkpoints, as a rule `snapshot` itself; else the return value is None, and that is said.
        """
        step = snapshot.progress.best_step
        source = path_of(self.checkpoints, step)
        (held, problem), (kept, _) = _load_step(self.best, step), _load_step(source, step)
        if kept is None and held is not None:
            return held
        if kept is not None:
            if held is None or held.digest != kept.digest:
                write_atomically(self.best, source.read_bytes())
                say(f"{problem or f'{self.best} is another one'}; it is written anew from {source}")
            return kept
        if self.best.exists():
            problem += f"; {put_aside(self.best, 'other')}"
        say(f"{problem}; the best weights so far are lost, later ones are kept if they are better")
        return None

    def begin(self, run: Run) -> None:
        """Write the resolved run file, and the metrics up to where the run stands."""
        # What a process that was killed while it wrote has left; the lock says that it is gone.
        for stray in self.path.glob(".*.tmp"):
            stray.unlink(missing_ok=True)
        self.summary.unlink(missing_ok=True)
        self._write(self.run_file, to_toml(run.settings))
        self._write(self.metrics, "".join(line(report) for report in run.state.history))
        run.state.digests[:] = self._chain_up_to(run.state.digests)
        self._write(self.digests, "".join(line(record) for record in run.state.digests))

    def _chain_up_to(self, end: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the records in `digests.jsonl` up to the one in `end`; none where it is not there.

        Then a new chain begins.
        """
        try:
            lines = self.digests.read_text(encoding="utf-8").splitlines() if end else []
        except (OSError, ValueError):
            return []
        wanted = [line(record).rstrip("\n") for record in end]
        kept = lines[: lines.index(wanted[0]) + 1] if wanted and wanted[0] in lines else []
        return [json.loads(text) for text in kept]

    def add_metrics(self, report: dict[str, Any]) -> None:
        """Append one interval to `metrics.jsonl`."""
        self._append(self.metrics, line(report), durable=False)

    def add_digest(self, record: dict[str, Any]) -> None:
        """Append what the run holds at one interval to `digests.jsonl`."""
        self._append(self.digests, line(record), durable=False)

    def save(self, run: Run, improved: bool) -> None:
        """Save the state, and once more as the best where it is. Collective."""
        with run.comm.together("saving"):
            if run.comm.is_root:
                begin = time.perf_counter()
                # The checkpoint remembers the end of the chain alone: the file must have the rest.
                if self.digests.exists():
                    self._append(self.digests, "", durable=True)
                snapshot = run.snapshot()
                content = image(snapshot)
                # Now: a bit may have flipped during the validation, or while the image was made.
                run.work.audit.refuse_unaudited()
                # In this order: until `best.h5` is there too, the same state is in the ring.
                save_newest(self.checkpoints, snapshot.step, content, run.settings.checkpoint.keep)
                if improved:
                    write_atomically(self.best, content)
                seconds = round(time.perf_counter() - begin, 4)
                journal.note("saved", step=snapshot.step, best=improved, seconds=seconds,
                             bytes=len(content))  # fmt: skip

    def end(self, summary: dict[str, Any]) -> None:
        """Write `summary.json`: the mark by which others know how the run ended."""
        if summary["status"] in FINISHED:
            # Nothing writes these of a finished run anew: they must be safe before it is one.
            self._append(self.metrics, "", durable=True)
            self._append(self.digests, "", durable=True)
        self._write(self.summary, json.dumps(summary, indent=2) + "\n")

    def _append(self, path: Path, text: str, durable: bool) -> None:
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(text)
                if durable:
                    os.fsync(file.fileno())
        except OSError as error:
            raise CheckpointError(
                f"{path} can't be written ({error.strerror}): make room; --resume goes on "
                "from the newest checkpoint"
            ) from None

    def _write(self, path: Path, text: str) -> None:
        write_atomically(path, text.encode())


def _load_step(path: Path, step: int) -> tuple[Snapshot | None, str]:
    """Return the state of `step` that `path` holds, else None and why not."""
    try:
        found = load(path)
    except CheckpointError as error:
        return None, str(error)
    if found.step != step:
        return None, f"{path} is of step {found.step}, but the best so far is step {step}"
    return found, ""


def line(report: dict[str, Any]) -> str:
    """Return one interval as a line of `metrics.jsonl` or `digests.jsonl`."""
    return json.dumps(report, allow_nan=False) + "\n"
