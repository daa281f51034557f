"""What saves states as `fit` does, and checks what a resumption finds of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from disttrain.checkpoint import Snapshot, State, load, newest_whole
from disttrain.comm.alone import Alone
from disttrain.runs.adaptation import best_of
from disttrain.runs.folder import RunFolder
from disttrain.runs.resumption import Start
from tests.unit.checkpoint.crash_disk import read

Make = Callable[..., Snapshot]


class Saver:
    """Saves states 1, 2, 3... into a run folder, as `fit` does."""

    def __init__(self, path: Path, make: Make, keep: int) -> None:
        self.folder, self.make, self.keep = RunFolder(path), make, keep
        self.digests: dict[int, str] = {}
        self.best: dict[int, int] = {}

    def save(self, step: int, improved: bool) -> None:
        """Save the state of `step`."""
        snapshot = self.know(step, step if improved else self.best[step - 1])
        run: Any = SimpleNamespace(
            comm=Alone(),
            snapshot=lambda: snapshot,
            work=SimpleNamespace(audit=SimpleNamespace(refuse_unaudited=lambda: None)),
            settings=SimpleNamespace(checkpoint=SimpleNamespace(keep=self.keep)),
        )
        self.folder.save(run, improved)

    def know(self, step: int, best: int) -> Snapshot:
        """Return the state of `step`, whose best state so far is that of step `best`."""
        snapshot = self.make(step)
        snapshot.progress = State(best_step=best, best_loss=0.5)
        self.best[step], self.digests[step] = best, snapshot.digest
        return snapshot

    def check(self, path: Path, allowed: set[int]) -> int:
        """Resume from the folder at `path`: a state of `allowed`, 0 for none; return which."""
        folder = RunFolder(path)
        said: list[str] = []
        newest = newest_whole(folder.checkpoints, folder.best)
        found = newest.snapshot
        assert not newest.damaged
        assert (found.step if found else 0) in allowed, (said, sorted(read(path)))
        if found is None:
            return 0
        assert found.digest == self.digests[found.step]
        start = Start(snapshot=found)
        state = best_of(folder, start)
        state.put_right(folder, said.append)
        best = state.snapshot
        assert best is not None, said
        assert best.step == self.best[found.step]
        assert best.digest == self.digests[best.step]
        assert load(folder.best).digest == best.digest
        return found.step
