"""The report of a search or a cross-validation: scores against hyperparameters, stages, tables."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from disttrain.errors import CheckpointError
from disttrain.report.figure import BAD, GOOD, INK, blank, color_of, legend_below, plain
from disttrain.report.of_run import summary_or_none
from disttrain.report.page import Lines, Page, Panels, Picture, Section, Table, Text, drawn
from disttrain.report.study import against, stages_of
from disttrain.shown import shown
from disttrain.written import json_of, text_of, why

__all__ = ["page_of_folds", "page_of_study", "read_result"]

# Bytes of a file of results, and candidates in the table.
MOST, ROWS = 64 << 20, 200


def read_result(path: Path) -> dict[str, Any]:
    """Return what `study.json`, `folds.json` or `ensemble.json` holds. Raises CheckpointError."""
    try:
        return json_of(text_of(path, MOST))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read ({why(error)})") from None


def page_of_study(folder: Path) -> Page:
    """Return the report of the search in a folder."""
    study = read_result(folder / "study.json")
    candidates = [c for c in study.get("candidates") or [] if isinstance(c, dict)]
    done = [c for c in candidates if is_number(c.get("score"))]
    metric = str(study.get("metric", "score"))
    falls = "loss" in metric
    order = sorted(done, key=lambda c: c["score"] if falls else -c["score"])
    # A pruned candidate can have a score above that of the best one that came to its end.
    told = study.get("best")
    best = told if isinstance(told, dict) else order[0] if order else {}
    order.sort(key=lambda c: c != best)
    facts = [
        ("status", str(study.get("status", "–"))), ("candidates", str(len(candidates))),
        ("with a score", str(len(done))), (f"best {metric}", number(best.get("score"))),
        ("best candidate", str(best.get("number", "–"))),
    ]  # fmt: skip
    keys = list(dict.fromkeys(key for c in candidates for key in settings_of(c)))
    sections = [Section("Best settings", [Table(["key", "value"],
                [(key, _value(settings_of(best).get(key))) for key in keys])])]  # fmt: skip
    if done:
        pictures = [_against(key, done, best, metric) for key in keys]
        sections.append(Section("Score against each hyperparameter", [Panels(pictures)]))
        sections.append(Section("In the order of the candidates",
                                [Panels([_stages(done, metric, falls)])]))  # fmt: skip
    rest = sorted((c for c in candidates if c not in done), key=lambda c: str(c.get("number")))
    head = ["number", metric.replace("_", " "), "status", "stage", *keys, "seconds", "digest"]
    rows = [_row(c, keys) for c in [*order, *rest][:ROWS]]
    if any(c.get("failure") for c in candidates):
        head.append("failure")
        failures = [str(c.get("failure") or "") for c in [*order, *rest]]
        rows = [[*row, failure] for row, failure in zip(rows, failures, strict=False)]
    sections.append(Section("Candidates", [Table(head, rows, strong=0 if order else None)],
                            "The best first."))  # fmt: skip
    sections += _losses(folder, [*order, *rest])
    if (folder / "best.toml").is_file():
        sections.append(Section("best.toml", [Text.of(folder / "best.toml")]))
    return Page(f"Search {folder.absolute().name}", f"study in {folder}", facts, sections)


def _losses(folder: Path, candidates: Sequence[dict[str, Any]]) -> Iterator[Section]:
    """Yield what the candidates' own summaries say of ranks that they lost, by number."""
    found: list[str] = []
    for candidate in sorted(candidates, key=lambda c: str(c.get("number")).zfill(6)):
        place = candidate.get("path")
        if isinstance(place, str) and re.fullmatch(r"candidates/\d+", place):
            summary = summary_or_none(folder / place) or {}
            told = summary.get("failures")
            lines = told if isinstance(told, list) else []
            # What a candidate that was pruned says last: it was asked to stop.
            lines = lines[:-1] if summary.get("status") == "preempted" else lines
            found += [f"candidate {candidate.get('number')}: {line}" for line in lines]
    if found:
        note = "Others went on with these candidates; settings, scores and digests are the same."
        yield Section("Lost ranks and repairs", [Lines(found)], note)


def settings_of(candidate: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a candidate."""
    settings = candidate.get("settings")
    return settings if isinstance(settings, dict) else {}


def is_number(value: Any) -> bool:
    """Return whether a value can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any, digits: int = 6) -> str:
    """Return a number for people, or a dash."""
    return f"{value:.{digits}g}" if is_number(value) else "–"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    return number(value) if is_number(value) else shown(json.dumps(value, ensure_ascii=False))


def _row(candidate: dict[str, Any], keys: Sequence[str]) -> list[str]:
    settings = settings_of(candidate)
    return [
        str(candidate.get("number", "–")), number(candidate.get("score")),
        str(candidate.get("status", "–")), str(candidate.get("stage", "–")),
        *(_value(settings[key]) if key in settings else "–" for key in keys),
        number(candidate.get("seconds"), 3), str(candidate.get("digest") or "–")[:12],
    ]  # fmt: skip


