"""Weights to begin with from another run: layers are matched by name and shape."""

from __future__ import annotations

from pathlib import Path

from disttrain.checkpoint import find, load
from disttrain.errors import UsageError
from disttrain.model import Network

__all__ = ["begin_from"]


def begin_from(network: Network, source: str) -> str:
    """Copy the weights of a checkpoint, or of a run's best model, to `network`; say which.

    A layer is taken where all its parameters are there under its name ("dense1") and in its shapes;
    the others keep their initial weights. For one rank. Raises CheckpointError for a file that
    can't be used, UsageError where no layer matches.
    """
    path = find(Path(source))
    held = load(path).parameters
    host = network.device.get(network.values).copy()
    taken, left = [], []
    places = network.tensors_of(host)
    for name in network.names:
        own = [key for key in places if key.startswith(f"{name}/")]
        if own and all(key in held and held[key].shape == places[key].shape for key in own):
            for key in own:
                places[key][...] = held[key]
            taken.append(name)
        elif own:
            shapes = [
                f"{key.partition('/')[2]} {held[key].shape if key in held else 'missing'} there, "
                f"{places[key].shape} here"
                for key in own
                if key not in held or held[key].shape != places[key].shape
            ]
            left.append(f"{name} ({shapes[0]})")
    if not taken:
        raise UsageError(
            f"model.from = {source!r}: no layer of {path} has the name and the shape of one here: "
            f"{'; '.join(left)}"
        )
    network.device.put(host, network.values)
    others = f"; not {', '.join(left)}, which keep their own" if left else ""
    return f"initial weights of {', '.join(taken)} from {path}{others}"
