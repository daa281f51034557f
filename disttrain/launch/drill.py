"""`disttrain drill`: a training without a fault, then one for each kind of fault, compared."""

from __future__ import annotations

import contextlib
import datetime
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disttrain.errors import DisttrainError, LostRanks
from disttrain.launch.attempt import die_with_parent
from disttrain.stopped import bearable
from disttrain.written import FINISHED, records_of, summary_of

__all__ = ["Case", "Drill", "Outcome", "Whole", "cases", "cost_of", "events"]

# Seconds that a training may take beside ten times those of the one without a fault.
PATIENCE = 120.0
# A slow rank takes this many times as long for each of so many steps.
TIMES, SLOW_STEPS = 10, 20
# Seconds for a launch that was asked to end.
GOING = 15.0


@dataclass(frozen=True)
class Case:
    """A fault to try: what people call it, and the options of `train` that make it."""

    name: str
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Whole:
    """The training without a fault: its steps, seconds and digest; what could be tried in it."""

    steps: int
    seconds: float
    digest: str
    exact: bool
    validates: bool


@dataclass(frozen=True)
class Outcome:
    """What became of a training with a fault.

    `how` is "went on" (without the lost ranks, or with all), "did steps again", "restarted",
    "lost", or "did not happen", where the training had no such moment. `seconds` are from the fault
    until a later step was done, or the restart was ready; `steps_lost` had to be done again; None
    where no journal says it. `code` is the exit code of the start in which it happened, and `said`
    its sentence.
    """

    case: Case
    how: str
    seconds: float | None
    steps_lost: int | None
    same_digest: bool
    code: int
    said: str

    @property
    def recovered(self) -> bool:
        """True where the training was completed in the end."""
        return self.how not in ("lost", "did not happen")


def cases(ranks: int, whole: Whole) -> list[Case]:
    """Return the faults to try with so many ranks, in the middle of such a training."""
    middle, last = whole.steps // 2, ranks - 1
    pause = max(0.01, (TIMES - 1) * whole.seconds / max(whole.steps, 1))
    late = max(middle, whole.steps - SLOW_STEPS)
    at = f"rank={last},step={middle}"
    found = [
        Case(f"rank {last} killed", (f"kill:{at}",)),
        Case("rank 0 killed", (f"kill:rank=0,step={middle}",)),
    ]
    if ranks > 2:
        both = (f"kill:rank=0,step={middle}", f"kill:{at}")
        found.append(Case(f"ranks 0 and {last} killed at once", both))
    if whole.validates:
        found.append(Case("rank 0 killed in validation", ("kill:rank=0,phase=validation",)))
    return [
        *found,
        Case("rank 0 killed while it saves", ("kill:rank=0,phase=saving",)),
        Case(f"rank {last} killed before the first step", (f"kill:rank={last},step=0",)),
        Case(f"rank {last} stopped", (f"stop:{at}",)),
        Case(f"rank {last} slow", (f"slow:rank={last},step={late},seconds={pause:.3g}",)),
        Case(f"rank {last} raises an exception", (f"raise:{at}",)),
        Case(f"a weight of rank {last} is NaN", (f"nan:{at}",)),
        Case(f"a bit of rank {last} flips", (f"bitflip:{at}",)),
        Case("the disk is full at a save", ("disk-full:rank=0",)),
    ]


