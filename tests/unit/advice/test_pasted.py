"""The advice of a diagnosis, pasted into the run that got it, makes that run better."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import disttrain
from tests.conftest import blobs

KEY = re.compile(r"(\w+)\.(\w+) = (\"[^\"]*\"|[\d.e-]+)")
SHARED: dict[str, Any] = {"layers": [{"units": 16, "activation": "relu"}, 3], "device": "cpu"}


def advised(said: list[str]) -> dict[str, Any]:
    """Return the first key that a diagnosis advises, as a keyword."""
    section, key, value = KEY.findall(" ".join(said))[0]
    return {section: {key: value.strip('"') if value[0] == '"' else float(value)}}


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("falls very slowly", {"learning_rate": 1e-5}),
        ("is small for batches of 16", {"learning_rate": 0.001}),
        ("few updates: 200 rows", {"protocol": "batch", "learning_rate": 0.01}),
        ("few updates: 128 rows", {"batch_size": 128, "learning_rate": 0.003}),
        ("it overfits", {"epochs": 60, "learning_rate": 0.05}),
    ],
)
def test_pasted_advice_makes_a_run_better(words: str, keys: dict[str, Any]) -> None:
    random = np.random.default_rng(3)
    x, y = blobs(400, 1)
    x = np.hstack([0.4 * x, random.normal(size=(400, 20))]) + random.normal(size=(400, 24))
    data = disttrain.Data(x[:200], y[:200], validation=(x[200:], y[200:]))
    before = disttrain.train(data, progress=False, **SHARED, **keys).summary
    assert any(words in line for line in before["diagnosis"]), before["diagnosis"]
    advice = advised([line for line in before["diagnosis"] if words in line])
    sections = {
        "training": {"epochs", "batch_size", "protocol"}, "schedule": {"learning_rate"},
    }  # fmt: skip
    asked: dict[str, dict[str, Any]] = {}
    for section, own in sections.items():
        asked[section] = {key: value for key, value in keys.items() if key in own}
    for section, values in advice.items():
        asked.setdefault(section, {}).update(
            {k: int(v) if k in ("epochs", "batch_size") else v for k, v in values.items()}
        )
    after = disttrain.train(data, progress=False, **SHARED, **asked).summary
    assert after["validation"]["loss"] < before["validation"]["loss"]
