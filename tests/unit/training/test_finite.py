"""Numbers that are not finite are named with layer and samples; such batches can be left out."""

import numpy as np
import pytest

from disttrain.comm import connect
from disttrain.errors import Divergence
from disttrain.training import Callback, fit
from disttrain.training.injection import Injection, parse_fault

BAD = 13
WAYS = ["reproducibility.mode=exact", "reproducibility.mode=fast", "optimizer.clip_norm=1.0"]


@pytest.fixture
def spoiled(write_data):
    """A data file in which one training sample is so large that products overflow."""
    random = np.random.default_rng(1)
    x, y = random.normal(size=(60, 4)), random.integers(0, 3, 60)
    x[BAD] = 3e38
    good = random.normal(size=(12, 4)), random.integers(0, 3, 12)
    return write_data("spoiled.h5", train=(x, y), validation=good, test=good)


def options(path, *changes):
    return (f"data.path={path}", "data.normalize=none", "training.batch_size=10",
            "training.epochs=3", "model.layers=[{units=6},{units=3}]", *changes)  # fmt: skip


class Weights(Callback):
    """The weights before each step, and what people are told."""

    def __init__(self):
        self.before, self.said = [], []

    def on_step(self, run, step):
        self.before.append(run.host_values())

    def on_warning(self, line):
        self.said.append(line)


@pytest.mark.parametrize("way", WAYS)
def test_the_sample_is_named_with_the_place_where_it_overflows(build, spoiled, way):
    where = rf"first in the losses \(inf\), training samples {BAD}: take"
    with pytest.raises(Divergence, match=where):
        fit(build(*options(spoiled, way)))
    wide = 'model.layers=[{units=100,activation="relu",initializer="he"},{units=3}]'
    with pytest.raises(
        Divergence,
        match=rf"first in the outputs of dense\d \((-?inf|nan)\), training samples {BAD}",
    ):
        fit(build(*options(spoiled, way, wide)))


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_is_left_out_without_an_update(build, spoiled, way):
    seen = Weights()
    run = build(*options(spoiled, "training.skip_not_finite=3", way), callbacks=[seen])
    fit(run)
    still = [step for step in range(run.total_steps - 1)
             if np.array_equal(seen.before[step], seen.before[step + 1])]  # fmt: skip
    bad = [step for step in range(run.total_steps) if BAD in run.work.batches.samples(step)]
    assert len(bad) == run.state.skipped == 3
    assert still == [step for step in bad if step < run.total_steps - 1]
    assert np.isfinite(run.host_values()).all()
    assert [line.endswith(f"left out ({n} of at most 3)") for n, line in enumerate(seen.said, 1)]
    assert all(np.isfinite(row["train_loss"]) for row in run.state.history)


def test_one_batch_too_many_is_a_divergence(build, spoiled):
    run = build(*options(spoiled, "training.skip_not_finite=2"))
    with pytest.raises(Divergence):
        fit(run)
    assert run.state.skipped == 2


def test_weights_that_are_not_finite_are_named(build):
    comm = connect()
    injection = Injection([parse_fault("nan:rank=0,step=2")], comm)
    with pytest.raises(
        Divergence, match=r"at step 2 .*, first in the weights of dense1 \(nan\): take"
    ):
        fit(build(injection=injection))
