"""The lists of long tests name tests that are there, and leave `make test` what it promises."""

import re
from pathlib import Path

from tests.conftest import LISTS
from tests.mpi.suite import collect, sampled

HERE = Path(__file__).parent
NAMES = LISTS["long"]


def test_each_long_test_is_there():
    for name in NAMES | LISTS["exhaustive"]:
        file, function = re.match(r"tests/(\S+?\.py)::(\w+)", name).groups()
        if inner := re.search(r"ranks-(\w+\.py)::(\w+)", name):
            file, function = f"mpi/ranks/{inner[1]}", inner[2]
        assert f"def {function}(" in (HERE / file).read_text(), name


def test_make_test_runs_each_collective_test_on_several_ranks():
    short = [test["name"] for test in collect() if not test["long"]]
    item = "tests/mpi/test_under_mpirun.py::test_passes[{} ranks-{}]"
    quick = {
        name
        for ranks in (2, 3, 4)
        for name in sampled(ranks, short)
        if item.format(ranks, name) not in NAMES
    }
    assert quick == set(short)
