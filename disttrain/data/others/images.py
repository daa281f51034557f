"""Reads images: one, or a folder of them; those of a class lie in a folder of its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from disttrain.data.cells import by_name, place_of
from disttrain.data.dataset import Split
from disttrain.data.format import ALIASES
from disttrain.data.importers.images import (
    SUFFIXES,
    Looks,
    class_folders,
    files_in,
    name_of,
    read_image,
    size_of,
)
from disttrain.data.importers.labels import labelled_files
from disttrain.data.importers.source import Read, reading
from disttrain.data.others.base import Other, Wanted, chosen
from disttrain.data.source import Rows
from disttrain.data.taught import Taught
from disttrain.errors import DataError, UsageError

__all__ = ["from_images"]


class ImageRows(Rows):
    """Images, each read when it is needed and brought to the size and colours of the network's."""

    def __init__(self, paths: Sequence[Path], looks: Looks, inputs: int) -> None:
        self._paths, self._looks = list(paths), looks
        self.count, self.inputs, self.dtype = len(self._paths), inputs, np.dtype(np.uint8)

    def locate(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels of `samples`."""
        found = np.empty((len(samples), self.inputs), np.uint8)
        for place, sample in enumerate(samples.tolist()):
            found[place] = read_image(self._paths[sample], self._looks).reshape(-1)
        return found, np.arange(len(samples))


def from_images(path: Path, taught: Taught, wanted: Wanted, read: Read) -> Other:
    """Return the images of a folder in the order of their names, by which they are called."""
    looks = _looks_of(taught)
    taught.normalization.refuse_other_type(np.dtype(np.uint8))
    notes = list[str]()
    with reading(path):
        if wanted.labels is not None:
            found = _of_labels(path, taught, wanted, notes)
        elif wanted.labelled:
            found = _of_classes(path, taught, wanted.split)
        else:
            found = _all_in(path, wanted.split)
        paths = [each for each, _ in found]
        odd = sum(size_of(each) != (looks.size, looks.grey) for each in paths)
    if odd:
        height, width = looks.size or (0, 0)
        colours = "grey" if looks.grey else "colour"
        notes.append(
            f"{odd} of {len(paths)} images are brought to {height} x {width} pixels in {colours}, "
            f"as the network of {taught.network} takes"
        )
    rows = ImageRows(paths, looks, int(np.prod(taught.shape)))
    targets = np.array([number for _, number in found], np.int64)
    names = [name_of(str(each.relative_to(path) if path.is_dir() else each.name)) for each in paths]
    return Other(Split("images", rows, targets), names, kind="image", notes=notes)


def _looks_of(taught: Taught) -> Looks:
    """Return size and colours of the network's images. Raises DataError where it takes none."""
    axes = list(taught.shape)
    grey = len(axes) < 3 or axes[-1] != 3
    sides = [n for n in axes if n != 1] if grey else axes[:2]
    if len(sides) != 2 or (not grey and len(axes) != 3):
        raise DataError(
            f"the network of {taught.network} takes samples of shape {taught.shape}, which are not "
            "images of height x width (x 3): give what it was trained on"
        )
    return Looks((sides[0], sides[1]), grey=grey, colour=not grey)


def _all_in(path: Path, split: str | None) -> list[tuple[Path, int]]:
    """Return an image, or all of a folder; their classes are not looked at."""
    if split is not None:
        raise UsageError(f"all images in {path} are taken: leave --split {split} out")
    if not path.is_dir():
        return [(path, 0)]
    found = [(each, 0) for each in files_in(path) if each.suffix.lower() in SUFFIXES]
    if not found:
        raise DataError(f"{path} holds no images ({', '.join(sorted(SUFFIXES))})")
    return found


def _of_labels(
    path: Path, taught: Taught, wanted: Wanted, notes: list[str]
) -> list[tuple[Path, int]]:
    """Return the images that the table of labels names, each with the number of its class."""
    assert wanted.labels is not None
    if wanted.split is not None:
        raise UsageError(f"{path} has no splits and is used whole: leave --split out")
    if not path.is_dir():
        raise DataError(f"{path} is not a folder: --labels is for the images in a folder")
    numbers = by_name(taught.called)
    found = []
    for image, called in labelled_files(path, wanted.labels, SUFFIXES):
        number = place_of(called, numbers)
        if number < 0:
            raise DataError(
                f"{wanted.labels}: {image.name} is of the class '{called:.60}', which the network "
                f"of {taught.network} does not have: it has {_some(taught)}; leave it out, or "
                "train with it"
            )
        found.append((image, number))
    there = sum(each.suffix.lower() in SUFFIXES for each in files_in(path))
    if there > len(found):
        notes.append(f"passed over {there - len(found)} images that {wanted.labels} does not name")
    return found


def _some(taught: Taught) -> str:
    return ", ".join(taught.called[:10]) + ", ..." * (len(taught.called) > 10)


def _of_classes(path: Path, taught: Taught, split: str | None) -> list[tuple[Path, int]]:
    """Return the images in the folders of classes, each with the number of its class."""
    if not path.is_dir() or not taught.classes:
        raise DataError(
            f"{path} does not say what its images show: give a folder for each class, or --labels"
        )
    numbers = by_name(taught.called)
    words = {word: name for name, words in ALIASES.items() for word in words}
    roots = {
        words[folder.name.lower()]: folder for folder in class_folders(path)
        if folder.name.lower() in words and folder.name not in numbers and class_folders(folder)
    }  # fmt: skip
    if not roots and split is not None:
        raise UsageError(f"{path} has no splits and is used whole: leave --split {split} out")
    found = []
    for root in [roots[name] for name in chosen(list(roots), path, split)] or [path]:
        for folder in class_folders(root):
            if name_of(folder.name) not in numbers:
                raise DataError(
                    f"{folder} is a class that the network of {taught.network} does not have: it "
                    f"has {_some(taught)}; move it, or train with it"
                )
            number = numbers[name_of(folder.name)]
            found += [(f, number) for f in files_in(folder) if f.suffix.lower() in SUFFIXES]
    if not found:
        raise DataError(f"{path} holds no folders with images: make one folder for each class")
    return found
