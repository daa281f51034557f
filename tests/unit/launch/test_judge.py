"""How a run ended: the ranks' own word, the mark in the run folder, mpirun's status last."""

import json
import signal

import pytest

from disttrain.launch.attempt import LOST, Asked, judge
from disttrain.launch.run_mark import RunMark, resuming
from disttrain.launch.signs import Signs
from disttrain.runs.folder import RunFolder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def write(folder, status):
    (folder / "summary.json").write_text(json.dumps({"status": status, "steps": 3}))


def ended(folder, code, mark, says=None):
    signs = Signs(folder)
    (folder / "status-1.met").touch()
    if says is not None:
        signs.path.write_text(says)
    return judge(code, signs, mark, Asked("mark", True))


TRAIN = ["run.toml", "--output", "out"]


@pytest.mark.parametrize(
    ("status", "code"),
    [("completed", 0), ("stopped-early", 0), ("preempted", 75), ("diverged", 4)],
)
@pytest.mark.parametrize("mpirun", [0, 1, 137, -9])
def test_the_mark_counts_whatever_mpirun_says(folder, status, code, mpirun):
    mark = RunMark(TRAIN)
    write(folder, status)
    assert ended(folder, mpirun, mark).code == code


@pytest.mark.parametrize(
    ("command", "arguments", "place"),
    [
        ("ensemble", ["run.toml", "--members", "3", "-o", "out"], "out"),
        ("ensemble", ["run.toml", "--members", "3", "--set", "name=mine"], "runs/mine-ensemble"),
        ("ensemble", ["study", "--top", "3"], "study/ensemble"),
        ("search", ["tests/study.toml"], "runs/study"),
        ("cross-validate", ["run.toml", "--set", "name=mine"], "runs/mine-folds"),
    ],
)
def test_a_mark_is_where_the_command_writes(tmp_path, monkeypatch, command, arguments, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study").mkdir()
    (tmp_path / "run.toml").write_text('data.path = "x.h5"\nmodel.layers = [3]\n')
    assert RunMark(arguments, command).folder == tmp_path / place


def test_a_mark_from_before_says_nothing(folder):
    write(folder, "completed")
    mark = RunMark(TRAIN)
    assert ended(folder, 0, mark).code == LOST
    write(folder, "preempted")
    assert ended(folder, 0, mark).code == 75
    mark.renew()
    assert ended(folder, 0, mark).code == LOST


@pytest.mark.parametrize(("mpirun", "code"), [(0, 5), (137, 5), (1, 5), (3, 3), (5, 5), (-9, 5)])
def test_without_a_mark_the_status_of_mpirun_is_little(folder, mpirun, code):
    assert ended(folder, mpirun, RunMark(TRAIN)).code == code


def test_what_the_ranks_say_comes_first(folder):
    mark = RunMark(TRAIN)
    write(folder, "failed")
    assert ended(folder, 0, mark, says="3").code == 3
    assert ended(folder, 0, None, says="").code == LOST


def test_a_request_that_nobody_heard(folder):
    asked = Asked("mark", True)
    asked.signal = signal.SIGTERM
    for code in (-signal.SIGUSR1, 250):
        ending = judge(code, Signs(folder), None, asked)
        assert (ending.code, ending.sentence[:23]) == (75, "asked to stop (SIGTERM)")
    (folder / "status-1.met").touch()
    assert judge(250, Signs(folder), None, asked).code == LOST


def test_ranks_that_never_met_are_told_as_such(folder):
    ending = judge(213, Signs(folder), None, Asked("mark", True))
    assert ending.code == LOST
    assert "did not all start and find each other (mpirun: status 213)" in ending.sentence


def test_a_command_on_hosts_that_share_no_folder_has_the_code_of_mpirun():
    asked = Asked("mark", False)
    assert [judge(code, Signs(None), None, asked).code for code in (0, 3, 1)] == [0, 3, LOST]


def test_a_rank_of_an_earlier_attempt_says_nothing_about_this_one(folder):
    Signs(folder, 1).path.write_text("5")
    assert Signs(folder, 1).code() == 5
    assert Signs(folder, 2).code() is None


def test_the_run_folder_is_found_as_train_finds_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("data.path = 'x'\nmodel.layers = [{ units = 2 }]\n")
    for arguments, where in (
        (["mine.toml"], "runs/mine"),
        (["--set", "name=other", "mine.toml", "--json"], "runs/other"),
        (["mine.toml", "-o", "a/b"], "a/b"),
        (["--output=c", "mine.toml", "--resume"], "c"),
    ):
        checkpoints = tmp_path / where / "checkpoints"
        checkpoints.mkdir(parents=True)
        for name in ("step-00000200.h5", "step-00000030.h5", "step-00000900.h5.damaged"):
            (checkpoints / name).touch()
        assert RunMark(arguments).newest_step() == 200
    (tmp_path / "c/run.toml").write_text("data.path = 'x'\nmodel.layers = [{ units = 2 }]\n")
    for named in ("c", "c/run.toml"):
        assert RunMark([named, "--resume"]).folder == tmp_path / "c"
    assert RunMark(["c/run.toml"]).folder == tmp_path / "runs/run"
    assert RunMark(["missing.toml"]).newest_step() is None
    assert RunMark(["missing.toml"]).code() is None


def test_a_run_has_begun_when_its_run_file_is_written(folder):
    (folder / "run.toml").write_text("seed = 1")
    mark = RunMark(TRAIN)
    assert not mark.began
    (folder / "run.toml").unlink()
    (folder / "run.toml").write_text("seed = 2 ")
    assert mark.began


def test_the_lock_of_a_run_is_seen_until_it_is_let_go(folder):
    mark = RunMark(TRAIN)
    assert not mark.in_use()
    run = RunFolder(folder)
    run.claim(resume=False, overwrite=False)
    assert mark.in_use()
    run.release()
    assert not mark.in_use()
    run.claim(resume=True, overwrite=False)


def test_a_restart_goes_on_instead_of_overwriting():
    assert resuming(["run.toml", "--overwrite", "-o", "x"]) == ["run.toml", "-o", "x", "--resume"]
    assert resuming(["run.toml", "--resume"]) == ["run.toml", "--resume"]


def test_what_mpirun_itself_refuses_would_recur(folder):
    asked = Asked("mark", True)
    hopeless = {code: judge(code, Signs(folder), None, asked).hopeless for code in (1, 213, 137, 0)}
    assert hopeless == {1: True, 213: False, 137: False, 0: False}


def test_a_program_of_the_users_has_its_own_code(folder):
    signs, asked = Signs(folder, expected=False), Asked("mark", True)
    codes = {code: judge(code, signs, None, asked, own=False).code for code in (0, 1, 9, 137, -9)}
    assert codes == {0: 0, 1: 1, 9: 9, 137: LOST, -9: LOST}
    asked.signal = signal.SIGTERM
    assert judge(138, signs, None, asked, own=False).code == 75
