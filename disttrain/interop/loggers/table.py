"""The logger `csv`: a table with a line for each interval, `metrics.csv` in the run folder."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

__all__ = ["Table"]


class Table:
    """Adds lines; those behind the step that a run goes on from are left out first."""

    def start(self, name: str, folder: str, settings: dict[str, Any], step: int) -> None:
        """Begin the table, or go on with it."""
        self._path = Path(folder) / "metrics.csv"
        self._rows: list[dict[str, Any]] = []
        if step and self._path.exists():
            with self._path.open(newline="", encoding="utf-8") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        self._write()

    def interval(self, step: int, numbers: dict[str, Any]) -> None:
        """Add a line."""
        self._rows.append({"step": step, **numbers})
        new = self._rows[-1].keys() - set(self._columns)
        if new or len(self._rows) == 1:
            self._write()
            return
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow(self._rows[-1])

    def end(self, summary: dict[str, Any]) -> None:
        """Leave the table as it is."""

    def _write(self) -> None:
        self._columns = list(dict.fromkeys(key for row in self._rows for key in row))
        with self._path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            if self._rows:
                writer.writeheader()
            writer.writerows(self._rows)
