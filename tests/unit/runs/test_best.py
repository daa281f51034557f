"""The best state after a resumption: the right one, or none; it never changes what is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from disttrain.checkpoint import all_checkpoints, find, load
from disttrain.config import Settings

Go = Callable[..., dict[str, Any]]
Make = Callable[..., Settings]
# Validated at every second step: best at 2, 4, 6, 10 and 12, then never again. Saved at those, and
# at every third step.
CHANGES = (
    "validation.every_steps=2", "checkpoint.every_steps=3", "schedule.learning_rate=2.0",
    "checkpoint.keep=2", "validation.patience=4",
)  # fmt: skip
FACTS = ("status", "reason", "steps", "best_step", "validation", "test", "digest")


def steps(folder: Path) -> list[int]:
    return [load(path).step for path in all_checkpoints(folder / "checkpoints")]


def test_a_whole_best_stands_in_for_a_torn_checkpoint(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, listen: type
) -> None:
    """`best.h5` holds the very state that the torn checkpoint held: no step is lost."""
    whole = go(settings(*CHANGES), "whole")
    assert (whole["best_step"], whole["status"]) == (12, "stopped-early")
    interrupted(settings(*CHANGES), 9, "parts")
    run = tmp_path / "parts"
    assert (steps(run), load(run / "best.h5").step) == ([9, 10], 10)
    all_checkpoints(run / "checkpoints")[-1].write_bytes(b"torn")
    listener = listen()
    parts = go(settings(*CHANGES), "parts", resume=True, callbacks=[listener])
    assert any("put aside as step-00000010.h5.damaged" in line for line in listener.messages)
    assert listener.steps[0] == 10
    assert {k: parts[k] for k in FACTS} == {k: whole[k] for k in FACTS}
    assert load(run / "best.h5").digest == load(tmp_path / "whole/best.h5").digest


def test_falling_back_behind_the_best_finds_it_again(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, listen: type
) -> None:
    """The best state of step 6 is lost, that of step 10, in two files, is damaged in both."""
    whole = go(settings(*CHANGES), "whole")
    interrupted(settings(*CHANGES), 9, "parts")
    run = tmp_path / "parts"
    for path in (all_checkpoints(run / "checkpoints")[-1], run / "best.h5"):
        path.write_bytes(b"torn")
    listener = listen()
    parts = go(settings(*CHANGES), "parts", resume=True, callbacks=[listener])
    said = "\n".join(listener.messages)
    for name in ("best.h5", "step-00000010.h5"):
        assert f"put aside as {name}.damaged" in said
    assert "the best weights so far are lost" in said
    assert listener.steps[0] == 9
    assert {k: parts[k] for k in FACTS} == {k: whole[k] for k in FACTS}
    assert load(run / "best.h5").digest == load(tmp_path / "whole/best.h5").digest


def test_a_best_state_of_another_step_is_not_believed(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, listen: type
) -> None:
    """Somebody has copied an older `best.h5` back: the right one is among the checkpoints."""
    whole = go(settings(*CHANGES), "whole")
    interrupted(settings(*CHANGES), 3, "parts")
    run = tmp_path / "parts"
    older = (run / "best.h5").read_bytes()
    interrupted(settings(*CHANGES), 11, "parts", resume=True)
    assert (steps(run), load(run / "best.h5").step) == ([10, 12], 12)
    before = (run / "best.h5").read_bytes()
    (run / "best.h5").write_bytes(older)
    listener = listen()
    listener.on_start = lambda run_: (run / "seen").write_bytes((run / "best.h5").read_bytes())
    parts = go(settings(*CHANGES), "parts", resume=True, callbacks=[listener])
    assert (run / "seen").read_bytes() == before
    assert any("it is written anew from" in line for line in listener.messages)
    assert {k: parts[k] for k in FACTS} == {k: whole[k] for k in FACTS}


def test_best_weights_that_are_lost_for_good_change_no_decision(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, listen: type
) -> None:
    """Nobody claims then to have them: the model of the run is its last one."""
    whole = go(settings(*CHANGES), "whole")
    interrupted(settings(*CHANGES), 15, "parts")
    run = tmp_path / "parts"
    assert steps(run) == [15, 16]
    (run / "best.h5").unlink()
    listener = listen()
    parts = go(settings(*CHANGES), "parts", resume=True, callbacks=[listener])
    assert any("the best weights so far are lost" in line for line in listener.messages)
    for key in ("status", "reason", "steps", "digest"):
        assert parts[key] == whole[key], key
    assert parts["best_step"] is None
    assert find(run) == all_checkpoints(run / "checkpoints")[-1]
    assert parts["test"] != whole["test"]
