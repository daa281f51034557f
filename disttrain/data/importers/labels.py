"""The labels of images that lie in one folder: a table with their file names and classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from disttrain.data.cells import as_texts, number_in
from disttrain.data.importers.header import TARGET_NAMES, numbered
from disttrain.data.importers.source import kept
from disttrain.data.importers.table import open_table
from disttrain.errors import DataError

__all__ = ["labelled_files"]


def labelled_files(folder: Path, labels: Path, suffixes: frozenset[str]) -> list[tuple[Path, str]]:
    """Return the images that the table `labels` names, each with the name of its class, in order.

    The class stands in the column label, target, class or y, else in the second one; the file name
    in the first other one, from `folder` on, with or without its suffix. Raises DataError that
    names the line.
    """
    with kept(labels) as source:
        table = open_table(source, None, ".", ())
        label = _column_of_classes(table.names, labels)
        named = table.names != numbered(table.names)
        file = next(n for n in range(len(table.names)) if n != label)
        rows: list[tuple[str, str]] = []
        if named and _file(
            folder, table.names[file], suffixes
        ):  # the first row was taken for a header
            rows.append((table.names[file], table.names[label]))
        above = len(rows)
        for block in table.blocks((file, label), (label,)):
            rows += zip(as_texts(block[file]), as_texts(block[label]), strict=True)
        found: list[tuple[Path, str]] = []
        seen: dict[Path, str] = {}
        for number, (name, called) in enumerate(rows):
            path = _file(folder, name, suffixes)
            if path is None:
                raise DataError(
                    f"{table.place(number - above, file)}: there is no image '{name:.100}' in "
                    f"{folder}: put it there, or take the line out"
                )
            if not called or number_in(called) % 1 > 0:
                what = f"{called:.40} is a quantity, no class" if called else "the class is missing"
                raise DataError(
                    f"{table.place(number - above, label)}: {what}: give whole numbers or names of "
                    "classes"
                )
            if seen.setdefault(path, called) != called:
                raise DataError(
                    f"{table.place(number - above, label)}: {name:.100} is of the class "
                    f"'{called:.60}', but of '{seen[path]:.60}' in a line above: keep one"
                )
            found.append((path, called))
    return list(dict.fromkeys(found))


def _column_of_classes(names: Sequence[str], labels: Path) -> int:
    """Return the number of the column with the classes. Raises DataError where none is called so.

    Of two columns without such a name it is the second one.
    """
    if len(names) < 2:
        raise DataError(f"{labels} has one column: it needs file names and classes")
    lowered = [name.lower() for name in names]
    known = [lowered.index(name) for name in TARGET_NAMES if name in lowered]
    if not known and len(names) > 2:
        raise DataError(
            f"{labels} has the columns {', '.join(names[:20])}: call the one with the classes "
            f"{', '.join(TARGET_NAMES[:-1])} or {TARGET_NAMES[-1]}"
        )
    return known[0] if known else 1


def _file(folder: Path, name: str, suffixes: frozenset[str]) -> Path | None:
    """Return the image that is called `name`, None where there is none."""
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        return None
    exact = folder / name
    if exact.is_file():
        return exact
    found = [folder / (name + suffix) for suffix in sorted(suffixes)]
    return next((path for path in found if path.is_file()), None)
