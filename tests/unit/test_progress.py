"""What a training prints where nobody watches a bar."""

from pathlib import Path
from types import SimpleNamespace as Made
from typing import Any

import pytest

from disttrain.api import progress


def test_a_long_interval_without_a_terminal_is_not_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress, "time", Made(monotonic=lambda: clock[0]))
    shown = progress.Progress(Path("out"), as_json=False)
    state = Made(samples=640, weight=640.0, seconds=2.0, loss=320.0, correct=480.0)
    run: Any = Made(
        state=state, epoch=0.25, total_steps=2000, loss_unit=1.0, dataset=Made(classes=3),
        settings=Made(training=Made(epochs=20)),
    )  # fmt: skip
    shown._due = clock[0] + progress.FIRST
    for seconds in range(90):
        clock[0] = 100.0 + seconds
        shown.on_step(run, 500 + seconds)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"epoch   0.25/20  step {step} of 2,000  320 samples/s  loss 0.5000  accuracy 0.7500"
        for step in (511, 572)
    ]
