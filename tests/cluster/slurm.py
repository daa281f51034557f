"""A real Slurm on the hosts of a cluster: slurmctld on n0, a slurmd on each host."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.cli.shell import wait_for
from tests.cluster.hosts import NETWORK, Cluster

__all__ = ["Slurm", "why_not"]

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "squeue", "scontrol", "srun")
SBIN = "/usr/sbin"
# Short times, so that a requeued job and a lost node are seen within seconds; `config_overrides`
# because the hosts share this machine's few cores; `cred_expire` is what a requeue waits for.
CONFIGURATION = """
ClusterName=test
SlurmctldHost=n0({network}.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=5
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=30
JobRequeue=1
SlurmdParameters=config_overrides
NodeName=n[0-{last}] NodeAddr={network}.[1-{count}] CPUs=2 CoresPerSocket=2 RealMemory=4000
PartitionName=main Nodes=ALL Default=YES MaxTime=60 State=UP
"""


def why_not() -> str:
    """Return why Slurm can't be started here; nothing where it can."""
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    missing = [d for d in DAEMONS if not os.access(f"{SBIN}/{d}", os.X_OK)]
    missing += [c for c in CLIENTS if not shutil.which(c)]
    return f"not installed: {', '.join(missing)}" if missing else ""


class Slurm:
    """Its daemons run on the hosts of `cluster`, with state, logs and keys in `folder`/slurm."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster, self.folder = cluster, folder / "slurm"
        for name in ("state", "spool", "munge"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge").chmod(0o711)
        key = self.folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        count = len(cluster.hosts)
        text = CONFIGURATION.format(
            folder=self.folder, network=NETWORK, last=count - 1, count=count
        )  # fmt: skip
        configuration = self.folder / "slurm.conf"
        configuration.write_text(text)
        # What srun --mpi=pmix keeps must not be shared by hosts.
        (self.folder / "mpi.conf").write_text("PMIxCliTmpDirBase=/run/tmp\n")
        self.environment = {"SLURM_CONF": str(configuration)}
        self._munged(key)
        self._daemon("n0", "slurmctld", "-f", configuration)
        for name in cluster.hosts:
            self._daemon(name, "slurmd", "-f", configuration)
        ready = wait_for(lambda: self("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * count)
        assert ready, (self.folder / "slurmctld.log").read_text()

    def __call__(self, *command: object) -> str:
        """Run one of Slurm's commands on n0 and return what it says."""
        done = self._cluster.run("n0", command, env=self.environment)
        return done.stdout + done.stderr

    def submit(self, script: Path, *options: object, env: Mapping[str, str]) -> str:
        """Submit a script from its own folder and return the job's number."""
        command = ["sbatch", "--parsable", *options, script]
        done = self._cluster.run("n0", command, env=self.environment | dict(env))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def facts(self, job: str) -> dict[str, str]:
        """Return what Slurm knows about a job: JobState, Restarts, ExitCode and more."""
        words = self("scontrol", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def state(self, job: str) -> str:
        """Return a job's state, as in RUNNING."""
        return self.facts(job).get("JobState", "")

    def close(self) -> None:
        """End the one daemon that is not on a host of its own: munged."""
        with suppress(OSError, ValueError):
            os.kill(int((self.folder / "munged.pid").read_text()), signal.SIGTERM)

    def _munged(self, key: Path) -> None:
        subprocess.run(
            [f"{SBIN}/munged", "--force", f"--key-file={key}",
             f"--socket={self.folder}/munge/socket", f"--pid-file={self.folder}/munged.pid",
             f"--log-file={self.folder}/munged.log", f"--seed-file={self.folder}/munge/seed"],
            check=True, timeout=30,
        )  # fmt: skip

    def _daemon(self, host: str, name: str, *options: object) -> None:
        done = self._cluster.run(host, [f"{SBIN}/{name}", *options], env=self.environment)
        assert done.returncode == 0, f"{name}: {done.stderr}"
