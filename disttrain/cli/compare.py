"""`disttrain compare`: which of two runs is better, where they first differ, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from disttrain.cli.columns import columns
from disttrain.cli.options import AsJson, print_json, say
from disttrain.shown import decimals

__all__ = ["command"]

RunA = Annotated[Path, typer.Argument(metavar="RUN_A", help="A run folder.")]
RunB = Annotated[Path, typer.Argument(metavar="RUN_B", help="Another one.")]


def command(run_a: RunA, run_b: RunB, as_json: AsJson = False) -> None:
    """Show what two runs came to, and where and why they part; ends with 0 whatever it finds."""
    from disttrain.comm import connect
    from disttrain.runs import compare_runs

    comm = connect()
    with comm.together("comparing", by_root=True):
        if comm.is_root:
            facts = compare_runs(run_a, run_b)
            if as_json:
                print_json(facts)
            else:
                _print(facts)


def _print(facts: dict[str, Any]) -> None:
    for line in columns(list(_outcomes(facts["runs"]))):
        say(line)
    say(_which_is_better(facts))
    for line in facts["settings"]:
        say(f"run files differ in {line}")
    for line in facts["choosing"]:
        say(f"run files differ in {line} (changes which weights are the best, but no step)")
    if facts["equal"] is None:
        say("where they begin to differ is unknown: their intervals end at different steps")
        return
    if facts["equal"]:
        say(
            f"equal at all {len(facts['compared'])} intervals that both have, "
            f"up to step {facts['compared'][-1]}"
        )
        return
    before = [step for step in facts["compared"] if step < facts["step"]]
    alike = f"equal up to step {before[-1]}, " if before else ""
    held = f" ({' and '.join(facts['vectors'])})" if facts["vectors"] else ""
    say(f"{alike}different at step {facts['step']}, first in {facts['tensor']}{held}")
    of_data = f": {_their_data(facts)}" if facts["cause"] == "data" else ""
    say(f"cause: {SENTENCES[facts['cause']]}{of_data}")
    if facts["cause"] == "arithmetic":
        for run, about in zip(facts["runs"], facts["about"], strict=True):
            ranks = f"{run['ranks'] or 'an unknown number of'} rank{'s' * (run['ranks'] != 1)}"
            say(f"  {run['path']}: {ranks}, {about.get('computes', 'something unknown')}")
        if _sums_in_another_order(facts):
            say(f"  {OTHER_RANKS}")


def _outcomes(runs: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """Yield a row for each fact of the runs, and their folders above them."""
    yield ["", *(run["path"] for run in runs)]
    for name in ("status", "ranks", "epochs", "steps", "samples_per_second"):
        yield [name.replace("_", " "), *(_number(run[name]) for run in runs)]
    for split in ("validation", "test"):
        for name in ("loss", "accuracy"):
            values = [(run[split] or {}).get(name) for run in runs]
            if values != [None] * len(values):
                yield [f"{split} {name}", *map(_number, values)]


def _number(value: Any) -> str:
    if isinstance(value, float):
        if 1000 <= value < 1e6:
            return f"{value:,.0f}"
        text = decimals(value)
        return text if "e" in text else text.rstrip("0").rstrip(".")
    return "-" if value is None else str(value)


def _which_is_better(facts: dict[str, Any]) -> str:
    found, runs = facts["better"], facts["runs"]
    if found is None and _on_other_data(facts):
        return f"which is better is unknown: {_their_data(facts)}"
    if found is None:
        return "which is better is unknown: they have no score of the same kind"
    words, values = " ".join(found["by"]), [f"{value:.6g}" for value in found["values"]]
    if found["run"] is None:
        return f"equally good, by {words} ({' and '.join(values)})"
    one = found["run"]
    return f"better: {runs[one]['path']}, by {words} ({values[one]} against {values[1 - one]})"


def _on_other_data(facts: dict[str, Any]) -> bool:
    """Return True where the contents of the two data files were not the same."""
    return bool(facts["about"][0].get("data") != facts["about"][1].get("data"))


def _their_data(facts: dict[str, Any]) -> str:
    """Return which data each of the two runs was trained on."""
    a, b = (run["path"] for run in facts["runs"])
    of_a, of_b = facts["data"]
    if of_a == of_b:
        return f"{of_a} held other contents when {b} was trained than for {a}"
    return f"{a} was trained on {of_a}, {b} on {of_b}"


def _sums_in_another_order(facts: dict[str, Any]) -> bool:
    """Return True where two runs of fast mode differ in nothing but the number of ranks."""
    fast = all(about.get("computes", "").startswith("fast mode") for about in facts["about"])
    return fast and facts["runs"][0]["ranks"] != facts["runs"][1]["ranks"]


OTHER_RANKS = (
    "with another number of ranks sums are added in another order; with "
    'reproducibility.mode = "exact" the bits are the same on any number'
)
SENTENCES = {
    "data": "data: they were trained on other samples",
    "weights": "weights: they began with other weights (another seed, network or initializer)",
    "data order": "data order: other samples, or in another order, since the interval before",
    "settings": "settings: the same samples in the same order, but the run files differ as above",
    "arithmetic": "arithmetic: the same samples and settings, and other numbers came out",
}
