"""Kernels of disttrain's own on a GPU: the source in `cuda/`, compiled by CuPy, and launches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cupy
import numpy as np

from disttrain.errors import DeviceError

__all__ = ["Launch", "launch", "launch_blocks", "run", "source"]

Array = Any
FOLDER = Path(__file__).parent / "cuda"
# Threads of a block, for kernels whose threads don't meet.
BLOCK = 128
# Threads are numbered by 32 bits.
MOST = 1 << 31
# Blocks by axis, fewer than these.
GRID = 1 << 31, 1 << 16, 1 << 16
TYPES = {"f": "float", "d": "double"}


@dataclass(frozen=True, slots=True)
class Launch:
    """A kernel, how many threads run it, and what it is given: called, it is launched."""

    function: Any
    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: tuple[Any, ...]

    def __call__(self) -> None:
        """Launch it on the current stream; nothing for no threads."""
        if all(self.grid):
            self.function(self.grid, self.block, self.arguments)


def run(launches: Sequence[Callable[[], None]]) -> None:
    """Do launches, one after the other."""
    for each in launches:
        each()


def source(char: str) -> str:
    """Return all kernels for numbers of a type ("f" or "d"), as one text of CUDA."""
    texts = [path.read_text() for path in sorted(FOLDER.glob("*.cu"))]
    return "\n".join([f"typedef {TYPES[char]} T;", *texts])


def launch(name: str, dtype: Any, threads: int, *given: Any) -> Launch:
    """Return the launch of a kernel with `threads` threads, whose number is its first argument.

    Raises DeviceError for more threads than can be numbered.
    """
    if threads >= MOST:
        raise DeviceError(
            f"{threads:,} numbers are too many for the kernel {name}, which counts {MOST - 1:,}: "
            "set training.batch_size to a smaller number, or use a smaller network"
        )
    blocks = (-(-threads // BLOCK),)
    return launch_blocks(name, dtype, blocks, (BLOCK,), threads, *given)


def launch_blocks(
    name: str, dtype: Any, grid: tuple[int, ...], block: tuple[int, ...], *given: Any
) -> Launch:
    """Return the launch of a kernel with `grid` blocks of `block` threads.

    Whole numbers become int, other numbers double, None the address 0; arrays are contiguous.
    Raises DeviceError for a grid that CUDA does not allow.
    """
    if any(side >= most for side, most in zip(grid, GRID, strict=False)):
        raise DeviceError(
            f"a layer is too large for the kernel {name}: {grid} blocks, and CUDA allows "
            f"{tuple(most - 1 for most in GRID[: len(grid)])}"
        )
    function = _function(name, np.dtype(dtype).char)
    return Launch(function, grid, block, tuple(map(_argument, given)))


def _argument(given: Any) -> Any:
    if given is None:
        return np.uint64(0)
    if isinstance(given, bool | int):
        if abs(given) >= MOST:
            raise DeviceError(
                f"a kernel counts to {MOST - 1:,}, not to {given:,}: set training.batch_size to a "
                "smaller number, or use a smaller network"
            )
        return np.int32(given)
    return np.float64(given) if isinstance(given, float) else given


@functools.cache
def _function(name: str, char: str) -> Any:
    return _module(char).get_function(name)


@functools.cache
def _module(char: str) -> Any:
    # Products and sums stay apart: `fma` stands where both are meant to be one.
    return cupy.RawModule(code=source(char), options=("--fmad=false",))
