"""Making ensembles: of new members, of the best of a study, of a run's checkpoints, its average."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from disttrain.checkpoint import all_checkpoints, find, newest_whole, write_atomically
from disttrain.comm import Communicator
from disttrain.config import Settings
from disttrain.data import Dataset
from disttrain.disk import make_directory
from disttrain.errors import CheckpointError, Preempted, UsageError
from disttrain.model import Layer, Loss
from disttrain.runs.ensembled import FILE, ensemble_of
from disttrain.runs.held import kind_in, refuse_another
from disttrain.runs.trained import Trained, load_trained
from disttrain.selection.table import order
from disttrain.selection.training import Job, refuse_if_none_fits, train_in_groups
from disttrain.selection.turns import Ended, Turns, all_failed
from disttrain.shown import decimals
from disttrain.training.build import open_training_data
from disttrain.training.injection import Injection
from disttrain.training.limits import within_limits
from disttrain.written import FINISHED, json_of, text_of, why

__all__ = [
    "averaged_in",
    "best_of_study",
    "by_seed",
    "combine",
    "found",
    "last_checkpoints",
    "train_each",
]

Say = Callable[[str], None]


def by_seed(settings: Settings, count: int) -> list[Settings]:
    """Return the settings of `count` members that differ by their seeds.

    The first has the run file's seed, the others the next ones; all set aside the same rows for
    validation.
    """
    first = settings.seed if settings.data.split_seed is None else settings.data.split_seed
    shared = settings.replace(data={"split_seed": first})
    return [shared.replace(seed=(settings.seed + n) % (1 << 63)) for n in range(count)]


def train_each(
    members: Sequence[Settings], folder: Path, comm: Communicator, *, ranks_each: int = 1,
    resume: bool = False, split: str | None = None, say: Say = print,
    layers: Sequence[Layer] | None = None, loss: Loss | None = None,
    injection: Injection | None = None,
) -> list[Path]:  # fmt: skip
    """Train the members of an ensemble; return their checkpoints. Collective.

    They stand in `members/` of the folder, and are trained by groups of ranks. With `resume` it
    goes on: what is finished is not trained again. Raises UsageError for a folder that holds
    members otherwise, or another command's results, and where no rows are there to score them on,
    as in `combine`; DisttrainError where not one of them came to its end, Divergence if all have
    diverged. Where the MPI goes on without a rank that died, so do the members.
    """
    jobs = [
        Job(n, settings.replace(name=f"member-{n}"), folder / "members" / f"{n}")
        for n, settings in enumerate(members, 1)
    ]
    turns, opened = Turns(comm, folder, "member {}".format), list[Dataset]()

    def to_the_end() -> list[Path]:
        """Train what is left to be trained."""
        if not all(comm.collect(bool(opened))):
            begun = resume or bool(opened)
            opened[:] = [_opened(members, folder, comm, begun, split, layers, loss)]
        ended = train_in_groups(
            comm, jobs, folder, ranks_each=ranks_each, dataset=opened[0],
            tell=partial(_tell, say, len(jobs)), layers=layers, loss=loss, turns=turns,
            injection=injection,
        )  # fmt: skip
        files = _files_of(ended, folder, comm)
        opened[0].close(comm)
        return files

    try:
        with comm.watch.armed(members[0].communication.deadline_seconds):
            return comm.survive(to_the_end, turns.mend)
    except Preempted:
        raise Preempted(f"asked to stop: {folder} keeps what has ended, --resume goes on") from None


def _opened(
    members: Sequence[Settings], folder: Path, comm: Communicator, resume: bool,
    split: str | None, layers: Sequence[Layer] | None, loss: Loss | None,
) -> Dataset:  # fmt: skip
    """Return the data of the members, and make their folder, where nothing refuses them."""
    with comm.together("opening the ensemble", by_root=True):
        if comm.is_root:
            _refuse_members(folder, resume)
    dataset = open_training_data(members[0], comm)
    with comm.together("opening the ensemble", by_root=True):
        _refuse_without(split or _scored_on(dataset.splits), dataset)
        if comm.is_root:
            refuse_if_none_fits(members, dataset, members[0], layers, loss)
            make_directory(folder)
    return dataset


def _refuse_members(folder: Path, resume: bool) -> None:
    """Raise UsageError for a folder that holds what is not to be gone on with."""
    if not resume and any((folder / "members").glob("*")):
        raise UsageError(
            f"{folder} holds members of an ensemble: go on with --resume, or choose another "
            "--output"
        )
    refuse_another(folder, FILE)


def _files_of(ended: Sequence[Ended], folder: Path, comm: Communicator) -> list[Path]:
    """Return the checkpoints of the members that came to their end. Collective."""
    whole = [one.number for one in ended if one.value is not None]
    if not whole:
        failed = {one.number: (one.status, one.failure) for one in ended}
        raise all_failed("no member came to its end", "member", failed)
    files: list[Path] = []
    with comm.together("opening the ensemble"):
        for number in whole:
            files.append(find(folder / "members" / f"{number}"))
    return files


def _scored_on(splits: Collection[str]) -> str:
    """Return the split that an ensemble is scored on where nobody says."""
    return "test" if "test" in splits else "validation"


def _refuse_without(split: str, dataset: Dataset) -> None:
    """Raise UsageError where the members could not be scored once they are trained."""
    if split not in dataset.splits:
        raise UsageError(
            f"data file {dataset.file.path} has no rows for the {split} split, to score the "
            "ensemble on: prepare it with a test split (--test or --test-fraction), or give "
            "--split train, whose scores are of rows that the members were trained on"
        )


def _tell(say: Say, count: int, ended: Ended) -> None:
    """Say how a member ended."""
    scores = (ended.value or {}).get("validation") or {}
    known = [
        f"{k} {decimals(scores[k])}" for k in ("loss", "accuracy") if scores.get(k) is not None
    ]
    how = ended.failure or ", ".join(known) or "trained"
    say(f"member {ended.number} of {count}: {how} ({ended.seconds:.1f} s)")


def found(source: Path, kind: str, count: int, comm: Communicator) -> list[Path]:
    """Return the checkpoints that an ensemble of a `kind` is made of; raises as these do.

    Collective.
    """
    with comm.together("opening the ensemble"):
        if kind == "top":
            return best_of_study(source, count)
        return last_checkpoints(source, count) if kind == "checkpoints" else averaged_in(source)


def best_of_study(study: Path, top: int) -> list[Path]:
    """Return the checkpoints of the `top` best candidates of a search.

    Raises UsageError where there are fewer that came to their end, CheckpointError where the study
    or a checkpoint can't be read.
    """
    folder = study if study.is_dir() else study.parent
    file = folder / "study.json"
    try:
        facts = json_of(text_of(file, 64 << 20))
        rows = [
            row for row in facts["candidates"]
            if row["status"] in FINISHED and isinstance(row["score"], float | int)
        ]  # fmt: skip
        rises = not facts["metric"].endswith("loss")
        rows.sort(key=lambda row: order(row, rises))
        places = [folder / str(row["path"]) for row in rows[:top]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{file} is not a study that can be used ({why(error) if str(error) else error}): give "
            "the folder of a search"
        ) from None
    if len(places) < top:
        raise UsageError(
            f"{study} has {len(places)} candidates that came to their end: --top {top} is more"
        )
    return [find(place) for place in places]


def last_checkpoints(run: Path, count: int) -> list[Path]:
    """Return the newest `count` checkpoints of a run, the oldest first.

    Raises UsageError for fewer, CheckpointError for none.
    """
    files = all_checkpoints(run / "checkpoints")
    if not files:
        raise CheckpointError(f"{run} holds no checkpoint: give the folder of a run")
    if len(files) < count:
        has = "1 checkpoint" if len(files) == 1 else f"{len(files)} checkpoints"
        fewer = f", or give --checkpoints {len(files)}" if len(files) > 1 else ""
        raise UsageError(f"{run} has {has}: train it with checkpoint.keep = {count}{fewer}")
    return files[-count:]


def averaged_in(run: Path) -> list[Path]:
    """Return the checkpoint of a run whose running average has the least validation loss.

    That of the last one where nothing was validated. Raises CheckpointError where there is none.
    """
    newest = newest_whole(run / "checkpoints", run / "best.h5")
    if newest.path is None or newest.snapshot is None:
        raise CheckpointError(f"{run} holds no whole checkpoint: give the folder of a run")
    if not newest.snapshot.average:
        raise UsageError(
            f"{run} keeps no running average: train it with model.average = 0.999 in its run file"
        )
    losses = {
        interval["step"]: interval["validation_average_loss"]
        for interval in newest.snapshot.progress.history
        if interval.get("validation_average_loss") is not None
    }
    steps = {int(path.stem[5:]): path for path in all_checkpoints(run / "checkpoints")}
    judged = [step for step in steps if step in losses]
    return [steps[min(judged, key=lambda s: (losses[s], -s))] if judged else newest.path]


def combine(
    files: Sequence[Path], folder: Path, comm: Communicator, *, kind: str,
    split: str | None = None, layers: Sequence[Layer] | None = None, loss: Loss | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Score networks and their ensemble, write `ensemble.json` to `folder`; return it. Collective.

    `kind` "average" takes the running average of the one file, which is compared with the weights
    beside it. `split` is "test" by default, or where there is none "validation".
    """
    average = kind == "average"
    with comm.together("opening the ensemble", by_root=True):
        if comm.is_root:
            refuse_another(folder, FILE)
    members = [load_trained(file, comm, layers, loss) for file in files]
    known = members[0].snapshot.state["data"]["samples"]
    split = split or _scored_on(known)
    samples = members[0].split(split)
    whole = load_trained(files[0], comm, layers, loss, averaged=True) if average else None
    with comm.together("averaging"):
        whole = whole or ensemble_of(members, folder) if len(members) > 1 or average else members[0]
    with within_limits(members[0].settings, comm):
        rows = [_row(member, samples, split, folder) for member in members]
        score = whole.judge(samples, f"the {split} split")
    facts = {
        "kind": kind, "average": average, "split": split, "rows": samples.count, "members": rows,
        "ensemble": {"path": "."} | score.facts(),
        "gain": _gain(rows, score.facts()),
    }  # fmt: skip
    with comm.together("writing the ensemble"):
        if comm.is_root:
            make_directory(folder)
            text = json.dumps(facts, indent=2, allow_nan=False) + "\n"
            write_atomically(folder / FILE, text.encode())
    return facts


def _row(member: Trained, samples: Any, split: str, folder: Path) -> dict[str, Any]:
    """Return what stands of a member in `ensemble.json`.

    Its path is relative where it moves with the ensemble: below it, or in the study or the run that
    the ensemble is in.
    """
    place, home = member.path.resolve(), folder.resolve()
    whole = home.parent if kind_in(home.parent) else home
    path = os.path.relpath(place, home) if place.is_relative_to(whole) else member.path.absolute()
    score = member.judge(samples, f"the {split} split").facts()
    return {"path": str(path), "digest": member.snapshot.digest} | score


def _gain(rows: Sequence[dict[str, Any]], whole: dict[str, Any]) -> dict[str, float | None]:
    """Return by how much the ensemble is better than its best member."""
    losses = min(row["loss"] for row in rows) - whole["loss"]
    accuracies = [row["accuracy"] for row in rows]
    right = None if whole["accuracy"] is None else whole["accuracy"] - max(accuracies)
    return {"accuracy": right, "loss": losses}
