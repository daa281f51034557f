"""The process of one logger: reads lines from standard input and calls the logger.

    python -m disttrain.interop.loggers.child NAME

A logger is a class with `start(name, folder, settings, step)`, `interval(step, numbers)` and
`end(summary)`. What it raises ends this process alone.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

__all__ = ["main"]

CLASSES = {
    "csv": "disttrain.interop.loggers.table:Table",
    "tensorboard": "disttrain.interop.loggers.tensorboard:TensorBoard",
    "mlflow": "disttrain.interop.loggers.mlflow:MLflow",
    "wandb": "disttrain.interop.loggers.wandb:Wandb",
}


def main(name: str) -> None:
    """Call the logger `name` for each line, up to the end of the input."""
    # The run's signals are not this process's: it ends when its input ends.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        # Rank 0 may be bound to one core, which is busy.
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    sys.path.insert(0, os.getcwd())
    module, _, own = CLASSES.get(name, name).partition(":")
    logger: Any = getattr(importlib.import_module(module), own)()
    # Not before: on a busy machine imports would take minutes, and a short run be over.
    with suppress(OSError):
        os.nice(10)
    for line in sys.stdin:
        facts = json.loads(line)
        getattr(logger, facts.pop("what"))(**facts)


if __name__ == "__main__":
    main(sys.argv[1])
