"""DataFrames of scripts as tables: read as files are, but for their types, which they have."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from disttrain.data.cells import plain_cells
from disttrain.data.format import Array
from disttrain.data.importers.columns import Options
from disttrain.data.importers.learn import learn
from disttrain.data.importers.tables import rows_of
from disttrain.data.preparation import Missing, Preparation
from disttrain.errors import DataError

if TYPE_CHECKING:
    import pandas

__all__ = ["as_frame", "inputs_of_frame", "learn_frame"]


class FrameTable:
    """A DataFrame with its columns by their names; rows are counted from 0, whatever its index."""

    def __init__(self, frame: pandas.DataFrame, called: str) -> None:
        self.path, self._frame = Path(called), frame
        self.names = [str(name) for name in frame.columns]
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise DataError(f"{called} has several columns '{twice}': call each by its own name")
        if not len(frame):
            raise DataError(f"{called} has no rows: give some")

    def blocks(
        self, texts: Collection[int] = (), classes: Collection[int] = ()
    ) -> Iterator[pandas.DataFrame]:
        """Yield all rows at once."""
        yield plain_cells(self._frame.reset_index(drop=True))

    def place(self, row: int, column: int) -> str:
        """Return the words for a cell."""
        return f"{self.path}, row {row}, column '{self.names[column]:.60}'"


def as_frame(given: Any) -> pandas.DataFrame | None:
    """Return `given` if it is a DataFrame of pandas, or what turns itself into one; else None."""
    if hasattr(given, "to_pandas") and hasattr(given, "columns"):
        given = given.to_pandas()
    pandas = sys.modules.get("pandas")
    return given if pandas is not None and isinstance(given, pandas.DataFrame) else None


def learn_frame(
    frame: pandas.DataFrame, missing: Missing, targets: Sequence[str], classes: Sequence[str]
) -> tuple[Preparation, list[str]]:
    """Return how the columns of a DataFrame become inputs, and notes of what was decided.

    Numbers become float64; bytes in all columns stay pixels. `targets` and `classes` are what these
    are called. Raises DataError.
    """
    pixels = all(kind == np.uint8 for kind in frame.dtypes)
    table = FrameTable(frame, "the DataFrame of train")
    made, notes = learn(table, Options(missing=missing, pixels=pixels, everything=True), [])
    dtype = "uint8" if pixels else "float64"
    return replace(made, targets=tuple(targets), classes=tuple(classes), dtype=dtype), notes


def inputs_of_frame(
    frame: pandas.DataFrame, preparation: Preparation, called: str
) -> tuple[Array, Array]:
    """Return the inputs of a DataFrame, read as that of the training was, and its rows with gaps.

    Raises DataError for what that does not have.
    """
    found = rows_of(FrameTable(frame, called), preparation, None, [], labelled=False)
    return found.inputs, found.gaps
