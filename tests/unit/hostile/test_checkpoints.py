"""Checkpoints that were made to harm, all with a commit record that is right.

Its table is what is read, so most attacks are on the table. The HDF5 part counts where the record
is of the first form, which says no types: there h5py does the harm, and the record is made of it.
"""

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
from disttrain.checkpoint.commit import signed
from disttrain.checkpoint.save import contents_of, written
from tests.unit.hostile import valid
from tests.unit.hostile.arrays import ARRAYS
from tests.unit.hostile.bytes import BYTES
from tests.unit.hostile.run import child, name_of, refused
from tests.unit.hostile.signing import anew, first_form, parted

Make = Callable[[Path], object]
ERRORS = ("CheckpointError", "RunFileError")


def edited(edit: Callable[[h5py.File], None]) -> Make:
    """Return what writes a checkpoint, edited by h5py, with a record of the first form."""

    def make(path: Path) -> None:
        path.write_bytes(parted(image(valid.snapshot()))[0])
        with h5py.File(path, "r+") as file:
            edit(file)
        path.write_bytes(first_form(path.read_bytes()))

    return make


def with_array(name: str) -> Make:
    def edit(file: h5py.File) -> None:
        del file["parameters/dense2/weight"]
        ARRAYS[name](file["parameters/dense2"], "weight", Path(file.filename).parent)

    return edited(edit)


