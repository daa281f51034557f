"""`together`: what fails on one rank is raised on all, and what fails on none is raised nowhere."""

import pytest

from disttrain.errors import (
    DataError,
    Divergence,
    RankFailure,
    RunFileError,
    raised_everywhere,
)


def outcome(comm, failing, error):
    """Fail with `error` on the ranks `failing`; return what this rank sees."""
    try:
        with comm.together("opening data"):
            if comm.rank in failing:
                raise error
    except Exception as caught:
        return caught
    return None


def test_nothing_is_raised_where_nothing_failed(comm):
    done = []
    with comm.together("opening data"):
        done.append(comm.rank)
    assert done == [comm.rank]
    assert comm.watch.current == "opening data"


@pytest.mark.parametrize("who", ["first", "last", "middle"])
def test_all_ranks_name_the_one_that_failed(comm, who):
    rank = {"first": 0, "last": comm.size - 1, "middle": comm.size // 2}[who]
    caught = outcome(comm, [rank], ValueError("a broken disk"))
    assert type(caught) is RankFailure
    assert (caught.rank, caught.phase, caught.exit_code) == (rank, "opening data", 1)
    assert str(caught) == f"rank {rank} failed in opening data: ValueError: a broken disk"
    assert "raise error" in caught.details
    assert isinstance(caught.__cause__, ValueError) == (comm.rank == rank)
    assert len(set(comm.collect(str(caught)))) == 1


@pytest.mark.parametrize("kind", [DataError, RunFileError, Divergence])
def test_an_error_for_the_user_keeps_its_code_and_text(comm, kind):
    caught = outcome(comm, [comm.size - 1], kind("no such file"))
    assert caught.exit_code == kind.exit_code
    assert str(caught).endswith("no such file")
    if comm.size == 1:
        assert type(caught) is kind
    else:
        assert type(caught) is RankFailure
        assert caught.details == ""


def test_a_mistake_that_rank_0_finds_for_all_is_said_without_its_number(comm):
    bug = "rank 0 failed in opening data: ValueError: x"
    for error, said in ((DataError("gone"), "gone"), (ValueError("x"), bug)):
        try:
            with comm.together("opening data", by_root=True):
                if comm.is_root:
                    raise error
        except Exception as failure:
            caught = failure
        alone = comm.size == 1 and isinstance(error, DataError)
        assert type(caught) is (DataError if alone else RankFailure)
        assert comm.collect(str(caught)) == [said] * comm.size


def test_the_lowest_failed_rank_speaks_and_the_others_are_named(comm):
    if comm.size < 3:
        pytest.skip("needs three ranks")
    failing = list(range(1, comm.size))
    caught = outcome(comm, failing, OSError(f"disk of rank {comm.rank}"))
    assert caught.rank == 1
    assert "disk of rank 1" in str(caught)
    assert f"also on ranks {', '.join(map(str, failing[1:]))}" in str(caught)


def test_all_ranks_may_fail(comm):
    caught = outcome(comm, range(comm.size), DataError("gone"))
    # The same mistake everywhere: a script catches it by its type, on any number of ranks.
    assert type(caught) is DataError
    assert raised_everywhere(caught) == (comm.size > 1)
    assert caught.exit_code == 3
    assert str(caught).count("gone") == 1


def test_it_can_be_used_again_after_a_failure(comm):
    for turn in range(3):
        assert outcome(comm, [turn % comm.size], KeyError("k")) is not None
        assert outcome(comm, [], None) is None
    assert comm.collect(comm.rank) == list(range(comm.size))


def test_an_error_that_cannot_be_pickled_is_told_all_the_same(comm):
    class Local(Exception):
        def __reduce__(self):
            raise TypeError("no pickle")

    caught = outcome(comm, [comm.size - 1], Local("here"))
    assert "Local: here" in str(caught)


def test_settle_after_a_step_names_the_step(comm):
    error = ValueError("nan") if comm.rank == comm.size - 1 else None
    with pytest.raises(RankFailure) as caught:
        comm.settle("backward (step 7)", error)
    assert caught.value.phase == "backward (step 7)"
    assert caught.value.rank == comm.size - 1
