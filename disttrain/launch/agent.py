"""Commands on other hosts: by ssh or what the user gives, or by srun inside a job of Slurm."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from disttrain.launch import leftovers
from disttrain.launch.hosts import Host, is_here

__all__ = ["Agent", "Trouble"]

# The last two are for a host that stands still once it has answered.
SSH = "ssh -o BatchMode=yes -o ConnectTimeout=5 -o ServerAliveInterval=5 -o ServerAliveCountMax=3"
# Seconds after which a host that has not answered counts as gone. ssh itself gives up sooner on one
# that can't be reached; Python on a cold network file system takes its time.
ANSWER = 30.0
# Seconds between two checks whether the answer is still wanted.
NAP = 0.1
AT_ONCE = 64
# ssh's words for a host that refuses the login: that host is not gone.
REFUSALS = (
    "Permission denied",
    "Host key verification failed",
    "Could not resolve hostname",
    "Bad configuration option",
)


class Trouble(NamedTuple):
    """What is wrong with a host.

    `gone` where it does not answer at all; `refused` where that is so from the beginning or never.
    """

    says: str
    gone: bool = True
    refused: bool = False


class Agent:
    """How a command is started on another host: `command HOST COMMAND`, as ssh does.

    Without a `command` it is ssh, or srun inside a job of Slurm. `python` is the interpreter that
    all hosts have at the same path.
    """

    def __init__(
        self, command: str | None, python: str, environment: Mapping[str, str] = os.environ
    ) -> None:
        self._given, self._python = command, python
        in_slurm = "SLURM_JOB_ID" in environment and shutil.which("srun") is not None
        self._srun = in_slurm and command is None

    def options(self) -> list[str]:
        """Return mpirun's options by which it starts its daemons the same way (Open MPI 5)."""
        if self._srun:
            # Slurm may still count the daemons of an earlier attempt, with their cores.
            return ["--prtemca", "plm_slurm_args", "--overlap"]
        return ["--prtemca", "plm", "ssh", "--prtemca", "plm_ssh_agent", self._given or SSH]

    def words(self, host: str, command: Sequence[str]) -> list[str]:
        """Return the command line that runs `command` on `host`."""
        if self._srun:
            alone = ["--overlap", "--nodes=1", "--ntasks=1", "--quiet"]
            return ["srun", *alone, f"--nodelist={host}", *command]
        return [*shlex.split(self._given or SSH), host, shlex.join(command)]

    def begin(
        self,
        hosts: Sequence[Host],
        mark: str,
        base: str,
        hurried: Callable[[], bool] = lambda: False,
        signs: Path | None = None,
    ) -> dict[str, Trouble]:
        """Prepare hosts for the launch; return what is wrong with those that can't be used.

        They must see this working directory, and be able to write in the folder for `signs`. Once
        `hurried` says so, no answer is waited for any more.
        """
        asked = ["begin", mark, base, os.getcwd(), *([str(signs)] if signs else [])]
        return self._ask_all(hosts, asked, leftovers.begin, hurried)

    def clean(
        self,
        hosts: Sequence[Host],
        mark: str,
        base: str,
        hurried: Callable[[], bool] = lambda: False,
    ) -> dict[str, Trouble]:
        """Remove what the launch left on hosts; return which did not answer, and why."""
        return self._ask_all(hosts, ["clean", mark, base], leftovers.clean, hurried)

    def _ask_all(
        self,
        hosts: Sequence[Host],
        arguments: list[str],
        here: Callable[[str, str], None],
        hurried: Callable[[], bool],
    ) -> dict[str, Trouble]:
        def ask(host: Host) -> Trouble | None:
            if is_here(host.name):
                here(*arguments[1:3])
                return None
            return self._ask(host.name, arguments, hurried)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            said = list(pool.map(ask, hosts))
        return {host.name: what for host, what in zip(hosts, said, strict=True) if what}

    def _ask(self, host: str, arguments: list[str], hurried: Callable[[], bool]) -> Trouble | None:
        """Return what is wrong with `host`, or nothing."""
        command = self.words(host, [self._python, "-", *arguments])
        try:
            # Into a file: a background process of ssh may keep a pipe open.
            with open(Path(leftovers.__file__), "rb") as text, tempfile.TemporaryFile() as errors:
                # So that a terminal's Ctrl-C reaches this process alone.
                process = subprocess.Popen(
                    command, stdin=text, stdout=subprocess.DEVNULL, stderr=errors,
                    start_new_session=True,
                )  # fmt: skip
                if not _ends(process, hurried):
                    return Trouble("does not answer")
                errors.seek(0)
                said = errors.read().decode(errors="replace")
        except OSError as error:
            return Trouble(f"can't be asked: {command[0]}: {error.strerror}", gone=False)
        return self._understood(process.returncode, said)

    def _understood(self, code: int, said: str) -> Trouble | None:
        """Return what an answer means."""
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        last = lines[-1] if lines else str(code)
        match code:
            case 0:
                return None
            case leftovers.NOT_SHARED:
                folder = last.partition("/.disttrain-")[0] if lines else os.getcwd()
                says = f"has no folder {folder}: start in a folder that all hosts share"
                return Trouble(says, gone=False)
            case leftovers.NO_ROOM:
                return Trouble(f"has no place for MPI's files: {last}", gone=False)
            case 126 | 127:
                says = f"has no {self._python}: install it there or give --python"
                return Trouble(says, gone=False)
        refused = any(words in line for words in REFUSALS for line in lines)
        return Trouble(f"does not answer ({last})", refused=refused)


def _ends(process: subprocess.Popen[bytes], hurried: Callable[[], bool]) -> bool:
    """Return whether an agent's command has ended in time; kill it where it has not."""
    end = time.monotonic() + ANSWER
    while time.monotonic() < end and not hurried():
        try:
            process.wait(NAP)
        except subprocess.TimeoutExpired:
            continue
        return True
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return False
