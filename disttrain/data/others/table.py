"""Reads tables: columns by name, through what the training table taught."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from disttrain.data.dataset import Split
from disttrain.data.importers.columns import Options, find_targets
from disttrain.data.importers.header import TARGET_NAMES
from disttrain.data.importers.source import Read, kept
from disttrain.data.importers.table import Table, open_table
from disttrain.data.importers.tables import rows_of
from disttrain.data.others.base import Other, Wanted, refuse_split
from disttrain.data.preparation import Column, Preparation
from disttrain.data.taught import Taught
from disttrain.errors import DataError

__all__ = ["from_table"]


def from_table(path: Path, taught: Taught, wanted: Wanted, read: Read) -> Other:
    """Return the rows of a table in their order; without targets none is left out."""
    refuse_split(path, wanted.split)
    known, notes = taught.preparation, list[str]()
    with kept(path) as source:
        target = ",".join(known.targets) if known else None
        decimal, na = (known.decimal, known.na) if known else (".", ())
        table = open_table(source, target, decimal, na, read)
        if known is None:
            known = _by_place(table, taught, wanted.labelled)
            notes.append(
                f"the network of {taught.network} has no column names: those of {path} are "
                "taken in their order"
            )
        notes += _passed_over(table, known, wanted.labelled)
        found = rows_of(table, known, None, notes, wanted.labelled)
    rows = taught.rows_of(found.inputs)
    rows.gaps = found.gaps
    targets = found.targets if wanted.labelled else np.zeros(rows.count, np.int64)
    return Other(Split("table", rows, targets, found.weights), range(rows.count), notes=notes)


def _passed_over(table: Table, known: Preparation, labelled: bool) -> list[str]:
    """Return a note of the columns that are not used."""
    used = {column.name for column in known.columns}
    used |= {*known.targets, known.weights} if labelled else set()
    extra = [name for name in table.names if name not in used]
    if not extra:
        return []
    some = ", ".join(f"'{name:.40}'" for name in extra[:10]) + ", ..." * (len(extra) > 10)
    return [f"passed over {len(extra)} column{'s' * (len(extra) > 1)} of {table.path}: {some}"]


def _by_place(table: Table, taught: Taught, labelled: bool) -> Preparation:
    """Return how to read a table for a network that was not trained on one."""
    wanted, count = int(np.prod(taught.shape)), len(table.names)
    targets = find_targets(table, Options()) if labelled or count == wanted + 1 else []
    if not labelled and targets and table.names[targets[0]].lower() not in TARGET_NAMES:
        raise DataError(
            f"{table.path} has {count} columns, but the network of {taught.network} takes {wanted} "
            "numbers a sample, and knows no names of columns: leave out the one that is no input, "
            f"or call it {TARGET_NAMES[0]}"
        )
    inputs = [name for number, name in enumerate(table.names) if number not in targets]
    if len(inputs) != wanted:
        raise DataError(
            f"{table.path} has {len(inputs)} columns of inputs, but the network of "
            f"{taught.network} takes {wanted} numbers a sample, and knows no names of columns: "
            "give a table with so many"
        )
    return Preparation(
        tuple(map(Column, inputs)),
        tuple(table.names[number] for number in targets),
        taught.called,
        dtype="uint8" if taught.normalization.pixels else "float64",
    )
