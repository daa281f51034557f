"""Stopped after any step and resumed on any other number of ranks: the run that was not stopped.

Smaller jobs on the first ranks of this one stand for other numbers; `tests/mpi/test_resume.py`
starts real ones.
"""

import dataclasses

import pytest

import disttrain
from disttrain.checkpoint import all_checkpoints, load
from disttrain.comm.alone import Alone
from disttrain.errors import Preempted
from tests.cli.shell import blobs

# 60 rows in batches of 16, the last of an epoch has 12: 4 steps an epoch. Validation after 3 steps,
# checkpoints after 5.
RUN_FILE = """
seed = 5
[data]
path = "{path}"
normalize = "standardize"
validation_fraction = 0.0
[model]
layers = [
  {{ units = 9, activation = "tanh", dropout = 0.3 }},
  {{ units = 3 }},
]
[training]
epochs = 2
batch_size = 16
[schedule]
kind = "cosine"
learning_rate = 0.3
warmup_epochs = 0.5
[validation]
every_steps = 3
patience = 4
[checkpoint]
every_steps = 5
keep = 99
"""
STEPS = 8
WAYS = {
    "fast": {"reproducibility": {"mode": "fast"}},
    "leaves": {"reproducibility": {"mode": "exact", "arithmetic": "leaves"}},
    "shared": {"reproducibility": {"mode": "exact", "arithmetic": "shared"}},
    "adam": {
        "reproducibility": {"mode": "exact", "arithmetic": "shared"},
        "optimizer": {"kind": "adam"},
        "schedule": {"learning_rate": 0.01},
    },
    # Its checksums are in the chain of digests.
    "average": {
        "reproducibility": {"mode": "exact", "arithmetic": "shared"},
        "model": {"average": 0.7},
    },
}
# Where a run is stopped for the first time.
AFTER = {
    "fast": (2, 5), "leaves": (1, 3, 4), "shared": range(1, STEPS - 1), "adam": (1, 4),
    "average": (1, 4),
}  # fmt: skip
CLOCK = ("seconds", "samples_per_second")


@pytest.fixture(scope="module")
def settings(made):
    return disttrain.parse(RUN_FILE.format(path=made("resume.h5", blobs, 80, validation=1100)))


class Stop(disttrain.Callback):
    """Asks the run to stop after so many steps; keeps which steps were done."""

    def __init__(self, after):
        self.after, self.steps = after, []

    def on_step(self, run, step):
        self.steps.append(step)
        if step + 1 == self.after:
            run.preemption.signal = "SIGUSR1"


def go(job, settings, folder, after=0, **more):
    """Train on the ranks of `job` up to a step, or to the end; return the steps done (rank 0)."""
    if job is None:
        return None
    stop = Stop(after)
    options = {"comm": job, "callbacks": [stop], **more}
    if after:
        with pytest.raises(Preempted):
            disttrain.train(settings, folder, **options)
    else:
        disttrain.train(settings, folder, **options)
    return stop.steps


def timeless(snapshot):
    """Return the facts of a checkpoint, without what the clock says."""
    history = [
        {k: v for k, v in row.items() if k not in CLOCK} for row in snapshot.progress.history
    ]
    progress = dataclasses.replace(snapshot.progress, seconds=0.0, history=history)
    facts = {k: str(v) for k, v in snapshot.normalization.items()}
    state = snapshot.state
    return (snapshot.run_file, snapshot.step, snapshot.epoch, facts, state, progress,
            snapshot.digest)  # fmt: skip


def close(found, wanted):
    """Compare two states to rounding."""
    assert found.step == wanted.step
    groups = [{"parameters": s.parameters, **s.slots} for s in (found, wanted)]
    for mine, other in zip(*(group.values() for group in groups), strict=True):
        for name, tensor in other.items():
            assert mine[name] == pytest.approx(tensor, rel=1e-3, abs=1e-5), name
    mine, other = (vars(s.progress) for s in (found, wanted))
    for key in ("best_step", "idle", "stopped_early", "reason", "used", "used_count"):
        assert mine[key] == other[key], key
    assert [r["order"] for r in mine["digests"]] == [r["order"] for r in other["digests"]]
    for row, right in zip(mine["history"], other["history"], strict=True):
        for key in ("step", "train_loss", "validation_loss", "learning_rate"):
            assert row[key] == pytest.approx(right[key], rel=1e-4), key


@pytest.fixture(scope="module")
def whole(comm, settings, together_path):
    """The undisturbed runs of one rank alone, by the way of computing: every checkpoint, on 0."""
    found = {}
    with comm.together("training alone"):
        if comm.is_root:
            for way, changes in WAYS.items():
                made = settings.replace(**changes, checkpoint={"every_steps": 1})
                folder = together_path / f"alone-{way}"
                disttrain.train(made, folder, comm=Alone())
                paths = all_checkpoints(folder / "checkpoints")
                found[way] = {s.step: s for s in map(load, paths)}
                assert set(found[way]) == set(range(1, STEPS + 1))
    return found


@pytest.mark.parametrize("way", WAYS)
def test_after_every_step_on_other_ranks(comm, jobs, settings, together_path, whole, way):
    """Each run is stopped twice, and goes from size to size."""
    made = settings.replace(**WAYS[way])
    for at in AFTER[way]:
        folder = together_path / f"parts-{way}-{at}"
        done = []
        for turn, (after, more) in enumerate(
            [(at, {}), (at + 1, {"resume": True}), (0, {"resume": True})]
        ):
            size = (at + turn * (1 + at % 2)) % comm.size + 1
            done += go(jobs[size], made, folder, after, **more) or []
            comm.barrier()
        with comm.together("comparing"):
            if comm.is_root:
                assert done == list(range(STEPS)), "each step once"
                ring = {s.step: s for s in map(load, all_checkpoints(folder / "checkpoints"))}
                assert {at + 1, STEPS} <= set(ring)
                for step, found in ring.items():
                    close(found, whole[way][step])
                    if way != "fast":
                        # But for the run file, which says when checkpoints are due.
                        assert timeless(found)[1:] == timeless(whole[way][step])[1:]


@pytest.mark.parametrize("way", ["leaves", "shared", "adam", "average"])
def test_a_checkpoint_knows_no_rank(comm, settings, together_path, whole, way):
    made = settings.replace(**WAYS[way], checkpoint={"every_steps": 1})
    folder = together_path / f"many-{way}"
    disttrain.train(made, folder, comm=comm)
    with comm.together("comparing"):
        if comm.is_root:
            for path in all_checkpoints(folder / "checkpoints"):
                found = load(path)
                assert timeless(found) == timeless(whole[way][found.step])
            assert len(whole[way]) == STEPS
