"""The trainer's state in a checkpoint: JSON of the expected form.

All errors are ValueError: the reader of the file names it.
"""

from __future__ import annotations

import json
import math
from typing import Any

from disttrain.errors import CheckpointError

__all__ = ["state_of"]

# A quarter of a million intervals.
STATE_BYTES = 64 << 20
CLASSES = 1 << 24
AXES = 16

# The types of values; keys may be missing. [str] means a list of texts, {} any table.
FORM: dict[str, Any] = {
    "tensors": [str],
    "slots": [str],
    "layers": [str],
    "loss": str,
    "class_weights": (list, type(None)),
    "targets": (dict, type(None)),
    "versions": {},
    "progress": {"history": [dict], "digests": [dict], "faults": [str], "changes": [str]},
    "data": {
        "path": str,
        "inputs": int,
        "shape": [int],
        "input_dtype": str,
        "classes": int,
        "class_names": [str],
        "preparation": str,
        "samples": {},
        "fingerprint": str,
    },
}


class Stated(dict[str, Any]):
    """A table of the state; reading a key that is missing raises CheckpointError."""

    def __missing__(self, key: str) -> Any:
        raise CheckpointError(
            f"the checkpoint's state has no {key!r}: use another one of its run, or the disttrain "
            "that wrote it"
        )


def state_of(text: bytes) -> Stated:
    """Return the state that `text` states."""
    if len(text) > STATE_BYTES:
        raise ValueError(f"its state has over {STATE_BYTES} bytes")
    state = json.loads(text.decode(), object_hook=Stated)
    _check(state, FORM, "its state")
    data = state.get("data", {})
    shape, inputs = data.get("shape", []), data.get("inputs")
    if len(shape) > AXES or any(n < 1 for n in shape) or (shape and math.prod(shape) != inputs):
        raise ValueError(f"its state says that samples of {inputs} numbers have another shape")
    if not 0 <= data.get("classes", 0) <= CLASSES:
        raise ValueError(f"its state names over {CLASSES} classes")
    weights = state.get("class_weights")
    if weights is not None and not (
        len(weights) == data.get("classes") and all(type(w) is float and w >= 0 for w in weights)
    ):
        raise ValueError("its state states no class weights")
    targets = state.get("targets")
    if targets is not None:
        mean, deviation = targets["mean"], targets["deviation"]
        good = all(type(n) is float and math.isfinite(n) for n in [*mean, *deviation])
        if not good or len(mean) != len(deviation) or min(deviation, default=0) <= 0:
            raise ValueError("its state states no scale of the targets")
    return Stated(state)


def _check(value: Any, form: Any, where: str) -> None:
    if isinstance(form, list):
        good = isinstance(value, list) and all(isinstance(v, form[0]) for v in value)
    elif isinstance(form, dict):
        good = isinstance(value, dict)
    else:
        good = isinstance(value, form) and not isinstance(value, bool)
    if not good:
        raise ValueError(f"{where} has an unknown form")
    for key in form if isinstance(form, dict) else ():
        if key in value:
            _check(value[key], form[key], f"{where}, {key!r},")
