"""Every test of `ranks/` under 1 to 4 ranks, and exact mode on more ranks than cores."""

import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.mpi.suite import Job, collect

NUMBERS = (1, 2, 3, 4)
MORE = (5, 7, 8)


def is_sampled(ranks, number, sets):
    """Whether set of parameters `number` of a function that has `sets` is short on these ranks.

    Every function is run on each number of ranks, and every set on 2 or on 3; the rest is `long`.
    """
    if ranks in MORE or sets == 1:
        return ranks not in MORE
    return {1: number % 3 == 0, 2: number % 2 == 0, 3: number % 2 == 1, 4: number % 3 == 1}[ranks]


def pytest_generate_tests(metafunc):
    with tempfile.TemporaryDirectory() as folder:
        tests, items = collect(Path(folder)), []
    function_of = {test["name"]: test["name"].partition("[")[0] for test in tests}
    sets = Counter(function_of[test["name"]] for test in tests if not test["long"])
    for ranks in (*NUMBERS, *MORE):
        seen = Counter()
        for test in tests:
            function = function_of[test["name"]]
            if ranks in MORE and not test["name"].startswith("test_exact.py"):
                continue
            short = not test["long"] and is_sampled(ranks, seen[function], sets[function])
            seen[function] += not test["long"]
            marks = [] if short else [pytest.mark.long]
            items.append(
                pytest.param(ranks, test["name"], marks=marks, id=f"{ranks} ranks-{test['name']}")
            )
    metafunc.parametrize(("ranks", "name"), items)


@pytest.fixture(scope="module")
def jobs(request, tmp_path_factory):
    """A function that returns the job of a number of ranks; the one before has ended then."""
    chosen = {}
    for item in request.session.items:
        if item.path == request.path:
            chosen.setdefault(item.callspec.params["ranks"], []).append(
                item.callspec.params["name"]
            )
    running = {}

    def job(ranks):
        if ranks not in running:
            for other in running.values():
                other.close()
            running[ranks] = Job(ranks, chosen[ranks], tmp_path_factory.mktemp(f"{ranks}-ranks"))
        return running[ranks]

    yield job
    for one in running.values():
        one.close()


@pytest.mark.timeout(300)
def test_passes(jobs, ranks, name):
    outcome, text = jobs(ranks).outcome(name)
    if outcome == "skipped":
        pytest.skip(text)
    if outcome == "failed":
        pytest.fail(text, pytrace=False)
