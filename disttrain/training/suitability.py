"""Whether settings, network and data fit each other: checked before any training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from disttrain.arrays import Device
from disttrain.comm import Communicator
from disttrain.config import Dense as DenseTable
from disttrain.config import Rbm, Settings, Sgd
from disttrain.data import PIECE_ROWS, Dataset, Division, in_words
from disttrain.errors import RunFileError, UsageError
from disttrain.model import Conv, Dense, Layer, Loss, Perceptron, Softmax, Squared
from disttrain.model.flat import Layout
from disttrain.model.layer import Shape
from disttrain.model.losses import SquaredInUnits, WeightedSoftmax
from disttrain.model.network import shapes_of
from disttrain.training.decoder import decoder_of
from disttrain.training.evaluation import BLOCK_ROWS
from disttrain.training.predictor import Predictor

__all__ = [
    "bounded_outputs",
    "check_fit",
    "check_pretraining",
    "doubts",
    "refuse_cut_batches",
    "refuse_what_does_not_fit",
    "refuse_what_memory_cannot_hold",
]

LARGE_FOR_ADAM = 0.01
ONE_UNIT = (
    'model.loss = "perceptron" is for one layer of one unit with activation = "sign": its rule '
    "says nothing about hidden units"
)
LOSSES: tuple[type[Loss], ...] = Softmax, WeightedSoftmax, Squared, SquaredInUnits
# Of rate / (1 - momentum), the factor of a gradient that stays the same.
LARGE_FOR_SGD = 10.0


def refuse_what_does_not_fit(settings: Settings) -> None:
    """Raise RunFileError for settings that can't be trained."""
    layers, perceptron = settings.model.layers, settings.model.loss == "perceptron"
    first = layers[0]
    unit = isinstance(first, DenseTable) and first.units == 1 and first.activation == "sign"
    if perceptron and not (unit and len(layers) == 1):
        raise RunFileError(ONE_UNIT)
    for number, layer in enumerate(layers, 1):
        if getattr(layer, "activation", "") == "sign" and not perceptron:
            raise RunFileError(
                f'model.layers: layer {number} has activation = "sign", whose derivative is 0 '
                'wherever there is one, so that no gradient reaches its weights: use "tanh", or '
                'loss = "perceptron" for a single unit'
            )


def doubts(settings: Settings, stated: bool = True) -> list[str]:
    """Return what in the settings can be trained but is likely a slip, a sentence each.

    Unless the layers are `stated` there, and not a user's own, nothing is said about them.
    """
    kind, rate = settings.optimizer.kind, settings.schedule.learning_rate
    found = []
    if kind in ("adam", "adamw") and rate >= LARGE_FOR_ADAM:
        found.append(
            f"schedule.learning_rate = {rate:g} is large for optimizer.kind = {kind!r}, whose rate "
            "is about the length of a step: 0.001 is usual"
        )
    sgd = settings.optimizer
    if isinstance(sgd, Sgd) and settings.model.loss != "perceptron":
        kept = sgd.momentum if sgd.form != "averaged" else 0.0
        if rate >= LARGE_FOR_SGD * (1 - kept):
            found.append(
                f"schedule.learning_rate = {rate:g} is large for momentum {kept:g}, and the run "
                "may diverge: --rates finds the rates that work"
            )
    dense = [layer for layer in settings.model.layers if layer.kind == "dense"]
    if stated and any("activation" not in layer.model_fields_set for layer in dense[:-1]):
        found.append(
            "a hidden layer has no activation, so it can learn no more than the layer behind it "
            'alone: give it one, as in { units = 32, activation = "relu" }'
        )
    return found


def bounded_outputs(settings: Settings) -> list[str]:
    """Return a sentence where the last layer bends the outputs that softmax makes classes of."""
    last = settings.model.layers[-1] if settings.model.layers else None
    kind = getattr(last, "activation", "identity")
    if settings.model.loss != "softmax" or kind == "identity":
        return []
    return [
        f'the last layer has activation = "{kind}", behind which softmax can hardly tell classes '
        "apart: leave it out there, the loss makes probabilities of the outputs"
    ]


def refuse_cut_batches(settings: Settings, division: Division, sizes: Sequence[int]) -> None:
    """Raise RunFileError where batch normalization would not see all rows of a batch at once."""
    if settings.communication.sum == "buckets":
        raise RunFileError(
            'communication.sum = "buckets" does not work with batch-norm, whose sums over the '
            'batch travel during the backward pass too: use "auto"'
        )
    if not all(piece.first and piece.last for rows in sizes for piece in division.parts(rows)):
        cause = (
            "training.accumulate cuts a batch into passes" if settings.training.accumulate > 1
            else f"a rank's share of a batch is more than {PIECE_ROWS} rows"
        )  # fmt: skip
        raise RunFileError(
            f"{cause}, but batch-norm needs all rows of a batch at once: make "
            "training.batch_size smaller instead, or use layer-norm"
        )


