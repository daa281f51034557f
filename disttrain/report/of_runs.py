"""The report of several runs: one table, their curves in one picture, the settings that differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from disttrain import config
from disttrain.errors import DisttrainError
from disttrain.report.figure import blank, color_of, legend_below
from disttrain.report.of_run import percent, summary_or_none
from disttrain.report.page import Lines, Page, Panels, Section, Table, drawn
from disttrain.report.subject import Subject
from disttrain.runs.changes import flat
from disttrain.runs.comparison import compare_runs

__all__ = ["page_of_runs"]

STYLES = ("-", "--", ":", "-.")
# Runs that are drawn: more lines could not be told apart.
DRAWN = 12
HEAD = [
    "run", "status", "test accuracy", "test loss", "validation accuracy", "validation loss",
    "epochs", "ranks", "samples/s", "time", "digest",
]  # fmt: skip


def page_of_runs(folders: Sequence[Path]) -> Page:
    """Return the report of several runs. Raises CheckpointError for a folder without one."""
    subjects = [Subject(folder) for folder in folders]
    names = named(folders)
    sections = [Section("Runs", [_table(names, subjects)], "The digest shows equal weights.")]
    sections.append(Section("Curves", [Panels(_curves(names, subjects))]))
    differences = _differences(names, folders)
    if differences:
        sections.append(Section("Settings that differ", [differences]))
    if len(folders) == 2:
        sections.append(Section("Where they part", [Lines(_parting(*folders))]))
    return Page(f"{len(folders)} runs", ", ".join(names), [], sections)


def named(folders: Sequence[Path]) -> list[str]:
    """Return a short name of each folder: its own, or where two have the same all of the path."""
    own = [folder.absolute().name for folder in folders]
    return own if len(set(own)) == len(own) else [str(folder) for folder in folders]


def _table(names: Sequence[str], subjects: Sequence[Subject]) -> Table:
    rows = []
    for name, subject in zip(names, subjects, strict=True):
        summary = summary_or_none(subject.folder) or {}
        last = subject.history[-1] if subject.history else {}
        scores = [summary.get(split) or {} for split in ("test", "validation")]
        rows.append([
            name, summary.get("status", "not finished"),
            *(
                percent(s.get(key)) if key == "accuracy" else _short(s.get(key))
                for s in scores
                for key in ("accuracy", "loss")
            ),
            _short(last.get("epoch")), summary.get("ranks", "–"),
            _short(summary.get("samples_per_second"), ",.0f"),
            _short(summary.get("wall_seconds"), ".1f") + " s",
            str(summary.get("digest") or "–")[:12],
        ])  # fmt: skip
    return Table(HEAD, rows)


def _short(value: Any, form: str = ".4g") -> str:
    return format(value, form) if isinstance(value, int | float) else "–"


def _curves(names: Sequence[str], subjects: Sequence[Subject]) -> list[Any]:
    """Return losses and accuracies, each of all runs in one picture."""
    pictures = []
    for key in ("train_loss", "validation_loss", "validation_accuracy", "learning_rate"):
        figure = blank(5.4, 3.8)
        ax, any_ = figure.subplots(), False
        ax.set_title(key.replace("_", " "))
        ax.set_xlabel("epoch")
        ax.grid(alpha=0.3)
        for number, subject in enumerate(subjects[:DRAWN]):
            points = [(r["epoch"], r[key]) for r in subject.history if r.get(key) is not None]
            if points:
                style = STYLES[number // 8 % len(STYLES)]
                ax.plot(*zip(*points, strict=True), style, color=color_of(number),
                        label=names[number].replace("$", r"\$"))  # fmt: skip
                any_ = True
        if any_:
            legend_below(figure, columns=2)
            pictures.append(drawn(figure, f"{key.replace('_', ' ')} of all runs over epochs"))
    return pictures


def _differences(names: Sequence[str], folders: Sequence[Path]) -> Table | None:
    """Return the settings that are not the same in all runs."""
    found = [flat(config.read(folder / "run.toml").model_dump()) for folder in folders]
    keys = sorted({key for settings in found for key in settings} - {"name"})
    rows = [
        [key, *(settings.get(key, "–") for settings in found)]
        for key in keys
        if len({repr(settings.get(key)) for settings in found}) > 1
    ]
    return Table(["key", *names], rows) if rows else None


def _parting(a: Path, b: Path) -> list[str]:
    """Return what `disttrain compare` finds of two runs."""
    try:
        found = compare_runs(a, b)
    except DisttrainError as error:
        return [str(error)]
    if found["equal"]:
        return [f"They are equal at all {len(found['compared'])} intervals that both have."]
    if found["equal"] is None:
        return ["Their intervals end at other steps, so their weights were not compared."]
    return [
        f"They first differ at step {found['step']}, in {found['tensor']}: {found['cause']}.",
        "disttrain compare says more.",
    ]
