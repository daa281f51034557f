"""A write that fails or dies at any stage leaves the file that was there before."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from disttrain.checkpoint import Snapshot, load, pieces_of, save, save_newest
from disttrain.errors import CheckpointError

Make = Callable[..., Snapshot]


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise error

    return fail


class Killed(BaseException):
    """Stands for an end of the process between two steps."""


class Disk:
    """Fails at the n-th call of one kind: open, write, fsync, replace."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, stage: str, fail: Callable[[], NoReturn]
    ) -> None:
        self.stage, self.fail, self.written = stage, fail, 0
        module = sys.modules["disttrain.checkpoint.save"]
        monkeypatch.setattr(module, "open", self.open, raising=False)
        monkeypatch.setattr(os, "fsync", self.wrapped("fsync", os.fsync))
        monkeypatch.setattr(os, "replace", self.wrapped("replace", os.replace))

    def wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            if self.stage == name:
                self.fail()
            result = real(*args, **more)
            if self.stage == f"after {name}":
                self.fail()
            return result

        return call

    def open(self, path: Any, *args: Any, **more: Any) -> Any:
        if self.stage == "open":
            self.fail()
        return File(self, open(path, *args, **more))


class File:
    """A file that takes 100 bytes at a time, and fails after 1000 where it shall."""

    def __init__(self, disk: Disk, real: Any) -> None:
        self.disk, self.real, self.fileno = disk, real, real.fileno

    def __enter__(self) -> File:
        return self

    def __exit__(self, *args: object) -> None:
        self.real.close()

    def write(self, part: memoryview) -> int:
        if self.disk.stage == "write" and self.disk.written >= 1000:
            self.disk.fail()
        count: int = self.real.write(part[:100])
        self.disk.written += count
        return count


STAGES = ["open", "write", "fsync", "replace"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("stage", STAGES)
def test_a_disk_that_refuses(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, stage: str, number: int
) -> None:
    path = tmp_path / "a.h5"
    save(path, make(1))
    before = path.read_bytes()
    Disk(monkeypatch, stage, raising(OSError(number, os.strerror(number))))
    with pytest.raises(CheckpointError, match=r"a\.h5 can't be written") as caught:
        save(path, make(2))
    assert os.strerror(number) in str(caught.value)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]
    monkeypatch.undo()
    save(path, make(2))
    assert load(path).step == 2


@pytest.mark.parametrize("stage", [*STAGES, "after fsync", "after replace"])
def test_an_end_between_two_steps(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    path = tmp_path / "a.h5"
    save(path, make(1))
    Disk(monkeypatch, stage, raising(Killed()))
    with pytest.raises(Killed):
        save(path, make(2))
    assert load(path).step == (2 if stage == "after replace" else 1)


@pytest.mark.parametrize("stage", [*STAGES, "after fsync", "after replace"])
def test_a_process_that_dies_between_two_steps(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """No handler runs in a killed process: what it leaves is removed by the next save."""

    save_newest(tmp_path, 1, pieces_of(make(1)), keep=2)
    child = os.fork()
    if not child:
        Disk(monkeypatch, stage, lambda: os._exit(9))
        try:
            save_newest(tmp_path, 2, pieces_of(make(2)), keep=2)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert load(tmp_path / "step-00000001.h5").step == 1
    save_newest(tmp_path, 3, pieces_of(make(3)), keep=5)
    assert not [p.name for p in tmp_path.iterdir() if not p.name.startswith("step-")]
    for path in tmp_path.iterdir():
        load(path)


def test_short_writes_are_gone_on_with(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, "none", raising(Killed()))
    save(tmp_path / "a.h5", make(1))
    assert disk.written == (tmp_path / "a.h5").stat().st_size
    assert load(tmp_path / "a.h5").step == 1


def test_the_file_is_synced_before_its_name_and_the_name_after(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, name=name, real=real: (done.append(name), real(*a))[1]
        )
    save(tmp_path / "a.h5", make(1))
    assert done == ["fsync", "replace", "fsync"]


def test_a_folder_whose_name_can_not_be_synced_does_not_lie(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the rename the old file is gone: the message must not say that it is untouched."""
    path, real, calls = tmp_path / "a.h5", os.fsync, []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    save(path, make(1))
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(CheckpointError) as caught:
        save(path, make(2))
    assert load(path).step in (1, 2)
    assert load(path).step == 1 or "untouched" not in str(caught.value)
