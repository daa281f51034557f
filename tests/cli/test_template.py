"""`disttrain template`: scripts that shells and schedulers take, and do the right thing with."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from disttrain.errors import UsageError
from disttrain.launch.template import FILES, Site, fill
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


@pytest.mark.parametrize(
    ("name", "label"), [("800-Units_a", "run-800-units-a"), ("on", "on"), ("x" * 80, "x" * 50)]
)
def test_names_are_as_kubernetes_and_grid_engine_want_them(shell, name, label):
    yaml = pytest.importorskip("yaml")
    shell.run_file(f'name = "{name}"\n' + shell.run_file().read_text(), "a,b.toml")
    job = yaml.safe_load(shell.run("template", "kubernetes", "a,b.toml").stdout)
    assert job["metadata"]["name"] == label
    (container,) = job["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"]
    assert container["args"] == ["train", "a,b.toml", "--resume"]
    first = re.search(r"^#\$ -N (.)", shell.run("template", "gridengine", "a,b.toml").stdout, re.M)
    assert first
    assert first[1].isalpha()


def test_the_gpus_of_a_node_are_there_for_all_its_ranks(shell):
    """Where mpirun starts them; where srun does, each has its own."""
    size = ("run.toml", "--nodes", 2, "--ranks", 8, "--gpus")
    assert "#SBATCH --gpus-per-node=4" in shell.run("template", "slurm", *size).stdout
    assert "#SBATCH --gpus-per-task=1" in shell.run("template", "slurm-srun", *size).stdout
    typed = ("run.toml", "--nodes", 2, "--ranks", 8, "--gpu-type", "a100")
    assert "#SBATCH --gpus-per-node=a100:4" in shell.run("template", "slurm", *typed).stdout
    assert "#SBATCH --gpus-per-task=a100:1" in shell.run("template", "slurm-srun", *typed).stdout
    assert '"num=1/task:gmodel=a100"' in shell.run("template", "lsf", *typed).stdout
    assert "words of their own" in sentence(shell.run("template", "pbs", *typed), 2)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("90", 5400), ("90:30", 5430), ("1:30:00", 5400), ("26:00:00", 93600), ("1-00", 86400),
        ("1-02:30", 95400), ("1-00:00:00", 86400), ("2-12:30:05", 217805),
    ],
)  # fmt: skip
def test_times_are_those_of_slurm(given, seconds):
    site = Site("run.toml", "run", 2, 1, given)
    assert int(site.values("script")["limit"]) == seconds
    hours, minutes, left = map(int, site.values("script")["time"].split(":"))
    assert hours * 3600 + minutes * 60 + left == seconds


ASKED = {
    "slurm": ("#SBATCH --mem=64G", "#SBATCH --partition=long", "#SBATCH --account=p1"),
    "slurm-srun": ("#SBATCH --mem=64G", "#SBATCH --partition=long", "#SBATCH --account=p1"),
    "pbs": ("mpiprocs=4:mem=64gb", "#PBS -q long", "#PBS -A p1"),
    "lsf": ('#BSUB -R "rusage[mem=64GB]"', "#BSUB -q long", "#BSUB -P p1"),
    "gridengine": ("#$ -l h_vmem=16384M", "#$ -q long", "#$ -P p1"),
}


@pytest.mark.parametrize("name", ASKED)
def test_memory_queue_and_account_are_asked_for(name):
    site = Site("run.toml", "run", 8, 2, "90", memory="64G", partition="long", account="p1")
    text = fill(name, site)
    assert all(words in text for words in ASKED[name])
    plain = fill(name, Site("run.toml", "run", 8, 2, "90"))
    assert not any(words in plain for words in ASKED[name])


@pytest.mark.parametrize("name", SCRIPTS)
def test_modules_are_loaded_before_the_training(name):
    site = Site("run.toml", "run", 8, 2, "90", modules=("openmpi/5.0", "python"))
    lines = fill(name, site).splitlines()
    place = lines.index("module load openmpi/5.0 python")
    assert all(line.startswith(("#", "cd ")) or not line for line in lines[:place])
    assert not any("module" in line for line in fill(name, Site("r", "r", 8, 2, "9")).splitlines())


def test_resources_of_slurm_and_modules_are_refused_where_there_are_none():
    site = Site("run.toml", "run", 8, 2, "90", gres="gpu:a100:4", gpus=True)
    for name in ("slurm", "slurm-srun"):
        text = fill(name, site)
        assert "#SBATCH --gres=gpu:a100:4" in text
        assert "--gpus-per" not in text
    with pytest.raises(UsageError, match="--gres is Slurm's, and this is for pbs"):
        fill("pbs", site)
    with pytest.raises(
        UsageError, match="--module is for batch scripts, and kubernetes is not one"
    ):
        fill("kubernetes", Site("r", "r", 2, 1, "90", modules=("openmpi",)))
    with pytest.raises(UsageError, match="can't be written in a batch script"):
        fill("slurm", Site("r", "r", 2, 1, "90", modules=("openmpi; rm",)))


def test_a_script_names_the_file_that_it_is_in(shell):
    (shell.folder / "jobs").mkdir()
    shell.run("template", "pbs", "run.toml", "-o", "jobs/mine.pbs")
    assert "  qsub jobs/mine.pbs || " in (shell.folder / "jobs" / "mine.pbs").read_text()


def test_a_run_file_for_gpus_asks_for_gpus(shell):
    shell.run_file(shell.run_file().read_text().replace('"cpu"', '"gpu"'))
    result = shell.run("template", "slurm", "run.toml")
    assert "#SBATCH --gpus-per-node=1" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("torque",), "no template 'torque': there are slurm, slurm-srun"),
        (("slurm", "missing.toml"), "run file missing.toml does not exist"),
        (("slurm", "run.toml", "--ranks", 3, "--nodes", 2), "as in --ranks 4"),
        (("pbs", "run.toml", "--time", "tomorrow"), "write it as HH:MM:SS"),
        (("slurm", "run.toml", "--memory", "64"), "as in 500M, 64G or 1T"),
        (("kubernetes", "run.toml", "--account", "me"), "are for schedulers"),
        (("slurm", "run.toml", "--account", "a;b"), "'a;b' can't be written in a batch script"),
        (
            ("pbs", "run.toml", "--time", "00:02:00"),
            "120 s before its end: give more, as in 01:30:00",
        ),
        (("slurm", "run.toml", "--program", "a b"), "'a b' can't be written in a batch script"),
        (("pbs", "run.toml", "--time", "00:99:99"), "write it as HH:MM:SS"),
        (("slurm", "run.toml", "--program=-x"), "'-x' can't be written in a batch script"),
        (("slurm", "run.toml", "-o", "run.toml"), "--output run.toml is the run file itself"),
        (("gridengine", "run.toml", "--cpus", 8), "--cpus is not for gridengine"),
        (("slurm", "run.toml", "-o", "no/where"), "no/where can't be written"),
    ],
)
def test_mistakes(shell, arguments, words):
    assert words in sentence(shell.run("template", *arguments), 2)


# ---- schedulers that are not here: a stand-in sets their environment and runs their script

DISTTRAIN = """#!/bin/sh
echo "$@" > called
test -z "$SAVES" || touch runs/run/checkpoints/step-00000020.h5
for word; do test -f "$word" && cat "$word" > hosts; done
trap 'echo asked > asked; exit 75' USR1
test -z "$FOREVER" || while :; do sleep 0.1; done
exit "$CODE"
"""
QSUB = '#!/bin/sh\necho "$@" > queued\n'
HOSTS = {"PBS_NODEFILE": "n1\nn1\nn2\nn2\n", "LSB_DJOB_HOSTFILE": "n1\nn1\nn2\nn2\n",
         "PE_HOSTFILE": "n1 2 all.q@n1 UNDEFINED\nn2 2 all.q@n2 UNDEFINED\n"}  # fmt: skip
SCHEDULERS = {"pbs": "PBS_NODEFILE", "lsf": "LSB_DJOB_HOSTFILE", "gridengine": "PE_HOSTFILE"}


def as_a_job(shell, name, code, forever=False, saves=True):
    """Run a template's script with a stand-in for `disttrain` that `saves` and ends with `code`."""
    checkpoints = shell.folder / "runs" / "run" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "step-00000010.h5").touch()
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
        "FOREVER": "1" if forever else "", "SAVES": "1" if saves else "",
        "PATH": f"{shell.folder}:{os.environ['PATH']}",
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


