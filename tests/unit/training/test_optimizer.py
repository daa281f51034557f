"""What an update leaves behind: the very bits that it has always left for the same gradients."""

from __future__ import annotations

import numpy as np
import pytest

from disttrain.arrays import Cpu
from disttrain.checkpoint import Snapshot
from disttrain.config import Sgd
from disttrain.errors import CheckpointError
from disttrain.model import Dense, Network
from disttrain.training.optimizer import Optimizer

# Of the program before optimizers had slots: nothing here depends on a BLAS or a processor.
PINNED = {
    ("classical", "float32"): "52fef3ebb600bb22fb34b7fcccf50a9618ea144a25f77a446ad65bc21f48dd38",
    ("classical", "float64"): "d5a0ddb78080f095e2c7113e724fa76d7b6d43f86e3f21bcdc69071c093004b4",
    ("averaged", "float32"): "f3e15f1cd43011d1a431fe204c94564da97c5b17d6cc57138c67785ddd6a49dc",
    ("nesterov", "float64"): "85c8bb67f3aa8ab82a2cd956aade9aaa4ecbe619c05a65dbb9e3e82fd8c35004",
}


def numbers(length: int, seed: int) -> np.ndarray:
    """Return numbers between -1 and 1 that only exact arithmetic has made."""
    return (np.arange(length) * 7919 * (2 * seed + 1) % 2003 - 1001) / 1024


@pytest.mark.parametrize(("form", "dtype"), PINNED)
def test_the_digest_of_sgd_is_what_it_has_been(form: str, dtype: str) -> None:
    network = Network([Dense(5, "tanh"), Dense(3)], (4,), dtype, Cpu(), seed=1)
    network.values[:] = numbers(network.layout.length, 0)
    settings = Sgd(momentum=0.9, form=form, weight_decay=0.01)
    optimizer = Optimizer(network, settings)
    for step in range(3):
        gradients = numbers(network.layout.length, step + 1).astype(dtype) * 24
        optimizer.step(gradients, 0.1 / (step + 1), 24, step + 1)
    snapshot = Snapshot(3, 1.0, "", network.tensors(network.values), optimizer.tensors(), {})
    assert snapshot.digest == PINNED[form, dtype]


def test_the_state_of_another_optimizer_is_refused() -> None:
    network = Network([Dense(2)], (3,), "float32", Cpu(), seed=1)
    optimizer = Optimizer(network, Sgd())
    with pytest.raises(CheckpointError, match=r"another optimizer \(other, not velocity\).*kind"):
        optimizer.load({"other": network.tensors(network.values)})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_mean_gradient_is_shortened_before_weight_decay(dtype: str, scale: float) -> None:
    network = Network([Dense(5, "tanh"), Dense(3)], (4,), dtype, Cpu(), seed=1)
    start = network.values.copy()
    settings = Sgd(momentum=0.0, weight_decay=0.5, clip_norm=2.0)
    gradients = numbers(network.layout.length, 1).astype(dtype) * scale * 24
    Optimizer(network, settings).step(gradients, 0.1, 24, 1)
    mean = gradients / 24
    mean *= min(1, 2.0 / (np.linalg.norm(mean) + 1e-6))
    mean[: network.layout.decayed] += 0.5 * start[: network.layout.decayed]
    np.testing.assert_allclose(network.values, start - 0.1 * mean, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan, 1e200])
def test_a_gradient_whose_norm_is_no_number_is_not_cut_to_one(wrong: float) -> None:
    """Each square is infinite from 1e155 on: a step of length 0 would hide it for ever."""
    network = Network([Dense(3)], (4,), "float64", Cpu(), seed=1)
    gradients = np.ones(network.layout.length)
    gradients[5] = wrong
    optimizer = Optimizer(network, Sgd(clip_norm=1.0))
    assert optimizer.finite()
    optimizer.step(gradients, 0.1, 2, 1)
    assert not optimizer.finite()
