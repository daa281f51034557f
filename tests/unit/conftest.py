from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from disttrain.comm.alone import Alone
from disttrain.config import Settings
from disttrain.errors import Preempted
from disttrain.runs import train
from disttrain.training import Callback, Run, build_run

# No test asserts a time: also not that one example takes less than 200 ms on a busy machine.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


class Listener(Callback):
    """Keeps what it is told; asks the run to stop at step `stop_at`."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.told: list[str] = []
        self.messages: list[str] = []
        self.steps: list[int] = []

    def on_start(self, run: Any) -> None:
        self.told.append("start")

    def on_step(self, run: Any, step: int) -> None:
        self.steps.append(step)
        if step == self.stop_at:
            run.preemption.signal = "SIGUSR1"

    def on_interval(self, run: Any, report: Any) -> None:
        self.told.append(f"interval {report.step}")

    def on_message(self, line: str) -> None:
        self.messages.append(line)

    def on_end(self, run: Any, summary: dict[str, Any]) -> None:
        self.told.append(f"end {summary['status']}")


@pytest.fixture
def listen() -> type[Listener]:
    return Listener


@pytest.fixture
def go(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that trains settings in the folder `name` and returns the summary."""

    def start(settings: Settings, name: str = "run", **more: Any) -> dict[str, Any]:
        return train(settings, tmp_path / name, Alone(), **more)

    return start


@pytest.fixture
def interrupted(
    go: Callable[..., dict[str, Any]],
) -> Callable[..., Listener]:
    """Return a function that trains until it is asked to stop in step `at`."""

    def start(settings: Settings, at: int, name: str = "run", **more: Any) -> Listener:
        listener = Listener(at)
        with pytest.raises(Preempted):
            go(settings, name, callbacks=[listener], **more)
        return listener

    return start


@pytest.fixture
def build(settings: Callable[..., Settings]) -> Callable[..., Run]:
    """Return a function that builds a run in memory, ready for `fit`."""

    def make(*changes: str, **more: Any) -> Run:
        run = build_run(settings(*changes), Alone(), **more)
        run.restore(None)
        return run

    return make


def metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the intervals of a run without what the clock says."""
    clock = {"seconds", "samples_per_second"}
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in clock} for line in lines]


@pytest.fixture(name="metrics")
def _metrics() -> Callable[[Path], list[dict[str, Any]]]:
    return metrics
