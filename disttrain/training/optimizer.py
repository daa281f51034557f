"""The update: momentum and weight decay, the same arithmetic on every rank."""

from __future__ import annotations

import numpy as np

from disttrain.arrays import Array
from disttrain.config import Optimizer as Settings
from disttrain.config import Sgd
from disttrain.model import Network

__all__ = ["Optimizer"]

# Odd: a difference between two traces never gets lost in later steps.
SPREAD = 6364136223846793005


class Optimizer:
    """Updates a network's flat vector of parameters from the summed gradients.

    With `g = sum/count + λ w` (λ exempts biases), α the rate, β the momentum:

    - classical: `v = β v + g`, `w = w - α v` (as in PyTorch's SGD);
    - averaged: `Δ = β Δ - α (1-β) g`, `w = w + Δ`; a rate here is `1/(1-β)` times classical's;
    - nesterov: `v = β v + g`, `w = w - α (g + β v)` (as in PyTorch; Sutskever et al., 2013).

    `trace` is a running checksum of all weights and velocities that updates have read: a bit that
    flips between two updates stays in it, also where the weights round it away later. (Not on a
    GPU: 0 there.)
    """

    def __init__(self, network: Network, settings: Settings) -> None:
        if not isinstance(settings, Sgd):
            raise TypeError(settings.kind)
        self._network, self._settings = network, settings
        device, length = network.device, network.layout.length
        self.velocity: Array = device.put(np.zeros(length, network.dtype))
        self.trace = 0

    def step(self, gradients: Array, rate: float, count: float) -> None:
        """Apply one update; `gradients` are the sums over the `count` samples of all ranks."""
        cut = self._network.layout.decayed
        for part, decay in (
            (slice(0, cut), self._settings.weight_decay),
            (slice(cut, None), 0.0),
        ):
            bits = self._network.device.kernels.update(
                self._settings.form,
                self._network.values[part],
                self.velocity[part],
                gradients[part],
                1.0 / count,
                rate,
                self._settings.momentum,
                decay,
            )
            self.trace = (self.trace * SPREAD + bits) % (1 << 64)

    def gradient_norm(self, gradients: Array, samples: float) -> float:
        """Return `‖∇L‖`, with `∇L = sum/samples + λ w` as in the last update."""
        cut, xp = self._network.layout.decayed, self._network.device.xp
        mean = gradients / samples
        mean[:cut] += self._settings.weight_decay * self._network.values[:cut]
        return float(xp.sqrt(xp.square(mean, dtype="f8").sum()))
