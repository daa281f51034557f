"""Opens a file to import, gzipped or not, and turns whatever is wrong with it into one sentence."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from disttrain.errors import DataError

__all__ = ["open_source", "reading"]

GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def open_source(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for reading bytes, unzipped where its first bytes say gzip, whatever its name.

    Raises DataError, also for errors met later, inside the `with` block.
    """
    with reading(path), path.open("rb") as raw:
        zipped = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        raw.seek(0)
        if zipped:
            with gzip.open(raw, "rb") as unzipped:
                yield cast(BinaryIO, unzipped)
        else:
            yield raw


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
