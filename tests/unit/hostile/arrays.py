"""Hostile arrays, written by h5py: where a plain one is expected, something else stands."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from tests.unit.hostile.run import name_of

# What the files beside the hostile one hold; it must never be read.
CANARY = np.arange(48, dtype="f4").reshape(12, 4) + 1e6
LARGE = 10**15
Array = Callable[[h5py.Group, str, Path], None]


def elsewhere(folder: Path) -> Path:
    path = folder / "elsewhere.h5"
    if not path.exists():
        with h5py.File(path, "w") as file:
            file["x"] = CANARY
        CANARY.tofile(folder / "elsewhere.raw")
        os.mkfifo(folder / "pipe.h5")
    return path


def external_storage(group: h5py.Group, name: str, folder: Path) -> None:
    elsewhere(folder)
    parts = [(str(folder / "elsewhere.raw"), 0, h5py.h5f.UNLIMITED)]
    group.create_dataset(name, (12, 4), "f4", external=parts)


def external_link(group: h5py.Group, name: str, folder: Path) -> None:
    group[name] = h5py.ExternalLink(str(elsewhere(folder)), "/x")


def external_link_to_a_pipe(group: h5py.Group, name: str, folder: Path) -> None:
    elsewhere(folder)
    group[name] = h5py.ExternalLink(str(folder / "pipe.h5"), "/x")


def soft_link(group: h5py.Group, name: str, folder: Path) -> None:
    group.create_dataset(f"{name}-real", data=CANARY)
    group[name] = h5py.SoftLink(f"{group.name}/{name}-real")


def soft_link_to_itself(group: h5py.Group, name: str, folder: Path) -> None:
    group[name] = h5py.SoftLink(f"{group.name}/{name}")


def virtual(group: h5py.Group, name: str, folder: Path) -> None:
    layout = h5py.VirtualLayout((12, 4), "f4")
    layout[:] = h5py.VirtualSource(str(elsewhere(folder)), "x", (12, 4))
    group.create_virtual_dataset(name, layout)


def of_type(dtype: object) -> Array:
    def write(group: h5py.Group, name: str, folder: Path) -> None:
        group.create_dataset(name, (12, 4), dtype)
        if dtype != h5py.ref_dtype:
            group[name][:] = group[name][:]

    return write


def of_low_level_type(kind: h5py.h5t.TypeID) -> Array:
    def write(group: h5py.Group, name: str, folder: Path) -> None:
        space = h5py.h5s.create_simple((12, 4))
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        h5py.h5d.create(group.id, name.encode(), kind, space, settings)

    return write


def committed_type(group: h5py.Group, name: str, folder: Path) -> None:
    group[f"{name}-type"] = np.dtype("f4")
    group.create_dataset(name, (12, 4), group[f"{name}-type"], data=CANARY)


def unknown_filter(group: h5py.Group, name: str, folder: Path) -> None:
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((12, 4))
    settings.set_filter(32123, h5py.h5z.FLAG_OPTIONAL, (1, 2))
    space = h5py.h5s.create_simple((12, 4))
    made = h5py.h5d.create(group.id, name.encode(), h5py.h5t.IEEE_F32LE, space, settings)
    made.write_direct_chunk((0, 0), CANARY.tobytes())


def never_written(group: h5py.Group, name: str, folder: Path) -> None:
    group.create_dataset(name, (LARGE, 4), "f4")


def chunks_never_written(group: h5py.Group, name: str, folder: Path) -> None:
    group.create_dataset(name, (LARGE, 4), "f4", chunks=(1024, 4), fillvalue=1.0)


def chunks_partly_written(group: h5py.Group, name: str, folder: Path) -> None:
    group.create_dataset(name, (12, 4), "f4", chunks=(4, 4), fillvalue=1.0)[:4] = CANARY[:4]


def bomb(group: h5py.Group, name: str, folder: Path) -> None:
    rows = 4 << 20
    made = group.create_dataset(name, (rows, 4), "f4", chunks=(rows // 8, 4), compression="gzip")
    packed = zlib.compress(bytes(rows * 2), 9)
    for low in range(0, rows, rows // 8):
        made.id.write_direct_chunk((low, 0), packed)


def a_chunk_that_goes_on(group: h5py.Group, name: str, folder: Path) -> None:
    """A small array whose one chunk unpacks to 100 MB."""
    made = group.create_dataset(name, (12, 4), "f4", chunks=(12, 4), compression="gzip")
    made.id.write_direct_chunk((0, 0), zlib.compress(bytes(100 << 20), 9))


def a_chunk_cut_off(group: h5py.Group, name: str, folder: Path) -> None:
    made = group.create_dataset(name, (12, 4), "f4", chunks=(12, 4), compression="gzip")
    made.id.write_direct_chunk((0, 0), zlib.compress(CANARY.tobytes())[:-20])


def a_chunk_without_its_checksum(group: h5py.Group, name: str, folder: Path) -> None:
    made = group.create_dataset(name, (12, 4), "f4", chunks=(12, 4), fletcher32=True)
    made.id.write_direct_chunk((0, 0), CANARY.tobytes() + b"abcd")


def large_chunk(group: h5py.Group, name: str, folder: Path) -> None:
    chunks = (1 << 27, 4)
    group.create_dataset(name, (1 << 27, 4), "f4", chunks=chunks, compression="gzip")


def scale_offset(group: h5py.Group, name: str, folder: Path) -> None:
    group.create_dataset(name, data=CANARY.astype("i4"), scaleoffset=0, chunks=(12, 4))


def a_hole(group: h5py.Group, name: str, folder: Path) -> None:
    """A terabyte and more that is all hole: the file has that size, the disk does not."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    group.create_dataset(name, (1 << 36, 4), "f4", dcpl=settings)


ARRAYS: dict[str, Array] = {
    name_of(f): f
    for f in (
        external_storage, external_link, external_link_to_a_pipe, soft_link, soft_link_to_itself,
        virtual, committed_type, unknown_filter, never_written, chunks_never_written,
        chunks_partly_written, bomb, a_chunk_that_goes_on, a_chunk_cut_off,
        a_chunk_without_its_checksum, large_chunk, scale_offset,
    )
} | {
    "references": of_type(h5py.ref_dtype),
    "region references": of_type(h5py.regionref_dtype),
    "objects": of_type(h5py.string_dtype()),
    "varying length": of_type(h5py.vlen_dtype(np.dtype("f4"))),
    "compound": of_type(np.dtype([("a", "f4"), ("b", "i4")])),
    "opaque": of_type(np.dtype("V8")),
    "enumeration": of_type(h5py.enum_dtype({"a": 0, "b": 1}, "i4")),
    "complex": of_type(np.dtype("c8")),
    "long double": of_type(np.dtype("longdouble")),
    "arrays": of_type(np.dtype(("f4", (3,)))),
    "bit field": of_low_level_type(h5py.h5t.STD_B8LE),
    "times": of_low_level_type(h5py.h5t.UNIX_D32LE),
}  # fmt: skip
