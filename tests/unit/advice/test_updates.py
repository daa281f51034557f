from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from disttrain.advice.updates import few_updates
from disttrain.config import Settings

KEY = re.compile(r"(\w+\.\w+) = (\"[^\"]*\"|\d+)")


@pytest.mark.parametrize("rows", [10, 12, 30, 108, 2559])
@pytest.mark.parametrize("keys", ["batch_size=128", "batch_size=4000", "protocol=batch"])
@pytest.mark.parametrize("epochs", [1, 20, 300])
def test_pasted_advice_ends_and_never_lowers_the_epochs(
    settings: Callable[..., Settings], rows: int, keys: str, epochs: int
) -> None:
    stated = [f"training.epochs={epochs}", f"training.{keys}"]
    for _ in range(3):
        now = settings(*stated)
        assert now.training.epochs >= epochs
        batch = rows if now.training.protocol == "batch" else now.training.batch_size
        per_epoch = -(-rows // (batch or rows))
        said = few_updates(now, rows, per_epoch, per_epoch * now.training.epochs)
        if said is None:
            return
        pasted = [f"{key}={value}" for key, value in KEY.findall(said)]
        assert pasted, said
        stated += pasted
    pytest.fail(f"it is still said: {said}")


def test_enough_updates_of_one_an_epoch(settings: Callable[..., Settings]) -> None:
    """Of 10 rows a smaller batch gives no more updates an epoch, and 300 epochs are enough."""
    assert few_updates(settings("training.epochs=300"), 10, 1, 300) is None


def test_a_run_that_stopped_early_is_not_told_to_take_other_epochs(
    settings: Callable[..., Settings],
) -> None:
    long = settings("training.epochs=1000", "validation.patience=5")
    assert few_updates(long, 32, 2, 26, early=True) is None
    large = settings("training.epochs=1000", "training.batch_size=108", "validation.patience=5")
    assert str(few_updates(large, 108, 1, 13, early=True)).endswith(
        "training.batch_size = 16 gives up to 7,000"
    )
