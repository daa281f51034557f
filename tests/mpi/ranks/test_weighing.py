"""Weights of samples and classes: the bits of one rank, and PyTorch's divisor, on any ranks."""

import h5py
import numpy as np
import pytest

import disttrain
from disttrain.comm.alone import Alone

RUN_FILE = """
seed = 3
[data]
path = "{path}"
[model]
layers = [
  {{ units = 9, activation = "gelu" }},
  {{ units = 8, activation = "elu" }},
  {{ units = 3 }},
]
[training]
epochs = 2
batch_size = 32
class_weights = "balanced"
label_smoothing = 0.1
[schedule]
learning_rate = 0.05
[validation]
on = "all"
[reproducibility]
mode = "exact"
"""


def weighted(path):
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": "disttrain-data", "version": 1})
        for split, rows in (("train", 90), ("validation", 40)):
            file[f"{split}/inputs"] = random.normal(size=(rows, 5))
            file[f"{split}/targets"] = random.integers(0, 3, rows) ** 2 // 2
            # The first rows count nothing: a rank can have none that counts.
            file[f"{split}/weights"] = (np.arange(rows) // 8 / 5).astype("f4")


@pytest.mark.parametrize("arithmetic", ["leaves", "shared"])
def test_weighted_trainings_do_not_depend_on_the_ranks(comm, made, arithmetic):
    settings = disttrain.parse(RUN_FILE.format(path=made("weighted.h5", weighted)))
    settings = settings.replace(reproducibility={"arithmetic": arithmetic})
    found = []
    for ranks in (comm, Alone()):
        run = disttrain.build(settings, comm=ranks)
        disttrain.fit(run)
        interval = run.state.history[-1]
        found.append((run.digest(), interval["train_loss"], interval["validation_loss"]))
        run.close()
    assert found[0] == found[1]
