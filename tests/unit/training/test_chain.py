import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disttrain.config import Settings
from disttrain.training import Run, fit
from disttrain.training.integrity.chain import broken_at

Records = list[dict[str, Any]]


@pytest.fixture
def records(build: Callable[..., Run]) -> Records:
    """The chain of a run of four intervals, and the state before the first."""
    run = build("training.epochs=2", "validation.every_steps=4")
    fit(run)
    assert [r["step"] for r in run.state.digests] == [0, 4, 8, 12, 14]
    return run.state.digests


def test_an_undisturbed_chain_holds(records: Records) -> None:
    assert broken_at(records) is None
    assert broken_at([]) is None
    assert broken_at(json.loads(json.dumps(records))) is None


def test_a_chain_that_has_lost_its_end_is_whole_as_far_as_it_goes(records: Records) -> None:
    assert broken_at(records[:3]) is None


@pytest.mark.parametrize("number", range(5))
def test_every_changed_fact_is_found_where_it_is(records: Records, number: int) -> None:
    def changed(change: Callable[[dict[str, Any]], None]) -> int | None:
        other = copy.deepcopy(records)
        change(other[number])
        return broken_at(other)

    assert changed(lambda r: r.update(step=r["step"] + 1)) == number
    assert changed(lambda r: r.update(order=r["order"][::-1] + "0")) == number
    assert changed(lambda r: r.update(chain="0" * 64)) == number
    assert changed(lambda r: r.pop("chain")) == number
    assert changed(lambda r: r.update(more=1)) == number
    for name in records[0]["tensors"]:
        assert changed(lambda r, name=name: r["tensors"][name].insert(0, "0" * 16)) == number
        assert changed(lambda r, name=name: r["tensors"].pop(name)) == number


@pytest.mark.parametrize("number", range(4))
def test_a_removed_record_is_found(records: Records, number: int) -> None:
    assert broken_at(records[:number] + records[number + 1 :]) == number


@pytest.mark.parametrize("number", range(4))
def test_records_that_change_places_are_found(records: Records, number: int) -> None:
    records[number : number + 2] = records[number : number + 2][::-1]
    assert broken_at(records) == number


@pytest.mark.parametrize("number", range(6))
def test_a_record_too_many_is_found(records: Records, number: int) -> None:
    strange = {**records[0], "step": 5}
    assert broken_at([*records[:number], strange, *records[number:]]) == number
    if number > 0:
        twice = [*records[:number], records[number - 1], *records[number:]]
        assert broken_at(twice) == number


def test_a_record_says_what_it_is_about(build: Callable[..., Run], records: Records) -> None:
    """Other weights, another order of samples and other steps make other records."""
    names = {"dense1/weight", "dense1/bias", "dense2/weight", "dense2/bias"}
    assert set(records[-1]["tensors"]) == names
    assert records[0]["order"] == "0" * 16
    other = build("training.epochs=2", "validation.every_steps=4", "data.block_rows=16")
    fit(other)
    first, second = records[1], other.state.digests[1]
    assert first["order"] != second["order"]
    assert records[0]["tensors"] == other.state.digests[0]["tensors"]


def test_the_file_is_the_chain_in_the_state_also_after_a_stop(
    tmp_path: Path, settings: Callable[..., Settings], go: Any, interrupted: Any
) -> None:
    def lines(name: str) -> Records:
        text = (tmp_path / name / "digests.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    changes = ["training.epochs=2", "validation.every_steps=3"]
    go(settings(*changes), "whole")
    interrupted(settings(*changes), 7, "parts")
    go(settings(*changes), "parts", resume=True)
    assert lines("parts") == lines("whole")
    assert [r["step"] for r in lines("whole")] == [0, 3, 6, 9, 12, 14]
    assert broken_at(lines("whole")) is None
