"""A module that stands for cupy: device memory is numpy's, kernels run on the processor.

Streams can capture: what is launched in a capture is not done but kept, and each launch of the
graph does it again. As on a GPU, a capture refuses what would wait for the device, and it refuses
memory: then the same addresses hold for every launch.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from tests.gpu.host_cuda import Module

__all__ = ["FakeArray", "Refused", "fake_gpu", "log"]

GPU_FILES = (
    "gpu", "gpu_launch", "gpu_images", "gpu_kernels", "gpu_losses", "gpu_graph", "gpu_program",
    "gpu_normalization", "gpu_notes",
)  # fmt: skip


class Failed(RuntimeError):
    """An error of CUDA's."""


class Refused(Failed):
    """What CUDA does not allow while a stream is captured."""


class OutOfMemory(MemoryError):
    """The GPU's memory does not suffice."""


class Log:
    """What has happened: launches one by one, captures, and launches of graphs."""

    def __init__(self) -> None:
        self.kept: list[Callable[[], None]] | None = None
        self.current: Any = None
        self.launches = self.graphs = self.replays = 0
        self.strict = True

    def do(self, what: Callable[[], None], stream: Any) -> None:
        """Do something on a stream now, or keep it where the stream is captured."""
        if self.kept is None:
            what()
        elif stream is not None and stream.capturing:
            self.kept.append(what)
        else:
            raise Refused("work on another stream during a capture")

    def forbid(self, what: str) -> None:
        """Raise during a capture."""
        if self.kept is not None:
            raise Refused(f"{what} during a capture")


log = Log()


class FakeArray(np.ndarray):
    """An array in device memory."""

    @property
    def data(self) -> Any:  # type: ignore[override]
        """The address, as cupy's arrays have it."""
        return SimpleNamespace(ptr=self.ctypes.data)

    def __setitem__(self, key: Any, value: Any) -> None:
        log.forbid("an assignment of cupy's")
        refuse_host_arrays([value])
        super().__setitem__(key, value)

    def __array_ufunc__(self, ufunc: Any, method: str, *given: Any, **named: Any) -> Any:
        log.forbid("a function of cupy's")
        refuse_host_arrays(given)
        plain = [np.asarray(x) if isinstance(x, np.ndarray) else x for x in given]
        outs = named.get("out")
        if outs:
            named["out"] = tuple(np.asarray(x) if x is not None else None for x in outs)
        found = getattr(ufunc, method)(*plain, **named)
        if outs and len(outs) == 1 and outs[0] is not None:
            return outs[0]
        return found.view(FakeArray) if isinstance(found, np.ndarray) else found


def refuse_host_arrays(given: Any) -> None:
    """Raise as CuPy does where a function is given an array of numpy's."""
    for each in given if log.strict else ():
        if type(each) is np.ndarray:
            raise TypeError(f"Unsupported type {type(each)}")
        if isinstance(each, list | tuple):
            refuse_host_arrays(each)


class Stream:
    """A stream of work, which can be captured."""

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self.ptr, self.capturing, self._before = id(self), False, None
        self._can = non_blocking and not null

    def __enter__(self) -> Stream:
        self._before, log.current = log.current, self
        return self

    def __exit__(self, *_: object) -> None:
        log.current = self._before

    def begin_capture(self) -> None:
        """Keep what is launched here from now on."""
        assert self._can, "the default stream can't be captured"
        assert log.kept is None
        self.capturing, log.kept = True, []

    def end_capture(self) -> Graph:
        """Return what has been kept."""
        kept, log.kept, self.capturing = log.kept, None, False
        log.graphs += 1
        assert kept is not None
        return Graph(kept)

    def synchronize(self) -> None:
        """Wait, which a capture does not allow."""
        log.forbid("waiting for a stream")

    def wait_event(self, event: Any) -> None:
        """Let later work wait for an event."""
        log.forbid("waiting for an event of another stream")

    def record(self, event: Any = None) -> Any:
        """Return an event."""
        return event or Event()


