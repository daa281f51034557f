"""The same training on any number of ranks: each job compares itself with one rank alone."""

import numpy as np
import pytest

import disttrain
from disttrain.comm.alone import Alone
from disttrain.data import measure
from disttrain.training import Callback
from tests.cli.shell import blobs, numbers
from tests.mpi.ranks.alone import by_root

# 150 rows for training: batches of 32 (the last of an epoch has 22), of which 3 ranks take
# 10, 11 and 11 rows.
RUN_FILE = """
seed = 11
[data]
path = "{path}"
normalize = "standardize"
validation_fraction = 0.0
[model]
layers = [
  {{ units = 11, activation = "tanh" }},
  {{ units = 7, activation = "relu", bias = 0.01 }},
  {{ units = 3 }},
]
dtype = "float64"
[training]
epochs = 10
batch_size = 32
[optimizer]
form = "nesterov"
weight_decay = 1e-3
[reproducibility]
mode = "fast"
"""
RELATIVE = 1e-6


@pytest.fixture(scope="module")
def settings(made):
    return disttrain.parse(RUN_FILE.format(path=made("equality.h5", blobs, 200, validation=2500)))


@pytest.fixture
def own(comm):
    """All ranks in a communicator of their own: what is left in it meets no other test."""
    group = comm.split(0)
    yield group
    group.close()


def trained(settings, comm):
    """Train for 50 steps; return the weights, the velocity, the history and the run."""
    run = disttrain.build(settings, comm=comm)
    disttrain.fit(run)
    return run.network.values.copy(), run.optimizer.slots["velocity"].copy(), run.state.history, run


def alone(settings, comm):
    """Return the weights, the velocity and the history of one rank alone."""
    return by_root(comm, lambda: trained(settings, Alone())[:3])


def close(mine, wanted, relative=RELATIVE):
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(mine, wanted, rtol=relative, atol=relative * scale * 1e-3)


def check(settings, comm, relative=RELATIVE):
    """Compare 50 steps on these ranks with 50 steps alone."""
    values, velocity, history, run = trained(settings, comm)
    expected, expected_velocity, expected_history = alone(settings, comm)
    close(values, expected, relative)
    close(velocity, expected_velocity, relative)
    assert len(history) == len(expected_history)
    for mine, wanted in zip(history, expected_history, strict=True):
        for key in ("train_loss", "validation_loss", "penalty", "learning_rate"):
            assert mine[key] == pytest.approx(wanted[key], rel=relative)
        for key in ("step", "epoch", "train_accuracy"):
            assert mine[key] == wanted[key]
    assert len(set(comm.collect(run.digest()))) == 1
    return run


def test_fifty_steps_are_those_of_one_rank(comm, settings):
    run = check(settings, comm)
    assert run.state.step == 50
    assert run.state.history[-1]["train_loss"] < 0.5 * run.state.history[0]["train_loss"]


@pytest.mark.parametrize("way", ["window", "allreduce", "buckets", "ring"])
def test_whatever_the_way_of_summing(comm, settings, way):
    run = check(settings.replace(communication={"sum": way, "bucket_mib": 1e-4}), comm)
    assert run.work.reducer.way == (way if comm.size > 1 or way != "auto" else "none")


@pytest.mark.parametrize("form", ["classical", "averaged"])
def test_whatever_the_form_of_the_update(comm, settings, form):
    check(settings.replace(optimizer={"form": form, "momentum": 0.5}), comm)


@pytest.mark.parametrize("rows", [1, 3, 5])
def test_with_ranks_that_have_no_sample(comm, settings, rows):
    check(settings.replace(training={"batch_size": rows, "epochs": 1}), comm)


@pytest.mark.parametrize("protocol", ["batch", "single-sample"])
def test_in_the_other_protocols(comm, settings, protocol):
    check(settings.replace(training={"protocol": protocol, "epochs": 2}), comm)


def test_with_numbers_to_be_fitted(comm, settings, made):
    layers = [{"units": 6, "activation": "sigmoid"}, {"units": 2}]
    path = str(made("numbers.h5", numbers, 97, 2))
    changed = settings.replace(
        data={"path": path, "validation_fraction": 0.2},
        model={"layers": layers, "loss": "squared"},
        schedule={"learning_rate": 0.01},
    )
    check(changed, comm)


def test_in_float32(comm, settings):
    check(settings.replace(model={"dtype": "float32"}, training={"epochs": 2}), comm, 1e-3)


def test_a_share_cut_into_pieces(comm, settings, monkeypatch):
    """Pieces differ in number over ranks: 32 rows in pieces of 8 are 4, or 1 and 2 on 3 ranks."""
    monkeypatch.setattr("disttrain.data.division.PIECE_ROWS", 10)
    check(settings.replace(communication={"sum": "allreduce"}), comm)


