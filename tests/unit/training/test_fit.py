import math
from collections.abc import Callable

import numpy as np
import pytest

from disttrain.errors import DataError, Divergence, RankFailure, RunFileError
from disttrain.model import Context, Dense, Layer, Loss, Parameter, Shape
from disttrain.training import Callback, Run, fit, train_step

Build = Callable[..., Run]


@pytest.mark.parametrize("form", ["classical", "nesterov"])
@pytest.mark.parametrize("protocol", ["mini-batch", "single-sample", "batch"])
def test_a_network_learns_what_can_be_learned(build: Build, form: str, protocol: str) -> None:
    epochs = {"batch": 80}.get(protocol, 8)
    rate = {"single-sample": 0.01, "batch": 0.3}.get(protocol, 0.1)
    run = build(
        f"training.epochs={epochs}", f"schedule.learning_rate={rate}",
        f"optimizer.form={form}", f"training.protocol={protocol}", "data.normalize=standardize",
    )  # fmt: skip
    fit(run)
    last = run.state.history[-1]
    assert last["train_accuracy"] == 1.0
    assert last["validation_accuracy"] == 1.0
    assert run.score(run.dataset.splits["test"], "test").accuracy == 1.0
    assert len(run.state.history) == epochs


def test_the_history_says_what_happened(build: Build) -> None:
    run = build("training.epochs=3", "schedule.kind=exponential", "optimizer.weight_decay=0.01")
    assert run.work.batches.steps_per_epoch == 7
    fit(run)
    history = run.state.history
    assert [r["step"] for r in history] == [7, 14, 21]
    assert [r["epoch"] for r in history] == [1.0, 2.0, 3.0]
    want = [0.05 * math.exp(-0.1 * (r["step"] - 1) / 7) for r in history]
    assert [r["learning_rate"] for r in history] == pytest.approx(want, rel=1e-14)
    weights = run.network.tensors(run.network.values)
    squares = sum((t.astype("f8") ** 2).sum() for n, t in weights.items() if n.endswith("weight"))
    assert history[-1]["penalty"] == pytest.approx(0.005 * squares, rel=1e-5)
    score = run.score(run.dataset.splits["validation"], "validation")
    assert (history[-1]["validation_loss"], history[-1]["validation_accuracy"]) == score


def test_the_train_loss_is_the_mean_over_the_samples_of_the_interval(build: Build) -> None:
    run, other = build("training.epochs=1"), build("training.epochs=1")
    totals = [train_step(other, step, 0.05) for step in range(7)]
    fit(run)
    assert sum(t.samples for t in totals) == 99
    assert run.state.history[0]["train_loss"] == pytest.approx(sum(t.loss for t in totals) / 99)
    assert run.state.history[0]["train_accuracy"] == sum(t.correct for t in totals) / 99


def test_intervals_in_steps_and_a_last_one_that_is_shorter(build: Build) -> None:
    run = build("training.epochs=2", "validation.every_steps=4")
    fit(run)
    assert [r["step"] for r in run.state.history] == [4, 8, 12, 14]


def test_settings_and_seed_decide_every_bit(build: Build) -> None:
    def digest(*changes: str) -> str:
        run = build("training.epochs=2", *changes)
        fit(run)
        return run.digest()

    assert digest() == digest() == digest("validation.every_steps=3", "validation.on=all")
    assert len({digest(), digest("seed=2"), digest("data.block_rows=16")}) == 3


def test_streamed_data_train_to_the_same_bits(build: Build) -> None:
    found = []
    for memory in ("shared", "stream"):
        run = build("training.epochs=2", f"data.memory={memory}")
        fit(run)
        found.append((run.digest(), run.state.history[-1]["validation_loss"]))
    assert found[0] == found[1]


def test_early_stopping_stops_and_keeps_the_best(build: Build) -> None:
    run = build("training.epochs=200", "validation.patience=3", "schedule.learning_rate=1.0")
    fit(run)
    losses = [r["validation_loss"] for r in run.state.history]
    best = int(np.argmin(losses))
    assert run.state.stopped_early
    assert len(losses) == best + 4
    assert run.state.best_step == (best + 1) * 7
    run.use_best()
    score = run.score(run.dataset.splits["validation"], "validation")
    assert score.loss == losses[best]