def with_contents(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Make:
    """Return what writes a checkpoint of other arrays and attributes."""

    def make(path: Path) -> None:
        arrays, attributes = contents_of(valid.snapshot())
        change(arrays, attributes)
        path.write_bytes(b"".join(written(arrays, attributes)))

    return make


def with_text(name: str, text: bytes) -> Make:
    return with_contents(lambda arrays, _: arrays.__setitem__(name, np.bytes_(text)))


def with_state(change: Callable[[dict[str, Any]], object]) -> Make:
    def make(path: Path) -> None:
        snapshot = valid.snapshot()
        state = json.loads(json.dumps({**snapshot.state, "progress": snapshot.progress.to_json()}))
        state["tensors"] = list(valid.SHAPES)
        change(state)
        with_text("state", json.dumps(state).encode())(path)

    return make


def with_table(change: Callable[[dict[str, Any]], object]) -> Make:
    """Return what writes a checkpoint with another table in its record."""

    def make(path: Path) -> None:
        content, table = parted(image(valid.snapshot()))
        change(table)
        path.write_bytes(content + signed(json.dumps(table).encode()))

    return make


def placed(first: object, length: object = 80) -> Make:
    """Return what states other bytes for a tensor of 80 bytes, and signs those that are there."""

    def make(path: Path) -> None:
        content, table = parted(image(valid.snapshot()))
        table["data sets"]["parameters/dense1/weight"] = [first, length, ""]
        whole = type(first) is type(length) is int
        path.write_bytes(
            anew(content, table) if whole else content + signed(json.dumps(table).encode())
        )

    return make


def typed(dtype: object, shape: object) -> Make:
    return with_table(lambda t: t["types"].update({"parameters/dense1/weight": [dtype, shape]}))


def with_attribute(group: str, key: str, value: object) -> Make:
    return with_table(lambda table: table["attributes"][group].update({key: value}))


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


def one_tensor_many_times(file: h5py.File) -> None:
    file["more/0"] = np.zeros(100_000)
    for n in range(1, 100):
        file[f"more/{n}"] = file["more/0"]


def holes(path: Path) -> None:
    """The size of a terabyte, and a mark at its end."""
    content = image(valid.snapshot())
    with path.open("wb") as file:
        file.write(parted(content)[0])
        file.truncate(1 << 40)


def far(name: str, length: int, shape: list[int]) -> Make:
    """Return what states a part of `length` bytes that are all hole."""

    def make(path: Path) -> None:
        content, table = parted(image(valid.snapshot()))
        table["data sets"][name] = [len(content), length, "0" * 64]
        table["types"][name][1] = shape
        table["bytes"] = len(content) + length
        with path.open("wb") as file:
            file.write(content)
            file.truncate(table["bytes"])
            file.seek(table["bytes"])
            file.write(signed(json.dumps(table).encode()))

    return make


def in_chunks(file: h5py.File) -> None:
    values = file["parameters/dense1/weight"][()]
    del file["parameters/dense1/weight"]
    file.create_dataset("parameters/dense1/weight", data=values, chunks=True, compression="gzip")


def transposed(arrays: dict[str, Any], attributes: dict[str, Any]) -> None:
    weight = arrays["parameters/dense1/weight"]
    arrays["parameters/dense1/weight"] = np.ascontiguousarray(weight.T)


def one_more_tensor(arrays: dict[str, Any], attributes: dict[str, Any]) -> None:
    arrays["parameters/dense3/weight"] = np.zeros(4, "f4")


def one_more_group(arrays: dict[str, Any], attributes: dict[str, Any]) -> None:
    arrays["more/dense1/weight"] = np.zeros(4, "f4")


def text_of_varying_length(file: h5py.File) -> None:
    del file["state"]
    file["state"] = "{}"


NONE: dict[str, Any] = {"data sets": {}}
DEEP = b'{"a":' * 100_000
CORPUS: dict[str, Make] = {
    **{name: with_array(name) for name in ARRAYS},
    **{
        name: (lambda path, make=make: path.write_bytes(anew(make(), NONE)))
        for name, make in BYTES.items()
    },
    **{
        name_of(edit): edited(edit)
        for edit in (
            one_tensor_many_times, in_chunks, text_of_varying_length,
        )
    },
    **{
        name_of(change): with_contents(change)
        for change in (transposed, one_more_tensor, one_more_group)
    },
    "holes": holes,
    "no HDF5": lambda path: path.write_bytes(anew(b"hello", NONE)),
    "nothing but a record": lambda path: path.write_bytes(anew(b"", NONE)),
    "a step of text in the file": edited(lambda file: file.attrs.__setitem__("step", "many")),
    "no epoch in the file": edited(lambda file: file.attrs.__delitem__("epoch")),
    "a tensor of a terabyte": far("parameters/dense1/weight", 1 << 40, [1 << 19, 1 << 19]),
    "nothing for a terabyte": far("parameters/dense1/weight", 1 << 40, [5, 4]),
    "a state of a terabyte": far("state", 1 << 40, []),
    "a tensor past the end": placed(1 << 30),
    "a tensor before the beginning": placed(-80),
    "a tensor at half a byte": placed(8192.5),
    "a tensor at true": placed(True),
    "a tensor of less than nothing": placed(8192, -80),
    "a tensor where another is": placed(8200),
    "a tensor without a place": with_table(lambda t: t["data sets"].update(state=[])),
    "a tensor of more rows than bytes": typed("<f4", [1 << 40, 4]),
    "a tensor of negative rows": typed("<f4", [-5, -4]),
    "a tensor of no rows": typed("<f4", [0, 1 << 62]),
    "a tensor of half a row": typed("<f4", [2.5, 8]),
    "a tensor of many dimensions": typed("<f4", [5, 4] + [1] * 100),
    "a tensor of text": typed("|S80", []),
    "a tensor of texts without end": typed("|S9999999999", []),
    "a tensor of whole numbers": typed("<i4", [5, 4]),
    "a tensor of objects": typed("|O", [10]),
    "a tensor of records": typed("<f4,<f4", [5, 2]),
    "a tensor of a type that is a list": typed(["<f4"], [5, 4]),
    "a tensor of a shape that is text": typed("<f4", "54"),
    "a tensor without a type": with_table(lambda t: t["types"].pop("parameters/dense1/weight")),
    "a tensor with a name that a terminal obeys": with_table(
        lambda t: t["data sets"].update({"\x1b[31m": [0, 8, "0"]})
    ),
    "a digest that a terminal obeys": with_attribute("", "digest", "\x1b[31m" * 20),
    "a digest of nothing": with_attribute("", "digest", None),
    "no types": with_table(lambda t: t.pop("types")),
    "no attributes": with_table(lambda t: t["attributes"].clear()),
    "attributes are a list": with_table(lambda t: t.update(attributes=[1])),
    "data sets are a list": with_table(lambda t: t.update({"data sets": [1]})),
    "no data sets": with_table(lambda t: t.update({"data sets": {}})),
    "a table that is a list": lambda path: path.write_bytes(signed(b"[]")),
    "a table that is deep": lambda path: path.write_bytes(signed(DEEP)),
    "a table of a long number": lambda path: path.write_bytes(signed(b"9" * 100_000)),
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
    "a negative step": with_attribute("", "step", -1),
    "a step of text": with_attribute("", "step", "many"),
    "an epoch that is no number": with_attribute("", "epoch", float("nan")),
    "a format of many": with_attribute("", "format", ["disttrain-checkpoint"] * 3),
    "a version of many": with_attribute("", "version", [1, 1]),
    "a divisor of many": with_attribute("normalization", "divisor", [1.0] * 8000),
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


# What harms h5py alone: nobody looks there.
HARMLESS: dict[str, Callable[[h5py.File], object]] = {
    "deep groups": lambda file: file.create_group("/".join("a" * 200)),
    "groups in a circle": lambda file: file.__setitem__("parameters/again", file["parameters"]),
    "a link that nobody asks for": lambda file: ARRAYS["external link to a pipe"](
        file, "notes", Path(file.filename).parent
    ),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, make in CORPUS.items():
        make(folder / name)
    for name, edit in HARMLESS.items():
        edited(edit)(folder / name)
    whole = valid.checkpoint(folder / "whole")
    (folder / "first form").write_bytes(first_form(parted(whole.read_bytes())[0]))
    paths = [folder / name for name in (*CORPUS, *HARMLESS, "first form", "whole")]
    return child(whole, "checkpoint", "each", *paths)


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_checkpoint(found: dict[str, Any], name: str) -> None:
    # What is met where nobody knows the file any more says "the checkpoint".
    sentence = refused(found[name], "checkpoint", *ERRORS)
    assert name in sentence or sentence.startswith("the checkpoint")
    assert ("commit record does not match" in sentence) == (name == "holes")


@pytest.mark.parametrize("name", ["whole", "first form", *HARMLESS])
def test_the_whole_one_is_read(found: dict[str, Any], name: str) -> None:
    assert found[name] == found["whole"]
    assert found["whole"]["outcome"] == "read"
    assert found["whole"]["opened"] == []
