"""Opens a file to import, gzipped or not, and turns whatever is wrong with it into one sentence."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from disttrain.errors import DataError

__all__ = ["RATIO", "SMALL", "open_source", "reading"]

GZIP_MAGIC = b"\x1f\x8b"
# A gzip file may unpack to so many times its size (and a small one to more): tables of digits reach
# 50, what was made to fill a memory 1000.
RATIO, SMALL = 200, 1 << 20


@contextmanager
def open_source(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for reading bytes, unzipped where its first bytes say gzip, whatever its name.

    Raises DataError, also for errors met later, inside the `with` block.
    """
    with reading(path), path.open("rb") as raw:
        zipped = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        raw.seek(0)
        if zipped:
            most = max(SMALL, RATIO * os.fstat(raw.fileno()).st_size)
            with gzip.open(raw, "rb") as unzipped, Bounded(unzipped, most, path) as bounded:
                yield cast(BinaryIO, io.BufferedReader(bounded))
        else:
            yield raw


class Bounded(io.RawIOBase):
    """A stream that gives `most` bytes, and a DataError where there are more."""

    def __init__(self, stream: gzip.GzipFile, most: int, path: Path) -> None:
        self._stream, self._left, self._path = stream, most, path

    def readable(self) -> bool:
        """Return True, as for all that can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as possible; return the number of bytes."""
        count = self._stream.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise DataError(
                f"{self._path} unpacks to more than {RATIO} times its size: unzip it yourself if "
                "you trust it"
            )
        return count


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the operating system and gzip say about `path` into a DataError."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: check the path") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not a file: name a file") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is a damaged gzip file ({error}): fetch it again") from error
    except EOFError as error:
        raise DataError(f"{path} is a truncated gzip file: fetch it again") from error
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno else str(error)
        raise DataError(f"{path} can't be read ({cause}): check the path and its rights") from error
