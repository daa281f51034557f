"""A GPU in one go: is what it computes right, and how fast is a step beside PyTorch's?

    python benchmarks/gpu.py [--minutes 7.5] [--stand-in]

First tests/gpu (kernels, convolution and updates against the processor; captured steps against
eager ones; 1, 2 and 4 ranks on one card; checkpoints moved both ways), then steps of S, L, M and
LeNet-5 in turns: ours captured (in a CUDA graph), ours eager, exact mode, and PyTorch's: eager
(fused SGD), compiled with `reduce-overhead` (at batch 128: compiling takes half a minute), and
captured. A short table stands last; it names what failed, and leaves out what the minutes did not
suffice for. No card has run it yet.
`--stand-in` goes the same way without a GPU, on the device that tests use: its times say nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from step import BATCHES, NETWORKS
from worker import machine, medians

import disttrain
from disttrain.arrays.facts import gpu_facts
from disttrain.data.writer import write_data_file
from disttrain.training.trainer import train_step

ROOT = Path(__file__).parents[1]
RATE, ROWS = 1e-3, 65536
# Seconds that a line may take, and one with a network that PyTorch compiles.
LINE, COMPILED = 45, 120
OURS = ("captured", "eager", "exact")
CONVOLUTIONS = [
    {"kind": "conv", "filters": 6, "size": 5, "activation": "relu"}, {"kind": "max-pool"},
    {"kind": "conv", "filters": 16, "size": 5, "padding": "valid", "activation": "relu"},
    {"kind": "max-pool"},
]  # fmt: skip
# Layers before the dense ones, and the widths of these, from what they are given on.
CASES: dict[str, tuple[list[dict[str, Any]], list[int]]] = {
    **{name: ([], widths) for name, widths in NETWORKS.items()},
    "LeNet-5": (CONVOLUTIONS, [400, 120, 84, 10]),
}
Way = Callable[[int], float]


def main() -> None:
    """Test, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--minutes", type=float, default=7.5, help="all of it, at most")
    parser.add_argument("--stand-in", action="store_true", help="without a GPU")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    # What hangs is cut off: the table stands last whatever happens.
    signal.signal(signal.SIGALRM, too_late)
    signal.alarm(int(60 * options.minutes) + 10)
    lines: list[str] = []
    try:
        lines.append(tested(options.stand_in, until))
        if options.stand_in:
            stand_in()
        measure(lines, until, options.stand_in)
    except Exception as error:
        lines.append(f"it ended early: {in_words(error)}")
    signal.alarm(0)
    print(f"\n{machine()}\n{card()}\nms a step, medians of interleaved rounds; float32\n")
    print("\n".join(lines), flush=True)


def too_late(number: int, frame: FrameType | None) -> None:
    """End what is done now: the minutes are over."""
    raise TimeoutError("the minutes are over")


def in_words(error: Exception) -> str:
    """Return an error in one short line."""
    return f"{type(error).__name__}: {(str(error) or 'no reason').splitlines()[0][:150]}"


def card() -> str:
    """Return which GPU, driver and versions these are."""
    facts = gpu_facts(0)
    with contextlib.suppress(ImportError):
        import torch

        return f"{facts.device or facts.problem}, driver {facts.driver or 'none'}, CuPy " + (
            f"{facts.cupy or 'none'} (CUDA {facts.runtime_cuda}), PyTorch {torch.__version__}"
        )
    return f"{facts.device or facts.problem}, driver {facts.driver or 'none'}, no PyTorch"


def measure(lines: list[str], until: float, instead: bool) -> None:
    """Add the lines of the table that there is time for."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "rows.h5"
        draw = np.random.default_rng(0)
        inputs = draw.integers(0, 256, (ROWS, 28, 28), np.uint8)
        write_data_file(path, {"train": (inputs, draw.integers(0, 10, ROWS))})
        # The middle first: it is there if the minutes do not suffice.
        for batch in sorted(BATCHES, key=lambda batch: batch != 128):
            for network in CASES:
                if time.monotonic() < until - LINE:
                    lines += measured(network, batch, path, instead, until)
                    print(lines[-1], file=sys.stderr, flush=True)


def tested(instead: bool, until: float) -> str:
    """Run the tests of the GPU; return pytest's last line."""
    files = ["stand_in", "captured", "images"] if instead else ["gpu"]
    names = [f"tests/gpu/test_{name}.py" for name in (*files, "nvrtc")]
    command = [sys.executable, "-m", "pytest", "-q", "-rfs", *names]
    left = max(10.0, (until - time.monotonic()) / 2)
    with tempfile.TemporaryFile("w+") as output:
        # A session of its own: mpirun's processes end with it, which would else hold the output.
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
                                   start_new_session=True)  # fmt: skip
        try:
            code = process.wait(left)
            how = "passed" if code == 0 else f"failed ({code})"
        except subprocess.TimeoutExpired:
            how = f"not done after {left:.0f} s"
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        said = [line.rstrip() for line in output if line.strip()]
    print("\n".join(said)[-3000:], file=sys.stderr, flush=True)
    # Without the last lines of pytest there are only its dots.
    told = [line for line in said if line.startswith(("FAILED", "ERROR", "SKIPPED"))] or said[-2:]
    return f"tests    {how}" + "".join(f"\n         {line[:150]}" for line in told)


