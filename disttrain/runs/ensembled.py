"""An ensemble: several trained networks whose predictions are averaged, used like one network."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.arrays import Array
from disttrain.checkpoint import Verdict, verify
from disttrain.comm import Communicator
from disttrain.data import Feed, Split
from disttrain.data.taught import Taught
from disttrain.errors import CheckpointError, UsageError
from disttrain.model import Layer, Loss, Network, Softmax
from disttrain.model.losses import built_in
from disttrain.runs.trained import Trained, load_trained
from disttrain.training.evaluation import Score
from disttrain.training.limits import within_limits
from disttrain.written import json_of, text_of, why

__all__ = ["FILE", "Ensemble", "ensemble_of", "load_model", "verify_ensemble"]

FILE = "ensemble.json"
# Members that a file may name: more is a slip, or an attack on the memory.
MOST, BYTES = 10_000, 16 << 20
Inputs = tuple[Split, np.ndarray]


class Ensemble(Trained):
    """Networks whose predictions are averaged: probabilities of classes, or else outputs.

    With the softmax loss `p = Σₘ softmax(oₘ) / M`, and its loss is that of the outputs `log p`, so
    that it is weighed and smoothed like a member's. Numbers to be fitted are averaged in their own
    units. Blocks of rows and the order of members are fixed: the same bits on any number of ranks.
    """

    members: Sequence[Trained]

    @property
    def told(self) -> str:
        """What a line about it says behind its name."""
        return f"{len(self.members)} members"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Raise UsageError: an ensemble is several files."""
        raise UsageError(f"{self.path} is an ensemble of several files: copy its folder")

    def score(self, split: Split, phase: str = "scoring", everyone: bool = True) -> Score:
        """Return loss and accuracy on a split. Collective."""
        with within_limits(self.settings, self.comm):
            return super().score(split, phase, everyone)

    def predict_split(self, split: Split) -> np.ndarray | None:
        """Return the predictions for a split's samples on rank 0, else None. Collective."""
        with within_limits(self.settings, self.comm):
            return super().predict_split(split)

    @cached_property
    def taught(self) -> Taught:
        """What its members learned from their training file besides their weights."""
        return self.members[0].taught


def ensemble_of(members: Sequence[Trained], path: Path) -> Trained:
    """Return the ensemble of some networks, called by `path`; of a single one, that one itself.

    Raises CheckpointError where they are not for the same inputs and targets.
    """
    first = members[0]
    for member in members[1:]:
        if _task(member) != _task(first):
            raise CheckpointError(
                f"{member.path} and {first.path} are not for the same task (inputs, classes or "
                "loss differ): their predictions can't be averaged"
            )
    if len(members) == 1:
        first.path = path
        return first
    numbers = not first.snapshot.state["data"]["classes"]
    found = Ensemble(
        first.settings, first.comm, Mean(members), built_in("squared") if numbers else first.loss,
        first.normalization, Raw(first), first.loss_context, path=path, snapshot=first.snapshot,
    )  # fmt: skip
    found.members = members
    return found


def _task(member: Trained) -> tuple[Any, ...]:
    data = member.snapshot.state["data"]
    known = data["classes"], tuple(data["class_names"]), data.get("preparation", "")
    return (*known, member.network.shapes[0], member.network.outputs, member.loss.kind)


class Raw(Feed):
    """Hands samples on as they are: each member reads and normalizes them in its own way."""

    def __init__(self, first: Trained) -> None:
        vars(self).update(vars(first.feed))
        self.scale, self._network = None, first.network

    def __call__(
        self, split: Split, samples: np.ndarray, epoch: int | None = None
    ) -> tuple[Array, Array]:
        """Return the samples' place, and their targets in their own units."""
        targets = split.targets[samples]
        if targets.dtype.kind == "f":
            targets = targets.astype(self._network.dtype)
        return (split, samples), self._network.device.put(targets)


