"""Imports images sorted into folders: the folder's name is the name of the class."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.data.format import ALIASES, Array, check_splits
from disttrain.data.importers import Imported
from disttrain.data.importers.labels import labelled_files
from disttrain.data.importers.source import RATIO, reading
from disttrain.data.importers.spool import Spool
from disttrain.data.labels import in_order
from disttrain.errors import DataError, UsageError

__all__ = [
    "SUFFIXES",
    "Looks",
    "class_folders",
    "files_in",
    "import_images",
    "name_of",
    "read_image",
    "size_of",
]

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff",
     ".webp")
)  # fmt: skip
# What a file may hold, whatever its name. Pillow has readers of 30 more formats: one of them starts
# Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
GREY = ("1", "L", "LA")
# The tag of a photograph that says how it was held, and from where on that was sideways.
ORIENTATION, SIDEWAYS = 0x0112, 5
SPLIT_FOLDERS = {name: split for split, names in ALIASES.items() for name in names}
# Images may unpack to so many bytes, or to RATIO times the bytes of their files.
SMALL = 256 << 20

Size = tuple[int, int]
"""Height and width, in pixels."""


@dataclass
class Looks:
    """How images are turned into arrays: scaled to `size`, all grey, all in colour.

    `films` are the images of several frames or pages, of which the first one was taken.
    """

    size: Size | None = None
    grey: bool = False
    colour: bool = False
    films: set[Path] = field(default_factory=set)

    def notes(self) -> list[str]:
        """Return a note of the films, if there were any."""
        count = len(self.films)
        said = f"{count} image{'s' * (count > 1)} with several frames or pages: the first was taken"
        return [said] if count else []


@dataclass
class Listing:
    """The images of a split, each with the number of its class, and what else lay there."""

    images: list[tuple[Path, int]] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def import_images(
    folder: Path,
    *,
    size: Size | None = None,
    grey: bool = False,
    colour: bool = False,
    labels: Path | None = None,
    room: Path | None = None,
) -> Imported:
    """Read FOLDER/CLASS/IMAGE, or FOLDER/train/CLASS/IMAGE with optional validation and test.

    Images in folders inside that of a class belong to the class. With `labels`, a table of file
    names and classes, they lie in FOLDER itself. Inputs are uint8, (rows, height, width) for grey
    images and (rows, height, width, 3) for colour; classes are numbered in the order of their
    names, 2 before 10. All have one shape unless `size` scales them; `grey` turns colour to grey,
    `colour` grey to colour. Pixels pass through a file in the folder `room`. What was passed over
    stands in the notes. Raises DataError that names the first bad image, UsageError where Pillow is
    missing.
    """
    if grey and colour:
        raise UsageError("give --grey or --colour, not both")
    _pillow()
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: name the one that holds a folder per class")
    looks = Looks(size, grey, colour)
    if labels is not None:
        return _with_labels(folder, labels, looks, room)
    with reading(folder):
        roots, notes = _split_folders(folder)
        classes = in_order(path.name for path in class_folders(roots["train"]))
        listings = {split: _list_images(root, classes) for split, root in roots.items()}
    splits = {split: _read_split(each.images, looks, room) for split, each in listings.items()}
    check_splits(splits, folder)
    others = sum((each.others for each in listings.values()), Counter())
    notes += looks.notes()
    notes += [
        f"passed over {count} file{'s' * (count > 1)} {kind}"
        for kind, count in sorted(others.items())
    ]
    return Imported(splits, [name_of(name) for name in classes], tuple(notes))


def _with_labels(folder: Path, labels: Path, looks: Looks, room: Path | None) -> Imported:
    """Read the images in a folder that a table names with their classes."""
    named = labelled_files(folder, labels, SUFFIXES)
    if not named:
        raise DataError(f"{labels} names no images: it needs a line for each")
    classes = in_order({called for _, called in named})
    numbers = {called: number for number, called in enumerate(classes)}
    images = [(path, numbers[called]) for path, called in named]
    splits = {"train": _read_split(images, looks, room)}
    check_splits(splits, folder)
    with reading(folder):
        there = {path for path in files_in(folder) if path.suffix.lower() in SUFFIXES}
    others = len(there - {path for path, _ in images})
    note = f"passed over {others} image{'s' * (others > 1)} in {folder} that {labels} does not name"
    return Imported(splits, classes, (*looks.notes(), *[note] * (others > 0)))


def name_of(name: str) -> str:
    """Return the name of a class: that of its folder, also where it was made in Latin-1."""
    raw = os.fsencode(name)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _split_folders(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the folder of each split, and notes of those that are none."""
    beside = class_folders(folder)
    found = {path: SPLIT_FOLDERS.get(path.name.lower()) for path in beside}
    # "train" may be a class of vehicles: then it holds images and no folders.
    splits = {split: path for path, split in found.items() if split and class_folders(path)}
    if "train" not in splits:
        _refuse_level(folder, beside)
        return {"train": folder}, []
    notes = []
    for path, split in found.items():
        if split is None or splits.get(split) != path:
            count = sum(len(files) for _, _, files in os.walk(path))
            notes.append(f"passed over {path} with {count} files: it is not a split of this data")
    return splits, notes


