from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disttrain.checkpoint import (
    Found,
    Snapshot,
    all_checkpoints,
    find,
    load,
    newest_whole,
    pieces_of,
    put_aside,
    save,
    save_newest,
    write_atomically,
)
from disttrain.errors import CheckpointError

Make = Callable[..., Snapshot]


def steps(folder: Path) -> list[int]:
    return [int(p.stem.removeprefix("step-")) for p in all_checkpoints(folder)]


def put(folder: Path, snapshot: Snapshot, keep: int) -> Path:
    return save_newest(folder, snapshot.step, pieces_of(snapshot), keep)


def step_found(folder: Path) -> int:
    found = newest_whole(folder).snapshot
    assert found is not None
    return found.step


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_the_newest_are_kept(tmp_path: Path, make: Make) -> None:
    for step in (5, 10, 100, 20_000_000, 3_000_000_000):
        path = put(tmp_path, make(step), keep=3)
        assert load(path).step == step
    assert steps(tmp_path) == [100, 20_000_000, 3_000_000_000]


@pytest.mark.parametrize("keep", [1, 2])
def test_keep_counts(tmp_path: Path, make: Make, keep: int) -> None:
    for step in range(1, 5):
        put(tmp_path, make(step), keep)
    assert steps(tmp_path) == list(range(5 - keep, 5))


def test_nothing_is_deleted_where_the_new_one_could_not_be_written(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, make(1), keep=1)

    def full(*args: object) -> None:
        raise CheckpointError("disk full")

    monkeypatch.setattr("disttrain.checkpoint.rotate.write_atomically", full)
    with pytest.raises(CheckpointError):
        put(tmp_path, make(2), keep=1)
    assert steps(tmp_path) == [1]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_torn_ones_with_higher_steps_do_not_push_out_the_new_one(
    tmp_path: Path, make: Make, keep: int
) -> None:
    """The run went on from an older one, because the newest were torn."""
    for step in (10, 20, 30, 40):
        put(tmp_path, make(step), keep=4)
    for step in (20, 30, 40):
        tear(tmp_path / f"step-{step:08d}.h5")
    assert step_found(tmp_path) == 10
    path = put(tmp_path, make(15), keep)
    assert path.exists()
    assert step_found(tmp_path) == 15


def test_other_files_are_left_alone(tmp_path: Path, make: Make) -> None:
    for name in ("mine.h5", "step-1.h5", "step-00000001.h5.bak", "notes.txt"):
        (tmp_path / name).touch()
    for step in (1, 2, 3):
        put(tmp_path, make(step), keep=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "mine.h5", "notes.txt", "step-00000001.h5.bak", "step-00000003.h5", "step-1.h5",
    ]  # fmt: skip


