"""Data files of other programs: what h5py reads is what is trained on."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from disttrain.comm.alone import Alone
from disttrain.config import Data
from disttrain.data import foreign, library, open_dataset, read_facts
from disttrain.data.stored import Plain, Refused
from disttrain.errors import DataError

X = np.random.default_rng(0).integers(0, 100, (503, 11))
Y = np.arange(503) % 3
VERSIONS = ["earliest", "v108", "v110", "latest"]
FILTERS: dict[str, dict[str, Any]] = {
    "none": {"chunks": (7, 3)},
    "one row": {"chunks": (1, 11)},
    "columns": {"chunks": (503, 1)},
    "larger than the array": {"chunks": (600, 20), "maxshape": (None, None)},
    "gzip": {"compression": "gzip"},
    "gzip, shuffle, fletcher32": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"compression": "lzf"},
    "scale-offset": {"scaleoffset": 0},
}


def write(
    path: Path, inputs: Any = X, targets: Any = Y, version: str = "earliest", **how: Any
) -> str:
    with h5py.File(path, "w", libver=version) as file:
        file.create_dataset("train/inputs", data=inputs, **how)
        file["train/targets"] = targets
    return str(path)


def same_as_h5py_reads(path: str) -> None:
    train = read_facts(path).splits["train"]
    with h5py.File(path) as file:
        for stored, name in ((train.stored_inputs, "inputs"), (train.stored_targets, "targets")):
            wanted = file[f"train/{name}"][()]
            assert (stored.shape, stored.dtype) == (wanted.shape, wanted.dtype)
            np.testing.assert_array_equal(stored.all(), wanted)
            for low, high in [(0, 0), (0, 1), (2, 9), (5, len(wanted))]:
                np.testing.assert_array_equal(stored.rows(low, high), wanted[low:high])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("how", FILTERS)
def test_chunks(tmp_path: Path, version: str, how: str) -> None:
    same_as_h5py_reads(write(tmp_path / "a.h5", version=version, **FILTERS[how]))


def test_szip(tmp_path: Path) -> None:
    if not h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP):
        pytest.skip("this HDF5 has no szip")
    same_as_h5py_reads(write(tmp_path / "a.h5", X.astype("f4"), compression="szip"))


@pytest.mark.parametrize("chunks", [None, (50, 11)])
@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "<i2", ">u2", ">i4", "u8", "<f2", ">f2", "<f4", ">f4", ">f8", "?"]
)
def test_types(tmp_path: Path, dtype: str, chunks: Any) -> None:
    path = write(tmp_path / "a.h5", X.astype(dtype), chunks=chunks)
    same_as_h5py_reads(path)
    plain = isinstance(read_facts(path).splits["train"].stored_inputs, Plain)
    assert plain is (chunks is None)


def test_enumerations_are_their_numbers(tmp_path: Path) -> None:
    kind = h5py.enum_dtype({"setosa": 0, "versicolor": 1, "virginica": 2}, "u1")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/inputs"] = X
        file.create_dataset("train/targets", data=Y.astype("u1"), dtype=kind)
    facts = read_facts(str(tmp_path / "a.h5")).splits["train"]
    assert facts.has_classes
    np.testing.assert_array_equal(facts.stored_targets.all(), Y)


def test_numbers_that_numpy_has_in_another_form(tmp_path: Path) -> None:
    """Whole numbers of 12 bits: they lie in one run, but not as they are in memory."""
    kind = h5py.h5t.STD_I16LE.copy()
    kind.set_precision(12)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/targets"] = Y
        space = h5py.h5s.create_simple(X.shape)
        made = h5py.h5d.create(file["train"].id, b"inputs", kind, space)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, X.astype("i2"))
    same_as_h5py_reads(str(tmp_path / "a.h5"))


def test_soft_links_inside_the_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw/x"], file["raw/deep/y"] = X, Y
        file["raw/here"] = h5py.SoftLink("deep")
        file["train/inputs"] = h5py.SoftLink("/raw/x")
        file["train/targets"] = h5py.SoftLink("/raw/here/y")
    same_as_h5py_reads(str(tmp_path / "a.h5"))


def test_a_soft_link_that_leads_over_another_file(tmp_path: Path) -> None:
    write(tmp_path / "other.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["out"] = h5py.ExternalLink("other.h5", "/train")
        file["train/inputs"] = h5py.SoftLink("/out/inputs")
        file["train/targets"] = Y
    with pytest.raises(DataError, match="is a link to another file, which is not followed"):
        read_facts(str(tmp_path / "a.h5"))


def test_a_soft_link_to_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["train/targets"]
        file["train/targets"] = h5py.SoftLink("/nowhere")
    with pytest.raises(DataError, match="has no dataset 'train/targets'"):
        read_facts(path)


def test_a_front_of_another_program(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=2048) as file:
        file["train/inputs"], file["train/targets"] = X, Y
    same_as_h5py_reads(str(tmp_path / "a.h5"))


@pytest.mark.parametrize("version", VERSIONS)
def test_any_number_of_attributes_and_groups(tmp_path: Path, version: str) -> None:
    path = write(tmp_path / "a.h5", version=version)
    with h5py.File(path, "r+", libver=version) as file:
        file.attrs.update({f"note {n}": "x" * 50 for n in range(300)})
        file.attrs.update(
            classes=["a", "b", "ä"], format="NeXus", version="3.1", date=np.void(b"1")
        )
        for n in range(300):
            file.create_group(f"more {n}")
    same_as_h5py_reads(path)
    assert read_facts(path).class_names == ("a", "b", "ä")


def test_a_filter_that_is_not_there_says_what_to_install(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/targets"] = Y
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk(X.shape)
        made.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (1, 2))
        space = h5py.h5s.create_simple(X.shape)
        found = h5py.h5d.create(file["train"].id, b"inputs", h5py.h5t.STD_I64LE, space, made)
        found.write_direct_chunk((0, 0), X.tobytes())
    if h5py.h5z.filter_avail(32001):
        pytest.skip("blosc is installed here")
    with pytest.raises(DataError, match=r"has the filter 32001 .* pip install hdf5plugin"):
        read_facts(str(tmp_path / "a.h5"))


def test_chunks_of_columns_are_unpacked_once_for_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table in chunks of columns: each row lies in all of them."""
    monkeypatch.setattr(foreign, "CACHE_BYTES", 1 << 10)
    path = write(tmp_path / "a.h5", chunks=(503, 1), compression="gzip")
    assert read_facts(path).splits["train"].stored_inputs.together == 503
    read: list[tuple[int, int]] = []
    real = foreign.Packed.rows

    def rows(self: Any, first: int, end: int) -> np.ndarray:
        read.append((first, end))
        return real(self, first, end)

    monkeypatch.setattr(foreign.Packed, "rows", rows)
    settings = Data(path=path, memory="shared", block_rows=8, validation_fraction=0.0)
    open_dataset(settings, 1, Alone())
    assert read == [(0, 503)]
    with pytest.raises(DataError, match=r"lies in chunks of 503 rows, .* every 8 rows"):
        open_dataset(settings.model_copy(update={"memory": "stream"}), 1, Alone())


