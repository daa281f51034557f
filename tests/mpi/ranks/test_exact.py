"""Exact mode: the bits of one rank alone, on any number of ranks. Also run on 5, 7 and 8."""

import h5py
import numpy as np
import pytest

import disttrain
from disttrain.comm.alone import Alone
from disttrain.data.writer import write_data_file
from disttrain.model import Context, Dense, Layer, Parameter
from disttrain.training.exact.probe import Probe
from tests.cli.shell import blobs, numbers
from tests.mpi.ranks.alone import by_root

# 150 rows for training: batches of 32, the last of an epoch has 22.
RUN_FILE = """
seed = 11
[data]
path = "{path}"
normalize = "standardize"
validation_fraction = 0.0
[model]
layers = [
  {{ units = 19, activation = "tanh", dropout = 0.2 }},
  {{ units = 7, activation = "relu", bias = 0.01 }},
  {{ units = 3 }},
]
[training]
epochs = 3
batch_size = 32
[validation]
every_steps = 4
[schedule]
kind = "cosine"
[reproducibility]
mode = "exact"
leaves = 8
"""
ARITHMETICS = ("leaves", "shared")
KEYS = ("step", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "penalty")


@pytest.fixture(scope="module")
def settings(made):
    return disttrain.parse(RUN_FILE.format(path=made("exact.h5", blobs, 200, validation=2500)))


def trained(settings, comm, **more):
    """Train; return what must be equal, and the run."""
    run = disttrain.build(settings, comm=comm, **more)
    disttrain.fit(run)
    history = [[row[key] for key in KEYS] for row in run.state.history]
    return (run.digest(), history, run.state.best_step), run


def alone(settings, comm, **more):
    """Return what one rank alone gets."""
    return by_root(comm, lambda: trained(settings, Alone(), **more)[0])


def check(settings, comm, ways=ARITHMETICS, **more):
    """Compare a training on these ranks with one alone, in each arithmetic."""
    runs = []
    for way in ways:
        exact = settings.replace(reproducibility={"arithmetic": way})
        mine, run = trained(exact, comm, **more)
        assert mine == alone(exact, comm, **more)
        assert len(set(map(str, comm.collect(mine)))) == 1
        assert run.arithmetic.kind == way
        run.close()
        runs.append(run)
    return runs


def test_uneven_batches_dropout_and_a_schedule(comm, settings):
    leaves, shared = check(settings, comm)
    assert leaves.state.step == shared.state.step == 15
    if comm.size > 1:
        assert leaves.work.reducer.way == "tree+window"
        assert shared.work.reducer.way == "products"
    np.testing.assert_allclose(leaves.network.values, shared.network.values, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("way", ARITHMETICS)
def test_it_is_the_training_of_fast_mode_up_to_rounding(comm, settings, way):
    double = settings.replace(model={"dtype": "float64"}, reproducibility={"arithmetic": way})
    _, exact = trained(double, comm)
    _, fast = trained(double.replace(reproducibility={"mode": "fast"}), Alone())
    np.testing.assert_allclose(exact.network.values, fast.network.values, rtol=1e-9, atol=1e-12)
    for row, wanted in zip(exact.state.history, fast.state.history, strict=True):
        assert row["train_loss"] == pytest.approx(wanted["train_loss"], rel=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"batch_size": 3, "epochs": 1}},
        {"training": {"batch_size": 149, "epochs": 2}},
        {"training": {"protocol": "batch", "epochs": 4}},
        {"training": {"protocol": "single-sample", "epochs": 1}},
        {"model": {"dtype": "float64"}},
        {"reproducibility": {"leaves": 13}},
        {"model": {"loss": "squared"}, "schedule": {"kind": "step", "learning_rate": 0.01}},
        {"optimizer": {"form": "nesterov", "weight_decay": 1e-3}},
        {"optimizer": {"form": "averaged", "momentum": 0.5}},
        {"optimizer": {"clip_norm": 0.05}},
        {"optimizer": {"kind": "adam"}, "schedule": {"learning_rate": 0.01}},
        {"optimizer": {"kind": "adamw", "weight_decay": 0.1}, "schedule": {"learning_rate": 0.01}},
        {"data": {"memory": "stream", "block_rows": 16}},
        {"validation": {"on": "all", "patience": 2}},
        {"model": {"input_dropout": 0.3}, "schedule": {"kind": "inverse-time"}},
        {"schedule": {"kind": "exponential", "warmup_epochs": 0.5}},
    ],
    ids=str,
)
def test_whatever_is_trained(comm, settings, changes):
    check(settings.replace(**changes), comm)


def test_numbers_to_be_fitted(comm, settings, made):
    path = str(made("numbers.h5", numbers, 97, 2))
    changed = settings.replace(
        data={"path": path, "validation_fraction": 0.2},
        model={"layers": [{"units": 6, "activation": "sigmoid"}, {"units": 2}], "loss": "squared"},
        schedule={"learning_rate": 0.01},
    )
    check(changed, comm)


