"""Small whole files of each kind: what the hostile ones are made from."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from disttrain.checkpoint import Snapshot, save
from disttrain.config import parse, to_toml
from disttrain.data.writer import write_data_file

X = np.random.default_rng(3).normal(size=(12, 4)).astype("f4")
Y = np.arange(12) % 3
RUN_FILE = """
model.loss = "softmax"
data.path = "data.h5"
model.layers = [{ units = 5, activation = "tanh" }, { units = 3 }]
device.kind = "cpu"
"""
SHAPES = {
    "dense1/weight": (5, 4), "dense1/bias": (5,), "dense2/weight": (3, 5), "dense2/bias": (3,),
}  # fmt: skip


def prepared(path: Path) -> Path:
    """Write a data file as `disttrain prepare` does, with its record."""
    write_data_file(path, {"train": (X, Y), "test": (X[:4], Y[:4])}, ["a", "b", "c"])
    return path


def plain(path: Path) -> Path:
    """Write a data file as a user does, by h5py alone."""
    with h5py.File(path, "w") as file:
        file.attrs["classes"] = ["a", "b", "c"]
        file["train/inputs"], file["train/targets"] = X, Y
    return path


def snapshot() -> Snapshot:
    """Return a state that `load_trained` takes."""
    random = np.random.default_rng(4)
    parameters, velocity = (
        {name: random.normal(size=shape).astype("f4") for name, shape in SHAPES.items()}
        for _ in range(2)
    )
    data = {
        "path": "data.h5", "inputs": 4, "shape": [4], "input_dtype": "float32", "classes": 3,
        "class_names": ["a", "b", "c"], "samples": {"train": 12},
    }  # fmt: skip
    normalization = {
        "kind": "standardize", "divisor": 1.0, "mean": np.zeros(4), "deviation": np.ones(4),
    }  # fmt: skip
    state = {"data": data, "loss": "softmax", "disttrain": "0"}
    slots = {"velocity": velocity}
    return Snapshot(3, 0.5, to_toml(parse(RUN_FILE)), parameters, slots, normalization, state)


def checkpoint(path: Path) -> Path:
    """Write a small whole checkpoint."""
    save(path, snapshot())
    return path
