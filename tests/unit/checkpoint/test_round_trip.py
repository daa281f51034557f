import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from disttrain.checkpoint import Snapshot, State, digest, load, save
from disttrain.checkpoint.save import contents_of, written
from disttrain.errors import CheckpointError

Make = Callable[..., Snapshot]
Same = Callable[[Snapshot, Snapshot], bool]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_everything_comes_back_bit_for_bit(
    tmp_path: Path, make: Make, same: Same, dtype: str
) -> None:
    save(tmp_path / "a.h5", make(dtype=dtype))
    found = load(tmp_path / "a.h5")
    assert same(found, make(dtype=dtype))
    assert list(found.parameters) == ["dense2/weight", "dense2/bias", "dense1/weight"]
    assert found.digest == make(dtype=dtype).digest


def test_saving_what_was_loaded_makes_the_same_state(
    tmp_path: Path, make: Make, same: Same
) -> None:
    save(tmp_path / "a.h5", make())
    save(tmp_path / "b.h5", load(tmp_path / "a.h5"))
    assert same(load(tmp_path / "b.h5"), make())


def test_the_digest_is_what_its_definition_says(tmp_path: Path, make: Make) -> None:
    """Parameters, then velocity, little-endian in layer order, then the step: by h5py alone."""
    save(tmp_path / "a.h5", make(step=300))
    sha = hashlib.sha256()
    with h5py.File(tmp_path / "a.h5") as file:
        names = json.loads(bytes(file["state"][()]))["tensors"]
        for group in ("parameters", "velocity"):
            for name in names:
                sha.update(file[group][name][()].astype("<f4").tobytes())
        sha.update((300).to_bytes(8, "little"))
        assert file.attrs["digest"] == sha.hexdigest()


def test_slots_of_any_names_come_back_and_count_in_their_order(
    tmp_path: Path, make: Make, same: Same
) -> None:
    moments = {name: make(step).parameters for step, name in enumerate(["second", "first"])}
    snapshot = replace(make(), slots=moments)
    save(tmp_path / "a.h5", snapshot)
    found = load(tmp_path / "a.h5")
    assert same(found, snapshot)
    assert found.digest == digest(
        snapshot.parameters, {"first": moments["first"], "second": moments["second"]}, 7
    )
    assert found.digest != digest(
        snapshot.parameters, {"first": moments["second"], "second": moments["first"]}, 7
    )


def test_the_digest_does_not_depend_on_byte_order_or_memory_layout() -> None:
    a = np.arange(6, dtype="<f8").reshape(2, 3)
    want = digest({"a": a}, {}, 1)
    assert digest({"a": a.astype(">f8")}, {}, 1) == want
    assert digest({"a": np.asfortranarray(a)}, {}, 1) == want
    assert digest({"a": a}, {}, 2) != want
    assert digest({"a": -a}, {}, 1) != want
    assert digest({"a": a.astype("f4")}, {}, 1) != want


def test_the_file_is_as_the_format_says(tmp_path: Path, make: Make) -> None:
    save(tmp_path / "a.h5", make())
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["format"] == "disttrain-checkpoint"
        assert file.attrs["version"] == 1
        assert file.attrs["step"] == 7
        for group in ("parameters", "velocity"):
            weight = file[f"{group}/dense2/weight"]
            assert weight.chunks is None
            assert weight.compression is None
            assert weight.dtype == np.float32
        assert bytes(file["run_file"][()]).decode() == make().run_file


def change(path: Path, how: Callable[[h5py.File], None]) -> None:
    with h5py.File(path, "r+") as file:
        how(file)


def rename(file: h5py.File) -> None:
    file.move("parameters/dense2/bias", "parameters/dense2/other")


def retype(file: h5py.File) -> None:
    values = file["parameters/dense2/bias"][()].astype("f8")
    del file["parameters/dense2/bias"]
    file["parameters/dense2/bias"] = values


def transpose(file: h5py.File) -> None:
    values = file["parameters/dense2/weight"][()].reshape(3, 2)
    del file["parameters/dense2/weight"]
    file["parameters/dense2/weight"] = values


def value(file: h5py.File) -> None:
    file["velocity/dense2/weight"][0, 0] += 1