class Drill:
    """The trainings, each started by `disttrain launch` with `options`, in a folder below `place`.

    `train` are the words that follow `train`: the run file and what changes it.
    """

    def __init__(self, place: Path, options: Sequence[str], train: Sequence[str]) -> None:
        self._place, self._options, self._train = place, list(options), list(train)
        self._limit = float("inf")

    def undisturbed(self) -> Whole:
        """Train without a fault. Raises what says why this does not work."""
        folder, begin = self._place / "undisturbed", time.monotonic()
        code, said = self._launch([*self._train, "--output", str(folder)])
        seconds = time.monotonic() - begin
        if code:
            error = DisttrainError(f"the training without a fault does not work: {said}")
            error.exit_code = code
            raise error
        self._limit = 10 * seconds + PATIENCE + min(bearable(), PATIENCE)
        summary = summary_of(folder / "summary.json")
        chain, metrics = (
            list(records_of(folder / f"{name}.jsonl", lambda row: None))
            for name in ("digests", "metrics")
        )
        exact = str(chain[0]["about"]["computes"]).startswith("exact")
        validates = any(row["validation_loss"] is not None for row in metrics)
        trained = sum(row["seconds"] for row in metrics)
        return Whole(summary["steps"], trained, summary["digest"], exact, validates)

    def attempt(self, number: int, case: Case, whole: Whole) -> Outcome:
        """Train with a fault, go on by `--resume` where that ended it, and compare."""
        folder = self._place / f"{number:02d}-{case.name.replace(' ', '-')}"
        inject = [word for fault in case.faults for word in ("--inject", fault)]
        train = [*self._train, "--output", str(folder)]
        code, said = self._launch([*train, *inject])
        if code:
            self._launch([*train, "--resume"])
        try:
            summary = summary_of(folder / "summary.json")
        except (OSError, ValueError):
            summary = {}
        found = sorted(events(folder / "logs"), key=lambda event: event["time"])
        seconds, lost, again = cost_of(found)
        how = "restarted" if code else "did steps again" if again else "went on"
        if summary.get("status") not in FINISHED:
            how = "lost"
        elif lost is None:
            how = "did not happen"
        same = summary.get("digest") == whole.digest
        return Outcome(case, how, seconds, lost, same, code, said)

    def _launch(self, words: Sequence[str]) -> tuple[int, str]:
        """Run `disttrain launch OPTIONS train WORDS` to its end; return its code and sentence."""
        command = [sys.executable, "-m", "disttrain", "launch", *self._options, "train", *words]
        process = subprocess.Popen(
            [*command, "--quiet"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, errors="replace",
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )  # fmt: skip
        try:
            limit = None if self._limit == float("inf") else self._limit
            _, said = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            return LostRanks.exit_code, f"did not end in {self._limit:.0f} s"
        finally:
            _end(process)
        own = [line for line in said.splitlines() if line.startswith("disttrain: ")]
        return process.returncode, own[-1].removeprefix("disttrain: ") if own else ""


def _end(process: subprocess.Popen[str]) -> None:
    """End a launch that is not over, and its ranks with it."""
    for ask in (process.terminate, process.kill):
        if process.poll() is None:
            ask()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=GOING)


def events(logs: Path) -> Iterator[dict[str, Any]]:
    """Yield what the ranks have written into their journals, with the time in seconds."""
    for path in logs.glob("rank-*.jsonl"):
        for line in path.read_text(errors="replace").splitlines():
            # A rank that was killed may have left a part of a line.
            with contextlib.suppress(ValueError, KeyError, TypeError):
                event = json.loads(line)
                moment = datetime.datetime.fromisoformat(event["time"]).timestamp()
                yield event | {"time": moment}


def cost_of(events: Sequence[dict[str, Any]]) -> tuple[float | None, int | None, bool]:
    """Return the seconds from the fault until work went on, the steps lost, whether by redoing."""
    faults = [event for event in events if event["event"] == "injected"]
    if not faults:
        return None, None, False
    at, step = faults[-1]["time"], faults[-1]["step"]
    found: Callable[[str], list[dict[str, Any]]] = lambda name: [  # noqa: E731
        event for event in events if event["event"] == name and event["time"] >= at
    ]
    places = found("recovered") or found("done again") or found("ready")
    if not places:
        return None, 0, False
    # The others may have been behind.
    lost = max(0, step - min(place["step"] for place in places))
    moments = found("first step after a loss") or places
    return moments[0]["time"] - at, lost, bool(found("done again"))
