"""The states and reports of pre-training in a run folder: each layer has checkpoints of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from disttrain.checkpoint import Snapshot, all_checkpoints, newest_whole, pieces_of, save_newest
from disttrain.config import Settings
from disttrain.errors import DataError, RunFileError
from disttrain.runs.changes import changes, is_free
from disttrain.training.pretraining import reported

if TYPE_CHECKING:
    from disttrain.runs.folder import RunFolder
    from disttrain.training.run import Run

__all__ = ["LayerFolder", "saved_layers"]


def place_of(folder: Path, number: int) -> Path:
    """Return where a run folder has the states of the `number`-th hidden layer."""
    return folder / f"pretraining-{number}"


def saved_layers(folder: Path) -> int:
    """Return how many hidden layers, from the first on, have a saved state in a run folder."""
    number = 0
    while all_checkpoints(place_of(folder, number + 1)):
        number += 1
    return number


class LayerFolder:
    """`pretraining-1` of a run folder, for the first hidden layer; then `pretraining-2`, ..."""

    def __init__(self, folder: RunFolder, number: int) -> None:
        self._folder, self._number = folder, number
        self.on_stop = folder.on_stop
        self.path = place_of(folder.path, number)

    def save(self, run: Run, improved: bool) -> None:
        """Save the state of the layer's run. Collective."""
        with run.comm.together("saving"):
            if run.comm.is_root:
                content = pieces_of(run.snapshot())
                run.work.audit.refuse_unaudited()
                self._folder.refuse_lost()
                save_newest(self.path, run.state.step, content, run.settings.checkpoint.keep)

    def add_metrics(self, report: dict[str, Any]) -> None:
        """Append the report of an epoch to the run's `metrics.jsonl`."""
        self._folder.add_metrics(reported(self._number, report))

    def add_digest(self, record: dict[str, Any]) -> None:
        """Do nothing: the chain of digests begins with the weights that were learned."""

    def of_layer(self, number: int) -> LayerFolder:
        """Return the folder of another layer."""
        return LayerFolder(self._folder, number)

    def found(self, settings: Settings, data: str) -> Snapshot | None:
        """Return the newest whole state of the layer, None where none was saved."""
        snapshot = newest_whole(self.path, self.path / "best.h5").snapshot
        if snapshot is None:
            return None
        cure = "begin anew with --overwrite or another --output"
        for key, (old, new) in changes(settings, snapshot).items():
            # The layers above learn from this one: it does not become longer.
            if is_free(key) and key != "training.epochs":
                continue
            raise RunFileError(
                f"the pre-training of layer {self._number} began with other settings ({key} was "
                f"{old!r} and is {new!r}): {cure}"
            )
        if snapshot.state["data"].get("fingerprint") != data:
            raise DataError(
                f"layer {self._number} was pre-trained on other data than {settings.data.path}: "
                f"{cure}"
            )
        return snapshot
