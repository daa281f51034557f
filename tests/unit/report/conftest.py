"""Small finished runs to draw: classes of two inputs, functions of one and of two, images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from disttrain.comm.alone import Alone
from disttrain.config import parse
from disttrain.report.subject import Subject
from disttrain.runs import train

RUN_FILE = """
data.normalize = "standardize"
training = { epochs = 4, batch_size = 16 }
checkpoint.keep = 10
device.kind = "cpu"
"""


def classes(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return samples of two numbers of very different size, in two classes."""
    random = np.random.default_rng(seed)
    targets = np.arange(rows) % 2
    centers = np.array([[100.0, 0.001], [130.0, 0.003]])
    return centers[targets] + random.normal(size=(rows, 2)) * [9, 0.0005], targets


def function(rows: int, seed: int, inputs: int = 1, outputs: int = 1) -> Any:
    """Return samples of a smooth function."""
    x = np.random.default_rng(seed).uniform(-2, 2, (rows, inputs))
    return x, np.sin(x.sum(axis=1, keepdims=True) + np.arange(outputs))


def images(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images of 6 x 5 pixels in three classes."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (rows, 6, 5), dtype=np.uint8), np.arange(rows) % 3


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function: the folder of a run of a kind of data, trained when first asked for."""
    folder, done = tmp_path_factory.mktemp("runs"), {}

    def run(kind: str, layers: str = '{ units = 2, activation = "tanh" }, { units = 2 }', *more):
        name = f"{kind}-{len(done)}"
        if (kind, layers, more) in done:
            return done[kind, layers, more]
        make = {
            "classes": classes,
            "line": function,
            "lines": lambda n, s: function(n, s, 1, 2),
            "plane": lambda n, s: function(n, s, 2),
            "planes": lambda n, s: function(n, s, 2, 2),
            "images": images,
        }[kind]
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file.attrs.update(format="disttrain-data", version=1)
            for seed, split in enumerate(("train", "test")):
                file[f"{split}/inputs"], file[f"{split}/targets"] = make(60, seed)
        loss = (
            'model.loss = "softmax"' if kind in ("classes", "images") else 'model.loss = "squared"'
        )
        text = f"{RUN_FILE}\n{loss}\nmodel.layers = [{layers}]"
        settings = parse(text, [f"data.path={folder / f'{name}.h5'}", f"name={name}", *more])
        train(settings, folder / name, Alone())
        return done.setdefault((kind, layers, more), folder / name)

    return run


@pytest.fixture
def subject(runs: Callable[..., Path]) -> Callable[..., Subject]:
    """Return a function: a run of a kind of data as the pictures see it."""
    return lambda *kind: Subject(runs(*kind))