def test_what_a_killed_save_left_is_removed(tmp_path: Path, make: Make) -> None:
    (tmp_path / ".step-00000001.h5.123.tmp").write_bytes(b"half")
    put(tmp_path, make(2), keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000002.h5"]


def test_the_newest_whole_one_says_which_are_not(tmp_path: Path, make: Make) -> None:
    for step in (1, 2, 3):
        put(tmp_path, make(step), keep=3)
    tear(tmp_path / "step-00000003.h5")
    found = newest_whole(tmp_path)
    assert found.snapshot is not None
    assert (found.snapshot.step, found.path) == (2, tmp_path / "step-00000002.h5")
    ((path, problem),) = found.damaged
    assert path.name == "step-00000003.h5"
    assert path.name in problem
    assert steps(tmp_path) == [1, 2, 3], "nothing is changed"


def test_none_where_none_is_whole(tmp_path: Path, make: Make) -> None:
    for folder in (tmp_path, tmp_path / "no"):
        assert newest_whole(folder) == Found(None, None, [])
    tear(put(tmp_path, make(1), keep=1))
    found = newest_whole(tmp_path)
    assert (found.snapshot, found.path, len(found.damaged)) == (None, None, 1)


def test_a_whole_best_stands_in_for_what_is_damaged(tmp_path: Path, make: Make) -> None:
    ring, best = tmp_path / "checkpoints", tmp_path / "best.h5"
    for step in (1, 2, 3):
        put(ring, make(step), keep=3)
    save(best, make(2))
    assert newest_whole(ring, best).path == ring / "step-00000003.h5"
    tear(ring / "step-00000003.h5")
    assert newest_whole(ring, best).path == ring / "step-00000002.h5"
    save(best, make(3))
    assert newest_whole(ring, best).path == best
    for step in (1, 2):
        tear(ring / f"step-{step:08d}.h5")
    found = newest_whole(ring, best)
    assert (found.path, len(found.damaged)) == (best, 3)
    tear(best)
    assert newest_whole(ring, best).snapshot is None
    assert len(newest_whole(ring, best).damaged) == 4
    assert steps(ring) == [1, 2, 3], "nothing is changed"


@pytest.mark.parametrize("error", [OSError(13, "Permission denied"), MemoryError()], ids=str)
def test_one_that_can_not_be_read_is_not_passed_over(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It may be whole: to go on from an older one would throw its steps away."""
    for step in (1, 2):
        put(tmp_path, make(step), keep=2)
    real = Path.open

    def refuse(path: Path, *more: Any) -> Any:
        if path.name == "step-00000002.h5":
            raise error
        return real(path, *more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match=r"step-00000002\.h5 (can't be read|needs .* memory)"):
        newest_whole(tmp_path)
    assert steps(tmp_path) == [1, 2]


def test_one_of_another_step_than_its_name_says_is_not_gone_on_from(
    tmp_path: Path, make: Make
) -> None:
    put(tmp_path, make(5), keep=2)
    (tmp_path / "step-00000005.h5").rename(tmp_path / "step-00000025.h5")
    with pytest.raises(CheckpointError, match="is of step 5: rename it back"):
        newest_whole(tmp_path)


@pytest.mark.parametrize("what", ["a file", "a link to nothing"])
def test_a_folder_that_can_not_be_read_is_not_an_empty_one(tmp_path: Path, what: str) -> None:
    """A scratch disk that is not mounted: the checkpoints are elsewhere, not gone."""
    folder = tmp_path / "checkpoints"
    if what == "a file":
        folder.touch()
    else:
        folder.symlink_to(tmp_path / "scratch")
    with pytest.raises(CheckpointError, match="can't be read"):
        all_checkpoints(folder)


def test_none_is_deleted_where_the_new_one_reads_back_otherwise(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `keep = 1` the old one would be the last whole one."""
    put(tmp_path, make(1), keep=1)
    real = write_atomically

    def worn_out(path: Path, pieces: list[bytes]) -> None:
        content = b"".join(pieces)
        real(path, content[:1000] + bytes(1) + content[1001:])

    monkeypatch.setattr("disttrain.checkpoint.rotate.write_atomically", worn_out)
    with pytest.raises(CheckpointError, match=r"step-00000002\.h5 holds other bytes"):
        put(tmp_path, make(2), keep=1)
    assert steps(tmp_path) == [1, 2]
    assert step_found(tmp_path) == 1


def test_what_is_put_aside_already_is_kept(tmp_path: Path, make: Make) -> None:
    for content in (b"1", b"2"):
        path = tmp_path / "step-00000001.h5"
        path.write_bytes(content)
        assert "put aside as step-00000001.h5" in put_aside(path, "damaged")
    assert sorted(p.read_bytes() for p in tmp_path.iterdir()) == [b"1", b"2"]


def test_find_takes_a_file_as_it_is(tmp_path: Path) -> None:
    assert find(tmp_path / "any.h5") == tmp_path / "any.h5"


def test_find_in_a_run_folder_takes_the_best_else_the_newest(tmp_path: Path, make: Make) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        find(tmp_path)
    for step in (9, 10):
        put(tmp_path / "checkpoints", make(step), keep=3)
    assert find(tmp_path) == tmp_path / "checkpoints/step-00000010.h5"
    save(tmp_path / "best.h5", make(3))
    assert find(tmp_path) == tmp_path / "best.h5"
