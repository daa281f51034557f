from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from disttrain.advice.diagnosis import diagnose
from disttrain.advice.guessing import Guess, guess
from disttrain.advice.scale import odd_scales
from disttrain.config import Settings
from disttrain.training import Run, fit

Build = Callable[..., Run]


def history(
    train: Sequence[float],
    validation: Sequence[float | None] | None = None,
    accuracy: float | None = 0.99,
    rates: Sequence[float] | None = None,
) -> list[dict[str, Any]]:
    return [
        {
            "step": 10 * n,
            "epoch": float(n),
            "learning_rate": rates[n - 1] if rates else 0.1,
            "train_loss": float(loss),
            "train_accuracy": accuracy,
            "validation_loss": validation[n - 1] if validation else None,
            "validation_accuracy": None,
        }
        for n, loss in enumerate(train, 1)
    ]


def only(sentences: list[str]) -> str:
    assert len(sentences) == 1, sentences
    return sentences[0]


FALLING = [0.8, 0.5, 0.3, 0.2, 0.15, 0.12, 0.1, 0.09]


def test_too_few_intervals_say_nothing(settings: Callable[..., Settings]) -> None:
    assert diagnose([], settings()) == []
    assert diagnose(history([1, 0.5]), settings()) == []


def test_all_well(settings: Callable[..., Settings]) -> None:
    said = only(diagnose(history(FALLING, [x + 0.02 for x in FALLING]), settings()))
    assert said.startswith("it learns well: the training loss went from 0.8 to 0.09")
    assert "at its least 0.11 at epoch 8" in said
    alone = only(diagnose(history(FALLING), settings()))
    assert "nothing is set aside for validation" in alone
    assert "at its least" not in alone


def test_oscillation(settings: Callable[..., Settings]) -> None:
    said = only(diagnose(history([0.9, 0.5, 0.9, 0.4, 0.8, 0.5, 0.9]), settings()))
    assert "oscillates: it rose in 3 of the last 6 intervals" in said
    assert "too large: try schedule.learning_rate = 0.005," in said
    assert "check RUN.toml --rates" in said
    # Where the schedule has made it smaller, the run file's rate is still the one to change.
    fallen = history([0.9, 0.5, 0.9, 0.4, 0.8, 0.5, 0.9], rates=[0.1 * 0.5**n for n in range(7)])
    assert "try schedule.learning_rate = 0.005," in only(diagnose(fallen, settings()))
    # Small changes, and those of a loss that is as good as zero, are noise.
    assert "oscillates" not in only(diagnose(history([0.5, 0.51, 0.5, 0.51, 0.5]), settings()))
    tiny = history([0.9, 0.01, 0.005, *[0.004, 0.006] * 6])
    assert "learns well" in only(diagnose(tiny, settings()))
    # It is over since ten intervals.
    calm = [0.9, 0.5, 0.9, 0.4, *(0.3 * 0.8**n for n in range(10))]
    assert "learns well" in only(diagnose(history(calm), settings()))


def test_no_descent(settings: Callable[..., Settings]) -> None:
    said = only(diagnose(history([1.2, 1.25, 1.3, 1.32]), settings()))
    high = only(diagnose(history([109.0, 9.0, 0.5, 0.0]), settings()))
    assert "was 109 after the first interval, and 1.1 without any training; " in high
    assert "rises: 1.2 after the first interval, 1.32 after the last, and 1.1 without" in said
    assert "too large" in said


def test_a_slow_fall(settings: Callable[..., Settings]) -> None:
    slow = [1.2 - 0.005 * n for n in range(8)]
    said = only(diagnose(history(slow), settings()))
    assert "very slowly: from 1.2 to 1.165, 2.9 % in 8 intervals" in said
    assert "too small: try schedule.learning_rate = 0.5," in said
    # The same at a rate that was halved again and again is no other case ...
    rates = [0.1 * 0.5**n for n in range(8)]
    steps = np.cumsum([0.0, *(0.05 * r for r in rates[1:])])
    assert "very slowly" in only(diagnose(history(1.2 - steps, rates=rates), settings()))
    # ... but a loss that has arrived is.
    arrived = [1.0 + 0.05 * 0.5**n for n in range(8)]
    assert "very slowly" not in only(diagnose(history(arrived), settings()))
    # As is one that is low.
    low = [0.5 - 0.001 * n for n in range(8)]
    assert "very slowly" not in only(diagnose(history(low), settings()))


