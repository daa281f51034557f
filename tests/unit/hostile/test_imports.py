"""Files to import or to predict that were made to harm."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.data.importers.images import import_images
from disttrain.errors import DataError
from tests.unit.hostile.run import child, refused

Make = Callable[[Path], object]
X, Y = np.random.default_rng(1).normal(size=(20, 3)), np.arange(20) % 2
# More than the 64 MB that a child may take.
ZEROS = 72 << 20


def npy(shape: object, descr: object = "<f8", content: bytes = b"") -> bytes:
    """Return an .npy file whose header says anything."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n" + content


def archive(x: bytes, y: bytes = npy((20,), "<i8", bytes(160))) -> Make:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("x.npy", x)
            file.writestr("y.npy", y)

    return make


def with_content(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def packed(head: bytes, zeros: int = 0) -> Make:
    """Return what makes a file packed by gzip; many zeros become few bytes."""
    return lambda path: path.write_bytes(gzip.compress(head + bytes(zeros), 9))


HEADERS = {
    "more rows than there are": npy((20, 3), content=bytes(100)),
    "far more rows than there are": npy((1 << 40, 3), content=bytes(100)),
    "a size beyond all numbers": npy((1 << 62, 1 << 62), content=bytes(100)),
    "a negative size": npy((-1, 3), content=bytes(100)),
    "a shape that is text": npy("'a'"),
    "a shape of expressions": npy("(__import__('os').system('true'),)"),
    "deep brackets": npy("(" * 5000 + ")" * 5000),
    "Python objects": npy((20, 3), "|O", b"\x80\x04N."),
    "nothing": b"",
}
NPY: dict[str, Make] = {
    **{name: with_content(content) for name, content in HEADERS.items()},
    "a pipe": os.mkfifo,
    "a pickle": with_content(b"\x80\x04cposix\nsystem\nq\x00."),
}


def packed_otherwise(way: int) -> Make:
    """Return what makes an archive of a few KB that unpacks a large array at once."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", way) as file:
            file.writestr("x.npy", npy((ZEROS // 24, 3), content=bytes(ZEROS)))
            file.writestr("y.npy", npy((20,), "<i8", bytes(160)))
        # It says that it holds little: the sizes in the table of contents are only a claim.
        path.write_bytes(path.read_bytes().replace(struct.pack("<I", ZEROS + 80), b"\0\2\0\0"))

    return make


NPZ: dict[str, Make] = {
    "a bomb of bzip2": packed_otherwise(zipfile.ZIP_BZIP2),
    "a bomb of lzma": packed_otherwise(zipfile.ZIP_LZMA),
    **{name: archive(content) for name, content in HEADERS.items()},
    "a bomb": lambda path: archive(npy((ZEROS // 24, 3), content=bytes(ZEROS)))(path),
    "a cut one": lambda path: (archive(npy((20, 3), content=bytes(480)))(path),
                               path.write_bytes(path.read_bytes()[:-30])),
}  # fmt: skip
TABLE = b"a,b,label\n" + b"1.5,2,0\n2.5,3,1\n" * 10
IDX = b"\0\0\x08\x01" + struct.pack(">I", 20)
CSV: dict[str, Make] = {
    "a bomb of one line": packed(b"", ZEROS),
    "a bomb of digits": lambda path: packed(b"1" * ZEROS)(path),
}
IDXS: dict[str, Make] = {
    "a bomb": packed(b"\0\0\x08\x01" + struct.pack(">I", ZEROS), ZEROS),
    "a size that is not there": with_content(b"\0\0\x08\x03" + b"\xff" * 12 + bytes(100)),
    "a bomb behind its end": packed(IDX, 20 + ZEROS),
}
KINDS: dict[str, tuple[dict[str, Make], Make]] = {
    "npy": (NPY, lambda path: np.save(path.open("wb"), X)),
    "npz": (NPZ, lambda path: np.savez(path.open("wb"), x=X, y=Y)),
    "csv": (CSV, packed(TABLE)),
    "idx": (IDXS, packed(IDX, 20)),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found = {}
    for kind, (corpus, valid) in KINDS.items():
        folder = tmp_path_factory.mktemp(kind)
        for name, make in corpus.items():
            make(folder / name)
        valid(folder / "whole")
        paths = [folder / name for name in (*corpus, "whole")]
        found[kind] = child(folder / "whole", kind, "each", *paths)
    return found


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS for name in KINDS[kind][0]]
)
def test_a_hostile_file(found: dict[str, Any], kind: str, name: str) -> None:
    refused(found[kind][name], name, "DataError")


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_one(found: dict[str, Any], kind: str) -> None:
    assert found[kind]["whole"]["outcome"] == "read"


def test_an_image_that_is_too_large(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    (tmp_path / "a").mkdir()
    buffer = io.BytesIO()
    pillow.new("L", (1, 1)).save(buffer, "BMP")
    for side in (10_000, 100_000):  # Pillow itself warns at the one and refuses the other
        header = bytearray(buffer.getvalue())
        header[18:26] = struct.pack("<ii", side, side)
        (tmp_path / "a" / "0.bmp").write_bytes(header)
        with pytest.raises(DataError, match=r"0\.bmp"):
            import_images(tmp_path)
