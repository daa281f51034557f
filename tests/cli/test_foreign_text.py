"""What files of strangers say reaches the terminal escaped, cut, and as one line each."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from disttrain.checkpoint import Snapshot, image, load
from tests.cli.shell import sentence

pytestmark = pytest.mark.timeout(240)
ODD = "\x1b[2J\nfine\u202e\ud800"
SEEN = "\\x1b[2J\\nfine\\u202e\\ud800"


def rewrite(path: Path, **changes: object) -> None:
    """Write a checkpoint with other contents, with a commit record that is right for them."""
    snapshot = load(path)
    snapshot.state.pop("tensors", None)
    path.write_bytes(image(dataclasses.replace(snapshot, **changes)))


def harmless(text: str) -> None:
    """Fail where a terminal would do anything else than show characters and begin new lines."""
    assert all(line.isprintable() for line in text.splitlines())
    assert all(len(line) < 4000 for line in text.splitlines())


def test_inspect_shows_a_state_of_a_stranger(trained):
    path = trained.folder / "out/best.h5"
    snapshot = load(path)
    snapshot.state["data"] |= {"path": ODD, "class_names": [ODD, "x" * 100_000, "c"]}
    rewrite(path, state=snapshot.state)
    result = trained.run("inspect", "out/best.h5")
    assert result.returncode == 0, result.stderr
    harmless(result.stdout)
    assert f"path: {SEEN}" in result.stdout
    assert "characters) ..." in result.stdout
    facts = json.loads(trained.run("inspect", "out/best.h5", "--json").stdout)
    assert facts["data"]["path"] == ODD
    assert len(facts["data"]["class_names"][1]) == 100_000


@pytest.mark.parametrize(
    "run_file",
    [
        "name = '''a\nb'''",
        "[data]\npath = 'a'\n[model]\nlayers = [{ units = 3, kind = 'from tomorrow' }]\n",
        "x = 0x" + "f" * 50_000,
    ],
    ids=range(3),
)
def test_a_bad_run_file_in_a_checkpoint_is_the_checkpoints_fault(trained, run_file):
    newest = "out/checkpoints/step-00000015.h5"
    rewrite(trained.folder / newest, run_file=run_file)
    before = sorted(trained.folder.rglob("*"))
    resume = ("train", "run.toml", "--output", "out", "--resume", "--set", "training.epochs=9")
    for command in (("inspect", newest), ("evaluate", newest), ("verify", newest), resume):
        said = sentence(trained.run(*command), 3)
        assert "can't be used here (its run file" in said
        harmless(said)
    files = json.loads(trained.run("verify", "out", "--json").stdout)["files"]
    assert (files[0]["path"], files[0]["whole"]) == (newest, False)
    assert "its run file" in files[0]["problem"]
    assert sorted(trained.folder.rglob("*")) == before


def test_names_of_classes_and_files(shell):
    path = shell.folder / "odd.h5"
    with h5py.File(path, "w") as file:
        names = ["\x1b[2J", "x" * 100_000, "c"]
        file.attrs.update(format="disttrain-data", version=1)
        file.attrs["classes"] = np.array(names, dtype=h5py.string_dtype())
        file["train/inputs"] = np.random.default_rng(0).normal(size=(60, 4))
        file["train/targets"] = np.arange(60) % 3
    result = shell.run("inspect", path)
    assert result.returncode == 0, result.stderr
    harmless(result.stdout)
    said = sentence(shell.run("inspect", shell.folder / "no \x1b[2J\nsuch.h5"), 3)
    assert "no \\x1b[2J\\nsuch.h5" in said


def test_a_run_file_with_odd_keys_and_a_bad_name(shell):
    for run_file in ('"\\u001b[2J" = 3', f"{'x' * 100_000} = 3", 'data.path = "\\u001b[2J.h5"'):
        shell.run_file(run_file + "\n[model]\nlayers = [{ units = 3 }]\n", "odd.toml")
        said = sentence(shell.run("train", "odd.toml"), 2 if "data" not in run_file else 3)
        harmless(said)


def test_a_bug_in_a_callback_can_say_anything(shell):
    script = shell.folder / "script.py"
    script.write_text(
        "import disttrain\n"
        "class Bad(disttrain.Callback):\n"
        "    def on_start(self, run): raise ValueError('\\x1b[2J\\nfine' + 'x' * 100_000)\n"
        "settings = disttrain.read('run.toml')\n"
        "disttrain.train(settings, 'out', callbacks=[Bad()])\n"
    )
    result = shell.run(module="script")
    assert "\\x1b[2J\\nfinexxx" in result.stderr.splitlines()[-1]
    failure = shell.summary("out")["failures"][0]
    harmless(failure)


def test_names_that_the_character_set_of_the_terminal_lacks(trained):
    path = trained.folder / "out/best.h5"
    snapshot = load(path)
    snapshot.state["data"]["class_names"] = ["ä", "日本", "c"]
    rewrite(path, state=snapshot.state)
    result = trained.run("inspect", "out/best.h5", env={"PYTHONIOENCODING": "ascii"})
    assert result.returncode == 0, result.stderr
    assert "\\xe4" in result.stdout


def test_a_snapshot_knows_its_settings(trained):
    snapshot: Snapshot = load(trained.folder / "out/best.h5")
    assert snapshot.settings("best.h5").training.epochs == 3
