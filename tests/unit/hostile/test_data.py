"""Data files that were made to harm: an error of ours, little memory, a second, no other file.

Where there is a record, ours is the reader; else the HDF5 library is, behind what looks first.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from disttrain.data.record import BLOCK, LAYOUT, MARK
from tests.unit.hostile import valid
from tests.unit.hostile.arrays import ARRAYS, a_hole
from tests.unit.hostile.bytes import BYTES
from tests.unit.hostile.run import child, name_of, refused

Make = Callable[[Path], object]


def with_array(name: str) -> Make:
    def make(path: Path) -> None:
        with h5py.File(path, "w") as file:
            ARRAYS[name](file.create_group("train"), "inputs", path.parent)
            file["train/targets"] = np.zeros(12, int)

    return make


def holes(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for part in ("train/inputs", "train/targets"):
            a_hole(file, part, path.parent)


def group_is_a_link(path: Path) -> None:
    other = valid.plain(path.parent / "other.h5")
    with h5py.File(path, "w") as file:
        file["train"] = h5py.ExternalLink(str(other), "/train")


def group_is_a_link_to_a_pipe(path: Path) -> None:
    with h5py.File(path, "w") as file:
        ARRAYS["external link to a pipe"](file, "train", path.parent)


def with_attribute(key: str, value: object) -> Make:
    def make(path: Path) -> None:
        with h5py.File(valid.plain(path), "r+") as file:
            file.attrs[key] = value

    return make


def zeros_without_end(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 42)


def recorded(content: bytes) -> bytes:
    """Return `content` with a right record of its blocks; it may end with a layout."""
    blocks = [content[place : place + BLOCK] for place in range(0, len(content), BLOCK)]
    table = b"".join(hashlib.sha256(block).digest() for block in blocks)
    listed = table + MARK + len(content).to_bytes(8, "little")
    return content + listed + hashlib.sha256(listed).digest()


def a_link_with_a_right_record(path: Path) -> None:
    with_array("external link")(path)
    path.write_bytes(recorded(path.read_bytes()))


def with_layout(
    change: Callable[[dict[str, Any]], object] | bytes, length: int | None = None
) -> Make:
    """Return what writes a data file with another layout in its record."""

    def make(path: Path) -> None:
        written = valid.prepared(path).read_bytes()
        content = written[: int.from_bytes(written[-40:-32], "little")]
        end = len(content) - 8 - len(LAYOUT)
        begin = end - int.from_bytes(content[end : end + 8], "little")
        layout = json.loads(content[begin:end])
        if not isinstance(change, bytes):
            change(layout)
        text = change if isinstance(change, bytes) else json.dumps(layout).encode()
        stated = (len(text) if length is None else length).to_bytes(8, "little")
        path.write_bytes(recorded(content[:begin] + text + stated + LAYOUT))

    return make


def placed(dtype: object, shape: object, place: object) -> Make:
    return with_layout(lambda t: t["arrays"].update({"train/inputs": [dtype, shape, place]}))


def a_record_of_a_size_that_is_not_there(path: Path) -> None:
    content = bytearray(valid.prepared(path).read_bytes())
    content[-40:-32] = (1 << 62).to_bytes(8, "little")
    path.write_bytes(content)


# What h5py reads, and so does a training.
READ = ("soft link", "committed type", "scale offset", "enumeration")
# What means nothing in the file of another program.
ATTRIBUTES: dict[str, Make] = {
    "classes are a number": with_attribute("classes", 3),
    "classes are a table": with_attribute("classes", np.zeros((3, 3))),
    "classes are opaque": with_attribute("classes", np.void(b"abc")),
    "the version is a list": with_attribute("version", np.ones(3)),
    "the version is a long text": with_attribute("version", "1" * 60_000),
    "the format is a number": with_attribute("format", 1.5),
    "the format is many lines": with_attribute("format", "a\nb\x1b[31m\n"),
}
CORPUS: dict[str, Make] = {
    **{name: with_array(name) for name in ARRAYS if name not in READ},
    **{name: (lambda path, make=make: path.write_bytes(make())) for name, make in BYTES.items()},
    **{
        name_of(make): make
        for make in (
            holes, group_is_a_link, group_is_a_link_to_a_pipe, zeros_without_end,
            a_link_with_a_right_record, a_record_of_a_size_that_is_not_there,
        )
    },
    "an array past the end": placed("<f4", [12, 4], 1 << 40),
    "an array before the beginning": placed("<f4", [12, 4], -192),
    "an array at half a byte": placed("<f4", [12, 4], 2048.5),
    "an array at true": placed("<f4", [12, 4], True),
    "an array where another is": with_layout(
        lambda t: t["arrays"]["train/inputs"].__setitem__(2, t["arrays"]["train/targets"][2])
    ),
    "an array of a terabyte": placed("<f4", [1 << 36, 4], 2048),
    "an array of no rows": placed("<f4", [0, 1 << 62], 2048),
    "an array of negative rows": placed("<f4", [-12, -4], 2048),
    "an array of many dimensions": placed("<f4", [12, 4] + [1] * 100, 2048),
    "an array of objects": placed("|O", [12], 2048),
    "an array of records": placed("<f4,<f4", [12, 2], 2048),
    "an array of text": placed("|S16", [12], 2048),
    "an array of complex numbers": placed("<c8", [12, 2], 2048),
    "an array of a type that is a list": placed(["<f4"], [12, 4], 2048),
    "an array without a place": with_layout(lambda t: t["arrays"].update({"train/inputs": []})),
    "no arrays": with_layout(lambda t: t["arrays"].clear()),
    "classes that are numbers": with_layout(lambda t: t["texts"].update(classes="[1, 2]")),
    "classes that are no JSON": with_layout(lambda t: t["texts"].update(classes="{")),
    "texts that are numbers": with_layout(lambda t: t["texts"].update(preparation=3)),
    "no texts": with_layout(lambda t: t.pop("texts")),
    "a layout that is no JSON": with_layout(b"\xff{"),
    "a layout that is a list": with_layout(b"[]"),
    "a layout that is deep": with_layout(b"[" * 100_000),
    "a layout of a long number": with_layout(b"9" * 100_000),
    "a layout longer than the file": with_layout(b"{}", 1 << 62),
    "nothing": lambda path: path.touch(),
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
    "a signature alone": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("data")
    makes = CORPUS | ATTRIBUTES | {name: with_array(name) for name in READ}
    for name, make in makes.items():
        make(folder / name)
    whole = valid.plain(folder / "whole")
    return child(whole, "data", "each", *(folder / name for name in makes), whole)


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_data_file(found: dict[str, Any], name: str) -> None:
    sentence = refused(found[name], name, "DataError")
    if "external link" in name or "is a link" in name:
        assert "is a link to another file" in sentence


@pytest.mark.parametrize("name", READ)
def test_what_h5py_reads_inside_the_file(found: dict[str, Any], name: str) -> None:
    assert found[name]["outcome"] == "read"
    assert found[name]["opened"] == []


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_what_other_programs_note_at_their_files(found: dict[str, Any], name: str) -> None:
    assert found[name]["outcome"] == "read"
    if "classes" not in name:
        assert found[name] == found["whole"]


def test_what_is_not_asked_for_is_not_looked_at(tmp_path: Path) -> None:
    """Files of other programs hold more than two arrays; a link beside them harms nobody."""
    whole = valid.plain(tmp_path / "whole")
    with h5py.File(valid.plain(tmp_path / "plain"), "r+") as file:
        ARRAYS["external link to a pipe"](file, "notes", tmp_path)
        ARRAYS["objects"](file, "more", tmp_path)
    found = child(whole, "data", "each", tmp_path / "plain", whole)
    assert found["plain"] == found["whole"]
    assert found["plain"]["outcome"] == "read"
    assert found["plain"]["opened"] == []
