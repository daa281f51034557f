"""`disttrain doctor` and `disttrain env` as they are typed, in real places, good and bad."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from disttrain.launch import find_launcher
from tests.cli.shell import wait_for

pytestmark = pytest.mark.timeout(240)
MPIRUN = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
# Four ranks on the two cores of a small machine, which others use too.
CROWDED = {"more-ranks-than-cores", "ranks-share-a-core", "sync-slow", "little-space"}
# What this machine may have for all that the program knows.
HERE = {"no-compiled-kernels", "folder-does-not-last", "cpu-quota", "small-shared-memory"}


def mpirun(ranks, *options):
    """The words before `python -m disttrain ...` that start it on `ranks` ranks, plainly."""
    return [find_launcher().path, "--oversubscribe", *options, "-n", str(ranks)]


def told(result):
    """The object that --json printed, and nothing else."""
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") == 1, result.stdout
    return json.loads(result.stdout)


def names(result):
    return {finding["name"] for finding in told(result)["findings"]}


def test_alone_it_finds_nothing_on_a_good_host(shell):
    result = shell.run("doctor", "--json")
    assert names(result) <= HERE
    facts = told(result)["facts"]
    assert len(facts) == 1
    assert facts[0]["failed"] == {}
    assert facts[0]["disk"]["tested"] == str(shell.folder)
    assert set(os.listdir(shell.folder)) == {"run.toml", "blobs.h5"}


def test_in_words(shell):
    result = shell.run("doctor", "--output", "here/and/there")
    assert result.returncode == 0
    assert result.stderr == ""
    assert f"run folder {shell.folder}/here/and/there" in result.stdout
    last = result.stdout.splitlines()[-1]
    assert last == "no problems found" or "warning" in last


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_under_mpirun_rank_0_alone_tells_of_all(shell, ranks):
    result = shell.run("doctor", "--json", prefix=mpirun(ranks), env=MPIRUN)
    assert names(result) <= HERE | CROWDED
    report = told(result)
    assert [facts["rank"] for facts in report["facts"]] == list(range(ranks))
    assert {facts["mpi"]["world"] for facts in report["facts"]} == {ranks}
    assert all(facts["failed"] == {} for facts in report["facts"])
    assert [facts["disk"] is not None for facts in report["facts"]][1:] == [False] * (ranks - 1)
    assert len({facts["software"]["code"] for facts in report["facts"]}) == 1
    assert set(os.listdir(shell.folder)) == {"run.toml", "blobs.h5"}
    assert not shell.left_running()


def test_under_disttrain_launch(shell):
    result = shell.run("launch", "-n", 2, "doctor")
    assert result.returncode == 0, result.stderr
    assert "2 ranks on 1 host" in result.stdout
    assert result.stdout.count("disttrain ") == 1


@pytest.mark.parametrize("variable", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"])
def test_singletons_are_a_finding_and_no_failure(shell, variable):
    result = shell.run("doctor", "--json", env={variable: "2"})
    assert "singletons" in names(result)
    (finding,) = [f for f in told(result)["findings"] if f["name"] == "singletons"]
    assert f"{variable} = 2" in finding["what"]
    assert "disttrain launch -n 2" in finding["cure"]
    assert "not-joined" not in names(result)


@pytest.mark.skipif(not shutil.which("taskset"), reason="needs taskset")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_ranks_that_are_bound_to_one_core(shell):
    prefix = [*mpirun(2, "--bind-to", "none"), "taskset", "-c", "0"]
    result = shell.run("doctor", "--json", prefix=prefix, env=MPIRUN)
    assert "ranks-share-a-core" in names(result)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_more_threads_than_cores(shell):
    variables = MPIRUN | {"OMP_NUM_THREADS": str(os.cpu_count())}
    prefix = mpirun(2, "--bind-to", "none")
    result = shell.run("doctor", "--json", prefix=prefix, env=variables)
    assert "too-many-threads" in names(result)


def test_a_folder_that_can_not_be(shell):
    (shell.folder / "file").write_text("")
    assert "folder-not-writable" in names(shell.run("doctor", "--json", "--output", "file/runs"))


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a folder in memory")
def test_a_folder_in_memory(shell):
    name = f"/dev/shm/doctor-{shell.mark}"
    assert "folder-does-not-last" in names(shell.run("doctor", "--json", "--output", name))


def test_different_code_on_a_rank(shell):
    """Rank 1 runs another copy of the package, in which a comment was added."""
    copy = shell.folder / "copy"
    shutil.copytree(os.path.join(shell.environment["PYTHONPATH"], "disttrain"), copy / "disttrain")
    with open(copy / "disttrain" / "errors.py", "a") as file:
        file.write("# changed\n")
    script = shell.folder / "start"
    script.write_text(
        '#!/bin/sh\n[ "$OMPI_COMM_WORLD_RANK" = 1 ] && export PYTHONPATH="$COPY"\nexec "$@"\n'
    )
    script.chmod(0o755)
    result = shell.run(
        "doctor", "--json", prefix=[*mpirun(2), str(script)], env=MPIRUN | {"COPY": str(copy)}
    )
    assert "different-code" in names(result)


def test_ranks_that_never_come_are_a_finding_in_time(shell):
    """Rank 1 sleeps instead of starting MPI: rank 0 hangs inside MPI, and tells all the same."""
    script = shell.folder / "start"
    script.write_text('#!/bin/sh\n[ "$OMPI_COMM_WORLD_RANK" = 1 ] && exec sleep 90\nexec "$@"\n')
    script.chmod(0o755)
    process = shell.start(
        "doctor", "--json", "--limit", 4, prefix=[*mpirun(2), str(script)], env=MPIRUN
    )
    report = json.loads(process.stdout.readline())
    shell.kill_all()
    process.communicate(timeout=100)
    (finding,) = report["findings"]
    assert finding["name"] == "no-answer"
    assert "connecting the ranks: not over after 4 s" in finding["what"]
    assert report["problems"] == 1


def on_rank_1(shell, command):
    """The words that start ranks, of which rank 1 does `command` before."""
    script = shell.folder / "start"
    script.write_text(f'#!/bin/sh\n[ "$OMPI_COMM_WORLD_RANK" = 1 ] && {command}\nexec "$@"\n')
    script.chmod(0o755)
    return [*mpirun(2), str(script)]


def test_mpi_that_ends_the_ranks_is_not_blamed_on_the_network(shell):
    result = shell.run("doctor", prefix=mpirun(2, "--mca", "pml", "bogus"), env=MPIRUN)
    assert "problem: connecting the ranks: " in result.stdout
    assert "if_include" not in result.stdout
    assert "standard error" in result.stdout


def test_a_rank_that_can_not_join_says_why_itself(shell):
    prefix = on_rank_1(shell, "export MPI4PY_MPIABI=no-such-mpi")
    result = shell.run("doctor", "--json", prefix=prefix, env=MPIRUN)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("disttrain doctor:")]
    assert "rank 1 on" in line
    assert "can't load MPI" in line
    assert "cure: pip install" in line


def test_a_request_to_end_during_the_imports_is_answered(shell):
    """As mpirun makes it where another rank can't even start."""
    process = shell.start("doctor", "--json", env={"OMPI_COMM_WORLD_SIZE": "1"})
    assert wait_for(lambda: blocks_term(process.pid), 20)
    process.terminate()
    out, err = process.communicate(timeout=100)
    (line,) = out.splitlines()
    (finding,) = json.loads(line)["findings"]
    assert finding["name"] == "no-answer"
    assert "the launcher has ended the job" in finding["what"]
    assert (process.returncode, err) == (0, "")


