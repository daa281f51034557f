"""Ranks by host, by computer, by what they have, and how they are named in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from disttrain.launch.doctor.facts import Facts

__all__ = ["by", "by_host", "by_machine", "named", "one_per_host", "shown"]

Key = TypeVar("Key", bound=Hashable)


def by(ranks: Iterable[Facts], key: Callable[[Facts], Key]) -> dict[Key, list[Facts]]:
    """Return the ranks in groups of equal `key`, both in the order of ranks."""
    groups: dict[Key, list[Facts]] = {}
    for rank in ranks:
        groups.setdefault(key(rank), []).append(rank)
    return groups


def by_host(ranks: Iterable[Facts]) -> dict[str, list[Facts]]:
    """Return the ranks of each host name."""
    return by(ranks, lambda rank: rank.host)


def by_machine(ranks: Iterable[Facts]) -> list[list[Facts]]:
    """Return the ranks of each computer: containers on one of them share its cores and GPUs."""
    return list(by(ranks, lambda r: (r.machine and r.machine.boot) or r.host).values())


def one_per_host(ranks: Iterable[Facts]) -> list[Facts]:
    """Return the first rank of each host."""
    return [group[0] for group in by_host(ranks).values()]


def named(ranks: Sequence[Facts]) -> str:
    """Return the ranks as words, as in "ranks 0-2 and 5 on n0, n1"."""
    runs: list[list[int]] = []
    for number in sorted(rank.rank for rank in ranks):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    word = "rank" if len(ranks) == 1 else "ranks"
    return f"{word} {shown(parts)} on {shown(list(by_host(ranks)))}"


def shown(parts: Sequence[str], most: int = 6) -> str:
    """Return the parts with commas between them; of many, the first ones and how many more."""
    more = f" and {len(parts) - most} more" if len(parts) > most else ""
    return ", ".join(parts[:most]) + more
