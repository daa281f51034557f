"""The options of `disttrain launch`, checked before mpirun gets them: errors are one sentence."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys

from disttrain.errors import UsageError
from disttrain.launch.cluster import Cluster
from disttrain.launch.hosts import any_here
from disttrain.launch.interfaces import check_chosen, interfaces

__all__ = ["check_agent", "check_here"]

# Seconds that Python may take to say its version: it may lie on a cold network file system.
ANSWER = 60.0


def check_agent(agent: str) -> None:
    """Raise UsageError for an agent that mpirun would parse in another way than this program."""
    try:
        words = shlex.split(agent)
    except ValueError as error:
        raise UsageError(f'--agent {agent}: {error}; give it as in "ssh -p 2222"') from None
    if not words:
        raise UsageError('--agent is blank: give a command, as in "ssh -p 2222", or leave it out')
    if words != agent.split() or ":" in agent:
        raise UsageError(
            f"--agent {agent}: mpirun reads no quotation marks in it and no colons; put it into a "
            'script that ends in "$@", and give the path of that'
        )


def check_here(cluster: Cluster | None, python: str | None, interface: str | None) -> None:
    """Raise UsageError where this host has no such interpreter or network and needs it.

    The agent asks the other hosts for the interpreter.
    """
    here = cluster is None or any_here(cluster.hosts)
    if interface is not None:
        check_chosen(interface, interfaces(), here)
    if python is not None and here:
        _check_python(python)


def _check_python(python: str) -> None:
    """Raise UsageError for an interpreter that is none or can't run this package."""
    found = shutil.which(python)
    if found is None:
        raise UsageError(
            f"--python {python}: this host has no such program; give the path of the Python with "
            "disttrain in it"
        )
    if found == sys.executable:
        return
    command = [python, "-m", "disttrain", "--version"]
    try:
        asked = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER, check=False
        )
        out, err = (part.decode(errors="replace").strip() for part in (asked.stdout, asked.stderr))
        works = asked.returncode == 0 and out.startswith("disttrain ")
        why = err.splitlines()[-1].strip() if err else "it is no Python with disttrain in it"
    except subprocess.TimeoutExpired:
        works, why = False, f"no answer in {ANSWER:g} s"
    except OSError as error:
        works, why = False, error.strerror or "it can't be run"
    if not works:
        raise UsageError(
            f"--python {python} can't run disttrain on this host ({why}): install it there, or "
            "give the path of the Python that has it"
        )
