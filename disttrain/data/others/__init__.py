"""Files that a network is used on, read through what its training file taught, in their order.

Data files, numpy's files, tables, images. With `labelled` their targets come too, in the network's
numbering; without, they need none, and what there is of them is passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from disttrain.comm import Communicator
from disttrain.config import Data
from disttrain.data.importers.images import SUFFIXES
from disttrain.data.importers.source import Read, reading
from disttrain.data.others.arrays import from_npy, from_npz
from disttrain.data.others.base import Other, Wanted
from disttrain.data.others.data_file import from_data_file, split_of
from disttrain.data.others.images import from_images
from disttrain.data.others.table import from_table
from disttrain.data.taught import Taught
from disttrain.errors import UsageError

__all__ = ["Other", "Wanted", "is_hdf5", "open_other", "split_of"]

HDF5, NPY = b"\x89HDF\r\n\x1a\n", b"\x93NUMPY"

Reader = Callable[[Path, Taught, Wanted, Read], Other]


def open_other(
    path: str, taught: Taught, settings: Data, comm: Communicator, wanted: Wanted
) -> Other:
    """Return the samples of a file that was not trained on. Collective.

    Raises on all ranks, with DataError's code, for what the training file does not have.
    """
    with comm.together("opening data"):
        read = _reader(Path(path))
        if wanted.labels is not None and read is not from_images:
            raise UsageError(
                f"--labels {wanted.labels} is for a folder of images, which {path} is not: leave "
                "it out"
            )
    if read is None:
        return from_data_file(path, taught, settings, comm, wanted)
    with comm.together("reading data"):
        return read(Path(path), taught, wanted, lambda *so_far: comm.phase("reading data"))


def is_hdf5(path: str) -> bool:
    """Tell whether a file is HDF5, by its first bytes or its name."""
    return _start_of(Path(path)) == HDF5 or Path(path).suffix.lower() in (".h5", ".hdf5")


def _reader(path: Path) -> Reader | None:
    """Return what reads such a file; None for a data file, which the ranks read together."""
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in SUFFIXES:
        return from_images
    if is_hdf5(str(path)):
        return None
    if _start_of(path).startswith(NPY) or suffix == ".npy":
        return from_npy
    return from_npz if suffix == ".npz" else from_table


def _start_of(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with reading(path), path.open("rb") as file:
        return file.read(len(HDF5))
