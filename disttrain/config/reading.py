"""Reading and writing run files: the only place that knows TOML."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from disttrain.config.layers import GivenLayer, GivenNetwork
from disttrain.config.section import keys_of_kind
from disttrain.config.sections import Settings
from disttrain.config.sentence import validated
from disttrain.config.study import Study
from disttrain.errors import RunFileError
from disttrain.shown import quoted
from disttrain.written import opened, run_at, why

__all__ = ["literals", "parse", "read", "read_study", "read_weights", "schema", "to_toml"]

# A run file of a thousand layers; a file of given weights of a million numbers.
RUN_FILE_BYTES, WEIGHTS_BYTES = 256 << 10, 32 << 20
# tomllib takes memory with the square of a key's parts: 4 GB for a key of 64 KB.
PARTS = 32
PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"?|'[^'\n]*+'?)"""
KEY = re.compile(rf"{PART}(?:[ \t]*+\.[ \t]*+{PART})*+")
# The number of an item as Python writes it.
ITEM = re.compile(r"\[(\d+)\]")
SETS_A_KIND = re.compile(r"[^=]*\bkind\s*=")


def read(
    path: str | Path, changes: Sequence[str] = (), values: Mapping[str, Any] | None = None
) -> Settings:
    """Return the settings of the run file at `path`, with `a.b=value` changes applied in order.

    `values` are further changes, a value of TOML for each dotted key.

    A relative `data.path` becomes absolute: from the working directory, or else, where nothing is
    there, from the run file's own folder. A run without a name gets the file's.

    Raises RunFileError (exit code 2), one sentence, for a file that can't be read, is not TOML, or
    holds a key or a value that is not allowed.
    """
    text = _text(path, RUN_FILE_BYTES, "run file")
    name = re.sub(r"[^A-Za-z0-9._-]", "-", Path(path).stem).lstrip(".-_")[:200] or "run"
    settings = parse(text, changes, source=f"run file {path}", name=name, values=values)
    beside, source = Path(path).parent, settings.model.from_
    if source:
        settings = settings.replace(model={"from": _found(source, beside)})
    return settings.replace(data={"path": _found(settings.data.path, beside)})


def read_weights(path: str | Path) -> list[GivenLayer] | None:
    """Return the layers of a file of given weights, or None where it is a run file.

        layers = [{ W = [[3, 5], [0, 3]], b = [0, 6], activation = "sign" }, ...]

    Raises RunFileError as `read` does.
    """
    source = f"weights file {path}"
    table = _table(_text(path, WEIGHTS_BYTES, "weights file"), source, WEIGHTS_BYTES)
    return validated(GivenNetwork, table, source).layers if "layers" in table else None


def read_study(path: str | Path) -> Study:
    """Return the study file at `path`; a relative `run` is found as `read` finds `data.path`.

    Raises RunFileError as `read` does.
    """
    source = f"study file {path}"
    table = _table(_text(path, RUN_FILE_BYTES, "study file"), source)
    if "model" in table and "space" not in table:
        raise RunFileError(
            f"{path} is a run file: a study file names it by run = {quoted(str(path))}, beside "
            "[[stages]] and [space]"
        )
    study = validated(Study, table, source)
    return study.model_copy(update={"run": _found(study.run, Path(path).parent)})


def parse(
    text: str,
    changes: Sequence[str] = (),
    *,
    source: str = "run file",
    name: str = "run",
    values: Mapping[str, Any] | None = None,
) -> Settings:
    """Return the settings that `text` (TOML) states; `source` names it in errors.

    `name` is the run's where the text states none.
    """
    table = _table(text, source)
    if "stages" in table and "model" not in table:
        raise RunFileError(f"{source} is a study file: `disttrain search` takes it")
    for change in in_order(changes):
        _apply(table, change)
    for key, value in sorted((values or {}).items(), key=lambda item: item[0][-5:] != ".kind"):
        # A copy: another key may change a part of it.
        _put(table, key.split("."), copy.deepcopy(value))
    return validated(Settings, {"name": name, **table}, source)


def in_order(changes: Sequence[str]) -> list[str]:
    """Return changes as they are given, but a `kind` before the other keys of its table."""
    found: list[str] = []
    for change in changes:
        place = len(found)
        if SETS_A_KIND.match(change):
            own = change.partition("=")[0].strip().removesuffix("kind")
            keys = (n for n, c in enumerate(found) if c.lstrip().startswith(own))
            # Of two kinds the later one counts.
            place = next((n for n in keys if not SETS_A_KIND.match(found[n])), place)
        found.insert(place, change)
    return found