def stand_in() -> None:
    """Let runs have the device of the tests, which needs no GPU."""
    sys.path.insert(0, str(ROOT))
    from disttrain.training import build
    from tests.gpu.stand_in import StandIn

    build.choose = lambda *_: StandIn()  # type: ignore[assignment]


def measured(network: str, batch: int, path: Path, instead: bool, until: float) -> list[str]:
    """Return a line of the table, and one for each way that failed."""
    makers: dict[str, Callable[[], Way]] = {
        way: partial(ours, network, batch, path, way, instead) for way in OURS
    }
    makers |= of_torch(network, batch, until)
    ways, lines = dict[str, Way](), list[str]()
    for name, make in makers.items():
        try:
            ways[name] = make()
            ways[name](3)
        # Whatever a library raises here, the other ways are measured.
        except Exception as error:
            ways.pop(name, None)
            lines.append(f"{f'{network}/{batch}':12} {name}: {in_words(error)}")
            if isinstance(error, TimeoutError):
                raise
    found = medians(ways, 7 if not instead else 1, 0.05)
    cells = [f"{name} {1e3 * seconds:.3f}" for name, seconds in found.items()]
    peers = [seconds for name, seconds in found.items() if name not in OURS]
    best = ""
    if peers and "captured" in found:
        best = f", best of PyTorch over ours {min(peers) / found['captured']:.2f}"
    return [*lines, f"{f'{network}/{batch}':12} {', '.join(cells)}{best}"]


def ours(network: str, batch: int, path: Path, way: str, instead: bool) -> Way:
    """Return our steps, reading included."""
    first, widths = CASES[network]
    dense = [{"units": n, "activation": "relu"} for n in widths[1:-1]] + [{"units": widths[-1]}]
    layers, mode = [*first, *dense], "exact" if way == "exact" else "fast"
    run = disttrain.build(disttrain.Settings.model_validate({
        "data": {"path": str(path), "validation_fraction": 0.0},
        "model": {"layers": layers},
        "training": {"batch_size": batch},
        "optimizer": {"momentum": 0.9, "weight_decay": 1e-4},
        "device": {"kind": "cpu" if instead else "gpu"},
        "reproducibility": {"mode": mode},
    }))  # fmt: skip
    if way == "eager":
        run.recordings.why_not = "the benchmark asks for it"
    elif not instead and run.recordings.why_not:
        print(f"{network}/{batch} {way}: {run.recordings.in_words}", file=sys.stderr, flush=True)
    step = 0

    def go(steps: int) -> float:
        nonlocal step
        begin = time.perf_counter()
        for _ in range(steps):
            # It ends with the header on the host: all kernels before it are done.
            train_step(run, step, RATE)
            step += 1
        run.network.device.get(run.network.values[:1])
        return (time.perf_counter() - begin) / steps

    return go


def of_torch(name: str, batch: int, until: float) -> dict[str, Callable[[], Way]]:
    """Return what makes PyTorch's steps, its batch ready on the GPU; nothing without a GPU."""
    try:
        import torch
    except ImportError:
        return {}
    if not torch.cuda.is_available():
        return {}
    # float32 against float32: convolutions of PyTorch take TF32 where nothing is said.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    first, widths = CASES[name]
    x = torch.rand(batch, *((1, 28, 28) if first else (784,)), device="cuda")
    y = torch.randint(0, widths[-1], (batch,), device="cuda")
    loss_of = torch.nn.CrossEntropyLoss()

    def stepping(network: Any, optimizer: Any) -> Callable[[], None]:
        def one() -> None:
            optimizer.zero_grad(set_to_none=False)
            loss_of(network(x), y).backward()
            optimizer.step()

        return one

    def timed(one: Callable[[], None]) -> Way:
        def go(steps: int) -> float:
            torch.cuda.synchronize()
            begin = time.perf_counter()
            for _ in range(steps):
                one()
            torch.cuda.synchronize()
            return (time.perf_counter() - begin) / steps

        return go

    def compiled() -> Way:
        network, optimizer = of_case(name)
        return timed(stepping(torch.compile(network, mode="reduce-overhead"), optimizer))

    ways = {
        "torch": lambda: timed(stepping(*of_case(name))),
        "torch graph": lambda: timed(captured(stepping(*of_case(name)))),
    }
    if batch == 128 and time.monotonic() < until - COMPILED:
        ways["torch compiled"] = compiled
    return ways


def of_case(name: str) -> tuple[Any, Any]:
    """Return PyTorch's network of a case, on the GPU, and its optimizer."""
    import torch

    nn, parts = torch.nn, list[Any]()
    first, widths = CASES[name]
    if first:
        parts += [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                  nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]  # fmt: skip
    for inputs, units in pairwise(widths):
        parts += [nn.Linear(inputs, units), nn.ReLU()]
    network = nn.Sequential(*parts[:-1]).cuda()
    options = {"lr": RATE, "momentum": 0.9, "weight_decay": 1e-4, "fused": True}
    return network, torch.optim.SGD(network.parameters(), **options)


def captured(one: Callable[[], None]) -> Callable[[], None]:
    """Return the replay of a CUDA graph of PyTorch's step `one`, which is warmed up before."""
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            one()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        one()
    replay: Callable[[], None] = graph.replay
    return replay


if __name__ == "__main__":
    main()
