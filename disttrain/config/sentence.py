"""What is wrong with a run file, in one sentence that names the key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from disttrain.config.section import Location, kinds_of, place
from disttrain.errors import RunFileError
from disttrain.shown import quoted, shown

__all__ = ["validated"]

S = TypeVar("S", bound=BaseModel)
NO_TABLE = ("model_type", "model_attributes_type")


def validated(kind: type[S], table: Mapping[str, Any], source: str) -> S:
    """Return `table` as a model of `kind`, or raise RunFileError; `source` names the file."""
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        raise RunFileError(f"{source}: {_sentence(kind, error)}") from None


def _sentence(root: type[BaseModel], error: ValidationError) -> str:
    """Return the first problem as one sentence, an unknown key before all others."""
    problems = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    # A list whose items are wrong counts as too short besides.
    problems = [e for e in problems if e["type"] != "too_short"] or problems
    first, more = problems[0], len(problems) - 1
    path, tables = place(root, first["loc"])
    key, given, kind = quoted(".".join(path)), first["input"], first["type"]
    if kind == "extra_forbidden":
        text = _unknown(root, first["loc"])
    elif kind == "missing":
        fields = tables[0].model_fields.items() if tables else ()
        inner = [name for name, field in fields if field.is_required()]
        text = f"{quoted('.'.join([*path, *inner[:1]]))} is missing and has no default"
    elif kind == "union_tag_invalid":
        kinds = [kind for table in tables for kind in kinds_of(table)]
        key = quoted(".".join([*path, "kind"]))
        text = f"{key} is {quoted(given['kind'])}; {_near(given['kind'], kinds, 'known kinds')}"
    elif kind in NO_TABLE:
        text = f"{key} is {quoted(given)}: input should be a table of keys"
    elif kind == "value_error":
        text = f"{key}: {first['ctx']['error']}"
    else:
        says = _limit(first.get("ctx", {})) or f"{first['msg'][0].lower()}{first['msg'][1:]}"
        text = f"{key} is {quoted(given)}: {says}"
    return text + (f" (and {more} more)" if more else "")


def _limit(facts: Mapping[str, Any]) -> str:
    """Return which limit of a number was passed; "" where it was something else."""
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    return "".join(f"input should be {words[k]} {_number(facts[k])}" for k in words if k in facts)


def _number(limit: float) -> str:
    return str(limit) if isinstance(limit, int) else f"{limit:g}"


def _unknown(root: type[BaseModel], location: Location) -> str:
    """Return what is wrong with a key that its table has not; another kind may have it."""
    key, *_ = reversed(path := place(root, location)[0])
    whole = ".".join(path)
    (table, *_) = place(root, location[:-1])[1] or [BaseModel]
    # Without the kind, the last part of the place of a table that has kinds.
    others = place(root, location[:-2])[1] if kinds_of(table) else []
    having = [kind for t in others if key in t.model_fields for kind in kinds_of(t)]
    if having:
        kinds = " or ".join(f'"{kind}"' for kind in having)
        return f'{quoted(whole)} is a key of kind = {kinds}, and kind is "{location[-2]}" here'
    return f"unknown key {quoted(whole)}; {_near(key, list(table.model_fields), 'known keys')}"


def _near(given: object, known: list[str], title: str) -> str:
    near = difflib.get_close_matches(shown(given, 80), known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"{title}: {', '.join(known)}"
