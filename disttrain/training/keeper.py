"""Saving the state and the reports of a run: the interface, and a keeper that saves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from disttrain.checkpoint import Snapshot
from disttrain.config import Settings

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["KeepNothing", "Keeper"]


class Keeper(Protocol):
    """Saves states, reports and digests of a run; `runs.folder.RunFolder` does so in files.

    `on_stop` ends the message of a run that was asked to stop. Rank 0 alone calls `add_metrics`,
    `add_digest` and `found`; `save` is collective.
    """

    on_stop: str

    def save(self, run: Run, improved: bool) -> None:
        """Save the whole state, and a second time as the best one if it has `improved`."""

    def add_metrics(self, report: dict[str, Any]) -> None:
        """Save the report of one interval."""

    def add_digest(self, record: dict[str, Any]) -> None:
        """Save one record of the chain of digests."""

    def of_layer(self, number: int) -> Keeper:
        """Return the keeper of the pre-training of the `number`-th hidden layer."""

    def found(self, settings: Settings, data: str) -> Snapshot | None:
        """Return the newest state that a layer's keeper has saved; None where there is none.

        Raises where it was not saved with these settings, and data of this fingerprint.
        """


class KeepNothing:
    """The keeper of a run in memory."""

    on_stop = "nothing is saved"

    def save(self, run: Run, improved: bool) -> None:
        """Do nothing."""

    def add_metrics(self, report: dict[str, Any]) -> None:
        """Do nothing."""

    def add_digest(self, record: dict[str, Any]) -> None:
        """Do nothing."""

    def of_layer(self, number: int) -> Keeper:
        """Return itself."""
        return self

    def found(self, settings: Settings, data: str) -> Snapshot | None:
        """Return None."""
        return None
