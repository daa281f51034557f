"""What each picture shows, read from the figure itself; the eye judges the rest."""

from __future__ import annotations

import builtins
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from disttrain.comm.alone import Alone
from disttrain.config import parse
from disttrain.errors import CheckpointError, UsageError
from disttrain.report import confusion, curves, growth, hidden, regions, weights
from disttrain.report.at_the_end import Pictures
from disttrain.report.pictures import KINDS, draw_all
from disttrain.report.space import space_of
from disttrain.report.subject import Subject, decided, margins_of
from disttrain.runs import train
from disttrain.training import Callback

pytest.importorskip("matplotlib")
WIDE = '{ units = 5, activation = "relu" }, { units = 2 }'


def labels(figure: Any) -> set[str]:
    return {text.get_text() for legend in figure.legends for text in legend.get_texts()}


def test_all_kinds_have_the_same_parts() -> None:
    for kind in KINDS:
        name = kind.__name__.rsplit(".", 1)[1]
        assert f"{name}.png" == kind.NAME
        assert callable(kind.why_not)
        assert callable(kind.figure)


def test_a_run_of_two_inputs_has_all_pictures_but_the_images(runs: Any, tmp_path: Path) -> None:
    drawn = {p.name: p for p in draw_all(runs("classes"), tmp_path / "new")}
    assert [n for n, p in drawn.items() if not p.path] == ["weights.png"]
    assert "no image" in drawn["weights.png"].reason
    for picture in drawn.values():
        if picture.path:
            content = picture.path.read_bytes()
            assert content.startswith(b"\x89PNG")
            width, height = np.frombuffer(content[16:24], ">u4")
            assert 300 < width < 3000
            assert 300 < height < 3000


def test_the_same_run_gives_the_same_bytes(runs: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        list(draw_all(runs("classes"), tmp_path / name))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_images_have_weights_and_no_regions_and_say_why(runs: Any, tmp_path: Path) -> None:
    layers = '{ units = 70, activation = "relu" }, { units = 3 }'
    drawn = {p.name: p for p in draw_all(runs("images", layers), tmp_path)}
    assert [n for n, p in drawn.items() if p.path] == ["curves.png", "confusion.png", "weights.png"]
    for name in ("regions.png", "growth.png", "hidden.png"):
        assert drawn[name].line.startswith(f"{name} is not drawn: the inputs are 30 numbers")
        assert not drawn[name].failed


# ---- curves


def test_curves_show_loss_accuracy_rate_penalty_and_the_best_epoch(subject: Any) -> None:
    run = subject("classes")
    figure = curves.figure(run)
    assert [ax.get_title() for ax in figure.axes] == ["loss", "accuracy", "learning rate"]
    assert all(ax.get_xlabel() == "epoch" and ax.get_ylabel() for ax in figure.axes)
    best = min(run.history, key=lambda r: r["validation_loss"])["epoch"]
    shown = labels(figure)
    assert {"train", "validation", f"best weights ({best:g})"} < shown
    assert any("penalty" in label for label in shown)
    line = figure.axes[0].lines[0]
    np.testing.assert_array_equal(line.get_ydata(), [r["train_loss"] for r in run.history])


def test_curves_of_a_regression_have_no_accuracy_and_no_decay_no_penalty(subject: Any) -> None:
    figure = curves.figure(subject("line", "{ units = 1 }", "optimizer.weight_decay=0.0"))
    assert [ax.get_title() for ax in figure.axes] == ["loss", "learning rate"]
    assert not any("penalty" in label for label in labels(figure))


def test_a_torn_last_line_of_the_metrics_is_left_out(runs: Any, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(runs("classes"), copy)
    with open(copy / "metrics.jsonl", "a") as file:
        file.write('{"step": 1')
    assert len(Subject(copy).history) == 4
    loss = curves.figure(Subject(copy)).axes[0]
    assert {len(line.get_xdata()) for line in loss.lines[:2]} == {4}


# ---- confusion


def test_the_matrix_has_the_true_class_as_row() -> None:
    matrix = confusion.matrix(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 2]))
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 1, 0], [1, 0, 1]])


def test_confusion_writes_counts_that_agree_with_the_accuracy(subject: Any) -> None:
    run = subject("classes")
    ax = confusion.figure(run).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    accuracy = run.trained.evaluate().accuracy
    assert f"test split, 60 samples, {100 * accuracy:.2f} % right" in ax.get_title()
    cells = {t.get_position(): int(t.get_text().split("\n")[0]) for t in ax.texts}
    assert sum(cells.values()) == 60
    assert sum(n for (x, y), n in cells.items() if x == y) == round(60 * accuracy)


# ---- weights


def test_names_of_classes_are_written_escaped_and_cut() -> None:
    subject = object.__new__(Subject)
    state = {"data": {"class_names": ["red\x1b[31m", "n" * 100_000], "classes": 2}}
    subject.__dict__["trained"] = SimpleNamespace(snapshot=SimpleNamespace(state=state))
    red, long = subject.class_names
    assert red == "red\\x1b[31m"
    assert len(long) < 80