@pytest.mark.parametrize("batch_size", [1, 16])
def test_a_perceptron(comm, perceptron, batch_size):
    training = {"protocol": "mini-batch", "batch_size": batch_size}
    check(perceptron.replace(training=training, reproducibility={"mode": "exact"}), comm)


def test_a_flat_gradient_stops_all_at_the_same_step(comm, settings):
    changed = settings.replace(
        model={"layers": [{"units": 3}]},
        training={"protocol": "batch", "epsilon": 0.02, "epochs": 400},
        optimizer={"momentum": 0.0},
        schedule={"kind": "constant"},
        validation={"every_steps": 50},
    )
    for run in check(changed, comm):
        assert run.state.reason == "gradient"


def test_streamed_data_and_data_in_memory_give_one_digest(comm, settings):
    found = set()
    for memory in ("shared", "stream"):
        changed = settings.replace(data={"memory": memory, "block_rows": 16})
        found.add(trained(changed, comm)[0][0])
    assert len(found) == 1


def test_messages_instead_of_shared_memory(comm, settings, monkeypatch):
    """As over several hosts, or where /dev/shm is too small."""
    monkeypatch.setattr("disttrain.comm.memory.SharedMemory.room", 0.0)
    leaves, _ = check(settings, comm)
    assert leaves.work.reducer.way == ("tree+alltoall" if comm.size > 1 else "none")


def test_leaves_that_are_too_large_for_one_pass(comm, settings, monkeypatch):
    monkeypatch.setattr("disttrain.data.division.PIECE_ROWS", 3)
    check(settings.replace(training={"batch_size": 100}), comm, ["leaves"])


@pytest.mark.parametrize("forbidden", [(0, 1, 2), (1,)])
def test_what_the_probe_forbids_is_not_divided(comm, settings, monkeypatch, forbidden):
    """The rest is divided as this processor allows: a grid that is wrong for it has other bits."""
    real = Probe.divisible

    def fewer(*arguments):
        plan = real(*arguments)
        grids = tuple(0 if n in forbidden else grid for n, grid in enumerate(plan.grids))
        return plan._replace(alone=True, grids=grids)

    monkeypatch.setattr(Probe, "divisible", fewer)
    (run,) = check(settings, comm, ["shared"])
    assert run.arithmetic.plan.alone
    assert all(run.arithmetic.plan.grids[n] == 0 for n in forbidden)


class Gain(Layer):
    """A layer of a user's own, about which nothing is known."""

    kind = "gain"

    def parameters(self, shape):
        return {"gain": Parameter(shape, initial=1.0)}

    def forward(self, x, ctx: Context):
        gain = ctx.values["gain"]

        def backward(dy):
            ctx.gradients["gain"][:] = (dy * x).sum(axis=0)
            return dy * gain

        return x * gain, backward


def test_a_layer_of_ones_own_is_computed_leaf_by_leaf(comm, settings):
    def layers():
        return [Dense(9, "relu"), Gain(), Dense(3)]

    auto, run = trained(settings, comm, layers=layers())
    assert auto == alone(settings, comm, layers=layers())
    assert run.arithmetic.kind == "leaves"
    asked = settings.replace(reproducibility={"arithmetic": "shared"})
    with pytest.raises(disttrain.DisttrainError, match=r"rowwise = True.*use \"leaves\"") as caught:
        disttrain.build(asked, comm=comm, layers=layers())
    assert caught.value.exit_code == 2


class Rows(Layer):
    """The mean of each row of an image: it needs samples in their shape."""

    kind = "rows"

    def outputs(self, shape):
        return shape[:-1]

    def parameters(self, shape):
        return {"gain": Parameter(shape, initial=1.0)}

    def forward(self, x, ctx: Context):
        gain = ctx.values["gain"]

        def backward(dy):
            spread = np.repeat(dy[..., None], x.shape[-1], axis=-1) / x.shape[-1]
            ctx.gradients["gain"][:] = (spread * x).sum(axis=0)
            return spread * gain

        return (x * gain).mean(axis=-1), backward


def images(path, rows=150):
    """Write a data file of images of 4 x 6 pixels, and one with the same numbers stored flat."""
    random = np.random.default_rng(8)
    labels = np.arange(rows) % 3
    pixels = random.integers(0, 100, (rows, 4, 6)).astype("u1")
    pixels[np.arange(rows), labels] += 120
    for file, inputs in ((path, pixels), (path.with_suffix(".flat"), pixels.reshape(rows, 24))):
        with h5py.File(file, "w") as opened:
            opened["train/inputs"], opened["train/targets"] = inputs, labels


