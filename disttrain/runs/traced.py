"""The file of `train --trace`: the timelines of all ranks, as Chrome and Perfetto show them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from disttrain import journal
from disttrain.checkpoint import write_atomically
from disttrain.comm import Communicator, Timeline
from disttrain.comm.timeline import TITLE
from disttrain.errors import UsageError, raised_everywhere

__all__ = ["traced"]


@contextmanager
def traced(
    path: Path | None, comm: Communicator, tell: Callable[[str], None] = lambda line: None
) -> Iterator[None]:
    """Write what each rank does in the body to `path`; with None there is no timeline. Collective.

    It is also written where the body fails on all ranks. `tell` is told where it is.
    Raises UsageError before the body where the file can't be written, or where another kind of file
    is in its place.
    """
    if path is None:
        yield
        return
    with comm.together("opening the timeline"):
        if comm.is_root:
            refuse(path)
    timeline = comm.watch.timeline = Timeline(comm.rank, comm.host)
    try:
        yield
        save(path, timeline, comm, tell)
    except BaseException as error:
        if comm.size == 1 or raised_everywhere(error):
            save(path, timeline, comm, tell)
        raise
    finally:
        comm.watch.timeline = None


def refuse(path: Path) -> None:
    """Raise UsageError where a timeline can't be written at `path`, or nobody should."""
    try:
        if path.exists():
            with open(path, "rb") as file:
                begin = file.read(len(TITLE))
            if begin != TITLE.encode():
                raise UsageError(
                    f"--trace {path}: this file exists and is not a timeline: give another name"
                )
        write_atomically(path, f"{TITLE}]}}\n".encode(), error=UsageError)
    except OSError as error:
        raise UsageError(f"--trace {path}: it can't be written ({error.strerror})") from None


def save(path: Path, timeline: Timeline, comm: Communicator, tell: Callable[[str], None]) -> None:
    """Write the events of all ranks. Collective.

    The training is over and saved: where the file can't be written, that is a warning.
    """
    full = timeline.is_full
    events = comm.gather(timeline.events())
    if full:
        journal.note("the timeline is full: it ends before the training", logging.WARNING)
    with comm.together("writing the timeline"):
        if comm.is_root:
            try:
                text = TITLE + "\n" + ",\n".join(events) + "\n]}\n"
                write_atomically(path, text.encode(), error=UsageError)
                tell(f"{'timeline:':12}{path} (opens in ui.perfetto.dev)")
            except UsageError as error:
                journal.note("no timeline", logging.WARNING, text=str(error))