def blocks_term(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    blocked = next(line for line in status.splitlines() if line.startswith("SigBlk:"))
    return int(blocked.split()[1], 16) >> (signal.SIGTERM - 1) & 1


@pytest.mark.parametrize("command", ["doctor", "env"])
def test_a_working_directory_that_was_deleted(shell, command):
    script = shell.folder / "start"
    script.write_text('#!/bin/sh\nmkdir gone && cd gone && rmdir ../gone\nexec "$@"\n')
    script.chmod(0o755)
    result = shell.run(command, prefix=[str(script)])
    assert (result.returncode, result.stderr) == (0, "")
    assert "the working directory has been deleted, cd to another" in result.stdout


def test_a_rank_that_dies_is_no_traceback(shell):
    script = shell.folder / "start"
    script.write_text('#!/bin/sh\n[ "$OMPI_COMM_WORLD_RANK" = 1 ] && kill -9 $$\nexec "$@"\n')
    script.chmod(0o755)
    result = shell.run("doctor", prefix=[*mpirun(2), str(script)], env=MPIRUN)
    assert "Traceback" not in result.stdout + result.stderr
    assert not shell.left_running()


# ---- env


def test_env_prints_what_a_bug_report_needs_and_no_secret(shell):
    variables = {"OMP_NUM_THREADS": "1", "MY_PASSWORD": "hunter2", "SLURM_JWT": "hunter3"}
    result = shell.run("env", "--json", env=variables)
    report = told(result)
    assert {"disttrain", "platform", "software", "mpi", "processor", "gpu", "variables"} <= set(
        report
    )
    assert report["software"]["packages"]["numpy"]
    assert report["variables"]["OMP_NUM_THREADS"] == "1"
    text = shell.run("env", env=variables)
    assert text.returncode == 0
    assert "numpy: " in text.stdout
    for out in (result.stdout, text.stdout):
        assert "hunter" not in out
        assert "MY_PASSWORD" not in out


def test_env_under_mpirun_is_that_of_rank_0(shell):
    report = told(shell.run("env", "--json", prefix=mpirun(2), env=MPIRUN))
    assert report["ranks"] == 2
    assert report["variables"]["OMPI_COMM_WORLD_RANK"] == "0"


def test_helps_need_no_heavy_import(shell):
    script = (
        "import sys\nsys.argv = ['disttrain', sys.argv[1], '--help']\n"
        "from disttrain.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('numpy', 'h5py', 'mpi4py', 'cupy') if m in sys.modules])"
    )
    for command in ("doctor", "env"):
        result = subprocess.run(
            [sys.executable, "-c", script, command], env=shell.environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert result.stdout.splitlines()[-1] == "[]"
