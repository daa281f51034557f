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

    def share(self, value: T | None = None, source: int = 0) -> T:
        self.refuse_inside()
        return cast(T, value)

    def collect(self, value: T) -> list[T]:
        self.refuse_inside()
        return [value]

    def gather(self, value: T) -> list[T]:
        self.refuse_inside()
        return [value]

    def broadcast(self, array: np.ndarray[Any, Any], source: int = 0) -> None:
        """Leave `array` as it is."""
        self.refuse_inside()

    def pass_on(self, out: np.ndarray[Any, Any], into: np.ndarray[Any, Any]) -> None:
        into[...] = out

    def barrier(self) -> None:
        """Return at once."""
        self.refuse_inside()

    def node_array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        return np.empty(shape, dtype)

    def summation(self, length: int, dtype: Any, header: int, way: str = "auto") -> Sum:
        return NoSum(length, dtype, header)

    def leaf_summation(
        self, held: Held, width: int, length: int, dtype: Any, header: int
    ) -> LeafSum:
        return AloneLeaves(length, dtype, header)

    def all_gather(self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> AllGather:
        return AloneGather(shapes, dtypes)

    def split(self, colour: int) -> Communicator:
        return Alone(group_name(self.name, colour))

    def close(self) -> None:
        self.closed = True
        self.watch.close()

    def abort(self, code: int) -> NoReturn:
        raise SystemExit(code)
