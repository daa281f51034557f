"""Checkpoints and data files of disttrain's own."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

from disttrain.checkpoint.commit import END, signed
from tests.fuzz.kind import Case, Kind
from tests.fuzz.mutation import changed_bytes, changed_value, utf8
from tests.fuzz.trial import Outcome

COMMANDS = (["inspect"], ["verify"], ["inspect", "--json"], ["verify", "--json"], ["evaluate"])


def changed_checkpoint(random: Random, base: Path, folder: Path) -> Case:
    """Change bytes: it is refused, or it predicts what it has always predicted."""
    content = (base / "whole" / "best.h5").read_bytes()
    changed = changed_bytes(content, random)
    (folder / "best.h5").write_bytes(changed)
    expected = (base / "predicted.csv").read_bytes()

    def judge(outcome: Outcome) -> str:
        if outcome.code == 0 and (folder / "out.csv").read_bytes() != expected:
            return "a changed checkpoint was accepted, and predicts otherwise"
        return "a file that is in order was refused" if changed == content and outcome.code else ""

    return Case(["predict", "best.h5", str(base / "inputs.npy"), "--output", "out.csv"], judge)


def signed_anew(random: Random, base: Path, folder: Path) -> Case:
    """Change the record of a checkpoint or what it lists, and sign it: anyone can."""
    content = (base / "whole" / "best.h5").read_bytes()
    (folder / "best.h5").write_bytes(resigned(content, random))
    (folder / "data.h5").write_bytes((base / "data.h5").read_bytes())
    command = random.choice([*COMMANDS, ["predict"]])
    if command == ["predict"]:
        argv = ["predict", "best.h5", str(base / "inputs.npy"), "--output", "out.csv"]
        return Case(argv)
    return Case([command[0], "best.h5", *command[1:]])


def resigned(content: bytes, random: Random) -> bytes:
    """Return a checkpoint with other bytes or another record, whose signature is right."""
    end = len(content) - END
    length = int.from_bytes(content[end - 8 : end], "little")
    table = json.loads(content[end - 8 - length : end - 8])
    body = content[: end - 8 - length]
    if random.randrange(2):
        table = changed_value(table, random)
    else:
        body = (
            changed_bytes(body, random)
            if random.randrange(2)
            else _other_tensor(body, table, random)
        )
        table = _with_digests_of(body, table)
    text = utf8(json.dumps(table, ensure_ascii=bool(random.randrange(2))))
    return body + signed(text)


def _other_tensor(body: bytes, table: dict[str, Any], random: Random) -> bytes:
    """Return the body with other bytes inside one data set: a weight, a text, a mean.

    A text of JSON values gets another value, as long as there is room for it.
    """
    sets = table["data sets"]
    texts = [name for name in sets if body[sets[name][0] :][:1] == b"{"]
    first, length, _ = sets[random.choice(texts if random.randrange(2) else sorted(sets))]
    content = body[first : first + length]
    try:
        value = changed_value(json.loads(content.rstrip(b"\0")), random)
        part = utf8(json.dumps(value)).ljust(length)
        part = part if len(part) == length else content
    except ValueError:
        part = changed_bytes(content, random)[:length].ljust(length, b"\0")
    return body[:first] + part + body[first + length :]


def _with_digests_of(body: bytes, table: dict[str, Any]) -> dict[str, Any]:
    """Return the table with the length and the digests of `body`."""
    sets = {
        name: [first, length, hashlib.sha256(body[first : first + length]).hexdigest()]
        for name, (first, length, _) in table["data sets"].items()
    }
    between, done = hashlib.sha256(), 0
    for first, length, _ in sorted(sets.values()):
        between.update(body[done:first])
        done = max(done, first + length)
    between.update(body[done:])
    return table | {"bytes": len(body), "data sets": sets, "structure": between.hexdigest()}


def changed_data(random: Random, base: Path, folder: Path) -> Case:
    """Change bytes of a data file: it is refused, or gives the result that it has always given.

    Where the end of its record is no longer seen as one it is a file of another program.
    """
    (folder / "data.h5").write_bytes(changed_bytes((base / "data.h5").read_bytes(), random))
    shutil.copy(base / "whole" / "best.h5", folder / "best.h5")
    allowed = [
        tuple(facts[key] for key in ("rows", "loss", "accuracy"))
        for facts in json.loads((base / "evaluated.json").read_text())
    ]

    def judge(outcome: Outcome) -> str:
        if outcome.code:
            return ""
        facts = json.loads(outcome.out)
        found = tuple(facts[key] for key in ("rows", "loss", "accuracy"))
        return "" if found in allowed else f"a changed data file was accepted: {found}"

    argv = ["evaluate", "best.h5", "--data", "data.h5", "--split", "train", "--json"]
    return Case(argv, judge)


KINDS = [
    Kind("checkpoint", changed_checkpoint),
    Kind("signed anew", signed_anew),
    Kind("data file", changed_data),
]
