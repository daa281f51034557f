"""Networks with filters as blocks: every layer with its shape and its weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from disttrain.arrays import Cpu
from disttrain.model import Conv, Dense, Dropout, MaxPool, Network
from disttrain.report.blocks import figure, has_blocks
from disttrain.report.figure import save

pytest.importorskip("matplotlib")


def test_every_layer_is_a_block_with_the_shape_of_what_it_gives(tmp_path: Path) -> None:
    layers = [Conv(6, 5, activation="relu"), MaxPool(2), Dropout(0.25), Dense(10)]
    network = Network(layers, (8, 8, 3), "float32", Cpu(), seed=0)
    drawn = figure(network, "some network")
    texts = [text.get_text() for text in drawn.axes[0].texts]
    for wanted in ("8 x 8 x 3", "8 x 8 x 6", "4 x 4 x 6", "10", "conv", "max-pool", "dense",
                   "5 x 5, relu", "0.25", "456 weights", "970 weights"):  # fmt: skip
        assert wanted in texts, texts
    # Each map of a layer, but no more than six; vectors have one.
    assert len(drawn.axes[0].patches) == 3 + 6 + 6 + 6 + 1
    save(drawn, tmp_path / "blocks.svg")
    assert "8 x 8 x 6" in (tmp_path / "blocks.svg").read_text()


def test_dense_networks_are_drawn_as_units() -> None:
    assert not has_blocks(Network([Dense(3), Dense(2)], (28, 28), "float32", Cpu(), seed=0))
    assert has_blocks(Network([Conv(3), Dense(2)], (28, 28), "float32", Cpu(), seed=0))
