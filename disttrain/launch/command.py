"""What `disttrain launch` is to start: a command of disttrain's, or any program of the user's."""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Sequence

from disttrain.errors import UsageError
from disttrain.launch.supervisor import Kind

__all__ = ["GO_ON", "NUMBERS", "PARALLEL", "ranks_within", "resolved"]

# disttrain's commands that run on several ranks, and those that don't.
PARALLEL = (
    "train", "evaluate", "predict", "check", "inspect", "verify", "doctor", "env", "bench",
    "export", "import", "ensemble", "search", "cross-validate",
)  # fmt: skip
# Those that `--resume` lets go on.
GO_ON = ("train", "search", "cross-validate", "ensemble")
ALONE = ("prepare", "compare", "plot", "draw", "report", "watch", "launch", "drill", "template")
PYTHONS = ("python", "python3")
# How other launchers call the number of ranks.
NUMBERS = ("-n", "-np", "--np", "--ranks", "--nproc-per-node", "--nproc_per_node")


def resolved(words: Sequence[str], python: str) -> tuple[Kind, list[str]]:
    """Return what `words` are, and the program to start for them.

    `python` is the interpreter, also where `words` begin with "python" or a script. Raises
    UsageError for a word that is neither a command for several ranks nor a program here.
    """
    if words[0] == "disttrain" and len(words) > 1:
        words = words[1:]
    first = words[0]
    if first in PARALLEL:
        kind: Kind = "training" if first in GO_ON else "command"
        return kind, [python, "-m", "disttrain", *words]
    if first in ALONE:
        raise UsageError(
            f"{first} is not for several ranks: start it alone, as `disttrain {first} ...`; launch "
            f"is for {', '.join(PARALLEL)}, or any program of yours"
        )
    if first in PYTHONS:
        return "program", [python, *words[1:]]
    if first.endswith(".py") and os.path.isfile(first):
        return "program", [python, *words]
    found = shutil.which(first)
    if found is None:
        near = difflib.get_close_matches(first, PARALLEL, 1)
        meant = f": is {near[0]} meant?" if near else ""
        if first.endswith(".toml") and os.path.isfile(first):
            meant = f": is `train {first}` meant?"
        raise UsageError(
            f"{first!r} is not a program here{meant or ':'} launch starts one of "
            f"{', '.join(PARALLEL)}, or a program, as in `disttrain launch -n 4 train RUN.toml` or "
            "`disttrain launch -n 4 python script.py`"
        )
    return "program", [found, *words[1:]]


def ranks_within(words: Sequence[str]) -> tuple[list[str], str | None]:
    """Remove the number of ranks from the words of disttrain's own commands."""
    name = words[1] if words[0] == "disttrain" and len(words) > 1 else words[0]
    for place, word in enumerate(words) if name in PARALLEL else ():
        option, equals, value = word.partition("=")
        if option in NUMBERS:
            after = place + (1 if equals else 2)
            given = value if equals else "".join(words[place + 1 : after])
            return [*words[:place], *words[after:]], given
    return list(words), None
