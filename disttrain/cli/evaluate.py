"""`disttrain evaluate`: loss and accuracy of trained networks on a split or on another file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disttrain.cli.columns import columns
from disttrain.cli.options import AsJson, Verbose, listen, print_json, say
from disttrain.cli.own import Layers, own_layers
from disttrain.shown import measures, shown

if TYPE_CHECKING:
    from disttrain.runs.trained import Trained

__all__ = ["command"]


Data = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Another file with targets: a data file, a table, an .npz, a folder of images for "
        "each class. It is used whole [default: the data of the training].",
    ),
]


Top = Annotated[
    int | None, typer.Option(min=1, help="The k of top-k, 5 by default; with --metrics.")
]


def command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Checkpoints, or run folders (their best models)."),
    ],
    data: Data = None,
    split: Annotated[
        str | None,
        typer.Option(help="train, validation or test [default: test; all of another file]."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE", help="With --data FOLDER of images: file names and their classes."
        ),
    ] = None,
    layers: Layers = None,
    metrics: Annotated[
        bool,
        typer.Option("--metrics", help="Precision, recall and F1 of each class, top-k, ROC AUC."),
    ] = False,
    top: Top = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Print the loss and accuracy of checkpoints; names, data and normalization come from them."""
    from disttrain.comm import connect
    from disttrain.errors import UsageError
    from disttrain.runs.ensembled import load_model

    comm = connect()
    listen(verbose=verbose)
    scores = []
    for file in files:
        with comm.together("reading the arguments"):
            if labels is not None and data is None:
                raise UsageError(f"--labels {labels} needs the folder of images: --data FOLDER")
            if top is not None and not metrics:
                raise UsageError(f"--top {top} is one of the metrics: add --metrics")
            own = own_layers(layers)
        trained = load_model(file, comm, own.layers, own.loss)
        scores.append(_scored(trained, (data, split, labels), (top or 5) if metrics else None))
    if comm.is_root:
        _show(scores, as_json)


def _show(scores: list[dict[str, Any]], as_json: bool) -> None:
    """Print the notes and the scores."""
    for note in dict.fromkeys(note for score in scores for note in score["notes"]):
        say(note, as_json)
    if as_json:
        print_json(scores if len(scores) > 1 else scores[0])
    elif len(scores) > 1:
        for line in columns(_table(scores)):
            say(line)
    else:
        (score,) = scores
        also = {name: score[name] for name in OF_NUMBERS if name in score}
        accuracy = "" if score["accuracy"] is None else f", accuracy {_percent(score)}"
        say(
            f"{score['file']} ({score['told']}), {score['split']}: "
            f"loss {score['loss']:.6g}{accuracy}{measures(also)}"
        )
    for score in () if as_json else scores:
        for line in _of_classes(score):
            say(line)


def _scored(
    trained: Trained, asked: tuple[str | None, str | None, Path | None], top: int | None
) -> dict[str, Any]:
    """Return what a network reaches, as JSON values, with `top` of its classes too. Collective.

    `asked` are data, split and labels.
    """
    from disttrain.runs.classification import class_metrics

    data, split, labels = asked
    found = trained.samples(data, split, labels=labels)
    name = found.split.name
    score = trained.judge(found.split, f"{data} ({name})" if data else f"the {name} split")
    own: dict[str, Any] = {}
    if top and trained.taught.classes:
        outputs = trained.predict_split(found.split)
        with trained.comm.together("metrics"):
            if outputs is not None:
                own = class_metrics(outputs, found.split.targets, trained.taught.called, top)
    return {
        "file": str(trained.path),
        "step": trained.snapshot.step,
        "told": trained.told,
        "data": data or trained.settings.data.path,
        "split": name,
        "rows": found.split.count,
        "loss": score.loss,
        "accuracy": score.accuracy,
        **score.metrics,
        **own,
        "notes": list(found.notes),
    }


OF_NUMBERS = ("r2", "mean_absolute_error")
HEAD = ("", "step", "split", "rows", "loss")


def _table(scores: list[dict[str, Any]]) -> list[list[str]]:
    """Return a line for each of several networks, with the measures that any of them has."""
    shown = {"accuracy": "accuracy", "r2": "R²", "mean_absolute_error": "mean absolute error"}
    of_any = [key for key in shown if any(score.get(key) is not None for score in scores)]
    lines = [[*HEAD, *(shown[key] for key in of_any)]]
    for score in scores:
        named = (score["file"], str(score["step"]), score["split"], f"{score['rows']:,}")
        lines.append([*named, f"{score['loss']:.6g}", *(_cell(score, key) for key in of_any)])
    return lines


def _cell(score: dict[str, Any], key: str) -> str:
    if (value := score.get(key)) is None:
        return "-"
    return _percent(score) if key == "accuracy" else f"{value:.4g}"


def _of_classes(score: dict[str, Any]) -> list[str]:
    """Return the table of a network's classes, and what it reaches over all of them."""
    if "classes" not in score:
        return []
    rows = [(c["name"], c["precision"], c["recall"], c["f1"], c["rows"]) for c in score["classes"]]
    rows.append(("mean", *score["macro"].values(), score["rows"]))
    table = [[shown(n), *(f"{x:.4f}" for x in x3), f"{count:,}"] for n, *x3, count in rows]
    top, auc = score["top"], score["roc_auc"]
    last = [] if auc is None else [f"ROC AUC {auc:.4f}"]
    if top["k"] < len(score["classes"]):  # else every row is among them
        last.insert(0, f"top-{top['k']} accuracy {100 * top['accuracy']:.2f} %")
    lines = list(columns([("class", "precision", "recall", "F1", "rows"), *table]))
    return lines + ([", ".join(last)] if last else [])


def _percent(score: dict[str, Any]) -> str:
    return f"{100 * score['accuracy']:.2f} %"
