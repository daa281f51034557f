"""A convolutional network's step beside PyTorch's: one thread, the same shapes, interleaved rounds.

    python benchmarks/conv.py [--network lenet|vgg] [--rounds 15]

Prints, for batches of 128 and 32, the time of a step of ours (recorded, fast and exact mode) and of
PyTorch (NCHW and channels_last, SGD with momentum), and the median over rounds of the ratio to the
better of PyTorch's two. Thread time, so that other programs count little. Needs torch.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

import disttrain
from disttrain.data.writer import write_data_file
from disttrain.training.trainer import train_step

CONV = '{{ kind = "conv", filters = {}, size = {}, padding = "{}", activation = "relu" }}'
POOL = '{ kind = "max-pool", size = 2 }'
DENSE = '{{ units = {}, activation = "relu" }}'


def lenet() -> tuple[tuple[int, ...], list[str], list[Any]]:
    """Return the shape of a sample, our layers and theirs."""
    nn = torch.nn
    ours = [CONV.format(6, 5, "same"), POOL, CONV.format(16, 5, "valid"), POOL, DENSE.format(120),
            DENSE.format(84)]  # fmt: skip
    theirs = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5),
              nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(),
              nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)]  # fmt: skip
    return (28, 28, 1), ours, theirs


def vgg() -> tuple[tuple[int, ...], list[str], list[Any]]:
    """Return the same for a small network in the manner of VGG."""
    nn, channels = torch.nn, 3
    ours: list[str] = []
    theirs: list[Any] = []
    for filters in (32, 64, 128):
        for _ in range(2):
            ours.append(CONV.format(filters, 3, "same"))
            theirs += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
            channels = filters
        ours.append(POOL)
        theirs.append(nn.MaxPool2d(2))
    theirs += [nn.Flatten(), nn.Linear(2048, 128), nn.ReLU(), nn.Linear(128, 10)]
    return (32, 32, 3), [*ours, DENSE.format(128)], theirs


def step_of_ours(folder: Path, layers: list[str], batch: int, mode: str) -> Callable[[], None]:
    """Return a function that does the next step of ours."""
    text = f"""
        [data]
        path = "{folder / "data.h5"}"
        [model]
        layers = [{", ".join(layers)}, {{ units = 10 }}]
        [training]
        batch_size = {batch}
        [reproducibility]
        mode = "{mode}"
    """
    run = disttrain.build(disttrain.parse(text))
    assert not run.recordings.why_not, run.recordings.why_not
    done = 0

    def step() -> None:
        nonlocal done
        train_step(run, done % run.steps_per_epoch, 0.001)
        done += 1

    return step


def step_of_theirs(modules: list[Any], x: Any, last: bool) -> Callable[[], None]:
    """Return a function that does a step of PyTorch's."""
    form = torch.channels_last if last else torch.contiguous_format
    model = torch.nn.Sequential(*modules).to(memory_format=form)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4)
    x, y = x.to(memory_format=form), torch.arange(len(x)) % 10

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None], times: int) -> float:
    """Return the thread time of a step."""
    begin = time.thread_time()
    for _ in range(times):
        step()
    return (time.thread_time() - begin) / times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", choices=("lenet", "vgg"), default="lenet")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = {"lenet": lenet, "vgg": vgg}[options.network]
    for batch in (128, 32):
        shape, layers, _ = network()
        draw = np.random.default_rng(0)
        images = draw.integers(0, 256, (batch * 10, *shape)).astype("uint8")
        with tempfile.TemporaryDirectory() as name:
            classes = np.arange(len(images)) % 10
            write_data_file(Path(name) / "data.h5", {
                "train": (images, classes), "validation": (images[:10], classes[:10]),
            })  # fmt: skip
            x = torch.rand(batch, shape[2], shape[0], shape[1])
            steps = {mode: step_of_ours(Path(name), layers, batch, mode)
                     for mode in ("fast", "exact")}  # fmt: skip
            for title, last in (("torch NCHW", False), ("torch channels_last", True)):
                steps[title] = step_of_theirs(network()[2], x, last)
            times = 10 if options.network == "lenet" else 1
            for step in steps.values():
                seconds(step, 2)
            rounds = [{n: seconds(s, times) for n, s in steps.items()}
                      for _ in range(options.rounds)]  # fmt: skip
        print(f"{options.network}, batch {batch}, one thread, {options.rounds} rounds")
        for title in steps:
            best = [min(r["torch NCHW"], r["torch channels_last"]) for r in rounds]
            ratio = median(r[title] / b for r, b in zip(rounds, best, strict=True))
            print(f"  {title:22}{1e3 * median(r[title] for r in rounds):8.2f} ms"
                  f"  over torch's best {ratio:.2f}")  # fmt: skip
        print(f"  exact / fast {median(r['exact'] / r['fast'] for r in rounds):.2f}")


if __name__ == "__main__":
    main()
