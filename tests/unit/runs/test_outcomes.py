"""Which of two runs is better, and what people are told of two runs on other ranks."""

from typing import Any

import pytest

from disttrain.cli import compare
from disttrain.runs.comparison import _differences
from disttrain.runs.outcomes import better


def outcome(ranks: int = 1, **scores: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("epochs", "steps", "samples_per_second"))
    return {"path": f"on{ranks}", "status": "completed", "ranks": ranks, **empty,
            "validation": None, "test": None} | scores  # fmt: skip


def score(loss: float, accuracy: float | None = None) -> dict[str, Any]:
    return {"loss": loss, "accuracy": accuracy}


@pytest.mark.parametrize(
    ("one", "other", "same_loss", "run", "by"),
    [
        (score(0.2, 0.9), score(0.3, 0.95), True, 0, ["validation", "loss"]),
        (score(0.3), score(0.2), True, 1, ["validation", "loss"]),
        (score(0.2, 0.9), score(0.3, 0.95), False, 1, ["validation", "accuracy"]),
        (score(0.2), score(0.2 + 1e-9), True, None, ["validation", "loss"]),
    ],
)
def test_the_first_measure_that_both_have_decides(
    one: Any, other: Any, same_loss: bool, run: int | None, by: list[str]
) -> None:
    found = better([outcome(validation=one), outcome(validation=other)], same_loss)
    assert found is not None
    assert (found["run"], found["by"]) == (run, by)


def test_without_validation_the_test_decides_and_without_both_nothing() -> None:
    found = better([outcome(test=score(2.0)), outcome(test=score(1.0))], True)
    assert found == {"run": 1, "by": ["test", "loss"], "values": [2.0, 1.0]}
    assert better([outcome(test=score(2.0)), outcome()], True) is None


def test_runs_of_fast_mode_on_other_ranks_are_told_why_bits_part(
    capsys: pytest.CaptureFixture[str],
) -> None:
    facts = {
        "equal": False, "compared": [0, 4], "step": 4, "tensor": "dense1/weight", "better": None,
        "vectors": ["weights"], "cause": "arithmetic", "settings": [], "choosing": [],
        "about": [{"computes": "fast mode, cpu"}] * 2, "runs": [outcome(1), outcome(3)],
    }  # fmt: skip
    compare._print(facts)
    said = capsys.readouterr().out
    assert "on1: 1 rank, fast mode, cpu\n" in said
    assert "on3: 3 ranks, fast mode, cpu\n" in said
    assert 'with reproducibility.mode = "exact" the bits are the same' in said
    compare._print(facts | {"equal": None})
    assert "their intervals end at different steps" in capsys.readouterr().out


def test_a_layer_that_one_run_lacks_is_one_line() -> None:
    one = {"model.layers.0.units": 3, "model.layers.1.units": 2, "model.layers.1.bias": 0.0}
    found, choosing = _differences(one, {"model.layers.0.units": 4})
    assert found == ["model.layers.0.units: 3 and 4", "model.layers.1: only in the first"]
    assert not choosing
    assert _differences({}, {"seed": 1}) == (["seed: not set and 1"], [])
