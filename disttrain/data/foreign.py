"""Data files of other programs: HDF5, read by h5py, after looking at what it is about to read.

Before a value is read, h5py's low-level interface shows what must be refused: links to other files,
external storage, virtual data sets, references, types that are no numbers, arrays of which not all
is stored or which unpack to very much. Arrays that are stored as numpy has them in memory are read
by plain reads. The HDF5 library reads through `Stream`, so every block of a file with a record is
compared with it, and the library opens no file by its name.

The library itself is trusted: a file that was made to harm it can crash or stop the process.
"""

from __future__ import annotations

import importlib
import math
import weakref
from contextlib import suppress
from typing import Any

import h5py
import numpy as np

from disttrain.data.format import CLASSES, FORMAT, VERSION
from disttrain.data.library import Stream, library
from disttrain.data.matlab import texts_of_matlab
from disttrain.data.record import names_in
from disttrain.data.stored import Array, Plain, Refused, Source

__all__ = ["Foreign"]

# Unpacked chunks that the library keeps, of each array.
CACHE_BYTES = 32 << 20
# An array may be so many times as large as what is stored of it (and a small one larger).
RATIO, SMALL = 200, 1 << 20
LINKS = 16
ATTRIBUTE_BYTES = 1 << 20
# Of the texts: the names of a million classes, the columns of a wide table.
TEXT_BYTES = 16 << 20
KINDS = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM)
# What an error calls the classes of types that are not read here.
OTHERS = {
    h5py.h5t.TIME: "times", h5py.h5t.STRING: "text", h5py.h5t.BITFIELD: "bit fields",
    h5py.h5t.OPAQUE: "opaque bytes", h5py.h5t.COMPOUND: "compound values",
    h5py.h5t.REFERENCE: "references", h5py.h5t.VLEN: "values of varying length",
    h5py.h5t.ARRAY: "arrays",
}  # fmt: skip
REPACK = "write it again without the filter (`h5repack -f NONE OLD NEW`)"


