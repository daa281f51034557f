"""What one rank really sees here, and what it makes of a disk or a machine that fails."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from disttrain.comm.alone import Alone
from disttrain.launch.doctor import disk, host, interfaces, software
from disttrain.launch.doctor.checks import judge
from disttrain.launch.doctor.examine import examine, look_here
from disttrain.launch.doctor.facts import Facts
from disttrain.launch.doctor.observe import observe, within
from tests.unit.launch.made import DISK, alone, changed


def names(ranks):
    return [finding.name for finding in judge(ranks)]


def judged(seen):
    """What is found where the run folder is as `seen`, on a host that is good."""
    values = asdict(seen) | {"kind": "ext4", "free": DISK.free, "sync_seconds": 0.0}
    return names(changed(alone(), [0], "disk", **values))


# ---- the run folder


def test_a_folder_that_works_leaves_nothing_to_find_and_nothing_behind(tmp_path):
    seen = disk.try_out(tmp_path / "runs" / "first")
    assert judged(seen) == []
    assert seen.tested == str(tmp_path)
    assert seen.free > 0
    assert seen.kind
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "runs").write_text("")
    seen = disk.try_out(tmp_path / "runs" / "first")
    assert judged(seen) == ["folder-not-writable"]
    assert seen.write_problem == "Not a directory"


def refusing(number):
    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize(
    ("owner", "name", "broken", "finding"),
    [
        (fcntl, "flock", refusing(errno.ENOLCK), "no-locks"),
        (fcntl, "flock", lambda *_: None, "no-locks"),
        (os, "fsync", refusing(errno.EIO), "sync-fails"),
        (os, "replace", refusing(errno.EXDEV), "rename-not-atomic"),
        (os, "replace", lambda new, old: Path(new).unlink(), "rename-not-atomic"),
    ],
)
def test_a_file_system_that_fails_in_one_thing(tmp_path, monkeypatch, owner, name, broken, finding):
    monkeypatch.setattr(owner, name, broken)
    seen = disk.try_out(tmp_path)
    monkeypatch.undo()
    assert judged(seen) == [finding]
    assert list(tmp_path.iterdir()) == []


def test_a_rename_that_lets_readers_see_half(tmp_path, monkeypatch):
    def copying(new, old):
        content = Path(new).read_bytes()
        with open(old, "wb") as file:
            for half in (content[:2048], content[2048:]):
                time.sleep(0.002)
                file.write(half)
                file.flush()
        Path(new).unlink()

    monkeypatch.setattr(os, "replace", copying)
    assert "half of it" in disk.try_out(tmp_path).rename_problem


def test_a_directory_that_can_not_be_synced_is_no_alarm(tmp_path, monkeypatch):
    real = os.fsync

    def only_files(descriptor):
        if not os.path.isfile(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    assert judged(disk.try_out(tmp_path)) == []


TABLE = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /home\\040of\\040all rw - nfs4 server:/home rw
31 22 0:26 / /scratch rw - nfs server:/old rw
32 22 0:27 / /scratch rw shared:3 master:1 - lustre 10.0.0.9@tcp:/scratch rw
"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/x", ("ext4", "/dev/vda")),
        ("/home of all/me", ("nfs4", "server:/home")),
        ("/scratch/runs", ("lustre", "10.0.0.9@tcp:/scratch")),
        ("/scratchpad", ("ext4", "/dev/vda")),
    ],
)
def test_what_is_mounted(tmp_path, path, found):
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    assert disk.mounted(Path(path), str(table)) == found
    assert disk.mounted(Path(path), str(tmp_path / "missing")) == ("", "")


# ---- this host


def test_a_small_dev_shm_is_found(monkeypatch):
    small = SimpleNamespace(f_blocks=16384, f_bavail=16000, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: small)
    seen = host.machine()
    monkeypatch.undo()
    assert (seen.shared_total, seen.shared_free) == (64 << 20, 65536000)
    found = names(changed(alone(), [0], "machine", shared_free=seen.shared_free))
    assert found == ["small-shared-memory"]


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
        ({"cpu.max": "nonsense"}, None),
    ],
)
def test_the_quota_of_a_container(tmp_path, files, cores):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert host.quota(tmp_path) == cores


def test_interfaces_and_what_chooses_among_them(tmp_path):
    (loop,) = [i for i in interfaces.network({}).interfaces if i.address == "127.0.0.1"]
    assert loop.network == "127.0.0.0/8"
    home = {"HOME": str(tmp_path)}
    assert interfaces.network(home).chosen == ""
    name = "OMPI_MCA_btl_tcp_if_include"
    assert interfaces.network(home | {name: "eth0"}).chosen == f"{name}=eth0"
    (tmp_path / ".openmpi").mkdir()
    file = tmp_path / ".openmpi" / "mca-params.conf"
    file.write_text("# btl_tcp_if_include = no\npml = ob1\nbtl_tcp_if_exclude = docker0,lo \n")
    assert interfaces.network(home).chosen == "btl_tcp_if_exclude=docker0,lo"


def test_the_digest_of_the_code_sees_every_source_file(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.py").write_text("x = 1\n")
    (tmp_path / "k.c").write_text("int k;\n")
    before = software.digest_of_code(tmp_path)
    (tmp_path / "a" / "b.pyc").write_text("compiled")
    assert software.digest_of_code(tmp_path) == before
    (tmp_path / "k.c").write_text("int l;\n")
    changed_file = software.digest_of_code(tmp_path)
    (tmp_path / "a" / "b.py").rename(tmp_path / "a" / "c.py")
    assert len({before, changed_file, software.digest_of_code(tmp_path)}) == 3


@pytest.mark.parametrize(
    ("says", "kind", "version"),
    [
        ("echo 'mpirun (Open MPI) 4.1.4'", "openmpi", "4.1.4"),
        ("echo 'HYDRA build details:'; echo '    Version:   4.0.2'", "mpich", "4.0.2"),
        ("echo 'my own launcher'", "unknown", ""),
        ("exec sleep 60", "unknown", ""),
    ],
)
def test_launchers_on_the_path(tmp_path, monkeypatch, says, kind, version):
    (tmp_path / "mpirun").write_text(f"#!/bin/sh\n{says}\n")
    (tmp_path / "mpirun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(software, "ANSWER_SECONDS", 0.5)
    found = [p for p in software.programs() if p.path == str(tmp_path / "mpirun")]
    assert [(p.kind, p.version) for p in found] == [(kind, version)]


def test_a_launcher_is_asked_without_what_another_launch_has_set(tmp_path, monkeypatch):
    """As Open MPI 4's mpirun does that is told to find its files in Open MPI 5's folder."""
    (tmp_path / "mpirun").write_text(
        '#!/bin/sh\n[ -n "$OPAL_PREFIX" ] && echo "unknown option" && exit 1\n'
        "echo 'mpirun (Open MPI) 4.1.4'\n"
    )
    (tmp_path / "mpirun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("OPAL_PREFIX", "/elsewhere")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    (found,) = [p for p in software.programs() if p.path == str(tmp_path / "mpirun")]
    assert (found.kind, found.version) == ("openmpi", "4.1.4")


# ---- all of it


def test_a_look_that_fails_or_hangs_takes_nothing_else_with_it():
    never = threading.Event()

    def fails():
        raise ValueError("no such thing\nand more")

    begin = time.monotonic()
    found, failed = within(0.3, {"a": lambda: 1, "b": fails, "c": never.wait, "d": never.wait})
    assert time.monotonic() - begin < 30
    never.set()
    assert found == {"a": 1}
    assert failed == {
        "b": "ValueError: no such thing",
        "c": "no answer in 0.3 s",
        "d": "no answer in 0.3 s",
    }


def test_a_host_looks_at_everything(tmp_path):
    found = Facts(**look_here(Alone(), tmp_path))
    assert found.failed == {}
    for subject in ("mpi", "machine", "processor", "software", "gpu", "disk", "network"):
        assert getattr(found, subject) is not None, subject
    assert found.processor.cores == tuple(sorted(os.sched_getaffinity(0)))
    assert found.software.packages["python"] == sys.version.split()[0]
    assert len(found.software.code) == 12
    assert json.loads(json.dumps(found.plain())) is not None


def test_ranks_beside_the_first_of_a_host_leave_the_disk_alone(tmp_path):
    assert "disk" not in observe(Alone(), tmp_path, looks_at_disk=False)


def test_a_subject_that_fails_becomes_a_finding(tmp_path, monkeypatch):
    monkeypatch.setattr(interfaces, "network", refusing(errno.EPERM))
    (facts,) = examine(tmp_path)
    (finding,) = [f for f in judge([facts]) if f.name == "not-looked-at"]
    assert "network" in finding.what
    assert os.strerror(errno.EPERM) in finding.what


def test_mpi_is_asked_without_being_started():
    code = (
        "from disttrain.comm.facts import mpi_facts\n"
        "import json, dataclasses, mpi4py\n"
        "facts = mpi_facts()\n"
        "from mpi4py import MPI\n"
        "print(json.dumps([dataclasses.asdict(facts), MPI.Is_initialized()]))"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMI"))}
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean, check=True
    )
    facts, started = json.loads(said.stdout)
    assert started is False
    assert facts["problem"] == ""
    assert facts["vendor"]
    assert facts["vendor"] in facts["library"]
    assert facts["world"] == 0


def test_mpi4py_without_an_mpi_is_told_as_a_problem(tmp_path):
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").write_text(
        "from types import SimpleNamespace\n__version__ = '4.1.2'\n"
        "rc = SimpleNamespace(initialize=True)\n"
    )
    (tmp_path / "mpi4py" / "MPI.py").write_text("raise RuntimeError('cannot load MPI library')")
    code = "from disttrain.comm.facts import mpi_facts; print(mpi_facts().problem)"
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert said.stdout == "mpi4py can't load MPI (cannot load MPI library)\n"
