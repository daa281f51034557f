"""The sections of a run file as frozen models: every key, its type, its limits, its default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from disttrain.config.kinds import Adam, Cosine, Optimizer, Pretraining, Rates, Schedule, Sgd
from disttrain.config.layers import Layer
from disttrain.config.section import (
    ClassWeights,
    Count,
    Fraction,
    NotNegative,
    Part,
    PositiveFloat,
    Text,
    keys_of_kind,
    kinds_of,
)
from disttrain.config.sentence import validated
from disttrain.config.table import Section, plain

__all__ = [
    "Augment",
    "Checkpoint",
    "Communication",
    "Data",
    "Device",
    "Interval",
    "Logging",
    "Model",
    "Optimizer",
    "Pretraining",
    "Reproducibility",
    "Schedule",
    "Settings",
    "Training",
    "Validation",
]


class Augment(Section):
    """How training samples are changed at random: pixels, degrees, a deviation."""

    shift: Annotated[int, Field(ge=0, le=4096)] = 0
    flip: bool = False
    crop: Annotated[int, Field(ge=0, le=4096)] = 0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    noise: NotNegative = 0.0


class Data(Section):
    """Where the samples are and what is done to them before the network sees them.

    `normalize = "auto"` is "mean-image" for pixels (uint8) and "standardize" for other numbers; it
    also standardizes targets that are numbers (`data.targets`). `split_seed` chooses the rows set
    aside for validation; None: the run's seed does.

    Only `labelled` of the training rows are used with their targets. Pre-training also uses the
    others and the file's rows without targets: at most `unlabelled` of them.
    """

    path: Text
    normalize: Literal["auto", "none", "mean-image", "standardize", "range"] = "auto"
    validation_fraction: Part = 0.1
    split_seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    inputs: Text = "inputs"
    targets: Text = "targets"
    memory: Literal["auto", "shared", "stream"] = "auto"
    block_rows: Count = 1024
    labelled: Count | None = None
    unlabelled: Count | None = None
    augment: Augment | None = None


class Model(Section):
    """The network, its loss and the type of its numbers.

    `loss = "auto"` is "softmax" for classes and "squared" for numbers to be fitted. `from` is a run
    folder or a checkpoint with weights to begin with. With `average` a running average of the
    parameters is kept beside them, of this decay.
    """

    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=1000, strict=False)]
    from_: Text | None = Field(default=None, alias="from")
    input_dropout: Part = 0.0
    average: Fraction | None = None
    loss: Literal["auto", "softmax", "squared", "perceptron"] = "auto"
    dtype: Literal["float32", "float64"] = "float32"


class Training(Section):
    """How long, and how many samples make one update.

    `batch_size` is that of all ranks together, for the mini-batch protocol; `batch` takes all
    samples and `single-sample` one, whatever it says. With `epsilon`, training stops after an
    update with `α ‖∇L‖ <= epsilon`.

    `class_weights` are "balanced", a number for each class, or a table of names or numbers of
    classes; classes that the table leaves out count as 1. With `accumulate` N a batch goes through
    the network in N passes, for a batch that memory can't hold. Up to `skip_not_finite` batches
    whose loss is not finite are left out, without an update.
    """

    epochs: Count = 20
    protocol: Literal["mini-batch", "batch", "single-sample"] = "mini-batch"
    batch_size: Count | None = 128
    epsilon: PositiveFloat | None = None
    class_weights: ClassWeights | None = None
    label_smoothing: Part = 0.0
    accumulate: Count = 1
    skip_not_finite: Annotated[int, Field(ge=0, le=10**9)] = 0

    @model_validator(mode="before")
    @classmethod
    def _batch_size_follows_protocol(cls, given: Any) -> Any:
        fixed = {"batch": None, "single-sample": 1}
        protocol = given.get("protocol") if isinstance(given, Mapping) else None
        if not isinstance(protocol, str) or protocol not in fixed:
            return given
        return {**given, "batch_size": fixed[protocol]}


class Interval(Section):
    """A section that happens every so many epochs, or, where stated, every so many steps."""

    every_epochs: Count | None = 1
    every_steps: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _steps_win(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("every_steps") is not None:
            return {**given, "every_epochs": None}
        return given

    def steps(self, steps_per_epoch: int) -> int:
        """Return the length of the interval in steps."""
        return self.every_steps or (self.every_epochs or 1) * steps_per_epoch


class Validation(Interval):
    """When and where the model is validated, and after how many idle intervals training stops.

    `best` names the number that decides which weights are the best, `direction` whether it should
    be small or large ("auto": small for losses and errors).
    """

    on: Literal["rank0", "all"] = "rank0"
    best: Text = "loss"
    direction: Literal["auto", "min", "max"] = "auto"
    patience: Count | None = None


class Checkpoint(Interval):
    """How often the state is saved and how many of the newest are kept."""

    keep: Count = 3


class Reproducibility(Section):
    """`exact`: the same bits on any number of ranks; `fast`: one share a rank.

    `auto` is exact where that costs nothing to speak of: layers and losses of disttrain's own on a
    processor, where shared products move less than gradients.

    `arithmetic` and `blas_threads` are for exact mode: "auto" shares products over the batch where
    that moves less than the gradients of leaves, and can be had. `audit` says what happens where a
    replica is found to differ from the others: the run stops, or the interval is done again.
    """

    mode: Literal["auto", "exact", "fast"] = "auto"
    leaves: Annotated[int, Field(ge=1, le=256)] = 8
    arithmetic: Literal["auto", "leaves", "shared"] = "auto"
    blas_threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    audit: Literal["stop", "redo", "off"] = "stop"


class Device(Section):
    """Where the arithmetic happens; `auto` takes a GPU that works, and says why if none does."""

    kind: Literal["auto", "cpu", "gpu"] = "auto"


class Communication(Section):
    """How gradients are summed over ranks, and how long a rank may stay in one phase."""

    sum: Literal["auto", "window", "allreduce", "buckets", "ring"] = "auto"
    bucket_mib: Annotated[float, Field(ge=1e-6, le=2**16)] = 4.0
    deadline_seconds: Annotated[float, Field(ge=0, le=10**7)] = 600.0


class Logging(Section):
    """For whom the numbers of each interval are written down too: names of loggers."""

    loggers: Annotated[tuple[Text, ...], Field(max_length=20, strict=False)] = ()


class Settings(Section):
    """A whole run file."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)] = "run"
    plot: bool = False
    data: Data
    model: Model
    training: Training = Training()
    optimizer: Optimizer = Sgd()
    schedule: Schedule = Cosine()
    pretraining: Pretraining | None = None
    validation: Validation = Validation()
    checkpoint: Checkpoint = Checkpoint()
    reproducibility: Reproducibility = Reproducibility()
    device: Device = Device()
    communication: Communication = Communication()
    logging: Logging = Logging()

    @model_validator(mode="before")
    @classmethod
    def _defaults_that_depend(cls, given: Any) -> Any:
        """Give what is not stated the default that goes with what is.

        A perceptron has the plain rule, `w += α y x`.
        """
        if not isinstance(given, Mapping):
            return given
        plain: dict[str, dict[str, Any]] = {}
        adam = _at(given, "optimizer", "kind") in kinds_of(Adam)
        if _at(given, "model", "loss") == "perceptron" and not adam:
            plain["optimizer"] = {"momentum": 0.0, "weight_decay": 0.0}
            plain["schedule"] = {"kind": "constant"}
            plain["training"] = {"protocol": "single-sample"}
        whole = dict(given)
        for name, keys in plain.items():
            if isinstance(whole.get(name, {}), Mapping):
                whole[name] = {**keys, **whole.get(name, {})}
        return whole

    @model_validator(mode="after")
    def _no_shared_defaults(self) -> Self:
        """Give each settings sections of its own: keys may be assigned."""
        for name in type(self).model_fields.keys() - self.model_fields_set:
            if isinstance(getattr(self, name), Section):
                self.__dict__[name] = getattr(self, name).model_copy()
        return self

    @model_validator(mode="after")
    def _rate_of_adam(self) -> Self:
        """Give Adam a rate of its own where none is stated: a step is about as long as its rate."""
        schedule = self.schedule
        stated = isinstance(schedule, Rates) or "learning_rate" in schedule.model_fields_set
        if isinstance(self.optimizer, Adam) and not stated:
            self.__dict__["schedule"] = schedule = schedule.model_copy()
            schedule.__dict__["learning_rate"] = 0.001
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        """Change keys of a section (a table), its kind (a name), or a key without a section."""
        value = plain(value)
        if isinstance(getattr(self, name, None), Section) and isinstance(value, str):
            value = {"kind": value}
        self._become(self.replace(**{name: value}))

    def replace(self, **sections: Any) -> Self:
        """Return a copy with some keys of some sections changed, validated again.

        Another `kind` leaves out the keys of the kind before. What was not stated stays so.
        """
        for name, section in self.__dict__.items():
            if isinstance(section, Section) and section.model_fields_set:
                self.model_fields_set.add(name)  # its keys may have been assigned
        plain = self.model_dump(exclude_none=True, exclude_unset=True)
        for name, keys in sections.items():
            if not isinstance(keys, Mapping) or not isinstance(getattr(self, name, None), Section):
                plain[name] = keys
                continue
            kept = plain.get(name, {})
            kind = keys.get("kind", kept.get("kind"))
            own = keys_of_kind(type(self), [name], kind)
            kept = {key: value for key, value in kept.items() if not own or key in own}
            plain[name] = {**kept, **keys}
        return validated(type(self), plain, "settings")


def _at(table: Mapping[str, Any], section: str, key: str) -> Any:
    """Return what `table` states for a key of a section, None where it states nothing."""
    inner = table.get(section)
    return inner.get(key) if isinstance(inner, Mapping) else None
