"""A timeline of one rank: which spans it has, and as what their time counts."""

import itertools
import json
import time
from typing import Any

import pytest

from disttrain.comm import timeline
from disttrain.comm.alone import Alone
from disttrain.comm.timeline import Timeline


def spans(text: str) -> list[dict[str, Any]]:
    events = json.loads(f"[{text}]")
    assert events[0]["ph"] == "M"
    found: list[dict[str, Any]] = events[1:]
    return found


def test_phases_become_spans_without_gaps() -> None:
    comm = Alone()
    comm.watch.timeline = Timeline(3, "n1")
    before = time.time()
    phases = ["reading a batch", "forward", "backward", "waiting for the sum of gradients"]
    for phase in [
        *phases,
        "update",
        "validation",
        "waiting after validation",
        "saving",
        "callback",
    ]:
        comm.phase(phase)
        comm.phase(phase)
    found = spans(comm.watch.timeline.events())
    assert [span["name"] for span in found] == [
        "other", "reading", "compute", "compute", "sum", "compute", "validation", "waiting",
        "checkpoint", "other",
    ]  # fmt: skip
    assert {span["pid"] for span in found} == {3}
    assert found[2]["args"]["phase"] == "forward"
    for span, after in itertools.pairwise(found):
        assert abs(span["ts"] + span["dur"] - after["ts"]) < 1
    assert abs(found[0]["ts"] / 1e6 - before) < 60


def test_what_a_phase_counts_as_can_be_said() -> None:
    line = Timeline(0, "n1")
    line.begin("waiting", "waiting for the sum of gradients")
    line.enter("waiting for the sum of gradients")
    line.begin("sum", "sum of gradients")
    assert [span["name"] for span in spans(line.events())] == ["other", "waiting", "sum"]


def test_a_full_timeline_keeps_its_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MOST", 2)
    line = Timeline(0, "n1")
    for phase in ("forward", "backward", "update", "saving"):
        line.enter(phase)
    assert line.is_full
    assert [span["args"]["phase"] for span in spans(line.events())] == ["starting", "forward"]
