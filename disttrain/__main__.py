"""Where the command starts: signals first, then the slow imports, then the command itself."""

import signal
import sys

from disttrain.preemption import ASKED


def main() -> None:
    """Run the command that `sys.argv` names."""
    if sys.argv[1:2] in (["train"], ["search"], ["cross-validate"], ["launch"]):
        # A request to stop that comes during the imports must not be lost.
        ASKED.listen()
    if sys.argv[1:2] in (["doctor"], ["env"]):
        # mpirun sends TERM when another rank dies: it waits until `attend` can answer it.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    from disttrain.cli import main as command

    command()


if __name__ == "__main__":
    main()
