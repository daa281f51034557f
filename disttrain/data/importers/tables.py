"""Imports tables, a row for each sample; others are read through what the first one taught."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from disttrain.data.cells import Place
from disttrain.data.format import Array, check_splits, check_weights
from disttrain.data.importers import Imported
from disttrain.data.importers.columns import Options
from disttrain.data.importers.learn import learn
from disttrain.data.importers.source import Read, kept
from disttrain.data.importers.spool import Spool
from disttrain.data.importers.table import Table, open_table
from disttrain.data.preparation import Preparation
from disttrain.errors import DataError

__all__ = ["Options", "TableRows", "import_table", "read_table", "rows_of"]


def import_table(
    path: Path,
    options: Options | None = None,
    *,
    others: Mapping[str, Path] | None = None,
    like: Preparation | None = None,
    room: Path | None = None,
    read: Read | None = None,
) -> Imported:
    """Read the training table at `path`, and `others` (split → path) through what it taught.

    With `like` nothing is learned: the table is read as the one that `like` was learned from, and
    becomes the split "test". Text may be compressed, and come from a pipe. Inputs are (rows,
    inputs), float32 unless that would lose differences; targets as in `Splits`. Rows pass through a
    file in the folder `room`. Raises DataError that names line and column, UsageError.
    """
    options = options or Options()
    notes: list[str] = []
    with kept(path) as source:
        wanted = options.target if like is None else ",".join(like.targets)
        table = open_table(source, wanted, options.decimal, options.na, read)
        split = "train" if like is None else "test"
        if like is None:
            like, notes = learn(table, options, room=room)
        found = {split: rows_of(table, like, room, notes)}
    for split, other in (others or {}).items():
        with kept(other) as source:
            found[split] = rows_of(_opened(source, like, read), like, room, notes)
    pairs = {name: (rows.inputs, rows.targets) for name, rows in found.items()}
    splits = _with_small_targets(pairs)
    check_splits(splits, path)
    weights = {name: rows.weights for name, rows in found.items() if rows.weights is not None}
    for name, own in weights.items():
        check_weights(own, len(own), f"{path}, split '{name}'")
    return Imported(splits, like.named, tuple(notes), like, weights)


def read_table(
    path: Path,
    preparation: Preparation,
    *,
    labelled: bool = True,
    room: Path | None = None,
    notes: list[str] | None = None,
    read: Read | None = None,
) -> tuple[Array, Array]:
    """Return inputs and targets of the table at `path`, read as the training table was, in order.

    Columns are matched by name, classes too; without `labelled` there need be no targets, and none
    are returned (rows, 0). Raises DataError for what the training table does not have.
    """
    table = _opened(path, preparation, read)
    found = rows_of(table, preparation, room, notes if notes is not None else [], labelled)
    return found.inputs, found.targets


def _opened(path: Path, known: Preparation, read: Read | None) -> Table:
    return open_table(path, ",".join(known.targets), known.decimal, known.na, read)


class TableRows(NamedTuple):
    """Inputs, targets, weights where the training table had such a column; see `Rows.gaps`."""

    inputs: Array
    targets: Array
    weights: Array | None
    gaps: Array


def rows_of(
    table: Table, preparation: Preparation, room: Path | None, notes: list[str],
    labelled: bool = True,
) -> TableRows:  # fmt: skip
    """Return the rows of a table. Rows with gaps are left out where the training left them out.

    Unless `labelled` they keep their place: their inputs are 0, and their numbers are in `gaps`. A
    table without the column of weights has weights of 1. Notes say so.
    """
    places = preparation.places(table.names, table.path, labelled)
    texts = [places[name] for name in preparation.texts if name in places]
    spool = Spool((preparation.width,), np.dtype(preparation.dtype), room)
    parts, gaps = list[Array](), list[Array]()
    start = 0
    classes = [places[name] for name in preparation.targets if preparation.classes and labelled]
    weighted = labelled and preparation.weights != ""
    column, weights = places.get(preparation.weights), list[Array]()
    if weighted and column is None:
        notes.append(
            f"{table.path} has no column '{preparation.weights:.60}': rows count as 1 each"
        )
    for block in table.blocks(texts, classes):
        place = partial(_place, table, start)
        inputs = preparation.inputs_of(block, places, place)
        targets = np.empty((len(block), 0))
        if labelled:
            targets = preparation.targets_of(block, places, place)
        good = ~_gaps(preparation, inputs, targets, places, place)
        if not labelled:
            gaps.append(start + np.flatnonzero(~good))
            inputs[~good], good[:] = 0.0, True
        spool.append(preparation.cast(inputs[good], places, place))
        parts.append(targets[good])
        if weighted:
            weights.append(preparation.weights_of(block, column, place)[good])
        start += len(block)
    if not start:
        raise DataError(f"{table.path} holds a header but no rows: add rows")
    if not spool.count:
        raise DataError(f"{table.path} holds no row without a missing cell: see --missing")
    empty = np.concatenate([np.empty(0, np.int64), *gaps])
    _say_gaps(table, start, start - spool.count, len(empty), notes)
    return TableRows(
        spool.rows(), np.concatenate(parts), np.concatenate(weights) if weighted else None, empty
    )


def _say_gaps(table: Table, rows: int, dropped: int, kept: int, notes: list[str]) -> None:
    """Add notes of the rows with gaps: those that were left out, and those that were kept."""
    if dropped:
        notes.append(f"{table.path}: {dropped} of {rows} rows with gaps were left out")
    if kept:
        notes.append(
            f"{table.path}: {kept} of {rows} rows have gaps, which the training left out: they "
            "keep their place, without a prediction"
        )


def _place(table: Table, start: int, row: int, column: int) -> str:
    """Return the words for a cell of the block that begins with row `start`."""
    return table.place(start + row, column)


def _gaps(
    preparation: Preparation, inputs: Array, targets: Array, places: Mapping[str, int],
    place: Place,
) -> Array:  # fmt: skip
    """Return which rows to drop for their missing cells; refuse them where none may be dropped."""
    gaps = np.isnan(inputs)
    bad = np.asarray(gaps.any(axis=1))
    lost = targets < 0 if targets.ndim == 1 else np.isnan(targets).any(axis=1)
    if preparation.missing == "drop":
        return np.asarray(bad | lost)
    if preparation.missing != "refuse" and not bad.any():
        return np.asarray(lost)
    if bad.any():
        row = int(np.argmax(bad))
        column = places[preparation.column_of(int(np.argmax(gaps[row]))).name]
        raise DataError(
            f"{place(row, column)}: the cell is empty, and nothing is known of the training table "
            "that would fill it: fill it, or prepare all with --missing mean|median|indicator"
        )
    if lost.any():
        row = int(np.argmax(lost))
        raise DataError(
            f"{place(row, places[preparation.targets[0]])}: the cell is empty: every row needs a "
            "target (--missing drop leaves such rows out)"
        )
    return bad


def _with_small_targets(splits: dict[str, tuple[Array, Array]]) -> dict[str, tuple[Array, Array]]:
    """Return quantities as float32 where that loses none of the differences in training."""
    targets = next(iter(splits.values()))[1]
    if targets.dtype == np.int64:
        return splits
    size, spread = np.abs(targets).max(axis=0), np.ptp(targets, axis=0)
    lost = (spread > 0) & (size * 2.0**-24 > 1e-4 * spread)
    if lost.any() or size.max() > np.finfo(np.float32).max:
        return splits
    return {name: (inputs, own.astype(np.float32)) for name, (inputs, own) in splits.items()}
