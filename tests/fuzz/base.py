"""The whole inputs from which the broken ones are made: small, and written by disttrain itself."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from tests.fuzz.trial import Outcome, run

__all__ = ["make_base"]

RUN_FILE = """\
seed = 1
name = "base"

[data]
path = "data.h5"
normalize = "standardize"
validation_fraction = 0.2

[model]
layers = [{ units = 6, activation = "tanh" }, { units = 3 }]
loss = "softmax"

[training]
epochs = 4
batch_size = 16

[schedule]
kind = "constant"
learning_rate = 0.05

[checkpoint]
every_epochs = 1
keep = 3

[reproducibility]
mode = "exact"
leaves = 2

[device]
kind = "cpu"
"""


def make_base(folder: Path) -> Path:
    """Write the whole inputs into `folder`, and what disttrain says of them; return it."""
    folder.mkdir()
    random = np.random.default_rng(1)
    inputs = random.normal(size=(90, 4)).astype("f4")
    classes = np.argmax(inputs[:, :3] + 0.3 * random.normal(size=(90, 3)), axis=1)
    names = ["ant", "bee", "cow"]
    rows = [
        ",".join([*(f"{x:.4f}" for x in row), names[c]])
        for row, c in zip(inputs, classes, strict=True)
    ]
    (folder / "table.csv").write_text("a,b,c,d,label\n" + "\n".join(rows) + "\n")
    (folder / "table.csv.gz").write_bytes(gzip.compress((folder / "table.csv").read_bytes()))
    np.savez(folder / "arrays.npz", inputs=inputs, targets=classes)
    np.savez_compressed(
        folder / "deflated.npz",
        x_train=inputs,
        y_train=classes,
        x_test=inputs[:9],
        y_test=classes[:9],
    )
    np.save(folder / "inputs.npy", inputs[:12])
    _images(folder / "images", random)
    _idx(folder / "idx", random)
    (folder / "run.toml").write_text(RUN_FILE)
    _do(folder, "prepare", "csv", "table.csv", "data.h5")
    _do(folder, "train", "run.toml", "--output", "whole")
    # A run that is half-way: the same one, with its last two epochs undone.
    _half(folder)
    _do(folder, "predict", "whole", "inputs.npy", "--output", "predicted.csv")
    said = _do(folder, "evaluate", "whole", "--data", "data.h5", "--split", "train", "--json")
    # The same rows in a file without a record: of those of others all rows are taken.
    with h5py.File(folder / "data.h5") as ours, h5py.File(folder / "other.h5", "w") as other:
        for name in ours:
            ours.copy(name, other)
        other.attrs.update(ours.attrs)
    whole = _do(folder, "evaluate", "whole", "--data", "other.h5", "--split", "train", "--json")
    (folder / "evaluated.json").write_text(f"[{said.out}, {whole.out}]")
    return folder


def _do(folder: Path, *argv: str) -> Outcome:
    done = run(list(argv), folder)
    assert done.code == 0, (
        f"the base itself fails: disttrain {' '.join(argv)}: {done.out}{done.err}"
    )
    return done


def _half(folder: Path) -> None:
    """Make `half`: the folder of the same run, stopped after its second epoch."""
    (folder / "half").mkdir()
    _do(folder, "train", "run.toml", "--output", "half/short", "--set", "training.epochs=2")
    shutil.move(folder / "half" / "short", folder / "stopped")
    (folder / "half").rmdir()
    summary = json.loads((folder / "whole" / "summary.json").read_text())
    resumed = shutil.copytree(folder / "stopped", folder / "resumed")
    _do(folder, "train", "run.toml", "--output", str(resumed), "--resume", "--accept-changes")
    again = json.loads((resumed / "summary.json").read_text())
    assert again["digest"] == summary["digest"], "a resumed run has another digest"
    shutil.rmtree(resumed)
    (folder / "digest").write_text(summary["digest"])


def _images(folder: Path, random: np.random.Generator) -> None:
    for name, kind in (("cat", "png"), ("dog", "jpg")):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            pixels = random.integers(0, 256, (6, 5, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.{kind}")


def _idx(folder: Path, random: np.random.Generator) -> None:
    folder.mkdir()
    for stem, count in (("train", 20), ("t10k", 8)):
        pixels = random.integers(0, 256, (count, 4, 3), np.uint8)
        labels = (np.arange(count) % 3).astype(np.uint8)
        for part, array in (
            (f"{stem}-images-idx3-ubyte", pixels),
            (f"{stem}-labels-idx1-ubyte", labels),
        ):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(
                n.to_bytes(4, "big") for n in array.shape
            )
            (folder / f"{part}.gz").write_bytes(gzip.compress(head + array.tobytes()))