def queued_again(shell, status):
    """Return whether a job that has ended with `status` is queued again."""
    script = (shell.folder / "job.sh").read_text()
    codes = re.search(r'^#BSUB -Q "(.*)"$', script, re.MULTILINE)
    by_lsf = codes and str(status) in codes[1].split()
    by_grid_engine = script.count("#$ -r y") and status == 99
    queued = shell.folder / "queued"
    assert not queued.exists() or queued.read_text() == "job.sh\n"
    return bool(by_lsf or by_grid_engine or queued.exists())


@pytest.mark.parametrize("code", [5, 75])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_what_can_go_on_is_queued_again(shell, name, code):
    assert queued_again(shell, as_a_job(shell, name, code))


@pytest.mark.parametrize("code", [5, 75])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_what_gets_no_further_is_not_queued_for_ever(shell, name, code):
    status = as_a_job(shell, name, code, saves=False)
    assert status == code
    assert not queued_again(shell, status)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_what_would_recur_is_not(shell, name):
    status = as_a_job(shell, name, 3)
    assert status == 3
    assert not queued_again(shell, status)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_before_the_time_is_up_the_launcher_is_asked_to_save(shell, name):
    assert queued_again(shell, as_a_job(shell, name, 0, forever=True))
    assert (shell.folder / "asked").exists()