def attribute(file: h5py.File) -> None:
    file["normalization"].attrs["divisor"] = 1.0


def step(file: h5py.File) -> None:
    file.attrs["step"] = 8


def more(file: h5py.File) -> None:
    file["more"] = 1


@pytest.mark.parametrize("how", [rename, retype, transpose, value, attribute, step, more])
def test_a_change_by_hand_is_noticed(
    tmp_path: Path, make: Make, how: Callable[[h5py.File], None]
) -> None:
    save(tmp_path / "a.h5", make())
    change(tmp_path / "a.h5", how)
    with pytest.raises(CheckpointError, match="commit record"):
        load(tmp_path / "a.h5")


def test_a_file_of_another_version_names_both(tmp_path: Path, make: Make) -> None:
    arrays, attributes = contents_of(make())
    attributes[""]["version"] = 9
    (tmp_path / "a.h5").write_bytes(b"".join(written(arrays, attributes)))
    with pytest.raises(CheckpointError, match="has version 9, this program reads 1"):
        load(tmp_path / "a.h5")


def test_a_data_file_is_no_checkpoint(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["format"] = "disttrain-data"
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load(tmp_path / "a.h5")


@pytest.mark.parametrize("name", ["no.h5", "."])
def test_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"does not exist|is not a file") as caught:
        load(tmp_path / name)
    assert caught.value.exit_code == 3


def test_a_checkpoint_of_before_the_record_said_types_still_loads(tmp_path: Path) -> None:
    """Written by the program of 2026-11-23, by `disttrain train`; see tests/unit/before."""
    before = Path(__file__).parents[1] / "before" / "checkpoint.h5"
    found = load(before)
    assert (found.step, found.epoch) == (12, 2.0)
    assert found.digest == "d38331d9295b323e9faf34581f7537f1fffcc3773e22e26b90124e2a7ac81716"
    assert {name: tensor.shape for name, tensor in found.slots["velocity"].items()} == {
        "dense1/weight": (5, 4), "dense1/bias": (5,), "dense2/weight": (3, 5), "dense2/bias": (3,),
    }  # fmt: skip
    with h5py.File(before) as file:
        for name, tensor in found.parameters.items():
            np.testing.assert_array_equal(tensor, file["parameters"][name][()])
        np.testing.assert_array_equal(found.normalization["mean"], file["normalization/mean"][()])
        assert found.normalization["kind"] == file["normalization"].attrs["kind"]
        assert found.normalization["divisor"] == file["normalization"].attrs["divisor"]
    save(tmp_path / "a.h5", found)
    assert load(tmp_path / "a.h5").digest == found.digest


def test_everything_in_the_file_is_what_the_record_says(tmp_path: Path, make: Make) -> None:
    """What others read by h5py is what is loaded here, attributes too."""
    save(tmp_path / "a.h5", make())
    found = load(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert {name: file.attrs[name] for name in ("step", "epoch", "digest")} == {
            "step": found.step, "epoch": found.epoch, "digest": found.digest,
        }  # fmt: skip
        for group, tensors in {"parameters": found.parameters, **found.slots}.items():
            for name, tensor in tensors.items():
                np.testing.assert_array_equal(file[group][name][()], tensor)
        for key, value in file["normalization"].attrs.items():
            assert found.normalization[key] == value
        assert bytes(file["run_file"][()]).decode() == found.run_file
        stated = json.loads(bytes(file["state"][()]))
        assert State.from_json(stated.pop("progress")) == found.progress
        assert stated == found.state


@pytest.mark.parametrize("slots", ["velocity", [1], ["other"], [], ["velocity", "parameters"]])
def test_slots_that_are_not_those_in_the_file_are_refused(
    tmp_path: Path, make: Make, slots: object
) -> None:
    arrays, attributes = contents_of(make())
    state = json.loads(bytes(arrays["state"]))
    arrays["state"] = np.bytes_(json.dumps(state | {"slots": slots}).encode())
    (tmp_path / "a.h5").write_bytes(b"".join(written(arrays, attributes)))
    with pytest.raises(CheckpointError, match="use another one of its run"):
        load(tmp_path / "a.h5")
