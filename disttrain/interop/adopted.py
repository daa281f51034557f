"""A network of another program as a checkpoint, which every command takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.arrays import Cpu
from disttrain.checkpoint import Snapshot, save
from disttrain.config import Settings, from_keywords, to_toml
from disttrain.data import TargetScale
from disttrain.errors import UsageError
from disttrain.model import Network
from disttrain.training.predictor import stacked

__all__ = ["Adopted", "settings_for"]


@dataclass
class Adopted:
    """What is known of a network of the file `source`: `weights` are those of its layers with
    parameters, in order.

    `mean` and `deviation` are those of its inputs, of `divisor` 255 where these are uint8;
    `classes` are names, empty where its outputs are numbers.
    """

    source: Path
    settings: Settings
    shape: tuple[int, ...]
    weights: list[dict[str, np.ndarray]]
    classes: Sequence[str] = ()
    divisor: float = 1.0
    mean: np.ndarray | None = None
    deviation: np.ndarray | None = None
    targets: TargetScale | None = None
    notes: list[str] = field(default_factory=list)

    def save(self, path: Path) -> Network:
        """Write the checkpoint and return the network. Raises UsageError for weights that don't fit
        its layers, CheckpointError where the disk refuses."""
        settings, inputs = self.settings, math.prod(self.shape)
        network = Network(list(stacked(settings)), self.shape, settings.model.dtype, Cpu(), 0)
        if settings.model.loss == "softmax" and network.outputs == 1:
            raise UsageError(
                f"{self.source} has one output, of which a softmax makes 1 for each row: classes "
                "need two, and numbers the loss squared"
            )
        places = network.tensors(network.values)
        named = list(dict.fromkeys(key.partition("/")[0] for key in places))
        if len(named) != len(self.weights):
            raise UsageError(
                f"{self.source} holds {len(self.weights)} layers with weights, the layers that are "
                f"stated are {len(named)}"
            )
        for name, own in zip(named, self.weights, strict=True):
            for key in sorted(own, reverse=True):
                self._copy(f"{name}/{key}", own[key], places.get(f"{name}/{key}", np.empty(0)))
        mean = np.zeros(inputs) if self.mean is None else self.mean
        deviation = np.ones(inputs) if self.deviation is None else self.deviation
        save(path, Snapshot(
            step=0, epoch=0.0, run_file=to_toml(settings),
            parameters={key: np.array(place) for key, place in places.items()}, slots={},
            normalization={"kind": "none" if self.mean is None else "standardize",
                           "divisor": self.divisor, "mean": mean, "deviation": deviation},
            state=self._state(network),
        ))  # fmt: skip
        return network

    def _copy(self, name: str, array: np.ndarray, place: np.ndarray) -> None:
        # Those of a layer normalization come in a row.
        if array.ndim == 1 and array.size == place.size:
            array = array.reshape(place.shape)
        if array.shape != place.shape or array.dtype.kind != "f":
            raise UsageError(
                f"{self.source}: {name} is {array.dtype} of shape {array.shape} there, the layers "
                f"that are stated have {place.shape}"
            )
        if not np.isfinite(array).all():
            raise UsageError(f"{self.source}: {name} holds NaN or infinity")
        place[...] = array

    def _state(self, network: Network) -> dict[str, Any]:
        names = list(map(str, self.classes))
        plain = names == list(map(str, range(len(names))))
        return {
            "data": {
                "path": self.settings.data.path,
                "inputs": math.prod(self.shape),
                "shape": list(self.shape),
                "input_dtype": "uint8" if self.divisor != 1 else "float32",
                "classes": len(names),
                "class_names": [] if plain else names,
                "preparation": "",
                "samples": {},
                "fingerprint": "",
            },
            "layers": network.kinds,
            "loss": self.settings.model.loss,
            "class_weights": None,
            "targets": self.targets.facts() if self.targets else None,
            "arithmetic": None,
            "versions": {},
        }


def settings_for(
    layers: Sequence[dict[str, Any]], loss: str, dtype: str, source: Path, data: str | None
) -> Settings:
    """Return settings of an imported network; `data` is the data file that it is meant for."""
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in source.stem).lstrip("._-")
    return from_keywords(None, {
        "name": name or "imported", "path": data or str(source.absolute()),
        "layers": list(layers), "loss": loss, "dtype": dtype, "normalize": "none",
    })  # fmt: skip
