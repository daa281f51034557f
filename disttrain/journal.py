"""The journal of a run: events that each rank writes to a file, to find out later why it failed.

Standard library only. Anything may `note` an event; where it goes is decided by the command:
into the rank's file in the run folder, as a JSON object a line, and with --verbose on standard
error. Without either nothing is written.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from disttrain.shown import shown

__all__ = [
    "SLOW",
    "is_open",
    "kept_in",
    "listen",
    "note",
    "path_of",
    "wants_everything",
    "who",
]

LOG = logging.getLogger("disttrain")
# Python's own warnings, once `listen` has taken them.
PYTHON = logging.getLogger("py.warnings")
# A phase that took longer, in seconds, is worth a line.
SLOW = 5.0
# A script that only imports the package gets no log.
LOG.addHandler(logging.NullHandler())
LOG.setLevel(logging.INFO)
_rank: tuple[int, str] = (0, socket.gethostname())


def who(rank: int, host: str) -> None:
    """Set the rank and the host of this process, which stand in every line."""
    global _rank
    _rank = (rank, host)


def note(event: str, level: int = logging.INFO, printed: bool = False, **fields: Any) -> None:
    """Write down that `event` happened, with `fields` of plain values.

    With `printed` the command prints it itself: then it goes into the file alone.
    """
    if LOG.isEnabledFor(level):
        LOG.log(level, event, extra={"fields": fields, "printed": printed})


def wants_everything() -> bool:
    """Return True where the user asked for every event (--verbose)."""
    return LOG.isEnabledFor(logging.DEBUG)


def path_of(folder: Path, rank: int) -> Path:
    """Return where in a run folder the journal of `rank` is."""
    return folder / "logs" / f"rank-{rank:04d}.jsonl"


@contextmanager
def kept_in(folder: Path, rank: int) -> Iterator[None]:
    """Write the journal of the run's `rank` into its folder too, behind what is there.

    A run inside the body has its own file, which gets its events alone.
    """
    file, outer = JournalFile(path_of(folder, rank), rank), _files()
    _exchange(outer, [file])
    try:
        yield
    finally:
        _exchange([file], outer)
        file.close()


def is_open() -> bool:
    """Return True where this rank has a file."""
    return bool(_files())


def _files() -> list[logging.Handler]:
    return [handler for handler in LOG.handlers if isinstance(handler, JournalFile)]


def _exchange(old: list[logging.Handler], new: list[logging.Handler]) -> None:
    """Have both loggers write to `new` instead of `old`."""
    for logger in (LOG, PYTHON):
        for handler in old:
            logger.removeHandler(handler)
        for handler in new:
            logger.addHandler(handler)


def listen(verbose: bool) -> None:
    """Print warnings of this rank on standard error, and with `verbose` all that it notes.

    One line each, in one write: those of several ranks do not run into each other.
    """
    logging.captureWarnings(True)
    LOG.setLevel(logging.DEBUG if verbose else logging.INFO)
    for logger in (LOG, PYTHON):
        for old in [h for h in logger.handlers if isinstance(h, Lines)]:
            logger.removeHandler(old)
        logger.addHandler(Lines(logging.DEBUG if verbose else logging.WARNING))
        logger.propagate = False


class JournalFile(logging.Handler):
    """A file of JSON lines: each is written at once and whole, and a full disk ends no run."""

    def __init__(self, path: Path, rank: int) -> None:
        super().__init__()
        self._path, self._rank, self._file = path, rank, -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            self._give_up(error)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if self._file < 0:
            return
        line = as_json(record, self._rank).encode()
        try:
            if os.write(self._file, line) < len(line):
                raise OSError(0, "only a part of a line could be written")
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        super().close()

    def _give_up(self, error: OSError) -> None:
        """Say it once; the run goes on without this file."""
        self.close()
        speak(f"{self._path} can't be written ({error.strerror}): the run goes on without it")


class Lines(logging.Handler):
    """Prints a line for each event on standard error; the command itself prints errors."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line.

        Python's own warnings are those of rank 0 where not all is wanted: a hundred ranks that run
        the same code warn of the same a hundred times.
        """
        printed = getattr(record, "printed", False)
        again = record.name == PYTHON.name and _rank[0] > 0 and self.level > logging.DEBUG
        if record.levelno < logging.ERROR and not printed and not again:
            speak(in_words(record))


def speak(text: str) -> None:
    """Print a line of this rank in one write."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(shown(f"rank {_rank[0]} ({_rank[1]}): {text}") + "\n")
        sys.stderr.flush()
    except (OSError, ValueError, RuntimeError):
        # The pipe is closed, or a signal came in the middle of another line.
        return


def as_json(record: logging.LogRecord, rank: int) -> str:
    """Return an event as a line: when (with the zone), who, how grave, what, and its fields."""
    time = datetime.datetime.fromtimestamp(record.created).astimezone()
    fact = {
        "time": time.isoformat(timespec="milliseconds"),
        "rank": rank,
        "host": _rank[1],
        "level": record.levelname.lower(),
        "event": _event(record),
    }
    return json.dumps(fact | _fields(record), default=str) + "\n"


def in_words(record: logging.LogRecord) -> str:
    """Return an event as people read it."""
    fields = _fields(record)
    if set(fields) == {"text"}:
        return str(fields["text"])
    words = ", ".join(f"{name} {_short(value)}" for name, value in fields.items())
    return f"{_event(record)}: {words}" if words else _event(record)


def _event(record: logging.LogRecord) -> str:
    return "python warning" if record.name == PYTHON.name else record.getMessage()


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    if record.name == PYTHON.name:
        # As in "file.py:12: RuntimeWarning: overflow", then the line of code.
        return {"text": record.getMessage().split("\n")[0].strip()}
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
