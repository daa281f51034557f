"""Sanity checks before a long training: first loss, gradients, and overfitting 20 samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from disttrain.advice.activity import equal_units, why_equal
from disttrain.advice.gradient_check import gradient_check
from disttrain.config import Settings
from disttrain.data.split import set_aside
from disttrain.errors import UsageError
from disttrain.model import BUILT_IN, Dropout, Pass, Perceptron, Softmax, Squared
from disttrain.training.evaluation import samples_of
from disttrain.training.optimizer import Optimizer
from disttrain.training.predictor import Predictor, build_predictor
from disttrain.training.run import Run

__all__ = ["SanityCheck", "refuse_failures", "sanity_checks"]

# Samples to be overfitted, updates that this may take, and the mean loss to be reached.
PORTION, STEPS, ENOUGH = 20, 2000, 0.01
# A rate is given up where so many updates have not lowered the least loss by 5 %.
STALL = 400
# The rates that are tried, as multiples of the run's own.
FACTORS = (1.0, 0.1, 0.01, 10.0)
# Rows, and numbers of each parameter, in the gradient check, and its tolerance.
ROWS, SAMPLE, TOLERANCE = 8, 10, 1e-5


@dataclass(frozen=True)
class SanityCheck:
    """One check: whether it passed, its numbers in words, and what to do where it did not."""

    name: str
    ok: bool
    says: str
    advice: str = ""


def sanity_checks(run: Run) -> list[SanityCheck]:
    """Return the checks of the initial network of `run`, built from its settings. Collective.

    Rank 0 computes them and sends them to all; the run and its weights do not change.

    1. initial loss: over a block of training rows, it is near that of constant outputs: `log K` for
       the softmax over K classes (from half of it to 3 above: small networks vary much), `Σ y²` for
       the squared loss (from a quarter of it to 3 above for each output).
    2. distinct units: no hidden layer begins with units that stay equal.
    3. gradients: a sample of weights and inputs against central differences in float64.
    4. overfit: 20 training samples, of each class its part, with neither weight decay nor dropout,
       in batches of all of them, at a constant rate: their mean loss must fall to 0.01 (where
       targets are numbers: to 0.01 of their variance) within 2000 updates. The run's own
       `learning_rate` is tried first, then a tenth, a hundredth and ten times of it; one that gets
       no further for 400 updates is given up.
    """
    found: list[SanityCheck] = []
    with run.comm.together("sanity checks"):
        if run.comm.is_root:
            calm = calmed(run)
            found = [
                initial_loss(run, calm),
                distinct_units(run),
                gradients(run, calm),
                overfit(run),
            ]
    return run.comm.share(found)


def calmed(run: Run) -> Predictor:
    """Return the network of the run with its initial weights and without dropout."""
    settings = without_regularization(run.settings)
    device, shape = run.network.device, run.network.shapes[0]
    loss = Squared() if run.feed.scale else run.loss
    # Layers of a user's own stand in no settings.
    own = any(type(layer) not in BUILT_IN.values() for layer in run.network.layers)
    layers = [layer for layer in run.network.layers if own and not isinstance(layer, Dropout)]
    return build_predictor(settings, run.comm, run.normalization, shape, device, layers, loss)


def without_regularization(settings: Settings) -> Settings:
    """Return the settings with weight decay and dropout 0."""
    tables = [layer.model_dump(exclude_none=True) for layer in settings.model.layers]
    layers = [
        table | {key: 0.0 for key in ("dropout",) if key in table}
        for table in tables
        if table["kind"] != "dropout"
    ]
    return settings.replace(
        optimizer={"weight_decay": 0.0}, model={"layers": layers, "input_dropout": 0.0}
    )


def initial_loss(run: Run, calm: Predictor) -> SanityCheck:
    """Compare the loss before any update with that of outputs that know nothing."""
    split = run.dataset.splits["train"]
    inputs, targets = run.feed(split, samples_of(0, split))
    outputs = run.network.predict(inputs)
    loss = float(np.sum(calm.loss.forward(outputs, targets, calm.loss_context)[0])) / len(inputs)
    if isinstance(run.loss, Softmax):
        want = math.log(run.network.outputs)
        low, high, why = 0.5 * want, want + 3.0, f"log({run.network.outputs}) = {want:.4g}"
    elif isinstance(calm.loss, Squared):
        numbers = np.asarray(run.network.device.get(targets), "f8")
        want = 1.0 if targets.dtype.kind in "iu" else float(np.square(numbers).sum() / len(numbers))
        low, high, why = 0.25 * want, want + 3.0 * run.network.outputs, f"Σ y² = {want:.4g}"
    else:
        return SanityCheck(
            "initial loss", True, f"{loss:.4g}; no expected value is known for this loss"
        )
    return SanityCheck(
        "initial loss", low <= loss <= high,
        f"{loss:.4g}, expected about {why}, between {low:.3g} and {high:.3g}",
        "normalize the inputs (data.normalize), or begin with smaller weights (initializer, scale)"
        if not loss <= high else "check whether the targets are among the inputs",
    )  # fmt: skip


def distinct_units(run: Run) -> SanityCheck:
    """See whether the units of each hidden layer can become different."""
    names = equal_units(run.network)
    says = (
        f"all units of {', '.join(names)} begin equal"
        if names
        else "no hidden layer begins with equal units"
    )
    return SanityCheck("units", not names, says, why_equal(names) if names else "")


def gradients(run: Run, calm: Predictor) -> SanityCheck:
    """Check the gradients of a sample of weights and inputs, in float64."""
    if isinstance(run.loss, Perceptron):
        return SanityCheck(
            "gradients", True, "not checked: the perceptron's rule is not a gradient"
        )
    inputs, targets = run.feed(run.dataset.splits["train"], portion(run)[:ROWS])
    get = run.network.device.get
    check = gradient_check(
        calm.network, get(inputs), get(targets), calm.loss, sample=SAMPLE, seed=run.settings.seed
    )
    return SanityCheck(
        "gradients", check.error <= TOLERANCE,
        f"largest relative error {check.error:.1e}, at {check.where}, of {check.checked} numbers",
        f"backward gives {check.analytic:.6g}, central differences give {check.numeric:.6g}: the "
        f"backward function of {check.parameter.partition('/')[0]} or of what follows is wrong",
    )  # fmt: skip


def portion(run: Run) -> np.ndarray:
    """Return the training samples to be overfitted, in proportion to the classes."""
    targets = run.dataset.splits["train"].targets
    if len(targets) <= PORTION:
        return np.arange(len(targets))
    return set_aside(targets, PORTION / len(targets), run.settings.seed)[1]


def overfit(run: Run) -> SanityCheck:
    """Overfit a small portion, at the first rate that does it."""
    inputs, targets = run.feed(run.dataset.splits["train"], portion(run))
    enough = ENOUGH
    if targets.dtype.kind == "f":
        numbers = np.asarray(run.network.device.get(targets), "f8").reshape(len(targets), -1)
        enough *= float(numbers.var(axis=0).sum()) or 1.0
    own, tried = run.settings.schedule.learning_rate, []
    for factor in FACTORS:
        loss, steps = learned(run, inputs, targets, own * factor, enough)
        tried.append((loss if math.isfinite(loss) else math.inf, own * factor, steps))
        if tried[-1][0] <= enough:
            break
    least, rate, steps = min(tried)
    does = f"{len(inputs)} samples to a mean loss of {least:.3g} at rate {rate:.3g}"
    does += f" after {steps} updates"
    own_fails = f", not at the run's own {own:g}" if len(tried) > 1 else ""
    if least <= enough:
        return SanityCheck("overfit", True, does + own_fails)
    return SanityCheck(
        "overfit", False, f"{does}, not to {enough:.3g}",
        "a network that can't learn so few has too few units or layers, a wrong initializer or "
        "activation, or equal inputs with different targets",
    )  # fmt: skip


def learned(run: Run, inputs: Any, targets: Any, rate: float, enough: float) -> tuple[float, int]:
    """Train a fresh network on these rows alone; return its last mean loss and the updates done."""
    model, device = calmed(run), run.network.device
    network, count = model.network, len(inputs)
    gradients = device.put(np.zeros(network.layout.length, network.dtype))
    pass_ = Pass(gradients=network.layout.views(gradients))
    optimizer = Optimizer(network, model.settings.optimizer)
    loss, least, since = math.inf, math.inf, 0
    with np.errstate(all="ignore"):
        for step in range(STEPS + 1):
            run.comm.phase("sanity checks")
            outputs, backward = network.forward(inputs, pass_)
            total, loss_gradient = model.loss.forward(outputs, targets, model.loss_context)
            loss = float(np.sum(total)) / count
            if loss <= enough or not math.isfinite(loss):
                return loss, step
            if loss < 0.95 * least:
                least, since = loss, step
            elif step - since >= STALL:
                return loss, step
            backward(loss_gradient())
            optimizer.step(gradients, rate, count, step + 1)
    return loss, STEPS


def refuse_failures(checks: list[SanityCheck]) -> None:
    """Raise UsageError, one sentence, where checks did not pass."""
    failed = [check.name for check in checks if not check.ok]
    if failed:
        raise UsageError(
            f"{len(failed)} of {len(checks)} sanity checks did not pass: {', '.join(failed)}; "
            "mend that before a long training"
        )
