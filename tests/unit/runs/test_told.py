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


def test_patience_without_validation_rows_is_said(
    tmp_path: Path, settings: disttrain.Settings
) -> None:
    def heard(*, fraction: float) -> list[str]:
        ears, folder = Ears(), tmp_path / f"run{fraction}"
        disttrain.train(
            settings, folder, epochs=1, patience=2, validation_fraction=fraction, callbacks=[ears]
        )
        return [line for line in ears.lines if "validation.patience" in line]

    (line,) = heard(fraction=0.0)
    assert "has no validation rows" in line
    assert "data.validation_fraction" in line
    assert heard(fraction=0.1) == []


def test_a_finished_run_that_is_resumed_with_other_data_says_so(
    tmp_path: Path, settings: disttrain.Settings
) -> None:
    def resumed() -> list[str]:
        ears = Ears()
        again = disttrain.train(settings, tmp_path / "run", resume=True, callbacks=[ears])
        assert again.summary["digest"] == first.summary["digest"]
        return [line for line in ears.lines if "is not the data" in line]

    first = disttrain.train(settings, tmp_path / "run", epochs=1)
    settings = first.settings
    assert resumed() == []
    inputs, classes = np.random.default_rng(1).normal(size=(200, 3)), np.arange(200) % 2
    write_data_file(Path(settings.data.path), {"train": (inputs, classes)})
    (line,) = resumed()
    assert line.startswith(f"{settings.data.path} is not the data that this run was trained on")
    Path(settings.data.path).unlink()
    assert resumed() == []