def test_images_and_the_same_numbers_stored_flat_give_one_digest(comm, settings, made):
    path = made("images.h5", images)
    found = []
    for file in (path, path.with_suffix(".flat")):
        changed = settings.replace(data={"path": str(file), "validation_fraction": 0.2},
                                   model={"input_dropout": 0.1})  # fmt: skip
        runs = check(changed, comm)
        found.append([run.digest() for run in runs])
    assert runs[0].network.shapes[0] == (24,)
    assert found[0] == found[1]


def test_a_layer_that_needs_the_shape_of_a_sample(comm, settings, made):
    changed = settings.replace(data={"path": str(made("images.h5", images))})
    (run,) = check(changed, comm, ["leaves"], layers=[Rows(), Dense(9, "relu"), Dense(3)])
    assert run.network.shapes == [(4, 6), (4,), (9,), (3,)]


class Decaying(Dense):
    """A dense layer whose bias decays too: its gradient lies between those of weights."""

    rowwise = True

    def parameters(self, shape):
        return super().parameters(shape) | {"bias": Parameter((self.units,), 0.0)}


def test_a_bias_that_decays_is_computed_leaf_by_leaf(comm, settings, monkeypatch):
    monkeypatch.setattr("disttrain.comm.memory.SharedMemory.room", 0.0)

    def layers():
        return [Decaying(9, "relu"), Decaying(3)]

    mine, run = trained(settings, comm, layers=layers())
    assert mine == alone(settings, comm, layers=layers())
    assert run.arithmetic.kind == "leaves"


def test_a_gradient_in_another_memory_order(comm, settings):
    class Turned(disttrain.Softmax):
        def forward(self, outputs, targets, ctx):
            loss, backward = super().forward(outputs, targets, ctx)
            return loss, lambda: np.asfortranarray(backward())

    check(settings.replace(training={"batch_size": 64}), comm, ["shared"], loss=Turned())


def test_a_loss_that_wants_other_outputs_than_targets(comm, settings, made):
    class Likelihood(disttrain.Loss):
        """`L = o₂ + (o₁ - y)² exp(-2 o₂) / 2`: a mean and the logarithm of a deviation."""

        kind = "likelihood"

        def forward(self, outputs, targets, ctx):
            mean, spread = outputs[:, 0], outputs[:, 1]
            off, weight = mean - targets[:, 0], np.exp(-2 * spread)

            def backward():
                return np.stack([off * weight, 1 - off * off * weight], axis=1)

            return (spread + off * off * weight / 2).astype("f8"), backward

    path = str(made("one.h5", numbers, 97, 1))
    changed = settings.replace(
        data={"path": path, "validation_fraction": 0.2},
        model={"layers": [{"units": 6, "activation": "tanh"}, {"units": 2}], "loss": "squared"},
        schedule={"learning_rate": 0.001},
    )
    check(changed, comm, loss=Likelihood())


# Zeros hide how rows are computed: these begin with none, or nearly none, of the numbers that come.
@pytest.mark.parametrize(
    ("layers", "batch"),
    [
        ([{"units": 24, "initializer": "small-random", "scale": 1e-30}], 32),
        ([{"units": 2, "activation": "relu"}], 26),
        ([{"units": 13, "activation": "relu"}, {"units": 24, "activation": "relu"}], 4),
    ],
)
def test_what_is_zero_at_the_beginning(comm, settings, layers, batch):
    changed = settings.replace(
        model={"layers": [*layers, {"units": 3}]}, training={"batch_size": batch}
    )
    check(changed, comm, ["shared"])


@pytest.mark.parametrize("seed", range(6))
def test_networks_of_any_shape(comm, settings, seed):
    random = np.random.default_rng(seed)
    hidden = [
        {"units": int(random.integers(1, 70)), "activation": str(random.choice(["relu", "tanh"]))}
        for _ in range(random.integers(1, 4))
    ]
    changed = settings.replace(
        model={"layers": [*hidden, {"units": 3}]},
        training={"batch_size": int(random.integers(2, 100)), "epochs": 2},
        reproducibility={"leaves": int(random.integers(8, 20))},
    )  # fmt: skip
    check(changed, comm)


def test_more_ranks_than_leaves_are_refused(comm, settings):
    leaves = max(comm.size - 1, 1)
    few = settings.replace(reproducibility={"leaves": leaves, "arithmetic": "leaves"})
    if comm.size == 1:
        disttrain.build(few, comm=comm)
        return
    with pytest.raises(disttrain.DisttrainError, match=f"there are {comm.size} ranks") as caught:
        disttrain.build(few, comm=comm)
    assert caught.value.exit_code == 2


