"""A run on a device with memory of its own has the same bits as a run on the processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import disttrain
from disttrain.data.writer import write_data_file
from disttrain.training import build as build_module
from tests.gpu.stand_in import StandIn

OPTIMIZERS: list[dict[str, Any]] = [
    {"kind": "sgd"},
    {"kind": "adam"},
    {"kind": "adamw"},
    {"clip_norm": 0.1},
]


@pytest.fixture
def settings(tmp_path: Path) -> disttrain.Settings:
    random = np.random.default_rng(0)
    classes = np.arange(300) % 3
    inputs = (random.integers(0, 80, (300, 12)) + classes[:, None] * 40).astype("uint8")
    write_data_file(tmp_path / "data.h5", {"train": (inputs, classes), "test": (inputs, classes)})
    return disttrain.parse(f"""
        [data]
        path = "{tmp_path / "data.h5"}"
        normalize = "standardize"
        [model]
        layers = [{{ units = 9, activation = "tanh" }}, {{ units = 7, activation = "relu" }},
                  {{ units = 3 }}]
        [training]
        epochs = 3
        batch_size = 32
        [communication]
        bucket_mib = 0.0001
    """)


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_same_bits_as_on_the_processor(
    settings: disttrain.Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str,
    optimizer: dict[str, Any],
) -> None:  # fmt: skip
    settings = settings.replace(optimizer=optimizer, schedule={"learning_rate": 0.02})
    # What a GPU takes by itself: sharing products is for processors.
    settings = settings.replace(reproducibility={"mode": mode, "arithmetic": "leaves"})
    plain = disttrain.train(settings, tmp_path / "cpu").summary
    monkeypatch.setattr(build_module, "choose", lambda *_: StandIn())
    if mode == "exact":
        settings = settings.replace(reproducibility={"mode": mode})
    moved = disttrain.train(settings, tmp_path / "gpu").summary
    assert moved["environment"]["device"] == "stand-in"
    for key in ("digest", "validation", "test", "best_step"):
        assert moved[key] == plain[key]


def test_a_checkpoint_moves_between_devices(
    settings: disttrain.Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = settings.replace(schedule={"kind": "step"})
    straight = disttrain.train(settings, tmp_path / "cpu").summary
    short = settings.replace(training={"epochs": 1})
    with monkeypatch.context() as patch:
        patch.setattr(build_module, "choose", lambda *_: StandIn())
        disttrain.train(short, tmp_path / "moved")
    longer = disttrain.train(settings, tmp_path / "moved", resume=True).summary
    assert longer["digest"] == straight["digest"]


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_layers_for_images_have_the_bits_that_they_have_on_the_processor(
    settings: disttrain.Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str
) -> None:
    layers = [
        {"kind": "conv", "filters": 3, "size": 3}, {"kind": "batch-norm"}, {"kind": "max-pool"},
        {"kind": "layer-norm"}, {"kind": "dropout"}, {"units": 3},
    ]  # fmt: skip
    settings = settings.replace(
        model={"layers": layers}, reproducibility={"mode": mode, "arithmetic": "leaves"}
    )
    plain = disttrain.train(settings, tmp_path / "cpu").summary
    monkeypatch.setattr(build_module, "choose", lambda *_: StandIn())
    moved = disttrain.train(settings, tmp_path / "gpu").summary
    assert moved["environment"]["device"] == "stand-in"
    assert moved["digest"] == plain["digest"]
    assert moved["test"] == plain["test"]
