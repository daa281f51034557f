"""One command in a process of its own, with limits on time and memory."""

from __future__ import annotations

import importlib
import os
import pkgutil
import resource
import select
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import disttrain

# A command on inputs this small takes well under a second and 100 MB.
CPU_SECONDS, WALL_SECONDS, MORE_MEMORY = 10, 25.0, 1 << 30
# Text of others is cut at 2,000 characters, with a word on what was left out.
LONGEST_LINE = 2100


@dataclass(frozen=True)
class Outcome:
    """What became of a command: its exit code (negative: the signal), and what it printed."""

    code: int
    hung: bool
    out: str
    err: str

    def broken_rules(self) -> list[str]:
        """Return what no command may do, whatever its input is."""
        if self.hung:
            return [f"it did not end in {WALL_SECONDS:g} s"]
        found = []
        if self.code < 0:
            found.append(f"it died by {signal.Signals(-self.code).name}")
        elif self.code not in (0, 2, 3, 4, 75):
            found.append(f"exit code {self.code}")
        text = self.out + self.err
        if "Traceback (most recent call last)" in text:
            found.append("a traceback")
        odd = {c for c in text if not c.isprintable() and c not in "\n\t"}
        if odd:
            found.append(f"it printed control characters: {sorted(odd)!r:.60}")
        if any(len(line) > LONGEST_LINE for line in text.splitlines()):
            found.append(f"it printed a line of more than {LONGEST_LINE} characters")
        if self.code > 0 and not self.err.strip():
            found.append(f"exit code {self.code} without a sentence")
        return found


def warm() -> None:
    """Import the package once, but for the owners of optional libraries, so that no fork has to."""
    for module in pkgutil.walk_packages(disttrain.__path__, "disttrain."):
        if "gpu" in module.name or module.name.startswith("disttrain.interop."):
            continue
        # Names that begin with _ are C libraries, which are no modules of Python.
        if not module.name.rpartition(".")[2].startswith("_"):
            importlib.import_module(module.name)


def run(argv: list[str], folder: Path) -> Outcome:
    """Run `disttrain ARGV` in a fork of this process, with `folder` as working directory."""
    out, err = folder / ".out", folder / ".err"
    pid = os.fork()
    if not pid:
        _become(argv, folder, out, err)
    hung = _wait(pid)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    texts = [path.read_bytes().decode("utf-8", "backslashreplace") for path in (out, err)]
    return Outcome(status, hung, *texts)


def _wait(pid: int) -> bool:
    """Wait for the process; kill it, and return True, where it takes too long."""
    watch = os.pidfd_open(pid)
    ended, _, _ = select.select([watch], [], [], WALL_SECONDS)
    os.close(watch)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    return not ended


def _become(argv: list[str], folder: Path, out: Path, err: Path) -> None:
    """Be `disttrain ARGV` from here on."""
    code = 1
    try:
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MORE_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        sys.argv = ["disttrain", *argv]
        from disttrain.__main__ import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = code or 1
        os._exit(code)
