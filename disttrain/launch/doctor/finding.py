"""A finding and its cure, and how a check is written: a function from all ranks' facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from disttrain.launch.doctor.facts import Facts

__all__ = ["SEVERITIES", "Check", "Finding", "Seen", "check", "seen"]

# What breaks a training or its promises; what makes it slow or risky; what is good to know.
SEVERITIES = ("problem", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """What is wrong, on which ranks and hosts, and what to do about it, a sentence each."""

    name: str
    severity: str
    what: str
    cure: str
    ranks: tuple[int, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What a check found: the ranks, the sentence, and what its cure's {names} stand for."""

    ranks: Sequence[Facts]
    what: str
    values: dict[str, object]


Look = Callable[[Sequence["Facts"]], Iterator[Seen]]


@dataclass(frozen=True)
class Check:
    """One thing that can be found: its name, how bad it is, when it is found, and the cure."""

    name: str
    severity: str
    when: str
    cure: str
    look: Look

    def findings(self, ranks: Sequence[Facts]) -> Iterator[Finding]:
        """Yield what is found in the facts of all ranks, rank 0 first."""
        for found in self.look(ranks):
            yield Finding(
                self.name,
                self.severity,
                found.what,
                self.cure.format(**found.values),
                tuple(r.rank for r in found.ranks),
                tuple(dict.fromkeys(r.host for r in found.ranks)),
            )


def check(severity: str, cure: str) -> Callable[[Look], Check]:
    """Make a check of a function: its name and the first line of its docstring are the check's.

    `cure` may hold {names}, for which `seen` gives the values.
    """

    def made(look: Look) -> Check:
        """Return the function as a check."""
        name = look.__name__.replace("_", "-")
        when = (look.__doc__ or "").splitlines()[0].rstrip(".")
        return Check(name, severity, when, cure, look)

    return made


def seen(ranks: Sequence[Facts], what: str, **values: object) -> Seen:
    """Return what a check found on `ranks`; `values` are for the names in its cure."""
    return Seen(ranks, what, values)
