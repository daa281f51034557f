"""Layers, and a loss, of a user's own: `--layers MODULE:FUNCTION`."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from disttrain.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from disttrain.config import Settings
    from disttrain.model import Layer, Loss

__all__ = ["Layers", "Own", "keys_of", "own_layers", "read_with"]

Layers = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="What returns layers of your own, or (layers, loss): my_layers:build is `build` in "
        "my_layers.py.",
    ),
]


class Own(NamedTuple):
    """Layers and a loss of a user's own; None where they are built in, or none were named.

    `tables` are the keys of the section `model` that stand for the layers in a run file.
    """

    layers: list[Layer] | None = None
    loss: Loss | None = None
    tables: dict[str, Any] | None = None


def read_with(run_file: Path, changes: Sequence[str], named: str | None) -> tuple[Settings, Own]:
    """Return the settings of a run file, and the layers of a user's own that stand for its own.

    With them the run file needs no `model.layers`. Raises RunFileError and UsageError.
    """
    from disttrain import config

    own = own_layers(named)
    return config.read(run_file, changes, keys_of(own)), own


def keys_of(own: Own) -> dict[str, Any]:
    """Return the keys of a run file that stand for layers of a user's own, and their values."""
    return {f"model.{key}": value for key, value in (own.tables or {}).items()}


def own_layers(named: str | None) -> Own:
    """Return what the function MODULE:FUNCTION makes.

    Its module is looked up from the working directory first, as by `python -m`. Raises UsageError.
    """
    if named is None:
        return Own()
    from disttrain.api.given import as_objects, as_tables
    from disttrain.model import Layer, Loss

    module, _, name = named.removeprefix("./").partition(":")
    module = module.removesuffix(".py").replace(os.sep, ".")
    if not module or not name.isidentifier():
        raise UsageError(f"--layers {named}: write it as MODULE:FUNCTION, as in my_layers:build")
    sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
        make = getattr(found, name, None)
        if make is None:
            near = difflib.get_close_matches(name, dir(found), n=1)
            meant = f": is {near[0]} meant?" if near else ""
            raise UsageError(f"--layers {named}: {module} has no {name}{meant}")
        made = make() if callable(make) else make
    except UsageError:
        raise
    # Code of the user's own may raise anything.
    except Exception as error:
        raise UsageError(f"--layers {named}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    layers, loss = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    good = isinstance(layers, list) and all(isinstance(layer, Layer | int) for layer in layers)
    if not good or not isinstance(loss, Loss | None):
        raise UsageError(
            f"--layers {named}: it must return a list of layers, or (layers, loss), as "
            "disttrain.train takes them"
        )
    return Own(as_objects(layers), loss, as_tables(layers))