def test_a_rank_that_computes_other_bits_is_refused_before_the_first_step(
    comm, settings, monkeypatch
):
    if comm.size == 1:
        pytest.skip("needs two ranks")
    real = Probe.digest
    if comm.rank == comm.size - 1:
        monkeypatch.setattr(Probe, "digest", lambda *a: real(*a)[::-1])
    with pytest.raises(disttrain.DisttrainError, match=r"other bits than rank 0.*CORETYPE") as e:
        disttrain.build(settings, comm=comm)
    assert e.value.exit_code == 2


@pytest.mark.parametrize("way", ARITHMETICS)
def test_a_failure_in_a_step_is_everyones_and_the_run_goes_on_to_the_same_bits(comm, settings, way):
    exact = settings.replace(reproducibility={"arithmetic": way})
    run = disttrain.build(exact, comm=comm)
    forward, last = run.network.forward, comm.size - 1

    def broken(inputs, pass_):
        if comm.rank == last and run.state.step == 6:
            raise ValueError("injected")
        return forward(inputs, pass_)

    run.network.forward = broken
    with pytest.raises(disttrain.DisttrainError, match=f"rank {last} failed in forward"):
        disttrain.fit(run)
    run.network.forward = forward
    disttrain.fit(run)
    assert run.digest() == alone(exact, comm)[0]


@pytest.mark.parametrize("way", ARITHMETICS)
def test_divergence_is_everyones(comm, settings, way):
    exact = settings.replace(
        reproducibility={"arithmetic": way},
        schedule={"learning_rate": 1e30, "kind": "constant"},
    )
    with pytest.raises(disttrain.DisttrainError, match=r"loss is (nan|inf)") as caught:
        disttrain.fit(disttrain.build(exact, comm=comm))
    assert caught.value.exit_code == 4


def test_a_loss_that_returns_only_a_sum_is_for_leaves(comm, settings):
    class Sum(disttrain.Softmax):
        def forward(self, outputs, targets, ctx):
            loss, backward = super().forward(outputs, targets, ctx)
            return loss.sum(), backward

    check(settings, comm, ["leaves"], loss=Sum())
    asked = settings.replace(reproducibility={"arithmetic": "shared"})
    with pytest.raises(disttrain.DisttrainError, match="one number for each sample"):
        disttrain.build(asked, comm=comm, loss=Sum())
    auto = disttrain.build(settings, comm=comm, loss=Sum())
    assert auto.arithmetic.kind == "leaves"


def auto(settings, **more):
    """Return the settings with the mode that nobody has stated, but for `more`."""
    return settings.replace(reproducibility={"mode": "auto", **more})


def test_auto_is_exact_on_any_number_of_ranks_also_more_than_leaves(comm, settings):
    few = auto(settings, leaves=2)
    mine, run = trained(few, comm)
    assert (run.settings.reproducibility.mode, run.arithmetic.kind) == ("exact", "shared")
    assert mine == alone(few, comm)


def test_auto_is_fast_where_exact_would_cost(comm, settings, monkeypatch):
    assert disttrain.build(auto(settings, arithmetic="leaves"), comm=comm).arithmetic is None
    # 64 rows of 5 + 3 numbers are more than four times the weights, and here more than a little.
    monkeypatch.setattr("disttrain.training.exact.arithmetic.LITTLE", 500)
    wide = auto(settings).replace(model={"layers": [{"units": 3}]}, training={"batch_size": 64})
    run = disttrain.build(wide, comm=comm)
    assert (run.arithmetic, run.settings.reproducibility.mode) == (None, "fast")


def test_auto_is_fast_where_ranks_compute_other_bits(comm, settings, monkeypatch):
    if comm.rank == comm.size - 1 and comm.size > 1:
        monkeypatch.setattr(Probe, "digest", lambda self, passes: "other")
    run = disttrain.build(auto(settings), comm=comm)
    assert (run.arithmetic is None) == (comm.size > 1)


@pytest.mark.parametrize(
    ("inputs", "units", "rows", "dtype"),
    [(3, (2, 2, 1), 33, "float32"), (5, (5, 5), 7, "float64"), (2, (13, 1), 21, "float32"),
     (1, (8, 1), 7, "float64")],
)  # fmt: skip
def test_products_so_small_that_few_numbers_show_their_rounding(
    comm, made, inputs, units, rows, dtype
):
    draw = np.random.default_rng(3)
    splits = {
        "train": (draw.standard_normal((100, inputs)), draw.standard_normal((100, units[-1])))
    }
    path = made(f"small-{inputs}-{units[-1]}.h5", write_data_file, splits)
    small = {
        "data": {"path": str(path), "validation_fraction": 0.0},
        "model": {
            "layers": [{"units": n, "activation": "tanh"} for n in units[:-1]]
            + [{"units": units[-1]}],
            "loss": "squared", "dtype": dtype,
        },
        "training": {"batch_size": rows, "epochs": 8},
        "reproducibility": {"mode": "exact"},
    }  # fmt: skip
    check(disttrain.Settings.model_validate(small), comm, ("shared",))