def test_a_sheet_holds_each_image_whole() -> None:
    tiles = np.arange(3 * 2 * 4.0).reshape(3, 2, 4)
    whole = weights.sheet(tiles, 2)
    assert whole.shape == (2 * 4 - 2, 2 * 6 - 2)
    np.testing.assert_array_equal(whole[4:6, 0:4], tiles[2])
    assert np.isnan(whole[2:4]).all()


def test_which_samples_are_images() -> None:
    assert weights.image_shape((6, 5)) == (6, 5)
    assert weights.image_shape((1, 8, 9)) == (8, 9)
    # Nobody guesses: 784 numbers may be anything.
    assert [weights.image_shape(s) for s in ((4,), (784,), (1, 784), (2, 3, 4))] == [None] * 4


def test_the_units_with_the_largest_norm_come_first(subject: Any) -> None:
    run = subject("images", '{ units = 70, activation = "relu" }, { units = 3 }')
    figure = weights.figure(run)
    weight = run.trained.snapshot.parameters["dense1/weight"]
    largest = weight[np.linalg.norm(weight, axis=1).argmax()]
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown[:6, :5], largest.reshape(6, 5))
    assert "70 units\nthe 64 with the largest norm" in figure.axes[0].get_title()


def test_a_network_of_one_layer_names_its_units_by_class(subject: Any) -> None:
    figure = weights.figure(subject("images", "{ units = 3 }"))
    assert [t.get_text() for t in figure.axes[0].texts] == ["0", "1", "2"]


# ---- regions, growth


def test_the_regions_are_what_the_network_predicts_of_raw_inputs(subject: Any) -> None:
    run = subject("classes")
    figure = regions.figure(run)
    train_ax, test_ax = figure.axes
    image = train_ax.images[0].get_array()
    xs, ys, places = space_of(run).grid(300)
    said = run.trained.predict(places).argmax(axis=1)
    np.testing.assert_array_equal(image, said.reshape(300, 300))
    assert set(np.unique(said)) == {0, 1}
    left, right, bottom, top = train_ax.images[0].get_extent()
    assert left < xs[0] < xs[-1] < right
    assert bottom < ys[0] < ys[-1] < top
    assert (train_ax.get_xlabel(), train_ax.get_ylabel()) == ("$x_1$", "$x_2$")
    assert train_ax.get_title().startswith("train: 54 samples")
    assert test_ax.get_title().startswith("test: 60 samples")
    assert {"class 0", "class 1"} <= labels(figure)


def test_mistakes_are_ringed(subject: Any) -> None:
    run = subject("classes", WIDE, "training.epochs=1", "schedule.learning_rate=0.001")
    samples = run.samples("test")
    wrong = (decided(run.trained, samples.inputs)[0] != samples.targets).sum()
    assert wrong
    rings = regions.figure(run).axes[1].collections[-1]
    assert len(rings.get_offsets()) == wrong


def test_a_function_of_one_input_is_drawn_with_its_samples(subject: Any) -> None:
    run = subject("line", '{ units = 6, activation = "tanh" }, { units = 1 }')
    figure = regions.figure(run)
    x, y = figure.axes[0].lines[0].get_data()
    np.testing.assert_allclose(y, run.trained.predict(x[:, None])[:, 0])
    assert labels(figure) == {"network", "train samples", "test samples"}
    two = regions.figure(subject("lines", "{ units = 2 }"))
    assert len(two.axes[0].lines) == 2
    assert len(growth.figure(run).axes) == 4


def test_one_output_of_two_inputs_is_a_contour_and_two_are_not_drawn(subject: Any) -> None:
    run = subject("plane", '{ units = 6, activation = "tanh" }, { units = 1 }')
    figure = regions.figure(run)
    assert "target" in figure.axes[-1].get_ylabel()
    assert len(growth.figure(run).axes) == 4 + 1
    reason = regions.why_not(subject("planes", "{ units = 2 }"))
    assert reason == "the network has 2 outputs: over two inputs one can be drawn"


def test_growth_has_a_panel_for_each_checkpoint_in_its_order(subject: Any) -> None:
    run = subject("classes")
    figure = growth.figure(run)
    titles = [ax.get_title() for ax in figure.axes]
    assert [t.split("\n")[0] for t in titles] == [f"epoch {n}" for n in (1, 2, 3, 4)]
    accuracy = run.history[-1]["train_accuracy"]
    assert f"train {100 * accuracy:.0f} %" in titles[-1]


def test_at_most_six_checkpoints_are_chosen_with_first_and_last() -> None:
    paths = [Path(f"step-{n:08d}.h5") for n in range(10, 2001, 10)]
    chosen = growth.chosen(paths)
    assert len(chosen) == 6
    assert (chosen[0], chosen[-1]) == (paths[0], paths[-1])
    assert chosen == sorted(chosen)
    assert growth.chosen(paths[:6]) == paths[:6]


def test_one_checkpoint_shows_no_growth(subject: Any) -> None:
    run = subject("classes", WIDE, "checkpoint.keep=1")
    assert "checkpoint.keep" in str(growth.why_not(run))


