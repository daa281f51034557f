"""Every test here is collective, and so is its outcome: it passes on all ranks or fails on all."""

import faulthandler
import json
import os
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytest

import disttrain

# Before MPI is: it sets what MPI reads when it starts.
COMM = disttrain.connect()

from mpi4py import MPI  # noqa: E402

from tests.cli.shell import blobs  # noqa: E402
from tests.mpi.suite import (  # noqa: E402
    CHOSEN,
    COLLECT,
    REPORTS,
    SAMPLED,
    sampled,
    stacks_path,
)

# A rank that failed waits so long for the others to end the same test.
PATIENCE = 15.0
# After so many seconds, before the time limit of a test, each rank writes down where it is.
STANDS = 80.0


@pytest.fixture(scope="session")
def comm():
    return COMM


@pytest.fixture(scope="session")
def jobs(comm):
    """Groups of the first ranks, by their size, as smaller jobs: None on the other ranks."""
    found = {comm.size: comm}
    for size in range(1, comm.size):
        group = comm.split(int(comm.rank >= size))
        found[size] = group if comm.rank < size else None
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
def pytest_runtest_protocol():
    if REPORTS not in os.environ:
        return (yield)
    with open(stacks_path(Path(os.environ[REPORTS]), COMM.rank), "w") as file:
        faulthandler.dump_traceback_later(STANDS, file=file)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()


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


def name_of(nodeid):
    """The name of a test in `tests/mpi/suite.py`, as in "test_sums.py::test_a[ring]"."""
    return nodeid.rsplit("/", 1)[-1]


def pytest_collection_modifyitems(config, items):
    if path := os.environ.get(COLLECT):
        found = [
            {"name": name_of(item.nodeid), "long": item.get_closest_marker("long") is not None}
            for item in items
        ]
        Path(path).write_text(json.dumps(found))
    if path := os.environ.get(CHOSEN):
        keep(config, items, set(json.loads(Path(path).read_text())))
    if SAMPLED in os.environ:
        short = [item for item in items if item.get_closest_marker("long") is None]
        keep(config, items, sampled(COMM.size, [name_of(item.nodeid) for item in short]))


def keep(config, items, chosen):
    """Leave the chosen items alone."""
    config.hook.pytest_deselected(items=[i for i in items if name_of(i.nodeid) not in chosen])
    items[:] = [item for item in items if name_of(item.nodeid) in chosen]


# What each test has said so far: it has ended when its fixtures have.
SAID = {}


def pytest_runtest_logreport(report):
    if COMM.is_root and REPORTS in os.environ:
        worst, texts = SAID.setdefault(report.nodeid, ["passed", []])
        if report.outcome != "passed":
            SAID[report.nodeid][0] = "failed" if "failed" in (worst, report.outcome) else "skipped"
            texts.append(report.longrepr[2] if report.skipped else report.longreprtext)
        if report.when == "teardown":
            outcome, texts = SAID.pop(report.nodeid)
            line = {"name": name_of(report.nodeid), "outcome": outcome, "text": "\n".join(texts)}
            with open(os.environ[REPORTS], "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
