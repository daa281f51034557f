"""Ensembles: their predictions are the members' mean, their files say so, and nothing else does."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import disttrain
from disttrain.checkpoint import all_checkpoints, load
from disttrain.comm.alone import Alone
from disttrain.config import Settings, parse
from disttrain.errors import CheckpointError, Divergence, UsageError
from disttrain.runs import train
from disttrain.runs.ensembled import Ensemble, ensemble_of, load_model, verify_ensemble
from disttrain.runs.trained import load_trained
from disttrain.selection.ensemble import (
    averaged_in,
    best_of_study,
    by_seed,
    combine,
    last_checkpoints,
    train_each,
)
from tests.unit.report.conftest import function

Make = Callable[..., Settings]


def members(settings: Settings, folder: Path, count: int = 3, **more: Any) -> list[Path]:
    return train_each(by_seed(settings, count), folder, Alone(), say=lambda line: None, **more)


def test_probabilities_are_averaged(settings: Make, tmp_path: Path) -> None:
    made = settings("training.label_smoothing=0.1")
    files = members(made, tmp_path)
    facts = combine(files, tmp_path, Alone(), kind="members")
    whole = load_model(tmp_path, Alone())
    assert isinstance(whole, Ensemble)
    alone = [load_trained(file, Alone()) for file in files]
    split = whole.split(facts["split"])
    shares = np.mean([np.float64(one.predict_split(split)) for one in alone], axis=0)
    found = whole.predict_split(split)
    np.testing.assert_allclose(found, shares, rtol=1e-5, atol=1e-7)
    score = whole.score(split, "scoring")
    assert facts["ensemble"]["accuracy"] == score.accuracy
    assert score.accuracy == (shares.argmax(axis=1) == split.targets).mean()
    classes = shares.shape[1]
    smooth = np.full(shares.shape, 0.1 / classes)
    smooth[np.arange(len(smooth)), split.targets] += 0.9
    assert score.loss == pytest.approx(-(smooth * np.log(shares)).sum(axis=1).mean(), rel=1e-5)
    best = min(row["loss"] for row in facts["members"])
    assert facts["gain"]["loss"] == pytest.approx(best - score.loss)


def test_members_differ_by_seed_and_set_the_same_rows_aside(settings: Make, tmp_path: Path) -> None:
    made = settings("data.validation_fraction=0.3")
    files = members(made, tmp_path, 2)
    assert [file.parent.name for file in files] == ["1", "2"]
    one, two = (load_trained(file, Alone()) for file in files)
    assert two.settings.seed == one.settings.seed + 1
    assert one.snapshot.digest != two.snapshot.digest
    alone = train(made, tmp_path / "alone", Alone())
    first = json.loads((tmp_path / "members/1/summary.json").read_text())
    assert first["digest"] == alone["digest"], "the first member is the run itself"


def test_numbers_are_averaged_in_their_own_units(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file.attrs.update(format="disttrain-data", version=1)
        for seed, split in enumerate(("train", "test")):
            x, y = function(60, seed, 1, 2)
            file[f"{split}/inputs"], file[f"{split}/targets"] = x, 100 + 50 * y
    made = parse(
        'model.layers = [{ units = 4, activation = "tanh" }, { units = 2 }]\ntraining.epochs = 3',
        [f"data.path={tmp_path / 'data.h5'}"],
    )
    # Other rows to learn from: other scales of the targets.
    files = []
    for seed in (1, 2):
        train(made.replace(seed=seed), tmp_path / f"{seed}", Alone())
        files.append(tmp_path / f"{seed}")
    facts = combine(files, tmp_path / "both", Alone(), kind="top")
    whole = load_model(tmp_path / "both", Alone())
    split = whole.split("test")
    outputs = [load_trained(f, Alone()).predict_split(split) for f in files]
    want = np.mean(outputs, axis=0)
    np.testing.assert_allclose(whole.predict_split(split), want, rtol=1e-5)
    squares = np.square(want - split.targets).sum(axis=1).mean()
    assert facts["ensemble"]["loss"] == pytest.approx(squares, rel=1e-4)
    assert facts["ensemble"]["accuracy"] is None
    assert facts["ensemble"]["mean_absolute_error"] == pytest.approx(
        np.abs(want - split.targets).mean(), rel=1e-4
    )


def test_the_members_weights_are_copied_to_float64_one_at_a_time(tmp_path: Path) -> None:
    inputs = np.random.default_rng(1).random((40, 200), np.float32)
    member = disttrain.train(
        disttrain.Data(inputs, np.arange(40) % 2), layers=[1000, 2], epochs=1, progress=False
    )
    each = sum(8 * value.size for value in member.snapshot.parameters.values())
    whole = ensemble_of([member] * 4, tmp_path)
    whole.predict(inputs)
    tracemalloc.start()
    try:
        whole.predict(inputs)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert each < peak < 2.5 * each, "four copies at once would be 4"


def test_the_running_average_is_a_model(settings: Make, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(settings("model.average=0.9", "checkpoint.keep=99"), run, Alone())
    (file,) = averaged_in(run)
    history = load(all_checkpoints(run / "checkpoints")[-1]).progress.history
    best = min(history, key=lambda interval: interval["validation_average_loss"])
    assert file.name == f"step-{best['step']:08d}.h5"
    facts = combine([file], tmp_path / "average", Alone(), kind="average", split="validation")
    assert facts["ensemble"]["loss"] == best["validation_average_loss"]
    assert facts["members"][0]["loss"] == best["validation_loss"]
    found = load_model(tmp_path / "average", Alone())
    tensors = found.network.tensors(found.network.values)
    for name, tensor in load(file).average.items():
        np.testing.assert_array_equal(tensors[name], tensor)
    train(settings(), tmp_path / "plain", Alone())
    with pytest.raises(UsageError, match=r"keeps no running average: .*model\.average"):
        averaged_in(tmp_path / "plain")


def test_the_last_checkpoints(settings: Make, tmp_path: Path) -> None:
    train(settings("checkpoint.keep=3"), tmp_path, Alone())
    files = last_checkpoints(tmp_path, 2)
    assert files == all_checkpoints(tmp_path / "checkpoints")[-2:]
    with pytest.raises(UsageError, match=r"has 3 checkpoints: .*checkpoint\.keep = 4"):
        last_checkpoints(tmp_path, 4)
    for file in files:
        file.unlink()
    with pytest.raises(UsageError, match=r"has 1 checkpoint: .*checkpoint\.keep = 4$"):
        last_checkpoints(tmp_path, 4)
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        last_checkpoints(tmp_path / "nothing", 2)


def test_an_ensemble_moves_with_the_run_that_it_is_in(settings: Make, tmp_path: Path) -> None:
    run, moved = tmp_path / "run", tmp_path / "elsewhere" / "moved"
    train(settings("checkpoint.keep=3"), run, Alone())
    facts = combine(last_checkpoints(run, 2), run / "ensemble", Alone(), kind="checkpoints")
    assert all(row["path"].startswith("../checkpoints/step-") for row in facts["members"])
    moved.parent.mkdir()
    run.rename(moved)
    whole = load_model(moved / "ensemble", Alone())
    score = whole.score(whole.split(facts["split"])).facts()
    assert score.items() <= facts["ensemble"].items()
    # Beside the run it stays where it is: its members are named in full.
    facts = combine(last_checkpoints(moved, 2), tmp_path / "beside", Alone(), kind="checkpoints")
    assert all(Path(row["path"]).is_absolute() for row in facts["members"])


def test_a_refused_ensemble_leaves_no_folder(settings: Make, tmp_path: Path) -> None:
    unfit = settings("model.layers.1.units=2")
    for made, more, says in (
        (settings(), {"split": "other"}, "no rows for the other split"),
        (unfit, {}, "give it units = 3"),
    ):
        with pytest.raises(UsageError, match=says):
            members(made, tmp_path / "refused", 2, **more)
        assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(("metric", "best"), [("validation_accuracy", 3), ("validation_loss", 1)])
def test_the_best_of_a_study(tmp_path: Path, metric: str, best: int) -> None:
    rows = [
        {"number": n, "path": f"candidates/{n}", "score": score, "status": status}
        for n, score, status in (
            (1, 0.5, "completed"), (2, 0.6, "stopped-early"), (3, 0.7, "completed"),
            (4, 0.99, "pruned"), (5, None, "diverged"), (6, 0.01, "failed"),
        )
    ]  # fmt: skip
    (tmp_path / "study.json").write_text(json.dumps({"metric": metric, "candidates": rows}))
    for n in range(1, 7):
        (tmp_path / f"candidates/{n}").mkdir(parents=True)
        (tmp_path / f"candidates/{n}/best.h5").touch()
    found = best_of_study(tmp_path, 2)
    assert [path.parent.name for path in found] == [str(best), "2"]
    rows[0] |= {"score": 0.6, "validation": {"loss": 0.3}}
    rows[1] |= {"validation": {"loss": 0.2}}
    rows[2] |= {"score": 0.6, "validation": {"loss": None}}
    (tmp_path / "study.json").write_text(json.dumps({"metric": metric, "candidates": rows}))
    # Of equal scores the least validation loss is the best.
    assert [path.parent.name for path in best_of_study(tmp_path, 3)] == ["2", "1", "3"]
    with pytest.raises(UsageError, match="has 3 candidates that came to their end: --top 4"):
        best_of_study(tmp_path, 4)
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a study that can be used"):
        best_of_study(tmp_path, 2)


def test_resumed_it_trains_only_what_is_missing(settings: Make, tmp_path: Path) -> None:
    made = settings()
    members(made, tmp_path / "whole", 3)
    members(made, tmp_path / "parts", 2)
    with pytest.raises(UsageError, match="--resume"):
        members(made, tmp_path / "parts", 3)
    before = (tmp_path / "parts/members/1/summary.json").stat().st_mtime_ns
    found = members(made, tmp_path / "parts", 3, resume=True)
    assert (tmp_path / "parts/members/1/summary.json").stat().st_mtime_ns == before
    wanted = [load(tmp_path / f"whole/members/{n}/best.h5").digest for n in (1, 2, 3)]
    assert [load(path).digest for path in found] == wanted


def test_a_member_that_fails_is_left_out(
    settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from disttrain.selection import training

    real, said = training.train, []

    def bad(settings: Settings, *rest: Any, **more: Any) -> Any:
        if settings.name == "member-1" or fail_all:
            raise Divergence("the loss is nan")
        return real(settings, *rest, **more)

    monkeypatch.setattr(training, "train", bad)
    fail_all = False
    found = train_each(by_seed(settings(), 2), tmp_path / "one", Alone(), say=said.append)
    assert [path.parent.name for path in found] == ["2"]
    assert "the loss is nan" in said[0]
    assert said[1].startswith("member 2 of 2: loss")
    fail_all = True
    with pytest.raises(Divergence, match="no member came to its end; member 1: the loss"):
        train_each(by_seed(settings(), 2), tmp_path / "none", Alone(), say=said.append)


def test_by_seed_other_tasks_are_refused(settings: Make, tmp_path: Path, runs_of: Any) -> None:
    files = [runs_of(settings(), "one"), runs_of(settings("model.loss=squared"), "two")]
    with pytest.raises(CheckpointError, match="not for the same task"):
        combine(files, tmp_path, Alone(), kind="top")


@pytest.fixture
def runs_of(tmp_path: Path) -> Callable[[Settings, str], Path]:
    def make(settings: Settings, name: str) -> Path:
        train(settings, tmp_path / name, Alone())
        return tmp_path / name

    return make


def test_what_is_damaged_is_found(settings: Make, tmp_path: Path, runs_of: Any) -> None:
    files = members(settings(), tmp_path / "e", 2)
    combine(files, tmp_path / "e", Alone(), kind="members")
    assert verify_ensemble(tmp_path / "e")["whole"]
    text = (tmp_path / "e/ensemble.json").read_text()
    other = runs_of(settings("seed=99"), "other") / "best.h5"
    (tmp_path / "e/members/2/best.h5").write_bytes(other.read_bytes())
    found = verify_ensemble(tmp_path / "e")
    assert not found["whole"]
    assert [file["whole"] for file in found["files"]] == [True, False, True]
    with pytest.raises(CheckpointError, match=r"2/best\.h5 has changed since .* was made"):
        load_model(tmp_path / "e", Alone())
    for bad in ("{", "[]", '{"members": []}', '{"members": [{"path": 3}]}', '{"members": [1]}'):
        (tmp_path / "e/ensemble.json").write_text(bad)
        with pytest.raises(CheckpointError, match="make the ensemble again"):
            load_model(tmp_path / "e/ensemble.json", Alone())
        assert not verify_ensemble(tmp_path / "e")["whole"]
    (tmp_path / "e/ensemble.json").write_text(text)
    (tmp_path / "e/members/1/best.h5").unlink()
    with pytest.raises(CheckpointError, match="does not exist"):
        load_model(tmp_path / "e", Alone())


def test_whether_members_are_exact_is_found_out_once(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from disttrain.selection import training
    from disttrain.training.build import open_training_data

    asked: list[Settings] = []
    monkeypatch.setattr(training, "is_exact", lambda each, dataset: not asked.append(each))
    made, comm = settings(), Alone()
    comm.size = 64
    dataset = open_training_data(made, Alone())
    jobs = [(each, dataset) for each in by_seed(made, 3)]
    assert training.most_ranks(jobs, comm, 1) == made.reproducibility.leaves
    assert len(asked) == 1
    jobs.append((made.replace(training={"batch_size": 5}), dataset))
    training.most_ranks(jobs, comm, 1)
    assert len(asked) == 3
