"""The list of long tests names tests that are there."""

import re
from pathlib import Path

HERE = Path(__file__).parent
NAMES = [
    line
    for line in (HERE / "long.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def test_each_long_test_is_there():
    for name in NAMES:
        file, function = re.match(r"tests/(\S+?\.py)::(\w+)", name).groups()
        if inner := re.search(r"ranks-(\w+\.py)::(\w+)", name):
            file, function = f"mpi/ranks/{inner[1]}", inner[2]
        assert f"def {function}(" in (HERE / file).read_text(), name
