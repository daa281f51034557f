"""Where the keys of a run file live: from the last word of a key to all sections that have it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import get_origin

from pydantic import BaseModel

from disttrain.config.habits import answer, same_key, same_value
from disttrain.config.section import tables_in
from disttrain.shown import shown

__all__ = ["homes", "meant", "near", "suggestion"]


def homes(root: type[BaseModel]) -> dict[str, list[str]]:
    """Return the last word of each key below `root`, and the keys that end with it, in order.

    The items of a list are named by their number 0; `kind` is left out: most tables have one. Keys
    of pre-training are left out where training has them too, which is meant by the word alone.
    """
    found: dict[str, list[str]] = {}
    for key in _keys(root, ""):
        known = found.setdefault(key.rpartition(".")[2], [])
        if key not in known:
            known.append(key)
    for word, keys in found.items():
        found[word] = [key for key in keys if not key.startswith("pretraining.")] or keys
    return found


def _keys(table: type[BaseModel], before: str) -> Iterator[str]:
    for name, field in table.model_fields.items():
        if name != "kind":
            yield before + name
        item = "0." if get_origin(field.annotation) is tuple else ""
        for inner in tables_in(field.annotation):
            yield from _keys(inner, f"{before}{name}.{item}")


def suggestion(
    root: type[BaseModel], key: str, own: Sequence[str], place: Sequence[str] = ()
) -> str:
    """Return what an unknown key may have meant; "" where none is near.

    It is a key of its `own` table, which stands at `place`, or of another, all of them where
    several end so.
    """
    word, everywhere = same_key(key), homes(root)
    if "." in word:
        return repr(word) if word.partition(".")[0] in root.model_fields else ""
    here = difflib.get_close_matches(shown(word, 80), own, n=1, cutoff=0.5)
    there = difflib.get_close_matches(shown(word, 80), everywhere, n=1, cutoff=0.7)
    if here and (not there or _likeness(word, here[0]) >= _likeness(word, there[0])):
        return repr(".".join([*place, here[0]]))
    return " or ".join(map(repr, everywhere[there[0]])) if there else ""


def meant(root: type[BaseModel], key: str, own: Sequence[str], place: Sequence[str] = ()) -> str:
    """Return what to do about an unknown key, as the end of a sentence; "" where that is unknown.

    The arguments are those of `suggestion`.
    """
    if how := answer(key):
        return how
    found = suggestion(root, key, own, place)
    return f"did you mean {found}?" if found else ""


def _likeness(word: str, other: str) -> float:
    return difflib.SequenceMatcher(None, shown(word, 80), other).ratio()


def near(given: object, known: Sequence[str], title: str) -> str:
    """Return the known word that is nearest to `given` as a question, or else all of them."""
    same = same_value(shown(given, 80), known)
    found = [same] if same else difflib.get_close_matches(shown(given, 80), known, n=1, cutoff=0.5)
    return f"did you mean {found[0]!r}?" if found else f"{title}: {', '.join(known)}"
