"""Writing a checkpoint so that it is whole on disk or not there at all.

The file is laid out in memory, written to a temporary file beside it, synced and renamed over its
name; then the directory is synced. HDF5 never writes to the disk itself: it would write in many
places, and it does not recover from a full disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.checkpoint.commit import Attributes, commit
from disttrain.checkpoint.layout import Arrays, Buffer, bytes_of, laid_out
from disttrain.checkpoint.snapshot import Snapshot
from disttrain.disk import make_directory, sync_directory
from disttrain.errors import CheckpointError

__all__ = [
    "FORMAT",
    "VERSION",
    "Draft",
    "drafted",
    "image",
    "pieces_of",
    "save",
    "write_atomically",
]

FORMAT = "disttrain-checkpoint"
VERSION = 1


def save(path: Path, snapshot: Snapshot) -> None:
    """Write `snapshot` to `path`, replacing what is there only when the new file is safe on disk.

    Raises CheckpointError, with the previous file untouched, where the disk refuses.
    """
    write_atomically(path, pieces_of(snapshot))


def image(snapshot: Snapshot) -> bytes:
    """Return the bytes of the checkpoint that holds `snapshot`: HDF5, and its commit record."""
    return b"".join(pieces_of(snapshot))


def pieces_of(snapshot: Snapshot) -> list[Buffer]:
    """Return the same in pieces: those of tensors are the memory in which the tensors are.

    They must not change until the pieces are written.
    """
    tensors = tensors_of(snapshot)
    # SHA-256 of each tensor, while this thread computes that of all of them, which is stated too.
    with ThreadPoolExecutor(1) as beside:
        found = beside.map(sha_of, tensors.values())
        arrays, attributes = contents_of(snapshot)
        return written(arrays, attributes, dict(zip(tensors, found, strict=True)))


def tensors_of(snapshot: Snapshot) -> Arrays:
    """Return all tensors by path."""
    groups = {"parameters": snapshot.parameters, **snapshot.slots, "average": snapshot.average}
    return {
        f"{group}/{name}": tensor
        for group, tensors in groups.items()
        for name, tensor in tensors.items()
    }


def sha_of(array: np.ndarray | np.bytes_) -> str:
    """Return SHA-256 of the bytes of an array."""
    return hashlib.sha256(bytes_of(array)).hexdigest()


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
    arrays = tensors_of(snapshot)
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


def written(
    arrays: Arrays, attributes: Attributes, known: Mapping[str, str] | None = None
) -> list[Buffer]:
    """Return an HDF5 file and its commit record in pieces; `known` are SHA-256 of some arrays."""
    pieces, between, parts = laid_out(arrays, attributes)
    known = known or {}
    parts = {
        name: part._replace(sha=known.get(name) or sha_of(arrays[name]))
        for name, part in parts.items()
    }
    return [*pieces, commit(sum(map(len, pieces)), between, parts, attributes)]


def write_atomically(
    path: Path,
    content: bytes | Iterable[Buffer],
    *,
    error: Callable[[str], Exception] = CheckpointError,
) -> None:
    """Put `content`, in one piece or several, at `path`: there is the old file or the new one."""
    drafted(path, content, error=error).put()


class Draft:
    """A file that is safe on disk beside `path`: `put` gives it this name, `discard` deletes it."""

    def __init__(self, path: Path, error: Callable[[str], Exception]) -> None:
        self._path, self._error = path, error
        self._neighbour = path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def write(self, content: Iterable[Buffer]) -> None:
        """Write the pieces and sync the file."""
        with self._discarded_by_errors():
            make_directory(self._path.parent)
            with open(self._neighbour, "wb", buffering=0) as file:
                for part in content:
                    view = memoryview(part)
                    while view:
                        view = view[file.write(view) :]
                os.fsync(file.fileno())

    def put(self) -> None:
        """Put the file in the place of the one that is there."""
        with self._discarded_by_errors():
            os.replace(self._neighbour, self._path)
            sync_directory(self._path.parent)

    def discard(self) -> None:
        """Delete the file, which is not wanted any more."""
        with contextlib.suppress(OSError):
            self._neighbour.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _discarded_by_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            self.discard()
            raise self._error(
                f"{self._path} can't be written ({problem.strerror}): the file that was there is "
                "unchanged; make room or write to another place"
            ) from None
        except BaseException:
            self.discard()
            raise


def drafted(
    path: Path,
    content: bytes | Iterable[Buffer],
    *,
    error: Callable[[str], Exception] = CheckpointError,
) -> Draft:
    """Return `content`, in one piece or several, as a draft of the file at `path`."""
    draft = Draft(path, error)
    draft.write((content,) if isinstance(content, bytes) else content)
    return draft
