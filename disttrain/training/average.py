"""The running average of the parameters (`model.average`), which all ranks keep beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from disttrain.model import Network

__all__ = ["Average"]


class Average:
    """The weighted mean of the parameters after each update, the older the less.

    With decay `d`, after update `t`: `a = Σₛ dᵗ⁻ˢ wₛ / Σₛ dᵗ⁻ˢ` over the updates `s = 1..t`, found
    by `a = a + (w - a) (1-d) / (1-dᵗ)`. It begins with the first update, not with the initial
    weights (the bias correction of Adam; Kingma and Ba, 2015), so a short run has the plain mean.
    Training does not depend on it.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self._network, self._decay = network, decay
        self.vector = network.device.put(np.zeros(network.layout.length, network.dtype))

    def follow(self, t: int) -> None:
        """Take in the weights after update number `t` (the first is 1)."""
        part = (1 - self._decay) / (1 - self._decay**t)
        self._network.device.kernels.average(self.vector, self._network.values, part)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return its parts on the host, as "layer/parameter", in layer order."""
        return self._network.tensors(self.vector)

    def load(self, tensors: dict[str, np.ndarray]) -> None:
        """Copy tensors into their places; none: begin with the present weights."""
        if tensors:
            self._network.load(tensors, self.vector)
        else:
            self.vector[:] = self._network.values

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the network compute with the average; afterwards it has its weights again."""
        values = self._network.values
        weights = values.copy()
        values[:] = self.vector
        try:
            yield
        finally:
            values[:] = weights
