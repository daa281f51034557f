"""Pre-training: each hidden layer learns alone, without targets, before the training begins.

Layer by layer from the first (Hinton et al., 2006; Bengio et al., 2007): an autoencoder is the
layer with a decoder behind it, trained by the ordinary step; an RBM gives the gradient of CD-1 to
the same step. Each is a `Run` of its own on the outputs of the layers below it, so its bits do not
depend on the ranks either; what it has learned is copied into the network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from disttrain.arrays.draws import key_of
from disttrain.checkpoint import Snapshot
from disttrain.checkpoint.state import Report
from disttrain.config import Denoising, Rbm, Settings
from disttrain.data import ArrayRows, Feed, Normalization, Split, batch_sizes
from disttrain.data.source import Rows
from disttrain.errors import DataError
from disttrain.model import Conv, Dense, Dropout, Flatten, Layer
from disttrain.model import Rbm as RbmLayer
from disttrain.shown import decimals
from disttrain.training.callbacks import Callback
from disttrain.training.decoder import decoder_of, encoder_of
from disttrain.training.evaluation import samples_of
from disttrain.training.exact.arithmetic import Arithmetic, decide
from disttrain.training.keeper import Keeper, KeepNothing
from disttrain.training.limits import within_limits
from disttrain.training.optimizer import Optimizer
from disttrain.training.predictor import build_predictor, layer_from
from disttrain.training.run import Run
from disttrain.training.trainer import fit
from disttrain.training.work import divide

__all__ = ["pretrain", "reported"]

# Outputs of these lie in the range of the activation, which the decoder above gives back.
BOUNDED = ("sigmoid", "tanh")


def pretrain(run: Run, keeper: Keeper | None = None) -> None:
    """Train each hidden layer as `[pretraining]` says, where the run is at its beginning.

    Collective. Goes on where `keeper` has saved a layer; does nothing without `[pretraining]`, or
    once it is done. Raises what `fit` raises.
    """
    keeper = keeper or KeepNothing()
    if run.settings.pretraining is None or run.state.step or run.state.pretraining:
        return
    for number, place in enumerate(run.network.hidden, 1):
        with within_limits(run.settings, run.comm, run.threads), below(run, place) as rows:
            stage = Stage(run, number, place)
            own = keeper.of_layer(number)
            layer = stage.built(rows, own)
            fit(layer, own)
            take(run, place, layer)
        run.state.pretraining += [reported(number, facts) for facts in layer.state.history]


def sees_the_data(run: Run, place: int) -> bool:
    """Return True where nothing below layer number `place` changes the data."""
    return all(isinstance(layer, Dropout | Flatten) for layer in run.network.layers[:place])


@contextmanager
def below(run: Run, place: int) -> Iterator[Rows]:
    """Give what comes to layer number `place`, for every row: the data, or the outputs below it.

    Outputs lie in memory that the ranks of a node share; blocks of rows are computed by one rank
    each, always in the same shapes. Collective.
    """
    network, comm, rows = run.network, run.comm, run.dataset.every_row
    if sees_the_data(run, place):
        yield rows
        return
    width, phase = math.prod(network.shapes[place]), "outputs of the layers below"
    with comm.together(phase):
        needed = rows.count * width * np.dtype(network.dtype).itemsize
        if needed >= comm.shared_room:
            raise DataError(
                f"pre-training keeps the outputs of a layer for all {rows.count:,} rows, which "
                f"needs {needed:,} bytes of shared memory, and this node has "
                f"{comm.shared_room:,.0f}: enlarge /dev/shm, or give data.unlabelled"
            )
    array = comm.node_array((rows.count, width), np.dtype(network.dtype))
    split = Split("all rows", rows, np.zeros(rows.count, np.int64))
    with comm.together(phase):
        for block in range(comm.local_rank, -(-rows.count // len(samples_of(0, split))),
                           comm.local_size):  # fmt: skip
            comm.phase(phase)
            samples = samples_of(block, split)
            inputs, _ = run.feed(split, samples)
            outputs = network.device.get(network.predict(inputs, place))
            array[samples[0] : samples[-1] + 1] = outputs.reshape(len(samples), width)
    yield ArrayRows(array)


class Stage:
    """The pre-training of layer number `place` of a run's network, the `number`-th hidden one."""

    def __init__(self, run: Run, number: int, place: int) -> None:
        self._run, self._number, self._place = run, number, place
        self._layer = run.network.layers[place]

    def built(self, rows: Rows, keeper: Keeper) -> Run:
        """Return the run that trains the layer on `rows`, as far as it is saved. Collective."""
        run, comm = self._run, self._run.comm
        settings, snapshot = self._settings(), None
        with comm.together("restoring"):
            if comm.is_root:
                snapshot = keeper.found(settings, run.data_fingerprint)
        recorded = comm.share(_arithmetic_of(snapshot))
        found = self._run_on(rows, settings, recorded)
        found.restore(snapshot)
        with comm.together("opening the run folder"):
            for report in found.state.history if comm.is_root else ():
                keeper.add_metrics(report)
        return found

    def _run_on(self, rows: Rows, settings: Settings, recorded: Arithmetic | None) -> Run:
        run, comm = self._run, self._run.comm
        shape, normalization = run.network.shapes[self._place], run.normalization
        if not sees_the_data(run, self._place):
            shape = shape if isinstance(self._layer, Conv) else (rows.inputs,)
            normalization = _as_they_are(rows.inputs)
        split = Split("train", rows, np.zeros(rows.count, np.int64))
        own = replace(run.dataset.file.facts_of("train"), rows=rows.count, shape=shape)
        dataset = replace(
            run.dataset, file=replace(run.dataset.file, splits={"train": own}, preparation=None),
            splits={"train": split}, classes=0, class_names=(), without=None,
        )  # fmt: skip
        device, dtype = run.network.device, settings.model.dtype
        model = build_predictor(
            settings, comm, normalization, shape, device, list(self._layers(settings))
        )
        model.feed = Feed(normalization, shape, dtype, device, reconstructs=True)
        optimizer = Optimizer(model.network, settings.optimizer)
        sizes = batch_sizes(rows.count, settings.training.batch_size)
        arithmetic = decide(model, sizes, 0, rows.inputs, comm, recorded)
        return Run(
            settings, comm, model.network, model.loss, model.normalization, model.feed,
            model.loss_context, dataset=dataset, arithmetic=arithmetic, optimizer=optimizer,
            work=divide(model, dataset, optimizer, arithmetic), preemption=run.preemption,
            data_digest=run.data_fingerprint, injection=run.injection,
            pretrains=self._number,
            callbacks=[Told(run, self._number)] if comm.is_root else (),
        )  # fmt: skip

    def _settings(self) -> Settings:
        """Return the settings of the layer's own run."""
        run, asked = self._run, self._run.settings.pretraining
        assert asked is not None
        seed = int.from_bytes(key_of(run.settings.seed, "pretraining", self._number)[:8]) >> 1
        shape = run.network.shapes[self._place]
        layers = [encoder_of(self._layer, shape)]
        if not isinstance(asked, Rbm):
            layers += decoder_of(self._layer, shape, self._decoding())
        mode = run.settings.reproducibility.mode
        return run.settings.replace(
            seed=seed, pretraining=None, plot=False,
            model={"layers": layers, "loss": "squared", "input_dropout": 0.0},
            training={
                "epochs": asked.epochs, "batch_size": asked.batch_size, "protocol": "mini-batch",
                "epsilon": None, "class_weights": None, "label_smoothing": 0.0, "accumulate": 1,
            },
            optimizer={
                "kind": "sgd", "momentum": asked.momentum, "form": "classical",
                "weight_decay": asked.weight_decay, "clip_norm": None,
            },
            schedule={"kind": "constant", "learning_rate": asked.learning_rate,
                      "warmup_epochs": 0.0},
            validation={"every_epochs": 1, "every_steps": None, "patience": None, "best": "loss"},
            reproducibility={"mode": mode, "arithmetic": "auto"},
        )  # fmt: skip

    def _decoding(self) -> str:
        """Return the activation of the decoder: its outputs are in the range of what comes in."""
        run, place = self._run, self._place
        if self._number == 1:
            return "sigmoid" if run.normalization.in_unit_range else "identity"
        before = run.network.layers[run.network.hidden[self._number - 2]]
        activation = getattr(before, "activation", "")
        dropped = any(isinstance(layer, Dropout) for layer in run.network.layers[:place])
        return activation if activation in BOUNDED and not dropped else "identity"

    def _layers(self, settings: Settings) -> Iterator[Layer]:
        """Yield the layers of the layer's own run."""
        asked, layer = self._run.settings.pretraining, self._layer
        if isinstance(asked, Rbm):
            assert isinstance(layer, Dense)
            yield RbmLayer(layer.units, layer.initializer, layer.scale)
            return
        if isinstance(asked, Denoising) and asked.corruption:
            yield Dropout(asked.corruption, rescale=False)
        for table in settings.model.layers:
            yield layer_from(table)


