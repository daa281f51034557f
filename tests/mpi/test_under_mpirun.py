import pytest

from tests.mpi.run import start


@pytest.mark.timeout(300)
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_every_collective_test_passes(ranks):
    assert start(ranks, ["-m", "not long"], limit=280) == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("ranks", [5, 7, 8])
def test_exact_mode_on_more_ranks_than_cores(ranks):
    assert start(ranks, ["-k", "test_exact.py and not long"], limit=280) == 0
