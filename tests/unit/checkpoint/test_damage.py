"""A damaged file is refused, or what it holds is untouched: nothing else ever happens."""

import contextlib
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from disttrain.checkpoint import Snapshot, load, save, verify
from disttrain.errors import CheckpointError

Make = Callable[..., Snapshot]
Same = Callable[[Snapshot, Snapshot], bool]


@pytest.fixture
def whole(tmp_path: Path, make: Make) -> bytes:
    save(tmp_path / "a.h5", make())
    return (tmp_path / "a.h5").read_bytes()


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_flipped_byte(tmp_path: Path, whole: bytes, make: Make, same: Same, flip: int) -> None:
    path, refused = tmp_path / "b.h5", 0
    for place in random.Random(flip).sample(range(len(whole)), 200):
        damaged = bytearray(whole)
        damaged[place] ^= flip
        path.write_bytes(damaged)
        try:
            found = load(path)
        except CheckpointError:
            refused += 1
        else:
            assert same(found, make()), f"byte {place} changed the state unnoticed"
    assert refused


def test_a_file_that_was_cut_off(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "b.h5"
    lengths = {0, 1, 8, 96, 512, len(whole) - 1, *range(0, len(whole), len(whole) // 60)}
    for length in sorted(lengths):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"b\.h5"):
            load(path)


def test_a_page_of_zeros(tmp_path: Path, whole: bytes, make: Make, same: Same) -> None:
    """What a crash leaves on file systems that extend a file before they fill it."""
    path = tmp_path / "b.h5"
    for low in range(0, len(whole), 512):
        path.write_bytes(whole[:low] + b"\0" * len(whole[low : low + 512]) + whole[low + 512 :])
        try:
            found = load(path)
        except CheckpointError:
            continue
        assert same(found, make())


def test_a_damaged_header_neither_crashes_nor_hangs_the_process(
    tmp_path: Path, whole: bytes
) -> None:
    """The HDF5 library does not survive every file: nothing is read by it.

    In a child, because a crash would end the tests, and with an alarm for the hangs.
    """
    first = whole.index(b"format\0")
    places = [*range(first, first + 60), *range(2048, 2240, 4)]
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        for place in places:
            damaged = bytearray(whole)
            damaged[place] ^= 0xFF
            (tmp_path / "b.h5").write_bytes(damaged)
            with contextlib.suppress(CheckpointError):
                load(tmp_path / "b.h5")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["step-00000003.h5", "best.h5"])
def test_a_pipe_in_the_place_of_a_checkpoint_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    found = verify(tmp_path / name)
    assert not found.whole
    assert "is not a file" in found.problem
