"""`disttrain plot` and `disttrain draw` as they are typed."""

import json

import pytest

from tests.cli.shell import sentence

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def trained(shell):
    """A shell in whose folder `out` is a finished run of five inputs and three classes."""
    result = shell.run("train", "run.toml", "--output", "out")
    assert result.returncode == 0, result.stderr
    return shell


def test_plot_prints_a_line_per_picture_and_one_for_those_that_do_not_fit(trained):
    result = trained.run("plot", "out")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[:2] == ["out/curves.png", "out/confusion.png"]
    assert len(lines) == 3
    assert lines[2].startswith("not drawn: weights.png (")
    needs = "the inputs are 5 numbers and the targets classes: this needs 2 inputs"
    assert lines[2].endswith(f"; regions.png, growth.png, hidden.png ({needs})")
    assert {p.name for p in (trained.folder / "out").glob("*.png")} == {
        "curves.png", "confusion.png"
    }  # fmt: skip


def test_plot_says_it_in_json_and_draws_elsewhere(trained):
    result = trained.run("plot", "out", "--output", "pictures/new", "--json")
    said = json.loads(result.stdout)
    assert said["pictures"] == {
        "curves.png": "pictures/new/curves.png", "confusion.png": "pictures/new/confusion.png"
    }  # fmt: skip
    assert "regions.png" in said["not_drawn"]
    assert (trained.folder / "pictures/new/curves.png").stat().st_size > 5000


def test_draw_a_run_and_a_run_file(trained):
    result = trained.run("draw", "out", "--json")
    assert json.loads(result.stdout) == {"file": "out", "picture": "network.svg"}
    assert "relu" in (trained.folder / "network.svg").read_text()
    result = trained.run("draw", "run.toml", "-o", "initial.png")
    assert result.stdout == "initial.png\n"
    assert (trained.folder / "initial.png").read_bytes().startswith(b"\x89PNG")


def test_mistakes_are_one_sentence(trained):
    assert "holds no run" in sentence(trained.run("plot", "nowhere"), 3)
    (trained.folder / "file").write_text("")
    assert "can't be written" in sentence(trained.run("plot", "out", "-o", "file"), 2)
    assert "must end in .png" in sentence(trained.run("draw", "out", "-o", "n.jpg"), 2)
    assert "does not exist" in sentence(trained.run("draw", "nowhere"), 3)


def test_without_matplotlib_the_cure_is_said(trained):
    (trained.folder / "matplotlib.py").write_text("raise ImportError('no matplotlib')")
    path = f"{trained.folder}:{trained.environment['PYTHONPATH']}"
    result = trained.run("plot", "out", env={"PYTHONPATH": path})
    assert "pip install 'disttrain[plot]'" in sentence(result, 2)
