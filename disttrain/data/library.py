"""What stands between a data file and the HDF5 library: what it reads through, what it says."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from disttrain.data.stored import Refused, Source

__all__ = ["Stream", "library"]


class Stream(io.RawIOBase):
    """A source as a file object."""

    def __init__(self, source: Source) -> None:
        self._source, self._place = source, 0

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; return it, counted from the beginning."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._source.size}
        self._place = base[whence] + place
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; what lies behind the end, where HDF5 looks too, is left as it is."""
        count = max(0, min(len(buffer), self._source.size - self._place))
        buffer[:count] = self._source.read(self._place, count)
        self._place += count
        return count


@contextmanager
def library() -> Iterator[None]:
    """Turn what the HDF5 library says into Refused."""
    try:
        yield
    except (Refused, MemoryError):
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Refused(f"the HDF5 library says: {reason}") from None
