"""Imports IDX files, the format of MNIST: images in one file, labels in another."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from disttrain.data.format import Array, check_splits
from disttrain.data.importers import Imported
from disttrain.data.importers.checks import checked_inputs, checked_targets, of_one_type
from disttrain.data.importers.doubts import about_classes, about_inputs, about_quantities
from disttrain.data.importers.source import open_source
from disttrain.errors import DataError

__all__ = ["FILES", "find_files", "import_idx", "read_idx"]

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""The names that MNIST gave its files, images first."""

TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
CHUNK = 1 << 20


def import_idx(files: Mapping[str, tuple[Path, Path]], *, regression: bool = False) -> Imported:
    """Read the files (images, labels) of each split.

    Inputs are (rows, height, width) or whatever the file says. Raises DataError.
    """
    splits: dict[str, tuple[Array, Array]] = {}
    for split, (images, labels) in files.items():
        inputs, targets = read_idx(images), read_idx(labels)
        if inputs.ndim == 1:
            raise DataError(f"{images} holds one number a sample, as labels do: name the images")
        if inputs.shape[0] != targets.shape[0]:
            raise DataError(
                f"{images} holds {inputs.shape[0]} images but {labels} {targets.shape[0]} labels: "
                "they must belong together"
            )
        splits[split] = (
            checked_inputs(inputs, images, "images"),
            checked_targets(targets, labels, "labels", regression=regression),
        )
    splits = of_one_type(splits)
    check_splits(splits, ", ".join(str(images) for images, _ in files.values()))
    notes = [*about_inputs(splits), *about_quantities(splits, regression)]
    return Imported(splits, None, (*notes, *about_classes(splits, files["train"][1])))


def find_files(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Find MNIST's four files in `folder`, gzipped or not; the test files may be missing.

    Raises DataError that names what is missing.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: name the one that holds {FILES['train'][0]}")
    found = {}
    for split, names in FILES.items():
        paths = [_find(folder, name) for name in names]
        images, labels = paths
        if images is not None and labels is not None:
            found[split] = (images, labels)
        elif split == "train" or any(paths):
            missing = [name for name, path in zip(names, paths, strict=True) if path is None]
            raise DataError(
                f"{folder} does not hold {' and '.join(missing)} (with or without .gz): "
                "put them there, or name the files one by one"
            )
    return found


def read_idx(path: Path) -> Array:
    """Read one IDX file, gzipped or plain, of any of the format's six element types.

    The byte order of the result is the machine's. Memory grows with what the file holds, never
    with what its header claims. Raises DataError. Format: the MNIST database's own description.
    """
    with open_source(path) as stream:
        dtype, shape = _read_header(stream, path)
        expected = math.prod(shape) * dtype.itemsize
        content = bytearray()
        while len(content) < expected:
            chunk = stream.read(min(CHUNK, expected - len(content)))
            if not chunk:
                raise DataError(
                    f"{path} is truncated: its header promises {expected} bytes of shape "
                    f"{shape}, but it holds {len(content)}: fetch it again"
                )
            content += chunk
        if stream.read(1):
            raise DataError(
                f"{path} goes on after the {expected} bytes of shape {shape} that its header "
                "promises: fetch it again"
            )
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read_header(stream: BinaryIO, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = stream.read(4)
    if not magic:
        raise DataError(f"{path} is empty: fetch it again")
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not 0 < magic[3] <= 32:
        raise DataError(
            f"{path} is not an IDX file (it starts with {magic.hex(' ')}): check the path"
        )
    dimensions = magic[3]
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise DataError(f"{path} is truncated inside its header: fetch it again")
    return TYPES[magic[2]], struct.unpack(f">{dimensions}I", sizes)


def _find(folder: Path, name: str) -> Path | None:
    # "train-images.idx3-ubyte" is how some archives unpack it.
    for candidate in (name, name.replace("-idx", ".idx")):
        for suffix in (".gz", ""):
            path = folder / (candidate + suffix)
            if path.is_file():
                return path
    return None
