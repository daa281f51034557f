"""The update: the state of the optimizer, and the same arithmetic on every rank."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import groupby

import numpy as np

from disttrain.arrays import Array
from disttrain.config import Optimizer as Settings
from disttrain.errors import CheckpointError
from disttrain.model import Network
from disttrain.training.average import Average
from disttrain.training.rules import rule_of

__all__ = ["Optimizer"]

# Odd, so that multiplying by it modulo 2⁶⁴ keeps every difference between two checksums.
SPREAD = 6364136223846793005


class Optimizer:
    """Updates a network's flat vector of parameters from the summed gradients, by a rule.

    `slots` holds the state vectors of the rule by name, in the order of names, flat as the
    parameters; `vectors` holds the same behind `weights`, and the running `average` where there is
    one (of the decay `average`): all that an update changes.
    λ (weight decay) exempts biases.

    With `clip_norm` c the mean gradient `g = sum/count` of a step, of all parameters, biases too,
    and before weight decay, is shortened to it: `g = min(1, c / (‖g‖ + 10⁻⁶)) g`, as by PyTorch's
    `clip_grad_norm_`. A norm that is not finite makes the weights NaN, so that all ranks see it in
    the next loss.

    `regions` are the parts of the vectors that are updated, with their decay and what the rate is
    multiplied by there; frozen layers are in none. `averages` are the parts that are no weights but
    running averages, of which each update takes away `sum/samples`.

    `checksum_read` is a running checksum of all that updates have read of these vectors (on a GPU:
    0). It shows a bit that flipped between two updates, even if rounding hides it in the weights.
    """

    def __init__(self, network: Network, settings: Settings, average: float | None = None) -> None:
        self._network, self._settings, self._rule = network, settings, rule_of(settings)
        device, length = network.device, network.layout.length
        self.slots: dict[str, Array] = {
            name: device.put(np.zeros(length, network.dtype)) for name in self._rule.slots
        }
        self.vectors: dict[str, Array] = {"weights": network.values, **self.slots}
        self.average = None if average is None else Average(network, average)
        if self.average:
            self.vectors["average"] = self.average.vector
        self.checksum_read = 0
        self.regions = list(regions_of(network, settings.weight_decay))
        spans = network.layout.spans
        self.averages = [slice(span.low, span.high) for span in spans if not span.trained]

    def step(
        self, gradients: Array, rate: float, count: float, t: int, samples: float | None = None
    ) -> None:
        """Apply update number `t` (the first is 1).

        `gradients` are the sums over the samples of all ranks, which count as `count`; `samples` is
        their number where that is another one.
        """
        kernels, scale = self._network.device.kernels, self._scale(gradients, count)
        for part, decay, factor in self.regions:
            w, slots = self._network.values[part], [slot[part] for slot in self.slots.values()]
            g, own = gradients[part], rate * factor
            bits = self._rule.update(kernels, w, slots, g, scale, own, decay, t)
            self.checksum_read = (self.checksum_read * SPREAD + bits) % (1 << 64)
        for part in self.averages:
            self._network.values[part] -= gradients[part] * (1.0 / (samples or count))

    def _scale(self, gradients: Array, count: float) -> float:
        """Return the factor that makes summed gradients the mean, no longer than `clip_norm`."""
        limit = self._settings.clip_norm
        if limit is None:
            return 1.0 / count
        norm = self._norm(gradients) / count
        return min(1.0, limit / (norm + 1e-6)) / count if math.isfinite(norm) else math.nan

    def _norm(self, vector: Array) -> float:
        """Return `‖vector‖` over what is trained, from squares in float64, whose sum is exact."""
        device, parts = self._network.device, [vector[part] for part in self.measured]
        try:
            squares = [device.get(device.kernels.square_sums(part)) for part in parts if len(part)]
            return math.sqrt(math.fsum(np.concatenate(squares)) if squares else 0.0)
        except OverflowError:
            return math.inf

    @property
    def measured(self) -> list[slice]:
        """The parts of a flat vector that a norm is taken over: what is trained."""
        layers = self._network.layers
        if self.averages or any(getattr(layer, "frozen", False) for layer in layers):
            return [part for part, *_ in self.regions]
        return [slice(0, self._network.layout.length)]

    def finite(self) -> bool:
        """Return whether all weights and slots are finite numbers. Takes a pass over each."""
        vectors = (vector for vector in self.vectors.values() if vector.size)
        return all(math.isfinite(end) for v in vectors for end in (float(v.min()), float(v.max())))

    def gradient_norm(self, gradients: Array, samples: float) -> float:
        """Return `‖∇L‖`, with `∇L = sum/samples + λ w` as in the last update."""
        cut = self._network.layout.decayed
        mean = gradients / samples
        mean[:cut] += self._settings.weight_decay * self._network.values[:cut]
        return self._norm(mean)

    def tensors(self) -> dict[str, dict[str, np.ndarray]]:
        """Return each slot's parts on the host, as "layer/parameter", in layer order."""
        return {name: self._network.tensors(slot) for name, slot in self.slots.items()}

    def load(self, slots: Mapping[str, dict[str, np.ndarray]]) -> None:
        """Copy the tensors of each slot into their places.

        Raises CheckpointError where they are those of another kind of optimizer or network.
        """
        if slots.keys() != self.slots.keys():
            raise CheckpointError(
                f"the checkpoint holds the state of another optimizer ({', '.join(sorted(slots))}, "
                f"not {', '.join(self.slots)}): resume with the optimizer.kind that it was "
                "trained with, or begin another run"
            )
        for name, vector in self.slots.items():
            self._network.load(slots[name], vector)


def regions_of(network: Network, decay: float) -> Iterator[tuple[slice, float, float]]:
    """Yield the ranges of the flat vector that are trained, with weight decay and rate factor."""
    layout = network.layout
    factors = [
        0.0 if getattr(layer, "frozen", False) else getattr(layer, "rate", 1.0)
        for layer in network.layers
    ]
    for low, high, own in ((0, layout.decayed, decay), (layout.decayed, layout.length, 0.0)):
        spans = [span for span in layout.spans if low <= span.low < high]
        of_span = [factors[span.layer] if span.trained else 0.0 for span in spans]
        pairs = groupby(zip(of_span, spans, strict=True), lambda pair: pair[0])
        groups = [(f, [span for _, span in group]) for f, group in pairs]
        starts = [low, *(group[0].low for _, group in groups[1:]), high]
        for number, (factor, _) in enumerate(groups):
            if factor:
                yield slice(starts[number], starts[number + 1]), own, factor
