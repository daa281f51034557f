"""Where a run keeps what it has reached: the interface, and the one that keeps nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["KeepNothing", "Keeper"]


class Keeper(Protocol):
    """Keeps states, reports and digests of a run; `runs.folder.RunFolder` does so in files.

    `on_stop` says what becomes of a run that is asked to stop. Rank 0 alone calls `add_metrics` and
    `add_digest`; `save` is collective.
    """

    on_stop: str

    def save(self, run: Run, improved: bool) -> None:
        """Keep the whole state, and once more as the best one where it has `improved`."""

    def add_metrics(self, report: dict[str, Any]) -> None:
        """Keep the report of one interval."""

    def add_digest(self, record: dict[str, Any]) -> None:
        """Keep one record of the chain of digests."""


class KeepNothing:
    """The keeper of a run in memory."""

    on_stop = "nothing is saved"

    def save(self, run: Run, improved: bool) -> None:
        """Do nothing."""

    def add_metrics(self, report: dict[str, Any]) -> None:
        """Do nothing."""

    def add_digest(self, record: dict[str, Any]) -> None:
        """Do nothing."""
