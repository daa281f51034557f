from pathlib import Path

import pytest

from disttrain.comm.alone import Alone
from disttrain.errors import DataError, UsageError
from disttrain.runs.folder import RunFolder
from disttrain.runs.refused import unless_refused


def start(folder: Path, error: Exception, own: str) -> None:
    """Write what a start writes until `error` ends it, and the file `own` of the user's."""
    with unless_refused(folder, Alone()):
        run = RunFolder(folder)
        run.claim(resume=False, overwrite=False)
        for path in (folder / "logs/rank-0000.jsonl", run.summary, folder / own):
            path.parent.mkdir(exist_ok=True)
            path.write_text("words")
        run.release()
        raise error


def left_by(folder: Path, error: Exception, own: str = "summary.json") -> list[str]:
    """Return the files that are in the folder afterwards."""
    with pytest.raises(type(error)):
        start(folder, error, own)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_refused_start_removes_its_own_files_alone(tmp_path: Path) -> None:
    assert left_by(tmp_path / "new", UsageError("no")) == []
    assert not (tmp_path / "new").exists()
    for own in ("notes/mine.txt", "logs/mine.txt", "mine.h5"):
        folder = tmp_path / own.replace("/", "-")
        assert left_by(folder, UsageError("no"), own) == [own], "a file of the user's was deleted"
        assert (folder / own).read_text() == "words"
    (tmp_path / "before").mkdir()
    left = [".lock", "logs/rank-0000.jsonl", "summary.json"]
    assert left_by(tmp_path / "before", UsageError("no")) == left
    assert left_by(tmp_path / "data", DataError("no")) == left
