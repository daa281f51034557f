"""Rank 0's side of a logger: a process that is given lines and never waited for.

The logger runs in a process of its own, so that one that hangs, raises or crashes costs its own
records only. Lines go through a pipe that never blocks; what does not fit waits here, and beyond
`MOST` bytes records are left out. At the end it may go on as long as it works: it is ended when
none of its threads has asked for a processor for `GRACE` seconds, as one that hangs, and after
`LIMIT` seconds. All loggers have these seconds at the same time.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from disttrain.config import Settings
from disttrain.errors import UsageError
from disttrain.training import Callback, Report, Run

__all__ = ["BUILT_IN", "Logger", "loggers_of"]

# The loggers by name, and the library and the extra that each needs.
BUILT_IN = {
    "csv": None,
    "tensorboard": ("tensorboardX", "tensorboard"),
    "mlflow": ("mlflow", "mlflow"),
    "wandb": ("wandb", "wandb"),
}
MOST = 4 << 20
# In seconds; `WORK` of running, or of waiting for a processor, is no hanging.
GRACE, LIMIT, WORK, LOOK = 10.0, 60.0, 0.1, 0.05
LAUNCHERS = ("OMPI_", "PMIX_", "PMI_", "SLURM_")


def loggers_of(settings: Settings, folder: Path) -> list[Callback]:
    """Return the loggers that `[logging]` names, for rank 0. Raises UsageError where one can't be
    had."""
    found: list[Logger] = []
    found += [Logger(name, folder, found) for name in dict.fromkeys(settings.logging.loggers)]
    return [*found]


class Logger(Callback):
    """Passes reports to a logger: a built-in one, or MODULE:CLASS of a user's own.

    `together` are all loggers of the run: the first `on_stop` waits for all of them at once.
    """

    def __init__(self, name: str, folder: Path, together: list[Logger] | None = None) -> None:
        _refuse_missing(name)
        self.name, self._folder = name, folder.absolute()
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting, self._lost = bytearray(), 0
        self._callbacks: tuple[Callback, ...] = ()
        self._all = [self] if together is None else together
        self._run: Run | None = None
        self._since, self._work, self._tasks = 0.0, 0.0, dict[str, float]()

    def on_start(self, run: Run) -> None:
        """Start the process."""
        self._callbacks, self._run = tuple(run.callbacks), run
        where = self._folder / "logs"
        with suppress(OSError):
            where.mkdir(exist_ok=True)
        self._said = where / f"logger-{self.name.replace(':', '-')}.txt"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(LAUNCHERS)}
        try:
            with self._said.open("ab") as said:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "disttrain.interop.loggers.child", self.name],
                    stdin=subprocess.PIPE, stdout=said, stderr=said,
                    env=kept | {"OMP_NUM_THREADS": "1"},
                )  # fmt: skip
            assert self._process.stdin
            os.set_blocking(self._process.stdin.fileno(), False)
        except OSError as error:
            self._give_up(f"can't be started ({error})")
        settings = run.settings.model_dump(mode="json", exclude_none=True, by_alias=True)
        self._send("start", name=run.settings.name, folder=str(self._folder),
                   settings=dict(_flat(settings)), step=run.state.step)  # fmt: skip

    def on_interval(self, run: Run, report: Report) -> None:
        """Pass on the numbers of an interval."""
        numbers = {k: v for k, v in report.facts().items() if v is not None and k != "step"}
        self._send("interval", step=report.step, numbers=numbers)

    def on_end(self, run: Run, summary: dict[str, Any]) -> None:
        """Pass on the summary."""
        self._send("end", summary=summary)

    def on_stop(self) -> None:
        """Let the processes of all loggers write what they were given, as long as they work."""
        begun = time.monotonic()
        for logger in self._all:
            logger._since, logger._work, logger._tasks = begun, 0.0, logger._times()
        while left := [logger for logger in self._all if logger._process]:
            for logger in left:
                logger._finish(begun)
            time.sleep(LOOK)

    def _finish(self, begun: float) -> None:
        """See whether the process has ended, and end one that hangs, or takes too long."""
        if self._waiting:
            self._write()
        process = self._process
        if process is None:
            return
        if process.stdin and not self._waiting:
            with suppress(OSError):
                process.stdin.close()
        code = process.poll()
        if code is not None:
            if code or self._lost:
                self._give_up(f"ended with {code}, {self._lost} records were not taken")
            self._process = None
            return
        now, before, self._tasks = time.monotonic(), self._tasks, self._times()
        self._work += sum(max(0.0, t - before.get(task, 0.0)) for task, t in self._tasks.items())
        if self._work > WORK:
            self._since, self._work = now, 0.0
        if now - self._since > GRACE or now - begun > (GRACE if self._is_asked() else LIMIT):
            self._give_up("did not end in time")

    def _is_asked(self) -> bool:
        """Tell whether the job was asked to stop, on any rank: then it will soon be killed."""
        run = self._run
        return run is not None and bool(run.stage.asked or run.preemption.signal)

    def _times(self) -> dict[str, float]:
        """Return for how many seconds each thread of the process ran, or was waiting for a
        processor (Linux, else nothing)."""
        found: dict[str, float] = {}
        if self._process:
            for file in Path(f"/proc/{self._process.pid}/task").glob("*/schedstat"):
                # A thread may end meanwhile.
                with suppress(OSError, ValueError):
                    running, waiting, _ = file.read_text().split()
                    found[file.parent.name] = (int(running) + int(waiting)) / 1e9
        return found

    def _send(self, what: str, **facts: Any) -> None:
        if self._process is None:
            return
        line = json.dumps({"what": what, **facts}, default=str).encode() + b"\n"
        if len(self._waiting) + len(line) > MOST:
            self._lost += 1
        else:
            self._waiting += line
        self._write()

    def _write(self) -> None:
        """Write what the pipe takes now."""
        assert self._process
        assert self._process.stdin
        try:
            while self._waiting:
                done = os.write(self._process.stdin.fileno(), self._waiting[: 1 << 16])
                del self._waiting[:done]
        except BlockingIOError:
            pass
        except OSError:
            self._give_up("has ended")

    def _give_up(self, why: str) -> None:
        """Say once that the run goes on without this logger."""
        if self._process is not None:
            with suppress(OSError):
                self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
        self._process = None
        for callback in self._callbacks:
            callback.on_warning(
                f"warning: the logger {self.name} {why}, so records of it are missing: see "
                f"{self._said}; the run is not affected"
            )


def _refuse_missing(name: str) -> None:
    if name in BUILT_IN:
        needs = BUILT_IN[name]
        if needs and importlib.util.find_spec(needs[0]) is None:
            raise UsageError(
                f"the logger {name} needs {needs[0]}, which is not installed: pip install "
                f"'disttrain[{needs[1]}]'"
            )
        return
    module, _, own = name.partition(":")
    if not own.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(
            f"unknown logger {name!r}: give {', '.join(BUILT_IN)}, or MODULE:CLASS of your own"
        )


def _flat(table: dict[str, Any], before: str = "") -> Any:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value
