"""Whether a study can be searched: its keys and ranges, its grids, the data that judge it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from disttrain.advice.evidence import FEW
from disttrain.config import MOST_CANDIDATES, Settings, Study
from disttrain.data import Dataset
from disttrain.errors import RunFileError, UsageError
from disttrain.selection import tpe
from disttrain.selection.space import Axis, axes_of, count_of, settings_of

__all__ = ["check", "corners", "doubts", "few_to_judge_by", "refuse_metric"]

EPOCHS = "training.epochs"
# Which rows candidates are judged by.
ROWS = ("data", "data.path", "data.validation_fraction", "data.split_seed", "data.targets")


def check(study: Study) -> None:
    """Raise RunFileError for a key that no run has, or an end of a range that it can't have."""
    axes = axes_of(study.space)
    if any(stage.kind == "tpe" for stage in study.stages):
        tpe.require()
    if EPOCHS in study.space and any(stage.epochs or stage.prune for stage in study.stages):
        raise RunFileError(
            f'space."{EPOCHS}" of the study file goes without epochs and prune in the stages, '
            "which say how many epochs a candidate has"
        )
    for key, values in corners(axes):
        try:
            _refuse_unjudged(study, settings_of(study.run, values))
        except RunFileError as error:
            raise RunFileError(f'space."{key}" of the study file: {error}') from None
    for number, stage in enumerate(study.stages, 1):
        points = count_of(stage, axes)
        if stage.candidates is not None and points > stage.candidates:
            raise UsageError(
                f"the grid of stage {number} has {points} points, and candidates = "
                f"{stage.candidates}: allow so many, or take fewer steps"
            )
        if points > MOST_CANDIDATES:
            raise UsageError(
                f"the grid of stage {number} has {points:,} points, and a stage at most "
                f'{MOST_CANDIDATES:,} candidates: take fewer steps, or kind = "random"'
            )


def _refuse_unjudged(study: Study, settings: Settings) -> None:
    """Raise RunFileError where candidates would be compared before any validation."""
    every = settings.validation.every_epochs or 1
    for number, stage in enumerate(study.stages, 1):
        *compared, _ = stage.rungs(stage.epochs or settings.training.epochs)
        if compared and compared[0] < every:
            raise RunFileError(
                f"stage {number} compares candidates after first_epochs = {compared[0]}, before "
                f"they are validated: give it first_epochs = {every}, or validation.every_epochs = "
                f"{compared[0]}"
            )


def corners(axes: Sequence[Axis]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each end of each range, beside the last ends of the others, and whose end it is."""
    usual = {axis.key: axis.ends()[-1] for axis in axes}
    for axis in axes:
        for value in axis.ends():
            yield axis.key, usual | {axis.key: value}


def refuse_metric(study: Study, dataset: Dataset) -> None:
    """Raise UsageError where the data have no such measure."""
    if "validation" not in dataset.splits:
        raise UsageError(
            f"{dataset.file.path} has no validation rows to judge candidates by: give "
            "data.validation_fraction in the run file"
        )
    if not dataset.classes and study.metric == "validation_accuracy":
        raise UsageError(
            f"the targets of {dataset.file.path} are numbers, which have no accuracy: give "
            'metric = "validation_loss"'
        )


def few_to_judge_by(study: Study, dataset: Dataset) -> list[str]:
    """Return a sentence where too few validation rows judge the candidates."""
    rows, run = dataset.splits["validation"].count, Path(study.run)
    if rows >= FEW:
        return []
    here = run.relative_to(Path.cwd()) if run.is_relative_to(Path.cwd()) else run
    return [
        f"only {rows} samples are set aside for validation, so which candidate is the best may be "
        "chance: give more by data.validation_fraction, or judge a few candidates by all training "
        f"samples: `disttrain cross-validate {shlex.quote(str(here))} --over KEY=VALUE,VALUE`"
    ]


def doubts(study: Study) -> list[str]:
    """Return why scores of this study can hardly be compared, a sentence each."""
    return [
        f'space."{key}" changes the rows that candidates are judged by, or their targets: scores '
        "of different rows do not tell which settings are better"
        for key in ROWS if key in study.space
    ]  # fmt: skip
