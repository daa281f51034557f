"""A small process beside `disttrain launch` that acts when the launch is stopped or killed.

It is given the launch's process, mark, place for files, and folder of signs. It reads standard
input, whose other end only the launch has. A word there means that the launch is over and has
cleaned up; an end without a word that it was killed: then its processes and files on this host are
removed here. A launch that a signal stopped is asked to end as if by TERM, so that its ranks save.
What stops both, like Ctrl-Z or a scheduler that suspends the job, ends nothing.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from disttrain.launch import leftovers
from disttrain.stopped import bearable, is_stopped

__all__ = ["Sentinel"]

# Seconds between two looks; and that it may take to end.
LOOK, LONGEST = 1.0, 10.0
SENT_TO_THE_LAUNCH = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1
)  # fmt: skip


class Sentinel:
    """The process, seen from the launch; `close` ends it."""

    def __init__(self, mark: str, base: str, folder: Path | None) -> None:
        words = [str(os.getpid()), mark, base, *([str(folder)] if folder else [])]
        # The process has this mask from its first instruction: Ctrl-C in a terminal is sent to it
        # too, and an interpreter that is still starting would end with a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SENT_TO_THE_LAUNCH)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from {__name__} import main; main()", *words],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def close(self) -> None:
        """Tell it through its pipe that the launch is over, and wait for its end."""
        try:
            self._process.communicate(b"done", LONGEST)
        except (OSError, subprocess.TimeoutExpired):
            # It was stopped or killed.
            self._process.kill()
            self._process.wait()


def attend(pid: int, mark: str, base: str, folder: str) -> None:
    """Watch over the launch `pid` until it is over."""
    limit, looks = bearable(), 0
    while True:
        ready, _, _ = select.select([0], [], [], LOOK)
        if ready:
            break
        # Looks are counted, not seconds: where both processes are stopped, the count stops too.
        looks = looks + 1 if is_stopped(pid) else 0
        if looks * LOOK >= limit:
            looks = 0
            said = (
                f"disttrain: `disttrain launch` (process {pid}) was stopped by a signal "
                f"{limit:g} s ago, and not continued: it ends here as if asked to stop\n"
            )
            with contextlib.suppress(OSError):
                os.write(2, said.encode())
            for number in (signal.SIGTERM, signal.SIGCONT):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
    if not os.read(0, 1):
        leftovers.clean(mark, base)
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Run the sentinel."""
    pid, mark, base, *folder = sys.argv[1:]
    attend(int(pid), mark, base, *(folder or [""]))
