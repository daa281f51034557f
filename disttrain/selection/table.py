"""The table of a study on rank 0: its candidates, how each ended, and the files that say so."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from disttrain import config
from disttrain.checkpoint import write_atomically
from disttrain.config import Settings, Stage, Study
from disttrain.data import fingerprint
from disttrain.data.file import DataFile
from disttrain.errors import RunFileError
from disttrain.selection.log import Log, other_data
from disttrain.selection.space import settings_of
from disttrain.selection.turns import Ended
from disttrain.shown import decimals
from disttrain.written import FINISHED, PAUSED, json_of, text_of

__all__ = ["Table", "order", "path_of"]

# Of 100,000 candidates.
STUDY_BYTES = 256 << 20


def order(row: dict[str, Any], rises: bool) -> tuple[float, float, int]:
    """Return what sorts candidates: the better score, then the smaller validation loss, the number.

    On few validation rows many have the same accuracy. `rises`: the larger score is better.
    """
    score = row["score"] if row["score"] is not None else math.nan
    validation = row.get("validation")
    loss = validation.get("loss") if isinstance(validation, dict) else None
    worse = (-score if rises else score, loss if isinstance(loss, float | int) else math.nan)
    first, second = (x if math.isfinite(x) else math.inf for x in worse)
    return first, second, row["number"]


class Table:
    """The candidates of a study by number, from its log, which gets what is new first."""

    def __init__(self, folder: Path, study: Study, log: Log, say: Callable[[str], None]) -> None:
        self._folder, self._study, self._log, self._say = folder, study, log, say
        self._asked: dict[int, dict[str, Any]] = {}
        # How each stood at each of the epochs at which it paused or ended.
        self._ended: dict[tuple[int, int], dict[str, Any]] = {}
        self._final: dict[int, dict[str, Any]] = {}
        self._planned, self._before, self._begin = 0, 0, time.monotonic()
        self._data: str | None = None
        for record in log.records[1:]:
            if "data" in record:
                self._data = record["data"]
            elif "asked" in record:
                self._asked[record["asked"]["number"]] = record["asked"]
            else:
                self._note(record["ended"])
        self._before = len(self._final)

    def close(self) -> None:
        """Let another process go on with the log."""
        self._log.close()

    @property
    def finished(self) -> dict[str, Any] | None:
        """What `study.json` says of a study that came to its end before; else None."""
        if not self._final:
            return None
        try:
            found = json_of(text_of(self._folder / "study.json", STUDY_BYTES))
        except (OSError, ValueError):
            return None
        return found if found.get("status") == "completed" else None

    def keep_to(self, file: DataFile) -> None:
        """Note the data of the study; UsageError where it began with others."""
        digest = fingerprint(file)
        if self._data is None:
            self._data = digest
            self._log.add({"data": digest})
        if digest != self._data:
            raise other_data(file.path, self._folder)

    def asked(self, stage: int, first: int, count: int) -> list[dict[str, Any]]:
        """Return the candidates of a stage that were asked for before, from the `first` on."""
        of_stage = [asked for asked in self._asked.values() if asked["stage"] == stage]
        return of_stage[first : first + count]

    def ask(self, stage: int, suggested: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Note new candidates of a stage, and return them with their numbers."""
        first = len(self._asked) + 1
        new = [
            {"number": number, "stage": stage, "settings": settings}
            for number, settings in enumerate(suggested, first)
        ]
        self._log.add(*({"asked": asked} for asked in new))
        for asked in new:
            self._asked[len(self._asked) + 1] = asked
        return new

    def plan(self, candidates: int) -> None:
        """State how many candidates the whole study has, as far as that is known."""
        self._planned = candidates

    def told(self, stage: int) -> list[tuple[dict[str, Any], float | None]]:
        """Return settings and score of each candidate of a stage that has ended, by number."""
        rows = sorted(self._final.values(), key=lambda row: row["number"])
        return [(row["settings"], row["score"]) for row in rows if row["stage"] == stage]

    def left(self, asked: Sequence[dict[str, Any]], rung: int) -> list[tuple[int, Settings]]:
        """Return the candidates that are to be trained up to an epoch, with their settings."""
        found = []
        for one in asked:
            number = one["number"]
            if number in self._final or (number, rung) in self._ended:
                continue
            try:
                found.append((number, self._settings(one)))
            except RunFileError as error:
                self.end_job(Ended(number, None, 0.0, str(error), error.exit_code), rung)
        return found

    def _settings(self, asked: dict[str, Any], keep: int | None = 1) -> Settings:
        """Return the settings of a candidate, which keeps one checkpoint beside its best."""
        stage = self._study.stages[asked["stage"] - 1]
        settings = settings_of(self._study.run, asked["settings"])
        if stage.epochs is not None:
            settings = settings.replace(training={"epochs": stage.epochs})
        name = f"{settings.name[:190]}-{asked['number']}"
        return settings.replace(name=name, **({"checkpoint": {"keep": keep}} if keep else {}))

    def end_job(self, ended: Ended, rung: int) -> None:
        """Note, and say, how a candidate ended, or how it stands at an epoch of its stage."""
        value = ended.value or {}
        scores = value.get("validation") or {}
        score = scores.get(self._study.metric.removeprefix("validation_"))
        status = value.get("status") or ended.status
        record = {
            "number": ended.number, "until": rung, "status": status, "score": score,
            "seconds": round(ended.seconds, 3), "digest": value.get("digest"),
            "epochs": value.get("epochs"), "validation": value.get("validation"),
            "failure": ended.failure,
        }  # fmt: skip
        self._log.add({"ended": record})
        self._note(record)
        if ended.number in self._final:
            self._say(self._line(self._final[ended.number]) + _losses(value))
        self.write("running")

    def _note(self, record: dict[str, Any]) -> None:
        self._ended[record["number"], record["until"]] = record
        if record["status"] != PAUSED:
            self._finish(record["number"], record, record["status"])

    def _finish(self, number: int, record: dict[str, Any], status: str) -> None:
        seconds = sum(r["seconds"] for (n, _), r in self._ended.items() if n == number)
        rest = ("score", "digest", "epochs", "validation", "failure")
        self._final[number] = self._asked[number] | {
            "status": status, "seconds": round(seconds, 3), "path": path_of(number),
            **{name: record[name] for name in rest},
        }  # fmt: skip

    def prune(self, asked: Sequence[dict[str, Any]], rung: int, stage: Stage) -> None:
        """End the candidates of a generation that are behind the others at an epoch.

        One that was not validated until there is not judged, and goes on.
        """
        numbers = [one["number"] for one in asked]
        here = [self._ended[n, rung] for n in numbers if (n, rung) in self._ended]
        standing = [record for record in here if record["status"] == PAUSED]
        ranked = sorted(standing, key=self._order)
        keep = math.ceil(len(here) / stage.factor)
        if stage.prune == "median":
            keep = math.ceil(len(here) / 2)
        for record in ranked[keep:]:
            if record["number"] not in self._final and record["score"] is not None:
                self._finish(record["number"], record, "pruned")
                self._say(self._line(self._final[record["number"]]))
        self.write("running")

    def _order(self, row: dict[str, Any]) -> tuple[float, float, int]:
        return order(row, self._study.rises)

    def best(self, stage: int | None = None) -> dict[str, Any] | None:
        """Return the best candidate that was trained to its end, of one stage or of all."""
        good = [
            row for row in self._final.values()
            if row["status"] in FINISHED and row["score"] is not None
            and stage in (None, row["stage"])
        ]  # fmt: skip
        return min(good, key=self._order, default=None)

    @property
    def scoreless(self) -> dict[int, tuple[str, str]]:
        """Status and failure of each candidate where none has a score, else nothing."""
        if self.best():
            return {}
        return {n: (row["status"], row["failure"]) for n, row in self._final.items()}

    def to_json(self, status: str = "completed") -> dict[str, Any]:
        """Return the table, as `study.json` has it."""
        rows = [self._final[number] for number in sorted(self._final)]
        return {
            "status": status, "metric": self._study.metric, "run": self._study.run,
            "keys": list(self._study.space), "best": self.best(), "candidates": rows,
        }  # fmt: skip

    def write(self, status: str) -> None:
        """Write `study.json`."""
        text = json.dumps(self.to_json(status), indent=2, allow_nan=False)
        write_atomically(self._folder / "study.json", text.encode() + b"\n")

    def end(self) -> None:
        """Write the files of a study that is done."""
        best, rows = self.best(), self.to_json()["candidates"]
        if best:
            settings = self._settings(self._asked[best["number"]], keep=None)
            text = (
                f"# Candidate {best['number']} of a study of {len(rows)}: {self._study.metric} "
                f"{best['score']}, digest {best['digest']}.\n"
            )
            text += config.to_toml(settings.replace(name=f"{settings.name}-best"), stated=True)
            write_atomically(self._folder / "best.toml", text.encode())
        out = io.StringIO()
        columns = ["number", "stage", "status", "score", "seconds", "epochs", "digest"]
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*columns, *self._study.space])
        for row in rows:
            settings_ = [row["settings"][key] for key in self._study.space]
            writer.writerow([*(row[name] for name in columns), *settings_])
        write_atomically(self._folder / "candidates.csv", out.getvalue().encode())
        self.write("completed")

    def _line(self, row: dict[str, Any]) -> str:
        """Return a candidate as people read it, with the best so far and the time left."""
        of = f"/{self._planned}" if self._planned else ""
        values = "  ".join(f"{key} {value}" for key, value in row["settings"].items())
        score = (
            "no score" if row["score"] is None else f"{self._study.metric} {decimals(row['score'])}"
        )
        line = f"candidate {row['number']}{of}  {score}  {row['status']}  {values}"
        if row["failure"]:
            line += f"  ({row['failure']})"
        if best := self.best():
            line += f"  best {decimals(best['score'])} ({best['number']})"
        done, new = len(self._final), len(self._final) - self._before
        if new > 0 and done < self._planned:
            seconds = (time.monotonic() - self._begin) / new * (self._planned - done)
            line += f"  about {seconds:.0f} s left"
        return line


def _losses(value: dict[str, Any]) -> str:
    """Return what a line says of a candidate whose group lost ranks, or repaired a replica."""
    lines = value.get("failures") or ()
    return f"  ({'; '.join(lines)})" if lines else ""


def path_of(number: int) -> str:
    """Return the run folder of a candidate, in the folder of its study."""
    return f"candidates/{number:04d}"
