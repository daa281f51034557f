"""Building a run: data, network, arithmetic, work; all checked before the first step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from disttrain.arrays import Cpu, Device, choose
from disttrain.comm import Communicator
from disttrain.comm.alone import Alone
from disttrain.config import Rbm, Settings
from disttrain.data import (
    Dataset,
    TargetScale,
    batch_sizes,
    measure,
    measure_targets,
    open_dataset,
)
from disttrain.data.augmentation import Augmentation
from disttrain.errors import DataError, DisttrainError
from disttrain.memory import give_back
from disttrain.model import Dense, Layer, Loss
from disttrain.preemption import Preemption
from disttrain.training.callbacks import Callback
from disttrain.training.exact.arithmetic import Arithmetic, costs, decide
from disttrain.training.fitted import chosen, fitted
from disttrain.training.injection import Injection
from disttrain.training.limits import within_limits
from disttrain.training.measures import Metric, Metrics, by_name, refuse_unknown
from disttrain.training.optimizer import Optimizer
from disttrain.training.predictor import Predictor, build_predictor, stacked
from disttrain.training.run import Run
from disttrain.training.suitability import (
    check_fit,
    check_pretraining,
    refuse_what_does_not_fit,
    refuse_what_memory_cannot_hold,
)
from disttrain.training.weighing import class_weights
from disttrain.training.work import divide

__all__ = ["build_run", "is_exact", "open_training_data", "refuse_unfit"]


def build_run(
    settings: Settings,
    comm: Communicator,
    *,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
    callbacks: Sequence[Callback] = (),
    preemption: Preemption | None = None,
    metrics: Metrics | Sequence[Metric] = (),
    recorded: Arithmetic | None = None,
    injection: Injection | None = None,
    dataset: Dataset | None = None,
) -> Run:
    """Return a run that is ready for its first step. Collective.

    `layers` and `loss` replace those that the settings name; `metrics` are functions of all
    predictions and targets of a split; `recorded` is the arithmetic of an exact run that goes on;
    `dataset` are data that are open already, instead of those that the settings name.
    Raises on all ranks for data that can't be used (code 3), a network that does not fit them or a
    device that is not there (2).
    """
    with within_limits(settings, comm):
        model, dataset = prepared(settings, comm, layers, loss, callbacks, dataset)
        optimizer = Optimizer(model.network, settings.optimizer, settings.model.average)
        rows = dataset.splits["train"].count
        by_the_data = chosen(settings, model.settings, rows)
        sizes = batch_sizes(rows, model.settings.training.batch_size)
        arithmetic = decide(model, sizes, dataset.classes, dataset.outputs, comm, recorded)
        model.settings = settings = with_mode(model.settings, arithmetic)
    with within_limits(settings, comm):
        run = Run(
            settings, comm, model.network, model.loss, model.normalization, model.feed,
            model.loss_context, dataset=dataset, arithmetic=arithmetic, optimizer=optimizer,
            work=divide(model, dataset, optimizer, arithmetic),
            callbacks=callbacks if comm.is_root else (), preemption=preemption or Preemption(),
            metrics=named_together(metrics, settings, dataset, comm), injection=injection,
            by_the_data=by_the_data,
        )  # fmt: skip
    give_back()
    return run


def prepared(
    settings: Settings,
    comm: Communicator,
    layers: Sequence[Layer] | None,
    loss: Loss | None,
    callbacks: Sequence[Callback],
    dataset: Dataset | None = None,
) -> tuple[Predictor, Dataset]:
    """Return the network with its initial weights, and the data that it fits. Collective."""
    with comm.together("configuration"):
        refuse_what_does_not_fit(settings)
    device = choose_together(settings, comm, callbacks)
    dataset = dataset or open_training_data(settings, comm)
    settings = fitted(settings, dataset)
    normalization = measure(_scale(settings, dataset), dataset.every_row, comm)
    with comm.together("building the network"):
        if layers is None:
            layers = list(stacked(settings))
            refuse_what_memory_cannot_hold(layers, settings, dataset, device, comm)
        model = build_predictor(
            settings, comm, normalization, dataset.shape, device, layers, loss,
            scale_of(settings, dataset, layers[-1], loss),
            class_weights(settings, dataset, loss is not None),
        )  # fmt: skip
        check_fit(model, dataset, own_loss=loss is not None)
        check_pretraining(model)
        if augment := settings.data.augment:
            model.feed.augmentation = Augmentation(augment, dataset.shape, settings.seed)
    return model, dataset


def _scale(settings: Settings, dataset: Dataset) -> str:
    """Return how inputs are normalized: for an RBM, "auto" is numbers between 0 and 1."""
    kind: str = settings.data.normalize
    if kind != "auto" or not isinstance(settings.pretraining, Rbm):
        return kind
    return "none" if dataset.every_row.dtype == np.uint8 else "range"


def with_mode(settings: Settings, arithmetic: Arithmetic | None) -> Settings:
    """Return the settings with the mode and the arithmetic that "auto" has become."""
    if settings.reproducibility.mode != "auto":
        return settings
    chosen = {"mode": "exact", "arithmetic": arithmetic.kind} if arithmetic else {"mode": "fast"}
    return settings.replace(reproducibility=chosen)


def named_together(
    metrics: Metrics | Sequence[Metric], settings: Settings, dataset: Dataset, comm: Communicator
) -> dict[str, Metric]:
    """Return the metrics by name, with `validation.best` among what is measured. Collective."""
    with comm.together("configuration"):
        named = by_name(metrics)
        refuse_unknown(settings.validation.best, dataset.classes, named)
    return named


def is_exact(settings: Settings, dataset: Dataset | None) -> bool:
    """Return True where a run is exact: as asked for, or by what "auto" becomes on these data.

    False too where that can't be told. This rank alone finds it out.
    """
    if settings.reproducibility.mode != "auto" or dataset is None:
        return settings.reproducibility.mode == "exact"
    try:
        model, data = prepared(settings, Alone(), None, None, (), dataset.lend())
    except DisttrainError:
        return False
    sizes = batch_sizes(data.splits["train"].count, model.settings.training.batch_size)
    return not costs(model, sizes, (data.classes, data.outputs))


def refuse_unfit(
    settings: Settings, dataset: Dataset, layers: Sequence[Layer] | None, loss: Loss | None
) -> None:
    """Raise UsageError where a network of the settings does not fit the data. On this rank alone.

    Inputs are not read, but for pre-training, which may need numbers between 0 and 1.
    """
    if settings.pretraining is None:
        settings = settings.replace(data={"normalize": "none"})
    prepared(settings, Alone(), layers, loss, (), dataset.lend())


def open_training_data(settings: Settings, comm: Communicator) -> Dataset:
    """Return the data set of the settings, which has rows to train on. Collective."""
    pretraining = settings.pretraining is not None
    dataset = open_dataset(settings.data, settings.seed, comm, without=pretraining)
    with comm.together("opening data"):
        if "train" not in dataset.splits:
            raise DataError(
                f"data file {dataset.file.path} has no group 'train': training needs one"
            )
        targets = dataset.splits["train"].targets
        if dataset.classes and targets.min() == targets.max():
            raise DataError(
                f"data file {dataset.file.path}: all training rows are of one class: there is "
                "nothing to tell apart"
            )
    return dataset


def scale_of(
    settings: Settings, dataset: Dataset, last: Layer, loss: Loss | None
) -> TargetScale | None:
    """Return the scale that the targets are brought to, or None where they stay as they are.

    Only for `normalize = "auto"`, numbers, and the squared loss of outputs that can be any number.
    """
    linear = type(last) is Dense and last.activation == "identity"
    squared = loss is None and settings.model.loss == "squared"
    if settings.data.normalize != "auto" or dataset.classes or not (linear and squared):
        return None
    return measure_targets(dataset.splits["train"].targets)


def choose_together(
    settings: Settings, comm: Communicator, callbacks: Sequence[Callback]
) -> Device:
    """Return this rank's device; all ranks take the processor where one has no GPU. Collective."""
    said: list[str] = []
    with comm.together("choosing a device"):
        device = choose(settings.device.kind, comm.host_rank, said.append)
    everyone = comm.collect((device.kind, said))
    if len({kind for kind, _ in everyone}) > 1:
        device = Cpu()
    lines = [(rank, line) for rank, (_, part) in enumerate(everyone) for line in part]
    if lines and comm.is_root:
        rank, line = lines[0]
        for callback in callbacks:
            callback.on_message(line if rank == 0 else f"rank {rank}: {line}")
    return device
