"""Small data files and settings that many tests begin from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from disttrain.config import Settings, parse


def named_in(file: str) -> frozenset[str]:
    """Return the tests that a list beside this file names."""
    lines = (Path(__file__).parent / file).read_text().splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


LISTS = {"long": named_in("long.txt"), "exhaustive": named_in("exhaustive.txt")}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that the lists name: before -m chooses among them."""
    for item in items:
        for mark, names in LISTS.items():
            if item.nodeid in names:
                item.add_marker(mark)


RUN_FILE = """
model.layers = [{ units = 8, activation = "tanh" }, { units = 3 }]
model.loss = "softmax"
data.normalize = "mean-image"
data.block_rows = 8
training.epochs = 4
training.batch_size = 16
schedule.kind = "constant"
schedule.learning_rate = 0.05
device.kind = "cpu"
"""


@pytest.fixture
def write_data(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a data file; a split is (inputs, targets[, weights])."""

    def write(
        name: str = "data.h5", attributes: dict[str, Any] | None = None, **splits: Any
    ) -> str:
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            file.attrs.update({"format": "disttrain-data", "version": 1} | (attributes or {}))
            for split, arrays in splits.items():
                for name, array in zip(("inputs", "targets", "weights"), arrays, strict=False):
                    file[f"{split}/{name}"] = array
        return str(path)

    return write


def blobs(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 samples of four numbers in three classes that lie far apart."""
    random = np.random.default_rng(seed)
    targets = np.arange(rows) % 3
    centers = np.array([[6, 0, 0, 1], [0, 6, 0, 1], [0, 0, 6, 1]])
    return (centers[targets] + random.normal(size=(rows, 4))).astype("f4"), targets


@pytest.fixture
def data_path(write_data: Callable[..., str]) -> str:
    """Return a data file of 110 training and 30 test samples in three classes."""
    return write_data(train=blobs(110, 1), test=blobs(30, 2))


@pytest.fixture
def settings(data_path: str) -> Callable[..., Settings]:
    """Return a function: settings for `data_path` with changes like those of --set."""

    def make(*changes: str) -> Settings:
        return parse(RUN_FILE, [f"data.path={data_path}", *changes])

    return make