def test_margins_are_zero_on_the_border_and_positive_for_the_winner() -> None:
    outputs = np.array([[1.0, 3.0, 2.5], [2.0, 2.0, 0.0]])
    np.testing.assert_allclose(margins_of(outputs), [[-2, 0.5, -0.5], [0, 0, -2]])


# ---- hidden


def test_two_hidden_units_are_the_axes_and_the_last_layer_divides_them(subject: Any) -> None:
    run = subject("classes")
    figure = hidden.figure(run)
    ax = figure.axes[1]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$h_1$", "$h_2$")
    assert "the last layer's separating line" in labels(figure)
    samples, values = run.samples("train"), run.trained.snapshot.parameters
    normal = run.trained.normalization
    x = (samples.inputs - normal.mean) / normal.deviation
    h = np.tanh(x @ values["dense1/weight"].T + values["dense1/bias"])
    shown = np.concatenate([c.get_offsets() for c in ax.collections[-2:]])
    want = np.concatenate([h[samples.targets == k] for k in (0, 1)])
    np.testing.assert_allclose(shown, want, atol=1e-5)
    # The line itself: the border of the regions over the hidden units.
    w, b = values["dense2/weight"], values["dense2/bias"]
    image = ax.images[0]
    left, right, bottom, top = image.get_extent()
    columns, rows = np.meshgrid(np.linspace(left, right, 601)[1::2],
                                np.linspace(bottom, top, 601)[1::2])  # fmt: skip
    line = (w[1] - w[0])[0] * columns + (w[1] - w[0])[1] * rows + b[1] - b[0]
    clear = np.abs(line) > 1e-3
    np.testing.assert_array_equal((image.get_array() == 1)[clear], (line > 0)[clear])


def test_wider_layers_are_seen_along_their_principal_components(subject: Any) -> None:
    layers = '{ units = 5, activation = "relu" }, { units = 3, activation = "tanh" }, { units = 2 }'
    figure = hidden.figure(subject("classes", layers))
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0] == "inputs"
    assert "hidden layer 1: 5 units, relu" in titles[1]
    assert "hidden layer 2: 3 units, tanh\nprincipal components" in titles[2]
    random = np.random.default_rng(1)
    units = random.normal(size=(50, 4)) * [5, 3, 0.1, 0.1]
    (along, _), part = hidden.principal(units, units)
    assert part > 0.99
    np.testing.assert_allclose(along.var(axis=0).sum(), part * units.var(axis=0).sum())


def test_no_hidden_layer_is_a_reason(subject: Any) -> None:
    assert hidden.why_not(subject("classes", "{ units = 2 }")) == "the network has no hidden layer"
    single = '{ units = 1, activation = "tanh" }, { units = 2 }'
    assert "single unit" in str(hidden.why_not(subject("classes", single)))


# ---- errors, and after a training


def test_no_run_and_no_place_to_write(runs: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no run"):
        list(draw_all(tmp_path, tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="can't be written"):
        list(draw_all(runs("classes"), tmp_path / "file"))


def test_data_that_have_gone_leave_the_curves(runs: Any, tmp_path: Path) -> None:
    shutil.copytree(runs("classes", WIDE), tmp_path / "copy")
    (data := runs("classes", WIDE).with_suffix(".h5")).rename(tmp_path / "away.h5")
    try:
        drawn = {p.name: p for p in draw_all(tmp_path / "copy", tmp_path)}
    finally:
        (tmp_path / "away.h5").rename(data)
    assert [n for n, p in drawn.items() if p.path] == ["curves.png"]
    assert "does not exist" in drawn["regions.png"].reason


class Hear(Callback):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_message(self, line: str) -> None:
        self.lines.append(line)


def again(folder: Path, output: Path) -> tuple[list[str], str]:
    """Train the run in `folder` once more with its pictures; return messages and status."""
    settings = parse((folder / "run.toml").read_text())
    hear = Hear()
    pictures = Pictures(output)
    summary = train(settings, output, Alone(), callbacks=[pictures, hear])
    return hear.lines, summary["status"]


def test_after_a_training_all_pictures_are_there(runs: Any, tmp_path: Path) -> None:
    lines, status = again(runs("classes"), tmp_path / "run")
    assert (lines, status) == ([], "completed")
    found = {p.stem for p in (tmp_path / "run").glob("*.png")}
    assert found == {"curves", "confusion", "regions", "growth", "hidden"}


def test_a_picture_that_fails_fails_no_training(
    runs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(subject: Subject) -> Any:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(regions, "figure", broken)
    lines, status = again(runs("classes"), tmp_path / "run")
    assert lines == ["not drawn: regions.png: ZeroDivisionError: oh"]
    assert status == "completed"
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "completed"
    assert (tmp_path / "run" / "hidden.png").exists()


def test_without_matplotlib_the_cure_is_said_before_the_training(
    runs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    for name in [n for n in sys.modules if n.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pip install 'disttrain\[plot\]'"):
        list(draw_all(runs("classes"), tmp_path))
    with pytest.raises(UsageError, match=r"plot = false"):
        again(runs("classes"), tmp_path / "run")
    assert not list((tmp_path / "run").glob("checkpoints/*"))