def _against(key: str, done: list[dict[str, Any]], best: dict[str, Any], metric: str) -> Picture:
    """Draw the score of all candidates against one hyperparameter."""
    figure = blank(4.4, 3.3)
    ax = figure.subplots()
    rows = [candidate | {"settings": settings_of(candidate)} for candidate in done]
    against(ax, key, rows, rows[done.index(best)] if best in done else None)
    ax.set_ylabel(plain(shown(metric, 60)).replace("_", " "))
    return drawn(figure, f"{metric} against {key}")


def _stages(done: list[dict[str, Any]], metric: str, falls: bool) -> Picture:
    """Draw the scores in the order of numbers, by stage, with the best so far."""
    figure = blank(8.8, 3.3)
    ax = figure.subplots()
    by_number = sorted(done, key=lambda c: (is_number(c.get("number")), c.get("number") or 0))
    scores: list[float] = [c["score"] for c in by_number]
    best: list[float] = []
    for score in scores:
        best.append(score if not best else (min if falls else max)(best[-1], score))
    places = [c["number"] if is_number(c.get("number")) else n for n, c in enumerate(by_number)]
    for color, stage in enumerate(stages_of(by_number)):
        mine = [n for n, c in enumerate(by_number) if str(c.get("stage", "")) == stage]
        ax.plot([places[n] for n in mine], [scores[n] for n in mine], "o",
                label=f"stage {plain(shown(stage, 20))}", color=color_of(color),
                markersize=5)  # fmt: skip
    ax.step(places, best, where="post", color=INK, linewidth=1, label="best so far")
    ax.set_xlabel("candidate")
    ax.set_ylabel(plain(shown(metric, 60)).replace("_", " "))
    ax.grid(alpha=0.3)
    legend_below(figure)
    return drawn(figure, f"{metric} of all candidates in their order")


def page_of_folds(folder: Path) -> Page:
    """Return the report of the cross-validation in a folder."""
    found = read_result(folder / "folds.json")
    tables = found.get("settings")
    settings = [s for s in tables if isinstance(s, dict)] if isinstance(tables, list) else [found]
    rows, names = [], []
    for n, each in enumerate(settings):
        own = settings_of(each)
        names.append(", ".join(f"{key} = {_value(value)}" for key, value in own.items())
                     or (f"settings {n}" if len(settings) > 1 else "the run file's"))  # fmt: skip
        scores = scores_of(each)
        rows.append([names[-1], number(each.get("mean")), number(each.get("deviation")),
                     *map(number, scores)])  # fmt: skip
    most = max((len(row) for row in rows), default=3)
    rows = [row + ["–"] * (most - len(row)) for row in rows]
    head = ["settings", "mean", "deviation", *(f"fold {n + 1}" for n in range(most - 3))]
    told = found.get("best")
    known = len(names) > 1 and type(told) is int and 0 <= told < len(names)
    best = told if known else None
    sections = [Section("Folds", [Table(head, rows, strong=best)])]
    if most > 3:
        sections.append(Section("Scores of the folds", [Panels([_folds(names, settings)])]))
    facts = [(key, str(found[key])) for key in ("status", "metric")
             if isinstance(found.get(key), str)]  # fmt: skip
    if best is not None:
        own = settings_of(settings[best])
        named = [(f"best {key}", _value(value)) for key, value in own.items()]
        facts += [*named, *_ahead(found.get("difference"))]
    facts += [(key, number(found[key])) for key in ("mean", "deviation") if found.get(key)]
    title = f"Cross-validation {folder.absolute().name}"
    return Page(title, f"folds in {folder}", facts, sections)


def _ahead(gap: Any) -> list[tuple[str, str]]:
    """Return by how much the best is ahead of the second, and the error of that."""
    if not isinstance(gap, dict) or not is_number(gap.get("difference")):
        return []
    words = f"{number(gap['difference'], 3)}, error {number(gap.get('error'), 3)}"
    return [("ahead of the second by", words)]


def scores_of(settings: dict[str, Any]) -> list[float]:
    """Return the score of each fold."""
    folds = settings.get("folds")
    if not isinstance(folds, list):
        return []
    found: list[Any] = [f.get("score") if isinstance(f, dict) else f for f in folds]
    return [score for score in found if is_number(score)]


def _short(key: str, value: Any) -> str:
    """Return `key = value` for a picture: of the key, what stands behind its section."""
    return plain(f"{shown(key.partition('.')[2] or key, 40)} = {shown(_value(value), 20)}")


def _folds(names: Sequence[str], settings: Sequence[dict[str, Any]]) -> Picture:
    """Draw the scores of all folds, with mean and deviation."""
    keyed = [[_short(*pair) for pair in settings_of(each).items()] for each in settings]
    labels = ["\n".join(own) or name for own, name in zip(keyed, names, strict=True)]
    figure = blank(8.8, 1.4 + sum(0.45 + 0.25 * label.count("\n") for label in labels))
    ax = figure.subplots()
    for place, each in enumerate(settings):
        scores = scores_of(each)
        ax.plot(scores, [place] * len(scores), "o", color=GOOD, alpha=0.6, markersize=5)
        if is_number(each.get("mean")) and is_number(each.get("deviation")):
            ax.errorbar(each["mean"], place, xerr=each["deviation"], fmt="D", color=BAD, capsize=4)
    ax.set_yticks(range(len(names)), labels)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("score: folds (dots), mean and deviation")
    ax.grid(alpha=0.3, axis="x")
    return drawn(figure, "scores of the folds")
