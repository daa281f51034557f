"""The progress of a run: all but its weights and slots that must be the same after a resume."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import Any

from disttrain.errors import CheckpointError

__all__ = ["Report", "State"]


@dataclass(frozen=True)
class Report:
    """One interval, as rank 0 gives it to callbacks and writes it to `metrics.jsonl`.

    Losses are means over samples without the penalty, which stands beside them; accuracies are
    fractions, None where targets are no classes; `seconds` is the time that the interval's steps
    took, without validation. `metrics` are other numbers of the validation rows, by name.
    """

    step: int
    epoch: float
    learning_rate: float
    train_loss: float
    train_accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    penalty: float
    samples_per_second: float
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)

    def judged(self, best: str) -> float | None:
        """Return the number of the validation rows that is called `best`, or None."""
        return self.facts().get(f"validation_{best}")

    def facts(self) -> dict[str, Any]:
        """Return the fields by name, each of the `metrics` as `validation_<name>`."""
        facts = dict(vars(self))
        measured = facts.pop("metrics")
        return facts | {f"validation_{name}": value for name, value in measured.items()}


@dataclass
class State:
    """The progress of a run, but for its weights and slots; it does not depend on the ranks.

    `loss`, `correct`, `samples`, `weight` and `seconds` are the sums of the interval that is under
    way; the loss is divided by `weight`, that of the samples.
    `idle` counts the intervals since the best one, at `best_step`, which had `best_loss`: the
    validation loss, or what `validation.best` names. `reason` says
    why a run stopped early: "patience", "separated" or "gradient". `used` and `used_count` are the
    ledger of the epoch under way, `digests` the chain of digests, `faults` what went wrong and was
    done again, `changes` what resumptions changed, the last time at step `changed_at`.
    `skipped` counts the batches that were left out, as their loss was not finite.
    `pretraining` holds the reports of the layers that were trained before the first step.
    """

    step: int = 0
    loss: float = 0.0
    correct: float = 0.0
    samples: float = 0.0
    weight: float = 0.0
    seconds: float = 0.0
    best_loss: float | None = None
    best_step: int = 0
    idle: int = 0
    stopped_early: bool = False
    reason: str = ""
    used: int = 0
    used_count: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    digests: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    changed_at: int = 0
    skipped: int = 0
    pretraining: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, loss: float, correct: float, samples: float, seconds: float,
        weight: float | None = None,
    ) -> None:  # fmt: skip
        """Count one step, with the sums of its global batch; `weight` is `samples` by default."""
        self.step += 1
        self.weight += samples if weight is None else weight
        self.loss += loss
        self.correct += correct
        self.samples += samples
        self.seconds += seconds

    def close_interval(
        self, report: Report, patience: int | None, best: str = "loss", falls: bool = True
    ) -> bool:
        """Add the report of the interval that ends; return True where it is the best so far.

        That is by the number called `best`; `falls`: less of it is better.
        """
        self.history.append(report.facts())
        self.loss = self.correct = self.samples = self.weight = self.seconds = 0.0
        judged = report.judged(best)
        if judged is None:
            return False
        sign = 1 if falls else -1
        if self.best_loss is None or sign * judged < sign * self.best_loss:
            self.best_loss, self.best_step, self.idle = judged, report.step, 0
            return True
        self.idle += 1
        if patience is not None and self.idle >= patience:
            self.stop("patience")
        return False

    def stop(self, reason: str) -> None:
        """End the run here, before its last epoch."""
        self.stopped_early, self.reason = True, reason

    def reconsider(self, patience: int | None) -> None:
        """Decide again about stopping early, with a `patience` that may have changed."""
        if self.reason in ("", "patience"):
            impatient = patience is not None and self.idle >= patience
            self.stopped_early, self.reason = impatient, "patience" * impatient

    def copy(self) -> State:
        """Return a copy that does not change while the run goes on."""
        found = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, list):
                setattr(found, name, [*value])
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values; of the chain, which has its own file, only the end.

        The lists are those of the state itself.
        """
        return vars(self) | {"digests": self.digests[-1:]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> State:
        """Return the state that `to_json` wrote; unknown keys are passed over.

        Raises CheckpointError where a value has another type than here, or a count is negative.
        """
        # Before there were weights each sample counted as 1.
        state, values = cls(), {"weight": values.get("samples", 0.0)} | values
        for name, initial in vars(state).copy().items():
            value = values.get(name, initial)
            kinds: tuple[type, ...] = (type(initial),)
            if isinstance(initial, float) or name == "best_loss":
                kinds = (float, int, type(initial))
            negative = type(value) is int and value < 0
            if type(value) not in kinds or negative:
                raise CheckpointError(
                    f"the checkpoint's {name} is {value!r:.40}: use another one of its run"
                )
            setattr(state, name, value)
        return state
