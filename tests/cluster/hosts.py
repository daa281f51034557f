"""A cluster on one machine, to be broken: hosts that are network namespaces on one bridge.

A host n0, n1, ... has its own network (10.99.0.1, .2, ...), name, process ids, `/dev/shm` and
`/run`; files are shared. Nothing of it touches the machine's own network, and all of it is gone
when the cluster is closed. It needs root, or user namespaces for everybody.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

__all__ = ["Cluster", "why_not"]

ROOT = Path(__file__).parents[2]
NETWORK = "10.99.0"
# A host's first process does nothing but collect the orphans of its process namespace.
INIT = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
print("up", flush=True)
while True:
    try:
        os.wait()
    except ChildProcessError:
        signal.sigtimedwait([signal.SIGCHLD], 0.2)
"""
HOST = (
    "hostname {name} && mount -t tmpfs tmpfs /run && mkdir /run/tmp && "
    "mount -t tmpfs -o mode=1777 tmpfs /dev/shm && mount --bind {names} /etc/hosts && "
    "ip link set lo up && exec {python} -c '{init}'"
)
CONNECTING = 5.0
NAMESPACES = ("--net", "--mount", "--fork", "--pid", "--mount-proc", "--uts", "--ipc")


def why_not() -> str:
    """Return why such a cluster can't be made here; nothing where it can."""
    for tool in ("unshare", "nsenter", "ip", "tc"):
        if not any(os.access(f"{folder}/{tool}", os.X_OK) for folder in (*PATH, "/usr/sbin")):
            return f"{tool} is not installed"
    tried = subprocess.run(
        [*unshare(), "ip", "link", "add", "type", "bridge"],
        capture_output=True, text=True, check=False, env=ENVIRONMENT,
    )  # fmt: skip
    said = (tried.stderr.strip() or f"status {tried.returncode}").splitlines()[-1]
    return f"namespaces are not permitted ({said})" if tried.returncode else ""


PATH = os.environ.get("PATH", "").split(os.pathsep)
# `ip` and `tc` stand where only root's PATH leads.
ENVIRONMENT = os.environ | {"PATH": os.pathsep.join([*PATH, "/usr/sbin", "/sbin"])}

# For the first processes: unshare complains when they are killed, as they all are.
QUIET: dict[str, Any] = {
    "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL,
    "text": True, "env": ENVIRONMENT,
}  # fmt: skip


