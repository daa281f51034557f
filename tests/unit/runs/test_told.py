"""What a run tells people by itself: equal weights at the start, a diagnosis at the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import disttrain
from disttrain.data.writer import write_data_file


class Ears(disttrain.Callback):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_message(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def settings(tmp_path: Path) -> disttrain.Settings:
    random = np.random.default_rng(0)
    classes = np.arange(200) % 2
    inputs = (random.standard_normal((200, 3)) + classes[:, None]).astype("f4")
    write_data_file(tmp_path / "data.h5", {"train": (inputs, classes), "test": (inputs, classes)})
    return disttrain.parse(f"""
        [data]
        path = "{tmp_path / "data.h5"}"
        [model]
        layers = [{{ units = 4, activation = "tanh" }}, {{ units = 2 }}]
        [training]
        epochs = 4
    """)


def equal(settings: disttrain.Settings) -> disttrain.Settings:
    layers = [
        {"units": 4, "activation": "tanh", "initializer": "constant", "scale": 0.1},
        {"units": 2, "initializer": "constant", "scale": 0.1},
    ]
    return settings.replace(model={"layers": layers})


def test_equal_weights_are_warned_about_with_the_reason(
    settings: disttrain.Settings, tmp_path: Path
) -> None:
    ears = Ears()
    disttrain.train(equal(settings), tmp_path / "run", callbacks=[ears])
    (warning,) = [line for line in ears.lines if line.startswith("warning: ")]
    assert "dense1" in warning
    quiet = Ears()
    disttrain.train(settings, tmp_path / "other", callbacks=[quiet])
    assert not [line for line in quiet.lines if line.startswith("warning: ")]


def test_a_diagnosis_stands_in_the_summary(settings: disttrain.Settings, tmp_path: Path) -> None:
    calm = disttrain.train(settings, tmp_path / "calm").summary
    assert calm["diagnosis"], "at least one sentence"
    slow = settings.replace(schedule={"learning_rate": 1e-6, "kind": "constant"})
    sentences = disttrain.train(slow, tmp_path / "slow").summary["diagnosis"]
    assert any("learning_rate" in sentence or "rate" in sentence for sentence in sentences)
    assert sentences != calm["diagnosis"]
