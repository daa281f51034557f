"""What every importer returns.

Importers are siblings: each turns the files of one kind into an `Imported`, with every value
checked, and knows nothing of the data file that the writer makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from disttrain.data.format import Array, Splits
from disttrain.data.preparation import Preparation

__all__ = ["Imported", "counted_from_zero"]


@dataclass(frozen=True)
class Imported:
    """The splits that were read, and the names of the classes by number where there are names.

    `notes` say what was passed over or decided: sentences for the user. `preparation` is what was
    learned from a table. `weights` say how much each row of a split counts, where that was given.
    `unlabelled` are inputs of more rows, which have no targets.
    """

    splits: Splits
    classes: Sequence[str] | None = None
    notes: Sequence[str] = ()
    preparation: Preparation | None = None
    weights: Mapping[str, Array] = field(default_factory=dict)
    unlabelled: Array | None = None


def counted_from_zero(imported: Imported) -> Imported:
    """Return `imported` with classes 0..K-1 where its labels are 1..K: these become their names.

    Else a network would have a unit for a class 0 that no row is of.
    """
    labels = {name: targets for name, (_, targets) in imported.splits.items()}
    if imported.classes is not None or any(t.dtype.kind != "i" for t in labels.values()):
        return imported
    found = np.unique(next(iter(labels.values())))
    count = len(found)
    if count < 2 or not np.array_equal(found, np.arange(1, count + 1)):
        return imported
    if any(t.min() < 1 or t.max() > count for t in labels.values()):
        return imported
    return replace(
        imported,
        splits={name: (inputs, targets - 1) for name, (inputs, targets) in imported.splits.items()},
        classes=[str(number) for number in found.tolist()],
        notes=[*imported.notes, f"the labels count from 1: 1 to {count} are the names of classes"],
    )
