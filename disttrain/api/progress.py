"""The output of a training for people: a line per interval, and a bar on a terminal."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from disttrain.advice.activity import silence
from disttrain.api.notebook import Notebook, in_notebook
from disttrain.environment import TERMINAL, launched
from disttrain.preemption import ASKED
from disttrain.shown import decimals, measures, shown
from disttrain.training import Callback, Report, Run

__all__ = ["Progress", "Warnings", "default"]

# Without a terminal: seconds until the first line inside an interval, and between two of them.
FIRST, AGAIN = 10.0, 60.0
OF_AVERAGE = ("average_loss", "average_accuracy")


class Warnings(Callback):
    """Prints on standard error what people must see even where they asked for silence."""

    def on_warning(self, line: str) -> None:
        """Print a line."""
        with contextlib.suppress(BrokenPipeError):
            line = shown(f"warning: {line.removeprefix('warning: ')}")
            print(line, file=sys.stderr, flush=True)


class Lines(Console):
    """A console whose pipe may be closed, as in `train ... | head`: then the run saves and ends."""

    def on_broken_pipe(self) -> None:
        """Ask this process to stop, and print nothing any more."""
        self.quiet = True
        # Also for what Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
        ASKED.signal = ASKED.signal or "SIGPIPE"


class Progress(Callback):
    """Prints on standard output, or on standard error where that is for a program."""

    def __init__(
        self, folder: Path | None, as_json: bool = False, run_file: Path | None = None
    ) -> None:
        """Name the files in `folder` at the end; none of a run whose folder goes with it.

        Commands that the diagnosis advises name the `run_file`, else the one in the folder.
        """
        self._folder, self._run_file = folder, run_file or (folder and folder / "run.toml")
        self._stream = sys.stderr if as_json else sys.stdout
        # https://no-color.org, and a bar is nothing without the codes that move it.
        watched = _is_watched(self._stream) and not os.environ.get("NO_COLOR")
        self._console = Lines(
            file=self._stream, force_terminal=watched, highlight=False, emoji=False,
            soft_wrap=not watched, force_jupyter=False,
        )  # fmt: skip
        self._bar: Bar | Notebook | None = Bar(
            TextColumn("epoch {task.fields[epoch]:5.2f}"), BarColumn(None),
            TextColumn("{task.fields[speed]}"), TimeRemainingColumn(),
            console=self._console, transient=True,
        ) if watched else Notebook() if in_notebook() else None  # fmt: skip
        self._shown = self._due = 0.0
        self._task: Any = None
        self._silent: dict[str, str] = {}

    def on_message(self, line: str) -> None:
        """Print a line."""
        self._console.print(shown(line), markup=False)

    def on_start(self, run: Run) -> None:
        """Say what is trained, on what, from where."""
        splits = ", ".join(f"{s.count} {n}" for n, s in run.dataset.splits.items())
        network = run.network
        training = run.settings.training
        self.on_message(
            f"{run.settings.name}: {network.widths}, {network.count:,} parameters, "
            f"{run.settings.model.dtype}; samples: {splits}"
            + (" (streamed)" if run.dataset.streamed else "")
        )
        if run.dataset.class_names and not run.dataset.file.class_names:
            count = len(run.dataset.class_names)
            self.on_message(f"the labels count from 1: 1 to {count} are the names of classes")
        works, spares = run.comm.workers, run.comm.spares
        self.on_message(
            f"{works} rank{'s' * (works > 1)} on {run.network.device.name}"
            + (f" and {spares} spare{'s' * (spares > 1)}" if spares else "")
            + _of_sum(run.work.reducer.way)
            + (", exact mode; " if run.arithmetic else ", fast mode; ")
            + f"global batch {run.work.batches.batch_size}, "
            f"{run.steps_per_epoch} step{'s' * (run.steps_per_epoch != 1)} an epoch, "
            f"{training.epochs} epoch{'s' * (training.epochs != 1)}"
            + (f"; resuming after step {run.state.step}" if run.state.step else "")
        )
        if run.by_the_data:
            self.on_message(f"not stated, so chosen: {', '.join(run.by_the_data)}")
        self._due = time.monotonic() + FIRST
        if self._bar:
            self._task = self._bar.add_task(
                "", total=run.total_steps, completed=run.state.step, epoch=run.epoch, speed=""
            )
            self._bar.start()

    def on_step(self, run: Run, step: int) -> None:
        """Move the bar, ten times a second at most; without one, print a line now and then."""
        now = time.monotonic()
        if self._bar and now - self._shown > 0.1:
            self._shown = now
            self._bar.update(self._task, completed=step, epoch=run.epoch, speed=_speed(run))
        elif self._bar is None and now > self._due:
            self._due = now + AGAIN
            self.on_message(
                f"epoch {run.epoch:6.2f}/{run.settings.training.epochs}  step {step:,} of "
                f"{run.total_steps:,}  {_speed(run)}"
            )

    def on_interval(self, run: Run, report: Report) -> None:
        """Print one line with the interval's losses and accuracies, and the time left."""
        parts = [f"epoch {report.epoch:6.2f}/{run.settings.training.epochs}"]
        for name in ("train", "validation"):
            loss = getattr(report, f"{name}_loss")
            accuracy = getattr(report, f"{name}_accuracy")
            if loss is not None:
                parts.append(
                    f"{name} loss {decimals(loss)}"
                    + (f" accuracy {accuracy:.4f}" if accuracy is not None else "")
                )
        average = {n: x for n, x in report.metrics.items() if n in OF_AVERAGE}
        parts += [measures(average)[2:]] if average else []
        parts.append(f"rate {report.learning_rate:.4g}")
        parts.append(f"{report.samples_per_second:,.0f} samples/s")
        per_step = report.seconds / max(run.state.step - self._last(run), 1)
        left = (run.total_steps - run.state.step) * per_step
        parts.append(f"{int(left) // 60}:{int(left) % 60:02d} left")
        self.on_message("  ".join(parts))
        self._due = time.monotonic() + AGAIN
        silent = silence(run)
        for name, line in silent.items():
            if name not in self._silent:
                self.on_message(line)
        self._silent = silent

    @staticmethod
    def _last(run: Run) -> int:
        history = run.state.history
        return int(history[-2]["step"]) if len(history) > 1 else 0

    def on_stop(self) -> None:
        """Remove the bar and show the cursor again."""
        if self._bar:
            self._bar.stop()

    def on_end(self, run: Run, summary: dict[str, Any]) -> None:
        """Print the result and the paths of the files."""
        self.on_stop()
        why = f" ({summary['reason']})" if summary["reason"] else ""
        words = [f"{summary['status']}{why} after {summary['epochs']:.4g} epoch"]
        words[0] += "s" * (summary["epochs"] != 1)
        words.append(f"{summary['wall_seconds']:.1f} s")
        words.append(f"{summary['samples_per_second']:,.0f} samples/s")
        self.on_message(", ".join(words))
        for of, scores in (("", summary), ("average, ", summary.get("average", {}))):
            for split in ("validation", "test"):
                if score := scores.get(split):
                    self.on_message(f"{of + split + ': ':12}{_of_score(score)}")
        for line in self._silent.values():
            self.on_message(f"{'silent:':12}{line}")
        for line in summary["diagnosis"]:
            named = shlex.quote(str(self._run_file)) if self._run_file else "RUN.toml"
            self.on_message(f"{'diagnosis:':12}{line.replace('RUN.toml', named)}")
        if folder := self._folder:
            best = "best.h5" if run.best is not None else "checkpoints"
            self.on_message(f"{'model:':12}{folder / best}")
            curves = "curves.png" if (folder / "curves.png").exists() else "metrics.jsonl"
            self.on_message(f"{'curves:':12}{folder / curves}")
            self.on_message(f"{'summary:':12}{folder / 'summary.json'}")


