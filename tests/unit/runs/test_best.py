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


def test_falling_back_behind_the_best_finds_it_again(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, listen: type
) -> None:
    """The best state of step 6 is lost, that of `best.h5` is not reached yet."""
    whole = go(settings(*CHANGES), "whole")
    assert (whole["best_step"], whole["status"]) == (12, "stopped-early")
    interrupted(settings(*CHANGES), 9, "parts")
    run = tmp_path / "parts"
    assert (steps(run), load(run / "best.h5").step) == ([9, 10], 10)
    all_checkpoints(run / "checkpoints")[-1].write_bytes(b"torn")
    listener = listen()
    parts = go(settings(*CHANGES), "parts", resume=True, callbacks=[listener])
    said = "\n".join(listener.messages)
    assert "best.h5 is of step 10, but the best so far is step 6" in said
    assert "put aside as best.h5.other" in said
    assert listener.steps[0] == 9
    assert {k: parts[k] for k in FACTS} == {k: whole[k] for k in FACTS}
    assert load(run / "best.h5").digest == load(tmp_path / "whole/best.h5").digest
    assert load(run / "best.h5.other").step == 10


def test_a_best_state_among_the_checkpoints_is_put_back(
    tmp_path: Path, settings: Make, go: Go, interrupted: Go, listen: type
) -> None:
    """`best.h5` is newer than the checkpoint that the run falls back to, which is a best itself."""
    whole = go(settings(*CHANGES), "whole")
    interrupted(settings(*CHANGES), 11, "parts")
    run = tmp_path / "parts"
    assert (steps(run), load(run / "best.h5").step) == ([10, 12], 12)
    all_checkpoints(run / "checkpoints")[-1].write_bytes(b"torn")
    before = all_checkpoints(run / "checkpoints")[0].read_bytes()
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