def test_a_share_cut_into_pieces_by_buckets(own, settings, monkeypatch):
    """A rank of one piece sends buckets early; one of two pieces must send the same ones."""
    monkeypatch.setattr("disttrain.data.division.PIECE_ROWS", 10)
    check(settings.replace(communication={"sum": "buckets", "bucket_mib": 1e-4}), own)


@pytest.mark.parametrize("batch_size", [32, 1])
def test_streamed_data_are_the_data_in_memory(comm, settings, batch_size):
    epochs = 4 if batch_size > 1 else 1
    base = settings.replace(training={"batch_size": batch_size, "epochs": epochs})
    base = base.replace(data={"block_rows": 16})
    shared = trained(base.replace(data={"memory": "shared"}), comm)
    streamed = trained(base.replace(data={"memory": "stream"}), comm)
    assert not shared[3].dataset.streamed
    assert streamed[3].dataset.streamed
    assert (shared[0] == streamed[0]).all()
    assert (shared[1] == streamed[1]).all()
    assert shared[3].digest() == streamed[3].digest()
    losses = [[r["validation_loss"] for r in history] for history in (shared[2], streamed[2])]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("kind", ["none", "mean-image", "standardize"])
@pytest.mark.parametrize("memory", ["shared", "stream"])
def test_statistics_have_the_bits_of_one_rank(comm, settings, kind, memory, monkeypatch):
    monkeypatch.setattr("disttrain.data.normalization.BLOCK_ROWS", 16)
    changed = settings.replace(data={"normalize": kind, "memory": memory})
    mine = disttrain.build(changed, comm=comm)
    alone = disttrain.build(changed, comm=Alone()).normalization
    again = measure(kind, mine.dataset.splits["train"].rows, comm)
    for found in (mine.normalization, again):
        assert found.mean.tobytes() == alone.mean.tobytes()
        assert found.deviation.tobytes() == alone.deviation.tobytes()
    assert len(set(comm.collect(again.mean.tobytes() + again.deviation.tobytes()))) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_score_has_the_bits_of_one_rank(comm, settings, dtype):
    changed = settings.replace(model={"dtype": dtype})
    run, alone = disttrain.build(changed, comm=comm), disttrain.build(changed, comm=Alone())
    for split in ("train", "validation", "test"):
        shares = run.score(run.dataset.splits[split], "scoring", everyone=True)
        root = run.score(run.dataset.splits[split], "scoring", everyone=False)
        wanted = alone.score(alone.dataset.splits[split], "scoring")
        assert shares == root == wanted
        assert len(set(comm.collect(shares))) == 1


def test_validation_on_all_ranks_or_one_decides_the_same(comm, settings):
    changed = settings.replace(training={"epochs": 3})
    histories = []
    for on in ("rank0", "all"):
        run = trained(changed.replace(validation={"on": on, "patience": 1}), comm)[3]
        keys = ("train_loss", "validation_loss", "validation_accuracy")
        histories.append([[row[key] for key in keys] for row in run.state.history])
    assert histories[0] == histories[1]
    assert len(set(map(str, comm.collect(histories)))) == 1


def test_predictions_are_those_of_one_rank(comm, settings):
    run, alone = disttrain.build(settings, comm=comm), disttrain.build(settings, comm=Alone())
    inputs = np.random.default_rng(3).normal(size=(3000, 5))
    wanted = alone.predict(inputs)
    assert run.predict(inputs).tobytes() == wanted.tobytes(), "the same on every rank"
    mine = run.predict(inputs, everywhere=False)
    assert (mine is None) == (comm.rank != 0)


@pytest.mark.parametrize("memory", ["shared", "stream"])
@pytest.mark.parametrize("batch_size", [1, 3, 32, 150, 1000])
def test_an_epoch_has_each_sample_once(comm, settings, batch_size, memory):
    changed = settings.replace(
        training={"batch_size": batch_size}, data={"memory": memory, "block_rows": 16}
    )
    run = disttrain.build(changed, comm=comm)
    raw, wanted = [], run.dataset.splits["train"].targets
    order = []
    for step in range(run.work.batches.steps_per_epoch):
        global_batch = run.work.batches.samples(step)
        order.append(global_batch)
        shares = comm.collect([part.targets.copy() for part in run.work.batches.parts_of(step)])
        targets = np.concatenate([piece for share in shares for piece in share])
        assert (targets == wanted[global_batch]).all()
        raw.append(sum(len(piece) for share in shares for piece in share))
    seen = np.concatenate(order)
    assert sorted(seen) == list(range(run.dataset.splits["train"].count))
    assert raw[:-1] == [run.work.batches.batch_size] * (len(raw) - 1)
    assert len(set(comm.collect(seen.tobytes()))) == 1
    later = np.concatenate([run.work.batches.samples(s + len(raw)) for s in range(len(raw))])
    assert sorted(later) == sorted(seen)
    assert (later != seen).any()


