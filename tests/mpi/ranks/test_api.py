"""The Python interface on several ranks: all call it, all get the same, all hear of a mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

import disttrain
from disttrain.comm import Communicator
from disttrain.comm.alone import Alone
from tests.conftest import blobs

X, Y = blobs(96, 1)
KEYS = {"layers": [{"units": 8, "activation": "tanh"}, 3], "epochs": 2, "batch_size": 24,
        "device": "cpu", "mode": "exact"}  # fmt: skip


def rate(epoch: int) -> float:
    return 0.1 * 0.5**epoch


def test_arrays_give_the_same_bits_on_all_ranks_as_on_one(
    comm: Communicator, together_path: Path
) -> None:
    # Only rank 0's arrays are looked at.
    mine = (X, Y) if comm.is_root else (X * np.nan, Y - 5)
    data = disttrain.Data(*mine, test=(X[:9], Y[:9]) if comm.is_root else None)
    model = disttrain.train(data, schedule=rate, comm=comm, **KEYS)
    found = (model.summary["digest"], model.evaluate(), model.predict(X).tobytes())
    assert len(set(comm.collect(found))) == 1
    if comm.is_root:
        data = disttrain.Data(X, Y, test=(X[:9], Y[:9]))
        alone = disttrain.train(data, schedule=rate, comm=Alone(), **KEYS)
        assert alone.summary["digest"] == found[0]
        assert alone.predict(X).tobytes() == found[2]
    again = disttrain.train(data, together_path / "run", schedule=rate, comm=comm, **KEYS)
    assert disttrain.load(together_path / "run", comm=comm).evaluate(X, Y) == again.evaluate(X, Y)


def test_a_communicator_of_mpi4py_is_one_too(comm: Communicator) -> None:
    own = MPI.COMM_WORLD.Dup()
    try:
        found = disttrain.train(disttrain.Data(X, Y), comm=own, **KEYS).summary["digest"]
    finally:
        own.Free()
    assert found == disttrain.train(disttrain.Data(X, Y), comm=comm, **KEYS).summary["digest"]


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda data, comm: disttrain.train(data, comm=comm, epoch=3), "did you mean 'epochs'"),
        (
            lambda data, comm: disttrain.train(
                data, comm=comm, **KEYS | {"schedule": lambda e: 1 / 0}
            ),
            "ZeroDivisionError",
        ),
        (
            lambda data, comm: disttrain.train(disttrain.Data(X, Y[:4]), comm=comm, **KEYS),
            "96 rows of inputs but 4 targets",
        ),
    ],
)
def test_a_mistake_is_raised_on_all_ranks(
    comm: Communicator, mistake: Callable[..., object], words: str
) -> None:
    try:
        mistake(disttrain.Data(X, Y), comm)
    except Exception as error:
        said = str(error)
    # The rank itself raises its own error, the others one that names it.
    assert all(words.split(" ", 1)[-1] in one or "division" in one for one in comm.collect(said))
