"""Writing a report: what stands in a folder decides which."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from disttrain.checkpoint import write_atomically
from disttrain.errors import CheckpointError, DisttrainError, UsageError
from disttrain.model import Layer, Loss
from disttrain.report.of_ensemble import page_of_ensemble
from disttrain.report.of_run import page_of_run
from disttrain.report.of_runs import page_of_runs
from disttrain.report.of_study import page_of_folds, page_of_study
from disttrain.report.page import Page, rendered, template
from disttrain.report.subject import Subject
from disttrain.runs.held import kind_in
from disttrain.written import run_at

__all__ = ["NAME", "write_report"]

NAME = "report.html"
ALONE = ": make its report by itself"
# The file that a folder of a kind has, and what is made of it.
KINDS: dict[str, Callable[[Path], Page]] = {
    "study.json": page_of_study,
    "folds.json": page_of_folds,
    "ensemble.json": page_of_ensemble,
}


def write_report(
    paths: Sequence[Path], output: Path | None = None, say: Callable[[str], None] = print,
    *, layers: Sequence[Layer] | None = None, loss: Loss | None = None,
) -> Path:  # fmt: skip
    """Write the report of a folder into it, or of several runs beside them; return its path.

    `output` is another file, or a folder; `say` is told of each path that is passed over; `layers`
    and `loss` are those of the user's own that a run was trained with, if any. Raises
    CheckpointError for a path that holds nothing to report, UsageError where jinja2 or matplotlib
    is missing or the disk refuses.
    """
    template()
    if len(paths) == 1 and not os.path.lexists(paths[0]):
        raise CheckpointError(f"{paths[0]} does not exist: give a folder that holds a run or study")
    if len(paths) > 1:
        # `runs/*` names the report of before too.
        paths = [path for path in paths if path.name != NAME or path.is_dir()]
    if len(paths) == 1:
        place = paths[0] if paths[0].is_dir() else paths[0].parent
        page = _of_one(place, layers, loss)
    else:
        folders = [folder for path in paths if (folder := _run_at(path, say))]
        if not folders:
            raise CheckpointError("none of these folders holds a run: give folders of trainings")
        page = page_of_runs(folders)
        place = Path(os.path.commonpath([f.absolute().parent for f in folders]))
    if output is not None:
        place = output
    target = place if place.suffix == ".html" and not place.is_dir() else place / NAME
    write_atomically(target, rendered(page).encode(errors="backslashreplace"), error=UsageError)
    return target


def _run_at(path: Path, say: Callable[[str], None]) -> Path | None:
    """Return the folder of the run that a path names; None, and say so, where it can't be read."""
    folder = path if path.is_dir() else path.parent
    what = kind_in(folder) if folder == path else None
    why, rest = f"holds {what or 'no run'}", ALONE * bool(what)
    if os.path.lexists(folder / "run.toml"):
        try:
            # Both are read: either may be damaged.
            _ = Subject(folder).history
            return folder
        except DisttrainError as error:
            why, rest = f"can't be read ({error})", ""
    say(f"{path} {why} and is left out{rest}")
    return None


def _of_one(folder: Path, layers: Sequence[Layer] | None, loss: Loss | None) -> Page:
    for name, make in KINDS.items():
        if os.path.lexists(folder / name):
            return make(folder)
    if run_at(folder):
        return page_of_run(folder, layers, loss)
    raise CheckpointError(
        f"{folder} holds no run, study, folds or ensemble: give the folder that one of `train`, "
        "`search`, `cross-validate` and `ensemble` has written (--output)"
    )
