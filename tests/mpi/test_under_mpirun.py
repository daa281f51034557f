"""Every test of `ranks/` under 1 to 4 ranks, and exact mode on more ranks than cores."""

import pytest

from tests.mpi.suite import Job, collect, sampled

NUMBERS = (1, 2, 3, 4)
MORE = (5, 7, 8)
# On 5 and 8 ranks a function has the parameters that it has on these numbers of ranks.
AS_ON = {5: 1, 8: 4}


def pytest_generate_tests(metafunc):
    tests, items = collect(), []
    names = [test["name"] for test in tests]
    for ranks in (*NUMBERS, *MORE):
        few = sampled(AS_ON.get(ranks, ranks), [t["name"] for t in tests if not t["long"]])
        for name in names:
            if ranks in MORE and not name.startswith("test_exact.py"):
                continue
            if ranks in AS_ON and name not in few:
                continue
            marks = [] if name in few and ranks in NUMBERS else [pytest.mark.long]
            items.append(pytest.param(ranks, name, marks=marks, id=f"{ranks} ranks-{name}"))
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
