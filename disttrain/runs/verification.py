"""Whether a run folder is whole: every file by itself, and all of them together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from disttrain import config
from disttrain.checkpoint import State, Verdict, all_checkpoints, verify
from disttrain.errors import CheckpointError, DisttrainError
from disttrain.runs.folder import RunFolder
from disttrain.training.integrity.chain import read

__all__ = ["verify_run"]

STATUSES = ("completed", "stopped-early", "preempted", "diverged", "failed")


def verify_run(path: Path) -> dict[str, Any]:
    """Return what was found in the run folder at `path`, as JSON values; nothing is changed.

    `whole`; `files`, a verdict for each, the newest checkpoint first; `resume`, the checkpoint that
    `--resume` would go on from, or None; `left_over`, the names of files that were put aside or
    that a killed process left: they say nothing of the rest. Of a run that is under way files may
    be between two states. Raises CheckpointError where the folder holds no run.
    """
    folder = RunFolder(path)
    if not folder.holds_a_run():
        raise CheckpointError(f"{path} holds no run: give a run folder, or a file")
    # What is gone by now was deleted by the run itself, which is under way.
    found = (verify(p) for p in reversed(all_checkpoints(folder.checkpoints)))
    ring = [v for v in found if v.whole or v.path.exists()]
    newest = next((v for v in ring if v.whole), None)
    progress = newest.progress if newest else State()
    files = [
        *ring,
        *_best(folder, ring, progress),
        Verdict(folder.run_file, _run_file(folder.run_file)),
        Verdict(folder.metrics, _metrics(folder.metrics, progress.history)),
        Verdict(folder.digests, _digests(folder.digests, progress.digests)),
    ]
    if folder.summary.exists():
        files.append(Verdict(folder.summary, _summary(folder.summary, ring)))
    return {
        "path": str(path),
        "whole": all(v.whole for v in files),
        "files": [v.facts() for v in files],
        "resume": str(newest.path) if newest else None,
        "left_over": [str(p) for p in _left_over(folder)],
    }


def _best(folder: RunFolder, ring: list[Verdict], progress: State) -> list[Verdict]:
    """Return the verdict on `best.h5`, none where there is neither a best state nor that file."""
    known = progress.best_loss is not None
    if not known and not folder.best.exists():
        return []
    found = verify(folder.best)
    if not known or not found.whole:
        return [found]
    step, again = progress.best_step, "--resume sees to it"
    same = next((v.digest for v in ring if v.whole and v.step == step), found.digest)
    if found.step != step:
        problem = f"{found.path} is of step {found.step}, but the best so far is step {step}"
    elif found.digest != same:
        problem = f"{found.path} is not the state of step {step} that is among the checkpoints"
    else:
        return [found]
    return [Verdict(found.path, f"{problem}: {again}", [], found.step, found.epoch, found.digest)]


def _run_file(path: Path) -> str:
    try:
        config.read(path)
    except DisttrainError as error:
        return str(error)
    return ""


def _metrics(path: Path, history: list[dict[str, Any]]) -> str:
    """Return what is wrong with `metrics.jsonl`, whose first lines are the `history`; or ""."""
    cure = "--resume writes it anew"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        return f"{path} can't be read ({error}): {cure}"
    last, lines = -1, text.splitlines()
    for number, line in enumerate(lines, 1):
        step = _step(line)
        if step is None or (number == len(lines) and not text.endswith("\n")):
            return f"{path}, line {number} is no interval, or cut off: {cure}"
        if step <= last:
            return f"{path}, line {number} is of step {step}, after one of step {last}: {cure}"
        last = step
    for number, interval in enumerate(history, 1):
        if number > len(lines) or json.loads(lines[number - 1]) != interval:
            return f"{path}, line {number} is not what the newest checkpoint remembers: {cure}"
    return ""


def _digests(path: Path, chain: list[dict[str, Any]]) -> str:
    """Return what is wrong with `digests.jsonl`, which begins with the records `chain`; or ""."""
    try:
        records = read(path)
    except CheckpointError as error:
        return str(error)
    if any(record not in records for record in chain):
        return f"{path} is not what the newest checkpoint remembers: --resume writes it anew"
    return ""


def _step(line: str) -> int | None:
    """Return the step of a line of `metrics.jsonl`, None where it is no such line."""
    try:
        interval = json.loads(line)
    except ValueError:
        return None
    step = interval.get("step") if isinstance(interval, dict) else None
    return step if isinstance(step, int) else None


def _summary(path: Path, ring: list[Verdict]) -> str:
    """Return what is wrong with `summary.json`, or ""."""
    cure = "--resume writes it anew where the run is not finished"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        status, steps, digest = (summary[key] for key in ("status", "steps", "digest"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{path} can't be read ({type(error).__name__}: {error}): {cure}"
    if status not in STATUSES:
        return f"{path} has the status {status!r}, not one of {', '.join(STATUSES)}: {cure}"
    for checkpoint in ring:
        if checkpoint.whole and checkpoint.step == steps and checkpoint.digest != digest:
            return f"{path} has another digest than {checkpoint.path}, the checkpoint of its step"
    return ""


def _left_over(folder: RunFolder) -> list[Path]:
    return sorted(
        found
        for place in (folder.path, folder.checkpoints)
        for pattern in (".*.tmp", "*.h5.damaged", "*.h5.other")
        for found in place.glob(pattern)
    )
