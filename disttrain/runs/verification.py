"""Whether a run folder is whole: every file by itself, and all of them together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from disttrain import config
from disttrain.checkpoint import State, Verdict, all_checkpoints, newest_whole, verify
from disttrain.errors import CheckpointError, DisttrainError
from disttrain.runs.folder import RunFolder
from disttrain.runs.resumption import records_up_to, refuse_lost_work
from disttrain.training.integrity.chain import read
from disttrain.written import intervals_of, summary_of, why

__all__ = ["verify_run"]


def verify_run(path: Path) -> dict[str, Any]:
    """Return what was found in the run folder at `path`, as JSON values; nothing is changed.

    `whole`; `files`, a verdict for each, the newest checkpoint first; `resume`, the checkpoint that
    `--resume` would go on from, or None, and then `resume_refused`, why it would go on from none
    (None: it would begin); `left_over`, the names of files that were put aside or
    that a killed process left: they say nothing of the rest. Of a run that is under way files may
    be between two states. Raises CheckpointError where the folder holds no run.
    """
    folder = RunFolder(path)
    if not folder.holds_a_run():
        raise CheckpointError(f"{path} holds no run: give a run folder, or a file")
    # What is gone by now was deleted by the run itself, which is under way.
    found = (verify(p) for p in reversed(all_checkpoints(folder.checkpoints)))
    ring = [v for v in found if v.whole or v.path.exists()]
    best = verify(folder.best) if os.path.lexists(folder.best) else None
    whole = [v for v in (*ring, best) if v and v.whole]
    # Where the newest checkpoint is damaged, `best.h5` may hold the same state.
    progress = max(whole, key=lambda v: v.step or 0).progress if whole else State()
    files = [
        *ring,
        *_best(folder, best, ring, progress),
        Verdict(folder.run_file, _run_file(folder.run_file)),
        Verdict(folder.metrics, _metrics(folder.metrics, progress.history)),
        Verdict(folder.digests, _digests(folder.digests, progress.digests)),
    ]
    if os.path.lexists(folder.summary):
        files.append(Verdict(folder.summary, _summary(folder.summary, ring)))
    resume, refused = _resume(folder)
    return {
        "path": str(path),
        "whole": all(v.whole for v in files),
        "files": [v.facts() for v in files],
        "resume": resume,
        "resume_refused": refused,
        "left_over": [str(p) for p in _left_over(folder)],
    }


def _resume(folder: RunFolder) -> tuple[str | None, str | None]:
    """Return the file that `--resume` goes on from and why it refuses to, of which one is None.

    Both are None where it begins.
    """
    try:
        found = newest_whole(folder.checkpoints, folder.best)
        if found.snapshot is None:
            refuse_lost_work(folder, found, folder.finished(lambda line: None))
            return None, None
        records_up_to(folder, found, lambda line: None)
    except CheckpointError as error:
        return None, str(error)
    return str(found.path), None


def _best(
    folder: RunFolder, found: Verdict | None, ring: list[Verdict], progress: State
) -> list[Verdict]:
    """Return the verdict on `best.h5`, none where there is neither a best state nor that file."""
    known = progress.best_loss is not None
    if found is None:
        return [verify(folder.best)] if known else []
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
    last, number = -1, 0
    try:
        for number, interval in enumerate(intervals_of(path), 1):
            step = interval["step"]
            if step <= last:
                return f"{path}, line {number} is of step {step}, after one of step {last}: {cure}"
            if number <= len(history) and interval != history[number - 1]:
                return f"{path}, line {number} differs from the newest checkpoint's record: {cure}"
            last = step
    except (OSError, ValueError) as error:
        return f"{path} can't be read ({why(error)}): {cure}"
    if number < len(history):
        return f"{path} ends before line {number + 1}, which the newest checkpoint records: {cure}"
    return ""


def _digests(path: Path, chain: list[dict[str, Any]]) -> str:
    """Return what is wrong with `digests.jsonl`, which begins with the records `chain`; or ""."""
    try:
        records = read(path)
    except CheckpointError as error:
        return str(error)
    if any(record not in records for record in chain):
        return f"{path} differs from the newest checkpoint's record: --resume writes it anew"
    return ""


def _summary(path: Path, ring: list[Verdict]) -> str:
    """Return what is wrong with `summary.json`, or ""."""
    try:
        summary = summary_of(path)
    except (OSError, ValueError) as error:
        return (
            f"{path} can't be read ({why(error)}): --resume writes it anew where the run is not "
            "finished"
        )
    for checkpoint in ring:
        same = checkpoint.whole and checkpoint.step == summary["steps"]
        if same and checkpoint.digest != summary["digest"]:
            return f"{path} has another digest than {checkpoint.path}, the checkpoint of its step"
    return ""


def _left_over(folder: RunFolder) -> list[Path]:
    return sorted(
        found
        for place in (folder.path, folder.checkpoints)
        for pattern in (".*.tmp", "*.h5.damaged", "*.h5.other", "*.replaced")
        for found in place.glob(pattern)
    )
