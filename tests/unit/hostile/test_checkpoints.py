"""Checkpoints that were made to harm, all with a commit record that is right."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from disttrain.checkpoint import Snapshot, image
from disttrain.checkpoint.commit import commit, content_of
from tests.unit.hostile import valid
from tests.unit.hostile.arrays import ARRAYS
from tests.unit.hostile.bytes import BYTES
from tests.unit.hostile.run import child, name_of, refused

Make = Callable[[Path], object]
ERRORS = ("CheckpointError", "RunFileError")


def edited(edit: Callable[[h5py.File], None]) -> Make:
    """Return what writes a checkpoint, edited by h5py and committed again."""

    def make(path: Path) -> None:
        path.write_bytes(content_of(image(valid.snapshot())))
        with h5py.File(path, "r+") as file:
            edit(file)
        path.write_bytes(commit(path.read_bytes()))

    return make


def with_array(name: str) -> Make:
    def edit(file: h5py.File) -> None:
        del file["parameters/dense2/weight"]
        ARRAYS[name](file["parameters/dense2"], "weight", Path(file.filename).parent)

    return edited(edit)


def with_text(name: str, text: bytes) -> Make:
    def edit(file: h5py.File) -> None:
        del file[name]
        file[name] = np.bytes_(text)

    return edited(edit)


def with_state(change: Callable[[dict[str, Any]], object]) -> Make:
    def make(path: Path) -> None:
        state = json.loads(json.dumps(valid.snapshot().state))
        state["tensors"] = list(valid.SHAPES)
        change(state)
        with_text("state", json.dumps(state).encode())(path)

    return make


def with_attribute(group: str, key: str, value: object) -> Make:
    return edited(lambda file: file[group].attrs.__setitem__(key, value))


def saved(**changes: object) -> Make:
    """Return what saves the valid snapshot with other parts."""

    def make(path: Path) -> None:
        snapshot: Snapshot = dataclasses.replace(valid.snapshot(), **changes)  # type: ignore[arg-type]
        path.write_bytes(image(snapshot))

    return make


def run_file(old: str, new: str) -> Make:
    return saved(run_file=valid.snapshot().run_file.replace(old, new))


def normalized(**changes: object) -> Make:
    return saved(normalization={**valid.snapshot().normalization, **changes})


def deep_groups(file: h5py.File) -> None:
    file.create_group("/".join("a" * 200))


def groups_in_a_circle(file: h5py.File) -> None:
    file["parameters/again"] = file["parameters"]


def one_tensor_many_times(file: h5py.File) -> None:
    file["more/0"] = np.zeros(100_000)
    for n in range(1, 100):
        file[f"more/{n}"] = file["more/0"]


def a_link_that_nobody_asks_for(file: h5py.File) -> None:
    ARRAYS["external link to a pipe"](file, "notes", Path(file.filename).parent)


def holes(path: Path) -> None:
    """The size of a terabyte, and a mark at its end."""
    content = image(valid.snapshot())
    with path.open("wb") as file:
        file.write(content_of(content))
        file.truncate(1 << 40)


def in_chunks(file: h5py.File) -> None:
    values = file["parameters/dense1/weight"][()]
    del file["parameters/dense1/weight"]
    file.create_dataset("parameters/dense1/weight", data=values, chunks=True, compression="gzip")


def of_whole_numbers(file: h5py.File) -> None:
    values = file["parameters/dense1/weight"][()]
    del file["parameters/dense1/weight"]
    file["parameters/dense1/weight"] = values.astype("i4")


def transposed(file: h5py.File) -> None:
    values = file["parameters/dense1/weight"][()]
    del file["parameters/dense1/weight"]
    file["parameters/dense1/weight"] = np.ascontiguousarray(values.T)


def one_more_tensor(file: h5py.File) -> None:
    file["parameters/dense3/weight"] = np.zeros(4, "f4")


def text_of_varying_length(file: h5py.File) -> None:
    del file["state"]
    file["state"] = "{}"


DEEP = b'{"a":' * 100_000
CORPUS: dict[str, Make] = {
    **{name: with_array(name) for name in ARRAYS},
    **{
        name: (lambda path, make=make: path.write_bytes(commit(make())))
        for name, make in BYTES.items()
    },
    **{
        name_of(edit): edited(edit)
        for edit in (
            deep_groups, groups_in_a_circle, one_tensor_many_times, a_link_that_nobody_asks_for,
            in_chunks, of_whole_numbers, transposed, one_more_tensor, text_of_varying_length,
        )
    },
    "holes": holes,
    "no HDF5": lambda path: path.write_bytes(commit(b"hello")),
    "nothing but a record": lambda path: path.write_bytes(commit(b"")),
    "state is no JSON": with_text("state", b"\xff\xfe"),
    "state is a list": with_text("state", b"[]"),
    "state is deep": with_text("state", DEEP),
    "state is a long number": with_text("state", b'{"tensors": ' + b"9" * 100_000 + b"}"),
    "state lists a tensor twice": with_state(lambda s: s["tensors"].append(s["tensors"][0])),
    "state lists no tensors": with_state(lambda s: s.pop("tensors")),
    "state lists numbers": with_state(lambda s: s.update(tensors=[1, 2, 3, 4])),
    "state lists lists": with_state(lambda s: s.update(tensors=[["a"]])),
    "data are a list": with_state(lambda s: s.update(data=[])),
    "data have negative inputs": with_state(lambda s: s["data"].update(inputs=-4)),
    "data have many inputs": with_state(lambda s: s["data"].update(inputs=10**9)),
    "data have many classes": with_state(lambda s: s["data"].update(classes=10**15)),
    "data have another shape": with_state(lambda s: s["data"].update(shape=[2, 3])),
    "data have a negative shape": with_state(lambda s: s["data"].update(shape=[-2, -2])),
    "data have a shape of text": with_state(lambda s: s["data"].update(shape="22")),
    "data have a shape of text in it": with_state(lambda s: s["data"].update(shape=["4"])),
    "data have a deep shape": with_state(lambda s: s["data"].update(shape=[4] + [1] * 1000)),
    "data have inputs true": with_state(lambda s: s["data"].update(inputs=True)),
    "data without inputs": with_state(lambda s: s["data"].pop("inputs")),
    "no data": with_state(lambda s: s.pop("data")),
    "no progress": with_state(lambda s: s.pop("progress")),
    "progress is text": with_state(lambda s: s.update(progress="far")),
    "progress of a negative step": with_state(lambda s: s["progress"].update(step=-1)),
    "progress of half a step": with_state(lambda s: s["progress"].update(step=0.5)),
    "progress with a history of text": with_state(lambda s: s["progress"].update(history=["a"])),
    "progress with a loss of text": with_state(lambda s: s["progress"].update(best_loss="low")),
    "another loss": with_state(lambda s: s.update(loss=["softmax"])),
    "a negative step": with_attribute("/", "step", -1),
    "a step of text": with_attribute("/", "step", "many"),
    "an epoch that is no number": with_attribute("/", "epoch", float("nan")),
    "a format of many": with_attribute("/", "format", ["disttrain-checkpoint"] * 3),
    "a version of many": with_attribute("/", "version", [1, 1]),
    "too long an attribute": with_attribute("normalization", "divisor", np.zeros(8000)),
    "a run file that is long": saved(run_file="#" * 1_000_000),
    "a run file that is no text": with_text("run_file", b"\xff"),
    "a run file of one key": saved(run_file=".".join("a" * 50_000) + " = 1"),
    "a run file that is deep": saved(run_file="a = " + "[" * 50_000),
    "a run file of another network": run_file("units = 5", "units = 6"),
    "a run file of a large network": run_file("units = 5", "units = 1000000000000"),
    "a normalization of text": normalized(mean="zero"),
    "a normalization of another length": normalized(mean=np.zeros(5)),
    "a normalization with NaN": normalized(mean=np.full(4, np.nan)),
    "a normalization of nothing": saved(normalization={}),
    "a normalization with more": normalized(more=1.0),
    "a normalization divided by zero": normalized(divisor=0.0),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, make in CORPUS.items():
        make(folder / name)
    whole = valid.checkpoint(folder / "whole")
    return child(whole, "checkpoint", "each", *(folder / n for n in CORPUS), whole)


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_checkpoint(found: dict[str, Any], name: str) -> None:
    # What is met where nobody knows the file any more says "the checkpoint".
    sentence = refused(found[name], "checkpoint", *ERRORS)
    assert name in sentence or sentence.startswith("the checkpoint")
    assert ("commit record does not match" in sentence) == (name == "holes")


def test_the_whole_one_is_read(found: dict[str, Any]) -> None:
    assert found["whole"]["outcome"] == "read"
    assert found["whole"]["opened"] == []
