"""What is proven damage, and what only can't be read: a type, as the two have other cures."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disttrain.checkpoint import Snapshot, load, save
from disttrain.errors import CheckpointError, DamagedCheckpoint

Make = Callable[..., Snapshot]


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "a flipped bit": flipped,
    "a torn end": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "no bytes": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a text": lambda path: path.write_text("hello"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_proven(tmp_path: Path, make: Make, damage: str) -> None:
    path = tmp_path / "step-00000001.h5"
    save(path, make(1))
    DAMAGE[damage](path)
    with pytest.raises(DamagedCheckpoint):
        load(path)


def test_weights_that_are_not_those_of_the_digest_are_damage(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bit flipped in memory before the file was written: only the digest does not match."""
    with monkeypatch.context() as patch:
        patch.setattr(Snapshot, "digest", property(lambda self: "0" * 64))
        save(tmp_path / "a.h5", make(1))
    with pytest.raises(DamagedCheckpoint, match="has other contents than were saved"):
        load(tmp_path / "a.h5")


@pytest.mark.parametrize(
    "error",
    [*(OSError(n, os.strerror(n)) for n in (errno.EACCES, errno.EIO, errno.ESTALE)), MemoryError()],
    ids=str,
)
def test_what_can_not_be_read_is_no_damage(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    save(tmp_path / "a.h5", make(1))

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match=r"a\.h5") as caught:
        load(tmp_path / "a.h5")
    assert not isinstance(caught.value, DamagedCheckpoint)
    assert "memory" in str(caught.value) or os.strerror(error.errno) in str(caught.value)


def test_another_version_is_no_damage(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["disttrain.checkpoint.save"], "VERSION", 2)
        save(tmp_path / "a.h5", make(1))
    with pytest.raises(CheckpointError, match="version 2") as caught:
        load(tmp_path / "a.h5")
    assert not isinstance(caught.value, DamagedCheckpoint)


@pytest.mark.parametrize("what", ["nothing", "a folder", "a link to nothing", "a pipe"])
def test_what_is_no_file_is_no_damage(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.h5"
    if what == "a folder":
        path.mkdir()
    elif what == "a pipe":
        os.mkfifo(path)
    elif what != "nothing":
        path.symlink_to(tmp_path / "gone")
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert not isinstance(caught.value, DamagedCheckpoint)
