"""A convolutional network's step beside PyTorch's: one thread, the same shapes, interleaved rounds.

    python benchmarks/conv.py [--network lenet|vgg] [--rounds 15] [--batch 128 32] [--ranks N]
        [--avx2]

Prints, for each batch, the time of a step of ours (recorded, fast and exact mode) and of PyTorch
(NCHW and channels_last, fused SGD with momentum), and the median over rounds of the ratio to the
better of PyTorch's two. Thread time, so that other programs count little. Needs torch.

On N ranks of one thread, which share each batch, PyTorch's side is DistributedDataParallel over
gloo (one bucket, gradients as views of it, static graph), between the same processes; the time is
that of the slowest rank, by the clock. With --avx2 all libraries leave AVX-512 alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Read when these libraries are loaded.
os.environ.update(
    {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "OPENBLAS_CORETYPE": "Haswell"}
    if "--avx2" in sys.argv else {}
)  # fmt: skip

import numpy as np
import torch

import disttrain
from disttrain.arrays import Cpu, compiled_images
from disttrain.data.writer import write_data_file
from disttrain.environment import launched
from disttrain.launch import find_launcher
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


def step_of_theirs(modules: list[Any], x: Any, last: bool, ranks: int) -> Callable[[], None]:
    """Return a function that does a step of PyTorch's."""
    form = torch.channels_last if last else torch.contiguous_format
    model: Any = torch.nn.Sequential(*modules).to(memory_format=form)
    if ranks > 1:
        model = torch.nn.parallel.DistributedDataParallel(
            model, bucket_cap_mb=100, gradient_as_bucket_view=True, static_graph=True
        )
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4, fused=True
    )
    x, y = x.to(memory_format=form), torch.arange(len(x)) % 10

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None], times: int, comm: Any = None) -> float:
    """Return the thread time of a step; of several ranks the slowest one's time by the clock."""
    clock = time.thread_time if comm is None else time.perf_counter
    if comm is not None:
        comm.barrier()
    begin = clock()
    for _ in range(times):
        step()
    taken = (clock() - begin) / times
    return taken if comm is None else max(comm.collect(taken))


def join(comm: Any) -> None:
    """Let PyTorch's ranks find each other on this host."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = str(Path(tempfile.mkdtemp()) / "store") if comm.is_root else ""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{comm.share(store)}", rank=comm.rank, world_size=comm.size
    )


def measure(options: argparse.Namespace, batch: int, comm: Any) -> list[dict[str, float]]:
    """Return the times of each side, round by round. Collective."""
    network = {"lenet": lenet, "vgg": vgg}[options.network]
    ranks = comm.size if comm else 1
    shape, layers, _ = network()
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (batch * 10, *shape)).astype("uint8")
    with tempfile.TemporaryDirectory() as name:
        classes = np.arange(len(images)) % 10
        write_data_file(Path(name) / "data.h5", {
            "train": (images, classes), "validation": (images[:10], classes[:10]),
        })  # fmt: skip
        x = torch.rand(batch // ranks, shape[2], shape[0], shape[1])
        steps = {mode: step_of_ours(Path(name), layers, batch, mode) for mode in ("fast", "exact")}
        for title, last in (("torch NCHW", False), ("torch channels_last", True)):
            steps[title] = step_of_theirs(network()[2], x, last, ranks)
        times = 10 if options.network == "lenet" else 1
        for step in steps.values():
            seconds(step, 2, comm)
        return [{n: seconds(s, times, comm) for n, s in steps.items()}
                for _ in range(options.rounds)]  # fmt: skip


def show(rounds: list[dict[str, float]]) -> None:
    """Print a table of medians."""
    best = [min(r["torch NCHW"], r["torch channels_last"]) for r in rounds]
    for title in rounds[0]:
        ratio = median(r[title] / b for r, b in zip(rounds, best, strict=True))
        print(f"  {title:22}{1e3 * median(r[title] for r in rounds):8.2f} ms"
              f"  over torch's best {ratio:.2f}, {1 / ratio:.2f} times as fast")  # fmt: skip
    print(f"  exact / fast {median(r['exact'] / r['fast'] for r in rounds):.2f}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", choices=("lenet", "vgg"), default="lenet")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 32])
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--avx2", action="store_true")
    options = parser.parse_args()
    if options.avx2:
        compiled_images._found = lambda name: compiled_images._library("_images_v3")
        Cpu.images = compiled_images.CompiledImages()
    if options.ranks > 1 and launched() is None:
        launcher = find_launcher()
        command = launcher.command(options.ranks, [sys.executable, *sys.argv])
        environment = os.environ | launcher.environment(options.ranks)
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)
    torch.set_num_threads(1)
    comm = disttrain.connect() if options.ranks > 1 else None
    if comm:
        join(comm)
    for batch in options.batch:
        rounds = measure(options, batch, comm)
        if comm is None or comm.is_root:
            print(f"{options.network}, batch {batch}, {options.ranks} rank(s) of one thread, "
                  f"{options.rounds} rounds{', AVX2' if options.avx2 else ''}")  # fmt: skip
            show(rounds)
    if comm:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
