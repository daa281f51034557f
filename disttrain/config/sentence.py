"""What is wrong with a run file, in one sentence that names the key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from disttrain.config.habits import about_value, same_value
from disttrain.config.homes import meant, near
from disttrain.config.section import Location, kinds_of, place
from disttrain.errors import RunFileError
from disttrain.shown import quoted, shown

__all__ = ["validated"]

S = TypeVar("S", bound=BaseModel)
# So many problems are named besides the first.
OTHERS = 3
NAMED = re.compile(r"'([^']*)'")
NO_TABLE = ("model_type", "model_attributes_type")
# What pydantic says in words of its own.
WANTED = {
    "bool_type": "give true or false",
    "float_type": "give a number",
    "int_from_float": "give a whole number",
    "int_type": "give a whole number",
    "string_type": "give a text",
    "tuple_type": "give a list",
}


def validated(kind: type[S], table: Mapping[str, Any], source: str) -> S:
    """Return `table` as a model of `kind`, or raise RunFileError; `source` names the file."""
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        raise RunFileError(f"{source}: {_sentence(kind, error)}") from None


def _sentence(root: type[BaseModel], error: ValidationError) -> str:
    """Return the first problem as one sentence, an unknown key before all others.

    The keys of other problems follow, but not a key that is missing because it is misspelled.
    """
    problems = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    # A list whose items are wrong counts as too short besides.
    problems = [e for e in problems if e["type"] != "too_short"] or problems
    text, others = _problem(root, problems[0]), dict[str, None]()
    for problem in problems[1:]:
        key = _missing(root, problem) if problem["type"] == "missing" else _key(root, problem)
        if repr(key.rpartition(".")[2]) not in text and quoted(key) not in text:
            others[quoted(key)] = None
    few = list(others)[:OTHERS]
    more = [*few, *([f"{len(others) - OTHERS} more"] if others.keys() - few else [])]
    return text + (f" (also wrong or missing: {', '.join(more)})" if more else "")


def _problem(root: type[BaseModel], problem: ErrorDetails) -> str:
    path, tables = place(root, problem["loc"])
    key, given, kind = quoted(".".join(path)), problem["input"], problem["type"]
    if kind == "extra_forbidden":
        return _unknown(root, problem["loc"])
    if kind == "missing":
        return f"{quoted(_missing(root, problem))} is missing and has no default"
    if kind == "union_tag_invalid":
        kinds = [kind for table in tables for kind in kinds_of(table)]
        key, given = quoted(".".join([*path, "kind"])), given["kind"]
        how = about_value(f"{path[0]}.kind", shown(given, 80))
        return f"{key} is {quoted(given)}; {how or near(given, kinds, 'known kinds')}"
    if kind in NO_TABLE:
        kinds = [name for table in tables for name in _values_of_kind(table)]
        if isinstance(given, str) and (same := same_value(shown(given, 80), kinds)):
            return f'{key} is a table of keys; did you mean {".".join(path)}.kind = "{same}"?'
        layer = ', as in { units = 32, activation = "relu" }' * (path[:2] == ["model", "layers"])
        return f"{key} is {quoted(given)}: it should be a table of keys{layer}"
    if kind == "value_error":
        return f"{key}: {problem['ctx']['error']}" if path else str(problem["ctx"]["error"])
    says = _limit(problem.get("ctx", {})) or WANTED.get(kind)
    says = says or f"{problem['msg'][0].lower()}{problem['msg'][1:]}"
    says = says.replace("input should", "it should", 1)
    if kind == "literal_error":
        says += _value_meant(path[-1], given, NAMED.findall(problem["ctx"]["expected"]))
    return f"{key} is {quoted(given)}: {says}"


def _values_of_kind(table: type[BaseModel]) -> tuple[str, ...]:
    """Return what `kind` of a table can be, though all of these have the same keys."""
    return tuple(kind for kind in kinds_of(table) if isinstance(kind, str))


def _value_meant(key: str, given: Any, known: list[str]) -> str:
    """Return the end of a sentence about a value that is none of the `known` ones."""
    word = shown(given, 80)
    if how := about_value(key, word):
        return f"; {how}"
    if same := same_value(word, known):
        return f"; did you mean {same!r}?"
    return ""


def _key(root: type[BaseModel], problem: ErrorDetails) -> str:
    return ".".join(place(root, problem["loc"])[0])


def _missing(root: type[BaseModel], problem: ErrorDetails) -> str:
    """Return the key that is missing; of a section, its first that must be stated."""
    path, tables = place(root, problem["loc"])
    fields = tables[0].model_fields.items() if tables else ()
    inner = [name for name, field in fields if field.is_required()]
    return ".".join([*path, *inner[:1]])


def _limit(facts: Mapping[str, Any]) -> str:
    """Return which limit of a number, or of a list or table, was passed; "" where it was none."""
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    if "actual_length" in facts:
        few, many = facts.get("min_length"), facts.get("max_length")
        how = f"at least {few} item" if many is None else f"at most {many} items"
        return f"it should have {how}"
    return "".join(f"it should be {words[k]} {_number(facts[k])}" for k in words if k in facts)


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
    known = [field.alias or name for name, field in table.model_fields.items()]
    if hint := meant(root, key, known, path[:-1]):
        return f"unknown key {quoted(whole)}; {hint}"
    return f"unknown key {quoted(whole)}; known keys: {', '.join(known)}"
