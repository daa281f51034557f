"""Training that ends by itself: a separating line, a flat place; and what can't be trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import disttrain
from disttrain.data.writer import write_data_file
from disttrain.errors import RankFailure, RunFileError

XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "f4")


@pytest.fixture
def write(tmp_path: Path):
    def file(inputs: np.ndarray, targets: np.ndarray) -> str:
        write_data_file(tmp_path / "data.h5", {"train": (inputs, targets)})
        return str(tmp_path / "data.h5")

    return file


def perceptron(path: str, *changes: str) -> disttrain.Settings:
    text = f"""
        [data]
        path = "{path}"
        normalize = "none"
        validation_fraction = 0.0
        [model]
        layers = [{{ units = 1, activation = "sign", initializer = "constant", scale = 1e-9 }}]
        loss = "perceptron"
        dtype = "float64"
        [training]
        epochs = 200
        [schedule]
        learning_rate = 1.0
    """
    return disttrain.parse(text, changes)


def test_the_perceptron_rule_stops_on_separable_data(write, tmp_path: Path) -> None:
    path = write(XOR, np.array([0, 0, 0, 1]))
    summary = disttrain.train(perceptron(path), tmp_path / "run").summary
    assert summary["status"] == "stopped-early"
    assert summary["reason"] == "separated"
    assert "linearly separable" in summary["diagnosis"][0]
    assert summary["epochs"] < 50
    model = disttrain.load(tmp_path / "run")
    assert model.evaluate(split="train").accuracy == 1
    again = disttrain.train(perceptron(path), tmp_path / "run", resume=True).summary
    assert again == summary, "a run that has stopped by itself is finished"


def test_the_updates_are_those_of_the_rule(write, tmp_path: Path) -> None:
    """`w += y x`, `b += y` on a mistake, in the run's own order of samples."""
    targets = np.array([0, 0, 0, 1])
    run = disttrain.build(perceptron(write(XOR, targets), "training.epochs=6"))
    rows = run.dataset.splits["train"].rows
    disttrain.fit(run)
    w, b = np.full(2, 1e-9), 0.0
    for step in range(run.state.step):
        (sample,) = run.work.batches.samples(step)
        stored, place = rows.locate(np.array([sample]))
        x, y = stored[place[0]].astype("f8"), 2 * run.dataset.splits["train"].targets[sample] - 1
        if np.sign(w @ x + b) != y:
            w, b = w + y * x, b + y
    tensors = run.network.tensors(run.network.values)
    np.testing.assert_allclose(tensors["dense1/weight"][0], w)
    np.testing.assert_allclose(tensors["dense1/bias"], b)


def test_xor_is_not_separated(write, tmp_path: Path) -> None:
    summary = disttrain.train(
        perceptron(write(XOR, np.array([0, 1, 1, 0]))), tmp_path / "run"
    ).summary
    assert summary["status"] == "completed"
    assert summary["epochs"] == 200
    assert "not linearly separable" in summary["diagnosis"][0]


def test_a_hidden_layer_learns_xor(write) -> None:
    settings = disttrain.parse(f"""
        [data]
        path = "{write(np.tile(XOR, (4, 1)), np.tile([0, 1, 1, 0], 4))}"
        normalize = "standardize"
        validation_fraction = 0.0
        [model]
        layers = [{{ units = 4, activation = "tanh" }}, {{ units = 2 }}]
        [training]
        epochs = 200
        batch_size = 4
    """)
    run = disttrain.build(settings)
    disttrain.fit(run)
    assert run.score(run.dataset.splits["train"], "xor").accuracy == 1


def test_batch_training_stops_where_it_is_flat(write) -> None:
    settings = disttrain.parse(f"""
        [data]
        path = "{write(XOR, np.array([[0.0], [1], [1], [2]]))}"
        normalize = "none"
        validation_fraction = 0.0
        [model]
        layers = [{{ units = 1 }}]
        loss = "squared"
        dtype = "float64"
        [training]
        epochs = 5000
        protocol = "batch"
        epsilon = 1e-6
        [optimizer]
        momentum = 0.5
        weight_decay = 0.0
        [schedule]
        kind = "constant"
        learning_rate = 0.2
    """)
    run = disttrain.build(settings)
    disttrain.fit(run)
    assert run.state.reason == "gradient"
    assert 10 < run.state.step < 5000
    weights = run.network.tensors(run.network.values)
    np.testing.assert_allclose(weights["dense1/weight"], [[1, 1]], atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["model.loss=squared"], 'activation = "sign", whose derivative is 0'),
        (["model.layers=[{units=2,activation='sign'}]"], "one layer of one unit"),
        (["model.layers=[{units=1}]"], "one layer of one unit"),
    ],
)
def test_what_can_not_be_trained_is_refused(write, changes: list[str], sentence: str) -> None:
    settings = perceptron(write(XOR, np.array([0, 0, 0, 1])), *changes)
    with pytest.raises((RunFileError, RankFailure), match=sentence):
        disttrain.build(settings)


def test_a_perceptron_wants_two_classes(write) -> None:
    with pytest.raises(RunFileError, match="two classes apart"):
        disttrain.build(perceptron(write(XOR, np.array([0, 1, 2, 0]))))


def test_scaling_to_a_range(write) -> None:
    inputs = np.array([[5, -1, 7], [9, 3, 7], [6, 1, 7]], "f4")
    settings = disttrain.parse(f"""
        [data]
        path = "{write(inputs, np.array([0, 1, 1]))}"
        normalize = "range"
        validation_fraction = 0.0
        [model]
        layers = [{{ units = 2 }}]
    """)
    run = disttrain.build(settings)
    found, _ = run.feed(run.dataset.splits["train"], np.arange(3))
    expected = {(0.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.25, 0.5, 0.0)}
    assert {tuple(map(float, row)) for row in found} == expected
