"""Class weights, sample weights and label smoothing: PyTorch's numbers, on any number of parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from disttrain.arrays import Cpu, Workspace
from disttrain.comm.alone import Alone
from disttrain.config import parse
from disttrain.errors import RunFileError
from disttrain.model import Context
from disttrain.model.losses import built_in
from disttrain.runs import train
from disttrain.runs.trained import load_trained
from disttrain.training import build_run, fit

WriteData = Callable[..., str]
WEIGHTS = np.array([0.5, 2.0, 1.5])


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_gradient_are_pytorchs(weights: np.ndarray | None, smoothing: float) -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(1)
    outputs, targets = 3 * random.normal(size=(20, 3)), random.integers(0, 3, 20)
    context = Context("loss", Cpu(), "float64", Workspace(np.empty), {})
    loss, gradient = built_in("softmax", weights, smoothing).forward(outputs, targets, context)
    divisor = len(targets) if weights is None else weights[targets].sum()
    theirs = torch.tensor(outputs, requires_grad=True)
    want = torch.nn.functional.cross_entropy(
        theirs, torch.tensor(targets), label_smoothing=smoothing,
        weight=None if weights is None else torch.tensor(weights),
    )  # fmt: skip
    want.backward()
    assert loss.sum() / divisor == pytest.approx(want.item(), rel=1e-12)
    np.testing.assert_allclose(gradient() / divisor, theirs.grad.numpy(), atol=1e-14)


@pytest.fixture
def path(write_data: WriteData) -> str:
    """Return a data file with sample weights, which leave some rows out."""
    random = np.random.default_rng(0)
    x, targets = random.normal(size=(70, 4)), random.integers(0, 3, 70)
    found = write_data(train=(x[:50], targets[:50]), validation=(x[50:], targets[50:]))
    with h5py.File(found, "r+") as file:
        file["train/weights"] = (np.arange(50) % 5 / 2).astype("f4")
        file["validation/weights"] = (np.arange(20) % 3).astype("f4")
    return found


def settings(path: str, *changes: str) -> Any:
    text = f"data.path = '{path}'\nmodel.layers = [{{ units = 3 }}]\n"
    return parse(text, ["device.kind=cpu", "model.dtype=float64", "data.normalize=none",
                        "training.batch_size=16", "training.epochs=2",
                        "schedule={kind='constant', learning_rate=0.3}", *changes])  # fmt: skip


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_a_weighted_training_is_pytorchs(path: str, mode: str) -> None:
    torch = pytest.importorskip("torch")
    run = build_run(
        settings(path, "training.class_weights=[0.5, 2.0, 1.5]", "training.label_smoothing=0.1",
                 f"reproducibility.mode={mode}", "optimizer.weight_decay=0.0"),
        Alone(),
    )  # fmt: skip
    run.restore(None)
    start = run.network.tensors(run.network.values.copy())
    w = torch.tensor(start["dense1/weight"].copy(), requires_grad=True)
    b = torch.tensor(start["dense1/bias"].copy(), requires_grad=True)
    sgd = torch.optim.SGD([w, b], lr=0.3, momentum=0.9)
    split = run.dataset.splits["train"]
    stored, places = split.rows.locate(np.arange(split.count))
    x, losses, divisors = stored[places].reshape(50, 4), [], []
    for step in range(run.total_steps):
        rows = run.work.batches.samples(step)
        y, of_row = torch.tensor(split.targets[rows]), torch.tensor(split.weights[rows])
        each = torch.nn.functional.cross_entropy(
            torch.tensor(x[rows]) @ w.T + b, y, label_smoothing=0.1,
            weight=torch.tensor(WEIGHTS), reduction="none",
        )  # fmt: skip
        count = (of_row * torch.tensor(WEIGHTS)[y]).sum()
        loss = (each * of_row).sum() / count
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        losses.append(loss.item() * count.item())
        divisors.append(count.item())
    fit(run)
    found = run.network.tensors(run.network.values)
    np.testing.assert_allclose(found["dense1/weight"], w.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(found["dense1/bias"], b.detach().numpy(), atol=1e-12)
    half = len(losses) // 2
    last = run.state.history[-1]
    assert last["train_loss"] == pytest.approx(sum(losses[half:]) / sum(divisors[half:]), rel=1e-9)


def test_weights_and_smoothing_are_those_of_the_validation_too(path: str, tmp_path: Path) -> None:
    balanced = settings(path, "training.class_weights=balanced", "training.label_smoothing=0.2")
    summary = train(balanced, tmp_path / "run", Alone())
    trained = load_trained(tmp_path / "run", Alone())
    score = trained.evaluate(split="validation")
    assert score.facts() == summary["validation"]
    split = trained.split("validation")
    p = np.log(trained.predict_split(split))
    counts = np.bincount(build_run(balanced, Alone()).dataset.splits["train"].targets)
    w = 50 / (3 * counts)
    y = split.targets
    each = -0.8 * w[y] * p[np.arange(20), y] - 0.2 / 3 * (p * w).sum(axis=1)
    want = (each * split.weights).sum() / (w[y] * split.weights).sum()
    assert score.loss == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("class_weights=[1.0, 2.0]", r"has 2 numbers.*has 3 classes, and each needs one"),
        ("class_weights=[0.0, 0.0, 0.0]", "0 of them above 0"),
        ("class_weights={cat = 2.0}", "names the class 'cat'; the classes are 0, 1, 2"),
    ],
)
def test_weights_that_do_not_fit_are_refused(path: str, change: str, words: str) -> None:
    with pytest.raises(RunFileError, match=words):
        build_run(settings(path, f"training.{change}"), Alone())
    with pytest.raises(RunFileError, match=r"is for model\.loss"):
        build_run(settings(path, f"training.{change}", "model.loss=squared"), Alone())


def test_classes_that_a_table_leaves_out_count_as_1(path: str) -> None:
    run = build_run(settings(path, "training.class_weights={'1' = 3.0}"), Alone())
    assert run.loss.class_weights.tolist() == [1.0, 3.0, 1.0]


def test_a_number_names_the_class_of_its_code_too(write_data: WriteData) -> None:
    x, targets = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
    path = write_data(attributes={"classes": ["007", "8", "09"]}, train=(x, targets))
    for given in ("{7 = 2.0, 9 = 3.0}", "{'007' = 2.0, '7' = 5.0, '09' = 3.0}"):
        run = build_run(settings(path, f"training.class_weights={given}"), Alone())
        assert run.loss.class_weights.tolist() == [2.0, 1.0, 3.0]
