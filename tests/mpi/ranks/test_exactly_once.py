"""Each sample once in each epoch, on any ranks: and where it is not so, all ranks say so."""

import numpy as np
import pytest

import disttrain
from disttrain.errors import Corruption
from tests.cli.shell import blobs

# 150 rows for training in batches of 32: 5 steps an epoch, 4 rows or more a rank in each.
RUN_FILE = """
seed = 11
[data]
path = "{path}"
validation_fraction = 0.0
[model]
layers = [{{ units = 9, activation = "tanh" }}, {{ units = 3 }}]
[training]
epochs = 3
batch_size = 32
[validation]
every_steps = 4
"""
STEPS = 5
WAYS = {
    "fast": {"mode": "fast"},
    "leaves": {"mode": "exact", "arithmetic": "leaves"},
    "shared": {"mode": "exact", "arithmetic": "shared"},
}


@pytest.fixture(scope="module")
def settings(made):
    return disttrain.parse(RUN_FILE.format(path=made("once.h5", blobs, 200, validation=30)))


def twice(run, step):
    """Have this rank go through its rows of one step twice."""
    parts = run.work.batches.division.parts

    def other(rows):
        return parts(rows) * (2 if run.state.step == step else 1)

    run.work.batches.division.parts = other


def left_out(run, step):
    """Have this rank leave its last row of one step out."""
    parts = run.work.batches.division.parts

    def other(rows):
        *first, last = parts(rows)
        return [*first, last._replace(high=last.high - (run.state.step == step))]

    run.work.batches.division.parts = other


def another(run, step):
    """Have this rank take one sample for another in one step."""
    samples = run.work.batches.samples

    def other(at, low=0, high=None):
        found = samples(at, low, high).copy()
        found[-1:] = (found[-1:] + (at == step)) % 150
        return found

    run.work.batches.samples = other


FAULTS = [twice, left_out, another]
CASES = [*zip(FAULTS, (0, 9, 12), (4, 7, 40), strict=True)]


def check_noticed(comm, run, epoch):
    with pytest.raises(Corruption, match=f"epoch {epoch} .* did not use each of its 150") as caught:
        disttrain.fit(run)
    assert caught.value.exit_code == 5
    assert run.state.step == epoch * STEPS
    assert len(set(comm.collect(str(caught.value)))) == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("fault", "step", "interval"), CASES)
def test_a_fault_on_one_rank_is_noticed_by_all(comm, settings, way, fault, step, interval):
    made = settings.replace(reproducibility=WAYS[way], validation={"every_steps": interval})
    run = disttrain.build(made, comm=comm)
    if comm.rank == step % comm.size:
        fault(run, step)
    check_noticed(comm, run, step // STEPS + 1)
    run.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_fault_on_all_ranks_is_noticed(comm, settings, way):
    """As where the order of samples itself would be wrong."""
    run = disttrain.build(settings.replace(reproducibility=WAYS[way]), comm=comm)
    another(run, 6)
    check_noticed(comm, run, 2)


@pytest.mark.parametrize("rows", [3, 150])
def test_no_fault_is_seen_where_there_is_none(comm, settings, rows):
    """Also with ranks that have no row."""
    for way in WAYS.values():
        made = settings.replace(
            reproducibility=way, training={"epochs": 1, "batch_size": rows},
            validation={"every_steps": 17},
        )  # fmt: skip
        run = disttrain.build(made, comm=comm)
        disttrain.fit(run)
        assert (run.state.used, run.state.used_count) == (0, 0)
        run.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_step_that_is_done_again_counts_once(comm, settings, way):
    run = disttrain.build(settings.replace(reproducibility=WAYS[way]), comm=comm)
    forward, last = run.network.forward, comm.size - 1
    for step in (3, 4, 5):

        def broken(inputs, pass_, step=step):
            if comm.rank == last and run.state.step == step:
                raise ValueError("injected")
            return forward(inputs, pass_)

        run.network.forward = broken
        with pytest.raises(disttrain.DisttrainError, match="injected"):
            disttrain.fit(run)
    run.network.forward = forward
    disttrain.fit(run)
    assert run.state.step == 15


class Stop(disttrain.Callback):
    """Asks the run to stop after `step` steps; does the `fault` at its start, if any."""

    def __init__(self, step, fault=None, at=0):
        self.step, self.fault, self.at = step, fault, at

    def on_start(self, run):
        if self.fault:
            self.fault(run, self.at)

    def on_step(self, run, step):
        if step == self.step - 1:
            run.preemption.signal = "SIGUSR1"


def train(job, settings, folder, callback, **more):
    """Train on the ranks of a smaller job; return what was raised, where it was."""
    if job is None:
        return None
    callbacks = [callback] if job.is_root else []
    try:
        disttrain.train(settings, folder, callbacks=callbacks, comm=job, **more)
    except disttrain.DisttrainError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("way", "fault", "first", "second"),
    [("fast", twice, 0, -1), ("leaves", left_out, 0, -3), ("shared", another, -3, 0),
     ("fast", None, 0, -3), ("shared", None, -1, 0)],
)  # fmt: skip
def test_over_a_stop_in_mid_epoch_on_other_ranks(
    comm, jobs, settings, together_path, way, fault, first, second
):
    """`first` and `second` say by how many ranks a job is smaller than this one."""
    made = settings.replace(reproducibility=WAYS[way], checkpoint={"every_steps": 20})
    first, second = (jobs[max(comm.size + less, 1)] for less in (first, second))
    folder = together_path / f"stop-{way}-{fault is None}"
    stopped = train(first, made, folder, Stop(7, fault, 5), overwrite=True)
    assert stopped is None or stopped.exit_code == 75
    comm.barrier()
    ended = train(second, made, folder, Stop(-1), resume=True)
    comm.barrier()
    if second is None or fault is None:
        assert ended is None
    else:
        assert isinstance(ended, Corruption), ended
        assert "epoch 2 (up to step 10)" in str(ended)


def test_what_a_rank_alone_would_say_of_the_samples_of_all(comm, settings):
    """The sum over ranks is that of the samples, whoever used them."""
    run = disttrain.build(settings, comm=comm)
    parts = [part.samples for step in (0, 1, 2) for part in run.work.batches.parts_of(step)]
    everyone = np.concatenate([s for rank in comm.collect(parts) for s in rank])
    for samples in parts:
        run.work.ledger.begin_step()
        run.work.ledger.use(samples)
        run.work.ledger.end_step()
    run.work.ledger.settle(run.state)
    assert (run.state.used, run.state.used_count) == run.work.ledger.up_to(3)
    assert run.state.used_count == len(everyone) == 96