class Told(Callback):
    """Tells people about a layer's pre-training by the callbacks of the run."""

    def __init__(self, run: Run, number: int) -> None:
        self._callbacks, self._number = run.callbacks, number
        self._name = run.network.names[run.network.hidden[number - 1]]

    def on_interval(self, run: Run, report: Report) -> None:
        """Give one line for each epoch."""
        self.on_message(
            f"pre-training of layer {self._number} ({self._name})  epoch {report.epoch:6.2f}/"
            f"{run.settings.training.epochs}  reconstruction loss {decimals(report.train_loss)}  "
            f"{report.samples_per_second:,.0f} samples/s"
        )

    def on_message(self, line: str) -> None:
        """Pass a line on."""
        for callback in self._callbacks:
            callback.on_message(line)

    def on_warning(self, line: str) -> None:
        """Pass a line on."""
        for callback in self._callbacks:
            callback.on_warning(line)


def _as_they_are(inputs: int) -> Normalization:
    """Return the normalization that changes nothing."""
    return Normalization("none", 1.0, np.zeros(inputs), np.ones(inputs))


def _arithmetic_of(snapshot: Snapshot | None) -> Arithmetic | None:
    """Return what a saved layer was computed with; None in fast mode, and where none was saved."""
    facts = snapshot.state.get("arithmetic") if snapshot else None
    return Arithmetic.from_json(facts) if facts else None


def take(run: Run, place: int, layer: Run) -> None:
    """Copy what a layer has learned into the network of the run."""
    host = run.network.device.get(run.network.values).copy()
    views = run.network.layout.views(host)[place]
    learned = layer.network.tensors(layer.network.values)
    encoder = next(n for n in layer.network.names if not n.startswith(Dropout.kind))
    for key, view in views.items():
        view[...] = learned[f"{encoder}/{key}"]
    run.network.device.put(host, run.network.values)


def reported(number: int, report: dict[str, Any]) -> dict[str, Any]:
    """Return the report of an epoch of the `number`-th layer as `metrics.jsonl` has it."""
    known = {key: value for key, value in report.items() if value is not None}
    return {"phase": "pretraining", "layer": number} | known
