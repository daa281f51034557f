"""How one update changes the weights: a rule for each kind of optimizer.

A rule names the state vectors that it keeps (its slots, in alphabetical order) and calls the
kernel that does one pass over the weights, these and the gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from disttrain.arrays import Array
from disttrain.config import Adam, Sgd
from disttrain.config import Optimizer as Settings

__all__ = ["Rule", "rule_of"]


class Rule(Protocol):
    """An update rule with its settings."""

    slots: tuple[str, ...]

    def update(
        self, kernels: Any, w: Array, slots: Sequence[Array], g: Array, inverse: float,
        rate: float, decay: float, t: int,
    ) -> int:  # fmt: skip
        """Apply update number `t` (the first is 1) to flat `w` and `slots`.

        `g` times `inverse` is the mean gradient, `decay` is λ. Returns the sum of the bits of `w`
        and `slots` before the update; 0 on a GPU.
        """
        ...


class Momentum:
    """Stochastic gradient descent with momentum β; `g = sum/count + λ w`, α the rate.

    - classical: `v = β v + g`, `w = w - α v` (as in PyTorch's SGD);
    - averaged: `v = β v - α (1-β) g`, `w = w + v`; a rate here is `1/(1-β)` times classical's;
    - nesterov: `v = β v + g`, `w = w - α (g + β v)` (as in PyTorch; Sutskever et al., 2013).
    """

    slots: tuple[str, ...] = ("velocity",)

    def __init__(self, settings: Sgd) -> None:
        self._settings = settings

    def update(
        self, kernels: Any, w: Array, slots: Sequence[Array], g: Array, inverse: float,
        rate: float, decay: float, t: int,
    ) -> int:  # fmt: skip
        """Apply an update; `t` does not matter."""
        (v,) = slots
        form, momentum = self._settings.form, self._settings.momentum
        bits: int = kernels.momentum(form, w, v, g, inverse, rate, momentum, decay)
        return bits


class Moments:
    """Adam and AdamW; α the rate, t the number of the update.

    `m = β₁ m + (1-β₁) g`, `v = β₂ v + (1-β₂) g²`, `w = keep w - α m̂ / (√v̂ + ε)` with the bias
    corrections `m̂ = m / (1-β₁^t)` and `v̂ = v / (1-β₂^t)`; as in PyTorch.

    - adam (Kingma and Ba, 2015): `g = sum/count + λ w`, `keep = 1`;
    - adamw, whose decay is decoupled from the moments (Loshchilov and Hutter, 2019):
      `g = sum/count`, `keep = 1 - α λ`.
    """

    slots: tuple[str, ...] = ("first_moment", "second_moment")

    def __init__(self, settings: Adam) -> None:
        self._settings = settings

    def update(
        self, kernels: Any, w: Array, slots: Sequence[Array], g: Array, inverse: float,
        rate: float, decay: float, t: int,
    ) -> int:  # fmt: skip
        """Apply an update."""
        (m, v), settings = slots, self._settings
        beta1, beta2 = settings.beta1, settings.beta2
        decay, keep = (0.0, 1 - rate * decay) if settings.kind == "adamw" else (decay, 1.0)
        bits: int = kernels.adam(
            w, m, v, g, inverse, decay, keep, beta1, beta2,
            rate / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t), settings.epsilon,
        )  # fmt: skip
        return bits


def rule_of(settings: Settings) -> Rule:
    """Return the rule that `[optimizer]` asks for."""
    return Momentum(settings) if isinstance(settings, Sgd) else Moments(settings)
