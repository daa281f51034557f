"""The tables of `model.layers`: one model for each kind of layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from disttrain.config.section import Finite, Part, PositiveFloat, kind_or
from disttrain.config.table import Section
from disttrain.errors import RunFileError
from disttrain.shown import quoted

__all__ = [
    "Activation",
    "Dense",
    "GivenLayer",
    "GivenNetwork",
    "Layer",
    "LayerTable",
    "layer_of",
]

Activation = Literal[
    "identity", "sigmoid", "tanh", "relu", "leaky-relu", "elu", "gelu", "silu", "sign"
]
Initializer = Literal["auto", "small-random", "xavier", "he", "constant"]
Units = Annotated[int, Field(ge=1, le=2**24)]
# Pixels of a side of a filter, or from one to the next.
MOST = 4096


def _sides(given: Any) -> Any:
    two = isinstance(given, list | tuple) and len(given) == 2
    if not all(type(n) is int and 1 <= n <= MOST for n in (given if two else (given,))):
        raise ValueError(
            f"{quoted(given)} should be a whole number from 1 to {MOST}, or [height, width]"
        )
    return tuple(given) if two else given


def _padding(given: Any) -> Any:
    if given not in ("same", "valid") and not (type(given) is int and 0 <= given <= MOST):
        raise ValueError(
            f'{quoted(given)} should be "same", "valid" or a number of zeros from 0 to {MOST}'
        )
    return given


def _schema(least: int, *others: dict[str, Any]) -> WithJsonSchema:
    number = {"type": "integer", "minimum": least, "maximum": MOST}
    return WithJsonSchema({"anyOf": [number, *others]})


# One number for both sides, or [height, width].
Sides = Annotated[
    int | tuple[int, int],
    PlainValidator(_sides),
    _schema(1, {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}),
]
Padding = Annotated[
    str | int, PlainValidator(_padding), _schema(0, {"type": "string", "enum": ["same", "valid"]})
]


class LayerTable(Section):
    """What every kind of layer has."""

    kind: str


class Dense(LayerTable):
    """One layer of units; `kind = "dense"` may be left out.

    `initializer = "auto"` is `he` for relu, leaky-relu, elu, gelu and silu, and `xavier` for the
    others. `dropout` is the fraction of this layer's outputs that each training pass leaves out.
    A `frozen` layer is not trained; `rate` is what the learning rate is multiplied by here.
    """

    kind: Literal["dense"] = "dense"
    units: Units
    activation: Activation = "identity"
    initializer: Initializer = "auto"
    scale: PositiveFloat = 0.01
    bias: Finite = 0.0
    dropout: Part = 0.0
    frozen: bool = False
    rate: PositiveFloat = 1.0


class Conv(LayerTable):
    """Filters of `size` (one number, or [height, width]), `stride` apart; the rest as in `Dense`.

    `padding` is "same", "valid" or a number of zeros at each border; without `bias` nothing is
    added.
    """

    kind: Literal["conv"]
    filters: Units
    size: Sides = 3
    stride: Sides = 1
    padding: Padding = "same"
    activation: Activation = "identity"
    bias: bool = True
    initializer: Initializer = "auto"
    scale: PositiveFloat = 0.01
    dropout: Part = 0.0
    frozen: bool = False
    rate: PositiveFloat = 1.0


class Pool(LayerTable):
    """The largest number, or the mean, of windows of `size`; without `stride` side by side."""

    kind: Literal["max-pool", "average-pool"]
    size: Sides = 2
    stride: Sides | None = None


class BatchNorm(LayerTable):
    """Mean 0 and deviation 1 of each channel over the global batch.

    `momentum` is how far the running averages, used at prediction, go towards a batch's statistics.
    """

    kind: Literal["batch-norm"]
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    epsilon: PositiveFloat = 1e-5


class LayerNorm(LayerTable):
    """Mean 0 and deviation 1 of the numbers of each sample."""

    kind: Literal["layer-norm"]
    epsilon: PositiveFloat = 1e-5


class Dropout(LayerTable):
    """Each training pass leaves out the fraction `rate` of the numbers."""

    kind: Literal["dropout"]
    rate: Part = 0.5


class Shaping(LayerTable):
    """One number a channel (its mean), or the sample as one vector: kinds without keys."""

    kind: Literal["global-average-pool", "flatten"]


class GivenLayer(Section):
    """A layer with given weights: `W` of shape (units, inputs), `b` (units,)."""

    W: Annotated[list[list[Finite]], Field(min_length=1)]
    b: Annotated[list[Finite], Field(min_length=1)]
    activation: Activation = "identity"


class GivenNetwork(Section):
    """A file of given weights."""

    layers: Annotated[list[GivenLayer], Field(min_length=1)]


Layer = Annotated[
    Dense | Conv | Pool | BatchNorm | LayerNorm | Dropout | Shaping,
    Field(discriminator="kind"),
    kind_or("dense"),
    BeforeValidator(lambda given: {"units": given} if type(given) is int else given),
]
ADAPTER: TypeAdapter[LayerTable] = TypeAdapter(Layer)


def layer_of(table: Mapping[str, Any]) -> LayerTable:
    """Return the model of one table. Raises RunFileError."""
    try:
        return ADAPTER.validate_python(dict(table))
    except ValidationError as error:
        raise RunFileError(f"layer {dict(table)}: {error.errors()[0]['msg']}") from None
