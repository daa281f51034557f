"""The sides of PyTorch in `step.py`: torch.nn and SGD with momentum and weight decay.

    step_torch.py [--threads N] [--ranks N]

One process of N threads, or N processes of one thread under DistributedDataParallel over gloo,
with its settings for speed. Needs only torch; started by `step.py`, serves requests over pipes.
Its batch lies ready as float32: no data reading is in its time.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel
from worker import Worker, serve

RATE = 1e-3


def step_loop(widths: list[int], batch: int, fused: bool, ranks: int) -> Callable[[int], None]:
    """Return a function that does so many training steps; `batch` is global."""
    parts: list[torch.nn.Module] = []
    for inputs, units in pairwise(widths):
        parts += [torch.nn.Linear(inputs, units), torch.nn.ReLU()]
    network: torch.nn.Module = torch.nn.Sequential(*parts[:-1])
    if ranks > 1:
        network = DistributedDataParallel(
            network, bucket_cap_mb=100, gradient_as_bucket_view=True, static_graph=True
        )
    loss_of = torch.nn.CrossEntropyLoss()
    options = {"lr": RATE, "momentum": 0.9, "weight_decay": 1e-4}
    optimizer = torch.optim.SGD(network.parameters(), **options, fused=fused)
    inputs = torch.rand(batch // ranks, widths[0])
    targets = torch.randint(0, widths[-1], (batch // ranks,))

    def loop(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = loss_of(network(inputs), targets)
            loss.backward()
            optimizer.step()

    return loop


class Side:
    """One process of this side: keeps the loops of one case at a time."""

    def __init__(self, others: list[Worker], ranks: int) -> None:
        self._others, self._ranks = others, ranks
        self._case: tuple[Any, ...] = ()
        self._loops: dict[str, Callable[[int], None]] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the seconds for `steps` steps of `variant`, or a description."""
        if "steps" not in request:
            return {"torch": torch.__version__, "fused": _has_fused()}
        for other in self._others:
            other.tell(**request)
        seconds = self._seconds(request)
        return {"seconds": max([seconds, *(other.told()["seconds"] for other in self._others)])}

    def _seconds(self, request: dict[str, Any]) -> float:
        widths, batch = request["widths"], request["batch"]
        if self._case != (widths, batch):
            self._case, self._loops = (widths, batch), {}
        variant = request["variant"]
        if variant not in self._loops:
            self._loops[variant] = step_loop(widths, batch, variant == "fused", self._ranks)
        if self._ranks > 1:
            torch.distributed.barrier()
        begin = time.perf_counter()
        self._loops[variant](request["steps"])
        return time.perf_counter() - begin


def _has_fused() -> bool:
    try:
        step_loop([4, 4, 2], 2, True, 1)(1)
    except (RuntimeError, TypeError):
        return False
    return True


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def main() -> None:
    """Serve; the first of several ranks starts the others and hands requests on to them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    others: list[Worker] = []
    if options.ranks > 1:
        port = options.port or _free_port()
        if options.rank == 0:
            me = [sys.executable, __file__, "--ranks", str(options.ranks), "--port", str(port)]
            others = [Worker([*me, "--rank", str(n)]) for n in range(1, options.ranks)]
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        torch.distributed.init_process_group(
            "gloo", init_method=f"tcp://127.0.0.1:{port}",
            rank=options.rank, world_size=options.ranks,
        )  # fmt: skip
    serve(Side(others, options.ranks).answer)
    for other in others:
        other.close()
    if options.ranks > 1:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
