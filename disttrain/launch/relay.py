"""Passes on what mpirun prints into pipes, so that a reader who goes away does not end it.

mpirun ends all ranks at once where it can't write any more, as in `disttrain launch ... | head`.
"""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from collections.abc import Callable
from typing import IO

__all__ = ["Relay"]

# Bytes of one reading; seconds to pass on what is left when mpirun has ended.
CHUNK, REST = 1 << 16, 5.0


class Relay:
    """What `Popen` gets for mpirun's output and error output, and the threads that read them."""

    def __init__(self, unread: Callable[[], None]) -> None:
        """Call `unread` once for each of them whose reader has gone."""
        self._unread = unread
        self.output, self.error = (_ours(number) for number in (1, 2))
        self._threads: list[threading.Thread] = []

    def start(self, job: subprocess.Popen[bytes]) -> None:
        """Pass on what `job` prints."""
        for stream, number in ((job.stdout, 1), (job.stderr, 2)):
            if stream is not None:
                thread = threading.Thread(target=self._pass_on, args=(stream, number), daemon=True)
                thread.start()
                self._threads.append(thread)

    def finish(self) -> None:
        """Wait until all is passed on; a process that outlives mpirun may keep the pipe open."""
        for thread in self._threads:
            thread.join(REST)

    def _pass_on(self, stream: IO[bytes], number: int) -> None:
        read = True
        while content := os.read(stream.fileno(), CHUNK):
            while read and content:
                try:
                    content = content[os.write(number, content) :]
                except OSError:
                    read = False
                    self._unread()


def _ours(number: int) -> int | None:
    """Return `PIPE` where our own stream is a pipe, None where mpirun can have it as it is."""
    try:
        mode = os.fstat(number).st_mode
    except OSError:
        return None
    return subprocess.PIPE if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else None
