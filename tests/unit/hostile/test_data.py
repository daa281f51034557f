"""Data files that were made to harm: an error of ours, little memory, a second, no other file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from disttrain.data.record import add_record
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


def a_link_with_a_right_record(path: Path) -> None:
    with_array("external link")(path)
    add_record(path)


def a_record_of_a_size_that_is_not_there(path: Path) -> None:
    content = bytearray(valid.prepared(path).read_bytes())
    content[-40:-32] = (1 << 62).to_bytes(8, "little")
    path.write_bytes(content)


CORPUS: dict[str, Make] = {
    **{name: with_array(name) for name in ARRAYS},
    **{name: (lambda path, make=make: path.write_bytes(make())) for name, make in BYTES.items()},
    **{
        name_of(make): make
        for make in (
            holes, group_is_a_link, group_is_a_link_to_a_pipe, zeros_without_end,
            a_link_with_a_right_record, a_record_of_a_size_that_is_not_there,
        )
    },
    "classes are a number": with_attribute("classes", 3),
    "classes are a table": with_attribute("classes", np.zeros((3, 3))),
    "classes are opaque": with_attribute("classes", np.void(b"abc")),
    "the version is a list": with_attribute("version", np.ones(3)),
    "the version is a long text": with_attribute("version", "1" * 60_000),
    "the format is a number": with_attribute("format", 1.5),
    "the format is many lines": with_attribute("format", "a\nb\x1b[31m\n"),
    "nothing": lambda path: path.touch(),
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
    "a signature alone": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("data")
    for name, make in CORPUS.items():
        make(folder / name)
    return child(valid.prepared(folder / "whole"), "data", "each", *(folder / n for n in CORPUS))


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_data_file(found: dict[str, Any], name: str) -> None:
    sentence = refused(found[name], name, "DataError")
    if "link" in name:
        assert "is a link to another" in sentence


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
