"""Recorded steps on several ranks: the bits of eager ones, also where one rank is eager."""

import numpy as np
import pytest

import disttrain
from disttrain.arrays.recording import Program
from disttrain.comm.watch import Watch
from disttrain.data.writer import write_data_file
from disttrain.model import Softmax
from disttrain.training.recorded import step, sums
from disttrain.training.reducers.batch_sums import PHASE
from disttrain.training.trainer import train_step
from tests.cli.shell import blobs, wait_for
from tests.unit.training.test_recorded import MODES, given

WAYS = ["auto", "allreduce", "ring"]


def trained(settings, comm, eager):
    """Return what seven steps leave behind; `eager` says whether this rank does them eagerly."""
    run = disttrain.build(settings, comm=comm)
    if eager:
        run.recordings.why_not = "the test asks for it"
    totals = [train_step(run, step, 0.001) for step in range(7)]
    vectors = [vector.tobytes() for vector in run.optimizer.vectors.values()]
    run.compare_replicas()
    score = run.score(run.dataset.splits["train"], "scoring")
    recorded = sum(run.recordings.of(step) is not None for step in range(7))
    run.close()
    return totals, (vectors, score, score.metrics), recorded


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.get("arithmetic", "fast"))
def test_replays_have_the_bits_of_eager_steps(comm, made, mode, monkeypatch):
    draw = np.random.default_rng(MODES.index(mode))

    def write(name, train):
        def file(path):
            weights = {"train": train[2]} if len(train) > 2 else None
            write_data_file(path, {"train": train[:2]}, weights=weights)

        return str(made(f"recorded-{mode.get('arithmetic', 'fast')}-{name}", file))

    for trial in range(6):
        # Leaves one after another, or some side by side, as where there are many weights.
        monkeypatch.setattr(sums, "CACHE", trial % 2 << 30)
        monkeypatch.setattr(sums, "TOGETHER", 16)
        settings = given(write, draw, mode)
        settings["communication"] = {"sum": WAYS[trial % 3]}
        settings["training"]["batch_size"] += 8
        if trial < 2:  # of four ranks two have no rows
            settings["training"]["batch_size"] = 2
        settings = disttrain.Settings.model_validate(settings)
        recorded = trained(settings, comm, eager=False)
        assert trained(settings, comm, eager=True)[:2] == recorded[:2], settings
        # One rank alone runs eagerly: as where a method was replaced.
        mixed = trained(settings, comm, eager=comm.rank == comm.size - 1)
        assert mixed[:2] == recorded[:2], settings
        assert recorded[2] == 7, settings


@pytest.fixture(scope="module")
def simple(made):
    path = made("recorded.h5", blobs, 200)
    return disttrain.parse(f"""
        data.path = "{path}"
        model.layers = [{{ units = 8, activation = "tanh" }}, {{ units = 3 }}]
        training.batch_size = 32
        training.epochs = 2
    """)


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("layers", [[], [{"kind": "batch-norm"}]], ids=["dense", "batch-norm"])
def test_a_rank_that_fails_ends_the_step_of_all(comm, simple, layers, mode, monkeypatch):
    """With batch normalization the others wait for its sums in the middle of the step."""
    model = {"layers": [{"units": 8, "activation": "tanh"}, *layers, {"units": 3}]}
    settings = simple.replace(model=model, reproducibility={"mode": mode})
    run = disttrain.build(settings, comm=comm)
    last = comm.size - 1
    train_step(run, 0, 0.1)
    assert run.recordings.of(1)
    recording = run.recordings.of(1)
    if comm.rank == last:

        def prepare(step, rate):
            raise ValueError("bad")

        monkeypatch.setattr(recording, "prepare", prepare)
    before = run.network.values.copy()
    with pytest.raises((disttrain.RankFailure, ValueError), match="bad") as error:
        train_step(run, 1, 0.1)
    if comm.size > 1:
        assert f"rank {last} failed in reading a batch (step 1)" in str(error.value)
    np.testing.assert_array_equal(run.network.values, before)
    monkeypatch.undo()
    assert train_step(run, 1, 0.1).samples == 32
    run.compare_replicas()
    run.close()


def test_a_rank_without_memory_for_a_recording_ends_the_step_of_all(comm, simple, monkeypatch):
    run = disttrain.build(simple, comm=comm)
    if comm.rank == comm.size - 1:

        def nothing(*arguments):
            raise MemoryError("no room")

        monkeypatch.setattr(step, "Reading", nothing)
    with pytest.raises((disttrain.RankFailure, MemoryError), match="no room"):
        train_step(run, 0, 0.1)
    monkeypatch.undo()
    assert train_step(run, 0, 0.1).samples == 32
    run.compare_replicas()
    run.close()


def test_a_given_loss_that_does_not_fit_is_refused_on_all_ranks(comm, simple):
    for mode in ("fast", "exact"):
        settings = simple.replace(reproducibility={"mode": mode})
        with pytest.raises(disttrain.RunFileError, match="give it units = 3"):
            disttrain.build(settings, comm=comm, layers=[disttrain.Dense(2)], loss=Softmax())


def test_a_rank_that_waits_in_a_replay_says_so(comm, simple, monkeypatch):
    if comm.size == 1:
        pytest.skip("one rank waits for nobody")
    run = disttrain.build(simple.replace(reproducibility={"mode": "fast"}), comm=comm)
    train_step(run, 0, 0.1)
    said, enter = comm.node_array((comm.size,), "i4"), Watch.enter

    def note(watch, phase):
        if phase == "waiting for the sum of gradients":
            said[comm.rank] = 1
        enter(watch, phase)

    monkeypatch.setattr(Watch, "enter", note)
    if comm.rank == 0:
        assert wait_for(lambda: said[1:].all())
    train_step(run, 1, 0.1)
    run.close()


def test_what_is_computed_between_sums_of_layers_is_not_waiting(comm, simple):
    """Else a rank that is slow or stuck behind the first one could not be told from the others."""
    if comm.size == 1:
        pytest.skip("one rank waits for nobody")
    layers = [{"units": 8}, {"kind": "batch-norm"}, {"units": 3}]
    run = disttrain.build(simple.replace(model={"layers": layers}), comm=comm)
    train_step(run, 0, 0.1)
    assert run.recordings.of(1)
    phases = []
    comm.watch.entered = phases.append
    try:
        train_step(run, 1, 0.1)
    finally:
        comm.watch.entered = None
    run.close()
    waits = [n for n, phase in enumerate(phases) if phase == PHASE]
    assert [phases[n + 1] for n in waits] == ["forward", "backward"]
    assert phases.index("backward") < waits[1]


def test_rows_are_written_where_the_other_ranks_read_them(comm, simple, monkeypatch):
    """Of dense layers only the gradients of the last one's outputs are copied."""
    layers = [{"units": n, "activation": "tanh"} for n in (16, 12)] + [{"units": 3}]
    exact = {"mode": "exact", "arithmetic": "shared"}
    settings = simple.replace(model={"layers": layers}, reproducibility=exact)
    copied = []
    monkeypatch.setattr(Program, "copy", lambda _, out, x: copied.append(out.shape))
    run = disttrain.build(settings, comm=comm)
    recording = step.Recording(run, 32)
    mine = recording._high - recording._low
    wanted = [(mine, 3)] if comm.size > 1 and mine else []
    assert [shape for shape in copied if len(shape) == 2] == wanted
    run.close()
