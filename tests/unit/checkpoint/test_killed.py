"""SIGKILL at any moment of a save: what loads afterwards is what was saved before, or just then."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from disttrain.checkpoint import Snapshot
from tests.unit.checkpoint.saver import Saver

Make = Callable[..., Snapshot]
KEEP = 2


def improves(step: int) -> bool:
    """Return whether the state of `step` is the best so far."""
    return step % 3 == 1


def saves(path: Path, make: Make, first: int, say: int) -> None:
    """Save states without end, saying each one before and after (never returns)."""
    saver = Saver(path, make, KEEP)
    saver.best[first - 1] = max((s for s in range(first) if improves(s)), default=0)
    for step in range(first, 10**6):
        os.write(say, f"{step} ".encode())
        saver.save(step, improves(step))
        os.write(say, f"{step}! ".encode())


def killed_after(seconds: float, path: Path, make: Make, first: int) -> list[str]:
    """Let a child save from state `first` on for so long; return what it said."""
    listen, say = os.pipe()
    child = os.fork()
    if not child:
        try:
            saves(path, make, first, say)
        finally:
            os._exit(1)
    os.close(say)
    said = os.read(listen, 1 << 16)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    while part := os.read(listen, 1 << 16):
        said += part
    os.close(listen)
    return said.decode().split()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("times", [20, pytest.param(300, marks=pytest.mark.long)])
def test_killed_at_random_moments(tmp_path: Path, make: Make, times: int) -> None:
    random_delay = random.Random(times)
    made, newest, inside, old, new = Saver(tmp_path / "run", make, KEEP), 0, 0, 0, 0
    for _ in range(times):
        said = killed_after(random_delay.uniform(0, 0.06), tmp_path / "run", make, newest + 1)
        announced = max(int(word.strip("!")) for word in said)
        done = max([int(word[:-1]) for word in said if word.endswith("!")], default=newest)
        for step in range(max(1, newest), announced + 1):
            made.know(step, max(s for s in range(step + 1) if improves(s)))
        newest = made.check(tmp_path / "run", {done, announced})
        inside += announced > done
        old += announced > done == newest
        new += announced > done < newest
    assert inside > times // 3
    assert times < 100 or (old and new)
