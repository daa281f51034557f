from collections.abc import Callable
from pathlib import Path

import pytest

from disttrain.checkpoint import (
    Snapshot,
    all_checkpoints,
    find,
    image,
    load,
    newest_whole,
    save,
    save_newest,
)
from disttrain.errors import CheckpointError

Make = Callable[..., Snapshot]


def steps(folder: Path) -> list[int]:
    return [int(p.stem.removeprefix("step-")) for p in all_checkpoints(folder)]


def put(folder: Path, snapshot: Snapshot, keep: int) -> Path:
    return save_newest(folder, snapshot.step, image(snapshot), keep)


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
    said: list[str] = []
    resumed = newest_whole(tmp_path, said.append)
    assert resumed is not None
    assert resumed.step == 10
    path = put(tmp_path, make(15), keep)
    assert path.exists()
    found = newest_whole(tmp_path, said.append)
    assert found is not None
    assert found.step == 15


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
    said: list[str] = []
    found = newest_whole(tmp_path, said.append)
    assert found is not None
    assert found.step == 2
    assert len(said) == 1
    assert "step-00000003.h5" in said[0]


def test_none_where_none_is_whole(tmp_path: Path, make: Make) -> None:
    assert newest_whole(tmp_path, print) is None
    assert newest_whole(tmp_path / "no", print) is None
    tear(put(tmp_path, make(1), keep=1))
    said: list[str] = []
    assert newest_whole(tmp_path, said.append) is None
    assert len(said) == 1


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
