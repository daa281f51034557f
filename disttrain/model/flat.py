"""All parameters of a network in one flat vector; a layer's `weight` and `bias` are views of it.

Gradients and the slots of the optimizer have the same layout, so that one message carries all
gradients and one pass updates all weights:

    decayed parameters, last layer first | the others, last layer first

Backpropagation finishes the last layer first: its part can be sent while the rest is computed. The
parameters without weight decay (biases) are few and sent last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from disttrain.arrays import Array
from disttrain.model.layer import Parameter

__all__ = ["Layout", "Span"]

# Each parameter begins on a cache line; the gap before it stays zero.
ALIGN = 16


@dataclass(frozen=True)
class Span:
    """Where one parameter lies."""

    layer: int
    name: str
    shape: tuple[int, ...]
    low: int
    high: int
    trained: bool = True


class Layout:
    """Where each parameter of each layer lies in a flat vector of `length`.

    `vector[:decayed]` is subject to weight decay. `ready[l]` is the end of what is complete once
    the backward pass has finished layer `l`. `spans` holds each parameter in order.
    """

    def __init__(self, layers: Sequence[dict[str, Parameter]]) -> None:
        self.spans: list[Span] = []
        self.ready = [0] * len(layers)
        end = 0
        for decay in (True, False):
            for number in reversed(range(len(layers))):
                for name, parameter in layers[number].items():
                    if parameter.decay is decay:
                        end = self._put(number, name, parameter, end)
                if decay:
                    self.ready[number] = end
            if decay:
                self.decayed = end
        self.length = end
        self.ready[0] = end
        self._layers = len(layers)

    def _put(self, layer: int, name: str, parameter: Parameter, low: int) -> int:
        high = low + math.prod(parameter.shape)
        self.spans.append(Span(layer, name, parameter.shape, low, high, parameter.trained))
        return -(-high // ALIGN) * ALIGN

    def views(self, vector: Array) -> list[dict[str, Array]]:
        """Return, for each layer, its parameters as views of `vector`, in the order of layers."""
        views: list[dict[str, Array]] = [{} for _ in range(self._layers)]
        for span in self.spans:
            views[span.layer][span.name] = vector[span.low : span.high].reshape(span.shape)
        return views
