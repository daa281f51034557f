"""Groups of ranks: each with its own sums, windows, watch and failures; the others go on."""

import gc
import os
import subprocess
import sys
import time

import numpy as np
import pytest

import disttrain
from disttrain.comm import in_groups
from disttrain.comm.alone import Alone
from disttrain.comm.ranks import world
from disttrain.errors import DataError, Divergence, RankFailure, UsageError
from disttrain.training import Callback
from tests.cli.shell import blobs

pytestmark = pytest.mark.timeout(40)


@pytest.fixture(scope="module")
def settings(made):
    return disttrain.parse(f"""
        [data]
        path = "{made("groups.h5", blobs, 160, validation=40)}"
        [model]
        layers = [{{ units = 6, activation = "relu" }}, {{ units = 3 }}]
        [training]
        epochs = 3
        batch_size = 30
        [reproducibility]
        mode = "exact"
        [device]
        kind = "cpu"
    """)


def two(settings):
    """Two runs that have little in common."""
    other = settings.replace(
        data={"block_rows": 8}, model={"dtype": "float64"},
        training={"epochs": 2, "batch_size": 17},
        reproducibility={"arithmetic": "leaves", "blas_threads": 2},
    )  # fmt: skip
    return [settings, other]


@pytest.fixture(scope="module")
def alone(settings):
    """The digests of the two runs, each on one rank in a process of its own kind: no MPI."""
    return [digest(made, Alone()) for made in two(settings)]


def digest(settings, comm):
    run = disttrain.build(settings, comm=comm)
    disttrain.fit(run)
    found = run.digest()
    run.close()
    return found


class Fails(Callback):
    """Raises at a step of the run that it listens to."""

    def __init__(self, error, step=4):
        self.error, self.step = error, step

    def on_step(self, run, step):
        if step == self.step:
            raise self.error


def test_a_group_numbers_its_ranks_in_their_order(comm):
    colour = comm.rank % 2
    group = comm.split(colour)
    mine = [rank for rank in range(comm.size) if rank % 2 == colour]
    assert group.collect(comm.rank) == mine
    assert group.rank == mine.index(comm.rank)
    assert (group.size, group.local_size, group.local_rank) == (len(mine), len(mine), group.rank)
    # A GPU and cores are those of the whole job.
    assert (group.host_rank, group.host_size) == (comm.rank, comm.size)
    assert group.blas_threads == comm.blas_threads
    assert group.name == f"group {colour}"
    group.close()


def test_groups_add_and_gather_at_once_and_by_themselves(comm):
    group = comm.split(comm.rank % 2)
    peers = [rank for rank in range(comm.size) if rank % 2 == comm.rank % 2]
    for way in ("auto", "allreduce", "ring"):
        total = group.summation(1000, "f4", 1, way)
        # The groups do not take as many turns as each other.
        for turn in range(3 + comm.rank % 2):
            total.message[:], total.header[:] = comm.rank + turn, 1
            total.finish()
            assert (total.total == sum(peers) + turn * len(peers)).all()
            assert total.total_header[0] == len(peers)
    rows = group.all_gather([(len(peers), 3)], ["f8"])
    rows.arrays[0][group.rank] = comm.rank
    rows.complete([range(len(peers) + 1)])
    assert (rows.arrays[0] == np.array(peers)[:, None]).all()
    group.close()


