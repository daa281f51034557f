"""Comparing two runs: where they first differ, and why."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from disttrain import config
from disttrain.errors import CheckpointError
from disttrain.runs.changes import FREE, flat
from disttrain.runs.folder import RunFolder
from disttrain.runs.outcomes import better, outcome_of
from disttrain.training.integrity.chain import read

__all__ = ["compare_runs"]

# Settings on which no step depends; but the rates of a cosine depend on `epochs`.
APART = (*FREE, "validation")
EPOCHS = "training.epochs"
# Those of them by which a run ends, and its best weights are chosen.
CHOOSING = (EPOCHS, *(f"validation.{key}" for key in (
    "best", "direction", "patience", "every_epochs", "every_steps"
)))  # fmt: skip
LAYER = re.compile(r"model\.layers\.\d+")


def compare_runs(a: Path, b: Path) -> dict[str, Any]:
    """Return where the runs in the folders `a` and `b` first differ, as JSON values.

    `equal` says that they are equal at all intervals that both have (`compared`). Else `step` is
    the first interval at which they differ, `tensor` the first tensor (in layer order), `vectors`
    where it differs ("weights", slots that both optimizers have), and `cause`:

    - "data": their data differ;
    - "weights": their initial weights differ;
    - "data order": they used different samples, or in another order, since the interval before;
    - "settings": the same samples, but a setting differs on which updates depend;
    - "arithmetic": the same samples and settings, but the results differ.

    Where their intervals end at other steps, `equal` is None. `settings` lists the keys that differ
    and that a step may depend on, `choosing` those on which no step depends, but when a run ends
    and which of its weights are the best. `about` is what each run computed with, `data` the path
    of its data, `runs` what each came to and `better` which is better (`outcomes.better`; None
    where their data differ). Raises CheckpointError for a folder without a run or digests, or
    whose digests were changed.
    """
    runs = [_records(path) for path in (a, b)]
    files = [config.read(path / "run.toml") for path in (a, b)]
    settings, choosing = _differences(*(flat(file.model_dump()) for file in files))
    common = sorted(runs[0].keys() & runs[1].keys())
    facts: dict[str, Any] = {
        "equal": True if any(common) else None, "compared": common, "step": None, "tensor": None,
        "vectors": [], "cause": None, "settings": settings, "choosing": choosing,
        "last": [max(run) for run in runs],
        "about": [run[min(run)].get("about", {}) for run in runs],
        "runs": (outcomes := [outcome_of(path) for path in (a, b)]),
        "data": [file.data.path for file in files],
    }  # fmt: skip
    same_loss = not any(line.startswith("model.loss:") for line in settings)
    comparable = facts["about"][0].get("data") == facts["about"][1].get("data")
    facts["better"] = better(outcomes, same_loss) if comparable else None
    return facts | (_parted(runs, common, facts) if any(common) else {})


def _parted(
    runs: list[dict[int, dict[str, Any]]], common: list[int], facts: dict[str, Any]
) -> dict[str, Any]:
    """Return where two runs first differ at a step that both have; nothing where they don't."""
    vectors = [_vectors(run) for run in runs]
    for step in common:
        one, other = (
            _tensors(run[step], names, set.intersection(*map(set, vectors)))
            for run, names in zip(runs, vectors, strict=True)
        )
        if one == other:
            continue
        differing = [n for n in one if one[n] != other.get(n)]
        tensor = differing[0] if differing else f"layers: {', '.join(other)}"
        held, there = one.get(tensor, {}), other.get(tensor, {})
        orders = [sum(int(run[s]["order"], 16) for s in run if s <= step) for run in runs]
        order = (orders[0] - orders[1]) % (1 << 64) == 0
        return {
            "equal": False, "step": step, "tensor": tensor,
            "vectors": [v for v in {**held, **there} if held.get(v) != there.get(v)],
            "cause": _cause(step, order, facts["settings"], facts["about"]),
        }  # fmt: skip
    return {}


def _cause(step: int, same_order: bool, settings: list[str], about: list[dict[str, Any]]) -> str:
    if step == 0:
        return "weights"
    if about[0].get("data") != about[1].get("data"):
        return "data"
    if not same_order:
        return "data order"
    return "settings" if settings else "arithmetic"


def _vectors(run: dict[int, dict[str, Any]]) -> list[str]:
    """Return the vectors whose checksums are in a run's records, in their order."""
    # Records that do not name them are of SGD.
    names: list[str] = run[min(run)].get("vectors", ["weights", "velocity"])
    return names


def _tensors(
    record: dict[str, Any], vectors: list[str], shared: set[str]
) -> dict[str, dict[str, str]]:
    """Return the checksums of each tensor by the vector in which it stands, where both have it."""
    return {
        tensor: {v: s for v, s in zip(vectors, sums, strict=False) if v in shared}
        for tensor, sums in record["tensors"].items()
    }


def _records(path: Path) -> dict[int, dict[str, Any]]:
    folder = RunFolder(path)
    if not folder.holds_a_run():
        raise CheckpointError(f"{path} holds no run: give two run folders")
    return {record["step"]: record for record in read(folder.digests)}


def _differences(one: dict[str, Any], other: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the keys of two run files that differ, with both values, but for those set apart.

    First those that a step may depend on, then those that choose among steps.
    """
    cosine = "cosine" in (one.get("schedule.kind"), other.get("schedule.kind"))
    apart = [key for key in APART if not (cosine and key == EPOCHS)]
    differing = {
        key: f"{key}: {' and '.join(repr(x[key]) if key in x else 'not set' for x in (one, other))}"
        for key in sorted(one | other)
        if one.get(key) != other.get(key)
    }
    found = {
        key: line
        for key, line in differing.items()
        if not any(key == name or key.startswith(f"{name}.") for name in apart)
    }
    # A layer that one of them lacks is one line, not one for each of its keys.
    layers = [{m[0] for key in x if (m := LAYER.match(key))} for x in (one, other)]
    for of, more in (("first", layers[0] - layers[1]), ("second", layers[1] - layers[0])):
        for layer in more:
            found = {key: line for key, line in found.items() if not key.startswith(f"{layer}.")}
            found[layer] = f"{layer}: only in the {of}"
    choosing = [line for key, line in differing.items() if key in CHOOSING and key not in found]
    return [found[key] for key in sorted(found)], choosing
