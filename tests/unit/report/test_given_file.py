"""A network whose weights stand in a file is drawn with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from disttrain.errors import RunFileError, UsageError
from disttrain.report.drawing import draw_file

LECTURE = """
layers = [
    { W = [[3, 4], [1, 2], [9, 7]], b = [5, 8, 6], activation = "tanh" },
    { W = [[3, 4, 1], [5, 2, 7]], b = [9, 1] },
    { W = [[5, 3]], b = [6] },
]
"""


def test_given_weights_are_written_on_the_edges(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text(LECTURE)
    draw_file(tmp_path / "w.toml", tmp_path / "w.svg")
    drawn = (tmp_path / "w.svg").read_text()
    for number in "123456789":
        assert f">{number}<" in drawn or f"<!-- {number} -->" in drawn


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("layers = [{ W = [[1, 2]] }]", "'layers.0.b' is missing"),
        (
            "layers = [{ W = [[1]], b = [1], activtion = 'tanh' }]",
            "did you mean 'layers.0.activation'",
        ),
        ("layers = []", "'layers' is"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "w.toml").write_text(text)
    with pytest.raises(RunFileError, match=sentence):
        draw_file(tmp_path / "w.toml", tmp_path / "w.svg")


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text("layers = [{ W = [[1, 2]], b = [1, 2] }]")
    with pytest.raises(UsageError):
        draw_file(tmp_path / "w.toml", tmp_path / "w.svg")
