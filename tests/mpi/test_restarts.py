"""`launch --restarts`: lost ranks cost no more than a moment; what would recur is not repeated."""

import fcntl
import re
import signal
import time

import pytest

from tests.mpi.test_faults import TRAIN, by_launch, spoken

pytestmark = pytest.mark.timeout(240)


def launch(shell, fault, restarts, *arguments, ranks=2):
    """Train on this host with restarts; each attempt meets the fault anew."""
    return shell.run(
        "launch", "-n", ranks, "--restarts", restarts, "--fault-tolerance", "off",
        "train", "run.toml", "--output", "out",
        *arguments, module="tests.mpi.driver", env={"FAULT": fault}, timeout=100,
    )  # fmt: skip


def test_a_training_goes_on_until_it_is_done(shell):
    """Killed at its sixth step each time, it comes five steps further with each attempt."""
    result = launch(shell, "KILL at forward on 1", 2, "--overwrite")
    assert result.returncode == 0, result.stderr
    restarts = [re.search(r"restart (\d) of 2 in (\d) s: .* 2 ranks after step (\d+)$", line)
                for line in spoken(result)]  # fmt: skip
    assert [r.groups() for r in restarts] == [("1", "1", "5"), ("2", "2", "10")]
    whole = shell.run(*TRAIN, "--output", "whole")
    assert whole.returncode == 0, whole.stderr
    assert shell.summary("out")["digest"] == shell.summary("whole")["digest"]
    assert not shell.left_running()


def test_a_lock_that_outlives_its_host_is_waited_for(shell):
    """A file server keeps it for a while; without the wait the restart ends with code 2."""
    process = shell.start(
        "launch", "-n", 2, "--restarts", 2, "--fault-tolerance", "off",
        "train", "run.toml", "--output", "out",
        module="tests.mpi.driver", env={"FAULT": "KILL at forward on 1"},
    )  # fmt: skip
    assert any("restart 1 of 2 in 1 s" in line for line in iter(process.stderr.readline, ""))
    with open(shell.folder / "out" / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(6)
    _, rest = process.communicate(timeout=100)
    assert process.returncode == 0, rest
    assert "restart 2 of 2" in rest


def test_a_training_that_stays_lost(shell):
    result = launch(shell, "KILL at opening data on 1", 1)
    assert result.returncode == 5
    first, last = spoken(result)
    assert "from the beginning" in first
    assert "--resume" in last
    assert not shell.left_running()


def test_a_run_of_before_is_not_gone_on_with(shell):
    """Lost before it took the folder: the restart is asked the same as the first start."""
    assert by_launch(shell, "").returncode == 0
    result = launch(shell, "KILL at configuration on 1", 1)
    assert result.returncode == 5
    assert shell.summary("out")["ranks"] == 3


@pytest.mark.parametrize(
    ("fault", "arguments", "code"),
    [
        ("exception at forward on 1", (), 1),
        pytest.param("", ("--set", "bogus=1"), 2, marks=pytest.mark.long),
        pytest.param("data-error at opening data on 1", (), 3, marks=pytest.mark.long),
        ("", ("--set", "schedule.learning_rate=1e30"), 4),
    ],
)
def test_what_would_recur_is_not_repeated(shell, fault, arguments, code):
    result = launch(shell, fault, 3, *arguments)
    assert result.returncode == code
    assert "restart" not in result.stderr


def test_asked_to_stop_while_waiting_to_start_again(shell):
    process = shell.start(
        "launch", "-n", 2, "--restarts", 9, "--fault-tolerance", "off",
        "train", "run.toml", "--output", "out",
        module="tests.mpi.driver", env={"FAULT": "KILL at configuration on 1"},
    )  # fmt: skip
    lines = iter(process.stderr.readline, "")
    assert any("restart 3 of 9 in 4 s" in line for line in lines)
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=100)
    assert process.returncode == 75
    assert "asked to stop (SIGTERM)" in rest
    assert not shell.left_running()


def test_only_a_training_can_be_restarted(shell):
    result = shell.run("launch", "-n", 2, "--restarts", 1, "check", "run.toml")
    assert result.returncode == 2
    assert "--restarts is for what can go on" in result.stderr
