"""Reading the small files that a run has written, as untrusted input.

A path may be a folder or a pipe, a text may be endless, nested too deep or hold no numbers. Only
OSError and ValueError are raised, each with a reason that fits into a sentence (`why`).
"""

from __future__ import annotations

import errno
import itertools
import json
import math
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

__all__ = [
    "FINISHED",
    "PAUSED",
    "STATUSES",
    "CutOff",
    "intervals_of",
    "is_count",
    "opened",
    "records_of",
    "run_at",
    "summary_of",
    "text_of",
    "why",
]

FINISHED = ("completed", "stopped-early")
# A candidate that waits for the others of its generation, to go on later.
PAUSED = "paused"
STATUSES = (*FINISHED, "preempted", "diverged", "failed")
# Thousands of tensors in a record of digests; a summary; a run file.
LINE_BYTES = 4 << 20
# What each interval of `metrics.jsonl` states; `training.state.Report` has the same.
INTERVAL = frozenset({
    "step", "epoch", "learning_rate", "train_loss", "train_accuracy", "validation_loss",
    "validation_accuracy", "penalty", "samples_per_second", "seconds",
})  # fmt: skip
PERHAPS = {"train_accuracy", "validation_loss", "validation_accuracy"}


class CutOff(ValueError):
    """The last line has no end: it is being written, or the process died."""


def why(error: Exception) -> str:
    """Return what an OSError or a ValueError of this module says, as a part of a sentence."""
    return getattr(error, "strerror", None) or str(error)


def run_at(path: Path) -> Path | None:
    """Return the folder of the run that `path` names, as the folder or as the `run.toml` in it.

    None where it is another file, or a folder without a run.
    """
    folder = path if path.is_dir() else path.parent
    others = (".lock", "metrics.jsonl", "best.h5", "checkpoints")
    named = folder / "run.toml" if path.is_dir() else path
    is_run = named.name == "run.toml" and named.is_file()
    return folder if is_run and any((folder / name).exists() for name in others) else None


def opened(path: Path) -> BinaryIO:
    """Open a regular file; raise OSError for a folder, or for a pipe without waiting for it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return open(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, f"it is {'a folder' if stat.S_ISDIR(mode) else 'no file'}", path)


def text_of(path: Path, most: int = LINE_BYTES) -> str:
    """Return the text in a file of at most `most` bytes."""
    with opened(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has over {most:,} bytes")
    return decoded(content)


def summary_of(path: Path) -> dict[str, Any]:
    """Return how a run ended, as `summary.json` says."""
    summary = json_of(text_of(path))
    if summary.get("status") not in STATUSES:
        raise ValueError(f"its status is {str(summary.get('status'))!r:.40}")
    known = {"steps": 0, "epochs": 0.0, "digest": None} | summary
    if not is_count(known["steps"]) or not is_number(known["epochs"]):
        raise ValueError("its steps or epochs are not numbers")
    if not isinstance(known["digest"], str | None):
        raise ValueError("its digest is not a text")
    return known


def intervals_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the intervals of the training in `metrics.jsonl`, without those of pre-training.

    See `records_of` for a line that is none.
    """
    for record in records_of(path, _check_interval):
        if "phase" not in record:
            yield record


def records_of(path: Path, check: Callable[[dict[str, Any]], None]) -> Iterator[dict[str, Any]]:
    """Yield the object on each line of a file; each line has its end, and passes `check`.

    Raises ValueError, which names the line, for the first that does not.
    """
    with opened(path) as file:
        for number in itertools.count(1):
            line = file.readline(LINE_BYTES + 1)
            if not line:
                return
            if not line.endswith(b"\n"):
                raise CutOff(f"line {number} is cut off")
            try:
                record = json_of(decoded(line))
                check(record)
            except ValueError as error:
                raise ValueError(f"line {number} can't be used ({error})") from None
            yield record


def _check_interval(interval: dict[str, Any]) -> None:
    if interval.get("phase") == "pretraining":
        return
    good = interval.keys() >= INTERVAL and is_count(interval["step"])
    if not good or not all(
        is_number(value) or (value is None and name in PERHAPS) for name, value in interval.items()
    ):
        raise ValueError("it is not an interval")


def decoded(content: bytes) -> str:
    """Return a text in UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None


def json_of(text: str) -> dict[str, Any]:
    """Return the JSON object in `text`: its numbers are finite, its texts can be printed."""
    try:
        found = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        # Half of a character can be written in JSON, but not printed.
        if "\\u" in text:
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except UnicodeEncodeError:
        raise ValueError("it holds half of a character") from None
    except json.JSONDecodeError:
        raise ValueError("it is not JSON") from None
    if not isinstance(found, dict):
        raise ValueError("it is not an object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"it holds {text[:20]}")


def is_number(value: object) -> bool:
    """Return True for a number that every computation can take."""
    return type(value) is float or (type(value) is int and abs(value) < 1 << 63)


def is_count(value: object) -> bool:
    """Return True for a number of things, such as steps."""
    return type(value) is int and 0 <= value < 1 << 63
