"""A model that is a flat vector and a function is trained as a network is, on any ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import disttrain
from disttrain.errors import CheckpointError, DisttrainError, UsageError
from disttrain.interop.any_model import Rows
from tests.conftest import blobs


class Line:
    """`y = a x + b` by least squares."""

    def __init__(self) -> None:
        self.parameters = np.zeros(2)

    def loss_and_gradient(self, rows: Rows) -> tuple[Any, ...]:
        x, y = rows.inputs[:, 0], rows.targets[:, 0]
        off = self.parameters[0] * x + self.parameters[1] - y
        return (off**2).sum(), np.array([2 * (off * x).sum(), 2 * off.sum()])


class Softmax:
    """One layer for `blobs`, as disttrain's own."""

    def __init__(self, dtype: str = "float64") -> None:
        self.parameters = np.zeros(15, dtype)

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        w, b = self.parameters[:12].reshape(3, 4), self.parameters[12:]
        return np.asarray(inputs @ w.T + b)

    def loss_and_gradient(self, rows: Rows) -> tuple[Any, ...]:
        outputs = self.predict(rows.inputs)
        e = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        f = e / e.sum(axis=1, keepdims=True)
        places = np.arange(len(f)), rows.targets
        loss = -np.log(f[places]).sum()
        f[places] -= 1
        return loss, np.concatenate([(f.T @ rows.inputs).ravel(), f.sum(axis=0)]), outputs


KEYS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "optimizer": {"weight_decay": 0.0},
                        "schedule": "constant", "learning_rate": 0.05}  # fmt: skip


def test_a_line_is_found(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(200, 1))
    line = Line()
    model = disttrain.train(
        disttrain.Data(x, 3 * x[:, 0] - 1), tmp_path / "run", model=line, **KEYS | {"epochs": 20},
        normalize="none", validation_fraction=0,
    )  # fmt: skip
    np.testing.assert_allclose(line.parameters, [3, -1], atol=1e-3)
    assert model.summary["test"] is None
    assert "validation_r2" not in model.history[-1]
    with pytest.raises(CheckpointError, match=r"layers of a script \(.*test_any_model\.Line\)"):
        disttrain.load(tmp_path / "run")
    again = disttrain.load(tmp_path / "run", model=Line())
    np.testing.assert_array_equal(again.snapshot.parameters["model1/parameters"], line.parameters)


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_it_is_trained_to_the_weights_of_the_same_network(mode: str) -> None:
    data = disttrain.Data(*blobs(90, 1), test=blobs(30, 2))
    own = Softmax()
    model = disttrain.train(data, model=own, mode=mode, **KEYS)
    keys = {
        "layers": [{"units": 3, "initializer": "constant", "scale": 1e-30}],
        "dtype": "float64",
    }
    same = disttrain.train(data, mode=mode, **keys, **KEYS)
    weights = same.snapshot.parameters
    want = np.concatenate([weights["dense1/weight"].ravel(), weights["dense1/bias"]])
    np.testing.assert_allclose(own.parameters, want, atol=1e-9)
    assert model.summary["test"]["accuracy"] == same.summary["test"]["accuracy"] > 0.9
    assert model.history[-1]["train_accuracy"] == same.history[-1]["train_accuracy"]
    assert model.summary["test"]["loss"] == pytest.approx(same.summary["test"]["loss"])


def test_mistakes_are_one_sentence() -> None:
    data = disttrain.Data(*blobs(30, 1))

    class Bad(Softmax):
        def loss_and_gradient(self, rows: Rows) -> tuple[Any, ...]:
            loss, gradient, outputs = super().loss_and_gradient(rows)
            return loss, gradient[1:], outputs

    with pytest.raises(DisttrainError, match=r"gradient of shape \(14,\), but parameters have 15"):
        disttrain.train(data, model=Bad(), **KEYS)
    with pytest.raises(UsageError, match="one flat vector of float32 or float64"):
        disttrain.train(data, model=object(), **KEYS)
    flat = type("Flat", (), {"parameters": np.zeros(3, "f4")})
    with pytest.raises(UsageError, match="Flat has no loss_and_gradient"):
        disttrain.train(data, model=flat(), **KEYS)
    weighed = disttrain.Data(*blobs(30, 1), weights=np.ones(30))
    with pytest.raises(DisttrainError, match="one number for each sample where samples have"):
        disttrain.train(weighed, model=Softmax(), **KEYS)
