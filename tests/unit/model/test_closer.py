"""The network as its predictions are computed: in float64."""

import tracemalloc

import numpy as np
import pytest

from disttrain.arrays import Cpu
from disttrain.model import Network
from disttrain.model.layers import Dense


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_that_are_float64_are_not_copied(dtype: str) -> None:
    network = Network([Dense(300, "relu"), Dense(2)], (300,), dtype, Cpu(), seed=1)
    inputs = np.random.default_rng(1).normal(size=(5, 300)).astype(dtype)
    tracemalloc.start()
    try:
        predict = network.closer()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (taken < 300 * 300) == (dtype == "float64")
    found, rough = predict(inputs), network.predict(inputs)
    assert found.dtype == np.float64
    assert np.allclose(found, rough, rtol=1e-4, atol=1e-5)
    assert np.array_equal(found, rough) == (dtype == "float64")
