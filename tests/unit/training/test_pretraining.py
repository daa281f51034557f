"""Pre-training: what each layer learns, what is written of it, where it goes on."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.checkpoint import all_checkpoints, load
from disttrain.comm.alone import Alone
from disttrain.config import Settings
from disttrain.errors import DataError, DisttrainError, Preempted, RunFileError, UsageError
from disttrain.model import Conv
from disttrain.preemption import Preemption
from disttrain.training import Callback, Run, fit, pretrain
from disttrain.training.decoder import decoder_of
from disttrain.training.injection import Injection, parse_fault

Make = Callable[..., Settings]
LAYERS = (
    'model.layers=[{units=6,activation="sigmoid"},{units=5,activation="sigmoid"},{units=3}]',
    "data.normalize=range",
    "data.labelled=30",
)
RBM = (*LAYERS, "pretraining.kind=rbm", "pretraining.epochs=2", "pretraining.batch_size=16")
NOISE = (*RBM, "pretraining.kind=denoising")
KINDS = pytest.mark.parametrize("kind", ["autoencoder", "denoising", "rbm"])


class Stop(Callback):
    """Asks the run to stop after an epoch of the pre-training of a layer."""

    def __init__(self, layer: int, epoch: int) -> None:
        self.preemption = Preemption()
        self._begin, self._epoch = f"pre-training of layer {layer} ", f"epoch   {epoch}.00/"
        self.said: list[str] = []

    def on_message(self, line: str) -> None:
        self.said.append(line)
        if line.startswith(self._begin) and self._epoch in line:
            self.preemption.signal = "SIGUSR1"


def lines(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    clock = ("seconds", "samples_per_second")
    return [{k: v for k, v in row.items() if k not in clock} for row in rows]


@KINDS
def test_a_run_that_is_stopped_in_it_goes_on_to_the_same_digest(
    settings: Make, go: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    asked = settings(*RBM, f"pretraining.kind={kind}")
    whole = go(asked, "whole")
    for layer, epoch in ((1, 1), (2, 1)):
        stop = Stop(layer, epoch)
        with pytest.raises(Preempted, match=f"of the pre-training of layer {layer}: "):
            go(asked, callbacks=[stop], preemption=stop.preemption, resume=layer > 1)
        assert ("going on with the pre-training of layer 1" in stop.said) == (layer > 1)
        assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "preempted"
    # The steps that were asked to stop had begun: the layers are saved in the middle.
    assert load(all_checkpoints(tmp_path / "run/pretraining-2")[-1]).step < 2 * 7
    assert go(asked, resume=True)["digest"] == whole["digest"]
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")
    assert go(asked, resume=True) == json.loads((tmp_path / "run/summary.json").read_text())


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("raise", r"\(step 3 of the pre-training of layer 2\): RuntimeError: injected"),
        ("nan", "at step 3 of the pre-training of layer 2 .* a smaller pretraining.learning_rate"),
    ],
)
def test_a_failure_names_the_layer(build: Callable[..., Run], fault: str, says: str) -> None:
    faults = [parse_fault(f"{fault}:layer=2,step=3")]
    with pytest.raises(DisttrainError, match=says):
        pretrain(build(*NOISE, injection=Injection(faults, Alone())))


def test_metrics_have_the_losses_of_each_layer(
    settings: Make, go: Callable[..., Any], tmp_path: Path
) -> None:
    go(settings(*NOISE))
    found = lines(tmp_path / "run")
    before = [row for row in found if row.get("phase") == "pretraining"]
    assert [(row["layer"], row["epoch"]) for row in before] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert found[: len(before)] == before
    for first, second in (before[:2], before[2:]):
        assert second["train_loss"] < first["train_loss"]
    assert [row["epoch"] for row in found[4:]] == [1, 2, 3, 4]
    # A resumed training writes them again from its checkpoint.
    go(settings(*NOISE, "training.epochs=6"), resume=True)
    assert lines(tmp_path / "run")[:4] == before


def test_an_autoencoder_is_an_ordinary_network_on_the_rows(build: Callable[..., Run]) -> None:
    one = ('model.layers=[{units=6,activation="sigmoid"},{units=3}]', *LAYERS[1:])
    run = build(*one, "pretraining.kind=autoencoder", "pretraining.epochs=3", "seed=5")
    before = run.network.tensors(run.network.values)["dense1/weight"].copy()
    pretrain(run)
    weight = run.network.tensors(run.network.values)["dense1/weight"]
    bias = run.network.tensors(run.network.values)["dense1/bias"]
    assert not np.array_equal(weight, before)
    # The encoder that was learned can be decoded: better than by the mean of the rows.
    rows = run.dataset.every_row
    assert rows.count == 99
    inputs, _ = run.feed(run.dataset.splits["train"], np.arange(30))
    x = np.array(inputs, "f8")
    h = 1 / (1 + np.exp(-(x @ weight.T + bias)))
    fitted = np.linalg.lstsq(np.c_[h, np.ones(30)], x, rcond=None)[0]
    left = np.square(np.c_[h, np.ones(30)] @ fitted - x).sum()
    assert left < 0.5 * np.square(x - x.mean(axis=0)).sum()
    losses = [row["train_loss"] for row in run.state.pretraining]
    assert losses == sorted(losses, reverse=True)


def test_training_begins_with_what_was_learned(build: Callable[..., Run]) -> None:
    run = build(*RBM)
    with pytest.raises(UsageError, match="call pretrain"):
        fit(run)
    pretrain(run)
    learned = run.digest()
    pretrain(run)
    assert run.digest() == learned
    fit(run)
    again = build(*RBM)
    pretrain(again)
    assert again.digest() == learned


def test_numbers_are_brought_to_between_0_and_1_for_an_rbm(build: Callable[..., Run]) -> None:
    run = build(*RBM, "data.normalize=auto")
    assert run.normalization.kind == "range"
    assert build(*RBM, "data.normalize=auto", "pretraining.kind=denoising").normalization.kind == (
        "standardize"
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["data.normalize=standardize"], "needs inputs between 0 and 1"),
        (["model.layers.1.activation=relu"], 'layer 2 has activation = "relu"'),
        (["model.layers=[{units=3}]"], "there are none"),
        (["model.from=elsewhere"], "leave one of them out"),
    ],
)
def test_networks_that_it_is_not_for(
    build: Callable[..., Run], changes: list[str], says: str
) -> None:
    with pytest.raises(RunFileError, match=says):
        build(*RBM, *changes)


def test_other_settings_and_other_data_are_refused(
    settings: Make, go: Callable[..., Any], write_data: Callable[..., str]
) -> None:
    stop = Stop(2, 1)
    with pytest.raises(Preempted):
        go(settings(*RBM), callbacks=[stop], preemption=stop.preemption)
    with pytest.raises(RunFileError, match=r"layer 1 began with other settings \(training.epochs"):
        go(settings(*RBM, "pretraining.epochs=3"), resume=True)
    rows = np.random.default_rng(1).random((110, 4)).astype("f4")
    write_data(train=(rows, np.arange(110) % 3), test=(rows[:30], np.arange(30) % 3))
    with pytest.raises(DataError, match="layer 1 was pre-trained on other data"):
        go(settings(*RBM), resume=True)


def test_a_run_that_replaces_another_begins_its_layers_anew(
    settings: Make, go: Callable[..., Any], tmp_path: Path
) -> None:
    go(settings(*RBM))
    whole = go(settings(*NOISE), "noise")
    assert go(settings(*NOISE), overwrite=True)["digest"] == whole["digest"]
    assert not list(tmp_path.glob("run/*/*.replaced"))


IMAGES = (
    "data.normalize=none",
    "pretraining.epochs=2",
    "pretraining.batch_size=16",
    'model.layers=[{kind="conv",filters=3,size=3,activation="sigmoid"},{kind="max-pool"},'
    '{kind="conv",filters=4,size=2,padding="valid",activation="relu"},{units=5,'
    'activation="relu"},{units=3}]',
)


@pytest.fixture
def images(write_data: Callable[..., str]) -> tuple[str, ...]:
    """Settings for a network with convolutions, of data that are written here."""
    pixels = np.random.default_rng(3).integers(0, 256, (90, 8, 10, 2), dtype=np.uint8)
    path = write_data("images.h5", train=(pixels, np.arange(90) % 3))
    return f"data.path={path}", *IMAGES


@pytest.mark.parametrize("kind", ["autoencoder", "denoising"])
def test_convolutions_learn_to_give_images_back(
    build: Callable[..., Run], images: tuple[str, ...], kind: str
) -> None:
    run = build(*images, f"pretraining.kind={kind}")
    before = {k: v.copy() for k, v in run.network.tensors(run.network.values).items()}
    pretrain(run)
    after = run.network.tensors(run.network.values)
    changed = [name for name in after if not np.array_equal(after[name], before[name])]
    assert {name.partition("/")[0] for name in changed} == {"conv1", "conv3", "dense4"}
    losses = {layer: [row["train_loss"] for row in run.state.pretraining if row["layer"] == layer]
              for layer in (1, 2, 3)}  # fmt: skip
    assert all(second < first for first, second in losses.values())


@pytest.mark.parametrize(
    ("shape", "size", "padding"),
    [((8, 10, 2), 3, "valid"), ((8, 10, 2), (2, 5), "same"), ((8, 10), 4, "same"),
     ((9, 7, 3), 5, 1), ((12,), 3, "valid"), ((6, 6), 1, "valid")],
)  # fmt: skip
def test_the_decoder_of_a_convolution_gives_the_size_back(
    shape: tuple[int, ...], size: int, padding: str | int
) -> None:
    layer = Conv(5, size, 1, padding)
    table, flat = decoder_of(layer, shape, "sigmoid")
    assert (table.pop("kind"), flat) == ("conv", {"kind": "flatten"})
    assert math.prod(Conv(**table).outputs(layer.outputs(shape))) == math.prod(shape)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["pretraining.kind=rbm"], "hidden layer 1 is a convolution: use kind"),
        (["model.layers.0.stride=2"], "hidden layer 1: no convolution behind it gives images"),
        (["model.layers.2.padding=3"], "hidden layer 2: no convolution behind it gives images"),
        (
            ['model.layers=[{kind="conv",filters=2},{kind="batch-norm"},{units=3}]'],
            "hidden layer 2 is batch-norm: leave it out",
        ),
    ],
)
def test_convolutions_that_it_is_not_for(
    build: Callable[..., Run], images: tuple[str, ...], changes: list[str], says: str
) -> None:
    with pytest.raises(RunFileError, match=says):
        build(*images, *changes)


def test_a_layer_behind_a_pool_learns_from_what_the_pool_gives(
    build: Callable[..., Run], images: tuple[str, ...]
) -> None:
    layers = 'model.layers=[{kind="average-pool"},{units=5,activation="sigmoid"},{units=3}]'
    run = build(*images, layers, "pretraining.kind=rbm", "pretraining.epochs=3")
    pretrain(run)
    losses = [row["train_loss"] for row in run.state.pretraining]
    assert losses == sorted(losses, reverse=True)
