"""A scenario as in Kubernetes: the template's words, in pods as the MPI Operator makes them."""

from __future__ import annotations

from typing import Any

import yaml

from tests.cluster.docker.card import Failed, expect
from tests.cluster.docker.nodes import PROJECT, Nodes, docker, wait_for
from tests.cluster.docker.training import RUN_FILE, SHORT, Training

__all__ = ["operator"]

IMAGE, JOB, WORKERS, RANKS = "disttrain", "pods", 2, 4
SECRET = f"{PROJECT}_secret"
# A volume of secrets: of root, a directory for all, files that all can read; a key as Go writes it.
# The host file comes with it, and lies there too.
FILL = """cd /secret && ssh-keygen -q -t ecdsa -b 521 -m PEM -N '' -f id_rsa
cp id_rsa.pub authorized_keys && cat > hostfile && chmod 644 * && chown 0:0 . && chmod 1777 ."""
PROBE = "import socket; socket.create_connection(('localhost', 2222), 1)"
# What the operator has the launcher's mpirun know.
ENVIRONMENT = {
    "K_MPI_JOB_ROLE": "launcher",
    "OMPI_MCA_orte_keep_fqdn_hostnames": "true",
    "OMPI_MCA_orte_default_hostfile": "/etc/mpi/hostfile",
    "OMPI_MCA_plm_rsh_args": "-o ConnectionAttempts=10",
    "OMPI_MCA_orte_set_default_slots": str(RANKS // WORKERS),
}


def operator(training: Training) -> str:
    """The filled template's launcher trains on its workers; nothing else is changed or added."""
    nodes = training.nodes
    text = RUN_FILE.replace("[training]", f"[training]\nepochs = {SHORT}")
    nodes.run("head", "sh", "-c", f"cat > {JOB}.toml", given=text)
    size = ("--nodes", str(WORKERS), "--ranks", str(RANKS))
    job = yaml.safe_load(
        nodes.run("head", "disttrain", "template", "kubernetes", f"{JOB}.toml", *size).stdout
    )["spec"]
    names = [f"{JOB}-worker-{i}" for i in range(job["mpiReplicaSpecs"]["Worker"]["replicas"])]
    try:
        _make_secret(names, job["slotsPerWorker"])
        for name in names:
            _start(nodes, job, "Worker", name)
        expect(wait_for(lambda: all(map(_is_ready, names)), 30), "the workers have no sshd")
        launcher = _start(nodes, job, "Launcher", f"{JOB}-launcher", ENVIRONMENT)
        code = docker("wait", launcher).strip()
        expect(
            code == "0", f"the launcher ended with {code}:\n{docker('logs', launcher, both=True)}"
        )
        training.check(f"runs/{JOB}", names)
    finally:
        docker("rm", "--force", *map(_pod, [*names, f"{JOB}-launcher"]))
        docker("volume", "rm", "--force", SECRET)
    return f"{RANKS} ranks in {WORKERS} pods"


def _make_secret(names: list[str], slots: int) -> None:
    hosts = "".join(f"{_full(name)} slots={slots}\n" for name in names)
    once = ("run", "--rm", "--interactive", "--user", "0", "--volume", f"{SECRET}:/secret")
    docker(*once, IMAGE, "sh", "-c", FILL, given=hosts)


def _start(
    nodes: Nodes,
    job: dict[str, Any],
    kind: str,
    name: str,
    environment: dict[str, str] | None = None,
) -> str:
    """Start a pod of the job, by what the template says of it, and return its id."""
    spec = job["mpiReplicaSpecs"][kind]["template"]["spec"]
    (container,) = spec["containers"]
    user = spec["securityContext"]
    words = [
        "--user",
        f"{user['runAsUser']}:{user['fsGroup']}",
        "--workdir",
        container["workingDir"],
    ]
    words += ["--volume", f"{SECRET}:{job['sshAuthMountPath']}:ro"]
    words += ["--volume", f"{SECRET}:/etc/mpi:ro", "--volume", f"{PROJECT}_shared:/work"]
    words += ["--network", nodes.network_id, "--network-alias", _full(name), "--hostname", name]
    for variable, value in (environment or {}).items():
        words += ["--env", f"{variable}={value}"]
    command = [*container["command"], *container.get("args", [])]
    return docker("run", "--detach", "--name", _pod(name), *words, IMAGE, *command).strip()


def _is_ready(name: str) -> bool:
    """Return what the probe of the template asks: whether something listens there."""
    try:
        docker("exec", _pod(name), "python", "-c", PROBE)
    except Failed:
        return False
    return True


def _full(name: str) -> str:
    return f"{name}.{JOB}.default.svc"


def _pod(name: str) -> str:
    return f"{PROJECT}-{name}"
