"""`disttrain` without its start: a Python that has imported everything forks once a command.

Each fork is a process of its own, as a user's command is: it has its arguments, folder, environment
and files, runs `disttrain.__main__.main` and ends as Python ends. Only what is read while modules
are imported is that of the first process.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What commands import beside the package itself.
LIBRARIES = ("matplotlib.backends.backend_agg", "pandas", "PIL.Image", "pyarrow.parquet")
# What runs the command, starts MPI, needs a GPU, brings other programs' libraries (with a BLAS of
# their own), or is no Python module.
OTHERS = ("disttrain.__main__", "disttrain.comm.", "disttrain.arrays.gpu", "disttrain.arrays._",
          "disttrain.interop.")  # fmt: skip
# The doctor looks at the process that it is.
ITSELF = ("doctor", "env")
# Libraries read these while they are imported.
EARLY = ("MPL", "OMP_", "OPENBLAS_", "PATH", "PYTHON")
MOST = 1 << 20


def can_be_forked(arguments: list[str], environment: dict[str, str]) -> bool:
    """Return whether a fork does what a process of its own would."""
    mine = forks().environment
    early = {name for name in mine.keys() | environment.keys() if name.startswith(EARLY)}
    same = all(mine.get(name) == environment.get(name) for name in early)
    return same and not (arguments and arguments[0] in ITSELF)


class Forks:
    """The process that forks, seen by the tests; one for all tests of a pytest process."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.cli.forked", str(theirs.fileno())],
                cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
            )  # fmt: skip
        atexit.register(self.close)

    def run(
        self, arguments: list[str], folder: Path, environment: dict[str, str], timeout: float
    ) -> tuple[int | None, str, str]:
        """Return exit code, output and errors of one command; the code is None past `timeout`."""
        request = json.dumps([arguments, str(folder), environment]).encode()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            socket.send_fds(self._socket, [request], [out.fileno(), err.fileno()])
            pid, code = int(self._socket.recv(MOST)), None
            self._socket.settimeout(timeout)
            try:
                code = int(self._socket.recv(MOST))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
            finally:
                self._socket.settimeout(None)
            if code is None:
                self._socket.recv(MOST)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace").replace("\r\n", "\n"))
        return code, texts[0], texts[1]

    def close(self) -> None:
        """End the process that forks."""
        self._socket.close()
        self._process.wait()


@functools.cache
def forks() -> Forks:
    """Return the process that forks, started on first use."""
    from tests.cli.shell import own_environment

    return Forks(own_environment())


def import_everything() -> None:
    """Import the package and its libraries, as far as they are installed."""
    import disttrain

    found = [module.name for module in pkgutil.walk_packages(disttrain.__path__, "disttrain.")]
    for name in (*found, *LIBRARIES):
        with suppress(ImportError):
            if not name.startswith(OTHERS):
                importlib.import_module(name)
    # A fork that looks for garbage here copies most of this memory, and looks when it ends.
    gc.collect()
    gc.freeze()


def serve(descriptor: int) -> None:
    """Fork for each request until the tests are over; return in each fork, ready to be run."""
    requests = socket.socket(fileno=descriptor)
    while True:
        request, files, _, _ = socket.recv_fds(requests, MOST, 2)
        if not request:
            sys.exit()
        pid = os.fork()
        if not pid:
            break
        for file in files:
            os.close(file)
        requests.send(b"%d" % pid)
        requests.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    requests.close()
    for number, file in enumerate(files, start=1):
        os.dup2(file, number)
        os.close(file)
    arguments, folder, environment = json.loads(request)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["disttrain", *arguments]


if __name__ == "__main__":
    import_everything()
    serve(int(sys.argv[1]))
    from disttrain.__main__ import main

    main()