class Graph:
    """What a capture has kept."""

    def __init__(self, kept: list[Callable[[], None]]) -> None:
        self.kept = kept

    def launch(self, stream: Stream | None = None) -> None:
        """Do all of it."""
        log.forbid("a launch of a graph")
        log.replays += 1
        for each in self.kept:
            each()


class Event:
    """A place in a stream."""

    done = True

    def __init__(self, disable_timing: bool = False) -> None:
        pass

    def record(self, stream: Any = None) -> None:
        """Stand behind the work so far."""
        log.forbid("recording an event")

    def synchronize(self) -> None:
        """Wait, which a capture does not allow."""
        log.forbid("waiting for an event")


def memcpy(to: int, source: int, size: int, kind: int, stream: int) -> None:
    """Copy memory behind the work of a stream."""
    on = log.current if log.current is not None and log.current.ptr == stream else None
    log.do(lambda: ctypes.memmove(to, source, size) and None, on)


class RawModule(Module):
    """The kernels of a source; launches go by the stream."""

    def get_function(self, name: str) -> Callable[..., None]:
        """Return a kernel that takes arrays in device memory only."""
        run = super().get_function(name)

        def launch(grid: tuple[int, ...], block: tuple[int, ...], given: tuple[Any, ...]) -> None:
            for each in given:
                assert isinstance(each, FakeArray | np.generic), f"{name} is given {type(each)}"
            log.launches += 1
            log.do(lambda: run(grid, block, given), log.current)

        return launch


class Cupy(ModuleType):
    """The module."""

    RawModule = RawModule
    ndarray = FakeArray

    def __init__(self) -> None:
        super().__init__("cupy")
        runtime = SimpleNamespace(
            getDeviceCount=lambda: 1, memcpyAsync=memcpy, memcpyHostToDevice=1,
            memcpyDeviceToHost=2, memGetInfo=lambda: (1 << 33, 1 << 34), hostRegister=lambda *_: 0,
            hostUnregister=lambda *_: 0, CUDARuntimeError=Failed,
            getDeviceProperties=lambda _: {"name": b"none, stands for one", "major": 9, "minor": 0},
            runtimeGetVersion=lambda: 13000,
        )  # fmt: skip
        self.cuda = SimpleNamespace(
            Stream=Stream, Event=Event, runtime=runtime, get_current_stream=lambda: log.current,
            driver=SimpleNamespace(CUDADriverError=Failed),
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemory),
            Device=lambda number: SimpleNamespace(id=number, use=lambda: None),
        )  # fmt: skip
        self.newaxis = None

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name)

        def moved(*given: Any, **named: Any) -> Any:
            log.forbid(f"cupy.{name}, which needs memory,")
            refuse_host_arrays(given)
            found = function(*given, **named)
            return found.view(FakeArray) if type(found) is np.ndarray else found

        return function if isinstance(function, type | np.ufunc) else moved

    def asarray(self, host: Any, dtype: Any = None) -> FakeArray:
        """Return a copy in device memory; what is there already stays."""
        log.forbid("memory")
        if isinstance(host, FakeArray) and dtype in (None, host.dtype):
            return host
        return np.array(host, dtype, order="C").view(FakeArray)

    def asnumpy(self, array: Any) -> np.ndarray:
        """Return a copy on the host."""
        log.forbid("waiting for the device")
        return np.array(array).view(np.ndarray)


@contextmanager
def fake_gpu(strict: bool = True) -> Iterator[Any]:
    """Yield the device of `disttrain.arrays.gpu`, made with this module in the place of cupy.

    Where not `strict`, its arrays and numpy's can be mixed, which a test finds handy.
    """
    null = Stream(null=True)
    log.__init__()  # type: ignore[misc]
    log.current, log.strict = null, strict
    cupy: Any = Cupy()
    cupyx: Any = ModuleType("cupyx")
    cupyx.empty_pinned = np.empty
    names = [f"disttrain.arrays.{name}" for name in GPU_FILES]
    before = {name: sys.modules.pop(name, None) for name in [*names, "cupy", "cupyx"]}
    sys.modules.update({"cupy": cupy, "cupyx": cupyx})
    try:
        yield importlib.import_module("disttrain.arrays.gpu").Gpu(0)
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
