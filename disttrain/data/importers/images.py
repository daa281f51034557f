"""Imports images sorted into folders: the folder's name is the name of the class."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.data.format import Array, check_splits
from disttrain.data.importers import Imported
from disttrain.data.importers.source import reading
from disttrain.errors import DataError, UsageError

__all__ = ["SUFFIXES", "import_images"]

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
SPLIT_FOLDERS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}

Size = tuple[int, int]
"""Height and width, in pixels."""


def import_images(folder: Path, *, size: Size | None = None, grey: bool = False) -> Imported:
    """Read FOLDER/CLASS/IMAGE, or FOLDER/train/CLASS/IMAGE with optional validation and test.

    Inputs are uint8, (rows, height, width) for grey images and (rows, height, width, 3) for
    colour; classes are numbered in the order of their names. All images have one shape unless
    `size` scales them; `grey` turns colour to grey. Raises DataError that names the first bad
    image, UsageError where Pillow is missing.
    """
    _pillow()
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: name the one that holds a folder per class")
    with reading(folder):
        roots = _split_folders(folder)
        classes = [path.name for path in _class_folders(roots["train"])]
        listings = {split: _list_images(root, classes) for split, root in roots.items()}
    splits = {split: _read_split(images, size, grey) for split, images in listings.items()}
    check_splits(splits, folder)
    return Imported(splits, classes)


def _split_folders(folder: Path) -> dict[str, Path]:
    train = folder / "train"
    if not (train.is_dir() and _class_folders(train)):  # "train" may be a class of vehicles
        return {"train": folder}
    return {
        split: folder / name
        for name, split in SPLIT_FOLDERS.items()
        if (folder / name).is_dir() and _class_folders(folder / name)
    }


def _class_folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _list_images(root: Path, classes: list[str]) -> list[tuple[Path, int]]:
    """List the images of a split with their class, in the order of their names."""
    listing = []
    for folder in _class_folders(root):
        if folder.name not in classes:
            raise DataError(f"{folder} is a class that the training images don't have: move it")
        files = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
        images = [p for p in files if p.suffix.lower() in SUFFIXES]
        if not images:
            raise DataError(
                f"{folder} holds no images ({', '.join(sorted(SUFFIXES))}): "
                "put some there or remove the folder"
            )
        listing += [(image, classes.index(folder.name)) for image in images]
    if not listing:
        raise DataError(f"{root} holds no folders with images: make one folder per class")
    return listing


def _read_split(
    images: list[tuple[Path, int]], size: Size | None, grey: bool
) -> tuple[Array, Array]:
    first_path = images[0][0]
    first = _read_image(first_path, size, grey)
    inputs = np.empty((len(images), *first.shape), dtype=np.uint8)
    for row, (path, _) in enumerate(images):
        pixels = _read_image(path, size, grey)
        if pixels.shape != first.shape:
            raise DataError(
                f"{path} has shape {pixels.shape}, but {first_path} has {first.shape}: "
                "give --size to scale all to one, --grey to make all grey"
            )
        inputs[row] = pixels
    return inputs, np.array([number for _, number in images], dtype=np.int64)


def _read_image(path: Path, size: Size | None, grey: bool) -> Array:
    pillow = _pillow()
    try:
        with warnings.catch_warnings():
            # Pillow refuses what is twice as large as it thinks safe, and before that only warns.
            warnings.simplefilter("error", pillow.Image.DecompressionBombWarning)
            image = pillow.Image.open(path)
        with image as opened:
            if opened.mode.startswith(("I", "F")):
                raise DataError(f"{path} has more than 8 bits per pixel: convert it to 8")
            image = pillow.ImageOps.exif_transpose(opened)
            image = image.convert("L" if grey or image.mode in ("1", "L", "LA") else "RGB")
            if size is not None:
                image = image.resize((size[1], size[0]))
            return np.asarray(image, dtype=np.uint8)
    except DataError:
        raise
    # Pillow's readers of the various formats report damage by errors of many classes.
    except Exception as error:
        raise DataError(f"{path} is not a readable image ({error}): remove it") from error


def _pillow() -> Any:
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise UsageError(
            "reading images needs Pillow, which is not installed: pip install 'disttrain[images]'"
        ) from error
    return PIL
