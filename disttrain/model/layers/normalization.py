"""Normalization: numbers brought to mean 0 and deviation 1, over the batch or within a sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from typing import Any

import numpy as np

from disttrain.arrays import Array
from disttrain.model.layer import Layer, Parameter, Shape
from disttrain.model.passes import Asking, Backward, Context, alone

__all__ = ["BatchNorm", "LayerNorm"]


class BatchNorm(Layer):
    """`y = γ (x - μ) / √(σ² + ε) + β`, channel by channel (Ioffe and Szegedy, 2015).

    In training `μ` and `σ²` are those of the global batch, over all ranks: sums in float64, added
    in the order of leaves. At prediction they are the running averages `mean` and `variance`:
    `m = (1 - momentum) m + momentum μ`, and so the variance, with `n / (n - 1)`, as in PyTorch. A
    channel is the last axis of an image, the only one of a grey image, each number of a vector.
    Weight decay leaves `scale` (γ) and `shift` (β) out.
    """

    kind = "batch-norm"

    def __init__(self, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        self.momentum, self.epsilon = momentum, epsilon

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """Return `scale`, `shift`, and the running averages, which gradients don't move."""
        one = (_channels(shape),)
        return {
            "scale": Parameter(one, 1.0, decay=False),
            "shift": Parameter(one, 0.0, decay=False),
            "mean": Parameter(one, 0.0, decay=False, trained=False),
            "variance": Parameter(one, 1.0, decay=False, trained=False),
        }

    def asks(self, shape: Shape) -> tuple[int, int]:
        """Return two sums a channel, forward with the count."""
        return 2 * _channels(shape) + 1, 2 * _channels(shape)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the output and the backward function, where these rows are the whole batch."""
        y, backward = alone(self.asking(x, ctx))
        return y, lambda dy: alone(backward(dy))

    def asking(self, x: Array, ctx: Context) -> Asking[tuple[Array, Any]]:
        """Return the same, having asked for the sums over the batch; backward asks too."""
        if ctx.device.normalization:
            return (yield from self._fused(x, ctx))
        xp, values, channels = ctx.device.xp, ctx.values, _channels(x.shape[1:])
        rows = x.reshape(-1, channels)
        y, centred = ctx.array("output", x.shape), ctx.array("normalized", x.shape)
        hat = centred.reshape(rows.shape)
        count, mean, variance = 1.0, values["mean"], values["variance"]
        if ctx.pass_.training:
            squares = xp.square(rows, dtype="f8").sum(axis=0)
            first = ctx.device.get(xp.concatenate([rows.sum(axis=0, dtype="f8"), squares]))
            totals = yield np.append(first, len(rows))
            count = max(float(totals[-1]), 1.0)
            mean, variance = self._moments(totals, count, len(x), ctx)
        inverse = 1 / xp.sqrt(variance + self.epsilon)
        xp.subtract(rows, mean.astype(x.dtype), out=hat)
        xp.multiply(hat, inverse.astype(x.dtype), out=hat)
        xp.multiply(hat, values["scale"], out=y.reshape(rows.shape))
        xp.add(y, values["shift"], out=y)

        def backward(dy: Array) -> Generator[Array, Array, Array]:
            d = dy.reshape(rows.shape)
            sums = xp.stack([d.sum(axis=0, dtype="f8"), (d * hat).sum(axis=0, dtype="f8")])
            ctx.gradients["shift"][...], ctx.gradients["scale"][...] = sums
            totals = yield ctx.device.get(sums).ravel()
            means = ctx.device.put((totals.reshape(2, channels) / count).astype(d.dtype))
            xp.subtract(d, means[0], out=d)
            xp.subtract(d, hat * means[1], out=d)
            xp.multiply(d, values["scale"] * inverse.astype(d.dtype), out=d)
            return dy

        return y, backward

    def _fused(self, x: Array, ctx: Context) -> Asking[tuple[Array, Any]]:
        """Return the same, by the device's own kernels."""
        device, own, values, slopes = (
            ctx.device,
            ctx.device.normalization,
            ctx.values,
            ctx.gradients,
        )
        channels, x = _channels(x.shape[1:]), device.xp.ascontiguousarray(x)
        y, hat = ctx.array("output", x.shape), ctx.array("normalized", x.shape)
        mean, inverse = ctx.array("mean", (channels,)), ctx.array("inverse", (channels,))
        running, moved = (values["mean"], values["variance"]), (None, None)
        totals = None
        if ctx.pass_.training:
            first = ctx.workspace.array((ctx.name, "first"), (2 * channels + 1,), "f8")
            do(own.batch_sums(x, None, first, channels))
            totals = device.put((yield device.get(first)))
            moved = slopes["mean"], slopes["variance"]
        own_values = values["scale"], values["shift"]
        arrays = x, totals, running, moved, mean, inverse, *own_values, hat, y
        do(own.batch_norm(*arrays, self.momentum * len(x), self.epsilon))

        def backward(dy: Array) -> Generator[Array, Array, Array]:
            dy = device.xp.ascontiguousarray(dy)
            second = ctx.workspace.array((ctx.name, "second"), (2 * channels,), "f8")
            do(own.batch_sums(dy, hat, second, channels, slopes["shift"], slopes["scale"]))
            back = device.put((yield device.get(second)))
            do([own.batch_norm_gradient(dy, hat, back, totals, values["scale"], inverse)])
            return dy

        return y, backward

    def _moments(
        self, totals: np.ndarray, count: float, samples: int, ctx: Context
    ) -> tuple[Array, Array]:
        """Return mean and variance of the batch; write what the running averages are to lose.

        That is `momentum (m - μ)` for each sample: the sum over samples is divided by their number.
        """
        first, second = totals[:-1].reshape(2, -1) / count
        variance = np.maximum(second - first * first, 0.0)
        for name, found in (("mean", first), ("variance", variance * count / max(count - 1, 1.0))):
            if name in ctx.gradients:
                moved = ctx.values[name] - ctx.device.put(found)
                ctx.gradients[name][...] = moved * (self.momentum * samples)
        return ctx.device.put(first), ctx.device.put(variance)


