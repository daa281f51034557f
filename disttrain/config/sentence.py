"""What is wrong with a run file, in one sentence that names the key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from disttrain.config.section import Location, kinds_of, place
from disttrain.errors import RunFileError

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
    first, more = problems[0], len(problems) - 1
    path, tables = place(root, first["loc"])
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        text = _unknown(root, first["loc"])
    elif first["type"] == "missing":
        fields = tables[0].model_fields.items() if tables else ()
        inner = [name for name, field in fields if field.is_required()]
        text = f"{'.'.join([key, *inner[:1]])!r} is missing and has no default"
    elif first["type"] == "union_tag_invalid":
        kinds = [kind for table in tables for kind in kinds_of(table)]
        given = first["input"]["kind"]
        text = f"'{key}.kind' is {given!r}; {_near(str(given), kinds, 'known kinds')}"
    elif first["type"] in NO_TABLE:
        text = f"{key!r} is {first['input']!r}: input should be a table of keys"
    elif first["type"] == "value_error":
        text = f"{key!r}: {first['ctx']['error']}"
    else:
        text = f"{key!r} is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"
    return text + (f" (and {more} more)" if more else "")


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
        return f'{whole!r} is a key of kind = {kinds}, and kind is "{location[-2]}" here'
    return f"unknown key {whole!r}; {_near(key, list(table.model_fields), 'known keys')}"


def _near(given: str, known: list[str], title: str) -> str:
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"{title}: {', '.join(known)}"
