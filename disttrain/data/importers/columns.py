"""Which columns of a table are targets, weights and inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from disttrain.data.cells import as_texts
from disttrain.data.importers.header import NAMELESS, TARGET_NAMES, again_index, is_index
from disttrain.data.importers.survey import Survey
from disttrain.data.importers.table import Table
from disttrain.data.preparation import Missing
from disttrain.errors import DataError, UsageError

__all__ = ["Options", "find_targets", "inputs_among", "weights_among"]


@dataclass(frozen=True)
class Options:
    """What the user says of a table; None and "" mean: find out.

    With `everything` a first column that only numbers the rows is an input too.
    """

    target: str | None = None
    regression: bool = False
    columns: str | None = None
    drop: str | None = None
    pixels: bool = False
    one_hot: bool = False
    missing: Missing = "refuse"
    decimal: str = "."
    na: tuple[str, ...] = ()
    weights: str | None = None
    everything: bool = False


def find_targets(table: Table, options: Options) -> list[int]:
    """Return the numbers of the target columns. Raises DataError."""
    names = [name for name in table.names if name]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{table.path} has several columns '{twice}': call each by its own name")
    if options.target is not None:
        return _named(table, options.target, "target")
    lowered = [name.lower() for name in table.names]
    known = [name for name in TARGET_NAMES if name in lowered]
    # Where x and y are coordinates, the class stands in the last column.
    if known == ["y"] and "x" in lowered and lowered[-1] != "y" and len(lowered) > 2:
        first = next(iter(table.blocks()), None)
        if first is not None and first.dtypes.iloc[-1].kind not in "biuf":
            known = []
    if known:
        return [lowered.index(known[0])]
    # Behind the last comma of a line may be nothing at all.
    named = [n for n, name in enumerate(table.names) if not name.startswith(NAMELESS)]
    last = named[-1] if named else len(lowered) - 1
    if is_index(table.names[last]) and last:
        raise DataError(
            f"{table.path}: the last column, '{table.names[last]}', is called like a number of "
            "the row: say which column is the target with --target"
        )
    return [last]


def weights_among(table: Table, options: Options, targets: list[int]) -> list[int]:
    """Return the number of the column of weights, if there is one."""
    if options.weights is None:
        return []
    found = _named(table, options.weights, "weights")
    if len(found) > 1 or found[0] in targets:
        raise UsageError(f"--weights is '{options.weights}': give one column, and not the target")
    return found


def _named(table: Table, words: str, what: str) -> list[int]:
    """Return the columns that an option names: one name, or several with commas between them."""
    wanted = [words] if words.strip() in table.names else words.split(",")
    for name in wanted:
        if name.strip() not in table.names:
            some = ", ".join(table.names[:20]) + (", ..." if len(table.names) > 20 else "")
            raise DataError(f"{table.path} has no column '{name}': the columns are {some}")
    found = [table.names.index(name.strip()) for name in wanted]
    if len(set(found)) < len(found):
        raise DataError(f"{table.path}: --{what} names a column twice: name each once")
    return found


def inputs_among(
    table: Table, options: Options, found: Survey, targets: Sequence[int]
) -> tuple[list[int], list[str]]:
    """Return the columns that become inputs, and notes of those that don't."""
    names, notes = table.names, []
    _refuse_names_again(table, found)
    if options.columns is not None:
        chosen = _named(table, options.columns, "columns")
        if set(chosen) & set(targets):
            both = next(n for n in targets if n in chosen)
            what = "column of weights" if names[both] == options.weights else "target"
            raise UsageError(f"--columns names the {what} '{names[both]}': leave it out")
    else:
        chosen = [n for n in range(len(names)) if n not in targets]
        different = found.numbers_rows or len(found.texts.get(0, ())) == found.rows
        if (
            is_index(names[0])
            and 0 in chosen
            and different
            and found.rows > 1
            and not options.everything
        ):
            chosen.remove(0)
            notes.append(
                f"left out the first column, '{names[0]}', which names or numbers the rows"
            )
        again = [n for n in chosen if again_index(names[n]) and _counts(found, n)]
        if again and not options.everything:
            notes.append(
                f"left out what pandas numbered the rows by before: {_listed(names, again)}"
            )
            chosen = [n for n in chosen if n not in again]
        empty = [n for n in chosen if not found.present[n]]
        if empty:
            notes.append(f"left out columns without any cell: {_listed(names, empty)}")
        chosen = [n for n in chosen if n not in empty]
    dropped = _named(table, options.drop, "drop") if options.drop is not None else []
    chosen = [n for n in chosen if n not in dropped]
    if options.target is None and options.columns is None:
        notes += _perhaps_targets([names[n] for n in chosen], names[targets[0]] if targets else "")
    if not chosen:
        said = "; commas, semicolons, tabs, bars or blanks separate columns" * (len(names) == 1)
        raise DataError(f"{table.path} has no column but the target: inputs are missing{said}")
    return chosen, notes


def _refuse_names_again(table: Table, found: Survey) -> None:
    """Raise DataError where a row holds the names of all columns."""
    names = table.names
    if len(names) < 2 or any(name not in found.texts.get(n, ()) for n, name in enumerate(names)):
        return
    rows = (
        row for block in table.blocks(range(len(names)))
        for row in zip(*(as_texts(block[n]) for n in block), strict=True)
    )  # fmt: skip
    if tuple(names) in rows:
        raise DataError(
            f"{table.path} has the names of its columns again further down, as where several "
            "tables were joined: take these lines out"
        )


def _perhaps_targets(inputs: Sequence[str], target: str) -> list[str]:
    """Return a note of inputs that are called like a target; y beside x is a coordinate."""
    lowered = [name.lower() for name in inputs]
    also = [
        name for name, low in zip(inputs, lowered, strict=True)
        if low in TARGET_NAMES and not (low == "y" and "x" in lowered)
    ]  # fmt: skip
    return [
        f"the target is '{target}', and '{name}', which may tell it, is an input: --drop '{name}' "
        "leaves it out" for name in also
    ]  # fmt: skip


def _counts(found: Survey, number: int) -> bool:
    """Tell whether a column holds a whole number of 0 or more in every row."""
    all_there = number not in found.odd and found.numbers[number] == found.rows
    return bool(all_there and found.whole[number] and found.least[number] >= 0)


def _listed(names: Sequence[str], numbers: Sequence[int]) -> str:
    return ", ".join(f"'{names[n]:.60}'" for n in numbers[:10]) + ", ..." * (len(numbers) > 10)
