"""Weights of samples and classes: the bits of one rank, and PyTorch's divisor, on any ranks."""

import h5py
import numpy as np
import pytest

import disttrain
from disttrain.comm.alone import Alone

RUN_FILE = """
seed = 3
[data]
path = "{path}"
[model]
layers = [
  {{ units = 9, activation = "gelu" }},
  {{ units = 8, activation = "elu" }},
  {{ units = 3 }},
]
[training]
epochs = 2
batch_size = 32
class_weights = "balanced"
label_smoothing = 0.1
[schedule]
learning_rate = 0.05
[validation]
on = "all"
[reproducibility]
mode = "exact"
"""


def weighted(path):
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": "disttrain-data", "version": 1})
        for split, rows in (("train", 90), ("validation", 40)):
            file[f"{split}/inputs"] = random.normal(size=(rows, 5))
            file[f"{split}/targets"] = random.integers(0, 3, rows) ** 2 // 2
            # The first rows count nothing: a rank can have none that counts.
            file[f"{split}/weights"] = (np.arange(rows) // 8 / 5).astype("f4")


@pytest.mark.parametrize("arithmetic", ["leaves", "shared"])
def test_weighted_trainings_do_not_depend_on_the_ranks(comm, made, arithmetic):
    settings = disttrain.parse(RUN_FILE.format(path=made("weighted.h5", weighted)))
    settings = settings.replace(reproducibility={"arithmetic": arithmetic})
    found = []
    for ranks in (comm, Alone()):
        run = disttrain.build(settings, comm=ranks)
        disttrain.fit(run)
        interval = run.state.history[-1]
        found.append((run.digest(), interval["train_loss"], interval["validation_loss"]))
        run.close()
    assert found[0] == found[1]


def spread(predictions, targets):
    """Not a sum over samples: right only where all predictions are seen together."""
    return float(np.median(predictions[:, 0])) + len(targets)


def test_a_metric_is_that_of_one_rank(comm, made):
    settings = disttrain.parse(RUN_FILE.format(path=made("metric.h5", weighted)))
    settings = settings.replace(validation={"best": "spread"})
    found = []
    for ranks in (comm, Alone()):
        run = disttrain.build(settings, comm=ranks, metrics=[spread])
        disttrain.fit(run)
        found.append(([i["validation_spread"] for i in run.state.history], run.state.best_step))
        run.close()
    assert found[0] == found[1]
    assert found[0][0][0] > 40


def test_a_collective_in_a_callback_is_refused_on_all_ranks(comm, made):
    class Scores(disttrain.Callback):
        def on_interval(self, run, report):
            run.predict_split(run.dataset.splits["validation"])

    settings = disttrain.parse(RUN_FILE.format(path=made("refused.h5", weighted)))
    run = disttrain.build(settings, comm=comm, callbacks=[Scores()])
    with pytest.raises((disttrain.UsageError, disttrain.RankFailure), match="rank 0 alone"):
        disttrain.fit(run)
    assert comm.collect(1) == [1] * comm.size
    run.close()


def test_passes_and_rates_of_layers_do_not_depend_on_the_ranks(comm, made):
    settings = disttrain.parse(RUN_FILE.format(path=made("passes.h5", weighted)))
    layers = [{"units": 9, "activation": "silu", "rate": 0.3}, {"units": 6, "frozen": True}, 3]
    layers = [{"units": layer} if isinstance(layer, int) else layer for layer in layers]
    settings = settings.replace(
        model={"layers": layers}, training={"accumulate": 12}, optimizer={"clip_norm": 0.3}
    )
    digests = []
    for ranks in (comm, Alone()):
        run = disttrain.build(settings, comm=ranks)
        assert max(len(part.samples) for part in run.work.batches.parts_of(0)) <= 3
        disttrain.fit(run)
        digests.append(run.digest())
        run.close()
    assert digests[0] == digests[1]
