"""A run: everything that one training needs, and how far it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from disttrain.arrays.blas import blas
from disttrain.checkpoint import Snapshot, digest
from disttrain.checkpoint.state import State
from disttrain.config import Interval, to_toml
from disttrain.data import Dataset, Split, fingerprint
from disttrain.environment import VERSION
from disttrain.preemption import Preemption
from disttrain.training.callbacks import Callback
from disttrain.training.evaluation import Score
from disttrain.training.exact.arithmetic import Arithmetic
from disttrain.training.initial import begin_from
from disttrain.training.injection import Injection
from disttrain.training.limits import within_limits
from disttrain.training.measures import Metrics, measured
from disttrain.training.optimizer import Optimizer
from disttrain.training.predictor import Predictor
from disttrain.training.recorded import Recordings
from disttrain.training.schedules import learning_rate
from disttrain.training.stage import Done, Stage
from disttrain.training.work import Work

__all__ = ["Run"]


@dataclass(repr=False)
class Run(Predictor):
    """A model, the data it is trained on, and how far the training is.

    Only `comm` and `work` depend on the ranks. `arithmetic` is that of an exact run, None in fast
    mode. `best` is rank 0's copy of the best weights:
    those with the least validation loss, or by what `validation.best` names. `metrics` are a user's
    own, by name. `pretrains` is the number of the hidden layer whose pre-training this is, else 0.
    `by_the_data` names what the data chose of the batch size and the rate, and why.
    """

    dataset: Dataset
    optimizer: Optimizer
    work: Work
    arithmetic: Arithmetic | None = None
    callbacks: Sequence[Callback] = ()
    metrics: Metrics = field(default_factory=dict)
    preemption: Preemption = field(default_factory=Preemption)
    state: State = field(default_factory=State)
    best: np.ndarray | None = None
    injection: Injection | None = None
    data_digest: str | None = None
    stage: Stage = field(default_factory=Stage)
    pretrains: int = 0
    by_the_data: Sequence[str] = ()

    def __repr__(self) -> str:
        return (
            f"<Run {self.settings.name}: {self.network.widths}, {self.loss.kind}, step "
            f"{self.state.step} of {self.total_steps}, ranks: {self.comm.size}>"
        )

    @property
    def threads(self) -> int | None:
        """BLAS threads of an exact run on this rank; None in fast mode."""
        return self.work.threads

    @property
    def steps_per_epoch(self) -> int:
        """Updates in which each training sample is used once."""
        return self.work.batches.steps_per_epoch

    @property
    def epoch(self) -> float:
        """Epochs done, with the part of the one under way."""
        return self.state.step / self.steps_per_epoch

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.settings.training.epochs * self.steps_per_epoch

    @property
    def is_over(self) -> bool:
        """True after the last step, and where the run has stopped early."""
        return self.state.stopped_early or self.state.step >= self.total_steps

    @property
    def of_layer(self) -> str:
        """What messages say behind a step: whose pre-training this is, "" where it is none."""
        return f" of the pre-training of layer {self.pretrains}" if self.pretrains else ""

    def is_due(self, interval: Interval) -> bool:
        """Return True where the run is over, or stands at the end of such an interval."""
        return self.is_over or self.state.step % interval.steps(self.steps_per_epoch) == 0

    def next_stop(self) -> int:
        """Return the step before which nothing is validated or saved.

        That is the present one where this is still to be done after it.
        """
        if self.is_over:
            return self.state.step
        here, ends = self.state.step + (self.stage.done == Done.SAVED), [self.total_steps]
        for interval in (self.settings.validation, self.settings.checkpoint):
            steps = interval.steps(self.steps_per_epoch)
            ends.append(-(-here // steps) * steps)
        return min(ends)

    def score(self, split: Split, phase: str = "scoring", everyone: bool = True) -> Score:
        """Return loss, accuracy and metrics on a split, as `fit` would find them. Collective."""
        with within_limits(self.settings, self.comm, self.threads):
            score = super().score(split, phase, everyone)
            if self.metrics:
                outputs = self.predict_split(split)
                own = measured(self.metrics, outputs, split.targets, self.comm)
                score.metrics = {**score.metrics, **own}
            return score

    def judged(self, split: Split, samples: np.ndarray) -> tuple[Any, ...]:
        """Return the sums of some samples that a score is made of, replayed where they can be."""
        with self.network.device.explaining():
            recorded = self.recordings.judgement(split, len(samples))
            # Where the loss is not finite, numpy's largest output is another one.
            return (recorded and recorded(samples)) or super().judged(split, samples)

    def validate(self) -> Score | None:
        """Return the score of the validation split, None where there is none. Collective.

        Where a running average is kept its numbers stand among the metrics, as in `average_loss`.
        """
        split = self.dataset.splits.get("validation")
        if split is None:
            return None
        everyone = self.settings.validation.on == "all"
        score = self.score(split, "validation", everyone)
        if self.optimizer.average:
            with self.optimizer.average.in_place():
                other = self.score(split, "validation of the average", everyone).facts()
            own = {f"average_{name}": x for name, x in other.items() if x is not None}
            score.metrics = {**score.metrics, **own}
        return score

    def rates(self, first: int, end: int) -> list[float]:
        """Return the learning rates of steps `first..end-1`, computed on rank 0. Collective."""
        rates = None
        if self.comm.is_root:
            per_epoch, total = self.steps_per_epoch, self.total_steps
            schedule = self.settings.schedule
            rates = [learning_rate(schedule, s, per_epoch, total) for s in range(first, end)]
        return self.comm.share(rates)

    def host_values(self) -> np.ndarray:
        """Return a copy of the flat vector of parameters on the host."""
        return np.array(self.network.device.get(self.network.values))

    @cached_property
    def recordings(self) -> Recordings:
        """The recorded steps of this run."""
        return Recordings(self)

    @cached_property
    def data_fingerprint(self) -> str:
        """What tells the data file of this run from another one, as it was when the run began."""
        return self.data_digest or fingerprint(self.dataset.file)

    def snapshot(self) -> Snapshot:
        """Return the whole state as a checkpoint holds it (rank 0)."""
        preparation = self.dataset.file.preparation
        weights = getattr(self.loss, "class_weights", None)
        facts = {
            "path": self.dataset.file.path,
            "inputs": math.prod(self.dataset.shape),
            "shape": list(self.dataset.shape),
            "input_dtype": str(self.dataset.splits["train"].rows.dtype),
            "classes": self.dataset.classes,
            "class_names": list(self.dataset.class_names),
            "preparation": preparation.to_json() if preparation else "",
            "samples": {name: split.count for name, split in self.dataset.splits.items()},
            "fingerprint": self.data_fingerprint,
        }
        return Snapshot(
            step=self.state.step,
            epoch=self.epoch,
            run_file=to_toml(self.settings),
            parameters=self.network.tensors(self.network.values),
            slots=self.optimizer.tensors(),
            average=self.optimizer.average.tensors() if self.optimizer.average else {},
            normalization=self.normalization.facts(),
            state={
                "data": facts,
                "layers": self.network.kinds,
                "loss": self.loss.kind,
                "class_weights": None if weights is None else weights.tolist(),
                "targets": self.feed.scale.facts() if self.feed.scale else None,
                "arithmetic": self.arithmetic.to_json() if self.arithmetic else None,
                "versions": {"disttrain": VERSION, "numpy": np.__version__, "blas": str(blas())},
            },
            progress=self.state.copy(),
        )

    def use_best(self) -> None:
        """Put the weights with the least validation loss into the network. Collective."""
        values = self.best if self.best is not None else self.host_values()
        self.comm.broadcast(values)
        self.network.device.put(values, self.network.values)

    def restore(self, snapshot: Snapshot | None, best: Snapshot | None = None) -> None:
        """Go on from rank 0's `snapshot`; None (on rank 0) begins by `model.from`. Collective.

        `best` is the snapshot of the best weights so far. If that file is lost, the least
        validation loss still counts, so that the run stops early at the same step.

        Rank 0 sends its weights and slots to all ranks, and the digests are compared.
        """
        comm, network, source = self.comm, self.network, self.settings.model.from_
        with comm.together("restoring"):
            if comm.is_root and snapshot is None and source:
                line = begin_from(network, source)
                for callback in self.callbacks:
                    callback.on_message(line)
            if comm.is_root and snapshot is not None:
                network.load(snapshot.parameters, network.values)
                self.optimizer.load(snapshot.slots)
                if self.optimizer.average:
                    self.optimizer.average.load(snapshot.average)
                self.state = snapshot.progress
                self.state.reconsider(self.settings.validation.patience)
                if best is not None:
                    self.best = np.zeros(network.layout.length, network.dtype)
                    network.tensors_into(best.parameters, self.best)
        self.state = comm.share(self.state)
        if comm.survives:
            self.best = comm.share(self.best)
        self.stage = Stage()
        self.work.ledger.forget()
        self.optimizer.checksum_read = 0
        for vector in self.optimizer.vectors.values():
            host = np.array(network.device.get(vector))
            comm.broadcast(host)
            network.device.put(host, vector)
        self.compare_replicas()

    def warn(self, line: str) -> None:
        """Pass a line to the callbacks that people must see, even where they asked for silence."""
        for callback in self.callbacks:
            callback.on_warning(line)

    def close(self) -> None:
        """Give the shared rows of the data back; the run can't be used any more."""
        self.dataset.close(self.comm)

    def about(self) -> dict[str, Any]:
        """Return what the first record of the chain of digests says of data and arithmetic."""
        exact = self.arithmetic
        how = f"exact mode, {exact.kind}, {exact.leaves} leaves" if exact else "fast mode"
        # Threads belong to the ranks that are there; in exact mode they change nothing.
        library = blas().kernels if exact else str(blas())
        return {
            "data": self.data_fingerprint,
            "computes": f"{how}, {self.network.device.name}, {library}, numpy {np.__version__}",
        }

    def digest(self) -> str:
        """Return the digest of this rank's training state."""
        parameters = self.network.tensors(self.network.values)
        return digest(parameters, self.optimizer.tensors(), self.state.step)

    def compare_replicas(self) -> None:
        """Raise on all ranks where one's weights or slots differ from rank 0's. Collective."""
        digests = self.comm.collect(self.digest())
        with self.comm.together("comparing replicas"):
            if digests[self.comm.rank] != digests[0]:
                raise RuntimeError(
                    f"the weights on {self.comm.host} differ from rank 0's right after they were "
                    "sent: the memory or the network of this host is faulty"
                )
