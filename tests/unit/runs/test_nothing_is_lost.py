"""What `--resume` and `--overwrite` must not do to a run folder, whatever stands in it."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disttrain import written
from disttrain.checkpoint import all_checkpoints
from disttrain.config import Settings
from disttrain.errors import CheckpointError, DataError, DisttrainError, RankFailure, exit_code_of
from disttrain.runs.folder import RunFolder

Go = Callable[..., dict[str, Any]]
Make = Callable[..., Settings]


def content_of(folder: Path) -> dict[str, bytes]:
    """Return all files but the journals, of which each start has a line."""
    return {
        str(p.relative_to(folder)): open(p, "rb").read()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.parent.name != "logs"
    }


def refused(go: Go, made: Settings, **more: Any) -> str:
    """Return the sentence that refuses a start with code 3; fail where anything is touched."""
    before = content_of(go.folder)
    with pytest.raises(DisttrainError) as caught:
        go(made, **more)
    assert exit_code_of(caught.value) == 3, caught.value
    assert content_of(go.folder) == before
    return str(caught.value)


@pytest.fixture(name="go")
def _go(go: Go, tmp_path: Path) -> Go:
    def start(*args: Any, **more: Any) -> dict[str, Any]:
        return go(*args, **more)

    start.folder = tmp_path / "run"  # type: ignore[attr-defined]
    return start


def unreadable(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    real = Path.open

    def refuse(path: Path, *args: Any, **more: Any) -> Any:
        if path.name == name:
            raise error
        return real(path, *args, **more)

    monkeypatch.setattr(Path, "open", refuse)


@pytest.mark.parametrize(
    "error",
    [OSError(n, os.strerror(n)) for n in (errno.EACCES, errno.EIO)] + [MemoryError()],
    ids=str,
)
@pytest.mark.parametrize("name", ["step-00000004.h5", "best.h5"])
def test_what_can_not_be_read_is_kept(
    settings: Make, go: Go, interrupted: Go, monkeypatch: pytest.MonkeyPatch, name: str,
    error: Exception,
) -> None:  # fmt: skip
    made = settings("validation.every_steps=2")
    interrupted(made, 3)
    with monkeypatch.context() as patch:
        unreadable(patch, name, error)
        assert name in refused(go, made, resume=True)
    assert go(made, resume=True)["status"] == "completed"


def test_another_version_is_kept(
    settings: Make, go: Go, interrupted: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(settings(), 3)
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["disttrain.checkpoint.load"], "VERSION", 99)
        assert "has version 1, this program reads 99" in refused(go, settings(), resume=True)


@pytest.mark.parametrize("what", ["a folder", "a link to nothing", "a pipe"])
def test_a_checkpoint_that_is_no_file_is_kept(
    settings: Make, go: Go, interrupted: Go, what: str
) -> None:
    interrupted(settings(), 3)
    path = all_checkpoints(go.folder / "checkpoints")[-1]
    newer = path.with_name("step-00000005.h5")
    if what == "a folder":
        newer.mkdir()
    elif what == "a pipe":
        os.mkfifo(newer)
    else:
        newer.symlink_to("elsewhere")
    with pytest.raises(CheckpointError, match=r"step-00000005\.h5"):
        go(settings(), resume=True)
    assert os.path.lexists(newer)


def test_a_checkpoint_folder_that_is_not_mounted_is_no_beginning(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go
) -> None:
    """`checkpoints` is a link to a scratch disk."""
    scratch = tmp_path / "scratch"
    (tmp_path / "run").mkdir()
    scratch.mkdir()
    (tmp_path / "run/checkpoints").symlink_to(scratch)
    interrupted(settings(), 3)
    assert all_checkpoints(scratch)
    scratch.rename(tmp_path / "away")
    assert "checkpoints are, can't be read" in refused(go, settings(), resume=True)
    (tmp_path / "away").rename(scratch)
    assert go(settings(), resume=True)["status"] == "completed"


@pytest.mark.parametrize("best", ["damaged", "gone"])
def test_where_nothing_is_whole_the_run_does_not_begin_anew(
    settings: Make, go: Go, interrupted: Go, best: str
) -> None:
    interrupted(settings("validation.every_steps=2"), 3)
    for path in all_checkpoints(go.folder / "checkpoints"):
        path.write_bytes(path.read_bytes()[:-1])
    if best == "gone":
        (go.folder / "best.h5").unlink()
    else:
        (go.folder / "best.h5").write_bytes(b"torn")
    said = refused(go, settings("validation.every_steps=2"), resume=True)
    assert "nothing in" in said
    assert "--overwrite or another --output" in said


@pytest.mark.parametrize("lost", ["checkpoints", "checkpoints/*"])
def test_checkpoints_that_are_gone_are_no_beginning(
    settings: Make, go: Go, interrupted: Go, lost: str
) -> None:
    interrupted(settings("data.validation_fraction=0"), 3)
    for path in go.folder.glob(lost):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = refused(go, settings("data.validation_fraction=0"), resume=True)
    assert "no checkpoint any more, but its run has saved step 4" in said


def test_a_copy_without_checkpoints_and_lock_is_no_beginning(
    settings: Make, go: Go, interrupted: Go
) -> None:
    interrupted(settings("data.validation_fraction=0"), 3)
    shutil.rmtree(go.folder / "checkpoints")
    # `cp -r run/* copy/` leaves it behind; a first --resume makes one, which says nothing.
    (go.folder / ".lock").write_text("")
    said = refused(go, settings("data.validation_fraction=0"), resume=True)
    assert ".lock, which says whether one was saved, is lost or empty" in said


def test_digests_that_can_not_be_read_are_kept(
    settings: Make, go: Go, interrupted: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(settings(), 2)
    opened = written.opened

    def refuse(path: Path) -> Any:
        if path.name == "digests.jsonl":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path)

    monkeypatch.setattr(written, "opened", refuse)
    assert "digests.jsonl can't be read (Permission denied)" in refused(go, settings(), resume=True)
    monkeypatch.undo()
    assert go(settings(), resume=True)["status"] == "completed"


def test_a_finished_run_without_checkpoints_is_not_trained_anew_for_more_epochs(
    settings: Make, go: Go
) -> None:
    done = go(settings("training.epochs=1"))
    shutil.rmtree(go.folder / "checkpoints")
    (go.folder / "best.h5").unlink()
    assert go(settings("training.epochs=1"), resume=True) == done
    refused(go, settings("training.epochs=2"), resume=True)


def test_a_run_that_died_before_its_first_checkpoint_begins_and_says_so(
    settings: Make, go: Go, listen: type
) -> None:
    class Died(Exception):
        pass

    def die(run: Any, report: Any) -> None:
        raise Died

    first, listener = listen(), listen()
    first.on_interval = die
    with pytest.raises(RankFailure):
        go(settings(), callbacks=[first])
    assert not all_checkpoints(go.folder / "checkpoints")
    go(settings(), resume=True, callbacks=[listener])
    assert any("starting from the beginning" in line for line in listener.messages)


def test_a_checkpoint_of_another_run_is_not_gone_on_from(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go
) -> None:
    interrupted(settings(), 8)
    interrupted(settings("seed=2"), 10, "other")
    shutil.copy(all_checkpoints(tmp_path / "other/checkpoints")[-1], go.folder / "checkpoints")
    assert "is not of the run in" in refused(go, settings(), resume=True)


@pytest.mark.parametrize("digests", ["gone", "cut off", "in another order", "a text"])
def test_digests_that_are_lost_are_said_and_begin_anew(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, listen: type, digests: str
) -> None:
    """No step depends on them."""
    interrupted(settings(), 8)
    path = go.folder / "digests.jsonl"
    if digests == "gone":
        path.unlink()
    elif digests == "in another order":
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(reversed(lines)))
    else:
        path.write_text("hello" if digests == "a text" else path.read_text()[:-5])
    listener = listen()
    summary = go(settings(), resume=True, callbacks=[listener])
    assert summary["digest"] == go(settings(), "whole")["digest"]
    assert any("digests begins anew at step 9" in line for line in listener.messages)


OTHER_DATA = ("labels", "order", "rows")


@pytest.mark.parametrize("how", OTHER_DATA)
@pytest.mark.parametrize("digests", ["there", "gone"])
@pytest.mark.parametrize("memory", ["shared", "stream"])
def test_other_data_are_refused_and_can_be_accepted(
    settings: Make, go: Go, interrupted: Go, write_data: Callable[..., str], how: str,
    digests: str, memory: str,
) -> None:  # fmt: skip
    from tests.conftest import blobs

    made = settings(f"data.memory={memory}", "data.normalize=none")
    interrupted(made, 9)
    (inputs, targets), test = blobs(110, 1), blobs(30, 2)
    if how == "labels":
        targets = 2 - targets
    elif how == "order":
        inputs, targets = inputs[::-1], targets[::-1]
    else:
        inputs = inputs.copy()
        inputs[[3, 6]] = inputs[[6, 3]]
    path = write_data(train=(inputs, targets), test=test)
    if digests == "gone":
        (go.folder / "digests.jsonl").unlink()
    said = refused(go, made, resume=True)
    assert f"{path} is not the data of this run: its content has changed" in said
    assert said.count("rows:") == 2
    summary = go(made, resume=True, accept_changes=True)
    (change,) = summary["changes"]
    assert change.startswith(f"data from step 10: {path}, its content has changed (fingerprint ")
    # From here on it is the data of this run.
    more = settings("training.epochs=5", f"data.memory={memory}", "data.normalize=none")
    assert go(more, resume=True)["changes"] == [change]


def test_the_same_data_elsewhere_and_read_otherwise_are_the_same(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go
) -> None:
    interrupted(settings("data.memory=shared"), 9)
    shutil.copy(tmp_path / "data.h5", tmp_path / "copy.h5")
    more = (f"data.path={tmp_path / 'copy.h5'}", "data.memory=stream")
    assert go(settings(*more), resume=True)["changes"] == []


def test_a_checkpoint_without_a_fingerprint_says_that_nothing_was_compared(
    settings: Make, go: Go, interrupted: Go, listen: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    from disttrain.training.run import Run

    real = Run.snapshot

    def before(run: Run) -> Any:
        snapshot = real(run)
        del snapshot.state["data"]["fingerprint"]
        return snapshot

    with monkeypatch.context() as patch:
        patch.setattr(Run, "snapshot", before)
        interrupted(settings(), 9)
    listener = listen()
    go(settings(), resume=True, callbacks=[listener])
    assert any("was not compared" in line for line in listener.messages)


@pytest.mark.parametrize("start", ["resume", "overwrite"])
def test_a_start_that_fails_leaves_the_run_as_it_was(settings: Make, go: Go, start: str) -> None:
    go(settings("training.epochs=1"))
    said = refused(go, settings("training.epochs=2", "data.path=no.h5"), **{start: True})
    assert "no.h5" in said


def test_the_replaced_run_stays_until_the_new_one_has_saved(
    settings: Make, go: Go, listen: type
) -> None:
    go(settings("training.epochs=1"))
    before = content_of(go.folder)

    class Died(Exception):
        pass

    def die(run: Any, report: Any) -> None:
        raise Died

    dying = listen()
    dying.on_interval = die
    for _ in range(2):
        with pytest.raises(RankFailure):
            go(settings("seed=2"), overwrite=True, callbacks=[dying])
        kept = content_of(go.folder)
        for name in ("best.h5", "run.toml", "checkpoints/step-00000007.h5", "metrics.jsonl"):
            assert kept[f"{name}.replaced"] == before[name], name
    listener = listen()
    assert go(settings("seed=2"), resume=True, callbacks=[listener])["status"] == "completed"
    assert listener.steps[0] == 0
    assert not [name for name in content_of(go.folder) if "replaced" in name]


@pytest.mark.parametrize("moves", range(8))
@pytest.mark.parametrize("then", ["resume", "overwrite"])
def test_an_overwrite_that_dies_half_way(
    settings: Make, go: Go, monkeypatch: pytest.MonkeyPatch, moves: int, then: str
) -> None:
    go(settings("training.epochs=1"))
    before, count = content_of(go.folder), []
    real = Path.rename

    class Killed(BaseException):
        pass

    def rename(path: Path, target: Path) -> Path:
        if str(target).endswith(".replaced"):
            if len(count) == moves:
                raise Killed
            count.append(path)
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        try:
            go(settings("training.epochs=2"), overwrite=True)
        except Killed:
            pass
        else:
            pytest.skip("it was over by then")
    if then == "overwrite":
        assert go(settings("training.epochs=2"), overwrite=True)["epochs"] == 2
    elif (go.folder / "run.toml.replaced").exists():
        assert go(settings("training.epochs=2"), resume=True)["epochs"] == 2
    else:
        assert go(settings("training.epochs=1"), resume=True)["epochs"] == 1
        assert content_of(go.folder) == before
    assert not [name for name in content_of(go.folder) if "replaced" in name]


@pytest.mark.parametrize("what", ["run.toml", "best.h5", "metrics.jsonl", "digests.jsonl"])
def test_anything_that_is_left_of_a_run_is_not_overwritten_unasked(
    settings: Make, go: Go, what: str
) -> None:
    go(settings("training.epochs=1"))
    for path in list(go.folder.rglob("*")):
        if path.is_file() and path.name != what:
            path.unlink()
    with pytest.raises(DisttrainError, match="holds a run"):
        go(settings("training.epochs=1"))
    assert (go.folder / what).exists()


PLACES = ("on_start", "on_step", "on_interval")


@pytest.mark.parametrize("what", ["renamed", "removed", "another run's"])
@pytest.mark.parametrize("place", PLACES)
def test_a_folder_that_is_moved_under_a_run_ends_it(
    tmp_path: Path, settings: Make, go: Go, listen: type, what: str, place: str
) -> None:
    listener, done = listen(), []
    other = RunFolder(go.folder)

    def move(*_: Any) -> None:
        if done:
            return
        done.append(place)
        if what == "removed":
            shutil.rmtree(go.folder)
        else:
            go.folder.rename(tmp_path / "moved")
        if what == "another run's":
            other.claim(resume=False, overwrite=False)

    setattr(listener, place, move)
    with pytest.raises(DisttrainError, match="was moved, removed or replaced") as caught:
        go(settings(), callbacks=[listener])
    assert exit_code_of(caught.value) == 3
    if what == "another run's":
        assert [p.name for p in go.folder.rglob("*")] == [".lock"]
        other.release()
    else:
        assert not go.folder.exists()


def test_the_moved_run_goes_on_where_it_is(
    tmp_path: Path, settings: Make, go: Go, listen: type
) -> None:
    listener = listen()
    listener.on_step = lambda run, step: (
        go.folder.rename(tmp_path / "moved") if step == 16 and go.folder.exists() else None
    )
    with pytest.raises(CheckpointError, match="was moved"):
        go(settings(), callbacks=[listener])
    whole = go(settings(), "whole")
    assert go(settings(), "moved", resume=True)["digest"] == whole["digest"]


def test_pictures_are_not_drawn_into_another_runs_folder(
    tmp_path: Path, settings: Make, go: Go, listen: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    from disttrain.report.at_the_end import Pictures

    curves, listener = Pictures(go.folder), listen()
    real = curves.on_end

    def move_first(run: Any, summary: Any) -> None:
        go.folder.rename(tmp_path / "moved")
        real(run, summary)

    monkeypatch.setattr(curves, "on_end", move_first)
    go(settings("training.epochs=1"), callbacks=[curves, listener])
    assert not go.folder.exists()
    assert any("was moved" in line for line in listener.messages)


def test_other_rows_of_a_large_file_without_a_record_are_seen(
    settings: Make, go: Go, interrupted: Go, write_data: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Of one only some stretches are read, all targets, and its first and last rows always."""
    from tests.conftest import blobs

    module = sys.modules["disttrain.data.fingerprint"]
    monkeypatch.setattr(module, "BYTES", 512)
    monkeypatch.setattr(module, "STRETCHES", 4)
    interrupted(settings("data.normalize=none"), 9)
    inputs, targets = blobs(110, 1)
    inputs[-1] += 1
    write_data(train=(inputs, targets), test=blobs(30, 2))
    with pytest.raises(DataError, match="its content has changed"):
        go(settings("data.normalize=none"), resume=True)
