"""The names that a `torch.nn.Sequential` of the same layers gives its tensors."""

from __future__ import annotations

from collections.abc import Sequence

from disttrain.errors import UsageError
from disttrain.model import Dense, Dropout, Network

__all__ = ["MODULES", "sequential"]

MODULES = {
    "relu": "ReLU()",
    "sigmoid": "Sigmoid()",
    "tanh": "Tanh()",
    "leaky-relu": "LeakyReLU(0.01)",
    "elu": "ELU()",
    "gelu": "GELU('tanh')",
    "silu": "SiLU()",
}


def sequential(network: Network) -> tuple[list[str], dict[str, str]]:
    """Return the modules of the Sequential, and the name there of each of the network's tensors.

    Each activation and each dropout is a module of its own. Raises UsageError for a layer of a
    user's own, and for "sign", which PyTorch has no module for.
    """
    modules: list[str] = []
    names: dict[str, str] = {}
    for name, layer, shape in zip(network.names, network.layers, network.shapes, strict=False):
        if type(layer) is Dropout:
            modules.append(f"Dropout({layer.rate:g})")
        elif type(layer) is Dense:
            _refuse_sign(name, layer.activation)
            for key in ("weight", "bias"):
                names[f"{name}/{key}"] = f"{len(modules)}.{key}"
            modules.append(f"Linear({_count(shape)}, {layer.units})")
            modules += [MODULES[layer.activation]] if layer.activation != "identity" else []
        else:
            raise UsageError(
                f"{name} is a layer of your own ({type(layer).__name__}), which torch.nn does not "
                "have: export networks of built-in layers"
            )
    return modules, names


def _count(shape: Sequence[int]) -> int:
    count = 1
    for number in shape:
        count *= number
    return count


def _refuse_sign(name: str, activation: str) -> None:
    if activation not in ("identity", *MODULES):
        raise UsageError(
            f"{name} has the activation {activation!r}, for which torch.nn has no module: export "
            "to ONNX"
        )
