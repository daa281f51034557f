"""Tables of the run file that have kinds: each kind is a model with its own keys and no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from disttrain.config.section import (
    Count,
    Fraction,
    NotNegative,
    Part,
    PositiveFloat,
    kind_or,
    kinds_of,
)
from disttrain.config.table import Section

__all__ = [
    "Adam",
    "Autoencoder",
    "Constant",
    "Cosine",
    "Denoising",
    "Exponential",
    "InverseTime",
    "Optimizer",
    "Pretraining",
    "Rates",
    "Rbm",
    "Schedule",
    "Sgd",
    "Step",
]


class Update(Section):
    """What every optimizer has: weight decay (biases are exempt) and a limit of the gradient.

    `clip_norm` is the largest norm of the mean gradient of a step; None: no limit.
    """

    kind: str
    weight_decay: NotNegative = 1e-4
    clip_norm: PositiveFloat | None = None


class Sgd(Update):
    """Gradient descent with momentum, and the form of it."""

    kind: Literal["sgd"] = "sgd"
    momentum: Fraction = 0.9
    form: Literal["classical", "averaged", "nesterov"] = "classical"


class Adam(Update):
    """Adam (Kingma and Ba, 2015), or AdamW with decoupled decay (Loshchilov and Hutter, 2019)."""

    kind: Literal["adam", "adamw"]
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: PositiveFloat = 1e-8


Optimizer = Annotated[Sgd | Adam, Field(discriminator="kind"), kind_or("sgd")]


class Unsupervised(Section):
    """What every kind of pre-training has: how each layer is trained, by SGD with momentum."""

    kind: str
    epochs: Count = 10
    batch_size: Count = 100
    learning_rate: PositiveFloat = 0.1
    momentum: Fraction = 0.9
    weight_decay: NotNegative = 0.0


class Autoencoder(Unsupervised):
    """Each layer learns to give its inputs back through a layer of its own, which is left out."""

    kind: Literal["autoencoder"]


class Denoising(Unsupervised):
    """An autoencoder whose inputs are set to 0 with probability `corruption` (Vincent, 2008)."""

    kind: Literal["denoising"] = "denoising"
    corruption: Part = 0.3


class Rbm(Unsupervised):
    """Each layer is a restricted Boltzmann machine, trained by CD-1 (Hinton, 2006)."""

    kind: Literal["rbm"]
    weight_decay: NotNegative = 2e-4


Pretraining = Annotated[
    Autoencoder | Denoising | Rbm, Field(discriminator="kind"), kind_or("denoising")
]


class Rate(Section):
    """What every schedule has: the first rate, and how many epochs it takes to get there."""

    kind: str
    learning_rate: PositiveFloat = 0.1
    warmup_epochs: NotNegative = 0.0


class Constant(Rate):
    """The same rate in all steps."""

    kind: Literal["constant"]


class Step(Rate):
    """The rate is multiplied by `factor` every so many epochs."""

    kind: Literal["step"] = "step"
    factor: Annotated[float, Field(gt=0, le=1)] = 0.5
    every_epochs: Count = 5


class Exponential(Rate):
    """The rate falls as `e^(-k t)`, with t in epochs."""

    kind: Literal["exponential"]
    k: NotNegative = 0.1


class InverseTime(Rate):
    """The rate falls as `1 / (1 + k t)`, with t in epochs."""

    kind: Literal["inverse-time"]
    k: NotNegative = 0.1


class Cosine(Rate):
    """The rate falls along half a cosine to `final_rate` at the end of the run."""

    kind: Literal["cosine"] = "cosine"
    warmup_epochs: NotNegative = 0.5
    final_rate: NotNegative = 0.0


class Rates(Section):
    """The rate of each epoch, the last one for all that follow: what a script's function gave."""

    kind: Literal["rates"]
    rates: Annotated[tuple[NotNegative, ...], Field(min_length=1, max_length=10_000, strict=False)]
    warmup_epochs: NotNegative = 0.0

    @property
    def learning_rate(self) -> float:
        """The rate of the first epoch."""
        return self.rates[0]


# An earlier disttrain, whose kinds had no keys of their own, wrote all of these in each table.
ONCE_ALL = {"kind", "learning_rate", "warmup_epochs", "factor", "every_epochs", "k", "final_rate"}


def _without_keys_of_other_kinds(given: Any) -> Any:
    """Return a table that an earlier disttrain wrote with the keys of its own kind alone."""
    if isinstance(given, Mapping) and given.keys() >= ONCE_ALL:
        for kind in (Constant, Step, Exponential, InverseTime, Cosine):
            if given["kind"] in kinds_of(kind):
                return {key: given[key] for key in ONCE_ALL if key in kind.model_fields}
    return given


Schedule = Annotated[
    Constant | Step | Exponential | InverseTime | Cosine | Rates,
    Field(discriminator="kind"),
    kind_or("cosine"),
    BeforeValidator(_without_keys_of_other_kinds),
]
