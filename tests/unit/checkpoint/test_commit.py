"""The record behind a checkpoint: it names what is damaged, and HDF5 is not asked."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from disttrain.checkpoint import Snapshot, image, is_checkpoint, load, save, verify
from disttrain.checkpoint.commit import MARK, STRUCTURE, commit, read_record
from disttrain.cli import inspect
from disttrain.errors import CheckpointError

Make = Callable[..., Snapshot]


@pytest.fixture
def whole(make: Make) -> bytes:
    return image(make())


def table(written: bytes) -> dict:
    """Read the table as the format is documented: length in front of the mark, table before it."""
    end = written.rindex(MARK) - 8
    length = int.from_bytes(written[end : end + 8], "little")
    return json.loads(written[end - length : end])


def damage(written: bytes) -> list[str] | None:
    """Return what the record of a file finds damaged, None where there is no whole record."""
    record = read_record(io.BytesIO(written))
    return None if record is None else record.read(io.BytesIO(written)).damaged


def flipped(written: bytes, place: int) -> bytes:
    return written[:place] + bytes([written[place] ^ 1]) + written[place + 1 :]


def test_every_data_set_has_its_digest(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(whole)
    found = set()
    with h5py.File(tmp_path / "a.h5") as file:
        file.visititems(lambda name, item: found.add(name) if hasattr(item, "shape") else None)
    assert set(table(whole)["data sets"]) == found
    assert {"parameters/dense1/weight", "velocity/dense2/bias", "state", "run_file"} < found


def test_any_changed_byte_is_laid_at_the_right_door(whole: bytes) -> None:
    sets = table(whole)["data sets"]
    inside = {place: name for name, (low, n, _) in sets.items() for place in range(low, low + n)}
    assert damage(whole) == []
    for place in [*inside, *range(0, table(whole)["bytes"], 7)]:
        assert damage(flipped(whole, place)) == [inside.get(place, STRUCTURE)], place
    for place in range(table(whole)["bytes"], len(whole)):
        assert damage(flipped(whole, place)) is None, place


def test_two_damaged_data_sets_are_both_named(whole: bytes) -> None:
    sets = table(whole)["data sets"]
    names = ["parameters/dense1/weight", "velocity/dense1/weight"]
    for name in names:
        whole = flipped(whole, sets[name][0])
    assert damage(whole) == names


def test_other_lengths_are_noticed(whole: bytes) -> None:
    for other in (b"", MARK, whole[:-1], whole + b"\0", b"\0" + whole, whole[:9] + whole[10:]):
        assert damage(other) is None
    assert damage(b"anything" + commit(8, [b"any", b"thing"], {}, {})) == []


def test_weights_that_are_not_those_of_the_stated_digest(tmp_path: Path, make: Make) -> None:
    """What a memory that loses bits between two computations leaves."""

    class Wrong(Snapshot):
        digest = "0" * 64

    save(tmp_path / "a.h5", Wrong(**vars(make())))
    with pytest.raises(CheckpointError, match="it states 000000000000"):
        load(tmp_path / "a.h5")


def test_the_verdict_names_them_too(tmp_path: Path, whole: bytes, make: Make) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(whole)
    found = verify(path)
    assert (found.whole, found.step, found.digest) == (True, make().step, make().digest)
    path.write_bytes(flipped(whole, table(whole)["data sets"]["state"][0]))
    found = verify(path)
    assert (found.whole, found.damaged, found.step) == (False, ["state"], None)


@pytest.mark.parametrize("name", ["copy.h5", "best.h5", "step-00000007.h5"])
def test_a_checkpoint_is_known_without_hdf5(tmp_path: Path, whole: bytes, name: str) -> None:
    path = tmp_path / name
    for content in (whole, whole[:-1], b"\0" * 4096 + whole[4096:]):
        path.write_bytes(content)
        assert is_checkpoint(path)
    path.write_bytes(b"no checkpoint")
    assert is_checkpoint(path) == (name != "copy.h5")


def test_inspecting_a_damaged_checkpoint_neither_crashes_nor_hangs(
    tmp_path: Path, whole: bytes
) -> None:
    """In a child, with an alarm: HDF5 crashed or hung on some of these."""
    first = whole.index(b"format\0")
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        for place in [*range(first, first + 60), *range(2048, 2240, 4)]:
            (tmp_path / "b.h5").write_bytes(flipped(whole, place))
            if inspect._is_data(tmp_path / "b.h5"):
                os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
