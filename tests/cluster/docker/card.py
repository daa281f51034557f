"""The score-card: a line for each scenario, and one at the end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Card", "Failed", "Skipped", "expect"]


class Failed(Exception):
    """A scenario did not end as it must; the message says how."""


class Skipped(Exception):
    """A scenario can't be played here; the message says why."""


def expect(holds: bool, what: str) -> None:
    """Raise Failed with `what` unless it holds."""
    if not holds:
        raise Failed(what)


class Card:
    """Plays scenarios, each within its own limit and all within `seconds`; prints and counts."""

    def __init__(self, seconds: float, say: Callable[[str], None] = print) -> None:
        self._end, self._say = time.monotonic() + seconds, say
        self.passed, self.failed, self.skipped = 0, 0, 0

    def play(self, name: str, limit: float, scenario: Callable[[], str]) -> bool:
        """Play a scenario, which returns a detail to print; return False where it failed."""
        began = time.monotonic()
        try:
            if began >= self._end:
                raise Failed("not played: the time for the whole card is over")
            with _within(min(limit, self._end - began)):
                word, detail = "ok", scenario()
            self.passed += 1
        except Skipped as reason:
            word, detail = "skipped", str(reason)
            self.skipped += 1
        except Exception as error:
            # Whatever goes wrong in a scenario, also in the harness, is one that has failed.
            kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
            word, detail = "FAILED", f"{kind}{error}"
            self.failed += 1
        self._say(f"{name} ... {word} {time.monotonic() - began:.1f} s {detail}".rstrip())
        return word != "FAILED"

    def close(self) -> int:
        """Print the last line and return the exit code: 0 where something passed, none failed."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        self._say(f"{self.passed} passed, {self.failed} failed{skipped}")
        return 0 if self.passed and not self.failed else 1


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise Failed in the body, also while it waits for a process, once the time is over."""

    def late(number: int, frame: FrameType | None) -> None:
        raise Failed(f"did not end within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
