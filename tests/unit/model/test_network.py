import numpy as np
import pytest

from disttrain.arrays import Cpu
from disttrain.errors import CheckpointError
from disttrain.model import Dense, Network


def network(dtype: str = "float64", seed: int = 1) -> Network:
    return Network([Dense(5, "tanh"), Dense(2)], 3, dtype, Cpu(), seed)


def test_gradients_are_written_straight_into_the_vector_and_reported_layer_by_layer() -> None:
    net = network()
    gradients = np.full(net.layout.length, 7.0)
    net.write_gradients_to(gradients)
    x = np.random.default_rng(0).normal(size=(4, 3))
    outputs, backward = net.forward(x)
    ends: list[int] = []
    seen: list[np.ndarray] = []

    def on_ready(end: int) -> None:
        ends.append(end)
        seen.append(gradients[:end].copy())

    backward(np.ones_like(outputs), on_ready)
    assert ends == net.layout.ready[::-1]
    for end, part in zip(ends, seen, strict=True):
        np.testing.assert_array_equal(part, gradients[:end])
    views = net.layout.views(gradients)
    np.testing.assert_allclose(views[1]["bias"], [4, 4])
    assert not (views[0]["weight"] == 7).any()


def test_gradients_replace_those_of_the_step_before() -> None:
    net = network()
    gradients = np.zeros(net.layout.length)
    net.write_gradients_to(gradients)
    x = np.random.default_rng(0).normal(size=(4, 3))
    found = []
    for _ in range(2):
        outputs, backward = net.forward(x)
        backward(np.ones_like(outputs))
        found.append(gradients.copy())
    np.testing.assert_array_equal(*found)


def test_a_step_is_computed_in_the_same_memory_every_time() -> None:
    net = network()
    net.write_gradients_to(np.zeros(net.layout.length))
    first, _ = net.forward(np.ones((4, 3)))
    second, _ = net.forward(np.zeros((4, 3)))
    assert np.shares_memory(first, second)


def test_prediction_leaves_a_step_under_way_alone() -> None:
    net = network()
    net.write_gradients_to(np.zeros(net.layout.length))
    x = np.random.default_rng(0).normal(size=(4, 3))
    outputs, _ = net.forward(x)
    kept = outputs.copy()
    np.testing.assert_array_equal(net.predict(x), kept)
    net.predict(x + 1)
    np.testing.assert_array_equal(outputs, kept)


def test_outputs_follow_the_textbook() -> None:
    net = network()
    w1, b1, w2, b2 = net.tensors(net.values).values()
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(net.predict(x), np.tanh(x @ w1.T + b1) @ w2.T + b2, rtol=1e-13)


def test_count_and_penalty_know_what_decays() -> None:
    net = network()
    w1, b1, w2, b2 = net.tensors(net.values).values()
    b1[:], b2[:] = 100, 100
    assert net.count == 5 * 3 + 5 + 2 * 5 + 2
    want = 0.5 * 0.01 * ((w1**2).sum() + (w2**2).sum())
    assert net.penalty(0.01) == pytest.approx(want, rel=1e-13)


def test_tensors_go_back_bit_for_bit() -> None:
    one, two = network(seed=1), network(seed=2)
    tensors = {name: t.copy() for name, t in one.tensors(one.values).items()}
    two.load(tensors, two.values)
    np.testing.assert_array_equal(one.values, two.values)


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "dtype"])
def test_tensors_of_another_network_are_refused_by_name(change: str) -> None:
    net = network()
    tensors = dict(net.tensors(net.values))
    if change == "missing":
        del tensors["dense2/bias"]
    elif change == "extra":
        tensors["dense3/bias"] = np.zeros(2)
    elif change == "shape":
        tensors["dense2/weight"] = np.zeros((2, 6))
    else:
        tensors["dense2/weight"] = tensors["dense2/weight"].astype("f4")
    before = net.values.copy()
    name = {"missing": "dense2/bias", "extra": "dense3/bias"}.get(change, "dense2/weight")
    with pytest.raises(CheckpointError, match=f"another network: {name}"):
        net.load(tensors, net.values)
    np.testing.assert_array_equal(net.values, before)