class Foreign:
    """A file of another program. `close` is not needed: it is closed with the last of its arrays.

    Raises Refused, for a data file of ours of another version too.
    """

    def __init__(self, source: Source) -> None:
        self._source, self.size = source, source.size
        with library():
            # The interpreter would crash if it ended with such a file still open.
            file = h5py.File(Stream(source), "r", rdcc_nbytes=CACHE_BYTES)
            weakref.finalize(self, file.close)
            self._root = h5py.h5g.open(file.id, b"/")
        stated = self._attribute("format")
        self.ours = stated == FORMAT
        if stated == "disttrain-checkpoint":
            raise Refused("it is a checkpoint, not a data file", "give the file with the samples")
        version = self._attribute("version")
        if self.ours and version != VERSION:
            raise Refused(
                f"it has version {version!r:.40}, not {VERSION}", "use the disttrain that wrote it"
            )
        self.classes = self._classes()

    def _classes(self) -> tuple[str, ...]:
        names = self._attribute(CLASSES)
        if isinstance(names, list):
            return tuple(map(str, names))
        if self.ours and names is not None:
            raise Refused(f"it has the classes {names!r:.40}, which is not a list of names")
        try:
            return names_in(self.text(CLASSES))
        except (ValueError, RecursionError):
            raise Refused("the names of its classes are damaged") from None

    def text(self, name: str) -> str:
        """Return the text that `disttrain prepare` keeps under a name, "" where there is none."""
        array = self.get(name) if self.ours else None
        if array is None or array.dtype != np.uint8 or len(array.shape) != 1:
            return ""
        if array.length > TEXT_BYTES:
            raise Refused(f"'{name}' is longer than {TEXT_BYTES} bytes")
        try:
            return bytes(array.all()).decode()
        except UnicodeDecodeError:
            raise Refused(f"'{name}' is not a text") from None

    def _attribute(self, name: str) -> Any:
        """Return a number, a text or a list of them; None for anything else, and for nothing."""
        with suppress(Exception):
            found = h5py.h5a.open(self._root, name.encode())
            small = len(found.shape) <= 1 and found.get_storage_size() <= ATTRIBUTE_BYTES
            if small and found.get_type().get_class() in (*KINDS, h5py.h5t.STRING):
                value = h5py.AttributeManager(h5py.Group(self._root))[name]
                many = [v.decode() if isinstance(v, bytes) else v for v in np.ravel(value).tolist()]
                return many if found.shape else many[0]
        return None

    def has(self, split: str) -> bool:
        """Return True where there is something called `split`."""
        with library():
            return bool(self._root.links.exists(split.encode()))

    def get(self, path: str) -> Array | None:
        """Return the array at `path`, None where there is none; soft links inside are followed."""
        with library():
            found = self._find(path)
            return None if found is None else self._array(found, path)

    def values(self, path: str) -> np.ndarray | None:
        """Return all values of the array at `path`, None where there is none.

        `path` may also be that of a table with the name of a column behind it. Texts are str.
        """
        with library():
            found, column = self._find(path), ""
            if found is None:
                path, _, column = path.rpartition("/")
                found = self._find(path)
            if found is None or (bool(column) and not found.dtype.names):
                return None
            if found.dtype.names:
                names = ", ".join(found.dtype.names)
                if column not in found.dtype.names:
                    raise Refused(f"{path} is a table", f"name one of its columns: {path}/{names}")
                whole = Packed(path, self._own(found, path), found.dtype, self)
                return _plain(whole.column(column), f"{path}/{column}")
            if found.get_type().get_class() == h5py.h5t.STRING:
                self._own(found, path)
                return np.asarray(h5py.Dataset(found).asstr("utf-8", "replace")[()]).astype(str)
            if found.get_type().get_class() == h5py.h5t.VLEN:
                raise Refused(
                    f"{path} holds values of varying length, as pandas writes texts",
                    'write them again with to_hdf(format="table")',
                )
            matlab = texts_of_matlab(found, path)
            return self._array(found, path).all() if matlab is None else matlab

    def listed(self, most: int = 20) -> list[str]:
        """Return the first `most` arrays in the file: path, shape, and type or columns."""
        found: list[str] = []

        def add(name: str, node: Any) -> bool | None:
            if isinstance(node, h5py.Dataset) and not name.startswith("#"):  # MATLAB's own
                columns = f" with columns {', '.join(node.dtype.names)}" if node.dtype.names else ""
                kind = "" if columns else f" {node.dtype}"
                found.append(f"/{name} {node.shape}{kind}{columns}")
            return True if len(found) >= most else None

        with library():
            h5py.Group(self._root).visititems(add)
        return found

    def _find(self, path: str) -> h5py.h5d.DatasetID | None:
        """Return the array at `path`, None where there is none."""
        with library():
            here: Any = self._root
            names, hops = path.split("/"), 0
            while names:
                name = names.pop(0)
                if name in ("", "."):
                    continue
                if not isinstance(here, h5py.h5g.GroupID) or not here.links.exists(name.encode()):
                    return None
                kind = here.links.get_info(name.encode()).type
                if kind == h5py.h5l.TYPE_SOFT:
                    target, hops = here.links.get_val(name.encode()).decode(), hops + 1
                    if hops > LINKS:
                        raise Refused(f"{path} is reached over more than {LINKS} links")
                    here = self._root if target.startswith("/") else here
                    names = target.split("/") + names
                elif kind == h5py.h5l.TYPE_HARD:
                    here = h5py.h5o.open(here, name.encode())
                else:
                    raise Refused(
                        f"{path} is a link to another file, which is not followed",
                        "put the values there",
                    )
            return here if isinstance(here, h5py.h5d.DatasetID) else None

    def _own(self, found: h5py.h5d.DatasetID, path: str) -> h5py.h5d.DatasetID:
        """Return an array whose values lie in this file; raise Refused for any other."""
        made = found.get_create_plist()
        if made.get_external_count() or made.get_layout() == h5py.h5d.VIRTUAL:
            raise Refused(f"{path} keeps its values in other files", "put the values there")
        if found.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            raise Refused(f"{path} holds no values")
        return found

    def _array(self, found: h5py.h5d.DatasetID, path: str) -> Array:
        layout, kind = self._own(found, path).get_create_plist().get_layout(), found.get_type()
        if kind.get_class() not in KINDS:
            what = OTHERS.get(kind.get_class(), "something that numpy has no type for")
            raise Refused(f"{path} does not hold numbers but {what}")
        if not found.shape:
            raise Refused(f"{path} holds a single number", "name an array with a row per sample")
        # Without what h5py notes at the types of enumerations.
        dtype = np.dtype(found.dtype.str)
        if dtype.kind not in "iufb" or dtype.itemsize > 8:
            raise Refused(f"{path} holds numbers of {dtype}, of over 8 bytes")
        place = found.get_offset()
        if layout == h5py.h5d.CONTIGUOUS and kind.equal(h5py.h5t.py_create(found.dtype)):
            if place is None and math.prod(found.shape):
                raise Refused(f"{path} has shape {found.shape}, but was never written")
            return Plain(path, found.shape, dtype, self._source, place or 0)
        return Packed(path, found, dtype, self)


