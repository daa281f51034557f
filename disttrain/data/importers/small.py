"""Imports the small real data sets that ship with disttrain: digits, iris, wine, breast cancer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from disttrain.data.importers import Imported
from disttrain.data.importers.download import unzipped_sha256
from disttrain.data.importers.shipped import shipped_folders
from disttrain.data.importers.tables import import_table
from disttrain.errors import DataError

__all__ = ["SHA256", "import_small"]

SHA256 = {
    "digits": "bb91ac08ceeb4eb7ddca61f0af46532f91c54eea07aab185ef61474328881e05",
    "iris": "dfbd65e193d531368aeb5fa8194e581cc9fb111300f8f89674da07c376ab419e",
    "wine": "d36a29e284f8d726d01de988f3cbd056c22b02d9c15a01e72273e26373faf97d",
    "breast-cancer": "8b8aa3675141b72d6a3648ead4a7059cad138443c6c139a02f65a7b6ef2f2c89",
}
"""Of the unzipped files."""

BRIGHTEST = 16
"""A pixel of the digits counts the dark points of a square of 4 x 4."""


def import_small(name: str, folder: Path | None = None) -> Imported:
    """Read the set `name` (a key of SHA256) from its table, the checksum verified.

    The table comes from `folder`; without one from data/small, in the current folder or beside the
    package. Inputs are (rows, features) float32; those of the digits (rows, 8, 8), divided by 16
    into 0 to 1. Raises DataError. Sources and licences: data/small/README.md.
    """
    path = _find(name, folder)
    if unzipped_sha256(path) != SHA256[name]:
        raise DataError(
            f"{path} is not the {name} data that ships with disttrain, as its checksum differs: "
            "fetch it again, or use 'prepare csv' for a table of your own"
        )
    imported = import_table(path)
    return _as_images(imported) if name == "digits" else imported


def _find(name: str, folder: Path | None) -> Path:
    folders = shipped_folders("small") if folder is None else (folder,)
    for place in folders:
        for path in (place / f"{name}.csv.gz", place / f"{name}.csv"):
            if path.is_file():
                return path
    if folder is None:
        raise DataError(
            f"there is no data/small with {name}.csv.gz here: give the folder that holds it with "
            "--from FOLDER"
        )
    raise DataError(f"{folder} does not hold {name}.csv.gz (or {name}.csv): put it there")


def _as_images(imported: Imported) -> Imported:
    # As uint8 they would be divided by 255, like pixels that go that far, and be nearly black.
    inputs, targets = imported.splits["train"]
    images = inputs.reshape(-1, 8, 8).astype(np.float32) / np.float32(BRIGHTEST)
    return Imported({"train": (images, targets)}, imported.classes)
