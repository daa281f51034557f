"""`train --trace`: one file with what every rank did, with the bits of a run without it."""

import itertools
import json

import pytest

import disttrain
from disttrain.runs import train
from disttrain.runs.traced import traced
from tests.cli.shell import blobs

REFUSED = (disttrain.UsageError, disttrain.RankFailure)
WORDS = {"reading", "compute", "waiting", "sum", "validation", "checkpoint", "audit", "other"}


@pytest.fixture
def output(comm, tmp_path):
    """A folder that all ranks see."""
    return comm.share(tmp_path)


@pytest.fixture(scope="module")
def simple(made):
    path = made("timeline.h5", blobs, 200)
    return disttrain.parse(f"""
        data.path = "{path}"
        data.validation_fraction = 0.2
        model.layers = [{{ units = 8, activation = "tanh" }}, {{ units = 3 }}]
        training.batch_size = 32
        training.epochs = 2
    """)


def spans(path):
    """Return the spans of a file by rank."""
    events = json.loads(path.read_text())["traceEvents"]
    found = {event["pid"]: [] for event in events if event["ph"] == "M"}
    for event in events:
        if event["ph"] == "X":
            found[event["pid"]].append(event)
    return found


@pytest.mark.parametrize("replayed", [True, False], ids=["replayed", "eager"])
@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_every_rank_has_its_spans_and_the_bits_stay(comm, simple, output, mode, replayed):
    settings = simple.replace(reproducibility={"mode": mode})
    if not replayed:
        settings = settings.replace(optimizer={"clip_norm": 1.0}, model={"layers": [
            {"units": 8, "activation": "gelu"}, {"units": 3}]})  # fmt: skip
    without = train(settings, output / "without", comm)
    with traced(output / "t.json", comm):
        summary = train(settings, output / "with", comm)
    assert summary["digest"] == without["digest"]
    found = spans(output / "t.json")
    assert sorted(found) == list(range(comm.size))
    for rank, line in found.items():
        names = {span["name"] for span in line}
        assert names <= WORDS
        assert {"reading", "compute", "waiting", "validation", "checkpoint"} <= names
        assert comm.size == 1 or "sum" in names
        steps = {span["args"]["step"] for span in line if span["name"] == "compute"}
        assert steps >= set(range(1, summary["steps"] + 1)), rank
        for span, after in itertools.pairwise(line):
            assert abs(span["ts"] + span["dur"] - after["ts"]) < 1
    waits = [s for s in found[0] if s["args"]["phase"] == "waiting for the sum of gradients"]
    if comm.size > 1 and replayed:
        assert {span["name"] for span in waits} == {"waiting"}
    assert comm.watch.timeline is None


def test_it_is_there_where_all_ranks_stop(comm, simple, output):
    settings = simple.replace(schedule={"learning_rate": 1e30}, training={"epochs": 9})
    with pytest.raises(disttrain.Divergence), traced(output / "t.json", comm):
        train(settings, output / "run", comm)
    assert sorted(spans(output / "t.json")) == list(range(comm.size))


def test_another_file_is_not_replaced(comm, output):
    if comm.is_root:
        (output / "run.toml").write_text("precious")
    with (
        pytest.raises(REFUSED, match="is not a timeline: give another name"),
        traced(output / "run.toml", comm),
    ):
        raise AssertionError("the body must not run")
    assert (output / "run.toml").read_text() == "precious"
    nowhere = output / "run.toml" / "t.json"
    with pytest.raises(REFUSED, match="can't be written"), traced(nowhere, comm):
        raise AssertionError("the body must not run")
