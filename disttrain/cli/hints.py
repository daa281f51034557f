"""What an unknown word of the command line may have meant: the habit of another program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

__all__ = ["hint", "plainly"]

# What the library that checks values says, and the same in words for people.
SAID = {
    r"Input should be a valid integer,.*": "give a whole number",
    r"Input should be a valid number,.*": "give a number",
    r"Input should be greater than or equal to ": "the least is ",
    r"Input should be less than or equal to ": "the most is ",
    r"Input should be ": "it must be ",
    r"Value error, ": "",
}

# What other programs call our commands.
COMMANDS = {
    "continue": "train RUN --resume", "diff": "compare", "fit": "train", "infer": "predict",
    "resume": "train RUN --resume", "run": "train", "score": "evaluate", "show": "inspect",
    "test": "evaluate", "validate": "evaluate",
}  # fmt: skip
# What prepares files of these kinds.
IMPORTERS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".gz": "csv", ".parquet": "parquet",
    ".npz": "npz", ".h5": "hdf5", ".hdf5": "hdf5",
}  # fmt: skip
SETTING = ("train", "check", "cross-validate", "ensemble")


def plainly(message: str) -> str:
    """Return what typer says of a value with other words for those of pydantic."""
    for theirs, ours in SAID.items():
        message = re.sub(theirs, ours, message)
    return message


def hint(error: Any) -> str:
    """Return one line about an error of the command line; "" where there is none to give."""
    command = getattr(getattr(error, "ctx", None), "info_name", "")
    from disttrain.launch.command import NUMBERS, PARALLEL

    option = getattr(error, "option_name", "")
    if option in NUMBERS and command in PARALLEL:
        return f"ranks are started by: disttrain launch -n 2 {command} ..."
    if option:
        return _key(option) if command in SETTING else _place(option, command)
    said = str(getattr(error, "message", ""))
    if "extra argument" in said and command in SETTING and "=" in said:
        return f"a key of the run file is set by --set {said.rpartition('(')[2].rstrip(').')}"
    if "extra argument" in said and command == "template":
        return "--gpus is a GPU for each rank: say how many ranks by --ranks, nodes by --nodes"
    if "extra argument" in said and command == "compare":
        return "several runs in one table: disttrain evaluate A B C, or disttrain report A B C"
    word = getattr(error, "command_name", "") or _unknown_command(error)
    if command == "prepare" and Path(word).suffix.lower() in IMPORTERS:
        kind = IMPORTERS[Path(word).suffix.lower()]
        return f"as in: disttrain prepare {kind} {word} {Path(word).stem}-data.h5"
    meant = COMMANDS.get(word) if command != "prepare" else ""
    return f"as in: disttrain {meant}" if meant else ""


def _unknown_command(error: Any) -> str:
    said = str(getattr(error, "message", ""))
    return said.split("'")[1] if said.startswith("No such command '") else ""


def _key(option: str) -> str:
    """Return how the key of a run file is set that is called as an option is."""
    from disttrain.config.homes import suggestion
    from disttrain.config.sections import Settings

    name = option.lstrip("-").replace("-", "_")
    meant = suggestion(Settings, name, []).replace("'", "")
    return f"a key of the run file is set by --set {meant}=..." if meant else ""


def _place(option: str, command: str) -> str:
    if command == "predict" and option in ("--data", "--input", "--inputs"):
        return "the inputs stand behind the run: disttrain predict RUN INPUTS"
    return ""