def _of_score(score: dict[str, Any]) -> str:
    """Return a score of `summary.json` as part of a line."""
    loss, accuracy = score["loss"], score["accuracy"]
    also = measures({k: v for k, v in score.items() if k not in ("loss", "accuracy")})
    right = "" if accuracy is None else f", accuracy {100 * accuracy:.2f} %"
    return f"loss {decimals(loss)}{right}{also}"


def default(folder: Path | None) -> Callback | None:
    """Return what a script's training prints where nothing is said of it (rank 0).

    A person at a terminal or a notebook sees it go on; a program gets no lines that it did not ask
    for.
    """
    return Progress(folder) if _is_watched(sys.stdout) or in_notebook() else None


def _is_watched(stream: TextIO) -> bool:
    """Return True where a person sees the lines of this rank move."""
    # Under mpirun a rank always sees a terminal; `disttrain launch` says whether it is one.
    if TERMINAL in os.environ:
        return os.environ[TERMINAL] == "1"
    return stream.isatty() and launched() is None


def _of_sum(way: str) -> str:
    """Return how ranks add their gradients as part of a line; "" where there is one rank."""
    if way == "none":
        return ""
    if way == "products":
        return ", each computes rows of every gradient (products)"
    return f", gradients added {'in shared memory' if 'window' in way else 'by messages'} ({way})"


def _speed(run: Run) -> str:
    """Return the speed, and loss and accuracy, of the interval so far; "" at its beginning."""
    state = run.state
    if not state.samples:
        return ""
    loss = state.loss * run.loss_unit / state.weight
    words = f"{state.samples / state.seconds:,.0f} samples/s  loss {decimals(loss)}"
    if run.dataset.classes:
        words += f"  accuracy {state.correct / state.samples:.4f}"
    return words