def test_a_callback_is_called_on_rank_0_alone(comm, settings):
    seen = []

    class Listener(Callback):
        def on_step(self, run, step):
            seen.append(step)

    run = disttrain.build(
        settings.replace(training={"epochs": 1}), comm=comm, callbacks=[Listener()]
    )
    disttrain.fit(run)
    assert seen == (list(range(5)) if comm.is_root else [])


def test_weights_of_another_rank_are_noticed(comm, settings):
    run = disttrain.build(settings, comm=comm)
    if comm.size == 1:
        pytest.skip("needs two ranks")
    if comm.rank == 1:
        run.network.values[0] += 1e-9
    with pytest.raises(disttrain.DisttrainError, match="rank 1 failed in comparing replicas"):
        run.compare_replicas()


def test_a_failure_in_a_step_is_raised_on_all_and_the_run_can_go_on(comm, settings):
    for way in ("window", "allreduce", "ring"):
        changed = settings.replace(communication={"sum": way}, training={"epochs": 2})
        run = disttrain.build(changed, comm=comm)
        forward, last = run.network.forward, comm.size - 1

        def broken(inputs, pass_, run=run, forward=forward, last=last):
            if comm.rank == last and run.state.step == 3:
                raise ValueError("injected")
            return forward(inputs, pass_)

        run.network.forward = broken
        with pytest.raises(disttrain.DisttrainError, match=f"rank {last} failed in forward") as e:
            disttrain.fit(run)
        assert "(step 3)" in str(e.value)
        run.network.forward = forward
        disttrain.fit(run)
        close(run.network.values, alone(changed, comm)[0])


def test_a_failure_in_a_step_by_buckets(own, settings):
    """The failed rank must send the very buckets that the others send."""
    changed = settings.replace(communication={"sum": "buckets", "bucket_mib": 1e-4})
    run = disttrain.build(changed, comm=own)
    forward, last = run.network.forward, own.size - 1

    def broken(inputs, pass_):
        if own.rank == last and run.state.step == 3:
            raise ValueError("injected")
        return forward(inputs, pass_)

    run.network.forward = broken
    with pytest.raises(disttrain.DisttrainError, match=f"rank {last} of group 0 failed in forward"):
        disttrain.fit(run)


def test_divergence_is_everyones(comm, settings):
    run = disttrain.build(settings, comm=comm)
    if comm.rank == comm.size - 1:
        real = run.loss.forward
        run.loss.forward = lambda *a: (np.nan, real(*a)[1])
    with pytest.raises(disttrain.DisttrainError, match="the loss is nan at step 0") as caught:
        disttrain.fit(run)
    assert caught.value.exit_code == 4


def test_one_rank_that_is_asked_to_stop_stops_all_after_the_same_step(comm, settings):
    run = disttrain.build(settings, comm=comm)
    forward, last = run.network.forward, comm.size - 1

    def asked(inputs, pass_):
        if comm.rank == last and run.state.step == 7:
            run.preemption.signal = "SIGUSR1"
        return forward(inputs, pass_)

    run.network.forward = asked
    with pytest.raises(disttrain.DisttrainError, match="after step 8") as caught:
        disttrain.fit(run)
    assert caught.value.exit_code == 75
    assert comm.collect(run.state.step) == [8] * comm.size


def test_dropout_leaves_out_the_same_units_on_any_number_of_ranks(settings, own):
    layers = [
        {"units": 40, "activation": "relu", "dropout": 0.5},
        {"units": 20, "activation": "tanh", "dropout": 0.2},
        {"units": 3},
    ]
    run = check(settings.replace(model={"layers": layers}), own)
    assert run.network.names == ["dense1", "dropout2", "dense3", "dropout4", "dense5"]


def test_batch_training_stops_at_the_same_step(settings, own):
    changed = settings.replace(
        model={"layers": [{"units": 3}]},
        training={"protocol": "batch", "epsilon": 0.02, "epochs": 400},
        optimizer={"momentum": 0.0},
    )
    run = check(changed, own)
    assert run.state.reason == "gradient"
    assert run.state.step < 400


def test_a_perceptron_on_any_number_of_ranks(own, perceptron):
    check(perceptron, own)
