"""What `disttrain launch` is to start: a command of disttrain's, or any program of the user's."""

from __future__ import annotations

import difflib
import os
import shlex
import shutil
from collections.abc import Sequence

from disttrain.errors import UsageError
from disttrain.launch.supervisor import Kind

__all__ = ["GO_ON", "NUMBERS", "PARALLEL", "ranks_behind", "ranks_within", "resolved"]

# disttrain's commands that run on several ranks, and those that don't.
PARALLEL = (
    "train", "evaluate", "predict", "check", "inspect", "verify", "doctor", "env", "bench",
    "export", "import", "ensemble", "search", "cross-validate",
)  # fmt: skip
# Those that `--resume` lets go on.
GO_ON = ("train", "search", "cross-validate", "ensemble")
ALONE = ("prepare", "compare", "plot", "draw", "report", "watch", "launch", "drill", "template")
PYTHONS = ("python", "python3")
# How other launchers call the number of hosts, and of GPUs.
HOSTS = ("--nodes", "--nnodes", "-N", "--num-nodes", "--num_nodes")
GPUS = ("--gpus", "--gpus-per-node", "--num-gpus", "--devices", "--nproc-gpu")
# How other launchers call the number of ranks.
NUMBERS = (
    "-n", "-np", "--np", "--ranks", "--nproc", "--nproc-per-node", "--nproc_per_node",
)  # fmt: skip


def resolved(words: Sequence[str], python: str, here: bool = True) -> tuple[Kind, list[str]]:
    """Return what `words` are, and the program to start for them.

    `python` is the interpreter, also where `words` begin with "python" or a script. Raises
    UsageError for a word that is neither a command for several ranks nor a program here, and, where
    the ranks run `here` alone, for a script that is not there.
    """
    if words[0] == "disttrain" and len(words) > 1:
        words = words[1:]
    first = words[0]
    if first.startswith("-"):
        raise UsageError(_no_option(first))
    if first in PARALLEL:
        kind: Kind = "training" if first in GO_ON else "command"
        return kind, [python, "-m", "disttrain", *words]
    if first in ALONE:
        raise UsageError(
            f"{first} is not for several ranks: start it alone, as `disttrain {first} ...`; launch "
            f"is for {', '.join(PARALLEL)}, or any program of yours"
        )
    script = words[1] if first in PYTHONS and len(words) > 1 else first
    if script.endswith(".py") and here and not os.path.isfile(script):
        raise UsageError(f"there is no script {script} here{_like(script)}")
    if first in PYTHONS:
        return "program", [python, *words[1:]]
    if first.endswith(".py"):
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


def _no_option(first: str) -> str:
    """Return the sentence for an option that `launch` has not."""
    option, says = first.partition("=")[0], f"launch has no option {first}: "
    if option in HOSTS:
        return (
            f"{says}it takes hosts by name, as in `disttrain launch --hosts n1:4,n2:4 train "
            "RUN.toml`; for a job of Slurm and others `disttrain template slurm RUN.toml` writes "
            "the script"
        )
    if option in GPUS:
        return (
            f"{says}each rank takes a GPU of its own, so give as many ranks, as in `disttrain "
            "launch -n 2 train RUN.toml`"
        )
    return (
        f"{says}its own options stand before the command, as in `disttrain launch -n 4 train "
        "RUN.toml`; `disttrain launch --help` lists them"
    )


def _like(script: str) -> str:
    """Return the question whether a script beside it is meant whose name is almost the same."""
    place, name = os.path.split(script)
    try:
        there = [found for found in os.listdir(place or ".") if found.endswith(".py")]
    except OSError:
        there = []
    near = difflib.get_close_matches(name, there, 1)
    return f": is {os.path.join(place, near[0])} meant?" if near else ""


def ranks_behind(words: Sequence[str]) -> str:
    """Return a note on a number of ranks behind a program of the user's, which gets it; else ""."""
    for place, word in enumerate(words[1:], 1):
        option, equals, value = word.partition("=")
        end = place + (1 if equals else 2)
        number = value if equals else "".join(words[place + 1 : end])
        if option in NUMBERS and number.isascii() and number.isdigit():
            before = (w for w in words[:place] if w not in PYTHONS and not w.startswith("-"))
            program = next(before, None)
            if program is None:
                # An option of python's own, which says itself what is wrong.
                return ""
            left = shlex.join([*words[:place], *words[end:]])
            return (
                f"{' '.join(words[place:end])} behind the command is for {program}, which runs on "
                f"1 rank: for {number} ranks type `disttrain launch -n {number} {left}`"
            )
    return ""


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
