"""The report of an ensemble: its members beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from disttrain.report.figure import BAD, GOOD, blank, plain
from disttrain.report.of_run import percent
from disttrain.report.of_study import is_number, number, read_result
from disttrain.report.page import Page, Panels, Picture, Section, Table, drawn
from disttrain.shown import shown

__all__ = ["page_of_ensemble"]


def page_of_ensemble(folder: Path) -> Page:
    """Return the report of the ensemble in a folder."""
    found = read_result(folder / "ensemble.json")
    members = [m for m in found.get("members") or [] if isinstance(m, dict)]
    whole = found.get("ensemble")
    whole = whole if isinstance(whole, dict) else {}
    key = "accuracy" if is_number(whole.get("accuracy")) else "loss"
    facts = [
        ("members", str(len(members))), ("scored on", str(found.get("split", "–"))),
        ("accuracy", percent(whole.get("accuracy"))), ("loss", number(whole.get("loss"))),
        ("gain in accuracy over the best member", _gain(members, whole)),
    ]  # fmt: skip
    rows = [
        (m.get("path", "–"), percent(m.get("accuracy")), number(m.get("loss"))) for m in members
    ]
    rows.append(("ensemble", percent(whole.get("accuracy")), number(whole.get("loss"))))
    table = Table(["path", "accuracy", "loss"], rows, strong=len(rows) - 1)
    sections = [Section("Members and ensemble", [table])]
    if members and all(is_number(m.get(key)) for m in [*members, whole]):
        sections.append(Section(key.capitalize(), [Panels([_picture(members, whole, key)])]))
    return Page(f"Ensemble {folder.absolute().name}", f"in {folder}", facts, sections)


def _name(path: str) -> str:
    """Return what tells a member from the others: its folder, or the file of its step."""
    file = Path(path)
    return file.parent.name if file.name == "best.h5" else file.stem


def _gain(members: list[dict[str, Any]], whole: dict[str, Any]) -> str:
    scores: list[Any] = [m.get("accuracy") for m in members]
    if not is_number(whole.get("accuracy")) or not scores or not all(map(is_number, scores)):
        return "–"
    return f"{100 * (whole['accuracy'] - max(scores)):+.2f} points"


def _picture(members: list[dict[str, Any]], whole: dict[str, Any], key: str) -> Picture:
    """Draw what each member reaches, and the ensemble."""
    figure = blank(8.8, 1.2 + 0.35 * len(members))
    ax = figure.subplots()
    ax.plot([m[key] for m in members], range(len(members)), "o", color=GOOD)
    ax.axvline(whole[key], color=BAD, label="ensemble")
    ax.set_yticks(range(len(members)),
                  [plain(shown(_name(str(m.get("path"))), 40)) for m in members])  # fmt: skip
    ax.set_ylim(len(members) - 0.5, -0.5)
    ax.set_xlabel(f"{key}: members (dots), ensemble (line)")
    ax.grid(alpha=0.3, axis="x")
    return drawn(figure, f"{key} of members and ensemble")
