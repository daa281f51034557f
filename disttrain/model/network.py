"""A stack of layers over one flat vector of parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from disttrain.arrays import Array, Device, Workspace, generator
from disttrain.errors import CheckpointError
from disttrain.model.flat import Layout
from disttrain.model.layer import Context, Layer, Moment

__all__ = ["Network"]

# Below so many multiplications OpenBLAS takes other kernels on AVX-512: from a million on it does
# not.
SMALL = 1 << 20


class Network:
    """Layers from `inputs` numbers a sample to `outputs`, with their parameters on `device`.

    `values` is the flat vector of all parameters, `layout` says what lies where, `names` are the
    layers' names in checkpoints: kind and number, as in "dense1". `moment` says which samples the
    next training pass is about.
    """

    def __init__(
        self, layers: Sequence[Layer], inputs: int, dtype: str, device: Device, seed: int
    ) -> None:
        self.layers, self.inputs, self.dtype, self.device = list(layers), inputs, dtype, device
        self.names = [f"{layer.kind}{n}" for n, layer in enumerate(layers, 1)]
        self.widths = [inputs]
        specifications = []
        for layer in layers:
            specifications.append(layer.parameters(self.widths[-1]))
            self.widths.append(layer.outputs(self.widths[-1]))
        self.outputs = self.widths[-1]
        self.layout = Layout(specifications)
        start = np.zeros(self.layout.length, dtype)
        for name, views, parameters in zip(
            self.names, self.layout.views(start), specifications, strict=True
        ):
            for key, parameter in parameters.items():
                initial = parameter.initial
                draw = callable(initial) and initial(generator(seed, f"weights {name} {key}"))
                views[key][...] = draw if callable(initial) else initial
        self.values = device.put(start)
        self.moment = Moment(seed)
        self._training = self._contexts(self.moment)
        self._prediction = self._contexts(None)

    def _contexts(self, moment: Moment | None) -> list[Context]:
        workspace = Workspace(self.device.empty)
        views = self.layout.views(self.values)
        # The first layer with parameters: what is before it needs no gradient.
        first = next((n for n, view in enumerate(views) if view), len(views))
        return [
            Context(name, self.device, self.dtype, workspace, values, {}, number > first, moment)
            for number, (name, values) in enumerate(zip(self.names, views, strict=True))
        ]

    def write_gradients_to(self, vector: Array) -> None:
        """Have backward passes write their gradients straight into `vector`, flat as `values`."""
        for context, views in zip(self._training, self.layout.views(vector), strict=True):
            context.gradients = views

    def keep_products(self, keep: Callable[[int, Array, Array], None] | None) -> None:
        """Give `keep` the number of a layer, `dy` and `x` where it would write `dyᵀ x`; or stop."""
        for number, context in enumerate(self._training):
            context.keep = keep and functools.partial(keep, number)

    def tile_small(self, rows: int) -> None:
        """Compute products in tiles of `rows` rows in training where a tile is small; 0: never."""
        for context in self._training:
            weight = context.values.get("weight")
            small = weight is not None and rows * weight.size < SMALL
            context.tile = rows if small else 0

    def row_product(self, layer: int) -> Callable[[Array, Array, Array], Array]:
        """Return how training multiplies rows by the weight of a layer: `product(rows, W, out)`."""
        return self._training[layer].product

    @property
    def rowwise(self) -> bool:
        """True where every layer says of itself that it treats each row alone.

        A class derived from one that does may do something else in its place: it must say so again.
        """
        return all(vars(type(layer)).get("rowwise", False) for layer in self.layers)

    def forward(self, inputs: Array) -> tuple[Array, Callable[..., None]]:
        """Return the outputs for rows of `inputs`, and the backward function.

        `backward(doutputs, on_ready)` writes the sum of the gradients of these rows, and calls
        `on_ready(end)` after each layer: `gradients[:end]` is complete then.
        """
        backwards = []
        for layer, context in zip(self.layers, self._training, strict=True):
            inputs, back = layer.forward(inputs, context)
            backwards.append(back)

        def backward(dy: Array, on_ready: Callable[[int], None] = lambda end: None) -> None:
            for number in reversed(range(len(backwards))):
                # Nobody asks for the gradient of the inputs.
                if dy is not None:
                    dy = backwards[number](dy)
                on_ready(self.layout.ready[number])

        return inputs, backward

    def predict(self, inputs: Array) -> Array:
        """Return the outputs for rows of `inputs`; buffers of a training step are left alone."""
        for layer, context in zip(self.layers, self._prediction, strict=True):
            inputs, _ = layer.forward(inputs, context)
        return inputs

    def activations(self, inputs: Array) -> list[Array]:
        """Return the output of each layer for rows of `inputs`, as arrays of their own."""
        found = []
        for layer, context in zip(self.layers, self._prediction, strict=True):
            inputs, _ = layer.forward(inputs, context)
            found.append(inputs.copy())
        return found

    def tensors(self, vector: Array) -> dict[str, np.ndarray]:
        """Return the parts of a flat `vector` on the host, as "layer/parameter", in layer order."""
        return self.tensors_of(self.device.get(vector))

    def tensors_of(self, host: np.ndarray) -> dict[str, np.ndarray]:
        """Return the parts of a flat host vector as views, in layer order."""
        return {
            f"{name}/{key}": view
            for name, views in zip(self.names, self.layout.views(host), strict=True)
            for key, view in views.items()
        }

    def load(self, tensors: dict[str, np.ndarray], vector: Array) -> None:
        """Copy tensors ("layer/parameter") into their places in a flat `vector` on the device.

        Raises CheckpointError where names, shapes or types are not those of this network.
        """
        host = np.zeros(self.layout.length, self.dtype)
        self.tensors_into(tensors, host)
        self.device.put(host, vector)

    def tensors_into(self, tensors: dict[str, np.ndarray], host: np.ndarray) -> None:
        """Do the same for a flat vector on the host."""
        places = self.tensors_of(host)
        have = {name: (t.shape, t.dtype) for name, t in tensors.items()}
        want = {name: (t.shape, t.dtype) for name, t in places.items()}
        if have != want:
            odd = sorted(n for n in have | want if have.get(n) != want.get(n))[0]
            raise CheckpointError(
                f"the checkpoint is of another network: {odd} is "
                f"{_described(have.get(odd))} there and {_described(want.get(odd))} here"
            )
        for name, place in places.items():
            place[...] = tensors[name]

    @property
    def count(self) -> int:
        """The number of parameters."""
        return sum(int(v.size) for views in self.layout.views(self.values) for v in views.values())

    def penalty(self, weight_decay: float) -> float:
        """Return `λ/2 ‖w‖²` over the parameters that decay."""
        decayed = self.values[: self.layout.decayed]
        return 0.5 * weight_decay * float((decayed * decayed).sum(dtype="f8"))


def _described(tensor: tuple[tuple[int, ...], np.dtype] | None) -> str:
    return "not there" if tensor is None else f"{tensor[1]} of shape {tensor[0]}"
