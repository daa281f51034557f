"""Processes of a launch that a signal stops or kills: the job ends, or goes on, and says why."""

import json
import os
import re
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from tests.cli.shell import sentence, wait_for
from tests.mpi.test_faults import spoken

pytestmark = pytest.mark.timeout(240)
SECONDS = {"DISTTRAIN_STOPPED_SECONDS": "2"}
TRAIN = ("train", "run.toml", "--output", "out", "--set", "checkpoint.every_steps=5")
LONG = ("--set", "training.epochs=100000")
SOON = 100


def started(shell, *options):
    """Start a training on two ranks and return its process once it has saved something."""
    process = shell.start(
        "launch", "-n", 2, "--fault-tolerance", "off", *TRAIN, *LONG, *options,
        module="tests.mpi.driver", env=SECONDS | {"PACE": "0.01"},
    )  # fmt: skip
    assert wait_for(lambda: list(shell.folder.glob("out/checkpoints/step-*.h5")), SOON)
    shell.names = {path.name for path in shell.folder.glob("tmp/disttrain-*")}
    return process


def over(process):
    """Return how a training ended, by its code and the sentences that it said."""
    out, err = process.communicate(timeout=SOON)
    assert "Traceback" not in out + err
    lines = (out + err).splitlines()
    return process.returncode, [line for line in lines if line.startswith("disttrain: ")]


def folders(shell):
    """Return what launches of this shell have in the places for their files.

    Other tests may run beside this one: in shared memory it is what has the name of a launch here.
    """
    found = [*shell.folder.glob("tmp/*"), *shell.folder.glob("tmp/.disttrain*")]
    return found + [p for p in Path("/dev/shm").glob("disttrain-*") if p.name in shell.names]


@pytest.fixture
def shell(shell):
    (shell.folder / "tmp").mkdir()
    shell.environment["TMPDIR"] = str(shell.folder / "tmp")
    shell.names = set()
    return shell


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.long)])
def test_a_stopped_rank_is_named_with_what_it_did(shell, rank):
    """By the deadline of 600 s, the usual one, nobody would wait for less than 12 minutes."""
    process = started(shell)
    pid = shell.ranks()[rank]
    os.kill(pid, signal.SIGSTOP)
    code, (said,) = over(process)
    assert code == 5
    assert re.search(
        rf"rank {rank} on \S+ was stopped by a signal \(process {pid}\) in '[\w ]+', \d+ s ago",
        said,
    )
    assert not shell.left_running()


