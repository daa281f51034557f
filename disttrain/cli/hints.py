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
    "continue": "train RUN --resume", "cv": "cross-validate RUN.toml", "diff": "compare",
    "fit": "train", "help": "--help", "infer": "predict", "list": "evaluate RUN_A RUN_B",
    "resume": "train RUN --resume", "run": "train", "score": "evaluate", "show": "inspect",
    "status": "watch RUN", "test": "evaluate", "tune": "search STUDY.toml", "validate": "evaluate",
    "version": "--version",
}  # fmt: skip
# What prepares files of these kinds.
IMPORTERS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".gz": "csv", ".parquet": "parquet",
    ".npz": "npz", ".h5": "hdf5", ".hdf5": "hdf5",
}  # fmt: skip
# What other programs call our options; the first that the command has is meant.
OPTIONS = {
    "--output": "--out --outdir --out-dir --output-dir --save-dir --dir --folder --log-dir "
    "--logdir --default-root-dir --save --output-path --output-file --run-dir",
    "--folds": "--cv --k -k --n-splits --splits --kfold --n-folds --nfolds",
    "--quiet": "--silent -s --no-progress --no-verbose",
    "--verbose": "--debug -d",
    "--resume": "--continue --restart --resume-from --resume-from-checkpoint --ckpt --ckpt-path",
    "--overwrite": "--force -f --yes -y",
    "--target": "--label --label-column --target-column --y --targets --response --class-column",
    "--drop": "--ignore --exclude --drop-columns",
    "--na": "--na-values --missing-values",
    "--test-fraction": "--test-size --test-split --holdout",
    "--set": "--override --config-override --param",
    "--ranks": "--ntasks --tasks --np --nproc",
    "--cpus": "--cpus-per-task --cores --threads",
    "--time": "--walltime --time-limit",
    "--members": "--n-estimators --n-members",
    "--size": "--image-size --img-size --resize",
    "--labels": "--label-file --annotations",
    "--over": "--param-grid --grid",
    "--logger": "--tensorboard --wandb --mlflow --loggers",
}  # fmt: skip
# The same for what is another command, or a study file, here.
SAYINGS = {
    "cross-validation is a command: disttrain cross-validate RUN.toml --folds 5": "--cv --folds "
    "--kfold --n-splits",
    "a search is a command: disttrain search STUDY.toml": "--n-trials --trials --tune --search",
    "disttrain check RUN.toml reads all and trains nothing": "--dry-run --check --validate "
    "--fast-dev-run",
}
# What is meant by the name of a section.
FIRST_KEYS = {
    "data": ".path", "optimizer": ".kind", "schedule": ".kind", "device": ".kind",
    "pretraining": ".kind", "model": ".layers",
}  # fmt: skip
USING = ("evaluate", "predict", "inspect", "verify", "export", "plot", "draw", "report")
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
    if option and command:
        return _option(option, error) or _place(option, command) or _key(option, command)
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


def _key(option: str, command: str) -> str:
    """Return how the key of a run file is set that is called as an option is."""
    from disttrain.config.habits import answer
    from disttrain.config.homes import suggestion
    from disttrain.config.sections import Settings

    name = option.lstrip("-").replace("-", "_")
    if command not in SETTING or len(name) < 2:
        return ""
    if how := answer(name):
        return how
    meant = suggestion(Settings, name, []).replace("'", "")
    first = FIRST_KEYS.get(meant, "")
    return f"a key of the run file is set by --set {meant}{first}=..." if meant else ""


def _option(option: str, error: Any) -> str:
    """Return how an option of other programs is said here; "" where nothing is known of it."""
    command = error.ctx.command
    own = {name for one in command.params for name in one.opts}
    for meant, words in OPTIONS.items():
        if option in words.split() and meant in own:
            return f"that is {meant} here"
    for meant, words in SAYINGS.items():
        if option in words.split() and command.name in SETTING:
            return meant
    return ""


def _place(option: str, command: str) -> str:
    """Return where a word stands that other programs take by an option; "" for other options."""
    if command == "predict" and option in ("--data", "--input", "--inputs", "-i"):
        return "the inputs stand behind the run: disttrain predict RUN INPUTS"
    if option in ("--model", "--checkpoint", "--ckpt", "--weights", "-m") and command in USING:
        return f"the run stands behind the command: disttrain {command} RUN"
    if option in ("--config", "--config-file", "--cfg", "-c", "--file") and command in SETTING:
        return f"the run file stands behind the command: disttrain {command} RUN.toml"
    if option in ("--test", "--val", "--validation", "--train") and command == "evaluate":
        return f"that is --split {option[2:].replace('val', 'validation')[:10]} here"
    return ""
