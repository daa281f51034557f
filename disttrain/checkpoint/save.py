"""Writing a checkpoint so that it is whole on disk or not there at all.

The file is built in memory, written to a neighbour in one go, synced, renamed over its name, and
the directory is synced. HDF5 never writes to the disk itself: its own writes in place are many,
and it does not recover from a full disk.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from disttrain.checkpoint.commit import commit
from disttrain.checkpoint.snapshot import Snapshot
from disttrain.disk import make_directory, sync_directory
from disttrain.errors import CheckpointError

__all__ = ["FORMAT", "VERSION", "save", "write_atomically"]

FORMAT = "disttrain-checkpoint"
VERSION = 1


def save(path: Path, snapshot: Snapshot) -> None:
    """Write `snapshot` to `path`, replacing what is there only when the new file is safe on disk.

    Raises CheckpointError, with the previous file untouched, where the disk refuses.
    """
    write_atomically(path, image(snapshot))


def image(snapshot: Snapshot) -> bytes:
    """Return the bytes of the checkpoint that holds `snapshot`: HDF5, and its commit record."""
    with h5py.File("checkpoint", "w", driver="core", backing_store=False) as file:
        file.attrs.update(
            format=FORMAT,
            version=VERSION,
            step=snapshot.step,
            epoch=float(snapshot.epoch),
            digest=snapshot.digest,
        )
        for group, tensors in {"parameters": snapshot.parameters, **snapshot.slots}.items():
            for name, tensor in tensors.items():
                file.create_dataset(f"{group}/{name}", data=tensor)
        _write(file, "normalization", snapshot.normalization)
        file["run_file"] = np.bytes_(snapshot.run_file.encode())
        names = {"tensors": list(snapshot.parameters), "slots": list(snapshot.slots)}
        state = {**snapshot.state, **names}
        file["state"] = np.bytes_(json.dumps(state).encode())
        file.flush()
        return commit(file.id.get_file_image(), _places(file))


def _places(file: h5py.File) -> dict[str, tuple[int, int]]:
    """Return where the bytes of each data set stand: contiguous, unfiltered."""
    places = {}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        # One without elements has no place.
        if isinstance(item, h5py.Dataset) and item.nbytes:
            places[name] = (item.id.get_offset(), item.nbytes)

    file.visititems(visit)
    return places


def _write(file: h5py.File, name: str, facts: Mapping[str, Any]) -> None:
    """Write arrays as datasets and the rest as attributes of a group."""
    group = file.create_group(name)
    for key, value in facts.items():
        if isinstance(value, np.ndarray):
            group.create_dataset(key, data=value)
        else:
            group.attrs[key] = value


def write_atomically(
    path: Path, content: bytes, *, error: Callable[[str], Exception] = CheckpointError
) -> None:
    """Put `content` at `path` so that a reader, or a crash, sees the old file or the new one."""
    neighbour = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        make_directory(path.parent)
        with open(neighbour, "wb", buffering=0) as file:
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
        os.replace(neighbour, path)
        sync_directory(path.parent)
    except OSError as problem:
        with contextlib.suppress(OSError):
            neighbour.unlink(missing_ok=True)
        raise error(
            f"{path} can't be written ({problem.strerror}): what stands there is still whole; "
            "make room or choose another --output"
        ) from None
    except BaseException:
        with contextlib.suppress(OSError):
            neighbour.unlink(missing_ok=True)
        raise
