"""Pre-training gives the bits of one rank alone on any number of ranks."""

import h5py
import numpy as np
import pytest

import disttrain
from disttrain.comm.alone import Alone
from disttrain.training import pretrain
from tests.cli.shell import blobs
from tests.mpi.ranks.alone import by_root

RUN_FILE = """
seed = 4
[data]
path = "{path}"
normalize = "range"
validation_fraction = 0.1
labelled = 30
[model]
layers = [
  {{ units = 9, activation = "sigmoid" }},
  {{ units = 6, activation = "sigmoid", dropout = 0.1 }},
  {{ units = 3 }},
]
[training]
epochs = 2
batch_size = 16
[pretraining]
kind = "{kind}"
epochs = 2
batch_size = 20
"""


@pytest.fixture(scope="module")
def path(comm, made):
    path = made("pretraining.h5", blobs, 1500)
    with comm.together("adding rows"):
        if comm.is_root:
            with h5py.File(path, "a") as file:
                file["unlabelled/inputs"] = file["train/inputs"][:37] + 0.1
    return path


def colours(path):
    pixels = np.random.default_rng(1).integers(0, 256, (140, 8, 6, 3), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        file["train/inputs"], file["train/targets"] = pixels, np.arange(140) % 3


@pytest.fixture(scope="module")
def images(comm, made):
    return made("colours.h5", colours)


def trained(settings, comm):
    run = disttrain.build(settings, comm=comm)
    pretrain(run)
    begun = run.digest()
    disttrain.fit(run)
    losses = [row["train_loss"] for row in run.state.pretraining]
    found = begun, run.digest(), losses
    run.close()
    return found


@pytest.mark.parametrize("kind", ["autoencoder", "denoising", "rbm"])
@pytest.mark.parametrize("memory", ["shared", "stream"])
def test_same_bits_as_alone(comm, path, kind, memory):
    settings = disttrain.parse(RUN_FILE.format(path=path, kind=kind))
    settings = settings.replace(data={"memory": memory, "block_rows": 50})
    mine = trained(settings, comm)
    assert len(set(map(str, comm.collect(mine)))) == 1
    assert mine == by_root(comm, lambda: trained(settings, Alone()))
    assert mine[0] != mine[1]


@pytest.mark.parametrize("kind", ["autoencoder", "denoising"])
def test_convolutions_give_the_bits_of_one_rank(comm, images, kind):
    settings = disttrain.parse(RUN_FILE.format(path=images, kind=kind)).replace(
        data={"normalize": "auto", "labelled": None, "augment": {"rotate": 15.0, "crop": 2,
                                                                 "flip": True}},
        model={"layers": [
            {"kind": "conv", "filters": 4, "size": 3, "activation": "tanh"}, {"kind": "max-pool"},
            {"kind": "conv", "filters": 3, "size": 2, "padding": "valid"}, {"units": 3},
        ]},
    )  # fmt: skip
    mine = trained(settings, comm)
    assert len(set(map(str, comm.collect(mine)))) == 1
    assert mine == by_root(comm, lambda: trained(settings, Alone()))


def test_fast_mode_pre_trains_in_fast_mode(comm, path):
    settings = disttrain.parse(RUN_FILE.format(path=path, kind="rbm"))
    run = disttrain.build(settings.replace(reproducibility={"mode": "fast"}), comm=comm)
    pretrain(run)
    assert run.arithmetic is None
    assert len(set(comm.collect(run.digest()))) == 1
    run.close()


@pytest.mark.parametrize("arithmetic", ["leaves", "shared"])
def test_augmented_samples_give_the_bits_of_one_rank(comm, path, arithmetic):
    settings = disttrain.parse(RUN_FILE.format(path=path, kind="rbm")).replace(
        pretraining=None, data={"augment": {"noise": 0.3}, "labelled": None},
        reproducibility={"mode": "exact", "arithmetic": arithmetic},
    )  # fmt: skip

    def digest(comm):
        run = disttrain.build(settings, comm=comm)
        disttrain.fit(run)
        found = run.digest()
        run.close()
        return found

    assert digest(comm) == by_root(comm, lambda: digest(Alone()))