def to_toml(settings: Settings, stated: bool = False) -> str:
    """Return `settings` with every default written out, as a run file that reads back the same.

    Where only what was `stated` is written, what goes by the data still does.
    """
    return tomli_w.dumps(settings.model_dump(exclude_none=True, exclude_unset=stated))


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a run file."""
    return Settings.model_json_schema()


def _text(path: str | Path, most: int, kind: str) -> str:
    try:
        # A pipe that the shell has opened, as in `<(...)`, is allowed.
        is_shells = str(path).startswith("/dev/")
        with open(path, "rb") if is_shells else opened(Path(path)) as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:
        # ValueError: a name with a zero byte in it.
        if isinstance(error, FileNotFoundError):
            raise RunFileError(f"{kind} {path} does not exist; give a TOML file") from None
        if run_at(Path(path)):
            inside = Path(path) / "run.toml"
            raise RunFileError(f"{path} is the folder of a run; its run file is {inside}") from None
        raise RunFileError(f"{kind} {path}: {why(error)}; give a TOML file") from None
    if len(content) > most:
        raise RunFileError(f"{kind} {path} has over {most >> 10} KiB; give a TOML file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RunFileError(f"{kind} {path} is not text in UTF-8; give a TOML file") from None


def _table(text: str, source: str, most: int = RUN_FILE_BYTES) -> dict[str, Any]:
    """Return what `text` states; refuse what would take the library's time or memory."""
    if len(text) > most:
        raise RunFileError(f"{source} has over {most >> 10} KiB; give a TOML file")
    for found in KEY.finditer(text):
        key = found.group()
        if key.count(".") >= PARTS and len(re.findall(PART, key)) > PARTS:
            raise RunFileError(f"{source}: key {quoted(key)} has over {PARTS} parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise RunFileError(f"{source} is not valid TOML: it is nested too deep") from None
    except tomllib.TOMLDecodeError as error:
        raise RunFileError(f"{source} is not valid TOML: {error}") from None
    except ValueError:
        raise RunFileError(f"{source} holds a number of more digits than Python reads") from None


def _found(path: str, beside: Path) -> str:
    here = Path(path)
    if not here.exists() and (beside / path).exists():
        here = beside / path
    return str(here.absolute())


def _apply(root: dict[str, Any], change: str) -> None:
    """Set one `a.b=value` in `root`; a value that is no TOML literal is taken as a string.

    Numbers lead into lists: `model.layers.0.units=20` or `model.layers[0].units=20`. Another
    `kind` of a table leaves out the keys that only the kind before has.
    """
    key, equals, value = change.partition("=")
    names = ITEM.sub(r".\1", key.strip()).split(".")
    if not equals or not all(names) or len(names) > PARTS:
        raise RunFileError(f"--set {quoted(change)}: write it as section.key=value")
    try:
        _put(root, names, _literal(value))
    except RunFileError as error:
        raise RunFileError(f"--set: {error}") from None


def _put(root: dict[str, Any], names: Sequence[str], value: Any) -> None:
    """Set the key of these `names` in `root`."""
    table: Any = root
    for number, name in enumerate(names[:-1]):
        part = _part(table, names[:number], name)
        table = table.setdefault(part, {}) if isinstance(table, dict) else table[part]
    part = _part(table, names[:-1], names[-1])
    table[part] = value
    if part == "kind":
        own = keys_of_kind(Settings, names[:-1], table["kind"])
        for other in own and table.keys() - own:
            del table[other]


def _part(table: Any, path: Sequence[str], name: str) -> str | int:
    """Return `name` as a key of the table at `path`, or as the number of an item of the list."""
    if isinstance(table, dict):
        return name
    if not isinstance(table, list):
        raise RunFileError(f"{'.'.join(path)} is a value, not a section")
    if not name.isdecimal() or int(name) >= len(table):
        raise RunFileError(f"{'.'.join(path)} has no {name!r}: its items are 0 to {len(table) - 1}")
    return int(name)


def literals(values: str) -> list[Any]:
    """Return what values with commas between them are in TOML; each that is none is a text."""
    try:
        return list(_table(f"values = [{values}]", "the values")["values"])
    except RunFileError:
        return [_literal(value.strip()) for value in values.split(",")]


def _literal(value: str) -> Any:
    """Return what `value` is in TOML; as it stands where it is no literal."""
    try:
        return _table(f"value = {value}", "--set")["value"]
    except RunFileError:
        return value
