"""What every importer returns.

Importers are siblings: each turns the files of one kind into an `Imported`, with every value
checked, and knows nothing of the data file that the writer makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from disttrain.data.format import Array, Splits
from disttrain.data.preparation import Preparation

__all__ = ["Imported"]


@dataclass(frozen=True)
class Imported:
    """The splits that were read, and the names of the classes by number where there are names.

    `notes` say what was passed over or decided: sentences for the user. `preparation` is what was
    learned from a table. `weights` say how much each row of a split counts, where that was given.
    """

    splits: Splits
    classes: Sequence[str] | None = None
    notes: Sequence[str] = ()
    preparation: Preparation | None = None
    weights: Mapping[str, Array] = field(default_factory=dict)
