"""Whether a data file is whole: all of it where a record stands behind it, else its headers."""

from __future__ import annotations

from typing import Any

from disttrain.data.file import read_facts, reading
from disttrain.data.record import read_all
from disttrain.errors import DataError

__all__ = ["verify_data"]


def verify_data(path: str) -> dict[str, Any]:
    """Return whether the data file at `path` is `whole`, and the `problem` (None) where it is not.

    Its headers are read: names, shapes and types. Where `disttrain prepare` has written a record
    behind the file (`recorded`), every block of it is compared too; else damage among the values is
    not seen.
    """
    try:
        facts = read_facts(path)
        with reading(path):
            recorded = read_all(path)
    except DataError as error:
        return {"path": path, "whole": False, "problem": str(error), "damaged": []}
    rows = {name: split.rows for name, split in facts.splits.items()}
    return {
        "path": path, "whole": True, "problem": None, "damaged": [], "rows": rows,
        "recorded": recorded,
    }  # fmt: skip
