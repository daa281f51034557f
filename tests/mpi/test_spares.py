"""`disttrain launch --spares`: idle ranks that take the place of those that die."""

import os
import signal
import subprocess
import sys
import time

import pytest

from disttrain.launch import find_launcher
from tests.cli.shell import wait_for
from tests.mpi.soak import SOON, TRAIN, TRAINING, found
from tests.mpi.test_recovery import DEEP, PRETRAINING

pytestmark = pytest.mark.timeout(240)
CASES = [
    # Ranks, spares, the faults; ranks at the end, and places that were taken.
    (3, 1, ["kill:rank=0,step=50"], 3, 1),
    (2, 2, ["kill:rank=1,step=20", "kill:rank=0,step=60"], 2, 2),
    (2, 1, ["kill:rank=2,phase=standing by"], 2, 0),
    (2, 1, [], 2, 0),
    (4, 2, ["kill:rank=0,step=30", "kill:rank=3,step=30"], 4, 2),
    # The spare dies at its first step; and the rank whose place it takes before any step.
    (3, 1, ["kill:rank=1,step=50", "kill:rank=3,step=50"], 2, 1),
    (2, 1, ["kill:rank=0,step=0"], 2, 1),
    (2, 1, ["kill:rank=1,phase=reading data"], 2, 1),
    (3, 1, ["kill:rank=0,phase=validation"], 3, 1),
    (3, 1, ["kill:rank=0,phase=saving,step=30"], 3, 1),
    (2, 1, ["kill:rank=0,phase=scoring the test"], 2, 1),
    (3, 1, ["kill:rank=1,phase=going on without", "kill:rank=0,step=60"], 2, 1),
    (2, 2, ["kill:rank=2,phase=standing by", "kill:rank=1,step=60"], 2, 1),
    (3, 1, ["kill:rank=0,step=50", "kill:rank=3,phase=going on without"], 2, 0),
]
FAST = (1,)


@pytest.mark.parametrize(
    ("ranks", "spares", "faults", "left", "taken"),
    [pytest.param(*case, marks=[] if number in FAST else pytest.mark.long)
     for number, case in enumerate(CASES)],
)  # fmt: skip
def test_a_spare_takes_the_place(shell, wanted, ranks, spares, faults, left, taken):
    options = [f"--inject={fault}" for fault in faults]
    result = shell.run("launch", "-n", ranks, "--spares", spares, *TRAIN, "--output", "out",
                       *options, timeout=SOON)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert found(shell, "out") == wanted
    summary = shell.summary("out")
    assert summary["ranks"] == left
    assert sum("takes its place" in line for line in summary["failures"]) == taken
    assert result.stderr.count("takes its place") == taken, result.stderr
    assert not shell.left_running()


@pytest.mark.long
@pytest.mark.parametrize("at_once", [True, False])
def test_where_all_that_worked_are_dead_a_spare_does_not_begin_anew(shell, at_once):
    shell.run_file(TRAINING)
    second = "step=60" if at_once else "phase=going on without"
    faults = ["--inject=kill:rank=0,step=60", f"--inject=kill:rank=1,{second}"]
    result = shell.run("launch", "-n", 2, "--spares", 1, *TRAIN, "--output", "out", *faults,
                       timeout=SOON)  # fmt: skip
    assert result.returncode == 5, result.stderr
    assert "Traceback" not in result.stderr
    assert not shell.left_running()
    assert shell.run("train", "run.toml", "--output", "out", "--resume", "-q").returncode == 0


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ("--inject=raise:rank=1,step=50", 1),
        pytest.param("--set=schedule.learning_rate=1e30", 4, marks=pytest.mark.long),
    ],
)
def test_spares_end_with_a_training_that_fails(shell, option, code):
    shell.run_file(TRAINING)
    result = shell.run("launch", "-n", 2, "--spares", 1, *TRAIN, "--output", "out", option,
                       timeout=SOON)  # fmt: skip
    assert result.returncode == code, result.stderr
    assert not shell.left_running()


def ticks(pid: int) -> int:
    """Return the time that a process has computed so far, in the kernel's unit."""
    with open(f"/proc/{pid}/stat") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:13]))


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 75), pytest.param(signal.SIGQUIT, 130, marks=pytest.mark.long)],
)
def test_an_idle_spare_takes_no_core_and_ends_with_a_training_that_is_stopped(
    shell, wanted, number, code
):  # fmt: skip
    launch = ("launch", "-n", 2, "--spares", 1)
    process = shell.start(*launch, *TRAIN, "--output", "out",
                          "--inject=slow:rank=0,step=60,seconds=0.05")  # fmt: skip
    assert wait_for(lambda: (shell.folder / "out/checkpoints/step-00000060.h5").exists(), SOON)
    ranks = shell.ranks()
    begin, before = time.monotonic(), ticks(ranks[2])
    for _ in range(20):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
    seconds = time.monotonic() - begin
    spent = (ticks(ranks[2]) - before) / os.sysconf("SC_CLK_TCK")
    assert spent < seconds / 4, f"the spare computed for {spent} of {seconds} s"
    os.kill(process.pid, number)
    process.communicate(timeout=SOON)
    assert process.returncode == code
    assert not shell.left_running()
    if code == 75:
        resumed = ["train", "run.toml", "--output", "out", "--resume", "-q"]
        again = shell.run(*launch, *resumed, "--inject", "kill:rank=0,step=200", timeout=SOON)
        assert again.returncode == 0, again.stderr
        assert shell.summary("out")["digest"] == wanted[2]
        assert shell.summary("out")["ranks"] == 2


@pytest.mark.long
def test_a_spare_gets_the_weights_of_the_pre_training(shell):
    shell.run_file(DEEP + PRETRAINING)
    assert shell.run("train", "run.toml", "--output", "whole", "-q").returncode == 0
    faults = ["--inject=kill:rank=0,layer=1,step=9", "--inject=kill:rank=1,step=0"]
    result = shell.run("launch", "-n", 2, "--spares", 2, "train", "run.toml", "--output", "out",
                       *faults, timeout=SOON)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert shell.summary("out")["digest"] == shell.summary("whole")["digest"]
    assert shell.summary("out")["ranks"] == 2
    assert len(shell.summary("out")["failures"]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-n", "1", "--spares", "1", "train", "run.toml"], "needs -n 2 or more"),
        (["-n", "2", "--spares", "1", "check", "run.toml"], "is for train"),
        (["-n", "2", "--spares", "1", "search", "run.toml"], "is for train"),
        (["--hosts", "localhost:2", "--spares", "1", "train", "run.toml"], "is for one host"),
        (["-n", "2", "--spares", "1", "--fault-tolerance", "off", "train", "run.toml"],
         "--spares needs a training that goes on"),
    ],
)  # fmt: skip
def test_where_no_rank_can_be_replaced_launch_says_so(shell, words, said):
    shell.run_file(TRAINING)
    result = shell.run("launch", *words)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert said in result.stderr


def test_under_plain_mpirun_the_variable_needs_a_job_that_goes_on(shell):
    shell.run_file(TRAINING)
    launcher = find_launcher()
    result = subprocess.run(
        launcher.command(3, [sys.executable, "-m", "disttrain", *TRAIN]), cwd=shell.folder,
        env=shell.environment | launcher.environment(3) | {"DISTTRAIN_SPARES": "1"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SOON, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr.count("disttrain: ") == 1, result.stderr
    assert "DISTTRAIN_SPARES=1 needs a job that goes on" in result.stderr
