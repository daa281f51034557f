"""A stack of layers over one flat vector of parameters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from disttrain.arrays import Array, Chunks, Device, OneArray, Workspace, generator
from disttrain.errors import CheckpointError, UsageError
from disttrain.model.closer import closer
from disttrain.model.flat import Layout
from disttrain.model.layer import Layer, Parameter, Shape
from disttrain.model.layers import Dense, Dropout, Flatten
from disttrain.model.passes import PREDICTION, Asking, Context, Pass

__all__ = ["Network", "shapes_of"]

Ask = Callable[[Sequence[Array]], Array]


class Network:
    """Layers for samples of `shape`, with their parameters on `device`.

    `values` is the flat vector of all parameters, `layout` says what lies where, `names` are the
    layers' names in checkpoints: kind and number, as in "dense1". `shapes` are those of a sample
    before the first layer and behind each layer; `inputs` and `outputs` count the numbers in the
    first and the last of them.
    """

    def __init__(
        self, layers: Sequence[Layer], shape: Shape, dtype: str, device: Device, seed: int
    ) -> None:
        self.layers, self.dtype, self.device, self.seed = list(layers), dtype, device, seed
        self.names = [f"{layer.kind}{n}" for n, layer in enumerate(layers, 1)]
        self.shapes, parameters = shapes_of(layers, shape)
        self.inputs, self.outputs = math.prod(shape), math.prod(self.shapes[-1])
        self.layout = Layout(parameters)
        self.values = device.put(self._initial(parameters))
        self._views = self.layout.views(self.values)
        # The first layer with parameters: the layers before it need no gradient.
        self._first = next((n for n, view in enumerate(self._views) if view), len(self._views))
        self._training: dict[int, Workspace] = {}
        # Of passes that are under way at once, but the first.
        self._beside = Chunks().empty if device.kind == "cpu" else device.empty
        self._prediction = list(self._contexts_of_prediction())

    @property
    def widths(self) -> str:
        """Numbers in a sample before the first layer and behind each that has parameters."""
        own = [True, *map(bool, self._views)]
        counts = (math.prod(shape) for shape in itertools.compress(self.shapes, own))
        return "-".join(map(str, counts))

    @property
    def kinds(self) -> list[str]:
        """What each layer is: its kind, or MODULE.CLASS for a class outside of this package."""
        classes = [(type(layer).__module__, type(layer).__qualname__) for layer in self.layers]
        package = __name__.partition(".")[0] + "."
        return [
            layer.kind if module.startswith(package) else f"{module}.{name}"
            for layer, (module, name) in zip(self.layers, classes, strict=True)
        ]

    def _initial(self, parameters: Sequence[dict[str, Parameter]]) -> np.ndarray:
        """Return the flat vector of the values that the parameters begin with."""
        start = np.zeros(self.layout.length, self.dtype)
        for name, views, those in zip(
            self.names, self.layout.views(start), parameters, strict=True
        ):
            for key, parameter in those.items():
                initial = parameter.initial
                draw = callable(initial) and initial(generator(self.seed, f"weights {name} {key}"))
                views[key][...] = draw if callable(initial) else initial
        return start

    def _contexts(self, workspace: Workspace, pass_: Pass) -> Iterator[Context]:
        """Yield what each layer works with in a pass."""
        gradients = pass_.gradients or [{}] * len(self.layers)
        for number, name in enumerate(self.names):
            yield Context(
                name, self.device, self.dtype, workspace, self._views[number], gradients[number],
                number > self._first, self.seed, number, pass_,
            )  # fmt: skip

    def _contexts_of_prediction(self) -> Iterator[Context]:
        """Yield what each layer works with in a pass without a way back.

        An output is needed by the next layer alone, so dense layers write to two arrays in turn,
        unless there are layers among them that may keep more.
        """
        turns = [OneArray(self.device.empty), OneArray(self.device.empty)]
        workspace = Workspace(self.device.empty)
        plain = all(type(layer) in (Dense, Dropout, Flatten) for layer in self.layers)
        for layer, context in zip(self.layers, self._contexts(workspace, PREDICTION), strict=True):
            if plain and type(layer) is Dense:
                context.workspace = turns[0]
                turns.reverse()
            yield context

    def contexts(self, pass_: Pass) -> Iterator[Context]:
        """Yield what each layer works with in a pass."""
        if not pass_.training:
            return iter(self._prediction)
        workspace = self._training.get(pass_.place)
        if workspace is None:
            allocate = self._beside if pass_.place else self.device.empty
            workspace = self._training[pass_.place] = Workspace(allocate)
        return self._contexts(workspace, pass_)

    @property
    def rowwise(self) -> bool:
        """True where the class of every layer states `rowwise = True`.

        It is not inherited: a subclass may compute something else, so it must state it again.
        """
        return all(vars(type(layer)).get("rowwise", False) for layer in self.layers)

    def forward(self, inputs: Array, pass_: Pass) -> tuple[Array, Callable[[Array], None]]:
        """Return the outputs for rows of `inputs`, and the backward function.

        `backward(doutputs)` writes the sum of the gradients of these rows to `pass_.gradients`, and
        calls `pass_.on_ready` after each layer.
        """
        backwards = []
        for layer, context in zip(self.layers, self.contexts(pass_), strict=True):
            inputs, back = layer.forward(inputs, context)
            backwards.append(back)

        def backward(dy: Array | None) -> None:
            for number in reversed(range(len(backwards))):
                # None before the first layer with parameters.
                if dy is not None:
                    dy = backwards[number](dy)
                pass_.on_ready(self.layout.ready[number])

        return inputs, backward

    @property
    def asked(self) -> list[int]:
        """How many sums over the global batch layers ask for in a step, in their order."""
        pairs = [layer.asks(s) for layer, s in zip(self.layers, self.shapes, strict=False)]
        there = [pair for pair in pairs if pair[0]]
        return [forth for forth, _ in there] + [back for _, back in reversed(there)]

    def forward_together(
        self, inputs: Sequence[Array], passes: Sequence[Pass], ask: Ask
    ) -> tuple[list[Array], Callable[[Sequence[Array]], None]]:
        """Do `forward` for several passes at once, layer by layer, and so the way back.

        `ask` returns the sums over the global batch of what the passes' layers have yielded.
        """
        xs, backs = list(inputs), []
        for layer, *contexts in zip(self.layers, *map(self.contexts, passes), strict=True):
            if layer.asks(xs[0].shape[1:])[0]:
                asked = [layer.asking(x, ctx) for x, ctx in zip(xs, contexts, strict=True)]
                done = together(asked, ask)
            else:
                done = [layer.forward(x, ctx) for x, ctx in zip(xs, contexts, strict=True)]
            xs = [x for x, _ in done]
            backs.append([back for _, back in done])

        def backward(douts: Sequence[Array]) -> None:
            dys: list[Any] = list(douts)
            for layer, back, shape in reversed(list(zip(self.layers, backs, self.shapes,
                                                        strict=False))):  # fmt: skip
                if dys[0] is not None:
                    dys = [b(dy) for b, dy in zip(back, dys, strict=True)]
                    dys = together(dys, ask) if layer.asks(shape)[0] else dys

        return xs, backward

    @property
    def hidden(self) -> list[int]:
        """The numbers of the layers with parameters, but for the last one."""
        return [number for number, views in enumerate(self._views) if views][:-1]

    def predict(self, inputs: Array, layers: int | None = None) -> Array:
        """Return the outputs for rows of `inputs`; buffers of training are not touched.

        With `layers` they are those of so many first layers.
        """
        for layer, context in zip(self.layers[:layers], self._prediction[:layers], strict=True):
            inputs, _ = layer.forward(inputs, context)
        return inputs

    def closer(self) -> Callable[[Array], Array]:
        """Return a function that does `predict` with less rounding, by the weights of now."""
        return closer(self)

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
            name = min(n for n in have | want if have.get(n) != want.get(n))
            raise CheckpointError(
                f"the checkpoint is of another network: {name} is "
                f"{_described(have.get(name))} in it and {_described(want.get(name))} here"
            )
        for name, place in places.items():
            place[...] = tensors[name]

    @property
    def count(self) -> int:
        """The number of parameters."""
        return sum(int(view.size) for views in self._views for view in views.values())

    def penalty(self, weight_decay: float) -> float:
        """Return `λ/2 ‖w‖²` over the parameters that decay."""
        decayed = self.values[: self.layout.decayed]
        with np.errstate(over="ignore", invalid="ignore"):
            return 0.5 * weight_decay * float((decayed * decayed).sum(dtype="f8"))


def together(asking: Sequence[Asking[Any]], ask: Ask) -> list[Any]:
    """Return what the generators return, each sent the sums of all of them over the batch."""
    totals, returned = ask([next(each) for each in asking]), []
    for each in asking:
        try:
            each.send(totals)
        except StopIteration as end:
            returned.append(end.value)
    return returned


def shapes_of(
    layers: Sequence[Layer], shape: Shape
) -> tuple[list[Shape], list[dict[str, Parameter]]]:
    """Return the shapes of a sample before and behind each layer, and the layers' parameters.

    Raises UsageError, which names the layer, where one can't take what the layer before gives.
    """
    shapes, parameters = [shape], []
    for number, layer in enumerate(layers, 1):
        name = f"{layer.kind}{number}"
        try:
            here, shape = layer.parameters(shapes[-1]), layer.outputs(shapes[-1])
        except UsageError as error:
            raise UsageError(f"layer {number}, {name}: {error}") from None
        parameters.append(_checked_parameters(name, here))
        shapes.append(_checked(f"{name}.outputs(shape)", shape))
    return shapes, parameters


def _checked(what: str, shape: Shape) -> Shape:
    """Return a shape that a layer states; raise UsageError where it is not a tuple of counts."""
    if not isinstance(shape, tuple) or not all(
        isinstance(n, int | np.integer) and n > 0 for n in shape
    ):
        raise UsageError(
            f"{what} is {shape!r}, which is not a shape: a layer is given the shape of one sample, "
            "as in (28, 28), and states shapes as tuples, as in (10,)"
        )
    return tuple(map(int, shape))


def _checked_parameters(name: str, parameters: dict[str, Parameter]) -> dict[str, Parameter]:
    for key, parameter in parameters.items():
        _checked(f"{name}.parameters(shape): the shape of {key!r}", parameter.shape)
    return parameters


def _described(tensor: tuple[tuple[int, ...], np.dtype] | None) -> str:
    return "missing" if tensor is None else f"{tensor[1]} of shape {tensor[0]}"
