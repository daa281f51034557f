"""An end to what stays inside C with the lock of Python, as MPI does while it looks for ranks."""

import signal
import subprocess
import sys

import pytest

from disttrain.comm import connect, world
from disttrain.errors import LauncherError

PROGRAM = """
import ctypes, os, signal, time
from disttrain.comm.world import ended_after

def say():
    os.write(2, b"over")
    {then}

with ended_after({seconds}, say):
    # With Python's lock held: no thread and no handler of Python's gets a turn.
    ctypes.PyDLL(None).usleep({sleep})
assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
print("in time")
"""


def run(seconds, sleep, then="os._exit(5)"):
    program = PROGRAM.format(seconds=seconds, sleep=int(sleep * 1e6), then=then)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )


def test_it_has_the_last_word_from_inside_c():
    done = run(0.2, 20)
    assert (done.returncode, done.stdout, done.stderr) == (5, "", "over")


@pytest.mark.parametrize("seconds", ["abc", "-1", "nan", "1e99"])
def test_a_time_to_connect_that_is_none(monkeypatch, seconds):
    monkeypatch.setattr(world, "_joined", [])
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setenv("DISTTRAIN_CONNECT_SECONDS", seconds)
    with pytest.raises(LauncherError, match=f"^DISTTRAIN_CONNECT_SECONDS={seconds} is not a time"):
        connect()


@pytest.mark.parametrize("seconds", [20, 'float("inf")'], ids=["in time", "no limit"])
def test_nothing_happens_in_time(seconds):
    done = run(seconds, 0.3)
    assert (done.returncode, done.stdout, done.stderr) == (0, "in time\n", "")


def test_a_last_word_that_does_not_end_is_ended():
    done = run(0.2, 20, "time.sleep(20)")
    assert (done.returncode, done.stderr) == (-signal.SIGALRM, "over")