def unshare(*more: str) -> list[str]:
    """Return the start of a command in namespaces of its own; `more` than net and mount."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *user, "--net", "--mount", *more]


class Host:
    """One host, seen from outside: its first process, which holds its namespaces."""

    def __init__(self, name: str, address: str, process: subprocess.Popen[str], pid: int) -> None:
        self.name, self.address = name, address
        self.process, self.pid = process, pid
        # What ssh to it would meet: an answer, silence, or word from its network that it is gone.
        self.answers, self.silent = True, False

    def processes(self) -> list[int]:
        """Return the ids, as seen from outside, of all that runs here, the first one last."""
        space, found = os.readlink(f"/proc/{self.pid}/ns/pid"), []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.readlink(entry / "ns" / "pid") == space:
                    found.append(int(entry.name))
        return [pid for pid in found if pid != self.pid] + [self.pid]


class Cluster:
    """`count` hosts; `folder` is for the cluster's own files. Close it, or use it in a `with`."""

    def __init__(self, count: int, folder: Path) -> None:
        self.folder = folder
        self._outputs: dict[int, tuple[IO[str], IO[str]]] = {}
        self._entered: list[subprocess.Popen[str]] = []
        self._names = folder / "hosts"
        self._names.write_text(
            "127.0.0.1 localhost\n"
            + "".join(f"{NETWORK}.{i + 1} n{i}\n" for i in range(count))
        )  # fmt: skip
        self._switch = subprocess.Popen(
            [*unshare("--fork", "--kill-child"), "sh", "-c",
             "ip link add br0 type bridge && ip link set br0 up && echo up && exec sleep infinity"],
            **QUIET,
        )  # fmt: skip
        self._inside = _first_child(self._switch)
        self.hosts = {f"n{i}": self._host(i) for i in range(count)}
        self._server = threading.Thread(target=self._serve, daemon=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "agent.sock"))
        self._listener.listen()
        self._server.start()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process of every host, and the network."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for host in self.hosts.values():
            _kill([host.pid])
        # nsenter stops itself where what it has started is stopped, and would stay for ever.
        for process in self._entered:
            process.kill()
        _kill([self._inside])
        for process in [*(host.process for host in self.hosts.values()), self._switch]:
            process.kill()
            process.wait()
            process.stdout and process.stdout.close()

    @property
    def agent(self) -> str:
        """The command that starts a command on a host, as ssh does: AGENT HOST COMMAND."""
        return f"{sys.executable} -S {ROOT / 'tests' / 'cluster' / 'agent.py'} {self.folder}"

    # ---- commands

    def start(
        self, name: str, command: Sequence[object], env: Mapping[str, str] | None = None,
        **options: object,
    ) -> subprocess.Popen[str]:  # fmt: skip
        """Start `command` on a host, in this working directory; `finish` has its output.

        That goes into files, because a frozen host would keep the end of a pipe open.
        """
        enter = self._enter(self.hosts[name].pid, "--pid", "--uts", "--ipc")
        out, err = (tempfile.TemporaryFile("w+") for _ in range(2))  # noqa: SIM115
        streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err}
        process = subprocess.Popen(
            [*enter, "env", f"--chdir={os.getcwd()}", *map(str, command)],
            env=ENVIRONMENT | {"TMPDIR": "/run/tmp"} | dict(env or {}),
            text=True, **(streams | options),
        )  # fmt: skip
        self._outputs[process.pid] = (out, err)
        self._entered.append(process)
        return process

    def run(
        self, name: str, command: Sequence[object], timeout: float = 60, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` on a host to its end; past `timeout` kill all of the host's processes."""
        process = self.start(name, command, **options)
        return self.finish(name, process, timeout)

    def finish(
        self, name: str, process: subprocess.Popen[str], timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Wait for a process of `start`; past `timeout` kill what runs on the host, and raise."""
        in_time = True
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            in_time = False
            _kill(self.hosts[name].processes()[:-1])
            process.wait()
        texts = []
        for file in self._outputs.pop(process.pid):
            file.seek(0)
            texts.append(file.read())
            file.close()
        assert in_time, f"not over after {timeout} s:\n{texts[0]}\n{texts[1]}"
        return subprocess.CompletedProcess(process.args, process.returncode, *texts)

    def running(self, name: str) -> dict[int, str]:
        """Return the command lines of what runs on a host, but for its first process."""
        found = {}
        for pid in self.hosts[name].processes()[:-1]:
            with suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
                if line:
                    found[pid] = line
        return found

    @staticmethod
    def signal(pid: int, number: signal.Signals) -> None:
        """Send a signal to a process of `running`."""
        _kill([pid], number)

    # ---- faults

    def kill(self, name: str, silent: bool = False) -> None:
        """End a host with all that runs on it; `silent`: as by a power failure, without a word."""
        if silent:
            self.cut(name)
        self.hosts[name].answers = False
        _kill(self.hosts[name].processes())
        self.hosts[name].process.wait()

    def cut(self, name: str) -> None:
        """Take a host's cable out."""
        self.hosts[name].answers, self.hosts[name].silent = False, True
        self._ip("link", "set", f"p{name[1:]}", "down")

    def mend(self, name: str) -> None:
        """Put it in again."""
        self._ip("link", "set", f"p{name[1:]}", "up")
        self.hosts[name].answers, self.hosts[name].silent = True, False

    def freeze(self, name: str) -> None:
        """Stop all that runs on a host; its kernel still answers."""
        self.hosts[name].answers, self.hosts[name].silent = False, True
        _kill(self.hosts[name].processes(), signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let it run on."""
        self.hosts[name].answers, self.hosts[name].silent = True, False
        _kill(self.hosts[name].processes(), signal.SIGCONT)

    def shape(self, rate: str) -> None:
        """Limit every link to `rate`, as in "100mbit", both ways."""
        limit = ["root", "tbf", "rate", rate, "burst", "128kb", "latency", "100ms"]
        for name, host in self.hosts.items():
            for where, device in ((self._inside, f"p{name[1:]}"), (host.pid, "eth0")):
                _checked([*self._enter(where), "tc", "qdisc", "replace", "dev", device, *limit])

    def bridge(self) -> None:
        """Give every host a bridge like Docker's: the same address on all, leading nowhere."""
        for host in self.hosts.values():
            for words in (("link", "add", "docker0", "type", "bridge"),
                          ("address", "add", "172.17.0.1/16", "dev", "docker0"),
                          ("link", "set", "docker0", "up")):  # fmt: skip
                _checked([*self._enter(host.pid), "ip", *words])

    # ---- inside

    def _host(self, number: int) -> Host:
        name, address = f"n{number}", f"{NETWORK}.{number + 1}"
        program = HOST.format(name=name, names=self._names, python=sys.executable, init=INIT)
        process = subprocess.Popen(
            [*self._enter(self._inside), "unshare", *NAMESPACES, "--kill-child", "sh", "-c",
             program],
            **QUIET,
        )  # fmt: skip
        pid = _first_child(process)
        link = ["link", "add", f"p{number}", "type", "veth", "peer", "name", "eth0"]
        self._ip(*link, "netns", str(pid))
        self._ip("link", "set", f"p{number}", "master", "br0", "up")
        for words in (("address", "add", f"{address}/24", "dev", "eth0"),
                      ("link", "set", "eth0", "up")):  # fmt: skip
            _checked([*self._enter(pid), "ip", *words])
        return Host(name, address, process, pid)

    def _enter(self, pid: int, *more: str) -> list[str]:
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(pid), *user, "--net", "--mount", *more]

    def _ip(self, *words: str) -> None:
        _checked([*self._enter(self._inside), "ip", *words])

    def _serve(self) -> None:
        """Answer agents: start what they ask for on the host that they name."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            message, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
            name, command = message.decode().split("\0", 1)
            host = self.hosts.get(name) or next(
                (h for h in self.hosts.values() if h.address == name), None
            )
            code = 255
            if host is not None and host.answers:
                # As ssh does: a clean environment, the user's folder.
                process = self.start(
                    host.name, ["sh", "-c", f"cd /; {command}"],
                    stdin=streams[0], stdout=streams[1], stderr=streams[2],
                )  # fmt: skip
                code = process.wait() % 256
                self.finish(host.name, process)
                if host.silent:
                    # Nobody is there to say that it has ended.
                    connection.recv(1)
            elif host is not None and host.silent:
                # As ssh with a limit for connecting: no answer, and then its patience ends.
                time.sleep(CONNECTING)
            for stream in streams:
                os.close(stream)
            with suppress(OSError):
                connection.sendall(str(code).encode())


def _first_child(process: subprocess.Popen[str]) -> int:
    """Return the process that `unshare --fork` has started, once it says that it is up."""
    assert process.stdout
    assert process.stdout.readline() == "up\n", "the namespaces can't be set up"
    pid = process.pid
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[0])
    return pid


def _checked(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def _kill(pids: Sequence[int], number: signal.Signals = signal.SIGKILL) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
