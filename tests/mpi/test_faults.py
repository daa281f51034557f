"""What breaks on one rank ends all of them, soon, with one sentence and the documented code."""

import os
import re

import pytest

from disttrain.launch import find_launcher
from tests.cli.shell import ROOT, sentence

pytestmark = pytest.mark.timeout(240)
RANKS = 3
# Long enough for a start on a busy machine, short of any deadline.
SOON = 100
TRAIN = ("train", "run.toml", "--output", "out", "--set", "validation.on=all")
STEP = r" \(step 6\)"
# Place, rank, the phase that the sentence names. Saving and callbacks are rank 0's alone.
EVERYWHERE = [
    ("configuration", "configuration"),
    ("opening data", "opening data"),
    ("reading a batch", "reading a batch" + STEP),
    ("forward", "forward" + STEP),
    ("backward", r"backward \(step 0\)"),
    ("validation", "validation"),
]
ON_ROOT = [
    ("saving", "saving"),
    ("callback", "callback"),
    ("callback at start", "callback"),
    ("callback in a step", "callback" + STEP),
]
ALL = [(p, rank, name) for rank in (1, 0) for p, name in EVERYWHERE]
ALL += [(p, 0, name) for p, name in ON_ROOT]
FEW = ("configuration on 1", "forward on 1", "saving on 0")
PLACES = [
    pytest.param(*place, marks=[] if f"{place[0]} on {place[1]}" in FEW else pytest.mark.long)
    for place in ALL
]


def by_launch(shell, fault, *arguments, ranks=RANKS, timeout=SOON):
    """Run a training through `disttrain launch`, with `fault`."""
    return shell.run(
        "launch", "-n", ranks, "--fault-tolerance", "off", *TRAIN, *arguments,
        module="tests.mpi.driver", env={"FAULT": fault}, timeout=timeout,
    )  # fmt: skip


def by_mpirun(shell, fault, *arguments, ranks=RANKS):
    """Run a training by mpirun itself, with `fault`."""
    launcher = find_launcher()
    options = launcher.command(ranks, [])
    shell.environment |= launcher.environment(ranks)
    return shell.run(
        *TRAIN, *arguments,
        prefix=options, module="tests.mpi.driver", env={"FAULT": fault}, timeout=SOON,
    )  # fmt: skip


def spoken(result):
    """Return the sentences of disttrain on standard error."""
    lines = (result.stdout + result.stderr).splitlines()
    return [line for line in lines if line.startswith("disttrain: ")]


def check_exception(shell, result, rank, phase):
    sentences = spoken(result)
    assert len(sentences) == 1, result.stderr
    assert re.fullmatch(
        f"disttrain: rank {rank} failed in {phase}: RuntimeError: injected fault", sentences[0]
    )
    assert (result.stdout + result.stderr).count("Traceback (most recent call last)") == 1
    assert result.returncode == 1
    if phase != "configuration":
        summary = shell.summary("out")
        assert summary["status"] == "failed"
        assert summary["failures"] == [sentences[0].removeprefix("disttrain: ")]
    assert not shell.left_running()


@pytest.mark.parametrize(("place", "rank", "phase"), PLACES)
def test_an_exception_on_one_rank(shell, place, rank, phase):
    result = by_launch(shell, f"exception at {place} on {rank}")
    check_exception(shell, result, rank, phase)


@pytest.mark.long
@pytest.mark.parametrize(("place", "rank", "phase"), ALL)
def test_an_exception_on_one_rank_under_plain_mpirun(shell, place, rank, phase):
    result = by_mpirun(shell, f"exception at {place} on {rank}")
    check_exception(shell, result, rank, phase)


def test_plain_mpirun_too(shell):
    result = by_mpirun(shell, "exception at forward on 1")
    check_exception(shell, result, 1, "forward" + STEP)


@pytest.mark.long
def test_a_callback_that_fails_after_the_summary_takes_nothing_back(shell):
    result = by_launch(shell, "exception at callback at end on 0")
    assert result.returncode == 1
    assert spoken(result) == ["disttrain: rank 0 failed in callback: RuntimeError: injected fault"]
    assert shell.summary("out")["status"] == "completed"
    assert not shell.left_running()


def test_an_exception_while_buckets_leave(shell):
    result = by_launch(
        shell, "exception at forward on 1",
        "--set", "communication.sum=buckets", "--set", "communication.bucket_mib=1e-4",
    )  # fmt: skip
    check_exception(shell, result, 1, "forward" + STEP)


