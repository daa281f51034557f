"""One start of mpirun, by stand-ins for it that do what the real one does now and then."""

import os
import re
import signal
import sys
from contextlib import contextmanager

import pytest

from disttrain.environment import MET
from disttrain.launch import attempt, watchdog
from disttrain.launch.attempt import Asked, run
from disttrain.launch.signs import Signs
from disttrain.launch.watchdog import Watchdog

pytestmark = pytest.mark.timeout(60)

COUNTED = "echo . >> starts; "


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Return a function that runs a shell script as mpirun: its status, how often it began.

    Its attribute `why` is then the watchdog's reason.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(watchdog, "PATIENCE", 0.2)
    monkeypatch.setattr(watchdog, "STARTED", 0.3)
    monkeypatch.setattr(watchdog, "LOOK", 0.05)
    monkeypatch.setattr(watchdog, "FIRST_WORD", 0.2)
    monkeypatch.setattr(watchdog, "SILENCE", 1.0)
    monkeypatch.setattr(attempt, "DEAF", 0.2)

    def start(script, asked=None, ranks=None, starting=60.0, signs=tmp_path, all_here=0):
        command = ["sh", "-c", COUNTED + script]
        code, start.why = run(
            command, os.environ, asked or Asked("mark", True),
            lambda job: Watchdog(
                job, Signs(signs, 1), starting, ranks or list, ranks is not None, all_here
            ),
        )  # fmt: skip
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
    looks = iter([[1], [1], *[[]] * 1000])
    assert started("exec sleep 60", ranks=lambda: next(looks)) == (-signal.SIGKILL, 1)
    assert "did not end when its ranks had" in started.why


def test_mpirun_may_take_its_time_before_there_is_a_rank(started):
    assert started("sleep 1", ranks=list) == (0, 1)


def test_ranks_that_never_meet_are_not_waited_for(started):
    assert started("exec sleep 60", starting=0.3) == (-signal.SIGKILL, 1)
    assert started("touch status-1.met; sleep 1", starting=0.3) == (0, 2)


def test_ranks_of_which_one_ended_before_they_met_are_not_waited_for(started, tmp_path):
    """A signal that comes before a rank can take it ends that rank; the others would wait."""
    assert started("sleep 60", ranks=lambda: [10**7, 10**7 + 1], all_here=3)[0] == -signal.SIGKILL
    assert started.why == "1 of 3 ranks ended before all had met"
    # All are there; or they have met, and go on without one that died.
    assert started("sleep 1", ranks=lambda: [10**7, 10**7 + 1], all_here=2)[0] == 0
    (tmp_path / f"status-1{MET}").touch()
    assert started("sleep 1", ranks=lambda: [10**7], all_here=2)[0] == 0


def test_signs_that_were_removed_end_nothing(started, tmp_path):
    """Ranks that have met once have met; and without a place nobody can say whether they have."""
    script = "touch status-1.met; sleep 0.6; rm status-1.met; sleep 1"
    assert started(script, starting=0.8)[0] == 0
    assert started("sleep 1", starting=0.3, signs=tmp_path / "removed")[0] == 0


def test_a_stopped_mpirun_is_not_waited_for(started, monkeypatch):
    monkeypatch.setenv("DISTTRAIN_STOPPED_SECONDS", "0.3")
    assert started("kill -STOP $$; sleep 60") == (-signal.SIGKILL, 1)
    assert re.search(r"a signal stopped mpirun \(process \d+\) over \d s ago", started.why)


def test_a_stopped_rank_is_not_waited_for(started, monkeypatch, tmp_path):
    """Neither is one of a program that has no deadlines of its own."""
    monkeypatch.setenv("DISTTRAIN_STOPPED_SECONDS", "0.3")
    script = "sh -c 'echo $$ > rank; kill -STOP $$' & wait"
    rank = tmp_path / "rank"
    said = started(script, ranks=lambda: [int(rank.read_text())] if rank.exists() else [])
    assert said == (-signal.SIGKILL, 1)
    assert f"a signal stopped a rank (process {rank.read_text().strip()}) over" in started.why
    os.kill(int(rank.read_text()), signal.SIGKILL)


def test_a_stopped_rank_may_be_let_go_on(started, monkeypatch):
    monkeypatch.setenv("DISTTRAIN_STOPPED_SECONDS", "0")
    assert started("(sleep 1; kill -CONT $$) & kill -STOP $$") == (0, 1)


def test_a_host_that_gives_no_signs_any_more(started, monkeypatch):
    monkeypatch.setenv("DISTTRAIN_STOPPED_SECONDS", "1")
    live = "for i in 1 2 3 4 5 6 7; do echo $i > status-1.alive-n1; sleep 0.2; done; "
    assert started(live) == (0, 1)
    code, _ = started(live + "sleep 1.2; echo x > status-1.alive-n2; exec sleep 60")
    assert code == -signal.SIGKILL
    assert "the ranks on n1 have given no sign of life" in started.why


def test_ranks_that_are_done_need_give_no_signs(started):
    assert started("echo x > status-1.alive-n1; rm status-1.alive-n1; sleep 2") == (0, 1)


def test_a_request_waits_until_mpirun_can_hear_it(started):
    """MPICH's launcher forgets a signal that comes while it begins."""
    deaf = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGUSR1, signal.SIG_IGN)\n"
        "time.sleep(0.1)\n"
        "signal.signal(signal.SIGUSR1, lambda *_: os._exit(75))\n"
        "time.sleep(10)"
    )
    asked = Asked("mark", True)
    asked.signal = signal.SIGTERM
    attempt.DEAF = 1.0
    assert started(f"exec {sys.executable} -SE -c '{deaf}'", asked) == (75, 1)


@contextmanager
def piped():
    """Let our standard output be a pipe, whose other end is yielded."""
    read, write = os.pipe()
    kept = os.dup(1)
    os.dup2(write, 1)
    os.close(write)
    try:
        yield read
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def test_a_reader_who_goes_away_has_the_training_saved(started):
    asked = Asked("mark", True, trains=True)
    script = "trap 'exit 75' USR1; echo a line; while :; do sleep 0.01; done"
    with piped() as reader:
        os.close(reader)
        assert started(script, asked) == (75, 1)
    assert asked.signal == signal.SIGPIPE


def test_a_command_whose_reader_goes_away_comes_to_its_end(started):
    script = "for i in 1 2 3; do echo a line || exit 9; sleep 0.1; done; exit 7"
    with piped() as reader:
        os.close(reader)
        assert started(script, Asked("mark", True)) == (7, 1)


def test_all_that_mpirun_prints_is_passed_on(started):
    with piped() as reader:
        assert started("seq 1 5000") == (0, 1)
    with os.fdopen(reader, "rb") as passed:
        assert passed.read().split() == [b"%d" % n for n in range(1, 5001)]
