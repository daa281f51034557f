"""A network drawn as units and weighted edges."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.errors import CheckpointError, DataError, UsageError
from disttrain.report.drawing import draw, draw_file, figure, number

pytest.importorskip("matplotlib")
# The course's example: 2-3-2-1.
LAYERS = [
    ([[3, 4], [1, 2], [9, 7]], [5, 8, 6]),
    ([[3, 4, 1], [5, 2, 7]], [9, 1]),
    ([[5, 3]], [6]),
]


def texts(svg: Path) -> list[str]:
    """Return the plain texts of an SVG file."""
    return re.findall(r"<text[^>]*>([^<]+)</text>", svg.read_text())


def test_the_example_shows_every_weight_bias_and_activation(tmp_path: Path) -> None:
    draw(LAYERS, ["sign"] * 3, tmp_path / "n.svg")
    found = texts(tmp_path / "n.svg")
    numbers = sorted(int(t) for t in found if t.isdigit())
    weights = [v for w, b in LAYERS for v in (*np.ravel(w), *b)]
    # And the three units that are always 1.
    assert numbers == sorted([*weights, 1, 1, 1])
    assert found.count("sign") == 3
    assert {"input", "2 units", "3 units", "1 unit"} <= set(found)


def test_labels_stand_on_their_own_edges_and_apart() -> None:
    drawn = figure(LAYERS, ["sign"] * 3)
    ax = drawn.axes[0]
    places = {}
    for collection, (w, b) in zip(ax.collections, LAYERS, strict=True):
        values = np.column_stack([w, b]).ravel()
        for (start, end), value in zip(collection.get_segments(), values, strict=True):
            on_edge = [
                text
                for text in ax.texts
                if text.get_text() == number(value) and _between(start, end, text.get_position())
            ]
            assert len(on_edge) == 1, (value, start, end)
            places[on_edge[0]] = on_edge[0].get_position()
    assert len(places) == 20
    spots = np.array(list(places.values()))
    apart = np.linalg.norm(spots[:, None] - spots[None], axis=2) + 10 * np.eye(20)
    assert apart.min() > 0.25


def _between(start: Any, end: Any, spot: Any) -> bool:
    part = (spot[0] - start[0]) / (end[0] - start[0])
    return 0 < part < 1 and abs(start[1] + part * (end[1] - start[1]) - spot[1]) < 1e-9


def test_colour_is_the_sign_and_width_the_size() -> None:
    ax = figure([([[1.0, -2.0]], [0.0])], ["identity"]).axes[0]
    edges = ax.collections[0]
    plus, minus, zero = edges.get_linewidths()
    assert minus > plus > zero
    colors = edges.get_colors()
    assert not np.allclose(colors[0], colors[1])
    assert "−2" in [t.get_text() for t in ax.texts]


def test_wide_layers_are_abbreviated_and_large_networks_have_no_numbers(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    sizes = (784, 300, 12, 10)
    layers = [(random.normal(size=(n, m)), random.normal(size=n)) for m, n in pairwise(sizes)]
    drawn = figure(layers, ["relu", "relu", "identity"], "wide")
    shown = [t.get_text() for t in drawn.axes[0].texts]
    assert shown.count("⋮") == 2
    assert {"784 units", "300 units", "12 units", "10 units", "$x_{784}$", "$f_{10}$"} <= set(shown)
    assert "$x_{400}$" not in shown
    assert not any(re.fullmatch(r"−?\d+(\.\d+)?", t) for t in shown)
    draw(layers, ["relu", "relu", "identity"], tmp_path / "n.png")
    assert (tmp_path / "n.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        draw(LAYERS, ["sign"] * 3, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_checkpoint_run_folder_and_run_file(runs: Any, tmp_path: Path) -> None:
    run = runs("classes")
    draw_file(run, tmp_path / "run.svg")
    draw_file(run / "best.h5", tmp_path / "best.svg")
    assert texts(tmp_path / "run.svg") == texts(tmp_path / "best.svg")
    draw_file(run / "run.toml", tmp_path / "initial.svg")
    # Trained or not, the same network: its biases begin at 0.
    initial = texts(tmp_path / "initial.svg")
    assert initial.count("0") == 4
    assert len(initial) == len(texts(tmp_path / "run.svg"))


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"layer 2 has W of shape \(1, 4\).*needs one row"):
        draw([LAYERS[0], ([[1, 2, 3, 4]], [1])], ["sign"] * 2, tmp_path / "n.svg")
    with pytest.raises(UsageError, match="3 layers with 1 activations"):
        draw(LAYERS, ["sign"], tmp_path / "n.svg")
    with pytest.raises(UsageError, match="NaN"):
        draw([([[np.nan]], [0])], ["sign"], tmp_path / "n.svg")
    with pytest.raises(UsageError, match=r"must end in \.png or \.svg"):
        draw(LAYERS, ["sign"] * 3, tmp_path / "n.pdf")
    with pytest.raises(CheckpointError):
        draw_file(tmp_path / "none.h5", tmp_path / "n.svg")
    (tmp_path / "r.toml").write_text('data.path = "none.h5"\nmodel.layers = [{ units = 2 }]')
    with pytest.raises(DataError, match="does not exist"):
        draw_file(tmp_path / "r.toml", tmp_path / "n.svg")
