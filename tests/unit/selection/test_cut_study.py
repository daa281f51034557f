"""A study or folds cut off anywhere, as by a kill: the same table, and never of other data."""

import h5py
import pytest

from disttrain import config
from disttrain.comm.alone import Alone
from disttrain.errors import UsageError
from disttrain.selection.search import search
from disttrain.selection.validation import Plan, cross_validate


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_candidates_that_were_asked_for_in_part_are_all_trained(data_path, tmp_path, kind):
    if kind == "tpe":
        pytest.importorskip("optuna")
    (tmp_path / "run.toml").write_text(f"""
        data.path = "{data_path}"
        model.layers = [{{ units = 3 }}]
        training.batch_size = 32
        device.kind = "cpu"
    """)
    study = config.Study(
        run=str(tmp_path / "run.toml"),
        stages=(config.Stage(kind=kind, candidates=4, epochs=1, generation=2),),
        space={"schedule.learning_rate": config.Range(low=1e-3, high=1.0, scale="log")},
    )
    folder, quiet = tmp_path / "study", {"say": lambda line: None}

    def scores(table):
        rows = table["candidates"]
        return [(row["number"], row["settings"], row["score"], row["digest"]) for row in rows]

    whole = scores(search(study, folder, Alone(), **quiet))
    lines = (folder / "study.jsonl").read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines)):
        (folder / "study.json").unlink()
        (folder / "study.jsonl").write_bytes(b"".join(lines[:kept]))
        assert scores(search(study, folder, Alone(), resume=True, **quiet)) == whole
    # A result file without its log says nothing: what was trained is found in its folders.
    (folder / "study.jsonl").write_bytes(b"")
    assert scores(search(study, folder, Alone(), resume=True, **quiet)) == whole


def test_what_is_cut_off_does_not_go_on_with_other_data(data_path, tmp_path):
    run, quiet = tmp_path / "run.toml", {"say": lambda line: None}
    run.write_text(f"""
        data.path = "{data_path}"
        model.layers = [{{ units = 3 }}]
        training = {{ epochs = 1, batch_size = 32 }}
        device.kind = "cpu"
    """)
    study = config.Study(
        run=str(run), stages=(config.Stage(candidates=2),),
        space={"schedule.learning_rate": config.Range(low=1e-3, high=1.0)},
    )  # fmt: skip
    plan = Plan(str(run), (), {}, folds=2)
    table = search(study, tmp_path / "study", Alone(), **quiet)
    folds = cross_validate(plan, tmp_path / "folds", Alone(), **quiet)
    with h5py.File(data_path, "a") as file:
        file["train/inputs"][0] = file["train/inputs"][1]
    # What has ended needs no data.
    assert search(study, tmp_path / "study", Alone(), resume=True, **quiet) == table
    assert cross_validate(plan, tmp_path / "folds", Alone(), resume=True, **quiet) == folds
    (tmp_path / "study/study.json").unlink()
    for log in (tmp_path / "study/study.jsonl", tmp_path / "folds/folds.jsonl"):
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(UsageError, match=r"is not the data that .*study began with"):
        search(study, tmp_path / "study", Alone(), resume=True, **quiet)
    with pytest.raises(UsageError, match=r"is not the data that .*folds began with"):
        cross_validate(plan, tmp_path / "folds", Alone(), resume=True, **quiet)
