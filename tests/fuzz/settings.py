"""Run files and `--set`."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

from tests.fuzz.base import RUN_FILE
from tests.fuzz.kind import Case, Kind
from tests.fuzz.mutation import ODD_NUMBERS, ODD_WORDS, changed_bytes, changed_text, utf8

KEYS = [
    "seed", "name", "data.path", "data.normalize", "data.validation_fraction", "data.block_rows",
    "model.layers", "model.loss", "model.dtype", "training.epochs", "training.batch_size",
    "training.protocol", "training.epsilon", "optimizer.momentum", "optimizer.form",
    "optimizer.weight_decay", "optimizer.kind", "optimizer.clip_norm", "schedule.kind",
    "schedule.learning_rate", "schedule.warmup_epochs", "validation.on", "validation.every_epochs",
    "validation.every_steps", "validation.patience", "checkpoint.every_steps", "checkpoint.keep",
    "reproducibility.mode", "reproducibility.leaves", "reproducibility.blas_threads",
    "communication.deadline_seconds", "communication.bucket_mib", "device.kind", "a.b", "training",
    "model.layers[0].units", "model.layers.0.dropout", "",
]  # fmt: skip


def changed_run_file(random: Random, base: Path, folder: Path) -> Case:
    """Change a run file: it is checked, or refused with one sentence."""
    content = RUN_FILE.encode()
    content = (
        changed_bytes(content, random)
        if random.randrange(4) == 0
        else utf8(changed_text(RUN_FILE, random))
    )
    (folder / "run.toml").write_bytes(content)
    shutil.copy(base / "data.h5", folder / "data.h5")
    return Case(["check", "run.toml", *random.choice(([], ["--json"]))])


def odd_set(random: Random, base: Path, folder: Path) -> Case:
    """Give `--set` a key of the run file and a value that it may not expect."""
    (folder / "run.toml").write_text(RUN_FILE)
    shutil.copy(base / "data.h5", folder / "data.h5")
    argv = ["check", "run.toml"]
    for _ in range(random.choice((1, 1, 2))):
        value = random.choice(
            [*ODD_NUMBERS, *ODD_WORDS, "[" * 500, '"cosine"', '"adam"', "{a={b=1}}"]
        )
        # What no shell can pass on is no argument.
        value = value.replace("\x00", "").encode("utf-8", "ignore").decode()
        argv += ["--set", f"{random.choice(KEYS)}={value}"]
    return Case(argv)


KINDS = [Kind("run file", changed_run_file), Kind("settings", odd_set)]
