"""Layers for images trained as in PyTorch: same first weights, same batches, same update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from disttrain.arrays import Cpu, Workspace
from disttrain.arrays.images import Images
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
from disttrain.model.layers.images import window_on
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


def first(array: np.ndarray) -> Any:
    """Return images with their channels first, as PyTorch has them; it may ask for gradients."""
    return torch.from_numpy(array.transpose(0, 3, 1, 2).copy()).requires_grad_()


def last(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.detach().numpy().transpose(0, 2, 3, 1))


def drawn(draw: np.random.Generator) -> tuple[tuple[int, ...], Any, Any, Any]:
    """Return the shape of a sample, and a size, stride and padding that fit it."""
    while True:
        size = tuple(int(n) for n in draw.integers(1, 6, 2))
        stride = tuple(int(n) for n in draw.integers(1, 4, 2))
        if draw.random() < 0.5:
            size, stride = (3, 3), (1, 1)
        if draw.random() < 0.2:
            shape: tuple[int, ...] = (1, int(draw.integers(2, 30)), int(draw.integers(1, 7)))
            size, stride = (1, size[1]), (1, stride[1])
        else:
            channels = int(draw.choice([1, 2, 3, 7, 16, 17, 32, 48]))
            shape = (int(draw.integers(1, 15)), int(draw.integers(1, 15)), channels)
        padding = draw.choice(["same", "valid", "0", "1", "2", "3"])
        if padding == "same" and stride != (1, 1):
            continue  # PyTorch has none
        number = padding if padding in ("same", "valid") else int(padding)
        # PyTorch puts zeros above a series too.
        if shape[0] == 1 and isinstance(number, int) and number:
            continue
        border = 2 * number if isinstance(number, int) else 0
        if number == "same" or all(n + border >= k for n, k in zip(shape[:2], size, strict=True)):
            return shape, size, stride, number


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("compiled", [True, False])
def test_filters_at_random(compiled: bool, seed: int) -> None:
    torch.set_num_threads(1)
    draw = np.random.default_rng(seed)
    images = Cpu().images if compiled else Images(np)
    for _ in range(40):
        shape, size, stride, padding = drawn(draw)
        filters, rows = int(draw.choice([1, 4, 16, 19, 32, 64])), int(draw.integers(1, 5))
        window = window_on(shape, size, stride, padding)
        x, w = draw.normal(size=(rows, *shape)), draw.normal(size=(*size, shape[2], filters))
        b, dy = draw.normal(size=filters), draw.normal(size=(rows, *window.out, filters))
        tx = first(x)
        tw = torch.from_numpy(w.transpose(3, 2, 0, 1).copy()).requires_grad_()
        tb = torch.from_numpy(b).requires_grad_()
        ty = nn.functional.conv2d(tx, tw, tb, stride, padding).relu()
        ty.backward(first(dy).detach())
        wants = [last(ty), tw.grad.numpy().transpose(2, 3, 1, 0), tb.grad.numpy(), last(tx.grad)]
        for dtype, near in (("f8", 1e-11), ("f4", 1e-5)):
            a, v, c, d = (part.astype(dtype) for part in (x, w, b, dy))
            y, dw, db, dx = (np.full_like(like, np.nan) for like in (d, v, c, a))
            images.convolve(a, v, c, window, True, y)
            # A number near 0 may be on its other side in float32; then its gradient is.
            images.convolve_gradient(a, wants[0].astype(dtype), d, v, window, True, dw, db, dx)
            for want, have in zip(wants, (y, dw, db, dx), strict=True):
                scale = near * max(1.0, float(np.abs(want).max()))
                case = str((shape, size, stride, padding, filters))
                np.testing.assert_allclose(have, want, rtol=0, atol=scale, err_msg=case)


@pytest.mark.parametrize("largest", [True, False])
def test_pools_at_random(largest: bool) -> None:
    draw = np.random.default_rng(7)
    pool = nn.functional.max_pool2d if largest else nn.functional.avg_pool2d
    for _ in range(40):
        shape, size, stride, _ = drawn(draw)
        size = tuple(min(k, n) for k, n in zip(size, shape, strict=False))
        window = window_on(shape, size, stride, "valid", "windows")
        x = draw.normal(size=(3, *shape))
        dy = draw.normal(size=(3, *window.out, shape[2]))
        tx = first(x)
        ty = pool(tx, size, stride)
        ty.backward(first(dy).detach())
        for images in (Cpu().images, Images(np)):
            y, dx = np.full_like(dy, np.nan), np.full_like(x, np.nan)
            images.pool(x, largest, window, y)
            images.pool_gradient(x, y, dy.copy(), largest, window, dx)
            np.testing.assert_allclose(y, last(ty), rtol=1e-12, err_msg=str((shape, size, stride)))
            np.testing.assert_allclose(dx, last(tx.grad), rtol=1e-12, atol=1e-12)
