"""Which hosts ranks are started on, and how many on each: `--hosts` and host files."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from disttrain.errors import UsageError
from disttrain.launch.interfaces import address_of

__all__ = ["Host", "any_here", "fitted", "is_here", "parse_hosts", "read_hostfile", "total"]

NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
# "n1", "n1:4", "n1 slots=4 max_slots=8" (Open MPI), "n1 4 queue processors" (Grid Engine).
LINE = re.compile(
    r"(\S+?)(?::(\d+)|\s+slots\s*=\s*(\d+)(?:\s+max[_-]slots\s*=\s*\d+)?|\s+(\d+)\b.*)?"
)
# A valid host, followed by text that can't be parsed.
REST = re.compile(rf"({NAME.pattern})(?::\d+)?(?:\s+(?:max[_-])?slots\s*=\s*\d+)*\s+(\S.*)")
# More than any host has cores; the sum of many still fits the launcher's numbers.
MOST = 65536


@dataclass(frozen=True)
class Host:
    """A host and how many ranks it takes, None where that is not stated."""

    name: str
    slots: int | None = None


def parse_hosts(text: str) -> list[Host]:
    """Return the hosts of `--hosts a,b:4,c`. Raises UsageError for a name that can't be one."""
    return _merged([_host(word, f"--hosts {text}") for word in text.split(",")])


def read_hostfile(path: Path) -> list[Host]:
    """Return the hosts of a file: of Open MPI, of MPICH, or of a scheduler (a line per slot).

    Raises UsageError, with the line, for a file that can't be read or is none.
    """
    try:
        # Editors of some systems begin a text with a byte-order mark.
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise UsageError(f"host file {path}: {why}; give a file with a host per line") from None
    stated = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1)]
    found = [_host(line, f"host file {path}, line {number}") for number, line in stated if line]
    if not found:
        raise UsageError(f"host file {path} names no host: give a host per line")
    return _merged(found)


def fitted(hosts: Sequence[Host], ranks: int | None) -> list[Host]:
    """Return `hosts` with a number of slots each, enough for `ranks`; None means all slots.

    A host for which nothing is said takes an equal part of what the others leave, one at least.
    Raises UsageError where the slots that are stated don't hold the ranks.
    """
    stated = sum(host.slots or 0 for host in hosts)
    open_ = sum(host.slots is None for host in hosts)
    each = max(1, -(-((ranks or 0) - stated) // open_)) if open_ else 0
    whole = [replace(h, slots=each if h.slots is None else h.slots) for h in hosts]
    if ranks and ranks > total(whole):
        raise UsageError(
            f"{ranks} ranks don't fit the {total(whole)} slots of {listed(whole)}: give more "
            "hosts or slots, as in n1:8, or fewer ranks"
        )
    return whole


def total(hosts: Sequence[Host]) -> int:
    """Return the slots of all `hosts`."""
    return sum(host.slots or 0 for host in hosts)


def listed(hosts: Sequence[Host]) -> str:
    """Return the names of hosts for a sentence; of many the first ones."""
    names = [host.name for host in hosts]
    return (
        ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:6])} and {len(names) - 6} more"
    )


def is_here(name: str) -> bool:
    """Return True where `name` is this host, at whose addresses alone a socket can listen."""
    own = socket.gethostname()
    if name in ("localhost", own, own.partition(".")[0]):
        return True
    address = address_of(name)
    if address is None:
        return False
    try:
        with socket.socket() as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def any_here(hosts: Sequence[Host]) -> bool:
    """Return True where one of `hosts` is this one; all are looked up at once."""
    with ThreadPoolExecutor(64) as pool:
        return any(pool.map(is_here, [host.name for host in hosts]))


def _host(text: str, where: str) -> Host:
    text = text.strip()
    read = LINE.fullmatch(text)
    if read is None or not NAME.fullmatch(read[1]):
        raise UsageError(f"{where}: {_why_no_host(text)}")
    digits = next((group for group in read.groups()[1:] if group), None)
    if digits is None:
        return Host(read[1])
    # Not more digits than can be right: Python refuses to read thousands.
    slots = int(digits[-6:]) if len(digits.lstrip("0")) <= 6 else MOST + 1
    if not 1 <= slots <= MOST:
        raise UsageError(
            f"{where}: {read[1]} can't take {digits[:20]} ranks: give 1 to {MOST} slots, as in "
            f"{read[1]}:4"
        )
    return Host(read[1], slots)


def _why_no_host(text: str) -> str:
    """Return what is wrong with a word or a line that can't be read."""
    user, at, name = text.partition("@")
    if at and NAME.fullmatch(user) and LINE.fullmatch(name):
        return (
            f"{text!r} has a user's name in it: write the host alone, and `User {user}` for it in "
            f'~/.ssh/config, or give --agent "ssh -l {user}"'
        )
    if rest := REST.fullmatch(text):
        name, words = rest[1], rest[rest.lastindex or 0]
        return f"{words!r} behind {name} is not understood; write {name} or, with 4 slots, {name}:4"
    return f"{text!r} is not a host; write n1 or, with 4 slots, n1:4"


def _merged(hosts: Sequence[Host]) -> list[Host]:
    """Return each host once: named several times, it has a slot more for each."""
    times = Counter(host.name for host in hosts)
    slots: dict[str, int | None] = {}
    for host in hosts:
        more = host.slots if host.slots or times[host.name] == 1 else 1
        before = slots.get(host.name)
        slots[host.name] = more if before is None else before + (more or 1)
    return [Host(name, number) for name, number in slots.items()]