def test_groups_inside_groups(comm):
    outer = comm.split(comm.rank // 2)
    inner = outer.split(outer.rank)
    assert inner.size == 1
    assert inner.name == f"group {comm.rank // 2}.{outer.rank}"
    assert inner.host_rank == comm.rank
    with pytest.raises(RankFailure) as caught, inner.together("saving"):
        raise OSError("x")
    assert str(caught.value) == f"rank 0 of {inner.name} failed in saving: OSError: x"
    assert outer.collect(inner.rank) == [0] * outer.size
    inner.close()
    outer.close()
    assert comm.collect(comm.rank) == list(range(comm.size))


@pytest.mark.parametrize("first", [1, 2, 3])
def test_two_runs_at_once_have_the_digests_of_one_rank_alone(comm, settings, alone, first):
    if comm.size < 2:
        pytest.skip("needs two ranks")
    colour = int(comm.rank >= min(first, comm.size - 1))
    outcomes = in_groups(comm, colour, lambda group: digest(two(settings)[colour], group))
    assert [o.value for o in outcomes] == alone
    assert [o.failure for o in outcomes] == ["", ""]
    assert [rank for o in outcomes for rank in o.ranks] == list(range(comm.size))


def test_two_runs_one_after_the_other_have_the_digests_of_separate_processes(comm, settings, alone):
    """Also the other way round, and with a run of the first kind left open."""
    first, second = two(settings)
    left_open = disttrain.build(first, comm=comm)
    assert digest(second, comm) == alone[1]
    disttrain.fit(left_open)
    assert left_open.digest() == alone[0]
    left_open.close()
    assert digest(first, comm) == alone[0]


PROCESS = """
import sys, disttrain
run = disttrain.build(disttrain.parse(sys.stdin.read()))
disttrain.fit(run)
print(run.digest())
"""


def test_separate_processes_have_these_digests(comm, settings, alone):
    if comm.size > 1:
        pytest.skip("the same on any number of ranks: under one it is looked at")
    with comm.together("starting processes"):
        if comm.is_root:
            kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI", "PM", "MPI"))}
            for made, wanted in zip(two(settings), alone, strict=True):
                # What the file does not state goes by the data here too.
                text = disttrain.config.to_toml(made, stated=True)
                found = subprocess.run(
                    [sys.executable, "-c", PROCESS], input=text, env=kept, capture_output=True,
                    text=True, check=True, timeout=60,
                )  # fmt: skip
                assert found.stdout.split()[-1] == wanted


FAILURES = {
    "exception": (lambda: ValueError("bad"), 1, "failed in callback (step 4): ValueError: bad"),
    "data": (lambda: DataError("no row"), 3, "no row"),
    "divergence": (lambda: None, 4, "the loss is "),
}


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("failing", [0, 1])
def test_what_fails_in_one_group_leaves_the_other_going(
    comm, settings, alone, together_path, kind, failing
):
    make, code, text = FAILURES[kind]
    colour = int(comm.rank >= (comm.size + 1) // 2)
    folder = together_path / f"groups-{kind}-{failing}-{colour}"

    def work(group):
        made, callbacks = two(settings)[colour], []
        if colour == failing and kind == "divergence":
            made = made.replace(schedule={"learning_rate": 1e30})
        elif colour == failing:
            callbacks = [Fails(make())]
        return disttrain.train(made, folder, comm=group, callbacks=callbacks).summary["digest"]

    outcomes = in_groups(comm, colour, work)
    assert len(outcomes) == (1 if comm.size == 1 else 2)
    assert comm.collect(outcomes) == [outcomes] * comm.size
    for outcome in outcomes:
        if outcome.colour == failing:
            assert (outcome.value, outcome.exit_code) == (None, code)
            assert text in outcome.failure
        else:
            assert (outcome.value, outcome.failure) == (alone[outcome.colour], "")


def test_a_group_that_failed_can_work_again(comm, settings, alone):
    def work(group):
        with pytest.raises(disttrain.DisttrainError):
            disttrain.build(settings.replace(data={"path": "/nowhere.h5"}), comm=group)
        run = disttrain.build(settings, comm=group, callbacks=[Fails(ValueError("bad"))])
        with pytest.raises(RankFailure):
            disttrain.fit(run)
        run.close()
        return digest(settings, group)

    outcomes = in_groups(comm, comm.rank % 2, work)
    assert {o.value for o in outcomes} == {alone[0]}, outcomes


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_exit_in_one_group_ends_the_work_of_all(comm, error):
    last = comm.size - 1

    def work(group):
        with group.together("callback"):
            if comm.rank == last:
                raise error

    with pytest.raises(BaseException) as caught:
        in_groups(comm, comm.rank % 2, work)
    assert type(caught.value) is (error if comm.rank == last else RankFailure)


def test_what_one_rank_of_a_group_raises_alone_is_not_kept_quiet(comm):
    """The others of its group would wait for it: it goes on, and uncaught it ends the job."""
    if comm.size > 1:
        with pytest.raises(ZeroDivisionError):
            in_groups(comm, 0, lambda group: 1 // 0)
    else:
        assert "ZeroDivisionError" in in_groups(comm, 0, lambda group: 1 // 0)[0].failure


def windows():
    """Return how many shared windows this process sees."""
    with open("/proc/self/maps") as maps:
        return len({line.split()[-1] for line in maps if "/dev/shm" in line or "osc_" in line})


def test_a_closed_group_leaves_neither_memory_nor_threads(comm, settings):
    import threading

    def once():
        group = comm.split(comm.rank % 2)
        group.node_array((100_000,), "f8")
        run = disttrain.build(settings, comm=group)
        disttrain.fit(run)
        group.close()
        # After the group: there is nothing left to give back.
        run.close()

    once()
    comm.barrier()
    gc.collect()
    before, threads = windows(), threading.active_count()
    for _ in range(3):
        once()
    comm.barrier()
    assert windows() <= before
    assert threading.active_count() <= threads


def test_a_deadline_in_a_group_names_group_and_rank(comm):
    group = comm.split(1)
    group.phase("forward")
    group.watch._seconds = 0.05
    time.sleep(0.2)
    said, _ = group.watch._of_late()
    assert f"rank {group.rank} of group 1 on {comm.host} has been in 'forward' since" in said
    # Who waits for the whole job sees that this rank makes progress.
    assert comm.watch.current == "forward"
    group.close()


def test_a_communicator_of_mpi4py_is_taken(comm, settings, alone, together_path):
    half = world().Split(comm.rank % 2, comm.rank)
    ours = disttrain.connect(half)
    assert (ours.rank, ours.size) == (half.rank, half.size)
    assert disttrain.connect(half) is ours
    assert disttrain.connect(ours) is ours
    folder = together_path / f"given-{comm.rank % 2}"
    assert disttrain.train(settings, folder, comm=half).summary["digest"] == alone[0]
    assert disttrain.load(folder, comm=half).comm is ours
    ours.close()
    assert disttrain.connect(half) is not ours
    disttrain.connect(half).close()
    half.Free()


def test_what_is_no_communicator_is_said(comm):
    from mpi4py import MPI

    for given in (5, MPI.COMM_NULL, "world"):
        with pytest.raises(UsageError, match=r"is not a communicator for a training: give"):
            disttrain.connect(given)


def test_divergence_is_raised_in_its_group_alone(comm, settings):
    colour = comm.rank % 2
    group = comm.split(colour)
    changed = settings.replace(schedule={"learning_rate": 1e30})
    run = disttrain.build(changed if colour else settings, comm=group)
    if colour:
        with pytest.raises(Divergence):
            disttrain.fit(run)
    else:
        disttrain.fit(run)
    assert comm.collect(run.state.step == run.total_steps) == [r % 2 == 0 for r in range(comm.size)]
    run.close()
    group.close()
