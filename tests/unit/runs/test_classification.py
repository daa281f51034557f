"""What scikit-learn computes of classes, and the sentence where it is missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from disttrain.cli.evaluate import _of_classes
from disttrain.errors import UsageError
from disttrain.runs.classification import class_metrics

TARGETS = np.array([0, 0, 0, 1, 1, 2])
PREDICTIONS = np.array(
    [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.3, 0.4, 0.3], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3],
     [0.5, 0.1, 0.4]]
)  # fmt: skip


def test_the_numbers_of_a_small_table() -> None:
    pytest.importorskip("sklearn")
    found = class_metrics(PREDICTIONS, TARGETS, ["a", "b", "c"], 2)
    first, second, third = found["classes"]
    assert first == {
        "name": "a", "rows": 3, "precision": pytest.approx(2 / 3), "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(2 / 3),
    }  # fmt: skip
    assert second["precision"] == pytest.approx(2 / 3)
    assert second["recall"] == 1.0
    assert third["f1"] == 0.0
    assert found["macro"]["recall"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["top"] == {"k": 2, "accuracy": 1.0}
    # Of the pairs of one row of the class and one of the others, those in the right order.
    assert found["roc_auc"] == pytest.approx(np.mean([8 / 9, 1.0, 1.0]))


def test_two_classes_by_one_output_or_two() -> None:
    pytest.importorskip("sklearn")
    one = np.array([[-2.0], [1.0], [0.5], [3.0]])
    found = class_metrics(one, np.array([0, 0, 1, 1]), ["no", "yes"], 5)
    assert found["classes"][1]["precision"] == pytest.approx(2 / 3)
    assert found["roc_auc"] == pytest.approx(0.75)
    assert class_metrics(one, np.array([1, 1, 1, 1]), ["no", "yes"], 5)["roc_auc"] is None


def test_without_scikit_learn_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(UsageError, match=r'pip install "disttrain\[metrics\]"'):
        class_metrics(PREDICTIONS, TARGETS, ["a", "b", "c"], 2)


def test_top_k_of_all_classes_is_not_printed() -> None:
    pytest.importorskip("sklearn")
    for k, told in ((2, True), (5, False)):
        found = class_metrics(PREDICTIONS, TARGETS, ["a", "b", "c"], k)
        last = _of_classes(found | {"rows": len(TARGETS)})[-1]
        assert ("top-" in last) == told
        assert "ROC AUC 1.0" in last or "ROC AUC 0.9" in last
