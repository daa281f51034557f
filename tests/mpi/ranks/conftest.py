"""Every test here is collective, and so is its outcome: it passes on all ranks or fails on all."""

import sys
import time
import traceback
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

import disttrain

# Before MPI is: it sets what MPI reads when it starts.
COMM = disttrain.connect()

from mpi4py import MPI  # noqa: E402

from disttrain.comm import ranks  # noqa: E402
from disttrain.comm.alone import Alone  # noqa: E402
from tests.cli.shell import blobs  # noqa: E402

# A rank that failed waits so long for the others to end the same test.
PATIENCE = 15.0


@pytest.fixture(scope="session")
def comm():
    return COMM


@pytest.fixture(scope="session")
def jobs(comm, outcomes):
    """Smaller jobs on the first ranks of this one, by their size: None on the other ranks."""
    found = {comm.size: comm}
    for size in range(1, comm.size):
        part = outcomes.Split(comm.rank < size, comm.rank)
        found[size] = None
        if comm.rank < size:
            world = SimpleNamespace(**vars(MPI) | {"COMM_WORLD": part})
            with mock.patch.object(ranks, "MPI", world):
                found[size] = ranks.Ranks() if size > 1 else Alone()
    return found


@pytest.fixture(scope="session")
def together_path(comm, tmp_path_factory):
    """A folder that all ranks see."""
    return comm.share(tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="session")
def made(comm, together_path):
    """A function that has rank 0 write a data file that all ranks see, and returns its path."""

    def make(name, write, *sizes, **options):
        path = together_path / name
        with comm.together("making data"):
            if comm.is_root:
                write(path, *sizes, **options)
        return path

    return make


@pytest.fixture(scope="session")
def perceptron(made):
    """The settings of one unit, by the perceptron's rule, on two classes."""
    path = made("two.h5", blobs, 60, classes=2)
    return disttrain.parse(f"""
        [data]
        path = "{path}"
        validation_fraction = 0.2
        [model]
        layers = [{{ units = 1, activation = "sign" }}]
        loss = "perceptron"
        dtype = "float64"
        [training]
        epochs = 5
    """)


@pytest.fixture(scope="session")
def outcomes():
    return MPI.COMM_WORLD.Dup()


@pytest.fixture(autouse=True)
def _joined(comm, outcomes):
    """Ranks join, and the outcomes have their communicator, before the first test."""


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    outcomes = pyfuncitem.funcargs["outcomes"]
    error = None
    try:
        result = yield
    except pytest.skip.Exception:
        raise
    except BaseException as caught:
        error = caught
    text = "".join(traceback.format_exception(error)) if error else ""
    mine, failed = np.array([bool(error)], "i8"), np.zeros(1, "i8")
    request = outcomes.Iallreduce(mine, failed)
    limit = time.monotonic() + PATIENCE if error else float("inf")
    while not request.Test():
        if time.monotonic() > limit:
            # The others are inside a collective call of this test, and stay there.
            print(f"rank {outcomes.rank}, {pyfuncitem.nodeid}:\n{text}", file=sys.stderr)
            sys.stderr.flush()
            MPI.COMM_WORLD.Abort(1)
        time.sleep(0.0005)
    if failed[0]:
        texts = outcomes.allgather(text)
        if error is None:
            rank = next(r for r, t in enumerate(texts) if t)
            error = AssertionError(f"passed here, but on rank {rank}:\n{texts[rank]}")
    if error is not None:
        raise error
    return result
