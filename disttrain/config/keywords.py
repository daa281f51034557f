"""Settings from keywords: each key of a run file by its name, or a section at once.

from_keywords(None, {"path": "data.h5", "layers": [{"units": 10}], "epochs": 3,
                     "optimizer": "adam", "validation": {"every_steps": 100}})
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from disttrain.config.habits import answer
from disttrain.config.homes import homes, meant
from disttrain.config.section import place
from disttrain.config.sections import Settings
from disttrain.config.sentence import validated
from disttrain.config.table import plain
from disttrain.errors import RunFileError
from disttrain.shown import quoted

__all__ = ["from_keywords"]

MEANT = re.compile(r"did you mean '(?P<section>\w+)\.(?P<key>\w+)'\?")


def from_keywords(base: Settings | None, keywords: Mapping[str, Any]) -> Settings:
    """Return `base`, or without one the defaults, with what the keywords say.

    A keyword is a key that one section alone has (`epochs`), a section with a table of its keys, or
    a section with its kind alone (`optimizer="adam"`). Raises RunFileError, one sentence.
    """
    known = homes(Settings)
    table: dict[str, Any] = {}
    for name, given in keywords.items():
        if name == "validation" and isinstance(given, tuple):
            raise RunFileError(f"validation is a pair of arrays: {answer('validation_data')}")
        value = plain(given)
        if name not in Settings.model_fields:
            table.setdefault(_home(name, known), {})[name] = value
        elif _is_section(name) and isinstance(value, str):
            table.setdefault(name, {})["kind"] = value
        elif _is_section(name) and isinstance(value, dict):
            table.setdefault(name, {}).update(value)
        else:
            table[name] = value
    try:
        return base.replace(**table) if base else validated(Settings, table, "settings")
    except RunFileError as error:
        raise RunFileError(_as_keyword(str(error), known)) from None


def _as_keyword(sentence: str, known: Mapping[str, list[str]]) -> str:
    """Return a sentence that asks for a key of another section with the keyword for it."""
    found = MEANT.search(sentence)
    if found is None or f"unknown key '{found['section']}." in sentence:
        return sentence
    section, key = found["section"], found["key"]
    keyword = f"{section}={{{key!r}: ...}}"
    if key == "kind":
        keyword = f"{section}=..."
    elif len([home for home in known.get(key, []) if home.count(".") == 1]) == 1:
        keyword = f"{key}=..."
    return sentence.replace(found[0], f"did you mean the keyword {keyword}?")


def _is_section(name: str) -> bool:
    return bool(place(Settings, [name])[1])


def _home(name: str, known: Mapping[str, list[str]]) -> str:
    """Return the section of a keyword: `training` for "epochs"."""
    sections = [key.partition(".")[0] for key in known.get(name, []) if key.count(".") == 1]
    if len(sections) == 1:
        return sections[0]
    if sections:
        ways = " or ".join(f"{section}={{{name!r}: ...}}" for section in sorted(sections))
        raise RunFileError(f"{name!r} is a key of several sections: write {ways}")
    words = [key for key in known if len(known[key]) > 1 or known[key][0].count(".") < 2]
    hint = meant(Settings, name, words) or "the keys are those of a run file"
    raise RunFileError(_as_keyword(f"unknown setting {quoted(name)}; {hint}", known))
