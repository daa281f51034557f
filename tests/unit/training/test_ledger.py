"""The ledger of a rank alone; `tests/mpi/ranks/test_exactly_once.py` has it on several."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.checkpoint import all_checkpoints, load, save
from disttrain.config import Settings
from disttrain.errors import Corruption, RankFailure
from disttrain.training import Run, fit
from disttrain.training.integrity.ledger import MODULUS, mixed

Build = Callable[..., Run]
ROWS, STEPS = 99, 7  # of the data set of these tests, in batches of 16


def mixed_by_hand(samples: range) -> int:
    """Return the sum in Python's own numbers: SplitMix64 as its authors print it."""
    total = 0
    for sample in samples:
        x = (sample + 1) * 0x9E3779B97F4A7C15 % MODULUS
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % MODULUS
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % MODULUS
        total += x ^ (x >> 31)
    return total % MODULUS


@pytest.mark.parametrize("rows", [0, 1, 2, 99, 5000])
def test_the_sum_is_that_of_its_definition(rows: int) -> None:
    assert mixed(np.arange(rows)) == mixed_by_hand(range(rows))
    order = np.random.default_rng(1).permutation(rows)
    parts = np.array_split(order, 4)
    assert sum(mixed(part) for part in parts) % MODULUS == mixed_by_hand(range(rows))


def test_the_first_numbers_are_those_that_the_authors_print() -> None:
    """SplitMix64 from the seed 0: the state grows by the constant, the finalizer is ours."""
    assert mixed(np.array([0])) == 0xE220A8397B1DCDAF
    assert mixed(np.array([1])) == 0x6E789E6AA1B965F4


def test_samples_are_folded_in_as_they_become_many(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("disttrain.training.integrity.ledger.MOST", 20)
    fit(build("training.epochs=3"))


def test_a_state_holds_the_ledger_of_the_epoch_under_way(build: Build) -> None:
    run = build("training.epochs=2", "validation.every_steps=3")
    seen = {}

    def keep(state: Any) -> None:
        settle(state)
        seen[state.step] = state.used, state.used_count

    settle = run.work.ledger.settle
    run.work.ledger.settle = keep  # type: ignore[method-assign]
    fit(run)
    for step, found in seen.items():
        if step % STEPS:
            steps = range(step // 7 * 7, step)
            samples = np.concatenate([run.work.batches.samples(s) for s in steps])
            assert found == (mixed(samples), len(samples))
            assert found == run.work.ledger.up_to(step)
    assert set(seen) > {3, 6, 7, 9, 12}
    assert run.work.ledger.up_to(STEPS) == (0, 0)
    assert (run.state.used, run.state.used_count) == (0, 0)


def disturb(run: Run, step: int, change: Callable[[np.ndarray], None]) -> None:
    """Have the samples of one step be others than the order says."""
    samples = run.work.batches.samples

    def other(at: int, low: int = 0, high: int | None = None) -> np.ndarray:
        found = samples(at, low, high)
        if at == step:
            found = found.copy()
            change(found)
        return found

    run.work.batches.samples = other  # type: ignore[method-assign]


def double(samples: np.ndarray) -> None:
    samples[:] = 7


def replace(samples: np.ndarray) -> None:
    samples[-1] = (samples[-1] + 1) % ROWS


EXACT = ("reproducibility.mode=exact",)


@pytest.mark.parametrize("mode", [(), EXACT], ids=["fast", "exact"])
@pytest.mark.parametrize("change", [double, replace])
@pytest.mark.parametrize("step", [0, 3, 6, 9, 13])
@pytest.mark.parametrize(
    "interval",
    ["every_steps=1", "every_steps=4", "every_epochs=1", "every_epochs=2", "every_steps=100"],
)
def test_a_wrong_sample_is_noticed_at_the_end_of_its_epoch(
    build: Build, mode: tuple[str, ...], change: Any, step: int, interval: str
) -> None:
    run = build("training.epochs=3", f"validation.{interval}", *mode)
    disturb(run, step, change)
    epoch = step // STEPS + 1
    with pytest.raises(Corruption, match=f"epoch {epoch} .*each of its 99 samples") as caught:
        fit(run)
    assert caught.value.exit_code == 5
    assert run.state.step == epoch * STEPS


def test_two_samples_that_change_steps_are_no_fault_of_the_sum(build: Build) -> None:
    """It proves that each was used once, not when: that is the chain's."""
    run = build("training.epochs=1", "reproducibility.mode=fast")
    one, other = run.work.batches.samples(0)[0], run.work.batches.samples(1)[0]
    disturb(run, 0, lambda samples: samples.__setitem__(0, other))
    disturb(run, 1, lambda samples: samples.__setitem__(0, one))
    fit(run)


@pytest.mark.parametrize("at", ["forward", "callback"])
def test_a_step_that_is_done_again_counts_once(build: Build, at: str) -> None:
    run = build("training.epochs=2", "validation.every_steps=3")
    forward, fails = run.network.forward, iter([4, 4, 5, 8])
    waiting = [next(fails)]

    def broken(*_: Any) -> Any:
        if waiting[0] == run.state.step:
            waiting[0] = next(fails, -1)
            raise ValueError("injected")
        return forward(*_) if at == "forward" else None

    if at == "forward":
        run.network.forward = broken  # type: ignore[method-assign]
    else:
        from disttrain.training import Callback

        listener = Callback()
        listener.on_step = broken  # type: ignore[method-assign]
        run.callbacks = [listener]
    for _ in range(4):
        with pytest.raises(RankFailure, match="injected"):
            fit(run)
    fit(run)
    assert run.state.step == 14


def test_a_step_that_is_done_again_is_still_watched(build: Build) -> None:
    run = build("training.epochs=2")
    disturb(run, 1, replace)
    forward = run.network.forward

    def broken(inputs: Any, pass_: Any) -> Any:
        if run.state.step == 4:
            raise ValueError("injected")
        return forward(inputs, pass_)

    run.network.forward = broken  # type: ignore[method-assign]
    with pytest.raises(RankFailure):
        fit(run)
    run.network.forward = forward  # type: ignore[method-assign]
    with pytest.raises(Corruption, match="epoch 1"):
        fit(run)


@pytest.mark.parametrize("key", ["used", "used_count"])
def test_a_checkpoint_with_another_ledger_is_noticed(
    tmp_path: Path, settings: Callable[..., Settings], go: Any, interrupted: Any, key: str
) -> None:
    interrupted(settings(), 8)
    newest = all_checkpoints(tmp_path / "run/checkpoints")[-1]
    snapshot = load(newest)
    assert snapshot.step == 9
    assert snapshot.progress.used_count == 32
    setattr(snapshot.progress, key, getattr(snapshot.progress, key) + 1)
    save(newest, snapshot)
    with pytest.raises(Corruption, match="epoch 2 "):
        go(settings(), resume=True)
