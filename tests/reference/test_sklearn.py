"""The four small sets, learned as well as scikit-learn's MLPClassifier learns them.

Both get the same rows, standardized by the training rows, and the same training: one hidden relu
layer of the same size, softmax loss, 100 epochs of mini-batches of 32, rate 0.01, momentum 0.9 and
the same weight decay, without early stopping. They differ in their random numbers only: initial
weights (He's here, Glorot's there) and order. The run files are those of benchmarks/studies.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

import disttrain
from disttrain.comm.alone import Alone
from disttrain.config import Settings, read

neural_network = pytest.importorskip("sklearn.neural_network")

STUDIES = Path(__file__).parents[2] / "benchmarks" / "studies"
SEEDS = range(1, 6)


def prepare(name: str, path: Path, seed: int) -> None:
    """Write the data file of `name`, a fifth of its rows, chosen by `seed`, for testing."""
    command = [sys.executable, "-m", "disttrain", "prepare", name, str(path), "--seed", str(seed)]
    subprocess.run(command, check=True, capture_output=True)


def our_accuracy(settings: Settings) -> float:
    run = disttrain.build(settings, comm=Alone())
    disttrain.fit(run)
    accuracy = run.score(run.dataset.splits["test"], "test").accuracy
    assert accuracy is not None
    return accuracy


def their_accuracy(settings: Settings) -> float:
    with h5py.File(settings.data.path) as file:
        x, y = file["train/inputs"][:], file["train/targets"][:]
        test_x, test_y = file["test/inputs"][:], file["test/targets"][:]
    x, test_x = (inputs.reshape(len(inputs), -1) for inputs in (x, test_x))
    mean, deviation = x.mean(0), x.std(0)
    deviation[deviation == 0] = 1
    batch, epochs = settings.training.batch_size, settings.training.epochs
    assert batch
    hidden = settings.model.layers[:-1]
    model = neural_network.MLPClassifier(
        hidden_layer_sizes=[layer.units for layer in hidden], activation=hidden[0].activation,
        solver="sgd", batch_size=batch, max_iter=epochs, random_state=settings.seed,
        learning_rate_init=settings.schedule.learning_rate, momentum=settings.optimizer.momentum,
        nesterovs_momentum=False, tol=0, n_iter_no_change=epochs,
        alpha=settings.optimizer.weight_decay * batch,  # which it divides by the rows of a batch
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that it trained for all epochs that it was given
        model.fit((x - mean) / deviation, y)
    return float(model.score((test_x - mean) / deviation, test_y))


@pytest.mark.long
@pytest.mark.parametrize("name", ["digits", "iris", "wine", "breast-cancer"])
def test_as_accurate_as_mlp_classifier(name: str, tmp_path: Path) -> None:
    ours, theirs = [], []
    for seed in SEEDS:
        path = tmp_path / f"{seed}.h5"
        prepare(name, path, seed)
        settings = read(STUDIES / f"{name}.toml", [f"data.path={path}", f"seed={seed}"])
        ours.append(our_accuracy(settings))
        theirs.append(their_accuracy(settings))
    mean, deviation = np.mean(theirs), np.std(theirs, ddof=1)
    print(f"\n{name}: {np.mean(ours):.4f} here, MLPClassifier {mean:.4f} +- {deviation:.4f}")
    print("here", *(f"{a:.4f}" for a in ours), "MLPClassifier", *(f"{a:.4f}" for a in theirs))
    assert np.mean(ours) >= mean - deviation
