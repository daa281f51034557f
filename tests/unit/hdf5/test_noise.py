"""Several bytes changed at a time, in all the forms: refused or read, and nothing else."""

from __future__ import annotations

import contextlib
import io
import random
import struct
from typing import Any

import h5py
import numpy as np
import pytest

from disttrain.hdf5 import Array, Memory, Refused, root_of

FORMS: dict[str, dict[str, Any]] = {
    "earliest": {},
    "latest": {},
    "v108": {"chunks": (7, 3)},
    "filtered": {"chunks": (7, 3), "compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"chunks": (4, 10), "compression": "lzf"},
}
ARRAYS = ("train/inputs", "train/targets", "train/truth", "train/none")


def whole(form: str) -> bytes:
    buffer = io.BytesIO()
    version = form if form in ("latest", "v108") else "earliest"
    with h5py.File(buffer, "w", libver=version) as file:
        file.attrs.update(classes=["a", "b"], format="disttrain-data", n=np.arange(3), none=[])
        data = np.arange(300, dtype="f4").reshape(30, 10)
        file.create_dataset("train/inputs", data=data, **FORMS[form])
        file["train/targets"], file["train/truth"] = np.arange(30), np.ones(3, bool)
        file["train/none"] = np.zeros((0, 3))
    return buffer.getvalue()


def read(content: bytes) -> None:
    root = root_of(Memory(content))
    for name in root.attribute_names:
        root.attribute(name)
    for name in ARRAYS:
        array = root.get(name)
        if isinstance(array, Array):
            array.all()


def noise(content: bytes, draw: random.Random) -> bytes:
    """Return `content` with one to five changes: of a byte, of an address, or a copied piece."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 3, 5))):
        place, other = draw.randrange(len(content) - 40), draw.randrange(len(content) - 40)
        how = draw.random()
        if how < 0.6:
            changed[place] = draw.choice((0, 1, 2, 8, 128, 255, draw.randrange(256)))
        elif how < 0.8:
            edges = (0, 1, 96, len(content), 1 << 32, 1 << 63, (1 << 64) - 2, (1 << 64) - 1, other)
            changed[place : place + 8] = struct.pack("<Q", draw.choice(edges))
        else:
            length = draw.choice((1, 4, 8, 40))
            changed[place : place + length] = content[other : other + length]
    return bytes(changed)


@pytest.mark.parametrize("form", FORMS)
def test_noise(form: str) -> None:
    content, draw = whole(form), random.Random(form)
    read(content)
    refused = 0
    for _ in range(1000):
        changed = noise(content, draw)
        with contextlib.suppress(Refused):
            read(changed)
            refused -= 1
        refused += 1
    assert refused > 0


@pytest.mark.parametrize("shape", [(0, 1 << 62), (1 << 40, 0, 1 << 40)])
def test_no_values_in_a_shape_that_numpy_can_not_have(shape: tuple[int, ...]) -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("x", shape, "u1")
    with pytest.raises(Refused, match="has shape"):
        root_of(Memory(buffer.getvalue())).get("x")
