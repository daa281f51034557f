"""Going on to another result: only where a person says so, and it is written down."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disttrain.checkpoint import Snapshot, all_checkpoints, load, save
from disttrain.config import Settings
from disttrain.errors import CheckpointError, RunFileError, UsageError
from disttrain.runs.resumption import arithmetic_of
from disttrain.training.exact import arithmetic
from disttrain.training.exact.probe import Probe

Go = Callable[..., dict[str, Any]]
Make = Callable[..., Settings]
EXACT = ["reproducibility.mode=exact", "training.epochs=2"]


def newest(folder: Path) -> Path:
    return all_checkpoints(folder / "run/checkpoints")[-1]


def test_a_changed_key_is_named_with_both_values_and_then_accepted(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, listen: type
) -> None:
    interrupted(settings(), 3)
    other = settings("optimizer.momentum=0.5")
    with pytest.raises(RunFileError) as caught:
        go(other, resume=True)
    assert caught.value.exit_code == 2
    text = str(caught.value)
    assert text.startswith("optimizer.momentum was 0.9 when this run began and is 0.5 now: ")
    assert "--accept-changes" in text
    assert "\n" not in text
    listener = listen()
    summary = go(other, resume=True, accept_changes=True, callbacks=[listener])
    assert summary["status"] == "completed"
    assert summary["changes"] == ["optimizer.momentum from step 4: 0.5, was 0.9"]
    assert "resuming with optimizer.momentum = 0.5 (was 0.9)" in listener.messages
    assert listener.steps[0] == 4
    assert summary["digest"] != go(settings(), "whole")["digest"]
    assert load(newest(tmp_path)).progress.changes == summary["changes"]


def test_changes_are_remembered_over_further_stops(settings: Make, go: Go, interrupted: Go) -> None:
    interrupted(settings(), 3)
    more = {"resume": True, "accept_changes": True}
    interrupted(settings("optimizer.momentum=0.5"), 5, **more)
    both = settings("optimizer.momentum=0.5", "optimizer.weight_decay=0.01")
    interrupted(both, 9, **more)
    summary = go(both, resume=True)
    assert summary["changes"] == [
        "optimizer.momentum from step 4: 0.5, was 0.9",
        "optimizer.weight_decay from step 6: 0.01, was 0.0001",
    ]


def test_the_option_changes_nothing_where_nothing_has_changed(
    settings: Make, go: Go, interrupted: Go
) -> None:
    whole = go(settings(*EXACT), "whole")
    interrupted(settings(*EXACT), 3)
    summary = go(settings(*EXACT), resume=True, accept_changes=True)
    assert summary["changes"] == []
    assert summary["digest"] == whole["digest"]


@pytest.mark.parametrize("at", [1, 6, 9])
@pytest.mark.parametrize("mode", [[], EXACT], ids=["fast", "exact"])
@pytest.mark.parametrize(
    "change",
    ["training.batch_size=8", "training.batch_size=50", "training.protocol=batch", "seed=2",
     "data.block_rows=4", "training.protocol=single-sample"],
)  # fmt: skip
def test_another_order_of_samples_in_mid_epoch(
    settings: Make, go: Go, interrupted: Go, mode: list[str], change: str, at: int
) -> None:
    """The ledger of the epoch under way is of another order: that is no corruption."""
    # A validation split drawn from the training rows would be another one with another seed.
    base = ["training.epochs=3", "data.validation_fraction=0.0", *mode]
    interrupted(settings(*base), at)
    changed = settings(*base, change)
    summary = go(changed, resume=True, accept_changes=True)
    assert summary["status"] == "completed"
    assert any(change.partition("=")[0] in line for line in summary["changes"])


def another_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this machine compute other bits, with another BLAS."""
    digest = Probe.digest
    monkeypatch.setattr(Probe, "digest", lambda *a: digest(*a)[::-1])
    monkeypatch.setattr(arithmetic, "blas", lambda: "another BLAS, 1 threads")


def test_a_machine_that_computes_other_bits_is_refused_and_then_accepted(
    settings: Make, go: Go, interrupted: Go, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    interrupted(settings(*EXACT), 3)
    kept = load(newest(tmp_path)).state["arithmetic"]
    another_arithmetic(monkeypatch)
    with pytest.raises(UsageError) as caught:
        go(settings(*EXACT), resume=True)
    assert caught.value.exit_code == 2
    text = str(caught.value)
    assert "computes other bits than this run so far" in text
    assert f"BLAS here: another BLAS, 1 threads; there: {kept['blas']}" in text
    assert "--accept-changes" in text
    assert "\n" not in text
    summary = go(settings(*EXACT), resume=True, accept_changes=True)
    (line,) = summary["changes"]
    assert re.fullmatch(
        r"arithmetic from step 4: \w+, another BLAS, 1 threads, probe \w{12}, "
        rf"was {kept['kind']}, {re.escape(kept['blas'])}, probe {kept['probe'][:12]}",
        line,
    )
    # From here on this is what the run computes with.
    assert load(newest(tmp_path)).state["arithmetic"]["blas"].startswith("another BLAS")


def test_a_plan_that_does_not_hold_here_is_refused(
    settings: Make, go: Go, interrupted: Go, tmp_path: Path
) -> None:
    shared = [*EXACT, "reproducibility.arithmetic=shared"]
    interrupted(settings(*shared), 3)
    snapshot = load(newest(tmp_path))
    snapshot.state["arithmetic"]["plan"][:2] = [False, 48]
    save(newest(tmp_path), snapshot)
    with pytest.raises(UsageError, match="other bits than this run so far"):
        go(settings(*shared), resume=True)


def test_what_is_recorded_is_computed_with_and_not_what_would_be_chosen_now(
    settings: Make, go: Go, interrupted: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = go(settings(*EXACT), "whole")
    interrupted(settings(*EXACT), 3)
    monkeypatch.setattr(arithmetic, "MOST", 1e-9)
    assert go(settings(*EXACT), resume=True)["digest"] == whole["digest"]
    assert go(settings(*EXACT), "now")["digest"] != whole["digest"]


@pytest.mark.parametrize("facts", [{"kind": "shared"}, {"kind": "leaves", "plan": 7}])
def test_a_checkpoint_that_does_not_say_what_it_was_computed_with(facts: dict[str, Any]) -> None:
    snapshot = Snapshot(4, 0.5, "", {}, {}, {}, {"arithmetic": facts})
    with pytest.raises(CheckpointError, match=r"step 4 .*--accept-changes") as caught:
        arithmetic_of(snapshot)
    assert caught.value.exit_code == 3


def test_a_finished_run_stays_what_it_is(settings: Make, go: Go, listen: type) -> None:
    summary = go(settings("training.epochs=1"))
    listener = listen()
    other = settings("training.epochs=1", "optimizer.momentum=0.5")
    again = go(other, resume=True, accept_changes=True, callbacks=[listener])
    assert again == summary
    assert any("optimizer.momentum is not what it was" in line for line in listener.messages)
