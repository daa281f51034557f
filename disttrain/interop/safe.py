"""safetensors: weights under the names of a `torch.nn.Sequential`, out and in.

What the weights alone do not say (the run file, the normalization, the classes) stands as JSON in
the file's metadata, so that a file of ours is read back without more.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from disttrain.checkpoint import save
from disttrain.errors import CheckpointError, UsageError
from disttrain.interop.extras import needed
from disttrain.interop.stated import DAMAGED, OURS, snapshot_of, stated
from disttrain.interop.torch_names import Tensor, sequential
from disttrain.runs.trained import Trained

__all__ = ["read_tensors", "safe_tensors", "taken_back"]


def _library() -> Any:
    return needed("safetensors.numpy", "safetensors", "reading and writing safetensors")


def safe_tensors(trained: Trained) -> bytes:
    """Return the weights as the bytes of a safetensors file.

    Weights lie as PyTorch has them, (outputs, inputs). Raises UsageError where PyTorch has no
    module for a layer.
    """
    library, network = _library(), trained.network
    # Those of the network: the running average where that was loaded.
    parameters = network.tensors(network.values)
    modules, names = sequential(network)
    facts = stated(trained) | {
        "tensors": {key: [*tensor, parameters[key].shape] for key, tensor in names.items()}
    }
    metadata = {
        "format": "pt",
        "sequential": f"torch.nn.Sequential({', '.join(modules)})",
        OURS: json.dumps(facts),
    }
    tensors = {names[key].name: names[key].out(t) for key, t in parameters.items()}
    content: bytes = library.save(tensors, metadata)
    return content


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the tensors of a file, by name, and its metadata. Raises CheckpointError."""
    library = needed("safetensors", "safetensors", "reading and writing safetensors")
    try:
        with library.safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    # The library's own error, and numpy's for a type that it does not have (bfloat16).
    except (OSError, library.SafetensorError, TypeError, AttributeError) as error:
        how = ": save its tensors as float32" if "bfloat16" in str(error) else ""
        raise CheckpointError(f"{path} can't be read as safetensors ({error}){how}") from None


def taken_back(
    path: Path, read: tuple[dict[str, np.ndarray], dict[str, str]], out: Path, data: str | None
) -> bool:
    """Write the checkpoint that a file of ours came from; False for a file of another program.

    `read` is what `read_tensors` returned for it.
    `data` is the data file that it names then, None: that of its training.
    Raises CheckpointError where what it states is damaged.
    """
    tensors, metadata = read
    if OURS not in metadata:
        return False
    try:
        facts = json.loads(metadata[OURS])
        parameters = {
            key: Tensor(name, *map(tuple, rest[:-1])).back(tensors[name], rest[-1])
            for key, (name, *rest) in facts["tensors"].items()
        }
        save(out, snapshot_of(facts, parameters, data))
    except DAMAGED as error:
        raise CheckpointError(f"what {path} states of its run is damaged ({error})") from None
    return True


def layers_of(path: Path, tensors: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Return weight and bias of each layer, in the order of the numbers in their names.

    Raises UsageError for names that are not those of dense layers in a Sequential.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for name in sorted(tensors, key=_numbers):
        prefix, _, key = name.rpartition(".")
        if key not in ("weight", "bias"):
            raise UsageError(
                f"{path}: the tensor {name!r} is not a weight or bias of a dense layer; a file is "
                "read whose tensors are called 0.weight, 0.bias, 2.weight, ..."
            )
        tensor = tensors[name]
        if tensor.dtype.kind != "f":
            raise UsageError(f"{path}: the tensor {name!r} holds {tensor.dtype}: save it as floats")
        found.setdefault(prefix, {})[key] = tensor.astype("f4") if tensor.itemsize < 4 else tensor
    layers = list(found.values())
    if not layers:
        raise UsageError(f"{path} holds no tensors")
    if len({re.sub(r"\d+", "", prefix) for prefix in found}) > 1 and not _follow(layers):
        raise UsageError(
            f"{path}: the names {', '.join(list(found)[:5])} don't say in which order the layers "
            "are: call the tensors 0.weight, 0.bias, 2.weight, ..."
        )
    for prefix, layer in found.items():
        if "weight" not in layer or layer["weight"].ndim != 2:
            raise UsageError(
                f"{path}: the layer {prefix!r} has no weight of two axes: it is not dense"
            )
        layer.setdefault("bias", np.zeros(len(layer["weight"]), layer["weight"].dtype))
    return layers


def _follow(layers: list[dict[str, np.ndarray]]) -> bool:
    """Tell whether layers can stand in this order, and in no other one."""
    sizes = [layer["weight"].shape if "weight" in layer else () for layer in layers]
    if len(sizes) > 6 or any(len(size) != 2 for size in sizes):
        return False
    return [
        order for order in itertools.permutations(range(len(sizes)))
        if all(sizes[a][0] == sizes[b][1] for a, b in itertools.pairwise(order))
    ] == [tuple(range(len(sizes)))]  # fmt: skip


def _numbers(name: str) -> list[Any]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
