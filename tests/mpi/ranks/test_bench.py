"""What `disttrain bench` measures on several ranks: every way that is there, alike on all ranks."""

import dataclasses
import math

import numpy as np
import pytest

from disttrain.bench import step, sums
from disttrain.bench.turns import in_turns


def test_a_rank_passes_an_array_on_to_the_next(comm):
    out, into = np.full(1000, float(comm.rank)), np.empty(1000)
    comm.pass_on(out, into)
    assert set(into) == {(comm.rank - 1) % comm.size}


def test_turns_give_the_same_medians_on_every_rank(comm):
    found = in_turns(comm, {"a": lambda: None, "b": lambda: None}, 3, turn=1e-4)
    assert len({tuple(one.items()) for one in comm.collect(found)}) == 1


def test_every_way_to_add_is_measured(comm):
    found = sums.measure(comm, 5000, rounds=2)
    assert (found.ranks, found.bytes) == (comm.size, 20_000)
    if comm.size > 1:
        assert set(found.seconds) == set(sums.WAYS)
        assert all(0 < found.bus_bandwidth(way) < math.inf for way in sums.WAYS)


def test_a_link_has_a_latency_and_a_bandwidth(comm):
    found = sums.link(comm, 1 << 16)
    assert 0 < found.latency < 10
    assert found.bandwidth > 0


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_a_step_is_measured_on_all_ranks_together(comm, mode, tmp_path_factory):
    folder = tmp_path_factory.mktemp("noise")
    settings = step.example(folder).replace(reproducibility={"mode": mode})
    found = step.measure(settings, comm, quick=True)
    assert (found.ranks, found.hosts, found.rows) == (comm.size, 1, 128)
    assert found.message == 4 * 636_016
    assert found.waiting >= 0
    assert len(set(comm.collect(dataclasses.astuple(found)))) == 1
