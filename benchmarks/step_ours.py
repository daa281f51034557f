"""The side of disttrain in `step.py` and `exact.py`: the real training step, and its products.

Started by one of them, alone or under mpirun; serves requests over pipes.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker import requests, serve

import disttrain
from disttrain.environment import launched, prepare_blas

prepare_blas()

import numpy as np  # noqa: E402
from threadpoolctl import threadpool_info  # noqa: E402

from disttrain.bench.step import products  # noqa: E402
from disttrain.data.writer import write_data_file  # noqa: E402
from disttrain.training.integrity.chain import record  # noqa: E402
from disttrain.training.trainer import train_step  # noqa: E402

ROWS = 65536
RATE = 1e-3


def step_loop(widths: list[int], batch: int, path: Path, arithmetic: str) -> Callable[[int], None]:
    """Return a function that does so many training steps, data reading included. Collective.

    `arithmetic` is that of exact mode, or "fast", or "stream" (fast, rows read from the file); or
    "audit", and the function does so many audits and records of digests instead, as at the end of
    an interval.
    """
    layers = [{"units": n, "activation": "relu"} for n in widths[1:-1]] + [{"units": widths[-1]}]
    settings = disttrain.Settings.model_validate(
        {
            "data": {
                "path": str(path),
                "validation_fraction": 0.0,
                "memory": "stream" if arithmetic == "stream" else "auto",
            },
            "model": {"layers": layers},
            "training": {"batch_size": batch},
            "optimizer": {"momentum": 0.9, "weight_decay": 1e-4},
            "device": {"kind": "cpu"},
            "reproducibility": {"mode": "fast"}
            if arithmetic in ("fast", "stream", "audit")
            else {"mode": "exact", "arithmetic": arithmetic},
        }
    )
    run = disttrain.build(settings)
    done = 0

    def audits(count: int) -> None:
        for _ in range(count):
            run.work.audit.passes(run.state)
            if run.comm.is_root:
                record(run.network, run.optimizer, run.work.batches, ROWS // batch,
                       {"step": 0, "chain": ""}, {})  # fmt: skip

    def loop(steps: int) -> None:
        nonlocal done
        for _ in range(steps):
            train_step(run, done, RATE)
            done += 1

    return audits if arithmetic == "audit" else loop


def floor_loop(widths: list[int], rows: int) -> Callable[[int], None]:
    """Return a function that does the sgemm calls of so many steps, and nothing else."""
    step = products(widths, rows, "float32")

    def loop(steps: int) -> None:
        for _ in range(steps):
            step()

    return loop


class Side:
    """One rank of this side: keeps the loops of one case at a time."""

    def __init__(self, folder: Path) -> None:
        self._comm = disttrain.connect()
        self._path = folder / f"rows-{self._comm.rank}.h5"
        draw = np.random.default_rng(0)
        inputs = draw.integers(0, 256, (ROWS, 784), np.uint8)
        write_data_file(self._path, {"train": (inputs, draw.integers(0, 10, ROWS))})
        self._case: tuple[Any, ...] = ()
        self._loops: dict[str, Callable[[int], None]] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the seconds of the slowest rank for `steps` steps of `variant`. Collective."""
        if "steps" not in request:
            return self._description()
        widths, batch = request["widths"], request["batch"]
        if self._case != (widths, batch):
            self._case, self._loops = (widths, batch), {}
            self._loops["floor"] = floor_loop(widths, batch // self._comm.size)
        if request["variant"] not in self._loops:
            arithmetic = request["variant"]
            self._loops[arithmetic] = step_loop(widths, batch, self._path, arithmetic)
        self._comm.barrier()
        begin = time.perf_counter()
        self._loops[request["variant"]](request["steps"])
        seconds = time.perf_counter() - begin
        return {"seconds": max(self._comm.collect(seconds))}

    def _description(self) -> dict[str, Any]:
        blas = [i for i in threadpool_info() if i["user_api"] == "blas"]
        kernels = [f"{i['internal_api']} {i['version']} {i['architecture']}" for i in blas]
        return {
            "numpy": np.__version__,
            "blas": ", ".join(kernels) or "unknown",
            "threads": max((i["num_threads"] for i in blas), default=0),
            "mpi": self._comm.library,
        }


def main() -> None:
    """Serve: rank 0 hears the requests and tells the others, who sleep while there is none."""
    with tempfile.TemporaryDirectory() as folder:
        side = Side(Path(folder))
        if launched() is None:
            serve(side.answer)
        else:
            serve_together(side.answer)


def serve_together(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Serve on all ranks; a rank that waited inside MPI would keep a core busy."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD.Dup()
    if world.rank == 0:
        for request in requests():
            for other in range(1, world.size):
                world.send(request, other)
            print(json.dumps(answer(request)), flush=True)
        for other in range(1, world.size):
            world.send(None, other)
        return
    while True:
        while not world.Iprobe(source=0):
            time.sleep(2e-4)
        request = world.recv(source=0)
        if request is None:
            return
        answer(request)


if __name__ == "__main__":
    main()