def test_a_small_rate_is_right_for_weights_that_are_to_stay(
    settings: Callable[..., Settings],
) -> None:
    losses = [0.8 * 0.95**n for n in range(12)]
    near = [x + 0.01 for x in losses]

    def said(*changes: str, validation: Sequence[float] = near) -> str:
        small = settings("schedule.learning_rate=0.002", *changes)
        rates = [0.002] * len(losses)
        return "; ".join(diagnose(history(losses, validation, 0.8, rates), small, rows=2000))

    timid = "the learning rate 0.002 is small for batches of 16"
    assert timid in said()
    # The averaged form's rate is ten times as large.
    assert "for batches of 16: try schedule.learning_rate = 0.035" in said()
    assert "for batches of 16: try schedule.learning_rate = 0.35" in said("optimizer.form=averaged")
    layers = 'model.layers=[{units=8, %s}, {units=3, kind="dense"}]'
    for changes in ('model.from="runs/base"', layers % "frozen=true", layers % "rate=0.1"):
        assert timid not in said(changes), changes
    # A validation loss that has stopped falling, or is well above the training loss, also says no.
    assert timid not in said(validation=[*near[:5], *[near[4]] * 7])
    assert timid not in said(validation=[2 * x for x in losses])
    assert said(validation=[3 * x for x in losses]).startswith("it overfits")


def test_overfitting(settings: Callable[..., Settings]) -> None:
    validation = [0.9, 0.6, 0.45, 0.4, 0.42, 0.45, 0.5, 0.55]
    said = only(diagnose(history(FALLING, validation), settings()))
    assert "overfits: since epoch 4 the validation loss rose from 0.4 to 0.5" in said
    assert "training loss fell from 0.2 to 0.09" in said
    for cure in ("weight_decay", "dropout", "patience"):
        assert cure in said
    # A run that has it, which stopped it here, is not told to take it.
    stops = settings("validation.patience=4")
    assert "dropout of the layers), more data" in only(
        diagnose(history(FALLING, validation), stops)
    )
    # One bad interval is none; nor is a rise while the training loss stays.
    near = [0.8, 0.6, 0.45, 0.35, 0.25, 0.2, 0.18, 0.17]
    assert "learns" in only(
        diagnose(history(near, [*validation[:4], 0.4, 0.4, 0.4, 0.9]), settings())
    )
    small = [0.01, 0.001, 0.001, 0.002, 0.003, 0.004, 0.005, 0.005]
    assert "learns" in only(diagnose(history(FALLING, small), settings()))
    still = history([0.8, 0.3, 0.25, *[0.24] * 5], validation)
    assert "learns" in only(diagnose(still, settings()))


def test_a_gap_between_training_and_validation_is_overfitting(
    settings: Callable[..., Settings],
) -> None:
    """Also where the validation loss has not risen yet."""
    wide = [0.9, 0.85, 0.82, 0.81, 0.8, 0.8, 0.8, 0.8]
    said = only(diagnose(history(FALLING, wide), settings()))
    assert "overfits: the validation loss is 0.8, but the training loss only 0.09" in said
    # As on the handwritten digits: 98.5 % right, and a tenth of the loss.
    low = [0.12, 0.08, 0.06, 0.055, 0.055, 0.055, 0.055, 0.055]
    digits = [0.227, 0.08, 0.04, 0.02, 0.01, 0.007, 0.006, 0.0053]
    said = only(diagnose(history(digits, low), settings()))
    assert "learns well" in said
    assert "10 times the training loss: some of what it learned holds for" in said


