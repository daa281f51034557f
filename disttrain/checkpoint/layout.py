"""An HDF5 file in pieces: its structure, and between that the arrays from where they are in memory.

HDF5 writes the structure into a nameless file in memory that is all holes where the arrays belong:
of a large array it is given one element, so that it reserves the place for all of them. So no array
is copied, and the bytes are those that HDF5 would write by itself.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import h5py
import numpy as np

from disttrain.checkpoint.commit import Attributes, Part

__all__ = ["Arrays", "Buffer", "bytes_of", "laid_out"]

Arrays = dict[str, np.ndarray | np.bytes_]
Buffer = bytes | memoryview
Read = Callable[[int, int], bytes]
# Bytes from which on an array is large.
LARGE = 1 << 16
CLOSE_ON_EXEC = 1


def bytes_of(array: np.ndarray | np.bytes_) -> Buffer:
    """Return the bytes of an array, row by row; those of a contiguous one where they are."""
    if isinstance(array, np.bytes_):
        return bytes(array)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def laid_out(
    arrays: Arrays, attributes: Attributes
) -> tuple[list[Buffer], list[bytes], dict[str, Part]]:
    """Return the pieces of the file, those of them that are structure, and where the arrays lie.

    The arrays are contiguous in the file and unfiltered.
    """
    pieces: list[Buffer] = []
    between: list[bytes] = []
    with _structure(arrays, attributes) as (size, parts, read):
        done = 0
        for name, part in sorted(parts.items(), key=lambda item: item[1]):
            # An array without elements has no place of its own.
            if part.length:
                between.append(read(done, part.first))
                pieces += [between[-1], bytes_of(arrays[name])]
                done = part.first + part.length
        between.append(read(done, size))
    return [*pieces, between[-1]], between, parts


@contextmanager
def _structure(
    arrays: Arrays, attributes: Attributes
) -> Iterator[tuple[int, dict[str, Part], Read]]:
    """Yield the file's size, the places of its arrays, and a function that reads its structure."""
    opened = _nameless()
    if opened is None:
        # The file is built with all arrays in it, but for their numbers.
        with h5py.File("checkpoint", "w", driver="core", backing_store=False) as file:
            parts = _fill(file, arrays, attributes)
            file.flush()
            image = file.id.get_file_image()
        yield len(image), parts, lambda low, high: image[low:high]
        return
    number, file = opened
    try:
        with file:
            parts = _fill(file, arrays, attributes)
        yield os.fstat(number).st_size, parts, lambda low, high: os.pread(number, high - low, low)
    finally:
        os.close(number)


def _nameless() -> tuple[int, h5py.File] | None:
    """Return a new file in memory that has no name, also as HDF5 opens it, or None without one.

    HDF5 may crash the process where a write fails, so the file lies in no folder that can be full,
    as /dev/shm may be, and there is none where the size of files is limited.
    """
    create = getattr(ctypes.CDLL(None), "memfd_create", None)
    if create is None or resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
        return None
    number = create(b"disttrain-checkpoint", CLOSE_ON_EXEC)
    if number < 0:
        return None
    try:
        # HDF5's usual driver asks for the path behind the link in /proc, and there is none.
        return number, h5py.File(f"/proc/self/fd/{number}", "w", driver="stdio")
    except OSError:
        os.close(number)
        return None
    except BaseException:
        os.close(number)
        raise


def _is_large(array: np.ndarray | np.bytes_) -> bool:
    return isinstance(array, np.ndarray) and array.ndim > 0 and array.nbytes >= LARGE


def _fill(file: h5py.File, arrays: Arrays, attributes: Attributes) -> dict[str, Part]:
    """Write attributes and arrays, of the large ones one element."""
    parts, groups = {}, {"": file}
    for name, own in attributes.items():
        group = groups[name] = file.require_group(name) if name else file
        for key, value in own.items():
            group.attrs.create(key, value)
    for path, array in arrays.items():
        above, _, name = path.rpartition("/")
        if above not in groups:
            groups[above] = file.require_group(above)
        if isinstance(array, np.ndarray) and _is_large(array):
            made = groups[above].create_dataset(name, array.shape, array.dtype)
            first = (0,) * array.ndim
            made[first] = array[first]
        else:
            made = groups[above].create_dataset(name, data=array)
        # An array without elements has no offset.
        place = made.id.get_offset() or 0
        parts[path] = Part(place, array.nbytes, "", array.dtype.str, array.shape)
    return parts
