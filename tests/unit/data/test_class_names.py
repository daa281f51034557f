"""Numbers and names of classes: the number 1 is the class 01 too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from disttrain.data.labels import class_numbers
from disttrain.data.normalization import Normalization
from disttrain.data.others.arrays import from_npz
from disttrain.data.others.base import Wanted
from disttrain.data.taught import Taught
from disttrain.errors import DataError

PLAIN = Normalization("none", 1.0, np.zeros(2), np.ones(2))
CODES = ("01", "02", "03")


def taught(names: tuple[str, ...]) -> Taught:
    return Taught("run", (2,), 3, 3, PLAIN, names)


@pytest.mark.parametrize("names", [CODES, ("1", "2", "3"), ("001", "002", "003")])
def test_numbers_of_a_file_without_names_are_those_of_codes(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    network = taught(names)
    assert network.matched(np.array([1, 2, 2]), (), "f").tolist() == [0, 1, 1]
    assert network.matched(np.array([0, 2, 2]), (), "f").tolist() == [0, 2, 2]
    np.savez(tmp_path / "a.npz", inputs=np.zeros((3, 2)), targets=[1, 2, 2])
    other = from_npz(tmp_path / "a.npz", network, Wanted(labelled=True), lambda *_: None)
    assert other.split.targets.tolist() == [0, 1, 1]


@pytest.mark.parametrize("labels", [[1, 3], ["01", "03"], ["1", "03"], np.array([1, 3], "u1")])
def test_labels_of_a_script_are_matched_as_those_of_a_table(labels: object) -> None:
    assert class_numbers(labels, CODES).tolist() == [0, 2]
    assert class_numbers(["1", "01"], ["1", "01"]).tolist() == [0, 1]
    with pytest.raises(DataError, match="the class 4, which is none of the 3"):
        class_numbers([1, 4, 3], CODES)
