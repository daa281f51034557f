"""Rank 0's side of a logger: a process that is given lines and never waited for.

The logger runs in a process of its own, so that one that hangs, raises or crashes costs its own
records only. Lines go through a pipe that never blocks; what does not fit waits here, and beyond
`MOST` bytes records are left out. At the end it may go on as long as it works: it is ended when it
has asked for no processor for `GRACE` seconds, as one that hangs, and after `LIMIT` seconds.
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
from disttrain.preemption import Preemption
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
    return [Logger(name, folder) for name in dict.fromkeys(settings.logging.loggers)]


class Logger(Callback):
    """Passes reports to a logger: a built-in one, or MODULE:CLASS of a user's own."""

    def __init__(self, name: str, folder: Path) -> None:
        _refuse_missing(name)
        self.name, self._folder = name, folder.absolute()
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting, self._lost = bytearray(), 0
        self._callbacks: tuple[Callback, ...] = ()
        self._preemption = Preemption()

    def on_start(self, run: Run) -> None:
        """Start the process."""
        self._callbacks, self._preemption = tuple(run.callbacks), run.preemption
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
        """Let the process write what it was given, as long as it works."""
        if self._process is None:
            return
        code = self._ended(self._process)
        if self._process and code is None:
            self._give_up("did not end in time")
        elif self._process and (code or self._lost):
            self._give_up(f"ended with {code}, {self._lost} records were not taken")
        self._process = None

    def _ended(self, process: subprocess.Popen[bytes]) -> int | None:
        """Return the exit code of the process; None where it hangs, or takes too long."""
        begun = since = time.monotonic()
        worked = _worked(process.pid)
        while self._process:
            if self._waiting:
                self._write()
            elif process.stdin:
                with suppress(OSError):
                    process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                return process.wait(LOOK)
            now, work = time.monotonic(), _worked(process.pid)
            if work - worked > WORK:
                since, worked = now, work
            # A job that was asked to stop will soon be killed.
            limit = GRACE if self._preemption.signal else LIMIT
            if now - since > GRACE or now - begun > limit:
                return None
        return None

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
                f"{self._said}; the run is not touched by that"
            )


def _worked(pid: int) -> float:
    """Return for how many seconds a process ran, or was waiting for a processor (Linux, else 0)."""
    try:
        running, waiting, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
        return (int(running) + int(waiting)) / 1e9
    except (OSError, ValueError):
        return 0.0


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
            f"there is no logger {name!r}: give {', '.join(BUILT_IN)}, or MODULE:CLASS of your own"
        )


def _flat(table: dict[str, Any], before: str = "") -> Any:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value
