"""`disttrain compare`: where two runs first differ, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from disttrain.cli.options import AsJson, print_json, say

__all__ = ["command"]

Folder = Annotated[Path, typer.Argument(help="A run folder.")]


def command(run_a: Folder, run_b: Folder, as_json: AsJson = False) -> None:
    """Find the first interval and layer where two runs part; ends with 0 whatever it finds."""
    from disttrain.comm import connect
    from disttrain.runs import compare_runs

    comm = connect()
    with comm.together("comparing"):
        if comm.is_root:
            facts = compare_runs(run_a, run_b)
            if as_json:
                print_json(facts)
            else:
                _print(facts)


def _print(facts: dict[str, Any]) -> None:
    for line in facts["settings"]:
        say(f"run files differ in {line}")
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
    say(f"cause: {SENTENCES[facts['cause']]}")
    if facts["cause"] == "arithmetic":
        for name, about in zip(("first", "second"), facts["about"], strict=True):
            say(f"  the {name} computed with {about.get('computes', 'something unknown')}")


SENTENCES = {
    "data": "data: they were trained on other samples",
    "weights": "weights: they began with other weights (another seed, network or initializer)",
    "data order": "data order: other samples, or in another order, since the interval before",
    "settings": "settings: the same samples in the same order, but the run files differ as above",
    "arithmetic": "arithmetic: the same samples and settings, and other numbers came out",
}
