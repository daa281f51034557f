"""Layers for images trained as in PyTorch: same first weights, same batches, same update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from disttrain.arrays import Cpu, Workspace
from disttrain.config import Sgd
from disttrain.model import (
    AveragePool,
    BatchNorm,
    Context,
    Conv,
    Dense,
    GlobalAveragePool,
    Layer,
    LayerNorm,
    MaxPool,
    Network,
    Pass,
)
from disttrain.model.losses import Softmax
from disttrain.training.optimizer import Optimizer

torch = pytest.importorskip("torch")

STEPS, RATE, ROWS, SHAPE, CLASSES = 100, 0.05, 24, (10, 9, 3), 4
nn = torch.nn


class LastToFirst(nn.Module):  # type: ignore[misc, name-defined]
    """A dense layer sees our order of numbers: channels last."""

    def forward(self, x: Any) -> Any:
        return x.permute(0, 2, 3, 1).reshape(len(x), -1)


STACKS: dict[str, tuple[list[Layer], list[Any]]] = {
    "lenet": (
        [Conv(6, 3, activation="relu"), MaxPool(2), Conv(8, 3, padding="valid", activation="tanh"),
         AveragePool(2, 1), Dense(CLASSES)],
        [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.Tanh(),
         nn.AvgPool2d(2, 1), LastToFirst(), nn.Linear(2 * 8, CLASSES)],
    ),
    "strides": (
        [Conv(5, (3, 2), stride=(2, 1), padding=1, activation="relu", bias=False), Dense(CLASSES)],
        [nn.Conv2d(3, 5, (3, 2), (2, 1), 1, bias=False), nn.ReLU(), LastToFirst(),
         nn.Linear(5 * 10 * 5, CLASSES)],
    ),
    "batch-norm": (
        [Conv(5, 3, bias=False), BatchNorm(), Conv(6, 3, activation="relu"), BatchNorm(),
         GlobalAveragePool(), LayerNorm(), Dense(CLASSES)],
        [nn.Conv2d(3, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5),
         nn.Conv2d(5, 6, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(6),
         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(6), nn.Linear(6, CLASSES)],
    ),
}  # fmt: skip


def turned(name: str, tensor: np.ndarray) -> np.ndarray:
    """Return our tensor as PyTorch has it: (filters, channels, height, width)."""
    return tensor.transpose(3, 2, 0, 1) if tensor.ndim == 4 else tensor


# Filters before a batch normalization have directions without any gradient, in which rounding
# of float32 wanders: 3e-4 of the weights in 100 steps. So these are compared in float64.
DTYPES = {"lenet": "f4", "strides": "f4", "batch-norm": "f8"}


def batches(dtype: str) -> list[tuple[np.ndarray, np.ndarray]]:
    draw = np.random.default_rng(0)
    return [
        (draw.normal(size=(ROWS, *SHAPE)).astype(dtype), draw.integers(0, CLASSES, ROWS))
        for _ in range(STEPS)
    ]


@pytest.mark.parametrize("stack", STACKS)
def test_a_hundred_steps(stack: str) -> None:
    torch.set_num_threads(1)
    (layers, modules), dtype = STACKS[stack], np.dtype(DTYPES[stack]).name
    network = Network(layers, SHAPE, dtype, Cpu(), seed=1)
    model = nn.Sequential(*modules).train().to(getattr(torch, dtype))
    tensors = network.tensors(network.values)
    state = [t for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")]
    with torch.no_grad():
        for (name, tensor), there in zip(tensors.items(), state, strict=True):
            there.copy_(torch.from_numpy(turned(name, tensor).copy()).reshape(there.shape))
    ours, theirs = [], []
    gradients = np.zeros(network.layout.length, dtype)
    now = Pass(gradients=network.layout.views(gradients))
    settings = Sgd(momentum=0.9, weight_decay=0.0)
    loss, optimizer = Softmax(), Optimizer(network, settings)
    context = Context("loss", Cpu(), dtype, Workspace(Cpu().empty), {})
    other = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    for step, (x, y) in enumerate(batches(dtype)):
        outputs, backward = network.forward(x, now)
        total, gradient = loss.forward(outputs, y, context)
        ours.append(float(total.sum()) / len(x))
        backward(gradient())
        optimizer.step(gradients, RATE, len(x), step + 1)
        value = nn.functional.cross_entropy(
            model(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())), torch.from_numpy(y)
        )
        other.zero_grad()
        value.backward()
        other.step()
        theirs.append(float(value.detach()))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    for (name, tensor), there in zip(tensors.items(), state, strict=True):
        want = there.detach().numpy()
        have = turned(name, tensor).reshape(want.shape)
        assert np.linalg.norm(have - want) < 1e-4 * np.linalg.norm(want), name
    model.eval()
    with torch.no_grad():
        want = model(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(network.predict(x), want, rtol=1e-3, atol=1e-4)