def test_a_restart_gets_over_a_stopped_rank(shell):
    result = shell.run(
        "launch", "-n", 2, "--restarts", 1, "--fault-tolerance", "off", *TRAIN,
        "--set", "training.epochs=2",
        module="tests.mpi.driver", env=SECONDS | {"FAULT": "STOP at forward on 1"}, timeout=SOON,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "restart 1 of 1" in result.stderr
    assert shell.summary("out")["status"] == "completed"


def test_all_ranks_stopped(shell):
    """None of them can say it: the supervisor does."""
    process = started(shell)
    for pid in shell.ranks().values():
        os.kill(pid, signal.SIGSTOP)
    code, (said,) = over(process)
    assert code == 5
    assert "a signal stopped a rank (process" in said
    assert "and 1 more" in said
    assert not shell.left_running()


def test_a_stopped_launch_ends_as_if_asked_to_stop(shell):
    process = started(shell)
    os.kill(process.pid, signal.SIGSTOP)
    code, said = over(process)
    assert code == 75
    assert f"(process {process.pid}) was stopped by a signal 2 s ago" in said[0]
    assert "asked to stop after step" in said[-1]
    assert shell.summary("out")["status"] == "preempted"
    assert not shell.left_running()
    assert not folders(shell)


def test_a_slow_rank_is_no_stopped_one(shell):
    """It takes three times as long for a step as a stopped one is borne with."""
    result = shell.run(
        "launch", "-n", 2, "--fault-tolerance", "off", *TRAIN,
        "--set", "training.epochs=1", "--set", "training.batch_size=75",
        module="tests.mpi.driver", env=SECONDS | {"PACE": "6"}, timeout=SOON,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


def test_a_job_that_is_suspended_as_a_whole_goes_on(shell):
    """As a scheduler does it; the time counts for no deadline, not even one of seconds."""
    process = started(shell, "--set", "communication.deadline_seconds=5")
    stopped = [process.pid, *shell.running()]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(15)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    time.sleep(5)
    assert process.poll() is None, process.communicate()[1]
    process.send_signal(signal.SIGTERM)
    code, said = over(process)
    assert code == 75, said
    assert not shell.left_running()


@pytest.mark.parametrize("victim", ["launch", "mpirun"])
def test_a_killed_launch_leaves_nothing(shell, victim):
    process = started(shell)
    assert folders(shell)
    pid = process.pid
    if victim == "mpirun":
        pid = int(Path(f"/proc/{shell.ranks()[0]}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(pid, signal.SIGKILL)
    code, said = over(process)
    assert code == (-signal.SIGKILL if victim == "launch" else 5), said
    assert not shell.left_running()
    assert wait_for(lambda: not folders(shell)), folders(shell)


def test_the_next_launch_removes_what_a_dead_one_left(shell):
    """Not what lives, has just been made, or belongs to somebody who is no launch."""
    process = started(shell)
    alive = folders(shell)
    name = f"disttrain-{uuid.uuid4().hex[:12]}"
    dead = [Path("/dev/shm") / name, shell.folder / "tmp" / name]
    kept = [shell.folder / "tmp/disttrain-ba9876543210", shell.folder / "tmp/disttrain-mine"]
    for folder in dead + kept:
        folder.mkdir()
    for folder in (dead[0], dead[1], kept[1]):
        (folder / "segment").write_bytes(b"x")
    signs = shell.folder / "tmp/.disttrain-dead"
    signs.mkdir()
    (signs / "lock").touch()
    result = shell.run("launch", "-n", 2, "env")
    assert result.returncode == 0, result.stderr
    assert not [folder for folder in (*dead, signs) if folder.exists()]
    assert not [folder for folder in (*kept, *alive) if not folder.exists()]
    process.send_signal(signal.SIGTERM)
    assert over(process)[0] == 75


def test_the_doctor_removes_what_dead_jobs_left_and_nothing_else(shell):
    name = f"disttrain-{uuid.uuid4().hex[:12]}"
    dead = [Path("/dev/shm") / name, shell.folder / "tmp" / name]
    kept = [shell.folder / "tmp/disttrain-mine", shell.folder / "tmp/prte.1.2"]
    for folder in dead + kept:
        folder.mkdir()
        (folder / "segment").write_bytes(b"x")
    signs = [shell.folder / place / ".disttrain-dead" for place in ("tmp", ".")]
    for folder in signs:
        folder.mkdir()
        (folder / "lock").touch()
    found = json.loads(shell.run("doctor", "--clean", "--json").stdout)
    # What is in /dev/shm, a launch of another test may have removed before.
    assert {str(folder) for folder in (*dead[1:], *signs)} <= set(found["removed"])
    assert not [folder for folder in (*dead, *signs) if folder.exists()]
    assert not [folder for folder in kept if not folder.exists()]
    assert not {str(folder) for folder in kept} & set(found["removed"])


@pytest.mark.parametrize(
    "after", [0.15, *(pytest.param(after, marks=pytest.mark.long) for after in (0.3, 0.5))]
)
def test_asked_to_stop_at_once(shell, after):
    """From the moment at which Python begins with this program, however early that is."""
    process = shell.start("launch", "-n", 2, "--fault-tolerance", "off", *TRAIN, *LONG)
    listens = lambda: int(re.search(  # noqa: E731
        r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())[1], 16
    ) & 1 << signal.SIGTERM - 1  # fmt: skip
    assert wait_for(listens)
    time.sleep(after - 0.15)
    process.send_signal(signal.SIGTERM)
    code, said = over(process)
    assert code == 75, said
    assert "asked to stop" in said[-1]
    assert not shell.left_running()


def test_a_time_that_is_none(shell):
    shell.environment["DISTTRAIN_STOPPED_SECONDS"] = "soon"
    result = shell.run("launch", "-n", 2, "--fault-tolerance", "off", *TRAIN)
    assert result.returncode == 2
    assert "DISTTRAIN_STOPPED_SECONDS=soon is not a time: give seconds" in spoken(result)[0]


SMALL = 'mount -t tmpfs -o size=4m tmpfs /dev/shm && exec "$@"'


def test_too_little_shared_memory_is_named_before_the_job(shell):
    """As in a container; Open MPI prints two pages and ends."""
    inside = ["unshare", "-rm", "sh", "-c"]
    if subprocess.run([*inside, SMALL.replace("exec", ":"), "sh"], check=False).returncode:
        pytest.skip("no namespaces here")
    result = shell.run(
        "launch", "-n", 2, "--fault-tolerance", "off", *TRAIN, prefix=[*inside, SMALL, "sh"]
    )
    assert sentence(result, 2).startswith("no place for MPI's files: /dev/shm: 4 MB are free")
