"""Where the command starts: signals first, then the slow imports, then the command itself."""

import sys

from disttrain.preemption import ASKED


def main() -> None:
    """Run the command that `sys.argv` names."""
    if sys.argv[1:2] == ["train"]:
        # A request to stop that comes during the imports must not be lost.
        ASKED.listen()
    from disttrain.cli import main as command

    command()


if __name__ == "__main__":
    main()
