"""What tables of a run file are made of: numbers that have limits, kinds, and places.

A limit is there to refuse what can only be a slip (a negative rate, a billion units); whether a
network fits into the memory is asked of the host, by `training`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from disttrain.shown import quoted

__all__ = [
    "ClassWeights",
    "Count",
    "Finite",
    "Fraction",
    "Location",
    "NotNegative",
    "Part",
    "PositiveFloat",
    "Text",
    "keys_of_kind",
    "kind_or",
    "kinds_of",
    "place",
    "tables_in",
]

# As pydantic says where a value stands: keys, numbers of items, kinds.
Location = Sequence[int | str]
# Counts of epochs, steps, samples.
Count = Annotated[int, Field(ge=1, le=10**9)]
# What float32 can hold, with room to multiply.
Finite = Annotated[float, Field(ge=-1e38, le=1e38, allow_inf_nan=False)]
PositiveFloat = Annotated[float, Field(ge=1e-30, le=1e38, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=1e38, allow_inf_nan=False)]
# Below 1 in float32 too.
Fraction = Annotated[float, Field(ge=0, le=0.999999, allow_inf_nan=False)]
# A part that something can be left out of: something must be left.
Part = Annotated[float, Field(ge=0, le=0.99, allow_inf_nan=False)]
# A path, or the name of something in a file.
Text = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]


def _class_weights(given: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Return class weights; classes may be named by whole numbers too."""
    if isinstance(given, Mapping):
        given = {str(key) if type(key) is int else key: value for key, value in given.items()}
    try:
        return validate(given)
    except ValidationError:
        raise ValueError(
            f'{quoted(given)} are not class weights: give "balanced", a number of at least 0 for '
            "each class, or a table such as { cat = 2.0 }"
        ) from None


ClassWeights = Annotated[
    Literal["balanced"]
    | Annotated[tuple[NotNegative, ...], Field(min_length=1, max_length=2**24, strict=False)]
    | dict[str, NotNegative],
    WrapValidator(_class_weights),
]


def kinds_of(section: type[BaseModel]) -> tuple[str, ...]:
    """Return the kinds that `section` is the table of; none where it has no kinds."""
    field = section.model_fields.get("kind")
    return get_args(field.annotation) if field else ()


def kind_or(default: str) -> BeforeValidator:
    """Return what gives a table without `kind` the kind `default`."""
    return BeforeValidator(
        lambda given: {"kind": default, **given} if isinstance(given, Mapping) else given
    )


def keys_of_kind(root: type[BaseModel], path: Sequence[str], kind: Any) -> set[str]:
    """Return the keys of the table at `path` below `root` where it is of `kind`; none if it can't.

    These must go when the kind of a table changes.
    """
    parts = [int(name) if name.isdecimal() else name for name in path]
    tables = [table for table in place(root, parts)[1] if kind in kinds_of(table)]
    return set(tables[0].model_fields) if tables else set()


def place(root: type[BaseModel], location: Location) -> tuple[list[str], list[type[BaseModel]]]:
    """Return the keys that lead to `location`, and the tables that can be there.

    These are several where the table has kinds; none where there is a plain value.
    """
    keys: list[str] = []
    tables: list[type[BaseModel]] = [root]
    names = False
    for part in location:
        if isinstance(part, str) and len(tables) > 1:
            # Pydantic names the kind on its way into such a table.
            tables = [table for table in tables if part in kinds_of(table)]
            continue
        keys.append(str(part))
        if names:
            # A name of the user's own, of a table like the others beside it.
            names = False
        elif isinstance(part, str):
            field = tables[0].model_fields.get(part) if tables else None
            names = field is not None and get_origin(field.annotation) is dict
            tables = list(tables_in(field.annotation)) if field else []
    return keys, tables


def tables_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the tables that a field of this type can hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from tables_in(part)
