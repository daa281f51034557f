"""CUDA graphs: launches that were captured once and are then launched together. Their one owner.

What CuPy allows in a capture: kernels of one's own and asynchronous copies, on a stream that is not
the default one. Not: cuBLAS, copies from memory that is not pinned, waiting; and memory from CuPy's
pool would be given to others after the capture. So a capture here holds `Launch` and `Copy` only,
whose arrays are there before it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cupy

from disttrain.arrays.gpu_launch import run

__all__ = ["Copy", "Replay"]

Array = Any


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy from pinned memory to the GPU, or back: both arrays lie in one run."""

    to: Array
    source: Array

    def __call__(self) -> None:
        """Copy on the current stream, behind the kernels there; the host does not wait."""
        runtime, to_host = cupy.cuda.runtime, isinstance(self.source, cupy.ndarray)
        kind = runtime.memcpyDeviceToHost if to_host else runtime.memcpyHostToDevice
        stream = cupy.cuda.get_current_stream().ptr
        runtime.memcpyAsync(
            _address(self.to), _address(self.source), self.source.nbytes, kind, stream
        )


def _address(array: Array) -> int:
    on_gpu = isinstance(array, cupy.ndarray)
    return int(array.data.ptr) if on_gpu else int(array.ctypes.data)


class Replay:
    """Launches that are done again and again: one by one, and from the second time on as a graph.

    `problem` says why there is no graph; then they go one by one each time, to the same bits.
    """

    def __init__(self, launches: Sequence[Callable[[], None]]) -> None:
        self._launches = list(launches)
        self._graph: Any = None
        self._warm = False
        self.problem = ""

    def __call__(self) -> None:
        """Do them on the current stream, and wait until they are done."""
        if self._warm and self._graph is None and not self.problem:
            self._capture()
        if self._graph is not None:
            self._graph.launch()
        else:
            run(self._launches)
            # All kernels are loaded now: loading one may need memory, which a capture refuses.
            self._warm = True
        cupy.cuda.get_current_stream().synchronize()

    def _capture(self) -> None:
        """Capture the launches; say why where CUDA refuses."""
        stream = cupy.cuda.Stream(non_blocking=True)
        try:
            with stream:
                stream.begin_capture()
                try:
                    run(self._launches)
                finally:
                    graph = stream.end_capture()
            self._graph = graph
        # CuPy raises errors of several classes here; all mean: one by one.
        except Exception as error:
            self.problem = (str(error) or type(error).__name__).splitlines()[0]
