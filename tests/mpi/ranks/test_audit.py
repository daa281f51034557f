"""Replicas that differ are found, named, and nothing of them is kept."""

import copy
import math

import numpy as np
import pytest

import disttrain
from disttrain.comm.alone import Alone
from disttrain.errors import Corruption
from tests.cli.shell import blobs

# 48 rows in batches of 24: 2 steps an epoch, 12 steps, an audit every 4.
RUN_FILE = """
seed = 3
[data]
path = "{path}"
validation_fraction = 0.0
[model]
layers = [{{ units = 6, activation = "tanh" }}, {{ units = 3 }}]
[training]
epochs = 6
batch_size = 24
[validation]
every_steps = 4
[checkpoint]
every_steps = 4
"""
INTERVAL, STEPS = 4, 12
WAYS = {
    "fast": {"mode": "fast"},
    "leaves": {"mode": "exact", "arithmetic": "leaves"},
    "shared": {"mode": "exact", "arithmetic": "shared"},
}
CLOCK = ("seconds", "samples_per_second")
MOMENTS = ("before the step", "before the update", "after the update")
several = pytest.mark.usefixtures("_several")


@pytest.fixture
def _several(comm):
    if comm.size == 1:
        pytest.skip("a rank alone has nothing to compare")


@pytest.fixture(scope="module")
def settings(made):
    return disttrain.parse(RUN_FILE.format(path=made("audit.h5", blobs, 64, validation=40)))


def flip(run, vector, name, element, bit):
    """Flip one bit of one number of one tensor on this rank."""
    values = run.optimizer.vectors[vector]
    tensor = run.network.tensors(values)[name].reshape(-1)
    bits = tensor.view(f"u{tensor.itemsize}")
    bits[element] ^= bits.dtype.type(1 << bit)
    assert np.shares_memory(bits, values)


def at(run, step, moment, act):
    """Have `act()` happen on this rank once, at a moment of one step."""
    owner, name = {
        "before the step": (run.work.batches, "parts_of"),
        "before the update": (run.work.reducer, "sum_gradients"),
        "after the update": (run.work.ledger, "end_step"),
    }[moment]
    real, done = getattr(owner, name), []

    def wrapped(*arguments):
        if run.state.step == step and not done:
            done.append(True)
            act()
        return real(*arguments)

    setattr(owner, name, wrapped)
    return lambda: setattr(owner, name, real)


def history(run):
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in run.state.history]


