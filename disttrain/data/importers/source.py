"""Opens a file to import, packed or not, and turns whatever is wrong with it into one sentence."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from disttrain.errors import DataError

__all__ = ["RATIO", "SMALL", "Read", "kept", "open_source", "reading"]

Read = Callable[[Path, int, float], None]
"""Called with a file, and how many rows and what part of it (0 to 1) were read in this pass."""

# What the first bytes of a packed file are, by the way of packing.
MAGICS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"PK\x03\x04": "zip"}
# A packed file may unpack to so many times its size (and a small one to more): tables of digits
# reach 50, what was made to fill a memory 1000.
RATIO, SMALL = 200, 1 << 20
# An xz file says how much memory its reading needs; those of `xz -9` need 65 MiB.
XZ_MEMORY = 256 << 20
RAW_BYTES = 1 << 18


@contextmanager
def open_source(path: Path, told: Callable[[float], None] | None = None) -> Iterator[BinaryIO]:
    """Open `path` for reading bytes, unpacked where its first bytes say gzip, bzip2, xz or zip.

    A zip file must hold one file. `told` is called with the part of the file (0 to 1) that was
    read. Raises DataError, also for errors met later, inside the `with`
    block.
    """
    with reading(path):
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise DataError(f"{path} is a pipe or a device: give a file")
        with io.BufferedReader(_Told(path, told), RAW_BYTES) as raw:
            start = raw.read(max(map(len, MAGICS)))
            raw.seek(0)
            way = next((way for magic, way in MAGICS.items() if start.startswith(magic)), None)
            if way is None:
                yield raw
                return
            most = max(SMALL, RATIO * os.fstat(raw.fileno()).st_size)
            with _unpacked(raw, way, path) as stream, Bounded(stream, most, path) as bounded:
                yield cast(BinaryIO, io.BufferedReader(bounded))


@contextmanager
def kept(path: Path) -> Iterator[Path]:
    """Give `path`, or where it is a pipe ("-": standard input) a file with what comes out of it."""
    if str(path) != "-" and (not path.exists() or path.is_file() or path.is_dir()):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="disttrain-") as folder, reading(path):
        copy = Path(folder, "stdin" if str(path) == "-" else path.name)
        with (
            nullcontext(os.fdopen(0, "rb", closefd=False)) if str(path) == "-" else path.open("rb")
        ) as pipe, copy.open("wb") as file:  # fmt: skip
            shutil.copyfileobj(pipe, file)
        try:
            yield copy
        except DataError as error:
            shown = "standard input" if str(path) == "-" else str(path)
            raise DataError(str(error).replace(str(copy), shown)) from error


def _unpacked(raw: BinaryIO, way: str, path: Path) -> Any:
    if way == "gzip":
        return gzip.open(raw, "rb")
    if way == "bzip2":
        return bz2.open(raw, "rb")
    if way == "xz":
        lzma.LZMADecompressor(memlimit=XZ_MEMORY).decompress(raw.read(1 << 16), max_length=1)
        raw.seek(0)
        return lzma.open(raw, "rb")
    return _only_member(zipfile.ZipFile(raw), path)


def _only_member(archive: zipfile.ZipFile, path: Path) -> IO[bytes]:
    members = [
        member for member in archive.infolist()
        if not member.is_dir() and not member.filename.startswith("__MACOSX/")
    ]  # fmt: skip
    if "[Content_Types].xml" in archive.namelist():
        raise DataError(f"{path} is a workbook of Excel or the like: save its sheet there as CSV")
    if len(members) != 1:
        names = ", ".join(repr(member.filename)[1:-1] for member in members[:5])
        raise DataError(
            f"{path} holds {len(members)} files ({names}): unzip it and give the one to read"
        )
    if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{path} is packed in an unusual way: unzip it yourself if you trust it")
    if members[0].flag_bits & 1:
        raise DataError(f"{path} is locked with a password: unzip it first")
    return archive.open(members[0])


class _Told(io.FileIO):
    """A file that tells how far it was read."""

    def __init__(self, path: Path, told: Callable[[float], None] | None) -> None:
        super().__init__(path)
        self._told, self._size = told, max(1, os.fstat(self.fileno()).st_size)

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as possible; return the number of bytes."""
        count = super().readinto(buffer)
        if self._told is not None:
            self._told(self.tell() / self._size)
        return count


class Bounded(io.RawIOBase):
    """A stream that gives `most` bytes, and a DataError where there are more."""

    def __init__(self, stream: IO[bytes], most: int, path: Path) -> None:
        self._stream, self._left, self._path = stream, most, path

    def readable(self) -> bool:
        """Return True, as for all that can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as possible; return the number of bytes."""
        content = self._stream.read(len(buffer))
        buffer[: len(content)] = content
        self._left -= len(content)
        if self._left < 0:
            raise DataError(
                f"{self._path} unpacks to more than {RATIO} times its size: unzip it yourself if "
                "you trust it"
            )
        return len(content)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the operating system and the unpackers say about `path` into a DataError."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: check the path") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not a file: name a file") from error
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is a damaged packed file ({error}): fetch it again") from error
    except EOFError as error:
        raise DataError(f"{path} is a truncated packed file: fetch it again") from error
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno else str(error)
        raise DataError(f"{path} can't be read ({cause}): check the path and its rights") from error
