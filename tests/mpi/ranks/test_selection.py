"""Candidates trained by groups of ranks: the same results on any number of ranks."""

import importlib.util
import json
import shutil
from functools import partial

import pytest

import disttrain
from disttrain import config
from disttrain.comm.alone import Alone
from disttrain.errors import (
    DataError,
    DisttrainError,
    Divergence,
    RankFailure,
    UsageError,
    exit_code_of,
)
from disttrain.selection.search import search
from disttrain.selection.training import Job, train_in_groups
from disttrain.selection.turns import Turns
from disttrain.selection.validation import Plan, cross_validate
from disttrain.training.build import open_training_data
from tests.cli.shell import blobs
from tests.mpi.ranks.alone import by_root

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def settings(made):
    return disttrain.parse(f"""
        [data]
        path = "{made("selection.h5", blobs, 160, validation=40)}"
        [model]
        layers = [{{ units = 6, activation = "relu" }}, {{ units = 3 }}]
        [training]
        epochs = 3
        batch_size = 30
        [device]
        kind = "cpu"
    """)


@pytest.fixture
def folder(comm, tmp_path):
    return tmp_path.__class__(comm.share(str(tmp_path)))


def jobs_in(folder, settings, until=None):
    # The last rate is too large for finite numbers.
    rates = [0.01, 0.1, 0.3, 0.5, 1e30]
    return [
        Job(number, settings.replace(schedule={"learning_rate": rate}), folder / str(number), until)
        for number, rate in enumerate(rates)
    ]


def test_runs_in_groups_have_the_digests_of_one_rank_and_are_not_trained_twice(
    comm, settings, folder
):
    told = []
    data = open_training_data(settings, comm)
    jobs = jobs_in(folder / "all", settings)
    ended = train_in_groups(comm, jobs, folder, dataset=data, tell=told.append)
    again = train_in_groups(comm, jobs[:4], folder, ranks_each=2, dataset=data)
    data.close(comm)
    mine = folder / "alone"
    alone = by_root(comm, lambda: train_in_groups(Alone(), jobs_in(mine, settings), mine))
    assert [one.number for one in ended] == [0, 1, 2, 3, 4]
    assert [one.exit_code for one in ended] == [0, 0, 0, 0, 4]
    assert "learning_rate" in ended[4].failure
    assert ended[4].value is None
    for one, other, second in zip(ended[:4], alone[:4], again, strict=True):
        assert one.value["digest"] == other.value["digest"]
        assert one.value["validation"] == other.value["validation"]
        # The summary of before, with its times: nothing was trained.
        assert second.value == one.value
    if comm.is_root:
        assert sorted(one.number for one in told) == [0, 1, 2, 3, 4]


def test_a_run_pauses_at_an_epoch_and_goes_on_to_the_same_digest(comm, settings, folder):
    jobs = jobs_in(folder / "rungs", settings, until=1)[:3]
    paused = train_in_groups(comm, jobs, folder)
    assert [one.value["status"] for one in paused] == ["paused"] * 3
    assert [one.value["epochs"] for one in paused] == [1.0] * 3
    assert all(one.value["validation"]["loss"] > 0 for one in paused)
    # Called again, as after a kill, it stands where it stood.
    assert train_in_groups(comm, jobs, folder)[1].value == paused[1].value
    # Killed when its checkpoint was written, and before its summary was.
    if comm.is_root:
        (jobs[1].folder / "summary.json").unlink()
    again = train_in_groups(comm, jobs, folder)[1].value
    for key in ("status", "epochs", "digest", "validation"):
        assert again[key] == paused[1].value[key]
    whole = train_in_groups(comm, jobs_in(folder / "rungs", settings, until=3)[:3], folder)
    straight = train_in_groups(comm, jobs_in(folder / "straight", settings)[:3], folder)
    for one, other in zip(whole, straight, strict=True):
        assert one.value["status"] == "completed"
        assert one.value["digest"] == other.value["digest"]


