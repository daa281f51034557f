"""The sections of a run file as frozen models: every key, its type, its limits, its default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from disttrain.config.sentence import validated

__all__ = [
    "Checkpoint",
    "Communication",
    "Data",
    "Device",
    "GivenLayer",
    "GivenNetwork",
    "Layer",
    "Model",
    "Optimizer",
    "Reproducibility",
    "Schedule",
    "Settings",
    "Training",
    "Validation",
]

Activation = Literal["identity", "sigmoid", "tanh", "relu", "sign"]
Initializer = Literal["auto", "small-random", "xavier", "he", "constant"]
Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A table of the run file: frozen, typed strictly, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=False)


class Data(Section):
    """Where the samples are and what is done to them before the network sees them."""

    path: str = Field(min_length=1)
    normalize: Literal["none", "mean-image", "standardize", "range"] = "mean-image"
    validation_fraction: Fraction = 0.1
    inputs: str = "inputs"
    targets: str = "targets"
    memory: Literal["auto", "shared", "stream"] = "auto"
    block_rows: Positive = 1024


class Layer(Section):
    """One dense layer; `initializer = "auto"` is `he` for relu and `xavier` for the others.

    `dropout` is the fraction of this layer's outputs that each training pass leaves out.
    """

    units: Positive
    activation: Activation = "identity"
    initializer: Initializer = "auto"
    scale: PositiveFloat = 0.01
    bias: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    dropout: Fraction = 0.0


class Model(Section):
    """The network, its loss and the type of its numbers."""

    layers: Annotated[tuple[Layer, ...], Field(min_length=1, strict=False)]
    input_dropout: Fraction = 0.0
    loss: Literal["softmax", "squared", "perceptron"] = "softmax"
    dtype: Literal["float32", "float64"] = "float32"


class Training(Section):
    """How long, and how many samples make one update.

    `batch_size` is that of all ranks together, for the mini-batch protocol; `batch` takes all
    samples and `single-sample` one, whatever it says. With `epsilon`, training stops after an
    update with `α ‖∇L‖ <= epsilon`.
    """

    epochs: Positive = 20
    protocol: Literal["mini-batch", "batch", "single-sample"] = "mini-batch"
    batch_size: Positive | None = 128
    epsilon: PositiveFloat | None = None

    @model_validator(mode="before")
    @classmethod
    def _batch_size_follows_protocol(cls, given: Any) -> Any:
        fixed = {"batch": None, "single-sample": 1}
        if not isinstance(given, Mapping) or given.get("protocol") not in fixed:
            return given
        return {**given, "batch_size": fixed[given["protocol"]]}


class Optimizer(Section):
    """The update: momentum, the form of it, and weight decay (biases are exempt)."""

    momentum: Fraction = 0.9
    form: Literal["classical", "averaged", "nesterov"] = "classical"
    weight_decay: NotNegative = 1e-4


class Schedule(Section):
    """The learning rate as a function of time; `k`, `warmup_epochs` in epochs."""

    kind: Literal["constant", "step", "exponential", "inverse-time", "cosine"] = "step"
    learning_rate: PositiveFloat = 0.1
    factor: Annotated[float, Field(gt=0, le=1)] = 0.5
    every_epochs: Positive = 5
    k: NotNegative = 0.1
    final_rate: NotNegative = 0.0
    warmup_epochs: NotNegative = 0.0


class Interval(Section):
    """A section that happens every so many epochs, or, where stated, every so many steps."""

    every_epochs: Positive | None = 1
    every_steps: Positive | None = None

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
    """When and where the model is validated, and after how many idle intervals training stops."""

    on: Literal["rank0", "all"] = "rank0"
    patience: Positive | None = None


class Checkpoint(Interval):
    """How often the state is saved and how many of the newest are kept."""

    keep: Positive = 3


class Reproducibility(Section):
    """`fast`: one share a rank; `exact`: the same bits on any number of ranks.

    `arithmetic` and `blas_threads` are for exact mode: "auto" shares products over the batch where
    that moves less than the gradients of leaves, and can be had. `audit` says what happens where a
    replica is found to differ from the others: the run stops, or the interval is done again.
    """

    mode: Literal["fast", "exact"] = "fast"
    leaves: Positive = 8
    arithmetic: Literal["auto", "leaves", "shared"] = "auto"
    blas_threads: Positive = 1
    audit: Literal["stop", "redo", "off"] = "stop"


class Device(Section):
    """Where the arithmetic happens; `auto` takes a GPU that works, and says why if none does."""

    kind: Literal["auto", "cpu", "gpu"] = "auto"


class Communication(Section):
    """How gradients are summed over ranks, and how long a rank may stay in one phase."""

    sum: Literal["auto", "window", "allreduce", "buckets", "ring"] = "auto"
    bucket_mib: PositiveFloat = 4.0
    deadline_seconds: NotNegative = 600.0


class GivenLayer(Section):
    """A layer whose weights somebody wrote down: `W` of shape (units, inputs), `b` (units,)."""

    W: Annotated[list[list[float]], Field(min_length=1)]
    b: Annotated[list[float], Field(min_length=1)]
    activation: Activation = "identity"


class GivenNetwork(Section):
    """A file of given weights."""

    layers: Annotated[list[GivenLayer], Field(min_length=1)]


class Settings(Section):
    """A whole run file."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "run"
    plot: bool = False
    data: Data
    model: Model
    training: Training = Training()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    validation: Validation = Validation()
    checkpoint: Checkpoint = Checkpoint()
    reproducibility: Reproducibility = Reproducibility()
    device: Device = Device()
    communication: Communication = Communication()

    @model_validator(mode="before")
    @classmethod
    def _perceptron_rule(cls, given: Any) -> Any:
        """Take the plain rule for a perceptron: `w += α y x`, where nothing else is stated."""
        model = given.get("model") if isinstance(given, Mapping) else None
        if not isinstance(model, Mapping) or model.get("loss") != "perceptron":
            return given
        plain: dict[str, dict[str, Any]] = {
            "optimizer": {"momentum": 0.0, "weight_decay": 0.0},
            "schedule": {"kind": "constant"},
            "training": {"protocol": "single-sample"},
        }
        whole = dict(given)
        for name, keys in plain.items():
            if isinstance(whole.get(name, {}), Mapping):
                whole[name] = {**keys, **whole.get(name, {})}
        return whole

    def replace(self, **sections: Mapping[str, Any]) -> Self:
        """Return a copy with some keys of some sections changed, validated again."""
        plain = self.model_dump(exclude_none=True)
        for name, keys in sections.items():
            plain[name] = {**plain[name], **keys}
        return validated(type(self), plain, "settings")
