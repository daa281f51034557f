"""Requests to stop: USR1, TERM and INT mean "save and end", a second INT "end now"."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["ASKED", "Preemption", "say_killed"]


def say_killed(then: str = "; --resume goes on from what was saved") -> None:
    """Print on standard error that a second Ctrl-C ends it at once, and what can be done `then`.

    By one write of the system's, since a handler may come in the middle of another print.
    """
    if sys.__stderr__ is not None:  # else its number may be that of another file
        with contextlib.suppress(OSError):
            os.write(2, f"disttrain: interrupted twice: ended at once{then}\n".encode())


class Preemption:
    """Remembers that this rank was asked to stop; the next step tells all ranks.

    `listen` sets the handlers; it is called first thing, before the slow imports, so that a signal
    during start-up is not lost. Code 130 is the shell's for an end by INT.
    """

    def __init__(self) -> None:
        self.signal: str | None = None
        self._interrupts = 0

    def listen(self) -> None:
        """Take USR1, TERM and INT from now on (main thread only)."""
        for name in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._asked)

    @contextlib.contextmanager
    def heard(self, interactive: bool) -> Iterator[None]:
        """Take meanwhile those of them for which a script has no handlers of its own.

        Where it is `interactive` INT is left alone: it ends a cell or a statement.
        """
        before = {}
        if threading.current_thread() is threading.main_thread():
            for name in (signal.SIGUSR1, signal.SIGTERM, *[signal.SIGINT] * (not interactive)):
                if signal.getsignal(name) in (signal.SIG_DFL, signal.default_int_handler):
                    before[name] = signal.signal(name, self._asked)
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts > 1:
                say_killed()
                os._exit(130)
        self.signal = signal.Signals(number).name
        # Only where it is there: a signal comes in the middle of another import too, and one begun
        # there would find modules half made.
        if note := getattr(sys.modules.get("disttrain.journal"), "note", None):
            note("signal", signal=self.signal)


# The process's own: set up by `disttrain train` before anything else is imported.
ASKED = Preemption()