def test_ranks_left_over_join_a_group_where_that_changes_no_bit(comm, settings, folder):
    data = open_training_data(settings, comm)
    for mode, leaves, ranks in (("auto", 8, 4), ("exact", 8, 4), ("exact", 2, 2), ("fast", 8, 1)):
        how = {"mode": mode, "leaves": leaves}
        chosen = settings.replace(reproducibility=how, training={"epochs": 1})
        job = Job(1, chosen, folder / f"{mode}{leaves}")
        (ended,) = train_in_groups(comm, [job], folder, dataset=data)
        assert ended.value["ranks"] == min(comm.size, ranks), mode
        mine = Job(1, chosen, folder / f"{mode}{leaves}-alone")
        (alone,) = by_root(comm, partial(train_in_groups, Alone(), [mine], mine.folder))
        assert ended.value["digest"] == alone.value["digest"], mode
    data.close(comm)


def test_jobs_are_taken_once_and_those_that_fail_do_not_end_the_others(comm, folder):
    def work(group, number):
        with group.together("a job"):
            if number % 3 == 2:
                raise ValueError(f"job {number}")
        return {"square": number**2, "ranks": group.size}

    for ranks_each in (1, 2, 9):
        ended = Turns(comm, folder).take(range(7), work, ranks_each=ranks_each)
        assert [one.number for one in ended] == list(range(7))
        for one in ended:
            if one.number % 3 == 2:
                assert f"job {one.number}" in one.failure
            else:
                assert one.value["square"] == one.number**2
                assert one.value["ranks"] == min(ranks_each, comm.size)
    # Two jobs share all ranks where they may.
    for most in (8, 1):
        ended = Turns(comm, folder).take([0, 1], work, most=most)
        sizes = {max(1, min(n, most)) for n in (comm.size // 2, -(-comm.size // 2))}
        assert {one.value["ranks"] for one in ended} <= sizes
    assert Turns(comm, folder).take([0], work, most=3)[0].value["ranks"] == min(comm.size, 3)


def test_what_is_no_fault_of_a_job_ends_all(comm, folder):
    def work(group, number):
        with group.together("a job"):
            if number == 1:
                raise DataError("the file is gone")
        return {}

    with pytest.raises((DataError, RankFailure)) as caught:
        Turns(comm, folder).take(range(20), work)
    assert caught.value.exit_code == 3
    assert "the file is gone" in str(caught.value)


STUDY = """
run = "run.toml"
[[stages]]
candidates = 5
epochs = 3
prune = "halving"
[[stages]]
kind = "grid"
epochs = 2
zoom = 0.5
{more}
[space]
"schedule.learning_rate" = {{ low = 1e-3, high = 1.0, scale = "log", steps = 2 }}
"model.layers.0.units" = {{ choices = [4, 6] }}
"""
TPE = """
[[stages]]
kind = "tpe"
candidates = 4
generation = 2
epochs = 1
"""


@pytest.fixture
def study(comm, settings, folder):
    with comm.together("writing a study"):
        if comm.is_root:
            (folder / "run.toml").write_text(config.to_toml(settings))
            more = TPE if importlib.util.find_spec("optuna") else ""
            (folder / "study.toml").write_text(STUDY.format(more=more))
    return config.read_study(folder / "study.toml")


def without_times(table):
    return [
        {key: value for key, value in row.items() if key != "seconds"}
        for row in [*table["candidates"], table["best"]]
    ]


def test_a_study_has_one_table_on_any_ranks_also_cut_off_and_resumed(comm, study, folder):
    said = []
    table = search(study, folder / "all", comm, say=said.append)
    quiet = {"say": lambda line: None}
    alone = by_root(comm, lambda: search(study, folder / "alone", Alone(), **quiet))
    assert without_times(table) == without_times(alone)
    rows = table["candidates"]
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["status"] for row in rows[:5]].count("pruned") == 3
    assert [row["epochs"] for row in rows[:5] if row["status"] == "pruned"] == [1.0] * 3
    best = max(row["score"] for row in rows if row["status"] == "completed")
    assert table["best"]["score"] == best
    if comm.is_root:
        assert len([line for line in said if line.startswith("candidate")]) == len(rows)
        assert json.loads((folder / "all/study.json").read_text()) == table
    # The best run file, by itself, on all ranks.
    best_file = config.read(folder / "all/best.toml")
    summary = disttrain.runs.train(best_file, folder / "best", comm)
    assert summary["digest"] == table["best"]["digest"]
    assert summary["validation"]["accuracy"] == table["best"]["score"]
    # Killed in the middle: some lines of the log, one of them torn, and folders half done.
    with comm.together("cutting"):
        if comm.is_root:
            shutil.copytree(folder / "all", folder / "cut")
            (folder / "cut/study.json").unlink()
            (folder / "cut/best.toml").unlink()
            log = (folder / "cut/study.jsonl").read_bytes()
            # No folder is more than an epoch of comparison ahead of the log: stage 1 stays whole.
            whole = log.index(b'"stage": 2')
            (folder / "cut/study.jsonl").write_bytes(log[: max(len(log) * 2 // 3, whole)])
            shutil.rmtree(folder / f"cut/candidates/{len(rows):04d}")
    again = search(study, folder / "cut", comm, resume=True, say=said.append)
    assert without_times(again) == without_times(table)
    # A study that is done stays as it is.
    assert search(study, folder / "cut", comm, resume=True, say=said.append) == again
    with pytest.raises((UsageError, RankFailure), match="holds a study"):
        search(study, folder / "cut", comm, say=said.append)
    if comm.is_root:
        assert (folder / "cut/best.toml").read_text() == (folder / "all/best.toml").read_text()


def test_candidates_that_fail_are_rows_and_a_study_of_them_alone_says_so(comm, study, folder):
    rates = {"choices": [1e30, 0.1]}
    changed = study.model_copy(update={
        "space": {"schedule.learning_rate": config.Range(**rates)},
        "stages": (config.Stage(kind="grid", epochs=1),),
    })  # fmt: skip
    table = search(changed, folder / "some", comm, say=lambda line: None)
    first, second = table["candidates"]
    assert (first["status"], first["score"], first["digest"]) == ("diverged", None, None)
    assert "smaller schedule.learning_rate" in first["failure"]
    assert table["best"]["number"] == second["number"] == 2
    space = {"schedule.learning_rate": config.Range(choices=[1e30])}
    alike = changed.model_copy(update={"space": space})
    for resume in (False, True):
        with pytest.raises(DisttrainError, match=r"^no candidate of the study") as found:
            search(alike, folder / "none", comm, resume=resume, say=lambda line: None)
        assert exit_code_of(found.value) == Divergence.exit_code
    plan = Plan(study.run, (), {"schedule.learning_rate": [1e29, 1e30]}, folds=2)
    for resume in (False, True):
        with pytest.raises(DisttrainError, match=r"^no settings have a score on all") as found:
            cross_validate(plan, folder / "folds", comm, resume=resume, say=lambda line: None)
        assert exit_code_of(found.value) == Divergence.exit_code
    table = json.loads((folder / "folds/folds.json").read_text())
    assert [row["mean"] for row in table["settings"]] == [None, None]


def test_what_no_network_fits_is_refused_on_all_ranks_and_leaves_no_folder(comm, study, folder):
    space = {"model.layers.1.units": config.Range(choices=[2, 4])}
    with pytest.raises(DisttrainError, match=r"^model\.layers: .* has 2 units") as found:
        search(study.model_copy(update={"space": space}), folder / "study", comm)
    assert exit_code_of(found.value) == UsageError.exit_code
    plan = Plan(study.run, (), {"model.layers.1.units": [2, 4]}, folds=2)
    with pytest.raises(DisttrainError, match=r"^model\.layers: .* has 2 units") as found:
        cross_validate(plan, folder / "folds", comm)
    assert exit_code_of(found.value) == UsageError.exit_code
    assert not any(path.is_dir() for path in folder.iterdir())


def test_folds_have_one_table_on_any_ranks_also_cut_off_and_resumed(comm, study, folder):
    plan = Plan(study.run, (), {"schedule.learning_rate": [0.01, 0.1]}, folds=3, repeats=2)
    found = cross_validate(plan, folder / "folds", comm, say=lambda line: None)
    quiet = {"say": lambda line: None}
    alone = by_root(comm, lambda: cross_validate(plan, folder / "alone", Alone(), **quiet))

    def timeless(table):
        return [
            [{**fold, "seconds": 0} for fold in row["folds"]] + [row["mean"], row["deviation"]]
            for row in table["settings"]
        ]

    assert timeless(found) == timeless(alone)
    assert (found["best"], found["difference"]) == (alone["best"], alone["difference"])
    with comm.together("cutting"):
        if comm.is_root:
            log = (folder / "folds/folds.jsonl").read_bytes()
            (folder / "folds/folds.jsonl").write_bytes(log[: len(log) // 2])
    again = cross_validate(plan, folder / "folds", comm, resume=True, say=lambda line: None)
    assert timeless(again) == timeless(found)