def test_few_updates_are_named_before_more_units(settings: Callable[..., Settings]) -> None:
    """Also where there are too few intervals for anything else."""
    once = settings("training.batch_size=128", "training.epochs=20")
    losses = [1.1 * 0.97**n for n in range(20)]
    steps = [h | {"step": n} for n, h in enumerate(history(losses, None, 0.7), 1)]
    said = only(diagnose(steps, once, rows=108))
    assert said == (
        "few updates: 108 rows a batch are 1 an epoch, 20 in all; training.batch_size = 16 gives "
        "140"
    )
    assert "few updates" not in only(diagnose(history(FALLING), once, rows=108))
    small = settings("training.batch_size=16", "training.epochs=2")
    two = only(diagnose(history([1.0, 0.9], None, 0.6), small, rows=160))
    assert two.endswith(
        ": 16 rows a batch are 10 an epoch, 20 in all; training.epochs = 20 gives 200"
    )
    batch = settings("training.protocol=batch", "training.epochs=50")
    # It ended after 20 epochs of 50.
    assert 'training.protocol = "mini-batch" with training.batch_size = 16 gives up to 350' in only(
        diagnose([h | {"step": n} for n, h in enumerate(history(losses, None), 1)], batch, rows=108)
    )


def test_guessing_is_not_praised(settings: Callable[..., Settings]) -> None:
    largest = Guess("no, the most frequent class", 1000, 0.66, 0.63)

    def said(accuracy: float, guessed: Guess = largest) -> str:
        judged = history(FALLING, [x + 0.02 for x in FALLING])
        for interval in judged:
            interval["validation_accuracy"] = accuracy
        return only(diagnose(judged, settings(), guessed))

    assert "no better than guessing: 62.0 % of the 1,000 validation samples are right, " in said(
        0.62
    )
    hardly = "it is hardly better than guessing: 64.0 % of the 1,000 validation samples are right, "
    assert said(0.64).startswith(f"{hardly}and 63.0 % would be by always saying no, the most freq")
    assert said(0.7).startswith("it learns: the training loss went from 0.8 to 0.09; ")
    assert said(0.7).endswith(
        "70.0 % of the 1,000 validation samples are right, and 63.0 % would be by always saying no,"
        " the most frequent class"
    )
    assert "learns well" in said(0.85)
    assert "class_weights" not in said(0.64)
    rare = Guess("no, the most frequent class", 1000, 0.33, 0.9)
    assert 'for the rare classes try training.class_weights = "balanced"' in said(0.905, rare)
    # So many more right than by guessing, that only few samples leave a doubt.
    some = Guess("maj, the most frequent class", 48, 0.65, 0.646)
    assert "it may be no better than guessing: 75.0 % of the 48 " in said(0.75, some)
    assert "of so few samples 14 points may be chance: `disttrain cross-validate RUN.toml`" in said(
        0.75, some
    )
    # Of ten samples 7 right are no proof that it is better than 5 of 10.
    few = Guess("no, the most frequent class", 10, 0.69, 0.5)
    assert "of so few samples 32 points may be chance" in said(0.7, few)
    assert "only 10 samples are set aside for validation, so this may be chance" in said(0.5, few)
    assert "set aside" not in said(0.64)
    assert said(0.9, few).startswith("it learns the training samples: the training loss went from")
    assert "10 validation samples are too few to tell how it does on others" in said(0.9, few)
    # All four samples of the exclusive or; they are those that it was trained on.
    assert "learns well" in only(diagnose(history(FALLING, None, 1.0), settings(), few))


def test_the_mean_of_the_targets_is_not_praised(settings: Callable[..., Settings]) -> None:
    mean = Guess("the mean of the training targets", 100, 10.0, None)
    numbers = history([30.0, 12.0, 10.1, 9.8], None, None)
    said = only(diagnose(numbers, settings("model.loss=squared"), mean))
    assert (
        "hardly better than guessing: the training loss is 9.8, and 10 by always saying the mean"
        in said
    )
    good = history([30.0, 12.0, 4.0, 2.0], None, None)
    assert "learns well" in only(diagnose(good, settings("model.loss=squared"), mean))
    few = Guess("the mean of the training targets", 12, 10.0, None)
    for loss, chance in ((9.8, True), (2000.0, False)):
        judged = history([30.0, 12.0, 10.1, 9.8], [20.0, 15.0, 11.0, loss], None)
        (said, *_) = diagnose(judged, settings("model.loss=squared"), few)
        assert ("this may be chance" in said) == chance, said


