"""Writes a data file: whole and shuffled, or not at all."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from disttrain.arrays import permutation
from disttrain.data.format import (
    CLASSES,
    FORMAT,
    INPUTS,
    PREPARATION,
    TARGETS,
    UNLABELLED,
    VERSION,
    WEIGHTS,
    Array,
    Splits,
    check_names,
    check_splits,
    check_unlabelled,
    check_weights,
)
from disttrain.data.importers.spool import blocks_of
from disttrain.data.preparation import Preparation
from disttrain.data.record import add_record, fingerprint
from disttrain.disk import sync_directory
from disttrain.errors import DataError

__all__ = ["Progress", "check_replaceable", "write_data_file"]

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""

BLOCK_BYTES = 8 << 20
METADATA_BYTES = 64 << 10
# An attribute of HDF5 holds less than 64 KiB; each name in a list takes as much as the longest.
LONGEST_ATTRIBUTE = 4 << 10
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
CHECKPOINT = b"disttrain-checkpoint"

ADVICE = {
    errno.ENOSPC: "free some space or name another folder",
    errno.EDQUOT: "free some space or name another folder",
    errno.EFBIG: "files this large are not allowed there: name another folder",
    errno.EACCES: "name a folder that you may write to",
    errno.EPERM: "name a folder that you may write to",
    errno.EROFS: "name a folder that you may write to",
}


def check_replaceable(path: Path) -> None:
    """Raise DataError where `path` can't be written: a folder, or a file of another kind.

    Nothing is created.
    """
    path = _resolved(path)
    with _one_sentence(path):
        if path.is_dir():
            raise DataError(f"{path} is a folder: name the data file to write inside it")
        if path.exists() and path.stat().st_size > 0 and not _is_data_file(path):
            raise DataError(
                f"{path} exists and is not a data file of disttrain, so it is not replaced: "
                "name another one, or remove it first"
            )
        folder = next(parent for parent in path.parents if parent.exists())
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"{folder} can't be written to")


def _is_data_file(path: Path) -> bool:
    """Tell whether disttrain wrote a data file, also where it is damaged by now.

    Checkpoints and HDF5 files of other programs are none.
    """
    with path.open("rb") as file:
        head = file.read(METADATA_BYTES)
    named = FORMAT.encode() in head and CHECKPOINT not in head
    return head.startswith(HDF5_SIGNATURE) and (named or fingerprint(str(path)) != "")


def write_data_file(
    path: Path,
    splits: Splits,
    classes: Sequence[str] | None = None,
    *,
    preparation: Preparation | None = None,
    weights: Mapping[str, Array] | None = None,
    unlabelled: Array | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> None:
    """Write `splits` to the data file `path`, the rows of `train` in an order drawn from `seed`.

    Inputs are (rows, ...), targets (rows,) int64 or (rows, outputs) floats; see format.py.
    `classes` are names by number; `preparation` is how a table became these rows; `weights` say
    how much each row of a split counts (rows,), 0 or more; `unlabelled` are inputs of more rows,
    which have no targets. The missing folders of `path` are created. A good file at `path` is
    replaced at the very end, in one move; after any error it is untouched and nothing else is left.
    Raises DataError where the splits are bad or the disk refuses.
    """
    check_splits(splits, path)
    check_names(classes or (), path)
    arrays = _arrays(splits, weights or {}, path)
    if unlabelled is not None:
        check_unlabelled(unlabelled, splits, path)
        arrays[f"{UNLABELLED}/{INPUTS}"] = unlabelled
    check_replaceable(path)
    path = _resolved(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with _one_sentence(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(draft, arrays, _texts(classes, preparation), seed, progress)
            os.replace(draft, path)
        except BaseException:  # also Ctrl-C: a half-written file must never stay
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def _arrays(splits: Splits, weights: Mapping[str, Array], path: Path) -> dict[str, Array]:
    """Return the arrays of the file by their names in it."""
    found: dict[str, Array] = {}
    for name, (inputs, targets) in splits.items():
        found |= {f"{name}/{INPUTS}": inputs, f"{name}/{TARGETS}": targets}
        if name in weights:
            found[f"{name}/{WEIGHTS}"] = own = np.asarray(weights[name], np.float32)
            check_weights(own, len(inputs), f"{path}, split '{name}'")
    return found


def _write(
    draft: Path,
    arrays: dict[str, Array],
    texts: dict[str, str],
    seed: int,
    progress: Progress | None,
) -> None:
    total = sum(array.nbytes for array in arrays.values())
    _try_size(draft, total + METADATA_BYTES)
    offsets = _lay_out(draft, arrays, texts)
    orders = {
        group: permutation(len(arrays[f"{group}/{INPUTS}"]), seed, purpose)
        for group, purpose in (("train", "prepare"), (UNLABELLED, "prepare unlabelled"))
        if f"{group}/{INPUTS}" in arrays
    }
    done = 0
    with draft.open("r+b") as file:
        for name, array in arrays.items():
            file.seek(offsets[name])
            for written in _write_rows(file, array, orders.get(name.partition("/")[0])):
                done += written
                if progress is not None:
                    progress(done, total)
    facts = {
        name: [_stored(array).str, list(array.shape), offsets[name]]
        for name, array in arrays.items()
    }
    add_record(draft, facts, texts)


def _texts(classes: Sequence[str] | None, preparation: Preparation | None) -> dict[str, str]:
    """Return what the file holds besides rows, each as JSON."""
    texts = {}
    if classes is not None:
        texts[CLASSES] = json.dumps(list(classes))
    if preparation is not None:
        texts[PREPARATION] = preparation.to_json()
    return texts


def _try_size(draft: Path, size: int) -> None:
    # Where HDF5 fails to flush a file, the process crashes at its exit. So the size and the first
    # blocks are written without it, to see whether the disk takes them.
    with draft.open("wb") as file:
        file.write(bytes(METADATA_BYTES))
        file.truncate(size)
        file.flush()
        os.fsync(file.fileno())


def _lay_out(draft: Path, arrays: dict[str, Array], texts: dict[str, str]) -> dict[str, int]:
    """Write everything but the rows; return where in the file each array starts, in bytes.

    The rows are then written around HDF5, for the reason given in `_try_size`.
    """
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    offsets = {}
    # The oldest form, whatever HDF5's version: every program reads it.
    with h5py.File(draft, "w", libver="earliest") as f:
        f.attrs["format"] = FORMAT
        f.attrs["version"] = VERSION
        for name, text in texts.items():
            if name == CLASSES and len(text.encode()) <= LONGEST_ATTRIBUTE:
                f.attrs[CLASSES] = json.loads(text)
            else:
                f[name] = np.frombuffer(text.encode(), np.uint8)
        for name, array in arrays.items():
            f.create_dataset(name, shape=array.shape, dtype=_stored(array), dcpl=settings)
            offsets[name] = f[name].id.get_offset()
    return offsets


def _stored(array: Array) -> np.dtype[Any]:
    return array.dtype.newbyteorder("<")


def _write_rows(file: BinaryIO, array: Array, order: Array | None) -> Iterator[int]:
    """Write the rows of `array` in `order`, block by block; yield the bytes of each block."""
    dtype = _stored(array)
    for block in blocks_of(array, order, BLOCK_BYTES):
        file.write(np.ascontiguousarray(block, dtype=dtype).data)
        yield block.nbytes


def _resolved(path: Path) -> Path:
    # Replace the file that a symbolic link points to, not the link.
    return Path(os.path.realpath(path))


@contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno else str(error)
        advice = ADVICE.get(error.errno or 0, "check the path and the disk")
        raise DataError(f"{path} can't be written ({cause}): {advice}") from error