class Packed(Array):
    """An array that the library unpacks: in chunks, or of numbers in another form than numpy's."""

    def __init__(
        self, path: str, found: h5py.h5d.DatasetID, dtype: np.dtype[Any], file: Foreign
    ) -> None:
        super().__init__(path, found.shape, dtype)
        self._found, self._file = h5py.Dataset(found), file
        made, stored, unpacked = found.get_create_plist(), found.get_storage_size(), self.length
        if made.get_layout() == h5py.h5d.CHUNKED and self.length:
            chunk = made.get_chunk()
            grid = [-(-n // c) for n, c in zip(self.shape, chunk, strict=True)]
            if found.get_num_chunks() != math.prod(grid):
                raise Refused(f"{path} has shape {self.shape}, but not all of it is stored")
            band = math.prod(grid[1:]) * math.prod(chunk) * dtype.itemsize
            unpacked = band * grid[0]
            self.together = chunk[0] if band > CACHE_BYTES else 1
            for number in range(made.get_nfilters()):
                _refuse_unknown(made.get_filter(number), path)
        if stored > file.size or unpacked > max(SMALL, RATIO * stored):
            raise Refused(
                f"{path} unpacks {stored} stored bytes to {unpacked}, over {RATIO} times as many",
                REPACK,
            )

    def rows(self, first: int, end: int) -> np.ndarray:
        """Return rows `first..end-1`."""
        with library():
            return np.asarray(self._found[first:end]).view(self.dtype)

    def column(self, name: str) -> np.ndarray:
        """Return all values of one column of a table."""
        with library():
            return np.asarray(self._found.fields(name)[()])


def _plain(values: np.ndarray, path: str) -> np.ndarray:
    """Return numbers as they are, and bytes as text; raise Refused for anything else."""
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind not in "iufb" or values.dtype.itemsize > 8:
        raise Refused(f"{path} holds {values.dtype}, not numbers")
    return values


def _refuse_unknown(filtered: tuple[int, int, tuple[int, ...], bytes], path: str) -> None:
    number, _, _, name = filtered
    if not h5py.h5z.filter_avail(number):
        # The import registers its filters.
        with suppress(ImportError):
            importlib.import_module("hdf5plugin")
    if not h5py.h5z.filter_avail(number):
        raise Refused(
            f"{path} has the filter {number} ({name.decode(errors='replace')}), which is not "
            "installed",
            f"pip install hdf5plugin, or {REPACK}",
        )
