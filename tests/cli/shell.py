"""Commands as a user types them, on a tiny data set, and a look at what they leave running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np

from tests.cli.forked import can_be_forked, forks

ROOT = Path(__file__).parents[2]
TRAINING = """
[data]
path = "blobs.h5"
[model]
layers = [{ units = 8, activation = "relu" }, { units = 3 }]
[training]
epochs = 3
batch_size = 32
[schedule]
kind = "step"
learning_rate = 0.1
[device]
kind = "cpu"
"""


def blobs(
    path: Path, rows: int = 200, validation: int = 0, classes: int = 3, seed: int = 5
) -> Path:
    """Write a data file: classes, each around its own point; a quarter of rows is the test.

    Where `validation` is 0 the file has no such split.
    """
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows + validation)
    inputs = 2 * random.normal(size=(classes, 5))[labels] + random.normal(size=(len(labels), 5))
    test = rows // 4
    cuts = {"test": (0, test), "train": (test, rows), "validation": (rows, rows + validation)}
    with h5py.File(path, "w") as file:
        file.attrs.update(format="disttrain-data", version=1)
        for name, (low, high) in cuts.items():
            if high > low:
                file[f"{name}/inputs"] = inputs[low:high].astype("f4")
                file[f"{name}/targets"] = labels[low:high]
    return path


def numbers(path: Path, rows: int = 60, outputs: int = 2) -> Path:
    """Write a data file whose targets are numbers to be fitted."""
    random = np.random.default_rng(6)
    inputs = random.normal(size=(rows, 5))
    with h5py.File(path, "w") as file:
        file.attrs.update(format="disttrain-data", version=1)
        for name in ("train", "test"):
            file[f"{name}/inputs"] = inputs
            file[f"{name}/targets"] = inputs[:, :outputs] ** 2
    return path


def own_environment() -> dict[str, str]:
    """Return the environment of commands.

    By this rank's own variables a command would believe that a launcher started it; where Python
    writes no byte code, every command would compile the package anew, which takes half its time.
    """
    others = ("OMPI_", "PMIX_", "PMI_", "PYTHONDONTWRITEBYTECODE")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(others)}
    return kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Shell:
    """A folder to type commands in; `mark` is in the environment of all that they start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.environment = own_environment() | {"TEST_MARK": self.mark}

    def run_file(self, text: str = TRAINING, name: str = "run.toml") -> Path:
        """Write a run file."""
        path = self.folder / name
        path.write_text(text)
        return path

    def start(self, *arguments: object, module: str = "disttrain", **options: object):
        """Start `disttrain ARGUMENTS` and return the process, its output in pipes."""
        environment = self.environment | options.pop("env", {})
        prefix = options.pop("prefix", [])
        command = [*prefix, sys.executable, "-m", module, *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )  # fmt: skip

    def run(self, *arguments: object, timeout: float = 100, **options: object):
        """Run `disttrain ARGUMENTS` to its end; past `timeout`, kill all of it and raise.

        Where it makes no difference, it is a fork of a Python that has imported everything.
        """
        words = [str(argument) for argument in arguments]
        changed = self.environment | options.get("env", {})
        if not options.keys() - {"env"} and can_be_forked(words, changed):
            code, out, err = forks().run(words, self.folder, changed, timeout)
            if code is None:
                raise AssertionError(f"not over after {timeout} s:\n{out}\n{err}")
            return subprocess.CompletedProcess(words, code, out, err)
        process = self.start(*arguments, **options)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill_all()
            out, err = process.communicate()
            raise AssertionError(f"not over after {timeout} s:\n{out}\n{err}") from None
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def summary(self, output: str) -> dict:
        """Return what `summary.json` of a run folder says."""
        return json.loads((self.folder / output / "summary.json").read_text())

    def running(self) -> dict[int, dict[str, str]]:
        """Return the environments of the processes that this shell's commands left, by id."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError, ValueError):
                pairs = entry.read_bytes().decode(errors="replace").split("\0")
                variables = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
                state = (entry.parent / "stat").read_text().rsplit(")", 1)[1].split()[0]
                if variables.get("TEST_MARK") == self.mark and state != "Z":
                    found[int(entry.parent.name)] = variables
        return found

    def ranks(self) -> dict[int, int]:
        """Return the process ids of the ranks that run, by rank."""
        return {
            int(variables[name]): pid
            for pid, variables in self.running().items()
            for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK")
            if name in variables
        }

    def left_running(self, seconds: float = 30) -> dict[int, str]:
        """Return what still runs after at most `seconds`: nothing, as it should be."""
        wait_for(lambda: not self.running(), seconds)
        left = {}
        for pid in self.running():
            with suppress(OSError):
                left[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        return left

    def kill_all(self) -> None:
        """Kill whatever this shell's commands left."""
        for pid in self.running():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def a_shell(folder: Path):
    """A shell that leaves nothing running, however the test ends."""
    shell = Shell(folder)
    try:
        yield shell
    finally:
        shell.kill_all()


def wait_for(condition: Callable[[], object], seconds: float = 60) -> bool:
    """Return whether `condition` came true within `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def sentence(result: subprocess.CompletedProcess, code: int) -> str:
    """Return the one line that a command that failed with `code` says on standard error."""
    assert result.returncode == code, f"{result.returncode}:\n{result.stdout}\n{result.stderr}"
    assert "Traceback" not in result.stdout + result.stderr, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("disttrain: ")]
    assert len(lines) == 1, result.stderr
    return lines[0].removeprefix("disttrain: ")
