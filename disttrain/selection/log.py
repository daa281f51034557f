"""A log that outlives its process: one JSON object a line, each with a checksum, on disk at once.

A process that is killed leaves at most one line that is cut off: it is removed when the log is
opened again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import zlib
from pathlib import Path
from typing import Any

from disttrain.disk import make_directory, sync_directory
from disttrain.errors import CheckpointError, UsageError

__all__ = ["Log", "other_data"]


def other_data(path: str, folder: Path) -> UsageError:
    """Return the error for scores of other data than those that the folder already holds."""
    return UsageError(
        f"{path} is not the data that {folder} began with, and scores of different data can't be "
        "compared: bring it back, or choose another --output"
    )


class Log:
    """The log at `path`, locked for this process until `close`; `records` are what it holds.

    Raises UsageError where another process has it open, CheckpointError where a line before the
    last is damaged, or the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.records = path, list[dict[str, Any]]()
        try:
            make_directory(path.parent)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{path.parent} is in use by another job: wait for it or choose another --output"
            ) from None
        except OSError as error:
            raise UsageError(
                f"{path.parent} can't be used ({error.strerror}): choose another --output"
            ) from None
        with self._writing():
            self._read()
            sync_directory(path.parent)

    def _read(self) -> None:
        with open(self._file, "rb", closefd=False) as file:
            content = file.read()
        whole = 0
        for number, line in enumerate(content.splitlines(keepends=True), 1):
            record = _checked(line)
            if record is None and whole + len(line) < len(content):
                raise CheckpointError(
                    f"{self.path}: line {number} is damaged: bring the file back from a copy, or "
                    "begin anew with another --output"
                )
            if record is None:
                break
            self.records.append(record)
            whole += len(line)
        os.ftruncate(self._file, whole)
        os.lseek(self._file, whole, os.SEEK_SET)

    def add(self, *records: dict[str, Any]) -> None:
        """Add records, in one piece as far as the disk does that; they are on disk afterwards."""
        with self._writing():
            left = memoryview(b"".join(map(_line, records)))
            while left:
                # A disk that is nearly full takes a part, and says so at the next write.
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        self.records += records

    def begin(self, record: dict[str, Any]) -> None:
        """Make `record` the first and only one."""
        with self._writing():
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
        self.records.clear()
        self.add(record)

    def close(self) -> None:
        """Let another process use the log."""
        os.close(self._file)

    @contextlib.contextmanager
    def _writing(self) -> Any:
        try:
            yield
        except OSError as error:
            raise CheckpointError(
                f"{self.path} can't be written ({error.strerror}): make room; --resume goes on"
            ) from None


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, allow_nan=False)
    return json.dumps({"sum": zlib.crc32(text.encode()), "record": record}).encode() + b"\n"


def _checked(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, None where the line is not whole."""
    try:
        found = json.loads(line)
        record: dict[str, Any] = found["record"]
        good = found["sum"] == zlib.crc32(json.dumps(record, allow_nan=False).encode())
    except (ValueError, KeyError, TypeError):
        return None
    return record if good and line.endswith(b"\n") else None
