"""The sum inside a node: every rank adds its slice in memory that all of them share.

Between two barriers each rank reads its slice of all messages, in the order of ranks, and writes
the total once. Nothing is sent. Over several nodes the ranks with the same place in their node
then add their slices by another way: `1/local_size` of the message each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from disttrain.comm.barrier import Barrier
from disttrain.comm.memory import PAGE, SharedMemory
from disttrain.comm.sums.base import Sum, Vector
from disttrain.comm.sums.tree import CHUNK

__all__ = ["Window", "pages_of"]


def pages_of(length: int, dtype: np.dtype, ranks: int) -> tuple[int, list[int]]:
    """Return `length` elements filled up to whole pages, and where the ranks' slices begin and end.

    No two ranks write to one page.
    """
    pages, each = -(-length * dtype.itemsize // PAGE), PAGE // dtype.itemsize
    return pages * each, [min(pages * r // ranks * each, length) for r in range(ranks + 1)]


class Window(Sum):
    """Messages and total in one shared window; `across` adds a slice over nodes, or is None."""

    def __init__(
        self,
        memory: SharedMemory,
        length: int,
        dtype: np.dtype,
        header: int,
        across: Callable[[Vector, Vector], Sum] | None,
    ) -> None:
        node = memory.node
        padded, edges = pages_of(length, dtype, node.size)
        rows = memory.array((node.size + 1, padded), dtype)
        headers = memory.array((node.size, header), np.dtype("f8"))
        rows[node.rank + 1] = 0
        headers[node.rank] = 0
        self.messages, self.headers = rows[1:, :length], headers
        self.message, self.header = self.messages[node.rank], headers[node.rank]
        self.total, self.total_header = rows[0, :length], np.zeros(header)
        self.slice = low, high = edges[node.rank], edges[node.rank + 1]
        self._across = across(self.total[low:high], self.total_header) if across else None
        self.way = f"window+{self._across.way}" if self._across else "window"
        self.barrier = Barrier(memory)

    def finish(self) -> None:
        """Wait for all messages, add this rank's slice of them, wait for all slices."""
        self.barrier.wait()
        begin, end = self.slice
        for low in range(begin, end, CHUNK):
            high = min(low + CHUNK, end)
            total = self.total[low:high]
            np.copyto(total, self.messages[0, low:high])
            for message in self.messages[1:]:
                np.add(total, message[low:high], out=total)
        np.add.reduce(self.headers, axis=0, out=self.total_header)
        if self._across:
            self._across.finish()
        self.barrier.wait()
