"""The run folder that pictures are drawn from; each part is read when a picture needs it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from disttrain import config
from disttrain.checkpoint import all_checkpoints
from disttrain.comm.alone import Alone
from disttrain.data import read_facts
from disttrain.errors import CheckpointError
from disttrain.model import Layer, Loss
from disttrain.report.figure import plain
from disttrain.runs.trained import Trained, load_trained
from disttrain.shown import shown
from disttrain.training.predictor import Predictor
from disttrain.written import CutOff, intervals_of, why

__all__ = ["Samples", "Subject", "decided", "margins_of"]


class Samples:
    """A split as it is in the data file, before any normalization, and what it is called."""

    def __init__(self, trained: Trained, name: str) -> None:
        self.name = name
        self.split = trained.split(name)
        stored, places = self.split.rows.locate(np.arange(self.split.count))
        self.inputs, self.targets = np.asarray(stored[places]), self.split.targets


class Subject:
    """A run folder; rank 0 draws alone, so collective functions get a communicator of one rank.

    `sample` is the number of the one that feature maps are drawn of, among those held out. `layers`
    and `loss` are those of the user's own that it was trained with, if any. Raises CheckpointError
    for a folder without a run.
    """

    def __init__(
        self,
        folder: Path,
        sample: int = 0,
        layers: Sequence[Layer] | None = None,
        loss: Loss | None = None,
    ) -> None:
        self.sample = sample
        if not os.path.lexists(folder / "run.toml"):
            raise CheckpointError(
                f"{folder} holds no run: give the folder of a training (--output)"
            )
        self.folder, self._own = folder, (layers, loss)
        self.title = plain(config.read(folder / "run.toml").name)
        self._samples: dict[str, Samples] = {}

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """The intervals of the run; a line that is being written is none yet."""
        found, path = [], self.folder / "metrics.jsonl"
        try:
            for interval in intervals_of(path):
                found.append(interval)
        except (FileNotFoundError, CutOff):
            return found
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} can't be read ({why(error)})") from None
        return found

    @cached_property
    def trained(self) -> Trained:
        """The network with the best weights."""
        return self.load(self.folder)

    def load(self, path: Path) -> Trained:
        """Return the network of a checkpoint of this run."""
        return load_trained(path, Alone(), *self._own)

    @property
    def facts(self) -> dict[str, Any]:
        """The facts of the data in the checkpoint: inputs, classes, class_names, samples."""
        facts: dict[str, Any] = self.trained.snapshot.state["data"]
        return facts

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, or their numbers; nothing where targets are numbers."""
        names = self.facts["class_names"] or range(self.facts["classes"])
        return [plain(shown(name, 40)) for name in names]

    @property
    def held_out(self) -> str | None:
        """The split for scores: test, else validation, else None."""
        return next((n for n in ("test", "validation") if n in self.facts["samples"]), None)

    @cached_property
    def checkpoints(self) -> list[Path]:
        """The checkpoints that are kept, the oldest first."""
        return all_checkpoints(self.folder / "checkpoints")

    @cached_property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample: as the checkpoint states it, or for an old one the data file."""
        if "shape" in self.facts:
            return self.trained.network.shapes[0]
        data = self.trained.settings.data
        return read_facts(data.path, (data.inputs, data.targets)).shape

    def samples(self, name: str) -> Samples:
        """Return a split of the data of the training."""
        if name not in self._samples:
            self._samples[name] = Samples(self.trained, name)
        return self._samples[name]


def decided(network: Predictor, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the predicted class of each row of raw `inputs`, and the margins of all classes.

    The margin of class k is its output less the largest of the others: 0 on the border. A single
    output means class 1 where it is above 0.
    """
    outputs = network.predict(inputs)
    assert outputs is not None
    if outputs.shape[1] == 1:
        outputs = np.concatenate([-outputs, outputs], axis=1)
    return outputs.argmax(axis=1), margins_of(outputs)


def margins_of(outputs: np.ndarray) -> np.ndarray:
    """Return by how much each of two or more outputs is above the largest of the others."""
    second, largest = np.split(np.partition(outputs, -2, axis=1)[:, -2:], 2, axis=1)
    margins: np.ndarray = outputs - np.where(outputs == largest, second, largest)
    return margins
