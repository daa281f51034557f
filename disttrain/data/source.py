"""The rows of one split: in memory once per node, or streamed from the file in blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from disttrain.comm import Communicator
from disttrain.data.file import DataFile, reading
from disttrain.data.order import POOL_BLOCKS
from disttrain.errors import DataError

__all__ = [
    "ArrayRows",
    "ChosenInputs",
    "FileRows",
    "JoinedRows",
    "PickedRows",
    "Rows",
    "SharedRows",
    "StreamedRows",
]


class Rows(ABC):
    """Samples by number: `count` of them, each `inputs` numbers of type `dtype`.

    `gaps` are samples with missing cells that nothing fills: their predictions are NaN.
    """

    gaps: np.ndarray = np.empty(0, np.int64)
    count: int
    inputs: int
    dtype: np.dtype[Any]

    @abstractmethod
    def locate(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return an array of rows as stored, and the row number in it of each of `samples`."""

    def addresses(self, samples: np.ndarray) -> np.ndarray | None:
        """Return where in memory the rows of `samples` begin (int64), in the machine's byte order.

        Valid until the next call of this or of `locate`; None where rows do not lie in memory as
        `locate` gives them.
        """
        return None

    def close(self, comm: Communicator) -> None:  # noqa: B027 - most hold nothing shared
        """Give back what the rows hold. Collective."""


class ArrayRows(Rows):
    """Rows of an array in this process."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array.reshape(len(array), -1)
        self.count, self.inputs, self.dtype = *self._array.shape, array.dtype

    def locate(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the array and `samples`."""
        return self._array, samples

    def addresses(self, samples: np.ndarray) -> np.ndarray | None:
        """Return where the rows begin."""
        return addresses_in(self._array, samples)


