"""The side of PyTorch in `step.py`: torch.nn and SGD with momentum and weight decay, one thread.

Needs only torch; started by `step.py`, serves requests over pipes. Its batch lies ready as float32:
no data reading is in its time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from worker import serve

RATE = 1e-3


def step_loop(widths: list[int], batch: int, fused: bool) -> Callable[[int], None]:
    """Return a function that does so many training steps."""
    parts: list[torch.nn.Module] = []
    for inputs, units in pairwise(widths):
        parts += [torch.nn.Linear(inputs, units), torch.nn.ReLU()]
    network = torch.nn.Sequential(*parts[:-1])
    loss_of = torch.nn.CrossEntropyLoss()
    options = {"lr": RATE, "momentum": 0.9, "weight_decay": 1e-4}
    optimizer = torch.optim.SGD(network.parameters(), **options, fused=fused)
    inputs = torch.rand(batch, widths[0])
    targets = torch.randint(0, widths[-1], (batch,))

    def loop(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = loss_of(network(inputs), targets)
            loss.backward()
            optimizer.step()

    return loop


class Side:
    """Keeps the loops of one case at a time."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._case: tuple[Any, ...] = ()
        self._loops: dict[str, Callable[[int], None]] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the seconds for `steps` steps of `variant`, or a description."""
        if "steps" not in request:
            return {"torch": torch.__version__, "fused": _has_fused()}
        widths, batch = request["widths"], request["batch"]
        if self._case != (widths, batch):
            self._case, self._loops = (widths, batch), {}
        variant = request["variant"]
        if variant not in self._loops:
            self._loops[variant] = step_loop(widths, batch, variant == "fused")
        begin = time.perf_counter()
        self._loops[variant](request["steps"])
        return {"seconds": time.perf_counter() - begin}


def _has_fused() -> bool:
    try:
        step_loop([4, 4, 2], 2, True)(1)
    except (RuntimeError, TypeError):
        return False
    return True


if __name__ == "__main__":
    serve(Side().answer)
