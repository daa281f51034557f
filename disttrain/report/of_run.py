"""The report of one run: what is read, drawn and written of its folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.errors import CheckpointError, DataError
from disttrain.model import Layer, Loss
from disttrain.report import curves
from disttrain.report.confusion import matrix
from disttrain.report.figure import blank, legend_below
from disttrain.report.mistakes import wrong
from disttrain.report.page import (
    Lines,
    Page,
    Panels,
    Picture,
    Section,
    Table,
    Text,
    drawn,
)
from disttrain.report.pictures import KINDS, OF_SOME
from disttrain.report.ranks import rank_sections
from disttrain.report.subject import Subject
from disttrain.written import summary_of

__all__ = ["page_of_run", "percent", "summary_or_none"]

NAMES = {"r2": "R²"}
TITLES = {
    "confusion": "Confusion matrix", "weights": "Weights of the first layer",
    "regions": "Decision regions", "growth": "How the regions grew",
    "hidden": "What the hidden layers do with the inputs",
}  # fmt: skip


def page_of_run(
    folder: Path, layers: Sequence[Layer] | None = None, loss: Loss | None = None
) -> Page:
    """Return the report of the run in a folder; `layers` and `loss` are those of a user's own.

    Raises CheckpointError where there is no run.
    """
    subject = Subject(folder, layers=layers, loss=loss)
    summary = summary_or_none(folder) or {}
    sections = [*_outcome(subject, summary), *_curves(subject)]
    try:
        sections += [*_of_classes(subject), *_pictures(subject)]
    except (CheckpointError, DataError) as error:
        sections.append(Section("Not shown", [Lines([str(error)])]))
    sections += [*rank_sections(folder, subject.history, summary), *_ground(folder, summary)]
    subtitle = f"run in {folder}" if folder.name != subject.title else "a run"
    return Page(subject.title, subtitle, facts_of(summary, subject.history), sections)


def summary_or_none(folder: Path) -> dict[str, Any] | None:
    """Return how a run ended; None where it has not, or where that can't be read."""
    try:
        return summary_of(folder / "summary.json")
    except (OSError, ValueError):
        return None


def percent(number: Any) -> str:
    """Return a fraction in percent, or a dash."""
    return f"{100 * number:.2f} %" if isinstance(number, int | float) else "–"


def facts_of(summary: dict[str, Any], history: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the numbers that stand first."""
    found = [("status", str(summary.get("status", "running, or it was killed")))]
    for split in ("test", "validation"):
        score = summary.get(split)
        if isinstance(score, dict) and score.get("loss") is not None:
            if score.get("accuracy") is not None:
                found.append((f"{split} accuracy", percent(score["accuracy"])))
            found.append((f"{split} loss", f"{score['loss']:.4g}"))
    last = history[-1] if history else {"epoch": 0, "step": 0, "samples_per_second": 0}
    found += [
        ("epochs", f"{last['epoch']:.4g}"),
        ("updates", f"{last['step']:,}"),
        ("ranks", str(summary.get("ranks", "–"))),
        ("speed", f"{last['samples_per_second']:,.0f} samples/s"),
    ]
    if isinstance(wall := summary.get("wall_seconds"), float):
        found.append(("time", f"{wall:.1f} s"))
    return found


def _outcome(subject: Subject, summary: dict[str, Any]) -> Iterator[Section]:
    """Yield scores, diagnosis, failures."""
    rows = [
        [of + split, *(_number(score.get(key)) for key in score_keys(summary))]
        for of, scores in (("", summary), ("running average, ", summary.get("average") or {}))
        for split in ("validation", "test")
        if isinstance(score := scores.get(split), dict)
    ]
    if rows:
        keys = [NAMES.get(key, key.replace("_", " ")) for key in score_keys(summary)]
        yield Section("Scores", [Table(["of the best weights", *keys], rows)])
    if summary.get("diagnosis"):
        yield Section("Diagnosis", [Lines(list(map(str, summary["diagnosis"])))])
    wrongs = [str(line) for key in ("failures", "changes") for line in summary.get(key) or []]
    if wrongs:
        yield Section("Failures, recoveries and changes", [Lines(wrongs)])


def score_keys(summary: dict[str, Any]) -> list[str]:
    """Return the names of all numbers that a score has: of numbers to be fitted no accuracy."""
    scores = [s for split in ("validation", "test") if isinstance(s := summary.get(split), dict)]
    return list(dict.fromkeys(k for s in scores for k in s if s[k] is not None))


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) else "–"


def _curves(subject: Subject) -> Iterator[Section]:
    if not subject.history:
        return
    pictures = []
    for kind in curves.kinds_of(subject.history):
        figure = blank(4.4, 3.5)
        curves.draw(figure.subplots(), subject.history, kind)
        if kind != "rate":
            legend_below(figure, columns=2)
        pictures.append(drawn(figure, f"{kind} over epochs"))
    yield Section("Curves", [Panels(pictures)])


def _of_classes(subject: Subject) -> Iterator[Section]:
    """Yield precision, recall and F1 of each class, and the worst mistakes."""
    name = subject.held_out
    if not subject.facts["classes"] or name is None:
        return
    samples = subject.samples(name)
    outputs = subject.trained.predict_split(samples.split)
    assert outputs is not None
    if outputs.shape[1] == 1:
        outputs = np.concatenate([-outputs, outputs], axis=1)
    yield Section(f"Classes ({name} split)", [classes_table(subject, samples.targets, outputs)])
    mistakes = wrong(subject, samples.inputs, samples.targets, outputs)
    if mistakes is not None:
        note = f"The samples of the {name} split with the largest share for a wrong class."
        yield Section("Most confidently wrong", [mistakes], note)


def classes_table(subject: Subject, targets: np.ndarray, outputs: np.ndarray) -> Table:
    """Return precision, recall and F1 of each class; a dash where they divide by nothing."""
    counts = matrix(targets, outputs.argmax(axis=1))
    right, rows, taken = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    table = []
    for n, name in enumerate(subject.class_names[: len(counts)]):
        parts = (right[n], taken[n]), (right[n], rows[n]), (2 * right[n], rows[n] + taken[n])
        table.append([name, *(f"{a / b:.4f}" if b else "–" for a, b in parts), f"{rows[n]:,}"])
    return Table(["class", "precision", "recall", "F1", "rows"], table)


def _pictures(subject: Subject) -> Iterator[Section]:
    """Yield the pictures that `disttrain plot` draws, but for the curves."""
    for kind in (*KINDS, *OF_SOME):
        if kind is curves or kind.why_not(subject):
            continue
        stem = Path(kind.NAME).stem
        title = TITLES.get(stem, stem.capitalize())
        picture: Picture = drawn(kind.figure(subject), f"{title} of {subject.title}", paper=True)
        yield Section(title, [picture])


def _ground(folder: Path, summary: dict[str, Any]) -> Iterator[Section]:
    """Yield environment, run file, digest."""
    environment = summary.get("environment")
    if isinstance(environment, dict):
        rows = [(key, _joined(value)) for key, value in environment.items() if value is not None]
        yield Section("Environment", [Table([], rows, numbers=False)])
    yield Section("Run file", [Text.of(folder / "run.toml")])
    if digest := summary.get("digest"):
        note = "SHA-256 over the last weights, the optimizer's slots and the step."
        yield Section("Digest", [Text(str(digest))], note)


def _joined(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
