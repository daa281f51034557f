"""A communicator of one rank, without MPI."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar, cast

import numpy as np

from disttrain.comm.communicator import Communicator, group_name
from disttrain.comm.gathers.base import AllGather, AloneGather
from disttrain.comm.sums.base import AloneLeaves, Held, LeafSum, NoSum, Sum
from disttrain.comm.watch import Watch

__all__ = ["Alone"]

T = TypeVar("T")


class Alone(Communicator):
    """The ranks of a command that was started without a launcher: rank 0 of 1."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.rank = self.local_rank = self.host_rank = 0
        self.size = self.local_size = self.host_size = 1
        self.host = socket.gethostname()
        self.hosts = [self.host]
        self.library = "none"
        self.watch = Watch(0, self.host, group=name)

    @property
    def shared_room(self) -> float:
        """No limit of its own: it is ordinary memory."""
        return float("inf")

    def share(self, value: T | None = None) -> T:
        """Return `value`."""
        return cast(T, value)

    def collect(self, value: T) -> list[T]:
        """Return a list of `value`."""
        return [value]

    def gather(self, value: T) -> list[T]:
        """Return a list of `value`."""
        return [value]

    def broadcast(self, array: np.ndarray[Any, Any]) -> None:
        """Leave `array` as it is."""

    def pass_on(self, out: np.ndarray[Any, Any], into: np.ndarray[Any, Any]) -> None:
        """Overwrite `into` with `out`: the next rank is this one."""
        into[...] = out

    def barrier(self) -> None:
        """Return at once."""

    def node_array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """Return an ordinary array."""
        return np.empty(shape, dtype)

    def free_node_array(self, array: np.ndarray[Any, Any]) -> None:
        """Leave it to Python."""

    def summation(self, length: int, dtype: Any, header: int, way: str = "auto") -> Sum:
        """Return the sum over one rank, whatever the `way`."""
        return NoSum(length, dtype, header)

    def leaf_summation(
        self, held: Held, width: int, length: int, dtype: Any, header: int
    ) -> LeafSum:
        """Return the sum of one rank, which has the whole tree."""
        return AloneLeaves(length, dtype, header)

    def all_gather(self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> AllGather:
        """Return ordinary arrays."""
        return AloneGather(shapes, dtypes)

    def split(self, colour: int) -> Communicator:
        """Return a group of this one rank."""
        return Alone(group_name(self.name, colour))

    def close(self) -> None:
        """End the watch."""
        self.closed = True
        self.watch.close()

    def abort(self, code: int) -> NoReturn:
        """End this process with `code`."""
        raise SystemExit(code)
