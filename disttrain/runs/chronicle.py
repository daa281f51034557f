"""What a training writes into the journal: the begin and the end of each rank, on rank 0 more."""

from __future__ import annotations

import logging
import os
import platform
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from disttrain import journal
from disttrain.checkpoint.state import Report
from disttrain.comm import Communicator
from disttrain.environment import VERSION, cores, launched
from disttrain.errors import (
    Dismissed,
    DisttrainError,
    RankFailure,
    exit_code_of,
    failure_noted,
    sentence_of,
)
from disttrain.runs.folder import RunFolder
from disttrain.training.callbacks import Callback
from disttrain.training.run import Run

__all__ = ["Chronicle", "chronicled", "note_ready", "teller"]

# With --verbose: seconds between two lines about steps.
PAUSE = 1.0


@contextmanager
def chronicled(folder: RunFolder, comm: Communicator, early: Sequence[str]) -> Iterator[None]:
    """Keep this rank's journal in the run folder for the body: its start, its error, its end.

    `early` are the lines that were printed before the journal could be opened.
    """
    with journal.kept_in(folder.path, comm.rank):
        try:
            journal.note("start", **facts(comm))
            for line in early:
                journal.note("said", printed=True, text=line)
            yield
            journal.note("end", memory_mib=memory())
        except Dismissed:
            journal.note("not needed", memory_mib=memory())
            raise
        except BaseException as error:
            note_error(error, comm)
            raise


def facts(comm: Communicator) -> dict[str, Any]:
    """Return the facts that are needed to understand this rank's journal alone."""
    job = launched()
    return {
        "version": VERSION, "python": platform.python_version(), "pid": os.getpid(),
        "command": sys.argv, "ranks": comm.workers, "local_rank": comm.local_rank,
        "local_size": comm.local_size, "launcher": job.variable if job else None,
        "mpi": comm.library, "cores": sorted(cores()),
    }  # fmt: skip


def note_ready(run: Run) -> None:
    """Note the device, the way of summing, the arithmetic and the first step of this rank."""
    journal.note(
        "ready", device=run.network.device.name, sum=run.work.reducer.way,
        arithmetic=run.arithmetic.kind if run.arithmetic else "fast",
        blas_threads=run.comm.blas_threads, step=run.state.step, memory_mib=memory(),
    )  # fmt: skip


def note_error(error: BaseException, comm: Communicator) -> None:
    """Note how the run ended on this rank, with the traceback where the error was raised here."""
    here = not isinstance(error, RankFailure) or error.rank == comm.rank
    known = isinstance(error, DisttrainError) and not isinstance(error, RankFailure)
    source = error.__cause__ or error
    trace = "" if known or not here else "".join(traceback.format_exception(source))
    failure = failure_noted(error) or error
    journal.note(
        "error", logging.ERROR, text=sentence_of(failure), here=here, code=exit_code_of(error),
        phase=failure.phase if isinstance(failure, RankFailure) else comm.watch.current,
        traceback=trace, memory_mib=memory(),
    )  # fmt: skip


def memory() -> int:
    """Return the most memory that this process has had, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most >> (20 if sys.platform == "darwin" else 10)


class Chronicle(Callback):
    """Rank 0's part: the lines that were printed, each interval, and the end."""

    def __init__(self) -> None:
        self._last = 0.0
        self.early: list[str] = []

    def on_message(self, line: str) -> None:
        """Note a line that was printed."""
        if journal.is_open():
            journal.note("said", printed=True, text=line)
        else:
            self.early.append(line)

    def on_step(self, run: Run, step: int) -> None:
        """With --verbose, note the step, at most once a second."""
        if journal.wants_everything() and time.monotonic() - self._last >= PAUSE:
            self._last = time.monotonic()
            journal.note("step", logging.DEBUG, step=step, memory_mib=memory())

    def on_interval(self, run: Run, report: Report) -> None:
        """Note the report of the interval."""
        journal.note("interval", printed=True, **report.facts())

    def on_end(self, run: Run, summary: dict[str, Any]) -> None:
        """Note how the run ended."""
        names = ("status", "reason", "steps", "epochs", "digest", "wall_seconds")
        journal.note("summary", printed=True, **{name: summary[name] for name in names})


def teller(callbacks: Sequence[Callback], grave: bool = False) -> Callable[[str], None]:
    """Return a function that tells people a line, `grave` if they must see it."""

    def say(line: str) -> None:
        for callback in callbacks:
            (callback.on_warning if grave else callback.on_message)(line)

    return say
