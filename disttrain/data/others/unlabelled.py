"""Rows without targets, read like the training rows that they are to go with in a data file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from disttrain.comm.alone import Alone
from disttrain.config import Data
from disttrain.data.format import Array
from disttrain.data.importers import Imported
from disttrain.data.normalization import DIVISOR, Normalization
from disttrain.data.others import Wanted, open_other
from disttrain.data.taught import Taught

__all__ = ["unlabelled_rows"]


def unlabelled_rows(path: Path, imported: Imported) -> Array:
    """Return the inputs of all rows of a file as the training rows of `imported` have them.

    The file is of any kind that `disttrain predict` takes. Raises DataError for rows of another
    shape or type.
    """
    inputs, targets = next(iter(imported.splits.values()))
    width, shape = int(np.prod(inputs.shape[1:])), inputs.shape[1:]
    divisor = DIVISOR if inputs.dtype == np.uint8 else 1.0
    taught = Taught(
        f"the rows with targets for {path.name}", shape, 1,
        int(targets.max()) + 1 if targets.dtype.kind == "i" else 0,
        Normalization("none", divisor, np.zeros(width), np.ones(width)),
        tuple(imported.classes or ()), imported.preparation,
    )  # fmt: skip
    found = open_other(
        str(path), taught, Data(path=str(path)), Alone(), Wanted(labelled=False)
    ).split
    stored, places = found.rows.locate(np.arange(found.count))
    return np.asarray(stored[places]).reshape(found.count, *shape).astype(inputs.dtype, copy=False)
