"""What is wrong with a run file, in one sentence that names the key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from disttrain.errors import RunFileError

__all__ = ["validated"]

S = TypeVar("S", bound=BaseModel)


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
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        known = list(_section_at(root, first["loc"][:-1]).model_fields)
        near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        text = f"unknown key {key!r}; {hint}"
    elif first["type"] == "missing":
        fields = _section_at(root, first["loc"]).model_fields.items()
        inner = [name for name, field in fields if field.is_required()]
        text = f"{'.'.join([key, *inner[:1]])!r} is missing and has no default"
    elif first["type"] == "value_error":
        text = f"{key!r}: {first['ctx']['error']}"
    else:
        text = f"{key!r} is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"
    return text + (f" (and {more} more)" if more else "")


def _section_at(root: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel]:
    """Return the section at `location`, or a section without keys where there is a plain value."""
    kind = root
    for part in location:
        if isinstance(part, str):
            annotation = kind.model_fields[part].annotation
            found = [annotation, *get_args(annotation)]
            sections = [k for k in found if isinstance(k, type) and issubclass(k, BaseModel)]
            kind = sections[0] if sections else BaseModel
    return kind
