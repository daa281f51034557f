import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disttrain.arrays import Cpu
from disttrain.comm.alone import Alone
from disttrain.config import Settings
from disttrain.data import (
    Batches,
    BlockShuffle,
    Feed,
    Leaves,
    Normalization,
    Shares,
    Split,
    division,
    share,
)
from disttrain.data.source import ArrayRows
from disttrain.training import build_run
from disttrain.training.trainer import compute_gradients


@given(st.integers(0, 1000), st.integers(1, 40))
def test_shares_are_contiguous_cover_the_batch_and_are_even(rows: int, size: int) -> None:
    shares = [share(rows, rank, size) for rank in range(size)]
    assert shares[0][0] == 0
    assert shares[-1][1] == rows
    assert all(a[1] == b[0] for a, b in itertools.pairwise(shares))
    lengths = [high - low for low, high in shares]
    assert max(lengths) - min(lengths) <= 1


def make(rows: int, batch_size: int | None, rank: int = 0, size: int = 1) -> Batches:
    inputs = np.arange(rows * 2, dtype="f8").reshape(rows, 2)
    split = Split("train", ArrayRows(inputs), np.arange(rows) * 10)
    plain = Normalization("none", 1.0, np.zeros(2), np.ones(2))
    feed = Feed(plain, (2,), "float64", Cpu())
    return Batches(split, BlockShuffle(rows, 1, 4), batch_size, feed, Shares(rank, size))


@pytest.mark.parametrize(("rows", "batch_size"), [(10, 3), (12, 4), (5, 1), (7, 7), (7, 100)])
@pytest.mark.parametrize("size", [1, 3, 9])
def test_an_epoch_uses_each_sample_once(rows: int, batch_size: int, size: int) -> None:
    parts = [make(rows, batch_size, rank, size) for rank in range(size)]
    steps = parts[0].steps_per_epoch
    assert steps == -(-rows // batch_size)
    for epoch in (0, 2):
        used = []
        for step in range(epoch * steps, (epoch + 1) * steps):
            whole = parts[0].samples(step)
            assert len(whole) == min(batch_size, rows - step % steps * batch_size)
            pieces = [(p.inputs.copy(), p.targets.copy()) for b in parts for p in b.parts_of(step)]
            np.testing.assert_array_equal(np.concatenate([y for _, y in pieces]), whole * 10)
            np.testing.assert_array_equal(np.concatenate([x for x, _ in pieces])[:, 0], whole * 2)
            used += whole.tolist()
        assert sorted(used) == list(range(rows))


def test_a_batch_is_a_function_of_its_step_alone() -> None:
    one, two = make(50, 8), make(50, 8)
    for step in (12, 3, 40):
        one.samples(step)
    np.testing.assert_array_equal(one.samples(20), two.samples(20))


def test_the_batch_protocol_takes_all_samples() -> None:
    whole = make(50, None)
    assert whole.batch_size == 50
    assert whole.steps_per_epoch == 1
    assert sorted(whole.samples(3).tolist()) == list(range(50))


def test_an_empty_share_is_one_part_without_rows() -> None:
    empty = make(2, 2, rank=0, size=5)
    (part,) = empty.parts_of(0)
    assert part.inputs.shape == (0, 2)
    assert len(part.targets) == 0


@pytest.mark.parametrize("rows", [1, 7, 8, 20])
def test_parts_cut_a_large_share(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(division, "PIECE_ROWS", 7)
    whole = make(rows, None)
    found = [(part.piece, part.targets.copy()) for part in whole.parts_of(0)]
    assert len(found) == -(-rows // 7)
    assert max(len(targets) for _, targets in found) <= 7
    assert [place.alone for place, _ in found] == [len(found) == 1] * len(found)
    assert [place.first for place, _ in found] == [n == 0 for n in range(len(found))]
    assert [place.last for place, _ in found][-1]
    np.testing.assert_array_equal(np.concatenate([t for _, t in found]), whole.samples(0) * 10)


@pytest.mark.parametrize("piece_rows", [1, 7, 32])
def test_parts_make_the_same_gradient_as_one(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, piece_rows: int
) -> None:
    fast = settings("training.protocol=batch", "model.dtype=float64", "reproducibility.mode=fast")
    run = build_run(fast, Alone())
    rows = run.work.batches.rows(0)
    compute_gradients(run, 0)
    want = run.work.reducer.sum_gradients(rows, False, False)
    gradients = run.work.reducer.totals.copy()
    monkeypatch.setattr(division, "PIECE_ROWS", piece_rows)
    for _ in range(2):
        compute_gradients(run, 0)
        found = run.work.reducer.sum_gradients(rows, False, False)
        np.testing.assert_allclose(run.work.reducer.totals, gradients, rtol=1e-10, atol=1e-12)
        assert found.loss == pytest.approx(want.loss, rel=1e-12)
        assert found._replace(loss=0) == want._replace(loss=0)


@given(st.integers(1, 300), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 12]))
def test_leaves_know_no_rank_and_cover_the_batch(
    rows: int, leaves: int, size: int, grid: int
) -> None:
    size = min(size, leaves)
    alone = Leaves(0, 1, leaves, True, grid)
    wanted = [(place.unit, place.low, place.high) for place in alone.parts(rows)]
    assert [low for _, low, _ in wanted] == [0, *(high for *_, high in wanted[:-1])]
    assert wanted[-1][2] == rows
    assert all(low % grid == 0 and (low < high or grid > 1) for _, low, high in wanted)
    found, edges = [], Leaves(0, size, leaves, False, grid).edges(rows)
    for rank in range(size):
        parts = Leaves(rank, size, leaves, True, grid).parts(rows)
        owned = range(*Leaves(rank, size, leaves, True, grid).owned(rows, rank))
        found += [(p.unit, p.low, p.high) for p in parts if p.unit in owned]
        (together,) = Leaves(rank, size, leaves, False, grid).parts(rows)
        assert (together.low, together.high) == (edges[rank], edges[rank + 1])
        assert (parts[0].low, parts[-1].high) == (edges[rank], edges[rank + 1])
    assert found == wanted


def test_targets_that_are_numbers_come_in_the_networks_dtype() -> None:
    split = Split("train", ArrayRows(np.zeros((3, 2))), np.ones((3, 1)))
    feed = Feed(Normalization("none", 1.0, np.zeros(2), np.ones(2)), (2,), "float32", Cpu())
    inputs, targets = feed(split, np.array([0, 2]))
    assert inputs.dtype == targets.dtype == np.float32
    assert targets.shape == (2, 1)


def test_one_feed_serves_inputs_of_several_types() -> None:
    """A script predicts for floats with the run that was trained on uint8, and goes on."""
    feed = Feed(Normalization("none", 1.0, np.zeros(1), np.ones(1)), (1,), "float32", Cpu())
    for dtype in ("u1", "f4", "i2", "f8", "u1"):
        value = 3 if dtype == "u1" else 300
        split = Split("x", ArrayRows(np.full((2, 1), value, dtype)), np.zeros(2, int))
        assert feed(split, np.arange(2))[0].tolist() == [[value], [value]]
