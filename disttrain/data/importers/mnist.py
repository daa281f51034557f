"""Imports MNIST: the files that ship with disttrain, those of a folder, or those of a mirror."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from disttrain.data.importers import Imported
from disttrain.data.importers.download import download, unzipped_sha256
from disttrain.data.importers.idx import FILES, find_files, import_idx
from disttrain.data.importers.shipped import shipped_folders
from disttrain.errors import DataError

__all__ = ["MIRRORS", "SHA256", "import_mnist"]

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""Of the unzipped files."""

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    "http://yann.lecun.com/exdb/mnist",
)


def import_mnist(
    folder: Path | None = None, *, mirrors: Sequence[str] = MIRRORS, cache: Path | None = None
) -> Imported:
    """Read MNIST's 60000 training and 10000 test images, their checksums verified.

    Inputs are (rows, 28, 28) uint8, targets (rows,) from 0 to 9. The files come from `folder`;
    without one from data/mnist, in the current folder or beside the package; else from `mirrors`,
    kept in `cache`. Raises DataError. Source: LeCun et al., Gradient-based learning applied to
    document recognition, Proc. IEEE 86(11), 1998.
    """
    if folder is not None:
        return _import_checked(folder)
    for shipped in shipped_folders("mnist"):
        if _is_complete(shipped):
            return _import_checked(shipped)
    return _import_checked(_download_all(mirrors, cache or _cache_folder()))


def _import_checked(folder: Path) -> Imported:
    files = find_files(folder)
    for split, names in FILES.items():
        if split not in files:
            raise DataError(f"{folder} does not hold {' and '.join(names)}: put them there")
        for name, path in zip(names, files[split], strict=True):
            if unzipped_sha256(path) != SHA256[name]:
                raise DataError(
                    f"{path} is not MNIST's {name}, as its checksum differs: fetch it again, or "
                    "use 'prepare idx' for other data in this format"
                )
    return import_idx(files)


def _is_complete(folder: Path) -> bool:
    try:
        return set(find_files(folder)) == set(FILES)
    except DataError:
        return False


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "disttrain" / "mnist"


def _download_all(mirrors: Sequence[str], cache: Path) -> Path:
    try:
        for name, sha256 in SHA256.items():
            download(f"{name}.gz", sha256, mirrors, cache)
    except DataError as error:
        raise DataError(
            f"{error}, and there is no data/mnist here: put the four files of MNIST into a folder "
            "and give it with --from FOLDER"
        ) from error
    return cache