@pytest.mark.parametrize("start", [by_launch, pytest.param(by_mpirun, marks=pytest.mark.long)])
def test_an_exception_outside_of_every_protected_place(shell, start):
    result = start(shell, "exception at update on 1")
    assert result.returncode == 1
    said = "disttrain: rank 1 failed in update: RuntimeError: injected fault"
    # mpirun's page about the abort may come before it or after it in the same line.
    assert (result.stdout + result.stderr).count(said) == 1
    assert not shell.left_running()


@pytest.mark.parametrize(
    ("how", "place", "rank", "phase"),
    [
        ("interrupt", "forward", 1, "forward" + STEP),
        pytest.param("interrupt", "update", 1, "update", marks=pytest.mark.long),
        pytest.param("interrupt", "callback", 0, "callback", marks=pytest.mark.long),
        pytest.param("interrupt", "saving", 0, "saving", marks=pytest.mark.long),
        pytest.param("interrupt", "validation", 2, "validation", marks=pytest.mark.long),
        pytest.param("generator-exit", "update", 0, "update", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("start", [by_launch, pytest.param(by_mpirun, marks=pytest.mark.long)])
def test_an_exception_that_is_no_error(shell, start, how, place, rank, phase):
    """Ctrl-C in code, on one rank: a bug's exit code, one sentence, and nobody waits."""
    result = start(shell, f"{how} at {place} on {rank}")
    assert result.returncode == 1, result.stderr
    name = {"interrupt": "KeyboardInterrupt", "generator-exit": "GeneratorExit"}[how]
    said = f"disttrain: rank {rank} failed in {phase}: {name}"
    assert re.search(said, result.stdout + result.stderr), result.stderr
    assert (result.stdout + result.stderr).count("disttrain: rank ") == 1
    if how == "interrupt":
        assert "Traceback" not in result.stderr
    if place != "update":
        assert shell.summary("out")["status"] == "failed"
    assert not shell.left_running()


@pytest.mark.parametrize(
    ("start", "place"),
    [
        (by_mpirun, "opening data"),
        pytest.param(by_launch, "reading a batch", marks=pytest.mark.long),
        pytest.param(by_launch, "opening data", marks=pytest.mark.long),
        pytest.param(by_mpirun, "reading a batch", marks=pytest.mark.long),
    ],
)
def test_bad_data_on_one_rank_have_their_code(shell, start, place):
    result = start(shell, f"data-error at {place} on 2")
    assert result.returncode == 3
    assert len(spoken(result)) == 1
    assert f"rank 2 failed in {place}" in spoken(result)[0]
    assert spoken(result)[0].endswith("injected bad row")
    assert "Traceback" not in result.stderr
    assert shell.summary("out")["status"] == "failed"


def check_lost(shell, result):
    """The launcher says that ranks were lost, once, and leaves nothing running."""
    assert result.returncode == 5, result.stderr
    assert len(spoken(result)) == 1
    assert "--resume" in spoken(result)[0]
    assert "Traceback" not in result.stderr
    assert not shell.left_running()


def test_a_killed_rank_costs_no_more_than_a_resume(shell):
    check_lost(shell, by_launch(shell, "KILL at forward on 1"))
    resumed = by_launch(shell, "", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after step 5" in resumed.stdout
    undisturbed = by_launch(shell, "", "--output", "whole")
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert shell.summary("out")["status"] == "completed"
    assert shell.summary("out")["digest"] == shell.summary("whole")["digest"]


@pytest.mark.parametrize(
    "how",
    [
        "os._exit0",
        "sys.exit3",
        pytest.param("os._exit9", marks=pytest.mark.long),
        pytest.param("sys.exit0", marks=pytest.mark.long),
        pytest.param("SEGV", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.long)])
def test_a_rank_that_leaves_in_mid_run(shell, how, rank):
    check_lost(shell, by_launch(shell, f"{how} at forward on {rank}"))


STUDY = """
run = "run.toml"
[[stages]]
candidates = 2
epochs = 2
[space]
"schedule.learning_rate" = { low = 0.01, high = 0.1 }
"""


def test_a_rank_that_dies_in_a_search_ends_it_and_the_search_goes_on(shell):
    """Without fault tolerance; with it see test_groups_go_on.py."""
    (shell.folder / "study.toml").write_text(STUDY)
    command = ("launch", "-n", 2, "search", "study.toml", "--output", "out", "-q")
    result = shell.run(
        *command[:3], "--fault-tolerance", "off", *command[3:],
        module="tests.mpi.driver", env={"FAULT": "os._exit0 at forward on 1"}, timeout=SOON,
    )  # fmt: skip
    assert result.returncode == 5, result.stderr
    assert "Traceback" not in result.stderr
    assert not shell.left_running()
    assert shell.run(*command, "--resume").returncode == 0


def test_a_search_under_plain_mpirun_with_ulfm_goes_on_without_a_rank_that_dies(shell):
    (shell.folder / "study.toml").write_text(STUDY)
    launcher = find_launcher()
    if not launcher.can_survive:
        pytest.skip("needs Open MPI 5")
    shell.environment |= launcher.environment(2)
    result = shell.run(
        "search", "study.toml", "--output", "out", "-q",
        prefix=launcher.command(2, [], survives=True),
        module="tests.mpi.driver", env={"FAULT": "os._exit0 at forward on 1"}, timeout=SOON,
    )  # fmt: skip
    assert "the others go on without it" in result.stderr
    assert "Traceback" not in result.stderr
    assert (shell.folder / "out/best.toml").exists()


def test_a_crash_in_c_says_where_python_was(shell):
    result = by_launch(shell, "SEGV at forward on 1")
    check_lost(shell, result)
    assert result.stderr.count("Segmentation fault") >= 1
    assert "in compute_gradients" in result.stderr


def test_a_death_in_the_sum_is_seen(shell):
    result = by_launch(shell, "KILL at the sum on 0")
    assert result.returncode == 5
    assert len(spoken(result)) == 1
    assert not shell.left_running()


DEADLINE = ("--set", "communication.deadline_seconds=3")


@pytest.mark.parametrize("rank", [2, pytest.param(0, marks=pytest.mark.long)])
def test_a_rank_that_does_not_come_on(shell, rank):
    result = by_launch(shell, f"sleep at reading a batch on {rank}", *DEADLINE)
    assert result.returncode == 5
    assert len(spoken(result)) == 1, result.stderr
    assert re.search(f"rank {rank} on .* has been in 'reading a batch' since", spoken(result)[0])
    assert not shell.left_running()


@pytest.mark.long
def test_a_stopped_rank_is_named_by_the_others(shell):
    result = by_launch(shell, "STOP at forward on 1", *DEADLINE)
    assert result.returncode == 5
    (said,) = spoken(result)
    assert re.search(r"rank 1 on \S+ was stopped by a signal \(process \d+\) in 'forward'", said)
    assert not shell.left_running()


def test_a_rank_stopped_while_it_waits_is_named_by_the_others(shell):
    result = by_launch(shell, "STOP at the sum on 1", *DEADLINE)
    assert result.returncode == 5
    assert {re.search(r"rank (\d) on ", s)[1] for s in spoken(result)} == {"1"}
    assert not shell.left_running()


IN_MEMORY = """
import sys, time, disttrain
settings = disttrain.read("run.toml", ["communication.deadline_seconds=1", "training.epochs=1"])
run = disttrain.build(settings)
disttrain.fit(run)
time.sleep(3)
print("still here")
"""


def test_no_deadline_watches_a_script_that_has_trained(shell):
    (shell.folder / "script.py").write_text(IN_MEMORY)
    result = shell.run(module="script", env={"PYTHONPATH": f"{shell.folder}{os.pathsep}{ROOT}"})
    assert "still here" in result.stdout, result.stderr


def test_ranks_that_never_arrive_end_the_job(shell):
    shell.environment["DISTTRAIN_CONNECT_SECONDS"] = "6"
    result = by_launch(shell, "sleep at joining on 1")
    assert "the ranks did not find each other within 6 s (rank 0 on " in sentence(result, 5)
    assert not shell.left_running()


def test_a_rank_that_dies_before_all_have_met_ends_the_job(shell):
    """With fault tolerance mpirun goes on without it, and the others would wait for minutes."""
    result = shell.run("launch", "-n", 3, *TRAIN, module="tests.mpi.driver",
                       env={"FAULT": "KILL at joining on 1"}, timeout=SOON)  # fmt: skip
    assert "1 of 3 ranks ended before all had met" in sentence(result, 5)
    assert not shell.left_running()


def test_a_time_to_connect_that_is_none_is_refused_by_one_rank(shell):
    shell.environment["DISTTRAIN_CONNECT_SECONDS"] = "abc"
    said = sentence(shell.run("launch", "-n", 2, *TRAIN), 2)
    assert said.startswith("DISTTRAIN_CONNECT_SECONDS=abc is not a time: give seconds")
