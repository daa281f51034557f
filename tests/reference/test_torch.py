"""The same training in PyTorch: same weights to begin with, same batches, same update rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from disttrain.arrays import Cpu, Workspace
from disttrain.comm.alone import Alone
from disttrain.config import Adam, Sgd
from disttrain.config import Optimizer as Optimizing
from disttrain.data import Batches, BlockShuffle, Feed, Shares, Split, measure
from disttrain.data.source import ArrayRows
from disttrain.model import Context, Dense, Network, Pass
from disttrain.model.losses import built_in
from disttrain.training.optimizer import Optimizer

torch = pytest.importorskip("torch")

STEPS, RATE, ADAM_RATE, INPUTS, HIDDEN, CLASSES = 100, 0.05, 0.001, 12, 16, 5
# 90 rows in batches of 32: the last one of each epoch has 26.
ROWS, BATCH = 90, 32
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "plain": {"momentum": 0.0, "weight_decay": 0.0},
    "momentum": {"momentum": 0.9, "weight_decay": 0.0},
    "nesterov": {"momentum": 0.9, "weight_decay": 0.0, "form": "nesterov"},
    "decay": {"momentum": 0.9, "weight_decay": 0.01},
    "nesterov, decay": {"momentum": 0.8, "weight_decay": 0.01, "form": "nesterov"},
    "clipped": {"weight_decay": 0.01, "clip_norm": 0.2},
    "adam": {"kind": "adam", "weight_decay": 0.0},
    "adam, decay": {"kind": "adam", "beta1": 0.8, "beta2": 0.9, "weight_decay": 0.01},
    "adamw": {"kind": "adamw", "weight_decay": 0.1, "epsilon": 1e-6},
}
ACTIVATIONS = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid}


def batches() -> Batches:
    random = np.random.default_rng(0)
    inputs = random.normal(3, 2, (ROWS, INPUTS)).astype("f4")
    split = Split("train", ArrayRows(inputs), random.integers(0, CLASSES, ROWS))
    feed = Feed(measure("standardize", split.rows, Alone()), (INPUTS,), "float32", Cpu())
    return Batches(split, BlockShuffle(ROWS, 1, 16), BATCH, feed, Shares(0, 1))


def ours(network: Network, loss_name: str, settings: Optimizing) -> list[float]:
    gradients = np.zeros(network.layout.length, "f4")
    now = Pass(gradients=network.layout.views(gradients))
    loss, optimizer, data = built_in(loss_name), Optimizer(network, settings), batches()
    rate = RATE if isinstance(settings, Sgd) else ADAM_RATE
    context, losses = Context("loss", Cpu(), "float32", Workspace(Cpu().empty), {}), []
    for step in range(STEPS):
        ((_, _, inputs, targets),) = data.parts_of(step)
        outputs, backward = network.forward(inputs, now)
        total, gradient = loss.forward(outputs, targets, context)
        backward(gradient())
        optimizer.step(gradients, rate, len(inputs), step + 1)
        losses.append(float(total.sum()) / len(inputs))
    return losses


def their_optimizer(model: Any, settings: Optimizing) -> Any:
    """Return PyTorch's optimizer with the same settings; biases have no weight decay."""
    named = list(model.named_parameters())
    groups = [
        {"params": [p for n, p in named if "weight" in n], "weight_decay": settings.weight_decay},
        {"params": [p for n, p in named if "bias" in n], "weight_decay": 0.0},
    ]
    if isinstance(settings, Sgd):
        return torch.optim.SGD(
            groups, lr=RATE, momentum=settings.momentum, nesterov=settings.form == "nesterov"
        )
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.kind]
    betas = (settings.beta1, settings.beta2)
    return kind(groups, lr=ADAM_RATE, betas=betas, eps=settings.epsilon)


def theirs(model: Any, loss_name: str, settings: Optimizing) -> list[float]:
    optimizer, data, losses = their_optimizer(model, settings), batches(), []
    for step in range(STEPS):
        ((_, _, inputs, targets),) = data.parts_of(step)
        x, y = torch.from_numpy(inputs.copy()), torch.from_numpy(targets.copy())
        outputs = model(x)
        if loss_name == "softmax":
            loss = torch.nn.functional.cross_entropy(outputs, y)
        else:
            loss = ((outputs - torch.nn.functional.one_hot(y, CLASSES)) ** 2).sum() / len(y)
        optimizer.zero_grad()
        loss.backward()
        if settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


# Each optimizer with two networks, and each network with one optimizer.
NETWORKS = [(activation, loss) for activation in ACTIVATIONS for loss in ("softmax", "squared")]
CASES = dict.fromkeys(
    [(*NETWORKS[n % 6], name) for n, name in enumerate(OPTIMIZERS)]
    + [(*NETWORKS[(n + 3) % 6], name) for n, name in enumerate(OPTIMIZERS)]
    + [(*network, "momentum") for network in NETWORKS]
)


@pytest.mark.parametrize(("activation", "loss", "optimizer"), CASES)
def test_a_hundred_steps(activation: str, loss: str, optimizer: str) -> None:
    torch.set_num_threads(1)
    layers = [Dense(HIDDEN, activation, bias=0.1), Dense(HIDDEN, activation), Dense(CLASSES)]
    network = Network(layers, (INPUTS,), "float32", Cpu(), seed=1)
    nonlinear = ACTIVATIONS[activation]
    model = torch.nn.Sequential(
        torch.nn.Linear(INPUTS, HIDDEN), nonlinear(),
        torch.nn.Linear(HIDDEN, HIDDEN), nonlinear(),
        torch.nn.Linear(HIDDEN, CLASSES),
    )  # fmt: skip
    tensors = list(network.tensors(network.values).values())
    with torch.no_grad():
        for parameter, tensor in zip(model.parameters(), tensors, strict=True):
            parameter.copy_(torch.from_numpy(tensor.copy()))
    given = OPTIMIZERS[optimizer]
    settings = Adam(**given) if "kind" in given else Sgd(**given)
    losses = ours(network, loss, settings)
    np.testing.assert_allclose(losses, theirs(model, loss, settings), rtol=1e-5)
    for parameter, tensor in zip(model.parameters(), tensors, strict=True):
        there = parameter.detach().numpy()
        assert np.linalg.norm(tensor - there) < 1e-4 * np.linalg.norm(there)
