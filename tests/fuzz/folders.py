"""Run folders in which something is another thing than it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from random import Random

from tests.fuzz.kind import Case, Kind
from tests.fuzz.mutation import changed_bytes, changed_text, changed_value, utf8
from tests.fuzz.trial import Outcome

SMALL = ("summary.json", "metrics.jsonl", "digests.jsonl", "run.toml")


def looked_at(random: Random, base: Path, folder: Path) -> Case:
    """Change something in the folder of a finished run, and look at it."""
    run = _copy(base / "whole", folder / "run")
    shutil.copytree(base / "whole", folder / "other")
    shutil.copy(base / "data.h5", folder / "data.h5")
    for _ in range(random.choice((1, 1, 2))):
        _break(run, random)
    commands = (
        ["inspect", "run"], ["inspect", "run", "--json"], ["verify", "run"], ["evaluate", "run"],
        ["verify", "run", "--json"], ["compare", "run", "other"], ["compare", "other", "run"],
        ["verify", "run", "--from", "1"],
    )  # fmt: skip
    return Case(random.choice(commands))


def drawn(random: Random, base: Path, folder: Path) -> Case:
    """Change something in the folder of a finished run, and draw it."""
    run = _copy(base / "whole", folder / "run")
    shutil.copy(base / "data.h5", folder / "data.h5")
    _break(run, random)
    return Case(["plot", "run", "--output", "pictures"])


def resumed(random: Random, base: Path, folder: Path) -> Case:
    """Change something in the folder of a run that is half-way, and resume it.

    It ends as the undisturbed run did; or it is refused, and every checkpoint is where it was or is
    put aside.
    """
    run = _copy(base / "stopped", folder / "run")
    shutil.copy(base / "data.h5", folder / "data.h5")
    (run / "summary.json").unlink()
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        _break(run, random)
    before = _states(run)
    (folder / "run.toml").write_bytes((base / "run.toml").read_bytes())
    digest = (base / "digest").read_text()

    def judge(outcome: Outcome) -> str:
        lost = before - _states(run)
        if outcome.code == 0:
            summary = json.loads((run / "summary.json").read_text())
            return "" if summary["digest"] == digest else "it went on to another digest"
        return f"{len(lost)} states of the run are gone" if lost else ""

    return Case(["train", "run.toml", "--output", "run", "--resume"], judge)


def other_data(random: Random, base: Path, folder: Path) -> Case:
    """Resume a run that is half-way with data that are not what they were: it is refused."""
    _copy(base / "stopped", folder / "run")
    (folder / "run" / "summary.json").unlink()
    lines = (base / "table.csv").read_text().splitlines()
    place = random.randrange(1, len(lines))
    match random.randrange(3):
        case 0:
            lines[place] = lines[place].rpartition(",")[0] + random.choice((",ant", ",bee", ",cow"))
        case 1:
            lines[1:] = random.sample(lines[1:], len(lines) - 1)
        case 2:
            first, _, rest = lines[place].partition(",")
            lines[place] = f"{float(first) + random.choice((0.5, -1)):.4f},{rest}"
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    (folder / "run.toml").write_bytes((base / "run.toml").read_bytes())
    from tests.fuzz.trial import run as do

    prepared = do(["prepare", "csv", "table.csv", "data.h5"], folder)
    same = (folder / "table.csv").read_bytes() == (base / "table.csv").read_bytes()
    digest = (base / "digest").read_text()

    def judge(outcome: Outcome) -> str:
        if prepared.code:
            return f"prepare failed: {prepared.err}"
        if same or outcome.code:
            return ""
        summary = json.loads((folder / "run" / "summary.json").read_text())
        # Moved values may cancel; then the result is the one of the data that it began with.
        return "" if summary["digest"] == digest else "it went on with other data"

    return Case(["train", "run.toml", "--output", "run", "--resume"], judge)


def _copy(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


def _states(run: Path) -> set[str]:
    """Return the contents of all states in a run folder, whatever they are called now."""
    files = [p for p in run.rglob("*") if ".h5" in p.name and p.is_file() and not p.is_symlink()]
    return {hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _break(run: Path, random: Random) -> None:
    """Make one file of a run folder another thing than it was."""
    states = [run / "best.h5", *sorted((run / "checkpoints").glob("*.h5"))]
    path = random.choice([*(run / name for name in SMALL), *(p for p in states if p.exists())])
    if not path.is_file() or path.is_symlink():
        return
    content = path.read_bytes()
    how = random.randrange(10)
    if how < 3:
        path.write_bytes(changed_bytes(content, random))
    elif how < 6 and path.suffix in (".json", ".jsonl"):
        lines = (
            content.decode("utf-8", "replace").splitlines()
            if path.suffix == ".jsonl"
            else [content.decode("utf-8", "replace")]
        )
        place = random.randrange(len(lines)) if lines else 0
        try:
            lines[place] = json.dumps(changed_value(json.loads(lines[place]), random))
        except (ValueError, IndexError):
            return
        path.write_bytes(utf8("\n".join(lines) + "\n"))
    elif how < 6 and path.suffix == ".toml":
        path.write_bytes(utf8(changed_text(content.decode("utf-8", "replace"), random)))
    elif how < 7:
        path.unlink()
        os.mkfifo(path)
    elif how < 8:
        path.unlink()
        path.mkdir()
    elif how < 9:
        path.unlink()
        path.symlink_to(random.choice(("/dev/zero", "nowhere", path.name, "/dev/null")))
    else:
        path.write_bytes(
            random.choice((b"", b"[" * 100_000, b"\x00" * 4096, b"null", b'{"a":' * 5000))
        )


KINDS = [
    Kind("folder", looked_at),
    Kind("resume", resumed),
    Kind("other data", other_data, every=4),
    Kind("plot", drawn, every=16),
]