def test_a_loss_that_is_not_finite_names_the_step_and_the_cure(build: Build) -> None:
    run = build("model.loss=squared", "schedule.learning_rate=1e6",
                'model.layers=[{units=3, activation="relu"}, {units=3}]')  # fmt: skip
    with (
        np.errstate(all="ignore"),
        pytest.raises(Divergence, match=r"at step \d+ .*smaller.*learning_rate.*1e\+06") as caught,
    ):
        fit(run)
    assert caught.value.exit_code == 4
    assert f"at step {run.state.step} " in str(caught.value)


def test_a_divergence_in_the_last_step_is_one_too(build: Build) -> None:
    """One step an epoch, one epoch: no later step sees what the update has done."""
    run = build("training.protocol=batch", "training.epochs=1", "schedule.learning_rate=1e38",
                "optimizer.weight_decay=100.0", "model.loss=squared")  # fmt: skip
    with np.errstate(all="ignore"), pytest.raises(Divergence):
        fit(run)


def regression(scale: float, write_data: Callable[..., str]) -> str:
    x = np.random.default_rng(0).normal(size=(80, 2))
    y = scale * (x @ [1.0, -2.0] + 0.5)
    return write_data("line.h5", train=(x[:60], y[:60]), validation=(x[60:], y[60:]))


@pytest.mark.parametrize(
    "changes",
    [
        # The loss is finite, the penalty of the weights is not.
        ["schedule.learning_rate=1e6", "training.protocol=batch", "training.epochs=1"],
        # The loss is finite in every step, and their sum is not.
        ["schedule.learning_rate=1e-30", "model.dtype=float64"],
        ["schedule.learning_rate=10.0"],
        ["schedule.learning_rate=10.0", "reproducibility.mode=exact", "model.dtype=float64"],
    ],
    ids=["penalty", "sum", "linear", "exact"],
)
def test_whatever_is_not_finite_is_a_divergence(
    build: Build, write_data: Callable[..., str], changes: list[str]
) -> None:
    scale = 1e153 if "float64" in changes[-1] else 1e17
    path = regression(scale, write_data)
    run = build(f"data.path={path}", "model.layers=[{units=1}]", "model.loss=squared",
                "training.epochs=300", *changes)  # fmt: skip
    with pytest.raises(Divergence, match=r"is (inf|nan) at step") as caught:
        fit(run)
    assert caught.value.exit_code == 4
    assert all(np.isfinite(v) for r in run.state.history for v in r.values() if v is not None)


@pytest.mark.parametrize(("kind", "told"), [("none", True), ("auto", False)])
def test_only_what_is_not_normalized_is_to_be(
    build: Build, write_data: Callable[..., str], kind: str, told: bool
) -> None:
    run = build(f"data.path={regression(1.0, write_data)}", "model.layers=[{units=1}]",
                "model.loss=squared", "schedule.learning_rate=1e30",
                f"data.normalize={kind}")  # fmt: skip
    with np.errstate(all="ignore"), pytest.raises(Divergence) as caught:
        fit(run)
    assert ("or normalize inputs and targets" in str(caught.value)) == told


@pytest.mark.parametrize(("kind", "told"), [("mean-image", True), ("standardize", False)])
def test_of_classes_the_inputs_alone_are_to_be_normalized(
    build: Build, write_data: Callable[..., str], kind: str, told: bool
) -> None:
    x = np.random.default_rng(0).normal(size=(80, 2))
    run = build(f"data.path={write_data('two.h5', train=(x, (x[:, 0] > 0).astype('i8')))}",
                "model.layers=[4, 2]", "schedule.learning_rate=1e30",
                f"data.normalize={kind}")  # fmt: skip
    with np.errstate(all="ignore"), pytest.raises(Divergence) as caught:
        fit(run)
    assert ("or normalize the inputs" in str(caught.value)) == told


def test_before_any_update_no_rate_is_blamed(build: Build, write_data: Callable[..., str]) -> None:
    path = regression(1e200, write_data)
    run = build(f"data.path={path}", "model.layers=[{units=1}]", "model.loss=squared")
    with np.errstate(all="ignore"), pytest.raises(Divergence) as caught:
        fit(run)
    assert "at step 0" in str(caught.value)
    assert "normalize inputs and targets" in str(caught.value)
    assert "smaller" not in str(caught.value)


@pytest.mark.parametrize("when", ["on_step", "on_interval"])
def test_an_error_in_a_callback_ends_the_run_and_names_the_phase(build: Build, when: str) -> None:
    class Bad(Callback):
        pass

    def fail(*args: object) -> None:
        raise ValueError("mine")

    setattr(Bad, when, fail)
    with pytest.raises(RankFailure, match=r"callback.*ValueError: mine") as caught:
        fit(build(callbacks=[Bad()]))
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["model.layers=[{units=4}]"], "last layer has 4 units.*3 classes: give it units = 3"),
    ],
)
def test_a_network_that_does_not_fit_is_a_run_file_error(
    build: Build, changes: list[str], words: str
) -> None:
    with pytest.raises(RunFileError, match=words):
        build(*changes)


