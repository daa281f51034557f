"""Convolutional networks: the bits of one rank alone, on any number of ranks, and resumed."""

import numpy as np
import pytest

import disttrain
from disttrain.comm.alone import Alone
from disttrain.data.writer import write_data_file
from disttrain.errors import RankFailure
from disttrain.model import Conv, Dense
from tests.mpi.ranks.alone import by_root

# 90 rows for training: batches of 32, the last of an epoch has 26.
RUN_FILE = """
seed = 5
[data]
path = "{path}"
[model]
layers = [{layers}]
[training]
epochs = 2
batch_size = 32
[schedule]
learning_rate = 0.02
[validation]
every_steps = 4
"""
PLAIN = """
  {{ kind = "conv", filters = 5, size = 3, activation = "relu" }}, {{ kind = "max-pool" }},
  {{ kind = "conv", filters = 9, size = 2, padding = "valid", activation = "tanh" }},
  {{ kind = "average-pool", stride = 1 }}, {{ units = 7, activation = "relu", dropout = 0.2 }},
  {{ units = 3 }}
"""
NORMALIZED = """
  {{ kind = "conv", filters = 4, size = 3, bias = false }}, {{ kind = "batch-norm" }},
  {{ kind = "max-pool" }}, {{ kind = "conv", filters = 6, size = 3, activation = "relu" }},
  {{ kind = "batch-norm" }}, {{ kind = "global-average-pool" }}, {{ kind = "layer-norm" }},
  {{ units = 3 }}
"""
TILED = """
  {{ kind = "conv", filters = 16, size = 3, activation = "relu" }},
  {{ kind = "conv", filters = 32, size = 3, activation = "relu" }}, {{ kind = "max-pool" }},
  {{ kind = "conv", filters = 16, size = 3, padding = 2 }}, {{ units = 3 }}
"""
STACKS = {"plain": PLAIN, "normalized": NORMALIZED, "tiled": TILED}


def images(path):
    draw = np.random.default_rng(3)
    classes = np.arange(130) % 3
    inputs = draw.integers(0, 120, (130, 8, 8, 2)) + 60 * (classes[:, None, None, None] == [0, 1])
    inputs = inputs.astype("uint8")
    write_data_file(path, {
        "train": (inputs[:90], classes[:90]), "validation": (inputs[90:], classes[90:]),
    })  # fmt: skip


@pytest.fixture(scope="module")
def settings(made):
    path = made("images.h5", images)
    return lambda stack, **sections: disttrain.parse(
        RUN_FILE.format(path=path, layers=STACKS[stack].format())
    ).replace(**sections)


def trained(settings, comm, snapshot=None):
    run = disttrain.build(settings, comm=comm)
    if snapshot is not None:
        run.restore(comm.share(snapshot))
    disttrain.fit(run)
    history = [(row["train_loss"], row["validation_loss"]) for row in run.state.history]
    return run, (run.digest(), history)


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_any_ranks_have_the_bits_of_one(comm, settings, stack, optimizer):
    settings = settings(stack, optimizer={"kind": optimizer})
    run, mine = trained(settings, comm)
    assert mine == by_root(comm, lambda: trained(settings, Alone())[1])
    assert len(set(map(str, comm.collect(mine)))) == 1
    # Exact by itself: "auto" is what the run file says.
    assert run.arithmetic.kind == "leaves"
    assert run.settings.reproducibility.mode == "exact"
    run.close()


@pytest.mark.parametrize("stack", ["plain", "tiled"])
@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_recorded_steps_have_the_bits_of_eager_ones(comm, settings, mode, stack):
    settings = settings(stack, reproducibility={"mode": mode})
    recorded = disttrain.build(settings, comm=comm)
    if recorded.recordings.why_not:
        pytest.skip(recorded.recordings.why_not)
    eager = disttrain.build(settings, comm=comm)
    eager.recordings.why_not = "asked"
    for run in (recorded, eager):
        disttrain.fit(run)
    assert recorded.digest() == eager.digest()
    assert recorded.recordings.of(0) is not None
    recorded.close()
    eager.close()


@pytest.mark.parametrize("stack", STACKS)
def test_a_run_goes_on_where_it_stood(comm, settings, stack):
    settings = settings(stack, schedule={"kind": "constant", "learning_rate": 0.02})
    whole = by_root(comm, lambda: trained(settings, Alone())[1])
    half, _ = trained(settings.replace(training={"epochs": 1}), comm)
    again, resumed = trained(settings, comm, snapshot=half.snapshot())
    assert resumed[0] == whole[0]
    assert resumed[1][-1] == whole[1][-1]
    half.close()
    again.close()


@pytest.mark.parametrize("stack", STACKS)
def test_fast_mode_is_the_same_training_up_to_rounding(comm, settings, stack):
    exact = settings(stack, model={"dtype": "float64"})
    fast = exact.replace(reproducibility={"mode": "fast"})
    (run, mine), (other, theirs) = (trained(each, comm) for each in (fast, exact))
    np.testing.assert_allclose(mine[1], theirs[1], rtol=1e-9)
    np.testing.assert_allclose(run.network.values, other.network.values, rtol=1e-7, atol=1e-9)
    run.close()
    other.close()


def test_more_ranks_than_rows_and_batch_norm(comm, settings):
    one = settings("normalized", training={"batch_size": 2, "epochs": 1})
    fast = one.replace(reproducibility={"mode": "fast"})
    run, (_, history) = trained(fast, comm)
    assert np.isfinite(history).all()
    assert len(set(comm.collect(run.digest()))) == 1
    run.close()


@pytest.mark.parametrize("kind", [Conv, Dense])
def test_a_rank_that_fails_between_the_sums_of_a_step_keeps_none_waiting(
    comm, settings, kind, monkeypatch
):
    run = disttrain.build(settings("normalized"), comm=comm)
    forward, last = kind.forward, comm.size - 1

    def failing(layer, x, ctx):
        # In the second convolution, or behind all sums of the forward pass.
        if comm.rank == last and ctx.pass_.step == 2 and ctx.name in ("conv4", "dense8"):
            raise RuntimeError("broken here")
        return forward(layer, x, ctx)

    monkeypatch.setattr(kind, "forward", failing)
    with pytest.raises(RankFailure) as caught:
        disttrain.fit(run)
    assert f"rank {last}" in str(caught.value)
    assert "broken here" in str(caught.value)
    assert run.state.step == 2
    run.close()
