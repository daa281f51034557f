"""What a kind of input is: how a case of it is made, and how its outcome is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz.trial import Outcome

__all__ = ["Case", "Kind", "nothing_more"]


def nothing_more(outcome: Outcome) -> str:
    """Judge nothing but what holds for all commands."""
    return ""


@dataclass(frozen=True)
class Case:
    """One command, and a function that says what is wrong with its outcome ("" for nothing)."""

    argv: list[str]
    judge: Callable[[Outcome], str] = nothing_more


@dataclass(frozen=True)
class Kind:
    """A kind of input; it has a case in every round whose number `every` divides."""

    name: str
    make: Callable[[Random, Path, Path], Case]
    """(random numbers, folder of the whole inputs, an empty folder for this case) → the case."""
    every: int = 1
