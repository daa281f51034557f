"""Every test of `ranks/` under 1 to 4 ranks, and exact mode on more ranks than cores."""

import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.mpi.suite import Job, collect

NUMBERS = (1, 2, 3, 4)
MORE = (5, 7, 8)
# On these numbers of ranks one set of parameters in three is short; the others are `long`.
SAMPLED = (1, 4)


def pytest_generate_tests(metafunc):
    with tempfile.TemporaryDirectory() as folder:
        tests, items = collect(Path(folder)), []
    for ranks in (*NUMBERS, *MORE):
        seen = Counter()
        for test in tests:
            if ranks in MORE and not test["name"].startswith("test_exact.py"):
                continue
            function = test["name"].partition("[")[0]
            left_out = ranks in SAMPLED and seen[function] % 3 != 0
            seen[function] += 1
            marks = [pytest.mark.long] if test["long"] or ranks in MORE or left_out else []
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