class ChosenInputs(Rows):
    """Rows of others, of which only the inputs `chosen` are taken, in that order."""

    def __init__(self, rows: Rows, chosen: np.ndarray) -> None:
        self._rows, self._chosen = rows, chosen
        self.count, self.inputs, self.dtype = rows.count, len(chosen), rows.dtype

    def locate(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the chosen inputs of `samples`."""
        stored, places = self._rows.locate(samples)
        return stored[places][:, self._chosen], np.arange(len(samples))

    def close(self, comm: Communicator) -> None:
        """Give back what the other rows hold."""
        self._rows.close(comm)


class PickedRows(Rows):
    """Some of the rows of others: sample `n` is their sample `numbers[n]`; these stay open."""

    def __init__(self, rows: Rows, numbers: np.ndarray) -> None:
        self._rows, self._numbers = rows, numbers
        self.count, self.inputs, self.dtype = len(numbers), rows.inputs, rows.dtype

    def locate(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the others have these samples."""
        return self._rows.locate(self._numbers[samples])

    def addresses(self, samples: np.ndarray) -> np.ndarray | None:
        """Return where the others have these rows."""
        return self._rows.addresses(self._numbers[samples])


class JoinedRows(Rows):
    """Rows of several others, one after the other."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = list(parts)
        self._ends = np.cumsum([part.count for part in parts])
        self.count, self.inputs, self.dtype = (
            int(self._ends[-1]), parts[0].inputs, parts[0].dtype,
        )  # fmt: skip

    def locate(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of `samples` in their order."""
        found = np.empty((len(samples), self.inputs), self.dtype.newbyteorder("="))
        numbers = np.searchsorted(self._ends, samples, "right")
        for number in np.unique(numbers):
            here, part = numbers == number, self._parts[number]
            stored, places = part.locate(samples[here] - (self._ends[number] - part.count))
            found[here] = stored[places]
        return found, np.arange(len(samples))

    def close(self, comm: Communicator) -> None:
        """Give back what the parts hold."""
        for part in self._parts:
            part.close(comm)


class FileRows(Rows):
    """Rows of a data file; `rows[n]` is the row of the file that sample `n` is."""

    def __init__(self, file: DataFile, split: str, rows: np.ndarray) -> None:
        self.file, self.split, self._rows = file, split, rows
        facts = file.facts_of(split)
        self._stored = facts.stored_inputs
        # Truth values are stored and streamed as the bytes that they are.
        self.dtype = np.dtype("i1") if facts.dtype.kind == "b" else facts.dtype
        self.count, self.inputs = len(rows), facts.inputs

    def _read(self, low: int, high: int) -> np.ndarray:
        """Return samples `low..high-1` from the file, checked to be finite numbers."""
        rows = self._rows[low:high]
        first, last = int(rows[0]), int(rows[-1]) + 1
        with reading(self.file.path):
            stored = self._stored.rows(first, last)
        part: np.ndarray = stored if len(stored) == len(rows) else stored[rows - first]
        part = part.reshape(len(rows), self.inputs)
        if part.dtype.kind == "b":
            part = part.view(self.dtype)
        if part.dtype.kind == "f" and not np.isfinite(part).all():
            row = int(rows[np.flatnonzero(~np.isfinite(part).all(axis=1))[0]])
            raise DataError(
                f"data file {self.file.path}: {self.split}/{self.file.names[0]} row {row} holds "
                "NaN or infinity: mend the data and prepare it again"
            )
        return part


class SharedRows(FileRows):
    """All rows in memory that the ranks of a node share; each reads its part of them once.

    Collective. `load` must run between two points that all ranks pass.
    """

    def __init__(self, file: DataFile, split: str, rows: np.ndarray, comm: Communicator) -> None:
        super().__init__(file, split, rows)
        self._memory = comm.node_array((self.count, self.inputs), self.dtype.newbyteorder("="))
        self._place, self._places = comm.local_rank, comm.local_size

    def close(self, comm: Communicator) -> None:
        """Give the shared memory back."""
        self._memory = self._memory[:0].copy()

    def load(self, block_rows: int, comm: Communicator) -> None:
        """Read this rank's part of the rows into the shared memory."""
        low = self.count * self._place // self._places
        end = self.count * (self._place + 1) // self._places
        step = max(block_rows, self._stored.together)
        for first in range(low, end, step):
            comm.phase("reading data")
            last = min(first + step, end)
            self._memory[first:last] = self._read(first, last)

    def locate(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the shared memory and `samples`."""
        return self._memory, samples

    def addresses(self, samples: np.ndarray) -> np.ndarray | None:
        """Return where the rows begin in the shared memory."""
        return addresses_in(self._memory, samples)


class StreamedRows(FileRows):
    """Blocks of rows read when they are needed; the last ones used are kept."""

    def __init__(self, file: DataFile, split: str, rows: np.ndarray, block_rows: int) -> None:
        super().__init__(file, split, rows)
        together = self._stored.together
        if together > block_rows:
            raise DataError(
                f"data file {file.path}: {self._stored.path} lies in chunks of {together:,} rows, "
                f"which would be unpacked again for every {block_rows:,} rows: write it again "
                "(`h5repack -l CONTI -f NONE OLD NEW`), or use a node whose memory holds all of it"
            )
        self._block_rows = block_rows
        self._blocks: OrderedDict[int, np.ndarray] = OrderedDict()
        # The samples of a pool, where their rows begin, and the blocks that these lie in.
        self._pool: np.ndarray | None = None
        self._of_pool: tuple[np.ndarray, list[np.ndarray]] = np.empty(0, np.int64), []
        self._held = list[np.ndarray]()

    def locate(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of `samples` in their order."""
        self._drop()
        found = np.empty((len(samples), self.inputs), self.dtype.newbyteorder("="))
        numbers = samples // self._block_rows
        for number in np.unique(numbers):
            here = numbers == number
            found[here] = self._block(int(number))[samples[here] - number * self._block_rows]
        return found, np.arange(len(samples))

    def addresses(self, samples: np.ndarray) -> np.ndarray | None:
        """Return where the rows begin, in blocks that are held; a pool's are found at once."""
        pool = samples.base
        if isinstance(pool, np.ndarray) and pool.ndim == samples.ndim == 1:
            if pool is not self._pool and len(pool) <= POOL_BLOCKS * self._block_rows:
                self._drop()
                self._pool, self._of_pool = pool, self._found(pool)
            if pool is self._pool and pool.strides == samples.strides:
                low = address_of(samples) - address_of(pool)
                first = low // pool.itemsize
                self._held = []
                return self._of_pool[0][first : first + len(samples)]
        self._drop()
        found, self._held = self._found(samples)
        return found

    def _drop(self) -> None:
        """Hold no blocks but the last ones used, before others are read."""
        self._pool, self._of_pool, self._held = None, (np.empty(0, np.int64), []), []

    def _found(self, samples: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return where the rows of samples begin, and the blocks that they lie in."""
        numbers = samples // self._block_rows
        different, place = np.unique(numbers, return_inverse=True)
        blocks = [self._block(number) for number in different.tolist()]
        begins = np.array([block.ctypes.data for block in blocks], np.int64)[place]
        row_bytes = self.inputs * self.dtype.itemsize
        return begins + (samples - numbers * self._block_rows) * row_bytes, blocks

    def _block(self, number: int) -> np.ndarray:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        # Blocks of two pools: a batch at the border of two pools needs both.
        while len(self._blocks) >= 2 * POOL_BLOCKS:
            self._blocks.popitem(last=False)
        low = number * self._block_rows
        read = self._read(low, min(low + self._block_rows, self.count))
        block = np.require(read, self.dtype.newbyteorder("="), ["C", "A"])
        self._blocks[number] = block
        return block


def address_of(array: np.ndarray) -> int:
    """Return where an array begins; `array.ctypes.data` takes longer."""
    found: int = array.__array_interface__["data"][0]
    return found


def addresses_in(rows: np.ndarray, samples: np.ndarray) -> np.ndarray | None:
    """Return where these rows of an array begin; None where it does not lie in one run."""
    if not (rows.flags.c_contiguous and rows.flags.aligned and rows.dtype.isnative):
        return None
    found: np.ndarray = samples * rows[:1].nbytes + rows.ctypes.data
    return found
