"""A timeline: what a rank did when, from its phases, as events in the form of Chrome's traces."""

from __future__ import annotations

import json
import time

__all__ = ["TITLE", "Timeline"]

# How the text of a file of all ranks begins.
TITLE = '{"displayTimeUnit": "ms", "traceEvents": ['
# Spans of one rank: some 30,000 steps. What comes later is left out.
MOST = 200_000
# What the time of a phase went into, by how the name of the phase begins; else it is "other".
WORDS = {
    "reading": "reading", "opening data": "reading", "normalizing": "reading",
    "forward": "compute", "backward": "compute", "gradients": "compute", "update": "compute",
    "waiting for the rows": "sum", "waiting for the sum": "sum", "waiting": "waiting",
    "validation": "validation", "scoring": "validation", "saving": "checkpoint",
    "comparing replicas": "audit",
}  # fmt: skip


class Timeline:
    """The spans of time of one rank: reading, compute, waiting, sum, validation, checkpoint, audit.

    A span lasts until the next one begins. Times are those of this process's monotonic clock, shown
    as those of the host's clock. `step` is the update that is under way.
    """

    def __init__(self, rank: int, host: str) -> None:
        self._rank, self._host = rank, host
        self._wall = time.time() - time.monotonic()
        self._spans: list[tuple[str, str, int, float, float]] = []
        self._word, self._phase, self._since = "other", "starting", time.monotonic()
        self.step = 0

    @property
    def is_full(self) -> bool:
        """Whether later spans are left out."""
        return len(self._spans) >= MOST

    def enter(self, phase: str) -> None:
        """Begin the span of a phase, as the watch names it; the same one again goes on."""
        self.begin(next((w for name, w in WORDS.items() if phase.startswith(name)), "other"), phase)

    def begin(self, word: str, phase: str) -> None:
        """Begin a span of `phase` that counts as `word`."""
        if phase == self._phase:
            return
        now = time.monotonic()
        if not self.is_full:
            self._spans.append((self._word, self._phase, self.step, self._since, now))
        self._word, self._phase, self._since = word, phase, now

    def events(self) -> str:
        """Return the spans as JSON objects behind each other: microseconds, and `pid` the rank."""
        self.begin("other", "ending")
        name = {"name": f"rank {self._rank} on {self._host}"}
        found = [{"name": "process_name", "ph": "M", "pid": self._rank, "tid": 0, "args": name}]
        found += [
            {
                "name": word, "cat": word, "ph": "X", "pid": self._rank, "tid": 0,
                "ts": round((begin + self._wall) * 1e6, 1), "dur": round((end - begin) * 1e6, 1),
                "args": {"phase": phase, "step": step},
            }
            for word, phase, step, begin, end in self._spans
        ]  # fmt: skip
        return ",\n".join(map(json.dumps, found))
