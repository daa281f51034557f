"""Using a trained network: from a checkpoint to scores and predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from disttrain import config
from disttrain.arrays import choose
from disttrain.checkpoint import Snapshot, find, load
from disttrain.comm import Communicator
from disttrain.data import Dataset, Normalization, open_dataset
from disttrain.errors import DataError, UsageError
from disttrain.training.evaluation import Score
from disttrain.training.run import Model, build_model

__all__ = ["Trained", "load_trained"]


@dataclass
class Trained(Model):
    """A network with the weights of a checkpoint, and its normalization."""

    path: Path
    snapshot: Snapshot

    def dataset(self, path: str | None = None) -> Dataset:
        """Return the data set of the training, or the one at `path`, checked to fit. Collective."""
        settings = self.settings.data
        if path is not None:
            settings = settings.model_copy(update={"path": str(Path(path).absolute())})
        dataset = open_dataset(settings, self.settings.seed, self.comm)
        have, want = dataset.inputs, self.network.inputs
        with self.comm.together("opening data"):
            if have != want:
                raise DataError(
                    f"data file {settings.path} has {have} numbers a sample, but the network of "
                    f"{self.path} takes {want}"
                )
            if dataset.outputs > self.network.outputs or (
                not dataset.classes and dataset.outputs != self.network.outputs
            ):
                raise DataError(
                    f"data file {settings.path} has {dataset.outputs} "
                    f"{'classes' if dataset.classes else 'targets'}, but the network of "
                    f"{self.path} has {self.network.outputs} outputs"
                )
        return dataset

    def evaluate(self, data: str | None = None, split: str = "test") -> Score:
        """Return loss and accuracy on a split. Collective."""
        dataset = self.dataset(data)
        with self.comm.together("opening data"):
            if split not in dataset.splits:
                raise UsageError(
                    f"{dataset.file.path} has no split {split!r}: --split takes one of "
                    f"{', '.join(dataset.splits)}"
                )
        return self.score(dataset.splits[split], f"scoring the {split} split")


def load_trained(
    path: str | Path, comm: Communicator, say: Callable[[str], None] = lambda line: None
) -> Trained:
    """Return the network in a checkpoint, or the best one of a run folder. Collective.

    Raises on all ranks, with CheckpointError's code, where the file is missing, torn, or not
    described by its own run file (a network with layers of a script's own).
    """
    with comm.together("loading the checkpoint"):
        file = find(Path(path))
        snapshot = load(file)
        settings = config.parse(snapshot.run_file, source=f"the run file in {file}")
        settings = settings.replace(data={"path": snapshot.state["data"]["path"]})
        device = choose(settings.device.kind, comm.local_rank, say)
        normalization = Normalization(**snapshot.normalization)
        inputs = int(snapshot.state["data"]["inputs"])
        model = build_model(settings, comm, normalization, inputs, device)
        model.network.load(snapshot.parameters, model.network.values)
    return Trained(**vars(model), path=file, snapshot=snapshot)
