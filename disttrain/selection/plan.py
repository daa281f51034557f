"""What a cross-validation judges: settings, in how many folds."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from disttrain import config
from disttrain.config import Settings
from disttrain.errors import RunFileError, UsageError
from disttrain.model import Layer, Loss
from disttrain.selection.space import settings_of
from disttrain.shown import quoted

__all__ = ["Plan"]

# Of [data], what does not decide which rows there are.
OF_USE = ("data.normalize", "data.augment")


@dataclass(frozen=True)
class Plan:
    """What is validated: a run file with changes, over all values of some keys, in how many folds.

    Networks are trained on all rows of the other folds, for all epochs, and their last weights are
    scored; with `validation.patience` the part `data.validation_fraction` of the other folds' rows
    is set aside to stop by. Rows of the file's splits `validation` and `test` are not used.

    `layers` and `loss` are those of a user's own, `own` the keys that stand for them in run files.
    """

    run: str
    sets: tuple[str, ...]
    over: Mapping[str, Sequence[Any]]
    folds: int = 5
    repeats: int = 1
    ranks_each: int = 1
    own: Mapping[str, Any] = field(default_factory=dict)
    layers: Sequence[Layer] | None = None
    loss: Loss | None = None

    @cached_property
    def values(self) -> list[dict[str, Any]]:
        """The changes of each of the settings."""
        points = itertools.product(*self.over.values())
        return [dict(zip(self.over, point, strict=True)) for point in points]

    def settings(self) -> list[Settings]:
        """Return the settings. Raises RunFileError for a key or a value that no run has."""
        for key, given in self.over.items():
            if key.split(".")[0] == "data" and key not in OF_USE:
                raise UsageError(f"--over {key}: all settings are judged on the same rows")
            for place, value in enumerate(given):
                if value in given[:place]:
                    raise UsageError(
                        f"--over {key}: {quoted(value)} is there twice, and would be trained twice"
                    )
        return [self._with(values) for values in self.values]

    def _with(self, values: Mapping[str, Any]) -> Settings:
        try:
            return settings_of(self.run, values, self.sets, self.own)
        except RunFileError as error:
            over = f"--over {', '.join(values)}: " if values else ""
            raise RunFileError(f"{over}{error}") from None

    def about(self) -> dict[str, Any]:
        """Return what must be the same for a cross-validation to go on."""
        texts = [config.to_toml(settings, stated=True) for settings in self.settings()]
        sha = hashlib.sha256("".join(texts).encode()).hexdigest()
        return {"settings": sha, "folds": self.folds, "repeats": self.repeats}

    @property
    def count(self) -> int:
        """How many networks are trained."""
        return len(self.values) * self.repeats * self.folds

    def parts(self, number: int) -> tuple[int, int, int]:
        """Return the number of the settings, of the repeat and of the fold of a job."""
        settings, rest = divmod(number, self.repeats * self.folds)
        return settings, *divmod(rest, self.folds)