def check_fit(model: Predictor, dataset: Dataset, own_loss: bool) -> None:
    """Raise RunFileError where the last layer or the loss does not fit the targets.

    A loss of the user's own may want any number of outputs; with `own_loss` it may be one.
    """
    path, units, shape = dataset.file.path, model.network.outputs, model.network.shapes[-1]
    if len(shape) != 1:
        raise RunFileError(
            f"the last layer gives {in_words(shape)} a sample: end with a layer of units, as "
            f"Dense({dataset.outputs})"
        )
    if not dataset.classes and isinstance(model.loss, Softmax | Perceptron):
        raise RunFileError(
            f'model.loss = "{model.loss.kind}" needs classes, but the targets of {path} are '
            'numbers: use loss = "squared"'
        )
    if isinstance(model.loss, Perceptron):
        if dataset.classes != 2:
            raise RunFileError(
                f"a perceptron tells two classes apart, but {path} has {dataset.classes}: use "
                'loss = "softmax"'
            )
        if type(model.loss) is Perceptron and units != 1:
            raise RunFileError(ONE_UNIT)
        return
    if type(model.loss) in LOSSES:
        check_numbers_of_loss(model.loss, dataset)
        own_loss = False
    if units != dataset.outputs and not own_loss:
        what, each = ("classes", "class") if dataset.classes else ("numbers a sample", "number")
        raise RunFileError(
            f"model.layers: the last layer has {units} unit{'s' * (units != 1)}, but the targets "
            f"of {path} are {dataset.outputs} {what}: give it units = {dataset.outputs}, one for "
            f"each {each}"
        )


def check_numbers_of_loss(loss: Loss, dataset: Dataset) -> None:
    """Raise RunFileError where a loss that was given has not one number for each output."""
    path, given, what = dataset.file.path, getattr(loss, "class_weights", None), "classes"
    if isinstance(loss, SquaredInUnits):
        given, what = loss.units, "numbers a sample"
        if dataset.classes:
            raise RunFileError(
                f"SquaredInUnits is for numbers, but the targets of {path} are classes: use Squared"
            )
    if given is not None and np.shape(given) != (dataset.outputs,):
        raise RunFileError(
            f"{type(loss).__name__} was given numbers of shape {np.shape(given)}, but the targets "
            f"of {path} are {dataset.outputs} {what}: give it an array of {dataset.outputs} numbers"
        )


def check_pretraining(model: Predictor) -> None:
    """Raise RunFileError where the network can't be pre-trained as the settings ask."""
    asked, network = model.settings.pretraining, model.network
    if asked is None:
        return
    if not network.hidden:
        raise RunFileError("[pretraining] is for hidden layers, and there are none: leave it out")
    if model.settings.model.from_:
        raise RunFileError(
            "model.from and [pretraining] both say how weights begin: leave one of them out"
        )
    for number, place in enumerate(network.hidden, 1):
        check_layer(network.layers[place], network.shapes[place], number, isinstance(asked, Rbm))
    if isinstance(asked, Rbm) and not model.normalization.in_unit_range:
        raise RunFileError(
            'pretraining.kind = "rbm" needs inputs between 0 and 1: give data.normalize = '
            '"none" for pixels, "range" for other numbers'
        )


def check_layer(layer: Layer, shape: Shape, number: int, rbm: bool) -> None:
    """Raise RunFileError where the `number`-th hidden layer, on inputs of `shape`, can't learn."""
    if type(layer) not in (Dense, Conv):
        raise RunFileError(
            f"[pretraining] is for dense layers and convolutions, and hidden layer {number} is "
            f"{layer.kind}: leave it out"
        )
    if rbm and isinstance(layer, Conv):
        raise RunFileError(
            f'pretraining.kind = "rbm" is for dense layers, and hidden layer {number} is a '
            'convolution: use kind = "denoising"'
        )
    if rbm and isinstance(layer, Dense) and layer.activation != "sigmoid":
        raise RunFileError(
            f'pretraining.kind = "rbm" gives units that are on with probability σ(a), and '
            f'layer {number} has activation = "{layer.activation}": use "sigmoid", or '
            'kind = "denoising"'
        )
    try:
        decoder_of(layer, shape, "identity")
    except UsageError as error:
        raise RunFileError(f"[pretraining], hidden layer {number}: {error}") from None


def refuse_what_memory_cannot_hold(
    stack: Sequence[Layer], settings: Settings, dataset: Dataset, device: Device, comm: Communicator
) -> None:
    """Raise RunFileError, before memory is asked for, where the network needs more than is free.

    Counted is the least that a training needs, on each rank: weights, gradients and one slot of the
    optimizer; the outputs of layers for its share of a batch, with their gradients, or for a block
    of the validation.
    """
    shapes, parameters = shapes_of(stack, dataset.shape)
    count, outputs = Layout(parameters).length, sum(math.prod(shape) for shape in shapes[1:])
    most = max(split.count for split in dataset.splits.values())
    batch = min(settings.training.batch_size or most, most) // settings.training.accumulate
    share = min(batch, PIECE_ROWS) // comm.size
    # Exact mode tries out a whole block.
    block = BLOCK_ROWS if settings.reproducibility.mode != "fast" else min(BLOCK_ROWS, most)
    numbers = 3 * count + max(2 * share, block) * outputs
    needed = numbers * np.dtype(settings.model.dtype).itemsize
    ranks = comm.host_size if device.kind == "cpu" else 1
    if needed * ranks > (free := device.free_memory()):
        each = f" for each of the {ranks} ranks of a host" if ranks > 1 else ""
        raise RunFileError(
            f"model.layers: {count:,} parameters need at least {needed / 1e9:,.1f} GB of memory"
            f"{each}, and {free / 1e9:,.1f} GB are free on {comm.host}: give the layers fewer units"
        )