def test_numbers_are_fitted_with_the_squared_loss_alone(
    build: Build, write_data: Callable[..., str]
) -> None:
    x = np.random.default_rng(0).normal(size=(80, 2))
    path = write_data("line.h5", train=(x, x @ [1.0, -2.0] + 0.5))
    layers = "model.layers=[{units=1}]"
    with pytest.raises(RunFileError, match=r"softmax.*needs classes"):
        build(f"data.path={path}", layers)
    run = build(f"data.path={path}", layers, "model.loss=squared", "training.epochs=30",
                "optimizer.weight_decay=0.0", "data.normalize=none")  # fmt: skip
    fit(run)
    weights = run.network.tensors(run.network.values)
    np.testing.assert_allclose(weights["dense1/weight"], [[1, -2]], atol=2e-3)
    np.testing.assert_allclose(weights["dense1/bias"], [0.5], atol=2e-3)
    assert run.state.history[-1]["train_accuracy"] is None
    assert run.state.history[-1]["validation_accuracy"] is None


def test_a_layer_and_a_loss_of_a_users_own_are_trained(build: Build) -> None:
    class Scale(Layer):
        kind = "scale"

        def parameters(self, shape: Shape) -> dict[str, Parameter]:
            return {"gain": Parameter(shape, initial=1.0)}

        def forward(self, x: np.ndarray, ctx: Context) -> tuple:
            gain = ctx.values["gain"]

            def backward(dy: np.ndarray) -> np.ndarray:
                ctx.gradients["gain"][:] = (dy * x).sum(axis=0)
                return dy * gain

            return x * gain, backward

    class Hinge(Loss):
        def forward(self, outputs: np.ndarray, targets: np.ndarray, ctx: Context) -> tuple:
            rows = np.arange(len(outputs))
            margins = outputs - outputs[rows, targets][:, None] + 1
            margins[rows, targets] = 0
            gradient = (margins > 0).astype(outputs.dtype)
            gradient[rows, targets] -= gradient.sum(axis=1)
            return np.maximum(margins, 0).sum(dtype="f8"), lambda: gradient

    run = build("training.epochs=15", layers=[Dense(8, "tanh"), Scale(), Dense(3)], loss=Hinge())
    fit(run)
    assert run.state.history[-1]["train_accuracy"] == 1.0
    assert not np.allclose(run.network.tensors(run.network.values)["scale2/gain"], 1)


def test_a_last_layer_without_units_is_refused(
    build: Build, write_data: Callable[..., str]
) -> None:
    class Same(Layer):
        def forward(self, x: np.ndarray, ctx: Context) -> tuple:
            return x, lambda dy: dy

    path = write_data(train=(np.zeros((9, 2, 3)), np.arange(9) % 3))
    with pytest.raises(RunFileError, match=r"gives 2 x 3 = 6 numbers a sample: .* Dense\(3\)"):
        build(f"data.path={path}", layers=[Same()])


def test_predictions_are_probabilities_of_raw_inputs(build: Build) -> None:
    run = build()
    fit(run)
    raw = np.array([[6, 0, 0, 1], [0, 6, 0, 1], [0, 0, 6, 1]])
    found = run.predict(raw)
    assert found is not None
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    assert found.argmax(axis=1).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(run.predict(raw.astype("f4")), found)


def test_rows_of_one_class_are_refused(build: Build, write_data) -> None:  # type: ignore[no-untyped-def]
    path = write_data(train=(np.random.default_rng(0).normal(size=(50, 4)), np.full(50, 2)))
    with pytest.raises(DataError, match="all training rows are of one class") as caught:
        build(f"data.path={path}")
    assert caught.value.exit_code == 3


def test_what_overflows_after_the_last_loss_is_divergence_and_is_not_saved(build: Build) -> None:
    class Overflow(Callback):
        def on_step(self, run: Run, step: int) -> None:
            if step == 6:
                run.optimizer.slots["velocity"][3] = np.inf

    run = build("training.epochs=1", "data.validation_fraction=0.0", callbacks=[Overflow()])
    with pytest.raises(Divergence, match=r"state are no longer finite numbers at step 7 \(epoch"):
        fit(run)
