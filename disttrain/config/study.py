"""A study file: which candidates a search tries, over which keys of a run file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from disttrain.config.section import Count, Text
from disttrain.config.table import Section
from disttrain.shown import quoted

__all__ = ["MOST_CANDIDATES", "Range", "Stage", "Study"]

Number = int | float
# Of an end of a range, as of a number in a run file.
MOST = 1e38
# Whole numbers are drawn by way of float64, which has all of them up to here.
MOST_WHOLE = 2**53
# Of a stage.
MOST_CANDIDATES = 100_000


class Range(Section):
    """The values that a key may take: `choices`, or numbers from `low` to `high`.

    On the scale "log" each factor is as likely as any other. Numbers are whole where both ends are
    written as whole numbers, or as `integer` says. `steps` are the values of a grid.
    """

    low: Number | None = None
    high: Number | None = None
    scale: Literal["linear", "log"] = "linear"
    integer: bool | None = None
    steps: Annotated[int, Field(ge=2, le=1000)] | None = None
    choices: Annotated[tuple[Any, ...], Field(min_length=1, strict=False)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_of_a_key(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            raise ValueError("give { low = ..., high = ... } or { choices = [...] }")
        if given.get("choices") == []:
            raise ValueError("choices is empty: give at least one value")
        for name in ("low", "high"):
            end = given.get(name)
            if end is not None and (type(end) not in (int, float) or not -MOST <= end <= MOST):
                raise ValueError(f"{name} is {quoted(end)}: give a number of at most {MOST:g}")
        return given

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        ends = (self.low, self.high)
        if self.choices is not None:
            if self.model_fields_set - {"choices"}:
                raise ValueError("choices go without low, high, scale, integer and steps")
            return self
        if None in ends:
            raise ValueError("give low and high, or choices")
        low, high = (float(end) for end in ends if end is not None)
        if low >= high:
            raise ValueError(
                f"the range is empty: low = {self.low} is not below high = {self.high}"
            )
        if self.scale == "log" and low <= 0:
            raise ValueError(f'low = {self.low} has no logarithm: scale = "log" needs low above 0')
        if self.is_integer and not (low.is_integer() and high.is_integer()):
            raise ValueError("integer = true needs whole numbers for low and high")
        if self.is_integer and max(-low, high) > MOST_WHOLE:
            raise ValueError(f"whole numbers of a range go up to {MOST_WHOLE}")
        return self

    @property
    def is_integer(self) -> bool:
        """True where the values are whole numbers."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        return whole if self.integer is None else self.integer


class Stage(Section):
    """One stage of a search.

    `zoom` is the part of the range of the stage before that is searched, around that one's best.
    `prune` stops candidates early, at `first_epochs` epochs, `factor` times as many and so on: by
    "halving" all but the best one in `factor` of a generation, by "median" those below its median.
    `generation` is how many candidates TPE asks for at once.
    """

    kind: Literal["random", "grid", "tpe"] = "random"
    candidates: Annotated[int, Field(ge=1, le=MOST_CANDIDATES)] | None = None
    epochs: Count | None = None
    zoom: Annotated[float, Field(gt=0, le=1)] = 1.0
    prune: Literal["halving", "median"] | None = None
    first_epochs: Count = 1
    factor: Annotated[int, Field(ge=2, le=100)] = 3
    generation: Annotated[int, Field(ge=1, le=10_000)] = 8

    @model_validator(mode="after")
    def _has_a_number(self) -> Self:
        if self.candidates is None and self.kind != "grid":
            raise ValueError(f'kind = "{self.kind}" needs candidates, the number of them')
        return self

    def rungs(self, epochs: int) -> list[int]:
        """Return the epochs at which candidates are compared, and last the end of the run."""
        found, rung = [], self.first_epochs
        while self.prune and rung < epochs:
            found.append(rung)
            rung *= self.factor
        return [*found, epochs]


class Study(Section):
    """A whole study file; `run` is the run file that candidates change."""

    run: Text
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    metric: Literal["validation_accuracy", "validation_loss"] = "validation_accuracy"
    ranks_each: Annotated[int, Field(ge=1, le=10**6)] = 1
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=100, strict=False)]
    space: Annotated[dict[str, Range], Field(min_length=1)]

    @field_validator("space", mode="before")
    @classmethod
    def _keys_are_quoted(cls, given: Any) -> Any:
        for key, table in given.items() if isinstance(given, Mapping) else ():
            names = [key]
            while isinstance(table, Mapping) and table:
                inner, table = next(iter(table.items()))
                names.append(inner)
            if len(names) > 2:
                whole = ".".join(names[:-1])
                raise ValueError(f'put the whole key in quotes: "{whole}" = {{ ... }}')
        return given

    @model_validator(mode="after")
    def _grids_have_steps(self) -> Self:
        for number, stage in enumerate(self.stages):
            for key, values in self.space.items():
                if stage.kind == "grid" and not (values.choices or values.steps):
                    raise ValueError(
                        f'stage {number + 1} is a "grid", which needs the number of steps of '
                        f"space.{key}, as in steps = 5"
                    )
        return self

    @property
    def rises(self) -> bool:
        """True where more of the metric is better."""
        return self.metric == "validation_accuracy"
