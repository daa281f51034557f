"""Ranks that do not make the same calls: all that came are told, at once, who made which."""

import io
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
from mpi4py import MPI

import disttrain
from disttrain.errors import LostRanks, UsageError
from tests.cli.shell import blobs

pytestmark = pytest.mark.timeout(60)
ALIKE = "every rank must give the same arguments"


@pytest.fixture(scope="module")
def models(comm, made):
    """Two networks in memory, made by the same line."""
    path = made("calls.h5", blobs, 120)
    settings = disttrain.settings(path, layers=[3], epochs=1)
    return [disttrain.build(settings, comm=comm) for _ in range(2)]


@pytest.fixture
def soon(monkeypatch):
    """Ranks that wait say so soon."""
    monkeypatch.setenv("DISTTRAIN_NOTICE_SECONDS", "1.5")


def rows(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 5)).astype("float32")


def apart(comm, *calls):
    """Make the first call on rank 0 and the second on the others; return what each rank hears."""
    with pytest.raises(UsageError) as caught:
        calls[min(comm.rank, 1)]()
    said = comm.collect(str(caught.value))
    assert len(set(said)) == 1
    return said[0]


def others(comm):
    return "rank 1" if comm.size == 2 else f"ranks {', '.join(map(str, range(1, comm.size)))}"


def many(comm):
    if comm.size == 1:
        pytest.skip("one rank can't differ from another")


def test_different_calls_are_named_with_their_lines(comm, models):
    many(comm)
    X = rows(5)
    said = apart(comm, lambda: models[0].predict(X), lambda: models[0].validate())
    assert "rank 0: predict, at test_calls.py:" in said
    assert f"{others(comm)}: validate, at test_calls.py:" in said
    assert "every rank must make the same calls in the same order" in said
    assert models[0].predict(X).shape == (5, 3)


def test_calls_of_a_communicator_itself(comm):
    many(comm)
    said = apart(comm, comm.barrier, lambda: comm.share(1))
    assert "rank 0: barrier, at" in said
    assert f"{others(comm)}: share, at" in said


@pytest.mark.parametrize("case", ["rows", "values", "network", "everywhere"])
def test_the_same_call_with_other_arguments(comm, models, case):
    many(comm)
    X, first = rows(5), models[0]
    call, words = {
        "rows": (lambda: first.predict(X[:4]), "inputs of shape (4, "),
        "values": (lambda: first.predict(rows(5, seed=1)), "with other values"),
        "network": (lambda: models[1].predict(X), "of what call "),
        "everywhere": (lambda: first.predict(X, everywhere=False), "everywhere False"),
    }[case]
    said = apart(comm, lambda: first.predict(X), call)
    assert words in said
    assert said.endswith(ALIKE)


def test_last_bits_do_not_make_other_values(comm, models):
    X = rows(50) * np.float32(1 + comm.rank * 1e-7)
    assert models[0].predict(X).shape == (50, 3)


def test_the_same_call_at_other_lines_is_the_same(comm, models):
    X = rows(3)
    first, second = (lambda: models[0].predict(X)), (lambda: models[0].predict(X))
    found = first() if comm.is_root else second()
    assert len({tuple(row.ravel()) for row in comm.collect(found)}) == 1


def test_what_only_one_rank_gives_to_train(comm, together_path, made):
    many(comm)
    path = made("calls-metrics.h5", blobs, 60)
    metrics = {"right": lambda outputs, targets: 1.0} if comm.is_root else {}
    with pytest.raises(UsageError, match=r"rank 0: train, .*metrics right.*metrics none"):
        disttrain.train(path, together_path / "metrics", layers=[3], metrics=metrics, comm=comm)


def test_settings_are_those_of_rank_0(comm, made):
    path = made("calls-settings.h5", blobs, 60)
    settings = disttrain.settings(path, layers=[3], epochs=1, seed=1 + comm.rank)
    run = disttrain.build(settings, comm=comm)
    assert run.settings.seed == 1
    assert len(set(comm.collect(run.digest()))) == 1


def test_a_slow_rank_is_waited_for_and_named_once(comm, models, soon, monkeypatch):
    many(comm)
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    if comm.rank == comm.size - 1:
        time.sleep(4)
    models[0].predict(rows(2))
    monkeypatch.undo()
    lines = [line for text in comm.collect(said.getvalue()) for line in text.splitlines()]
    assert len(lines) == 1
    assert lines[0].startswith("disttrain: rank 0 has waited ")
    assert f"rank {comm.size - 1}: in no collective call, at test_calls.py:" in lines[0]
    assert "if they are at work, all is well; the job ends after 600 s" in lines[0]


def test_where_rank_0_is_the_slow_one(comm, models, soon, monkeypatch):
    many(comm)
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    if comm.is_root:
        time.sleep(5)
    models[0].predict(rows(2))
    monkeypatch.undo()
    texts = comm.collect(said.getvalue())
    assert texts[1].startswith("disttrain: rank 1 has waited ")
    assert "rank 0: in no collective call, at test_calls.py:" in texts[1]
    assert sum(map(len, texts)) == len(texts[1])


def test_a_group_whose_ranks_do_not_all_use_it(comm):
    many(comm)

    def work(group):
        if group.is_root:
            group.barrier()

    outcome, *rest = disttrain.in_groups(comm, 0, work)
    assert not rest
    assert outcome.exit_code == 2
    assert "rank 0: barrier, at test_calls.py:" in outcome.failure
    assert f"{others(comm)}: the end of its work" in outcome.failure


def test_ranks_that_wait_for_each_other_on_two_communicators(comm, soon, monkeypatch):
    """Of more than two ranks the third would hear of it by the end of the job."""
    if comm.size != 2:
        pytest.skip("for two ranks")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    mine = MPI.COMM_WORLD.Dup()
    other = disttrain.connect(mine)
    with pytest.raises(UsageError, match=r"barrier, at .*, on another communicator"):
        (comm if comm.is_root else other).barrier()
    monkeypatch.undo()
    if not comm.is_root:
        # Here it is the call that this rank missed.
        with pytest.raises(UsageError, match="barrier, at "):
            comm.barrier()
    other.close()
    mine.Free()
    comm.barrier()


def test_a_second_thread_is_refused(comm, models):
    from threading import Thread

    many(comm)
    found = []

    class Slow(disttrain.Dense):
        rowwise = True

        def forward(self, x, ctx):
            if not found:
                thread = Thread(target=call)
                thread.start()
                thread.join()
            return super().forward(x, ctx)

    def call():
        try:
            comm.barrier()
        except UsageError as error:
            found.append(str(error))

    run = disttrain.build(models[0].settings, layers=[Slow(3)], comm=comm)
    disttrain.fit(run)
    assert "while another thread is in" in found[0]


def test_a_rank_that_left_is_missed_in_each_later_call(comm):
    """What a rank sends at the end of its program; the communicator is good for nothing then."""
    many(comm)
    from disttrain.comm.board import LEFT
    from disttrain.comm.calls import Call

    own = disttrain.connect(twin := MPI.COMM_WORLD.Dup())
    last = comm.rank == comm.size - 1
    if last:
        with suppress(LostRanks):
            own.meet(Call(LEFT))
    for _ in range(2):
        if not last:
            with pytest.raises(LostRanks, match=f"rank {comm.size - 1}: {LEFT}"):
                own.barrier()
    comm.barrier()
    own.close()
    twin.Free()
