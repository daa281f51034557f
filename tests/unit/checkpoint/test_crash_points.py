"""A save that is cut off at any point leaves the old state or the new one, and the best of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from disttrain.checkpoint import Snapshot, load
from disttrain.errors import CheckpointError
from tests.unit.checkpoint.crash_disk import Disk, after_a_crash, read, write
from tests.unit.checkpoint.saver import Saver

Make = Callable[..., Snapshot]
# Whether each save is the best so far: two in a row, some that are not, one again.
SAVES = (True, True, False, False, True)


@pytest.fixture
def saver(tmp_path: Path, make: Make) -> Callable[..., Saver]:
    return lambda keep=2, name="run": Saver(tmp_path / name, make, keep)


def crashes(saver: Saver, disk: Disk) -> Iterator[tuple[set[int], dict[str, bytes]]]:
    """Do the saves; yield every folder that a crash may leave, and the states that it may hold."""
    for step, improved in enumerate(SAVES, 1):
        first = len(disk.calls)
        saver.save(step, improved)
        seen = set()
        for done in range(first, len(disk.calls) + 1):
            allowed = {step} if done == len(disk.calls) else {step - 1, step}
            for left in after_a_crash({}, disk.calls[:done]):
                key = hash((frozenset(left.items()), step in allowed, step - 1 in allowed))
                if key not in seen:
                    seen.add(key)
                    yield allowed, left


def check_all(made: Saver, root: Path) -> list[tuple[int, int]]:
    """Resume from every folder that a crash may leave; return what was found, of how many."""
    reached = []
    disk = Disk(root / "disk")
    with disk.watched():
        for count, (allowed, left) in enumerate(crashes(made, disk)):
            path = write(root / f"left-{count}", left) / "run"
            reached.append((made.check(path, allowed), len(allowed)))
    return reached


@pytest.mark.timeout(400)
@pytest.mark.parametrize("keep", [1, *(pytest.param(k, marks=pytest.mark.long) for k in (2, 3))])
def test_every_crash_point(tmp_path: Path, saver: Callable[..., Saver], keep: int) -> None:
    (tmp_path / "disk").mkdir()
    reached = check_all(saver(keep, "disk/run"), tmp_path)
    # Each state was found as the old one, as the new one, and after its save was over.
    assert set(reached) >= {(step, n) for step in range(1, len(SAVES) + 1) for n in (1, 2)}
    assert len(reached) > 300


@pytest.mark.parametrize("skip", ["sync", "sync directory"])
def test_the_enumeration_sees_a_save_that_does_not_sync(
    tmp_path: Path, saver: Callable[..., Saver], monkeypatch: pytest.MonkeyPatch, skip: str
) -> None:
    monkeypatch.setattr("tests.unit.checkpoint.test_crash_points.Disk", partial(Disk, skip=skip))
    (tmp_path / "disk").mkdir()
    with pytest.raises(AssertionError):
        check_all(saver(1, "disk/run"), tmp_path)


def test_a_crash_while_best_h5_is_put_right(tmp_path: Path, saver: Callable[..., Saver]) -> None:
    """The save was cut off between the checkpoint and `best.h5`, and so was the resumption."""
    (tmp_path / "disk").mkdir()
    made = saver(1, "disk/run")
    made.save(1, improved=True)
    older = made.folder.best.read_bytes()
    made.save(2, improved=True)
    made.folder.best.write_bytes(older)
    before, disk = read(tmp_path / "disk"), Disk(tmp_path / "disk")
    with disk.watched():
        assert made.check(made.folder.path, {2}) == 2
    assert len(disk.calls) > 5
    for done in range(len(disk.calls) + 1):
        for number, left in enumerate(after_a_crash(before, disk.calls[:done])):
            path = write(tmp_path / f"left-{done}-{number}", left) / "run"
            assert made.check(path, {2}) == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("forever", [False, True])
def test_every_call_may_fail(
    tmp_path: Path, saver: Callable[..., Saver], number: int, forever: bool
) -> None:
    """One sentence, and the old or the new state; where the disk works again, no stray file.

    A best state that had no room at first is written anew.
    """
    for fail_at in range(1, 100):
        made, said = saver(2, f"run{fail_at}"), ""
        for step in (1, 2, 3):
            made.save(step, improved=True)
        error = OSError(number, os.strerror(number))
        disk = Disk(tmp_path, fail_at=fail_at, error=error, forever=forever)
        try:
            with disk.watched():
                made.save(4, improved=True)
            if disk.count < fail_at:
                break
            assert (number, forever) == (errno.ENOSPC, False)
            assert load(made.folder.best).step == made.check(made.folder.path, {4})
        except CheckpointError as caught:
            said = str(caught)
            assert os.strerror(number) in said
        assert "\n" not in said
        assert forever or not [p for p in made.folder.path.rglob("*") if p.suffix == ".tmp"]
        found = made.check(made.folder.path, {3, 4})
        for step in range(found + 1, 6):
            made.save(step, improved=step == 4)
        assert made.check(made.folder.path, {5}) == 5
    assert disk.count == fail_at - 1 > 10


@pytest.mark.parametrize("chunk", [1, 999, 10**9])
def test_a_disk_that_takes_a_few_bytes_at_a_time(
    tmp_path: Path, saver: Callable[..., Saver], chunk: int
) -> None:
    made, disk = saver(), Disk(tmp_path, chunk=chunk)
    with disk.watched():
        made.save(1, improved=True)
    assert made.check(made.folder.path, {1}) == 1
    assert max(len(call.data) for call in disk.calls) <= chunk
