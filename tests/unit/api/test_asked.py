"""What a script is told of missing targets, and what it does when it is asked to stop."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import disttrain

X = np.random.default_rng(0).normal(size=(60, 3))
NAMES = ["a", "b", "c"] * 20


class Asks(disttrain.Callback):
    """Sends a signal to this process in a step."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def on_step(self, run: disttrain.Run, step: int) -> None:
        """Send it in the fifth step."""
        if step == 5:
            os.kill(os.getpid(), self._number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_script_that_is_asked_to_stop_saves_and_goes_on_to_the_same_bits(
    tmp_path: Path, number: signal.Signals
) -> None:
    keys: dict[str, Any] = {"layers": [4, 3], "epochs": 6, "batch_size": 10, "progress": False}
    # A shell that starts the tests in the background has them ignore INT.
    default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, default)
    try:
        with pytest.raises(disttrain.Preempted, match="asked to stop after step"):
            disttrain.train(
                disttrain.Data(X, NAMES), tmp_path / "run", callbacks=[Asks(number)], **keys
            )
        assert signal.getsignal(number) == default
    finally:
        signal.signal(number, before)
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "preempted"
    resumed = disttrain.train(disttrain.Data(X, NAMES), tmp_path / "run", resume=True, **keys)
    whole = disttrain.train(disttrain.Data(X, NAMES), tmp_path / "whole", **keys)
    assert resumed.summary["digest"] == whole.summary["digest"]


def test_a_handler_of_a_script_s_own_stays(tmp_path: Path) -> None:
    came = []
    before = signal.signal(signal.SIGUSR1, lambda *_: came.append(1))
    try:
        model = disttrain.train(
            disttrain.Data(X, NAMES), layers=[4, 3], epochs=2, batch_size=10, progress=False,
            callbacks=[Asks(signal.SIGUSR1)],
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert came == [1]
    assert model.summary["status"] == "completed"


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan])
@pytest.mark.parametrize("form", [list, lambda y: np.array(y, object)])
def test_a_missing_class_is_no_class(missing: Any, form: Any) -> None:
    names = list(NAMES)
    names[7] = missing
    with pytest.raises(disttrain.DataError, match=r"train targets: 1 of 60 .* first at place 7 "):
        disttrain.train(disttrain.Data(X, form(names)), layers=[3], progress=False)


def test_a_missing_number_is_told_by_its_place_and_missing_is_for_frames() -> None:
    y = np.random.default_rng(1).normal(size=60)
    y[9] = np.nan
    with pytest.raises(disttrain.DataError, match=r"first at place 9 "):
        disttrain.train(disttrain.Data(X, y), layers=[1], progress=False)
    holes = X.copy()
    holes[3, 1] = np.nan
    with pytest.raises(disttrain.DataError, match="missing= is for DataFrames"):
        disttrain.train(disttrain.Data(holes, NAMES, missing="mean"), layers=[3], progress=False)


def test_advice_about_a_column_of_a_frame_names_what_a_script_can_do() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": [f"k{i}" for i in range(60)], "x": X[:, 0]})
    with pytest.raises(disttrain.DataError, match=r"drop\(columns='id'\)") as caught:
        disttrain.train(disttrain.Data(frame, NAMES), layers=[3], progress=False)
    assert "categories=" not in str(caught.value)
    assert "--" not in str(caught.value)
