from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from disttrain.advice.overfit import (
    SanityCheck,
    gradients,
    portion,
    refuse_failures,
    sanity_checks,
    without_regularization,
)
from disttrain.comm.alone import Alone
from disttrain.config import Settings
from disttrain.errors import UsageError
from disttrain.model import Softmax
from disttrain.training import Run, build_run
from tests.conftest import blobs

Build = Callable[..., Run]


def failed(run: Run) -> dict[str, SanityCheck]:
    return {check.name: check for check in sanity_checks(run) if not check.ok}


@pytest.mark.parametrize("loss", ["softmax", "squared"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_a_sound_network_passes_and_is_left_as_it_is(
    build: Build, activation: str, loss: str
) -> None:
    run = build(f'model.layers=[{{units=8, activation="{activation}"}}, {{units=3}}]',
                f"model.loss={loss}", "data.normalize=standardize")  # fmt: skip
    before, digest = run.host_values(), run.digest()
    assert [c.name for c in sanity_checks(run)] == ["initial loss", "units", "gradients", "overfit"]
    assert failed(run) == {}
    assert (run.host_values() == before).all()
    assert run.digest() == digest


def test_the_numbers_are_said(build: Build) -> None:
    first, _, gradient, learned = sanity_checks(build())
    assert "log(3) = 1.099" in first.says
    assert "largest relative error" in gradient.says
    # 10 of each, of those that are there: 3 of the last bias, 8 of the first.
    assert gradient.says.endswith("of 41 numbers")
    assert "20 samples to a mean loss of 0.00" in learned.says
    assert "at rate 0.05 after" in learned.says


def test_the_portion_is_stratified_and_the_same_each_time(build: Build) -> None:
    run = build()
    chosen = portion(run)
    assert len(chosen) == 20
    counts = np.bincount(run.dataset.splits["train"].targets[chosen])
    assert sorted(counts) == [6, 7, 7]
    assert (chosen == portion(build())).all()


def test_decay_and_dropout_are_off(settings: Callable[..., Settings]) -> None:
    """Half of eight units left out, and a decay that leaves nothing: neither is there."""
    layers = 'model.layers=[{units=8, activation="tanh", dropout=0.5}, {units=3}]'
    given = settings(layers, "optimizer.weight_decay=5.0", "model.input_dropout=0.2")
    calm = without_regularization(given)
    assert calm.optimizer.weight_decay == 0
    assert [layer.dropout for layer in calm.model.layers] == [0, 0]
    assert calm.model.input_dropout == 0
    assert calm.model.layers[0].activation == "tanh"
    run = build_run(given, Alone())
    run.restore(None)
    assert failed(run) == {}


def test_inputs_that_are_not_normalized(build: Build, write_data: Callable[..., str]) -> None:
    inputs, targets = blobs(60, 1)
    path = write_data("big.h5", train=(1000 * inputs, targets))
    relu = 'model.layers=[{units=8, activation="relu"}, {units=3}]'
    first = failed(build(relu, f"data.path={path}", "data.normalize=none"))["initial loss"]
    assert "normalize the inputs" in first.advice
    assert failed(build(relu, f"data.path={path}", "data.normalize=standardize")) == {}


def test_equal_units(build: Build) -> None:
    constant = 'initializer="constant", scale=0.1'
    run = build(
        f'model.layers=[{{units=6, activation="tanh", {constant}}}, {{units=3, {constant}}}]'
    )
    bad = failed(run)["units"]
    assert "dense1" in bad.says
    assert "act as one unit" in bad.advice


def test_what_can_not_be_learned(build: Build, write_data: Callable[..., str]) -> None:
    path = write_data("same.h5", train=(np.ones((40, 4)), np.arange(40) % 3))
    bad = failed(build(f"data.path={path}"))
    assert list(bad) == ["overfit"]
    # Always the parts of the classes, log(3) at best: it gets no further, and is given up.
    says = bad["overfit"].says
    assert says.endswith(" updates, not to 0.01")
    assert "mean loss of 1.1 at" in says
    assert 400 <= int(says.split(" after ")[1].split()[0]) < 1000
    assert "equal inputs with different targets" in bad["overfit"].advice


def test_targets_that_are_numbers_are_judged_by_their_variance(
    build: Build, write_data: Callable[..., str]
) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 4))
    path = write_data("numbers.h5", train=(x, 3 + 0.2 * x[:, :2]))
    run = build(f"data.path={path}", "model.loss=squared",
                'model.layers=[{units=8, activation="tanh"}, {units=2}]')  # fmt: skip
    checks = {check.name: check for check in sanity_checks(run)}
    assert "Σ y² = 18." in checks["initial loss"].says
    assert checks["initial loss"].ok
    # Always saying 3 would be a mean loss of about 0.08: that is not enough.
    assert checks["overfit"].ok
    assert float(checks["overfit"].says.split("loss of ")[1].split()[0]) < 1e-3


def test_another_rate_is_tried_and_said(build: Build) -> None:
    learned = sanity_checks(build("schedule.learning_rate=1e-4"))[3]
    assert learned.ok
    assert "not at the run's own 0.0001" in learned.says


def test_a_wrong_backward_is_found(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Softmax.forward

    def wrong(self, outputs, targets, ctx):
        loss, backward = right(self, outputs, targets, ctx)
        return loss, lambda: 2 * backward()

    monkeypatch.setattr(Softmax, "forward", wrong)
    run = build()
    bad = gradients(run, run)
    assert not bad.ok
    assert "backward gives" in bad.advice


def test_a_perceptron_has_no_gradient_to_check(
    build: Build, write_data: Callable[..., str]
) -> None:
    x = np.random.default_rng(0).normal(size=(40, 2))
    path = write_data("two.h5", train=(x, (x[:, 0] > 0).astype("i8")))
    run = build(f"data.path={path}", "model.loss=perceptron",
                'model.layers=[{units=1, activation="sign"}]')  # fmt: skip
    checks = sanity_checks(run)
    assert checks[2].ok
    assert "not a gradient" in checks[2].says


def test_failures_are_one_sentence() -> None:
    good, bad = SanityCheck("a", True, ""), SanityCheck("b", False, "")
    refuse_failures([good])
    with pytest.raises(UsageError, match="1 of 2 sanity checks did not pass: b;"):
        refuse_failures([good, bad])
