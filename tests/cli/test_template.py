"""`disttrain template`: scripts that shells and schedulers take, and do the right thing with."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from disttrain.launch.template import FILES
from tests.cli.shell import ROOT, sentence

EXAMPLES = ROOT / "launch" / "examples"
SCRIPTS = [name for name, (file, _) in FILES.items() if file.endswith(".sh")]
SHELLCHECK = shutil.which("shellcheck") or str(Path(sys.executable).with_name("shellcheck"))
# What launch/README.md says that the examples were made with.
EXAMPLE = ("examples/mnist-800.toml", "--nodes", 2, "--ranks", 8, "--time", "01:30:00",
           "--program", "disttrain")  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_the_examples_are_what_the_command_prints(shell, name):
    printed = shell.run("template", name, str(ROOT / EXAMPLE[0]), *EXAMPLE[1:])
    assert printed.returncode == 0, printed.stderr
    text = printed.stdout.replace(str(ROOT / EXAMPLE[0]), EXAMPLE[0])
    assert text == (EXAMPLES / FILES[name][1]).read_text()
    assert "{{" not in text


def test_no_example_is_left_over():
    assert {path.name for path in EXAMPLES.iterdir()} == {usual for _, usual in FILES.values()}


@pytest.mark.skipif(not os.access(SHELLCHECK, os.X_OK), reason="shellcheck is not installed")
@pytest.mark.parametrize("gpus", [(), ("--gpus",)])
@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(shell, name, gpus):
    shell.run("template", name, "run.toml", "--nodes", 2, *gpus, "-o", "script")
    checked = subprocess.run(
        [SHELLCHECK, "--shell=bash", "script"], cwd=shell.folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


def test_the_kubernetes_job_is_yaml(shell):
    yaml = pytest.importorskip("yaml")
    result = shell.run("template", "kubernetes", "run.toml", "--nodes", 3, "--ranks", 6, "--gpus")
    job = yaml.safe_load(result.stdout)
    spec = job["spec"]
    assert (job["kind"], job["metadata"]["name"], spec["slotsPerWorker"]) == ("MPIJob", "run", 2)
    workers = spec["mpiReplicaSpecs"]["Worker"]
    assert workers["replicas"] == 3
    (container,) = workers["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": 2, "nvidia.com/gpu": 2}


def test_a_run_file_for_gpus_asks_for_gpus(shell):
    shell.run_file(shell.run_file().read_text().replace('"cpu"', '"gpu"'))
    result = shell.run("template", "slurm", "run.toml")
    assert "#SBATCH --gpus-per-task=1" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("torque",), "no template 'torque': there are slurm, slurm-srun"),
        (("slurm", "missing.toml"), "run file missing.toml: No such file"),
        (("slurm", "run.toml", "--ranks", 3, "--nodes", 2), "as in --ranks 4"),
        (("pbs", "run.toml", "--time", "90"), "write it as HH:MM:SS"),
        (("pbs", "run.toml", "--time", "00:02:00"), "leaves no time: give more than 120 s"),
        (("slurm", "run.toml", "--program", "a b"), "'a b' can't stand in a batch script"),
        (("slurm", "run.toml", "-o", "no/where"), "no/where can't be written"),
    ],
)
def test_mistakes(shell, arguments, words):
    assert words in sentence(shell.run("template", *arguments), 2)


# ---- schedulers that are not here: a stand-in sets their environment and runs their script

DISTTRAIN = """#!/bin/sh
echo "$@" > called
for word; do test -f "$word" && cat "$word" > hosts; done
trap 'echo asked > asked; exit 75' USR1
test -z "$FOREVER" || while :; do sleep 0.1; done
exit "$CODE"
"""
QSUB = '#!/bin/sh\necho "$@" > queued\n'
HOSTS = {"PBS_NODEFILE": "n1\nn1\nn2\nn2\n", "LSB_DJOB_HOSTFILE": "n1\nn1\nn2\nn2\n",
         "PE_HOSTFILE": "n1 2 all.q@n1 UNDEFINED\nn2 2 all.q@n2 UNDEFINED\n"}  # fmt: skip
SCHEDULERS = {"pbs": "PBS_NODEFILE", "lsf": "LSB_DJOB_HOSTFILE", "gridengine": "PE_HOSTFILE"}


def as_a_job(shell, name, code, forever=False):
    """Run a template's script with a stand-in for `disttrain` that ends with `code`."""
    for program, text in (("disttrain", DISTTRAIN), ("qsub", QSUB)):
        path = shell.folder / program
        path.write_text(text)
        path.chmod(0o755)
    variable = SCHEDULERS[name]
    (shell.folder / "given").write_text(HOSTS[variable])
    time = ["--time", "00:02:01"] if forever else []
    shell.run("template", name, "run.toml", "--nodes", 2, "--ranks", 4, *time,
              "--program", shell.folder / "disttrain", "-o", "job.sh")  # fmt: skip
    environment = shell.environment | {
        variable: "given", "PBS_O_WORKDIR": str(shell.folder), "CODE": str(code),
        "FOREVER": "1" if forever else "", "PATH": f"{shell.folder}:{os.environ['PATH']}",
    }  # fmt: skip
    return subprocess.run(
        ["bash", "job.sh"], cwd=shell.folder, env=environment, check=False, timeout=30
    ).returncode


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_script_starts_the_launcher_on_the_hosts_of_the_job(shell, name):
    assert as_a_job(shell, name, 0) == 0
    called = (shell.folder / "called").read_text().split()
    assert called == ["launch", "--hostfile", "given", "--restarts", "3", "train", "run.toml",
                      "--resume"]  # fmt: skip
    from disttrain.launch.hosts import Host, read_hostfile

    assert read_hostfile(shell.folder / "given") == [Host("n1", 2), Host("n2", 2)]
    assert not (shell.folder / "queued").exists()


@pytest.mark.parametrize("code", [5, 75])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_what_can_go_on_is_queued_again(shell, name, code):
    status = as_a_job(shell, name, code)
    if name == "pbs":
        assert (shell.folder / "queued").read_text() == "job.sh\n"
    elif name == "gridengine":
        assert status == 99
    else:
        assert re.search(rf'^#BSUB -Q ".*\b{status}\b.*"$', (shell.folder / "job.sh").read_text(),
                         re.MULTILINE)  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULERS)
def test_what_would_recur_is_not(shell, name):
    assert as_a_job(shell, name, 3) == 3
    assert not (shell.folder / "queued").exists()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_before_the_time_is_up_the_launcher_is_asked_to_save(shell, name):
    assert as_a_job(shell, name, 0, forever=True) == (99 if name == "gridengine" else 75)
    assert (shell.folder / "asked").exists()
