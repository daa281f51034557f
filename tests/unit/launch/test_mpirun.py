"""The launcher that is found, or one sentence why not; what its ranks are told."""

import sys

import pytest

from disttrain.errors import LauncherError
from disttrain.launch import find_launcher, mpirun
from disttrain.launch.mpirun import Launcher


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder where Python is and where programs are looked for; returns a writer of mpirun."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def write(content: bytes) -> str:
        path = tmp_path / "mpirun"
        path.write_bytes(content)
        path.chmod(0o755)
        return str(path)

    return write


def test_a_launcher_that_is_no_program(place):
    path = place(b"\x00\x01\x02\x03")
    with pytest.raises(LauncherError, match="Exec format error") as caught:
        find_launcher()
    assert str(caught.value).startswith(path)


def test_a_launcher_that_does_not_say_which_it_is(place, monkeypatch):
    place(b"#!/bin/sh\nsleep 30\n")
    monkeypatch.setattr(mpirun, "ANSWER", 0.2)
    with pytest.raises(LauncherError, match=r"mpirun --version has not answered in 0\.2 s"):
        find_launcher()
    place(b"#!/bin/sh\nprintf 'mine \\377 1.0'\n")
    with pytest.raises(LauncherError, match="of an MPI that is not known here"):
        find_launcher()


def test_a_launcher_is_known_by_its_version(place):
    path = place(b"#!/bin/sh\necho 'mpirun (Open MPI) 4.1.4'\n")
    assert find_launcher() == Launcher(path, "openmpi", 4)


def test_ranks_look_for_each_other_a_minute_unless_the_user_has_said(monkeypatch):
    launcher, name = Launcher("mpirun", "openmpi", 5), "DISTTRAIN_CONNECT_SECONDS"
    monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(mpirun, "cores", lambda: {0, 1})
    assert launcher.environment(2)[name] == "60"
    assert launcher.environment(3, alone=False)[name] == "60"
    # Python starts a hundred times on two cores; never longer than without a launcher.
    assert launcher.environment(100)[name] == "250"
    assert launcher.environment(10000)[name] == "300"
    monkeypatch.setenv(name, "7")
    assert name not in launcher.environment(2)