class Mean(Network):
    """The average of the members' predictions; names and shapes are those of the first member."""

    def __init__(self, members: Sequence[Trained]) -> None:
        vars(self).update(vars(members[0].network))
        self._members = members

    def predict(self, inputs: Array, layers: int | None = None) -> Array:
        """Return the averaged outputs of samples that `Raw` has handed on."""
        if layers is not None:
            raise UsageError("an ensemble has no layers of its own: name one of its members")
        return self._mean(inputs, lambda network: network.predict).astype(self.dtype)

    def closer(self) -> Callable[[Array], Array]:
        """Return a function that does `predict` with less rounding.

        The float64 copies of weights that it computes with are there for one member at a time.
        """
        return partial(self._mean, way=lambda network: network.closer())

    def _mean(self, inputs: Array, way: Callable[[Network], Callable[[Array], Array]]) -> Array:
        """Return the averaged outputs (float64); `way` gives a member's way to predict."""
        total: Any = 0.0
        for member in self._members:
            rows, _ = member.feed(*inputs)
            outputs = way(member.network)(rows).astype(np.float64)
            if isinstance(member.loss, Softmax):
                outputs = self.device.xp.exp(outputs - outputs.max(axis=1, keepdims=True))
                outputs = outputs / outputs.sum(axis=1, keepdims=True)
            elif member.feed.scale:
                outputs = self.device.put(member.feed.scale.undo(self.device.get(outputs)))
            total = total + outputs
        mean = total / len(self._members)
        if isinstance(self._members[0].loss, Softmax):
            # A share that is 0 in all members has no logarithm.
            mean = self.device.xp.log(self.device.xp.maximum(mean, np.finfo(self.dtype).tiny))
        return mean


def load_ensemble(
    path: Path,
    comm: Communicator,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
    float64: bool = False,
) -> Trained:
    """Return the ensemble of an `ensemble.json`, or of the folder that holds one. Collective.

    Raises CheckpointError, on all ranks, where that file or a member is missing or damaged, or a
    member is not the one that was put into it.
    """
    facts: dict[str, Any] = {}
    with comm.together("loading the ensemble", by_root=True):
        if comm.is_root:
            facts = read(path)
    facts = comm.share(facts)
    members = []
    for member in facts["members"]:
        found = load_trained(
            _file(path, member), comm, layers, loss, averaged=facts["average"], float64=float64
        )
        with comm.together("loading the ensemble", by_root=True):
            if found.snapshot.digest != member["digest"]:
                raise CheckpointError(_changed(path, member))
        members.append(found)
    with comm.together("loading the ensemble", by_root=True):
        return ensemble_of(members, path)


def load_model(
    path: str | Path,
    comm: Communicator,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
    *,
    averaged: bool = False,
    float64: bool = False,
) -> Trained:
    """Return what a path holds: a checkpoint, a run's best one, or an ensemble. Collective.

    `averaged` and `float64` are as in `load_trained`; an ensemble says itself which weights it has.
    """
    place, found = Path(path), False
    with comm.together("loading the checkpoint", by_root=True):
        if comm.is_root:
            found = is_ensemble(place)
            if found and averaged:
                raise UsageError(
                    f"{path} is an ensemble, made with or without --average: it can't be chosen now"
                )
    if comm.share(found):
        return load_ensemble(place, comm, layers, loss, float64)
    return load_trained(path, comm, layers, loss, averaged=averaged, float64=float64)


def read(path: Path) -> dict[str, Any]:
    """Return what an `ensemble.json` says, checked; CheckpointError where that is not possible."""
    file = path / FILE if path.is_dir() else path
    try:
        facts = json_of(text_of(file, BYTES))
        members = facts.get("members")
        good = isinstance(members, list) and 0 < len(members) <= MOST and all(
            isinstance(m, dict) and all(isinstance(m.get(k), str) for k in ("path", "digest"))
            for m in members
        )  # fmt: skip
        if not good:
            raise ValueError("it names no members")
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} can't be used ({why(error)}): make the ensemble again"
        ) from None
    return {"average": False} | facts


def verify_ensemble(path: Path) -> dict[str, Any]:
    """Return what was found in an ensemble's folder, as `verify_run` does of a run."""
    file = path / FILE if path.is_dir() else path
    verdicts = []
    try:
        facts = read(path)
    except CheckpointError as error:
        facts, verdicts = {"members": []}, [Verdict(file, str(error))]
    for member in facts["members"]:
        found = verify(_file(path, member))
        if found.whole and found.digest != member["digest"]:
            found = Verdict(found.path, _changed(path, member))
        verdicts.append(found)
    verdicts.append(Verdict(file)) if facts["members"] else None
    return {
        "path": str(path), "whole": all(v.whole for v in verdicts),
        "files": [v.facts() for v in verdicts],
    }  # fmt: skip


def _file(path: Path, member: dict[str, Any]) -> Path:
    return (path if path.is_dir() else path.parent) / str(member["path"])


def _changed(path: Path, member: dict[str, Any]) -> str:
    return (
        f"{_file(path, member)} has changed since {path} was made (its digest differs): make "
        "the ensemble again"
    )


def is_ensemble(path: Path) -> bool:
    """Return whether a path is that of an ensemble, and not of a run or a checkpoint."""
    if path.name == FILE:
        return True
    return os.path.lexists(path / FILE) and not os.path.lexists(path / "run.toml")