def test_a_rate_that_has_faded(settings: Callable[..., Settings]) -> None:
    losses = [0.5, 0.3, 0.2, *[0.15] * 9]
    rates = [0.1 * 0.1**n for n in range(12)]
    said = only(diagnose(history(losses, rates=rates), settings()))
    assert "has faded: since epoch 5 it is below 0.0001" in said
    assert "the last 8 of 12 intervals left the training loss at 0.15" in said
    # The end of half a cosine is no such thing, nor is a small rate that still does something.
    cosine = [0.05 * (1 + math.cos(math.pi * n / 60)) for n in range(60)]
    loss = [0.1 + 0.4 * 0.8**n for n in range(60)]
    assert "learns well" in only(diagnose(history(loss, rates=cosine), settings()))
    moving = [0.5, 0.3, 0.2, *(0.15 * 0.9**n for n in range(9))]
    assert "learns well" in only(diagnose(history(moving, rates=rates), settings()))


def test_underfitting(settings: Callable[..., Settings]) -> None:
    losses = [1.0, 0.8, 0.75, 0.74, 0.735, 0.734]
    said = only(diagnose(history(losses, [x + 0.01 for x in losses], 0.6), settings()))
    assert "underfits: only 60.0 % of training samples are right" in said
    assert "validation loss 0.744 is no worse than the training loss 0.734" in said
    assert "; try more units or layers, or less optimizer.weight_decay than 0.0001" in said
    falling = history([1.0, 0.9, 0.8, 0.7], None, 0.6)
    assert "more training.epochs first" in only(diagnose(falling, settings()))
    # Where validation is much worse, more units are no cure.
    far = history(losses, [2 * x for x in losses], 0.6)
    assert "underfits" not in only(diagnose(far, settings()))


def test_underfitting_of_numbers(settings: Callable[..., Settings]) -> None:
    squared = settings("model.loss=squared", "optimizer.weight_decay=0.0")
    losses = [10.0, 8.0, 7.6, 7.5, 7.5]
    said = only(diagnose(history(losses, None, None), squared))
    assert "underfits: the training loss is still 7.5; try more units or layers" in said
    assert "weight_decay" not in said
    assert "learns well" in only(diagnose(history([10.0, 3.0, 2.0], None, None), squared))


def test_a_perceptron_is_not_judged(settings: Callable[..., Settings]) -> None:
    assert diagnose(history([0.5, 0.2, 0.5, 0.2]), settings("model.loss=perceptron")) == []


STANDARD = ("data.normalize=standardize", "training.epochs=8")


def of_a_run(build: Build, *changes: str) -> str:
    run = build(*STANDARD, *changes)
    with np.errstate(all="ignore"):
        fit(run)
    return only(diagnose(run.state.history, run.settings))


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize(
    ("rate", "momentum", "word"),
    [
        (0.05, 0.0, "learns well"),
        (0.05, 0.9, "learns well"),
        (0.0005, 0.0, "too small"),
        (5.0, 0.9, "too large"),
    ],
)
def test_real_runs_at_a_hundred_times_the_rate_and_a_hundredth(
    build: Build, activation: str, rate: float, momentum: float, word: str
) -> None:
    layers = f'model.layers=[{{units=8, activation="{activation}"}}, {{units=3}}]'
    assert word in of_a_run(
        build, layers, f"schedule.learning_rate={rate}", f"optimizer.momentum={momentum}"
    )


def test_a_real_run_that_overfits(build: Build, write_data: Callable[..., str]) -> None:
    random = np.random.default_rng(0)
    x, noise = random.normal(size=(60, 10)), random.integers(0, 2, 60)
    path = write_data(
        "noise.h5", train=(x, noise), validation=(random.normal(size=(60, 10)), noise)
    )
    said = of_a_run(build, f"data.path={path}", "training.epochs=60", "optimizer.weight_decay=0.0",
                    'model.layers=[{units=40, activation="tanh"}, {units=2}]')  # fmt: skip
    assert "overfits" in said


def test_a_real_run_that_underfits(build: Build, write_data: Callable[..., str]) -> None:
    """A linear network and the exclusive or."""
    x = np.random.default_rng(0).normal(size=(200, 2))
    path = write_data("xor.h5", train=(x, (x[:, 0] * x[:, 1] > 0).astype("i8")))
    said = of_a_run(build, f"data.path={path}", "model.layers=[{units=2}]",
                    "data.validation_fraction=0.0", "training.epochs=20")  # fmt: skip
    assert "underfits" in said
    assert math.isfinite(float(said.split("only ")[1].split(" %")[0]))
    assert "is what it began with: try another initializer" in said


