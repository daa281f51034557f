"""The nodes of a cluster of containers: commands on them, and what may happen to them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.cluster.docker.card import Failed

__all__ = ["PROJECT", "Nodes", "docker", "wait_for"]

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "docker" / "cluster.sh"
PROJECT = "disttrain-test"
FILES = ("docker/compose.yml", "tests/cluster/docker/compose.yml")
LABEL = "label=com.docker.compose"
# Seconds after which a command has hung, and building and starting the cluster too.
LONGEST, BUILDING = 120, 1500
# Id and command line of all processes of a node, one a line. Nothing need be installed for it.
PROCESSES = r"""cd /proc
for p in [0-9]*; do echo $p $(tr '\0' ' ' <$p/cmdline); done 2>/dev/null; true"""
# Whether the head reaches all nodes: each may take some seconds.
REACH = """for node in "$@"; do
  for try in $(seq 20); do ssh $node true && continue 2; sleep 0.5; done; exit 1
done"""
OURS = (" -m disttrain", "/bin/disttrain", "prted", "mpirun")


class Nodes:
    """A head and `workers`, by name; each is a container of this project."""

    def __init__(self, workers: int) -> None:
        self.names = ["head", *(f"worker{i + 1}" for i in range(workers))]
        self._containers: dict[str, str] = {}
        self.network_id = ""

    def up(self) -> None:
        """Build and start them, without what is left of others. Raises Failed where that fails."""
        self.down()
        done = self._script("up", str(len(self.names) - 1))
        if done.returncode:
            raise Failed(f"docker/cluster.sh up ended with {done.returncode}")
        for name in self.names:
            of = (f"{LABEL}.project={PROJECT}", f"{LABEL}.service={name}")
            self._containers[name] = docker("ps", "-aq", *_filters(*of)).strip()
        of = (f"{LABEL}.project={PROJECT}", f"{LABEL}.network=cluster")
        self.network_id = docker("network", "ls", "-q", *_filters(*of)).strip()

    def down(self) -> None:
        """Remove containers, network and volumes; the image stays."""
        self._script("down")

    def start(self, node: str, command: Sequence[str], root: bool = False) -> subprocess.Popen[str]:
        """Start a command on a node, as its user or as root; it gets what is written to it."""
        user = ["--user", "0"] if root else []
        return subprocess.Popen(
            ["docker", "exec", "-i", *user, self._containers[node], *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(
        self, node: str, *command: str, root: bool = False, given: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a node to its end. Raises Failed where it does not end with 0."""
        process = self.start(node, command, root)
        try:
            out, err = process.communicate(given, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            raise Failed(f"{node}: {' '.join(command)}: no end in {LONGEST} s") from None
        finally:
            process.kill()
        if check and process.returncode:
            said = (err or out).strip().splitlines()
            raise Failed(f"{node}: {' '.join(command)}: {said[-1] if said else 'no word'}")
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def kill(self, node: str) -> None:
        """Let a node die: all its processes at once."""
        docker("kill", self._containers[node])

    def revive(self, node: str) -> None:
        """Start a node again."""
        docker("start", self._containers[node])

    def pause(self, node: str) -> None:
        """Let a node stand still; its kernel goes on answering."""
        docker("pause", self._containers[node])

    def unpause(self, node: str) -> None:
        """Let a node go on."""
        docker("unpause", self._containers[node])

    def cut(self, node: str) -> None:
        """Take a node off the network."""
        docker("network", "disconnect", self.network_id, self._containers[node])

    def mend(self, node: str) -> None:
        """Put a node on the network again."""
        docker("network", "connect", "--alias", node, self.network_id, self._containers[node])

    def network(self, *command: str) -> None:
        """Run `tc` or `iptables` on all nodes; the word DEV stands for the node's interface."""
        for node in self.names:
            route = self.run(
                node, "ip", "-o", "-4", "route", "show", "scope", "link"
            ).stdout.split()
            device = route[route.index("dev") + 1]
            words = [device if word == "DEV" else word for word in command]
            self.run(node, *words, root=True)

    def running(self, node: str, word: str = "") -> dict[str, str]:
        """Return id and command line of disttrain's and MPI's processes on a node, with `word`."""
        lines = self.run(node, "sh", "-c", PROCESSES).stdout.splitlines()
        found = dict(line.strip().split(" ", 1) for line in lines if " " in line.strip())
        ours = {pid: line for pid, line in found.items() if any(one in line for one in OURS)}
        return {pid: line for pid, line in ours.items() if word in line}

    def signal(self, node: str, word: str, name: str) -> None:
        """Send a signal to the processes of ours that have `word` in their command line."""
        pids = self.running(node, word)
        if not pids:
            raise Failed(f"{node} runs no {word}")
        self.run(node, "sh", "-c", f"kill -{name} {' '.join(pids)}")

    def are_clean(self) -> str:
        """Return what is still running on some node after some seconds of grace, else nothing."""
        for node in self.names:
            if not wait_for(partial(self._is_quiet, node), 20):
                return f"{node} still runs {list(self.running(node).values())}"
        return ""

    def are_ready(self) -> bool:
        """Return whether the head reaches all nodes by ssh within some seconds."""
        return self.run("head", "sh", "-c", REACH, "sh", *self.names, check=False).returncode == 0

    def restart(self) -> None:
        """Start all nodes anew, whatever has become of them."""
        here = docker("network", "inspect", "-f", "{{json .Containers}}", self.network_id)
        for node, container in self._containers.items():
            subprocess.run(["docker", "unpause", container], capture_output=True, check=False)
            if container not in here:
                subprocess.run(
                    ["docker", "network", "connect", "--alias", node, self.network_id, container],
                    capture_output=True, check=False,
                )  # fmt: skip
        docker("restart", "-t", "1", *self._containers.values())
        if not self.are_ready():
            raise Failed("the nodes do not answer after a restart")

    def _is_quiet(self, node: str) -> bool:
        return not self.running(node)

    def _script(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        names = {"COMPOSE_PROJECT_NAME": PROJECT, "COMPOSE_FILE": os.pathsep.join(FILES)}
        try:
            return subprocess.run(
                [SCRIPT, *arguments],
                cwd=ROOT, env=os.environ | names, check=False, timeout=BUILDING,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Failed(f"{SCRIPT.name} {arguments[0]}: no end in {BUILDING} s") from None


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Look again and again until the condition holds; False where it never does."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def docker(*arguments: str, given: str = "", both: bool = False) -> str:
    """Run a command of Docker's and return what it prints, with `both` on standard error too.

    Raises Failed where it fails.
    """
    try:
        done = subprocess.run(
            ["docker", *arguments],
            input=given, capture_output=True, text=True, check=False, timeout=LONGEST,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Failed(f"docker {' '.join(arguments)}: no end in {LONGEST} s") from None
    if done.returncode:
        raise Failed(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout + (done.stderr if both else "")


def _filters(*conditions: str) -> list[str]:
    return [word for condition in conditions for word in ("--filter", condition)]
