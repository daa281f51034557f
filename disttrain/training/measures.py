"""Metrics of a user's own: functions over all predictions of a split, the same for any ranks."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from disttrain.comm import Communicator
from disttrain.errors import DisttrainError, RunFileError, UsageError, sentence_of
from disttrain.shown import quoted

__all__ = ["Metric", "Metrics", "by_name", "falls", "measured", "refuse_unknown"]

Metric = Callable[[np.ndarray, np.ndarray], float]
"""A function of all predictions (rows, outputs) and all targets of a split."""
Metrics = Mapping[str, Metric]
OF_CLASSES, OF_NUMBERS = ("loss", "accuracy"), ("loss", "r2", "mean_absolute_error")
# Of these less is better, of all others more.
FALLING = ("loss", "mean_absolute_error")


def by_name(metrics: Metrics | Sequence[Metric] | Metric) -> dict[str, Metric]:
    """Return metrics by name: as given, or by the names of the functions. Raises UsageError."""
    if isinstance(metrics, str):
        raise UsageError(
            f"metrics = {quoted(metrics)} is a name: give functions (predictions, targets) -> "
            f"number by name, as in {{{quoted(metrics)}: my_function}}; `disttrain "
            "evaluate RUN --metrics` has precision, recall and F1 of each class"
        )
    metrics = [metrics] if callable(metrics) or not isinstance(metrics, Iterable) else metrics
    named: dict[str, Metric] = (
        dict(metrics)
        if isinstance(metrics, Mapping)
        else {getattr(metric, "__name__", ""): metric for metric in metrics}
    )
    for name, metric in named.items():
        if not callable(metric) or not name.isidentifier() or name in OF_CLASSES + OF_NUMBERS:
            raise UsageError(
                f"metrics has {quoted(name or metric)}: give functions (predictions, targets) -> "
                "number by names of their own, as in {'f1': my_f1}"
            )
    return named


def measured(
    metrics: Metrics, outputs: np.ndarray | None, targets: np.ndarray, comm: Communicator
) -> dict[str, float]:
    """Return each metric of the predictions, which rank 0 has and judges. Collective.

    Raises DisttrainError on all ranks where a function raises, with its error and line, and
    UsageError where it returns no finite number.
    """
    found: dict[str, float] = {}
    with comm.together("metrics"), comm.alone_in("a metric"):
        for name, metric in metrics.items() if comm.is_root else ():
            try:
                value: Any = metric(outputs, targets)  # type: ignore[arg-type]
            except DisttrainError:
                raise
            except Exception as error:
                raise DisttrainError(f"the metric {name} raised {_with_line(error)}") from error
            if np.shape(value) or not math.isfinite(value):
                raise UsageError(f"the metric {name} returned {value!r:.60}, not a finite number")
            found[name] = float(value)
    return comm.share(found)


def _with_line(error: Exception) -> str:
    """Return an error with the line of the metric that raised it."""
    # The first entry is the call here, the second one the metric.
    frames = traceback.extract_tb(error.__traceback__)[1:2]
    where = f" in {frames[0].filename}, line {frames[0].lineno}" if frames else ""
    return f"{sentence_of(error)}{where}"


def refuse_unknown(best: str, classes: int, metrics: Metrics) -> None:
    """Raise RunFileError for a `validation.best` that is never measured."""
    known = [*(OF_CLASSES if classes else OF_NUMBERS), *metrics]
    if best not in known:
        raise RunFileError(
            f"validation.best is {quoted(best)}; here it can be {', '.join(known)}, or a metric of "
            "your own, which a script gives by metrics=[...]"
        )


def falls(best: str, direction: str) -> bool:
    """Return True where less of the metric is better."""
    return best in FALLING if direction == "auto" else direction == "min"
