"""What a launch leaves on a host is removed there, and nothing else."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from disttrain.environment import MARK
from disttrain.launch import leftovers
from disttrain.launch.agent import Agent
from disttrain.launch.hosts import Host


@pytest.fixture
def sleeper():
    """Start processes that sleep, with a mark in their environment."""
    started = []

    def start(mark):
        code = "print(flush=True); import time; time.sleep(60)"
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", code],
            env=os.environ | {MARK: mark}, stdout=subprocess.PIPE,
        )  # fmt: skip
        process.stdout.readline()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_only_what_carries_the_mark_goes(tmp_path, sleeper):
    mine, other = uuid.uuid4().hex, uuid.uuid4().hex
    leftovers.begin(mine, str(tmp_path))
    leftovers.begin(other, str(tmp_path))
    processes = sleeper(mine), sleeper(other)
    leftovers.clean(mine, str(tmp_path))
    assert processes[0].wait(10) == -9
    assert processes[1].poll() is None
    assert not any(os.path.exists(f) for f in filter(None, leftovers.folders(mine, str(tmp_path))))
    assert all(os.path.isdir(f) for f in filter(None, leftovers.folders(other, str(tmp_path))))
    leftovers.clean(other, str(tmp_path))


def test_the_mark_is_the_same_everywhere():
    assert leftovers.MARK == MARK


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_shared_memory_of_a_killed_rank_goes_and_that_of_a_living_one_stays(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    files = [tmp_path / f"disttrain-{pid}-a_b1" for pid in (gone.pid, os.getpid())]
    files += [tmp_path / f"disttrain-{gone.pid}-new", tmp_path / f"disttrain-{gone.pid}.txt"]
    for file in files:
        file.write_bytes(b"")
        if file.name != files[2].name:
            os.utime(file, (0, 0))
    leftovers.sweep(str(tmp_path))
    assert [file.exists() for file in files] == [False, True, True, True]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_rank_whose_mpirun_is_gone_is_killed_and_one_with_a_parent_is_not(tmp_path):
    """A shell is the mpirun: it starts a rank, says which, and waits for it or dies."""
    mark = f"{leftovers.MARK}={uuid.uuid4().hex}"
    start = f"env {mark} OMPI_COMM_WORLD_RANK=0 sleep 60 & echo $!; "
    shells = [
        subprocess.Popen(["sh", "-c", start + then], stdout=subprocess.PIPE, text=True)
        for then in ("wait", "exec true")
    ]
    kept, orphan = (int(shell.stdout.readline()) for shell in shells)
    try:
        shells[1].wait(10)
        while mark.encode() not in Path(f"/proc/{orphan}/environ").read_bytes():
            time.sleep(0.01)
        killed, _ = leftovers.sweep(str(tmp_path))
        if Path("/proc/1/comm").read_text().strip() not in (
            "sh",
            "bash",
            "init",
            "tini",
            "systemd",
        ):
            pytest.skip("process 1 may be an mpirun here")
        assert orphan in killed
        assert kept not in killed
        assert shells[0].poll() is None
    finally:
        for pid in (kept, orphan):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for shell in shells:
            shell.wait(10)
            shell.stdout.close()


# An agent in place of ssh: AGENT HOST COMMAND, on this machine, whatever the host.
HERE = 'sh -c "shift; eval \\"\\$*\\"" agent'


def test_other_hosts_are_asked_by_the_text_of_the_file(tmp_path, sleeper, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mark, elsewhere = uuid.uuid4().hex, [Host("203.0.113.7", 1)]
    agent = Agent(HERE, sys.executable)
    assert agent.begin(elsewhere, mark, str(tmp_path)) == {}
    assert os.path.isdir(leftovers.folders(mark, str(tmp_path))[0])
    process = sleeper(mark)
    assert agent.clean(elsewhere, mark, str(tmp_path)) == {}
    assert process.wait(10) == -9
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "python", "gone", "says"),
    [
        (HERE, "/no/python", False, "has no /no/python: install it there or give --python"),
        ("/no/ssh", "python", False, "can't be asked: /no/ssh: No such file or directory"),
        ("sh -c 'echo no route >&2; exit 255'", "python", True, "does not answer (no route)"),
    ],
)
def test_what_is_wrong_with_a_host(tmp_path, command, python, gone, says):
    host = Host("203.0.113.7", 1)
    found = Agent(command, python).begin([host], uuid.uuid4().hex, str(tmp_path))
    assert found == {"203.0.113.7": (says, gone, False)}


def test_a_host_that_does_not_share_the_place_for_signs(tmp_path, monkeypatch):
    """Its working directory may have the same name and be another."""
    monkeypatch.chdir(tmp_path)
    agent, elsewhere, mark = Agent(HERE, sys.executable), [Host("203.0.113.7", 1)], uuid.uuid4().hex
    signs = tmp_path / ".disttrain-abc"
    found = agent.begin(elsewhere, mark, str(tmp_path), signs=signs)["203.0.113.7"]
    assert found.says == f"has no folder {tmp_path}: start in a folder that all hosts share"
    assert not found.gone
    signs.mkdir()
    assert agent.begin(elsewhere, mark, str(tmp_path), signs=signs) == {}
    assert agent.clean(elsewhere, mark, str(tmp_path)) == {}


def test_slurm_starts_things_on_its_hosts_itself(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    agent = Agent(None, "python", {"SLURM_JOB_ID": "7"})
    assert agent.options()[-1] == "--overlap"
    assert agent.words("n1", ["true"])[0] == "srun"
    assert "--nodelist=n1" in agent.words("n1", ["true"])
    assert Agent("ssh -p 22", "python", {"SLURM_JOB_ID": "7"}).options()[-1] == "ssh -p 22"


def test_too_little_shared_memory_is_said_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=r"MB are free, and MPI needs .* --shm-size") as caught:
        leftovers.begin(uuid.uuid4().hex, str(tmp_path), needed=1 << 60)
    assert "TMPDIR" not in leftovers.why_no_place(caught.value)
    assert list(tmp_path.iterdir()) == []