def test_a_real_run_that_guesses(build: Build, write_data: Callable[..., str]) -> None:
    """Inputs that say nothing about two classes of which one has 63 % of the samples."""
    random = np.random.default_rng(5)
    classes = (np.arange(400) % 100 >= 63).astype("i8")
    path = write_data(
        "noise.h5", train=(random.normal(size=(400, 2)), classes),
        validation=(random.normal(size=(400, 2)), classes),
    )  # fmt: skip
    run = build(*STANDARD, f"data.path={path}", "model.layers=[{units=2}]")
    fit(run)
    guessed = guess(run.dataset, "validation", "softmax")
    assert guessed.accuracy == 0.63
    assert guessed.loss == pytest.approx(-0.63 * math.log(253 / 402) - 0.37 * math.log(149 / 402))
    said = diagnose(run.state.history, run.settings, guessed)
    assert "no better than guessing" in said[0]
    assert "first try" not in said[0]
    assert not any("learns well" in line for line in said)


def test_regularization_that_lets_a_run_learn_nothing_is_named_first(
    settings: Callable[..., Settings],
) -> None:
    flat = [h | {"validation_accuracy": 0.33} for h in history([1.1] * 5, [1.1] * 5, 0.33)]
    third = Guess("class 0, the most frequent class", 1000, 1.1, 0.33)
    decay = settings("optimizer.weight_decay=0.5")
    of_decay = "less optimizer.weight_decay than 0.5"
    assert f"; first try {of_decay}; see whether" in only(diagnose(flat, decay, third))
    alone = only(diagnose(flat, decay))
    assert f"is what it began with: try {of_decay}, another initializer" in alone
    drop = settings("model.layers=[{units=8, dropout=0.95}, {units=3}]")
    assert "; first try less dropout than 0.95; see whether" in only(diagnose(flat, drop, third))


def test_guessing_numbers_is_their_mean(build: Build, write_data: Callable[..., str]) -> None:
    y = np.array([[1.0, 0.0], [3.0, 0.0], [5.0, 6.0]] * 4)
    path = write_data("numbers.h5", train=(np.eye(12), y), validation=(np.eye(12)[:2], y[:2]))
    run = build(f"data.path={path}", "model.layers=[{units=2}]", "model.loss=squared",
                "training.batch_size=4")  # fmt: skip
    # The means are 3 and 2: of (1, 0) it is 4 + 4 away, of (3, 0) 0 + 4.
    assert guess(run.dataset, "validation", "squared").loss == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("factor", "change", "word"),
    [
        (1.0, "data.normalize=none", None),
        (1e-4, "data.normalize=none", "half of the inputs have a standard deviation of"),
        (1e6, "data.normalize=none", "half of the inputs have a standard deviation of"),
        (1e6, "data.normalize=standardize", None),
        (np.array([1, 1, 1, 1e5]), "data.normalize=none", "standard deviations go from"),
        (0.0, "data.normalize=none", "no input varies in the first 60 training rows"),
    ],
)
def test_inputs_of_an_odd_scale(
    build: Build, write_data: Callable[..., str], factor: Any, change: str, word: str | None
) -> None:
    x = factor * np.random.default_rng(2).normal(size=(60, 4))
    path = write_data("odd.h5", train=(x, np.arange(60) % 3))
    said = odd_scales(build(f"data.path={path}", change, "data.validation_fraction=0.0"))
    assert [word in line for line in said] == ([] if word is None else [True])


@pytest.mark.parametrize(("factor", "odd"), [(1.0, False), (1e4, True), (1e-4, True)])
def test_targets_of_an_odd_scale(
    build: Build, write_data: Callable[..., str], factor: float, odd: bool
) -> None:
    random = np.random.default_rng(2)
    path = write_data(
        "odd.h5", train=(random.normal(size=(60, 4)), factor * random.normal(size=60))
    )
    said = odd_scales(build(f"data.path={path}", "model.layers=[{units=1}]", "model.loss=squared"))
    assert [line.startswith("half of the targets") for line in said] == [True] * odd
