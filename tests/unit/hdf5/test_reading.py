"""What is read is what the HDF5 library reads, in all the forms that it writes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from disttrain.hdf5 import Array, Group, OpenFile, Refused, everything_in, root_of

VERSIONS = ["earliest", "v108", "v110", "latest"]
ATTRIBUTES = {
    "text": "ä", "fixed": np.bytes_(b"abc"), "whole": 3, "half": 0.5, "names": ["a", "ö", ""],
    "numbers": np.arange(3.0), "empty": h5py.Empty("f4"), "byte": np.uint8(200),
}  # fmt: skip


def opened(path: Path) -> Group:
    return root_of(OpenFile(path))


def array_at(path: Path, name: str) -> Array:
    found = opened(path).get(name)
    assert isinstance(found, Array)
    return found


def same_as_the_library_reads(path: Path, name: str) -> None:
    found = array_at(path, name)
    with h5py.File(path) as file:
        wanted = file[name]
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_array_equal(found.all(), wanted[()])
        for low, high in [(0, 0), (0, 1), (2, 7), (5, len(wanted))] if found.shape else []:
            np.testing.assert_array_equal(found.rows(low, high), wanted[low:high])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "<i2", ">u2", ">i4", "u8", "f2", "<f4", ">f4", ">f8", "?", "S5"]
)
def test_types_and_shapes(tmp_path: Path, version: str, dtype: str) -> None:
    random = np.random.default_rng(0)
    with h5py.File(tmp_path / "a.h5", "w", libver=version) as file:
        file["deep/er/x"] = random.integers(0, 2, (20, 3, 4)).astype(dtype)
        file["one"] = np.ones((), dtype)
    for name in ("deep/er/x", "one"):
        same_as_the_library_reads(tmp_path / "a.h5", name)


@pytest.mark.parametrize("version", VERSIONS)
def test_attributes(tmp_path: Path, version: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver=version) as file:
        file.attrs.update(ATTRIBUTES)
    root = opened(tmp_path / "a.h5")
    assert {name: root.attribute(name) for name in root.attribute_names} == {
        "text": "ä", "fixed": "abc", "whole": 3, "half": 0.5, "names": ["a", "ö", ""],
        "numbers": [0.0, 1.0, 2.0], "empty": None, "byte": 200,
    }  # fmt: skip
    assert root.attribute("other", 7) == 7


@pytest.mark.parametrize("version", ["earliest", "v108"])
@pytest.mark.parametrize("chunks", [True, (7, 3), (50, 10), (3, 11)])
@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"compression": "gzip"},
        {"compression": "lzf"},
        {"fletcher32": True},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"compression": "lzf", "shuffle": True},
    ],
    ids=str,
)
def test_chunks(tmp_path: Path, version: str, chunks: Any, filters: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    with h5py.File(tmp_path / "a.h5", "w", libver=version) as file:
        for dtype in ("u1", "f4", "i8"):
            data = (20 * random.normal(size=(503, 11))).astype(dtype)
            file.create_dataset(dtype, data=data, chunks=chunks, **filters)
    for name in ("u1", "f4", "i8"):
        same_as_the_library_reads(tmp_path / "a.h5", name)


def test_what_compresses_well_is_read_up_to_the_limit(tmp_path: Path) -> None:
    """lzf and gzip of repeating bytes: copies that overlap what they make."""
    data = np.tile(np.arange(7, dtype="u1"), 10_000).reshape(-1, 7)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for kind in ("gzip", "lzf"):
            file.create_dataset(kind, data=data, compression=kind)
    for kind in ("gzip", "lzf"):
        same_as_the_library_reads(tmp_path / "a.h5", kind)


def test_a_chunk_whose_checksum_does_not_match(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.arange(100.0), chunks=(100,), fletcher32=True)
    content = (tmp_path / "a.h5").read_bytes()
    spoilt = content.replace(np.float64(50).tobytes(), np.float64(51).tobytes(), 1)
    (tmp_path / "a.h5").write_bytes(spoilt)
    with pytest.raises(Refused, match="checksum"):
        array_at(tmp_path / "a.h5", "x").all()


def test_a_front_of_another_program(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=2048) as file:
        file["x"] = np.arange(9)
    same_as_the_library_reads(tmp_path / "a.h5", "x")


def test_a_file_of_many_arrays(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for layer, kind in itertools.product(range(700), ("weight", "bias")):
            file[f"parameters/dense{layer}/{kind}"] = np.full(3, layer)
    source = OpenFile(tmp_path / "a.h5")
    found = everything_in(root_of(source), source)
    assert len(found) == 1400
    assert found["parameters/dense654/bias"].all().tolist() == [654] * 3


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a/x"] = 1
    root = opened(tmp_path / "a.h5")
    assert [root.get(path) for path in ("b", "b/x", "a/y", "a/x/z")] == [None] * 4
    assert root.names == ["a"]


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda f: [f.create_group(str(n)) for n in range(20)], "libver"),
        (lambda f: f.create_dataset("x", data=np.arange(99), chunks=(9,)), "h5repack"),
    ],
    ids=["a large group", "chunks"],
)
def test_the_newest_forms_are_refused_with_advice(tmp_path: Path, make: Any, advice: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        make(file)
    with pytest.raises(Refused) as caught:
        opened(tmp_path / "a.h5").get("x")
    assert advice in caught.value.advice