def _refuse_level(folder: Path, beside: list[Path]) -> None:
    """Raise DataError where train, test, ... lie one folder deeper, or would be classes."""
    inside = class_folders(beside[0]) if len(beside) == 1 else []
    if any(SPLIT_FOLDERS.get(path.name.lower()) for path in inside):
        raise DataError(f"{folder} has the splits one folder further down: give {beside[0]}")
    called = [path.name for path in beside if path.name.lower() in SPLIT_FOLDERS]
    if len(called) > 1:
        raise DataError(
            f"{folder}: {' and '.join(called)} hold images, but no folder for each class: "
            "make these, or say with --labels what each image shows"
        )


def class_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, in the order of their names."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _list_images(root: Path, classes: list[str]) -> Listing:
    """List the images of a split with their class, in the order of their names."""
    listing = Listing()
    for folder in class_folders(root):
        if folder.name not in classes:
            raise DataError(f"{folder} is a class that the training images don't have: move it")
        before = len(listing.images)
        for path in files_in(folder):
            if path.suffix.lower() not in SUFFIXES:
                listing.others[f"called *{path.suffix}, which are not images"] += 1
            elif not path.is_file():
                raise DataError(f"{path} is not a file (a pipe, or a broken link): remove it")
            else:
                listing.images.append((path, classes.index(folder.name)))
        if len(listing.images) == before:
            raise DataError(
                f"{folder} holds no images ({', '.join(sorted(SUFFIXES))}): "
                "put some there or remove the folder"
            )
    if not listing.images:
        raise DataError(
            f"{root} holds no folders with images: make one folder per class, or say with --labels "
            "what each image shows"
        )
    loose = sum(p.suffix.lower() in SUFFIXES and not p.is_dir() for p in root.iterdir())
    if loose:
        listing.others[f"in {root} that lie in no folder of a class"] = loose
    return listing


def files_in(folder: Path) -> list[Path]:
    """Return all files in a folder and in those inside it, each folder once."""
    found, seen = [], set()
    for place, folders, files in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = sorted(
            name for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(place, name)) not in seen
        )  # fmt: skip
        found += [Path(place, name) for name in sorted(files) if not name.startswith(".")]
    return found


def _read_split(
    images: Sequence[tuple[Path, int]], looks: Looks, room: Path | None
) -> tuple[Array, Array]:
    first = read_image(first_path := images[0][0], looks)
    _refuse_bomb([path for path, _ in images], first.nbytes)
    pixels = Spool(first.shape, first.dtype, room)
    for path, _ in images:
        image = read_image(path, looks)
        if image.shape != first.shape:
            raise DataError(
                f"{path} has shape {image.shape}, but {first_path} has {first.shape}: give "
                "--size to scale all to one, --grey or --colour to make all grey or coloured"
            )
        pixels.append(image[np.newaxis])
    return pixels.rows(), np.array([number for _, number in images], dtype=np.int64)


def _refuse_bomb(paths: list[Path], each: int) -> None:
    """Refuse images that would become far more than their files."""
    unpacked, stored = each * len(paths), sum(path.stat().st_size for path in paths)
    if unpacked > max(SMALL, RATIO * stored):
        raise DataError(
            f"the {len(paths)} images in {paths[0].parent.parent} unpack to {unpacked:,} bytes, "
            f"more than {RATIO} times their size: scale them with --size HxW"
        )


def size_of(path: Path) -> tuple[Size, bool] | None:
    """Return the size of an image and whether it is grey; None where that can't be told."""
    try:
        with _pillow().Image.open(path, formats=FORMATS) as opened:
            turned = opened.getexif().get(ORIENTATION, 1) >= SIDEWAYS
            width, height = opened.size[::-1] if turned else opened.size
            return (height, width), opened.mode in GREY
    except UsageError:
        raise
    except Exception:  # what is wrong is said when it is read
        return None


def read_image(path: Path, looks: Looks) -> Array:
    """Return the pixels of an image: uint8, as `looks` says. Raises DataError."""
    pillow = _pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tags that are no pixels
            # Pillow refuses what is twice as large as it thinks safe, and before that only warns.
            warnings.simplefilter("error", pillow.Image.DecompressionBombWarning)
            with pillow.Image.open(path, formats=FORMATS) as opened:
                if opened.mode.startswith(("I", "F")):
                    raise DataError(f"{path} has more than 8 bits per pixel: convert it to 8")
                if getattr(opened, "is_animated", False):
                    looks.films.add(path)
                image = pillow.ImageOps.exif_transpose(opened)
            grey = looks.grey or image.mode in GREY
            image = image.convert("L" if grey and not looks.colour else "RGB")
            if looks.size is not None:
                image = image.resize((looks.size[1], looks.size[0]))
            return np.asarray(image, dtype=np.uint8)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path} is missing: put it back, or leave it out") from None
    except Exception as error:  # of damage Pillow tells by errors of many classes
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
