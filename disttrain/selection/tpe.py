"""Candidates by TPE (Bergstra et al., 2011), in generations: Optuna is asked and told.

A generation is asked of a sampler of its own, seeded by its number, that is told all candidates
before it in the order of their numbers. So what it suggests does not depend on how many ranks there
are, on the order in which candidates ended, or on a restart.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from typing import Any

from disttrain.errors import UsageError
from disttrain.selection.space import Axis

__all__ = ["require", "suggest"]


def require() -> Any:
    """Return Optuna; UsageError where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise UsageError(
            "stages of kind = \"tpe\" need Optuna: pip install 'disttrain[search]', or take "
            'kind = "random"'
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def suggest(
    axes: Sequence[Axis],
    told: Sequence[tuple[dict[str, Any], float | None]],
    count: int,
    seed: Sequence[int],
    rises: bool,
) -> list[dict[str, Any]]:
    """Return the settings of the next `count` candidates.

    `told` are the settings and scores of those before, in the order of numbers; a score of None is
    a candidate that failed. `seed` are the study's seed, the stage and the generation.
    """
    optuna = require()
    number = hashlib.sha256(":".join(map(str, seed)).encode()).digest()[:4]
    known = {axis.key: _distribution(axis) for axis in axes}
    with warnings.catch_warnings():
        # That the options are experimental; the log of a study keeps what they suggested.
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(
            seed=int.from_bytes(number, "big"), constant_liar=True, multivariate=True
        )
        study = optuna.create_study(sampler=sampler, direction="maximize" if rises else "minimize")
        states = optuna.trial.TrialState
        for settings, score in told:
            study.add_trial(optuna.trial.create_trial(
                params={axis.key: _stored(axis, settings[axis.key]) for axis in axes},
                distributions=known, value=score,
                state=states.FAIL if score is None else states.COMPLETE,
            ))  # fmt: skip
        trials = [study.ask(known) for _ in range(count)]
    return [{axis.key: _value(axis, trial.params[axis.key]) for axis in axes} for trial in trials]


def _distribution(axis: Axis) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if axis.choices:
        return CategoricalDistribution(list(range(len(axis.choices))))
    if axis.integer:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def _stored(axis: Axis, value: Any) -> Any:
    """Return a value as Optuna has it: choices by their place."""
    return axis.choices.index(value) if axis.choices else value


def _value(axis: Axis, stored: Any) -> Any:
    if axis.choices:
        return axis.choices[stored]
    return int(stored) if axis.integer else axis.rounded(stored)
