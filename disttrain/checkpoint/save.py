"""Writing a checkpoint so that it is whole on disk or not there at all.

The file is built in memory, written to a temporary file beside it, synced and renamed over its
name; then the directory is synced. HDF5 never writes to the disk itself: it would write in many
places, and it does not recover from a full disk.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from disttrain.checkpoint.commit import Attributes, Part, commit
from disttrain.checkpoint.snapshot import Snapshot
from disttrain.disk import make_directory, sync_directory
from disttrain.errors import CheckpointError

__all__ = ["FORMAT", "VERSION", "save", "write_atomically"]

FORMAT = "disttrain-checkpoint"
VERSION = 1
Arrays = dict[str, np.ndarray | np.bytes_]


def save(path: Path, snapshot: Snapshot) -> None:
    """Write `snapshot` to `path`, replacing what is there only when the new file is safe on disk.

    Raises CheckpointError, with the previous file untouched, where the disk refuses.
    """
    write_atomically(path, image(snapshot))


def image(snapshot: Snapshot) -> bytes:
    """Return the bytes of the checkpoint that holds `snapshot`: HDF5, and its commit record."""
    return written(*contents_of(snapshot))


def contents_of(snapshot: Snapshot) -> tuple[Arrays, Attributes]:
    """Return what a checkpoint holds: arrays and texts by path, attributes by group."""
    attributes: dict[str, dict[str, Any]] = {
        "": {
            "format": FORMAT,
            "version": VERSION,
            "step": snapshot.step,
            "epoch": float(snapshot.epoch),
            "digest": snapshot.digest,
        },
        "normalization": {},
    }
    arrays: Arrays = {}
    groups = {"parameters": snapshot.parameters, **snapshot.slots, "average": snapshot.average}
    for group, tensors in groups.items():
        arrays |= {f"{group}/{name}": tensor for name, tensor in tensors.items()}
    for key, value in snapshot.normalization.items():
        if isinstance(value, np.ndarray):
            arrays[f"normalization/{key}"] = value
        else:
            attributes["normalization"][key] = value
    arrays["run_file"] = np.bytes_(snapshot.run_file.encode())
    names = {"tensors": list(snapshot.parameters), "slots": list(snapshot.slots)}
    state = {**snapshot.state, "progress": snapshot.progress.to_json(), **names}
    arrays["state"] = np.bytes_(json.dumps(state).encode())
    return arrays, attributes


def written(arrays: Arrays, attributes: Attributes) -> bytes:
    """Return an HDF5 file, its arrays contiguous and unfiltered, with its commit record."""
    parts = {}
    with h5py.File("checkpoint", "w", driver="core", backing_store=False) as file:
        for name, own in attributes.items():
            group = file.require_group(name) if name else file
            group.attrs.update(own)
        for name, array in arrays.items():
            made = file.create_dataset(name, data=array)
            # An array without elements has no offset.
            place = made.id.get_offset() or 0
            parts[name] = Part(place, made.nbytes, "", made.dtype.str, made.shape)
        file.flush()
        return commit(file.id.get_file_image(), parts, attributes)


def write_atomically(
    path: Path,
    content: bytes | Iterable[bytes | memoryview],
    *,
    error: Callable[[str], Exception] = CheckpointError,
) -> None:
    """Put `content`, in one piece or several, at `path`: there is the old file or the new one."""
    neighbour = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        make_directory(path.parent)
        with open(neighbour, "wb", buffering=0) as file:
            for part in (content,) if isinstance(content, bytes) else content:
                view = memoryview(part)
                while view:
                    view = view[file.write(view) :]
            os.fsync(file.fileno())
        os.replace(neighbour, path)
        sync_directory(path.parent)
    except OSError as problem:
        with contextlib.suppress(OSError):
            neighbour.unlink(missing_ok=True)
        raise error(
            f"{path} can't be written ({problem.strerror}): the file that was there is unchanged; "
            "make room or choose another --output"
        ) from None
    except BaseException:
        with contextlib.suppress(OSError):
            neighbour.unlink(missing_ok=True)
        raise