def check_found(comm, run, rank, step):
    """Train; the flip must be found by the audit that ends its interval; return the message."""
    with pytest.raises(Corruption) as caught:
        disttrain.fit(run)
    assert caught.value.exit_code == 5
    text = str(caught.value)
    assert set(comm.collect((text, run.state.step))) == {(text, run.state.step)}
    audit = (step // INTERVAL + 1) * INTERVAL
    assert step <= run.state.step <= audit
    assert f"between steps {audit - INTERVAL} and {run.state.step} " in text
    if comm.size > 2:
        assert text.startswith(f"rank {rank} ({comm.host}) differs from the others in ")
    else:
        assert text.startswith(f"ranks 0 ({comm.host}), 1 ({comm.host}) differ in ")
    return text


@several
@pytest.mark.parametrize(
    ("way", "dtype", "seed"),
    [("fast", "float32", 1), ("fast", "float64", 2), ("leaves", "float32", 3),
     ("shared", "float32", 4)],
)  # fmt: skip
def test_every_flipped_bit_is_found_by_the_next_audit(comm, settings, way, dtype, seed):
    """15 of any kind, so 60 over all; always with the lowest and the highest bits among them."""
    run = disttrain.build(
        settings.replace(reproducibility=WAYS[way], model={"dtype": dtype}), comm=comm
    )
    start = copy.deepcopy(run.snapshot()) if comm.is_root else None
    tensors = {name: t.size for name, t in run.network.tensors(run.network.values).items()}
    width = 8 * run.network.values.itemsize
    random, named = np.random.default_rng(seed), 0
    for number in range(15):
        rank, step = int(random.integers(comm.size)), int(random.integers(STEPS))
        vector = ("velocity", "weights")[int(random.integers(2))]
        name = sorted(tensors)[int(random.integers(len(tensors)))]
        element, bit = int(random.integers(tensors[name])), int(random.integers(width))
        moment = MOMENTS[int(random.integers(3))]
        if number < 4:
            vector, bit = "velocity", number // 2
        if number in (4, 5):
            vector, bit = ("weights", "velocity")[number - 4], width - 2
        run.restore(start)
        undo = at(
            run, step, moment,
            lambda facts=(vector, name, element, bit), rank=rank:
                flip(run, *facts) if comm.rank == rank else None,
        )  # fmt: skip
        text = check_found(comm, run, rank, step)
        undo()
        if f" of {name}" in text:
            named += 1
        else:
            assert (
                "tensors that can't be named any more, since rounding has removed the difference"
                in text
            )
    assert named >= 7
    run.close()


@several
@pytest.mark.parametrize("vector", ["first_moment", "second_moment"])
@pytest.mark.parametrize("bit", [0, 30])
def test_a_flipped_bit_in_either_moment_of_adam_is_found(comm, settings, vector, bit):
    adam = settings.replace(
        reproducibility=WAYS["shared"], optimizer={"kind": "adam"}, schedule={"learning_rate": 0.01}
    )
    run = disttrain.build(adam, comm=comm)
    last = comm.size - 1
    act = (lambda: flip(run, vector, "dense1/weight", 5, bit)) if comm.rank == last else list
    at(run, 6, "before the update", act)
    text = check_found(comm, run, last, 6)
    # The lowest bit may be gone from the moment two steps later.
    wanted = (f"{vector} of dense1/weight", "rounding has removed")
    assert any(place in text for place in wanted[: 2 - bool(bit)])
    run.close()


@several
def test_a_bit_that_is_rounded_away_before_the_audit_is_found(comm, settings):
    """Without momentum the velocity of one step is nowhere in the next one."""
    run = disttrain.build(settings.replace(optimizer={"momentum": 0.0}), comm=comm)
    last = comm.size - 1
    act = (lambda: flip(run, "velocity", "dense1/weight", 5, 0)) if comm.rank == last else list
    at(run, 5, "before the update", act)
    text = check_found(comm, run, last, 5)
    assert (
        "in tensors that can't be named any more, since rounding has removed the difference "
        "between steps 4 and 8" in text
    )


@several
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("audit", ["stop", "redo"])
def test_a_loss_that_a_flipped_bit_has_spoiled_is_no_divergence(comm, settings, way, audit):
    made = settings.replace(reproducibility=WAYS[way] | {"audit": audit})
    whole = disttrain.build(made, comm=comm)
    disttrain.fit(whole)
    run, last = disttrain.build(made, comm=comm), comm.size - 1

    def spoil():
        if comm.rank == last:
            run.network.tensors(run.network.values)["dense2/bias"][1] = math.inf

    at(run, 6, "before the step", spoil)
    if audit == "stop":
        assert "weights of dense2/bias" in check_found(comm, run, last, 6)
        return
    disttrain.fit(run)
    assert run.digest() == whole.digest()
    assert history(run) == history(whole)


@several
def test_a_loss_that_diverges_on_all_ranks_is_still_divergence(comm, settings):
    made = settings.replace(schedule={"learning_rate": 1e30}, reproducibility={"audit": "redo"})
    with pytest.raises(disttrain.DisttrainError, match="smaller schedule") as caught:
        disttrain.fit(disttrain.build(made, comm=comm))
    assert caught.value.exit_code == 4


@several
def test_a_flip_before_a_step_that_failed_is_found_when_the_run_goes_on(comm, settings):
    run = disttrain.build(settings.replace(optimizer={"momentum": 0.0}), comm=comm)
    start = copy.deepcopy(run.snapshot()) if comm.is_root else None

    def fail():
        raise ValueError("injected")

    for again in (True, False):
        if comm.rank == comm.size - 1:
            at(run, 5, "before the update", lambda: flip(run, "velocity", "dense1/weight", 5, 0))
        undo = at(run, 6, "before the step", fail)
        with pytest.raises(disttrain.DisttrainError, match="injected"):
            disttrain.fit(run)
        undo()
        if again:
            with pytest.raises(Corruption, match="rounding has removed the difference between"):
                disttrain.fit(run)
        # From a checkpoint nothing of it is left.
        run.restore(start)
    disttrain.fit(run)
    assert run.state.step == STEPS


@several
def test_a_flip_does_not_part_ranks_that_stop_where_the_gradient_is_flat(comm, settings):
    """Each computes the norm; weights count in it, so a rank could go on while the others stop."""
    made = settings.replace(
        training={"protocol": "batch", "epsilon": 1e9, "epochs": 9},
        optimizer={"weight_decay": 0.1},
    )
    run, last = disttrain.build(made, comm=comm), comm.size - 1
    if comm.rank == last:
        # The highest bit of the exponent: some 1e38.
        at(run, 0, "after the update", lambda: flip(run, "weights", "dense1/weight", 3, 30))
    text = check_found(comm, run, last, 0)
    assert "weights of dense1/weight" in text
    assert run.state.step == 1


@several
@pytest.mark.parametrize("way", WAYS)
def test_done_again_it_is_the_undisturbed_run(comm, settings, together_path, way):
    made = settings.replace(reproducibility=WAYS[way] | {"audit": "redo"})
    whole = disttrain.train(
        made, together_path / f"undisturbed-{way}", comm=comm, overwrite=True
    ).summary
    run, last = disttrain.build(made, comm=comm), comm.size - 1
    for step, rank in ((1, last), (6, 0), (7, last), (11, last)):
        act = lambda: flip(run, "weights", "dense2/weight", 2, 20)  # noqa: E731
        at(run, step, "before the update", act if comm.rank == rank else list)
    told = []
    if comm.is_root:
        listener = disttrain.Callback()
        listener.on_message = told.append
        run.callbacks = [listener]
    disttrain.fit(run)
    assert run.digest() == whole["digest"]
    assert run.state.best_step == whole["best_step"]
    faults = run.state.faults
    assert [f.rsplit(": ", 1)[1] for f in faults] == [
        f"done again from step {step}" for step in (0, 4, 8)
    ]
    assert all("weights of dense2/weight" in fault for fault in faults)
    assert told == (faults if comm.is_root else [])


class Upset(disttrain.Callback):
    """Flips a bit of rank 0 at some steps, as a memory does."""

    def __init__(self, *steps, interval=None):
        self.steps, self.interval = list(steps), interval

    def on_step(self, run, step):
        if step in self.steps:
            self.steps.remove(step)
            flip(run, "velocity", "dense1/weight", 3, 12)

    def on_interval(self, run, report):
        if report.step == self.interval:
            flip(run, "weights", "dense1/bias", 1, 3)


def lines(folder, comm):
    """Return the metrics and digests of a run folder, without the clock."""
    import json

    found = {}
    for name in ("metrics", "digests"):
        text = (folder / f"{name}.jsonl").read_text()
        rows = [json.loads(line) for line in text.splitlines()]
        found[name] = [{k: v for k, v in row.items() if k not in CLOCK} for row in rows]
    comm.barrier()
    return found


@several
@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_a_bad_interval_is_saved(comm, settings, together_path, way):
    made = settings.replace(reproducibility=WAYS[way])
    whole_at, folder = (together_path / f"{name}-{way}" for name in ("plain", "stopped"))
    whole = disttrain.train(made, whole_at, comm=comm, overwrite=True).summary
    for upset, step in ((Upset(6), 4), (Upset(9), 8), (Upset(interval=12), 8)):
        more = {"overwrite": True} if step == 4 else {"resume": True}
        with pytest.raises(disttrain.DisttrainError) as caught:
            disttrain.train(made, folder, comm=comm, callbacks=[upset], **more)
        assert caught.value.exit_code == 5
        # Rank 0 writes the summary while it raises.
        comm.barrier()
        saved = sorted(p.name for p in (folder / "checkpoints").iterdir())
        assert saved[-1] == f"step-{step:08d}.h5"
        said = str(caught.value).replace("resume=True", "--resume")
        assert said in (folder / "summary.json").read_text()
        comm.barrier()
    resumed = disttrain.train(made, folder, comm=comm, resume=True).summary
    for key in ("digest", "best_step", "validation", "test"):
        assert resumed[key] == whole[key]
    assert lines(folder, comm) == lines(whole_at, comm)


@several
def test_the_summary_says_what_was_done_again(comm, settings, together_path):
    made = settings.replace(reproducibility={"audit": "redo"})
    whole_at, folder = (together_path / name for name in ("plain-redo", "redone"))
    whole = disttrain.train(made, whole_at, comm=comm, overwrite=True).summary
    summary = disttrain.train(
        made, folder, comm=comm, callbacks=[Upset(2, 6)], overwrite=True
    ).summary
    assert summary["status"] == "completed"
    assert summary["digest"] == whole["digest"]
    assert len(summary["failures"]) == 2
    assert summary["failures"][1].endswith("done again from step 4")
    assert whole["failures"] == []
    assert lines(folder, comm) == lines(whole_at, comm)


@several
def test_a_flip_that_comes_again_each_time_ends_the_run(comm, settings):
    run = disttrain.build(settings.replace(reproducibility={"audit": "redo"}), comm=comm)
    parts_of, seen, last = run.work.batches.parts_of, [], comm.size - 1

    def broken(step):
        if step == 5:
            seen.append(step)
            if comm.rank == last:
                flip(run, "weights", "dense1/weight", 0, 9)
        return parts_of(step)

    run.work.batches.parts_of = broken
    check_found(comm, run, last, 5)
    assert len(seen) == 4, "once, and three times again"
    assert len(run.state.faults) == 3


@several
def test_a_kept_state_that_has_gone_bad_too_is_not_gone_back_to(comm, settings):
    run = disttrain.build(settings.replace(reproducibility={"audit": "redo"}), comm=comm)
    if comm.is_root:
        at(run, 5, "before the step", lambda: flip(run, "weights", "dense1/weight", 0, 9))
        run.callbacks = [Upset(interval=4)]
    with pytest.raises(Corruption, match="and the copy kept from step 4 differs too"):
        disttrain.fit(run)


@several
def test_off_does_not_compare(comm, settings):
    run = disttrain.build(settings.replace(reproducibility={"audit": "off"}), comm=comm)
    if comm.is_root:
        run.callbacks = [Upset(5)]
    disttrain.fit(run)
    assert run.state.step == STEPS
    assert len(set(comm.collect(run.digest()))) == 2


@pytest.mark.parametrize("audit", ["stop", "redo", "off"])
def test_a_rank_alone_has_nothing_to_compare(settings, audit, together_path, comm):
    if not comm.is_root:
        return
    run = disttrain.build(settings.replace(reproducibility={"audit": audit}), comm=Alone())
    run.callbacks = [Upset(5)]
    disttrain.fit(run)
    assert run.state.step == STEPS
    assert run.state.faults == []
