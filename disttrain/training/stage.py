"""How far the work that follows a step is, so that another rank can go on with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from disttrain.checkpoint.state import State

__all__ = ["Done", "Stage"]


class Done(IntEnum):
    """What has been done since the newest step, in its order."""

    STEPPED = 0
    AUDITED = 1
    CLOSED = 2
    SAVED = 3
    SCORING = 4


@dataclass
class Stage:
    """The point between two stretches of steps, and what is known there.

    `asked` where a rank was asked to stop, `improved` where the interval that ends is the best so
    far; `before` is the state at the begin of the validation, where ranks may die in it; `told` the
    step up to which callbacks have had their reports; `digest` that of a training that is done.
    `spare` on a rank that waits, and so is behind whatever its step is.
    """

    done: Done = Done.SAVED
    asked: bool = False
    improved: bool = False
    before: State | None = None
    told: int = -1
    digest: str | None = None
    spare: bool = False