class LayerNorm(Layer):
    """`y = γ (x - μ) / √(σ² + ε) + β` with the mean and variance of each sample (Ba et al., 2016).

    `scale` (γ) and `shift` (β) have the shape of a sample; weight decay leaves them out.
    """

    kind = "layer-norm"

    def __init__(self, epsilon: float = 1e-5) -> None:
        self.epsilon = epsilon

    def parameters(self, shape: Shape) -> dict[str, Parameter]:
        """Return `scale` and `shift`."""
        return {
            "scale": Parameter(shape, 1.0, decay=False),
            "shift": Parameter(shape, 0.0, decay=False),
        }

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the output and the backward function."""
        xp, width = ctx.device.xp, math.prod(x.shape[1:])
        rows = x.reshape(len(x), width)
        scale, shift = (ctx.values[name].reshape(width) for name in ("scale", "shift"))
        hat, y = ctx.array("normalized", rows.shape), ctx.array("output", x.shape)
        if ctx.device.normalization:
            return y, self._fused(rows, hat, y, ctx)
        xp.subtract(rows, rows.mean(axis=1, keepdims=True), out=hat)
        inverse = 1 / xp.sqrt(xp.square(hat).mean(axis=1, keepdims=True) + self.epsilon)
        inverse = inverse.astype(x.dtype)
        xp.multiply(hat, inverse, out=hat)
        xp.multiply(hat, scale, out=y.reshape(rows.shape))
        y.reshape(rows.shape)[...] += shift

        def backward(dy: Array) -> Array:
            d = dy.reshape(rows.shape)
            ctx.gradients["shift"].reshape(width)[...] = d.sum(axis=0)
            ctx.gradients["scale"].reshape(width)[...] = (d * hat).sum(axis=0)
            xp.multiply(d, scale, out=d)
            along = (d * hat).mean(axis=1, keepdims=True)
            xp.subtract(d, d.mean(axis=1, keepdims=True), out=d)
            xp.subtract(d, hat * along, out=d)
            xp.multiply(d, inverse, out=d)
            return dy

        return y, backward

    def _fused(self, rows: Array, hat: Array, y: Array, ctx: Context) -> Backward:
        """Write the output by the device's own kernels; return the backward function."""
        xp, own, values = ctx.device.xp, ctx.device.normalization, ctx.values
        inverse, scale = ctx.array("inverse", (len(rows),)), values["scale"]
        given = xp.ascontiguousarray(rows), scale, values["shift"], hat, inverse, y
        own.layer_norm(*given, self.epsilon)()

        def backward(dy: Array) -> Array:
            dy, slopes = xp.ascontiguousarray(dy), ctx.gradients
            each = own.layer_norm_gradient(
                dy, hat, inverse, scale, slopes["scale"], slopes["shift"]
            )
            do(each)
            return dy

        return backward


def do(launches: Iterable[Callable[[], None]]) -> None:
    """Do launches, one after the other."""
    for each in launches:
        each()


def _channels(shape: Shape) -> int:
    """Return how many channels a sample has: the numbers of a vector are one each."""
    return shape[-1] if len(shape) != 2 else 1
