"""Candidates of a generation are compared at the same epoch, and those behind end there."""

import pytest

from disttrain import config
from disttrain.comm.alone import Alone
from disttrain.selection.search import search
from disttrain.written import intervals_of


@pytest.mark.parametrize("prune", ["halving", "median"])
def test_candidates_are_compared_at_equal_epochs(data_path, tmp_path, prune):
    (tmp_path / "run.toml").write_text(f"""
        data.path = "{data_path}"
        model.layers = [{{ units = 6, activation = "tanh" }}, {{ units = 3 }}]
        training.batch_size = 16
        device.kind = "cpu"
    """)
    study = config.Study(
        run=str(tmp_path / "run.toml"),
        stages=(config.Stage(candidates=6, epochs=4, prune=prune, factor=2),),
        space={"schedule.learning_rate": config.Range(low=1e-3, high=1.0, scale="log")},
    )
    rows = search(study, tmp_path / "study", Alone(), say=lambda line: None)["candidates"]
    assert sorted(row["epochs"] for row in rows) == [1, 1, 1, 2, 4, 4]
    first = [next(intervals_of(tmp_path / "study" / row["path"] / "metrics.jsonl")) for row in rows]
    assert {interval["epoch"] for interval in first} == {1.0}
    scores = [interval["validation_accuracy"] for interval in first]
    behind = max(score for score, row in zip(scores, rows, strict=True) if row["epochs"] == 1)
    ahead = min(score for score, row in zip(scores, rows, strict=True) if row["epochs"] > 1)
    assert behind <= ahead
