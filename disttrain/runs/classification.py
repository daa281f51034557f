"""Precision, recall, F1, top-k and ROC AUC of classes: scikit-learn computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from disttrain.errors import UsageError

__all__ = ["class_metrics"]


def class_metrics(
    predictions: np.ndarray, targets: np.ndarray, names: Sequence[str], top: int
) -> dict[str, Any]:
    """Return the metrics of predictions (rows, classes) as JSON values.

    `classes` has `name, rows, precision, recall, f1` of each class (0 where nothing was predicted
    or is there), `macro` their means, `top` the part of rows whose class is among the `top` largest
    outputs, `roc_auc` the area under the ROC curve: for more than two classes the mean of each
    against the rest, None where a class does not occur. Raises UsageError without scikit-learn.
    """
    try:
        from sklearn import metrics
    except ImportError:
        raise UsageError(
            'precision, recall, F1, top-k and ROC AUC need scikit-learn: pip install "disttrain'
            '[metrics]"'
        ) from None
    if predictions.shape[1] == 1:
        predictions = np.concatenate([-predictions, predictions], axis=1)
    numbers = np.arange(len(names))
    each = metrics.precision_recall_fscore_support(
        targets, predictions.argmax(axis=1), labels=numbers, zero_division=0
    )
    keys = ("precision", "recall", "f1", "rows")
    classes: list[dict[str, Any]] = [
        {"name": name, **{key: float(column[n]) for key, column in zip(keys, each, strict=True)}}
        for n, name in enumerate(names)
    ]
    for found in classes:
        found["rows"] = int(found["rows"])
    auc = None
    if len(np.unique(targets)) == len(names):
        # One class against the rest: the mean is over the classes.
        chosen = [1] if len(names) == 2 else numbers
        auc = np.mean([metrics.roc_auc_score(targets == n, predictions[:, n]) for n in chosen])
    top = min(top, len(names))
    among = np.argsort(-predictions, axis=1, kind="stable")[:, :top] == targets[:, None]
    return {
        "classes": classes,
        "macro": {key: float(np.mean(each[n])) for n, key in enumerate(keys[:3])},
        "top": {"k": top, "accuracy": float(among.any(axis=1).mean())},
        "roc_auc": None if auc is None else float(auc),
    }
