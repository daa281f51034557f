import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disttrain.arrays import Cpu
from disttrain.comm.alone import Alone
from disttrain.config import Settings
from disttrain.data import Batches, BlockShuffle, Feed, Normalization, Split, batches, share
from disttrain.data.source import ArrayRows
from disttrain.training import build_run
from disttrain.training.trainer import share_gradients


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
    feed = Feed(plain, "float64", Cpu())
    return Batches(split, BlockShuffle(rows, 1, 4), batch_size, feed, rank, size)


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
            pieces = [(x.copy(), y.copy()) for part in parts for x, y in part.share_of(step)]
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


def test_an_empty_share_is_one_piece_without_rows() -> None:
    empty = make(2, 2, rank=0, size=5)
    ((inputs, targets),) = empty.share_of(0)
    assert inputs.shape == (0, 2)
    assert len(targets) == 0
    assert empty.pieces(0) == 1


@pytest.mark.parametrize("rows", [1, 7, 8, 20])
def test_pieces_cut_a_large_share(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(batches, "PIECE_ROWS", 7)
    whole = make(rows, None)
    found = [y.copy() for _, y in whole.share_of(0)]
    assert len(found) == whole.pieces(0) == -(-rows // 7)
    assert max(map(len, found)) <= 7
    np.testing.assert_array_equal(np.concatenate(found), whole.samples(0) * 10)


@pytest.mark.parametrize("piece_rows", [1, 7, 32])
def test_pieces_make_the_same_gradient_as_one(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, piece_rows: int
) -> None:
    run = build_run(settings("training.protocol=batch", "model.dtype=float64"), Alone())
    want = run.reducer.sum_gradients(share_gradients(run, 0), False, False)
    gradients = run.reducer.totals.copy()
    monkeypatch.setattr(batches, "PIECE_ROWS", piece_rows)
    for _ in range(2):
        found = run.reducer.sum_gradients(share_gradients(run, 0), False, False)
        np.testing.assert_allclose(run.reducer.totals, gradients, rtol=1e-10, atol=1e-12)
        assert found.loss == pytest.approx(want.loss, rel=1e-12)
        assert found._replace(loss=0) == want._replace(loss=0)


def test_targets_that_are_numbers_come_in_the_networks_dtype() -> None:
    split = Split("train", ArrayRows(np.zeros((3, 2))), np.ones((3, 1)))
    feed = Feed(Normalization("none", 1.0, np.zeros(2), np.ones(2)), "float32", Cpu())
    inputs, targets = feed(split, np.array([0, 2]))
    assert inputs.dtype == targets.dtype == np.float32
    assert targets.shape == (2, 1)


def test_one_feed_serves_inputs_of_several_types() -> None:
    """A script predicts for floats with the run that was trained on uint8, and goes on."""
    feed = Feed(Normalization("none", 1.0, np.zeros(1), np.ones(1)), "float32", Cpu())
    for dtype in ("u1", "f4", "i2", "f8", "u1"):
        value = 3 if dtype == "u1" else 300
        split = Split("x", ArrayRows(np.full((2, 1), value, dtype)), np.zeros(2, int))
        assert feed(split, np.arange(2))[0].tolist() == [[value], [value]]