def test_other_threads_run_while_a_chunk_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline is one of them: it must be able to end a reading that takes for ever."""
    pixels = np.random.default_rng(0).integers(0, 2, (16 << 10, 1 << 10), "u1")
    targets = np.zeros(len(pixels), "u1")
    path = write(tmp_path / "a.h5", pixels, targets, chunks=pixels.shape, compression=1)
    ticks, last = itertools.count(), [0]
    over, ticked = threading.Event(), [0]

    def tick() -> None:
        while not over.wait(0.001):
            ticked[0] = next(ticks)

    real = library.Stream.readinto

    def readinto(self: Any, buffer: Any) -> int:
        count = real(self, buffer)
        last[0] = ticked[0]
        return count

    monkeypatch.setattr(library.Stream, "readinto", readinto)
    inputs = read_facts(path).splits["train"].stored_inputs
    thread = threading.Thread(target=tick)
    thread.start()
    try:
        inputs.rows(0, 1)
        # Behind the last byte that was read from the file there is only the unpacking.
        assert ticked[0] > last[0] + 1
    finally:
        over.set()
        thread.join()


def test_damage_that_a_filter_notices_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", np.arange(100.0).reshape(100, 1), np.zeros(100, int),
                 chunks=(100, 1), fletcher32=True)  # fmt: skip
    content = Path(path).read_bytes()
    spoilt = content.replace(np.float64(50).tobytes(), np.float64(51).tobytes(), 1)
    Path(path).write_bytes(spoilt)
    with pytest.raises(Refused, match="HDF5 library"):
        read_facts(path).splits["train"].stored_inputs.all()


def test_a_program_ends_well_with_such_a_file_open(tmp_path: Path) -> None:
    """HDF5 reads through Python, which must be there until the file is closed."""
    path = write(tmp_path / "a.h5", chunks=(50, 11))
    code = (
        "from disttrain.data import read_facts\n"
        f"kept = read_facts({path!r}).splits['train'].stored_inputs\n"
        "print(kept.rows(0, 2).sum())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(X[:2].sum())
