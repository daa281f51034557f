"""One start of mpirun, by stand-ins for it that do what the real one does now and then."""

import os
import signal
import sys

import pytest

from disttrain.launch import attempt
from disttrain.launch.attempt import Asked, Signs, run

pytestmark = pytest.mark.timeout(20)

COUNTED = "echo . >> starts; "


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Return a function that runs a shell script as mpirun: its status, how often it began."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(attempt, "PATIENCE", 0.2)
    monkeypatch.setattr(attempt, "LOOK", 0.05)
    monkeypatch.setattr(attempt, "DEAF", 0.2)

    def start(script, asked=None, has_ranks=None, starting=60.0, signs=tmp_path):
        command = ["sh", "-c", COUNTED + script]
        signs, asked = Signs(signs, 1), asked or Asked("mark", True)
        code = run(command, os.environ, signs, asked, starting, has_ranks)
        return code, (tmp_path / "starts").read_text().count(".")

    return start


def test_daemons_that_do_not_report_are_started_once_more(started):
    assert started("[ $(wc -l < starts) = 2 ] || exit 213") == (0, 2)


def test_daemons_that_never_report_are_not_started_for_ever(started):
    assert started("exit 213") == (213, 2)


def test_nothing_else_is_started_again(started):
    assert started("exit 137") == (137, 1)


def test_who_asked_to_stop_gets_no_second_start(started):
    asked = Asked("mark", True)
    asked.signal = signal.SIGTERM
    assert started("trap 'exit 213' USR1; while :; do sleep 0.01; done", asked) == (213, 1)


def test_mpirun_that_outlives_its_ranks_is_killed(started):
    assert started("echo 0 > status-1; exec sleep 60") == (-signal.SIGKILL, 1)


def test_mpirun_that_outlives_the_ranks_of_this_host_is_killed(started):
    looks = iter([True, True, *[False] * 1000])
    assert started("exec sleep 60", has_ranks=lambda: next(looks)) == (-signal.SIGKILL, 1)


def test_mpirun_may_take_its_time_before_there_is_a_rank(started):
    assert started("sleep 1", has_ranks=lambda: False) == (0, 1)


def test_ranks_that_never_meet_are_not_waited_for(started):
    assert started("exec sleep 60", starting=0.3) == (-signal.SIGKILL, 1)
    assert started("touch status-1.met; sleep 1", starting=0.3) == (0, 2)


def test_signs_that_were_removed_end_nothing(started, tmp_path):
    """Ranks that have met once have met; and without a place nobody can say whether they have."""
    script = "touch status-1.met; sleep 0.6; rm status-1.met; sleep 1"
    assert started(script, starting=0.8)[0] == 0
    assert started("sleep 1", starting=0.3, signs=tmp_path / "removed")[0] == 0


def test_a_request_waits_until_mpirun_can_hear_it(started):
    """MPICH's launcher forgets a signal that comes while it begins."""
    deaf = (
        "import signal, time\n"
        "signal.signal(signal.SIGUSR1, signal.SIG_IGN)\n"
        "time.sleep(0.1)\n"
        "signal.signal(signal.SIGUSR1, lambda *_: exit(75))\n"
        "time.sleep(10)"
    )
    asked = Asked("mark", True)
    asked.signal = signal.SIGTERM
    attempt.DEAF = 1.0
    assert started(f"exec {sys.executable} -c '{deaf}'", asked) == (75, 1)
