import numpy as np
import pytest

from disttrain.arrays import Cpu
from disttrain.comm.alone import Alone
from disttrain.data import Feed, Split, measure
from disttrain.data.source import ArrayRows
from disttrain.errors import DataError


def normalized(
    kind: str, train: np.ndarray, other: np.ndarray | None = None, dtype: str = "float64"
) -> np.ndarray:
    """Return `other` (or the training rows) as the network sees them."""
    normalization = measure(kind, ArrayRows(train), Alone())
    used = train if other is None else other
    split = Split("x", ArrayRows(used), np.zeros(len(used), np.int64))
    return Feed(normalization, used.shape[1:], dtype, Cpu())(split, np.arange(len(used)))[0].copy()


def draw(rows: int = 50) -> np.ndarray:
    return np.random.default_rng(0).normal(3, 2, (rows, 4))


@pytest.mark.parametrize("rows", [1, 50, 1024, 2500])
def test_standardize_is_that_of_numpy(rows: int) -> None:
    x = draw(rows) if rows > 1 else draw(2)
    want = (x - x.mean(axis=0)) / x.std(axis=0)
    np.testing.assert_allclose(normalized("standardize", x), want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 50, 2500])
def test_mean_image_subtracts_the_mean_of_each_input(rows: int) -> None:
    x = draw(rows)
    np.testing.assert_allclose(normalized("mean-image", x), x - x.mean(axis=0), atol=1e-13)


def test_none_leaves_numbers_as_they_are() -> None:
    np.testing.assert_array_equal(normalized("none", draw()), draw())


@pytest.mark.parametrize("kind", ["none", "mean-image", "standardize"])
def test_uint8_is_divided_by_255_before_any_statistics(kind: str) -> None:
    raw = np.random.default_rng(0).integers(0, 256, (60, 5), dtype=np.uint8)
    np.testing.assert_allclose(
        normalized(kind, raw), normalized(kind, raw / 255.0), rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "i8", "f2", "f4", "f8", "?"])
def test_every_numeric_type_is_read(dtype: str) -> None:
    raw = np.random.default_rng(0).integers(0, 2, (60, 5)).astype(dtype)
    x = raw.astype("f8") / (255 if dtype == "u1" else 1)
    want = (x - x.mean(axis=0)) / x.std(axis=0)
    np.testing.assert_allclose(normalized("standardize", raw), want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 + 1 / 3, -1e-300])
def test_a_constant_feature_becomes_0_also_where_other_rows_differ(value: float) -> None:
    x = draw()
    x[:, 1] = value
    other = draw(5) * 10
    assert not normalized("standardize", x)[:, 1].any()
    assert not normalized("standardize", x, other)[:, 1].any()
    assert normalized("standardize", x, other)[:, 0].any()


def test_statistics_are_those_of_the_training_rows() -> None:
    x, other = draw(), draw(5) + 100
    want = (other - x.mean(axis=0)) / x.std(axis=0)
    np.testing.assert_allclose(normalized("standardize", x, other), want, rtol=1e-12)


@pytest.mark.parametrize("stored", ["f8", "i8"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_small_spread_far_from_0_is_not_lost(stored: str, dtype: str) -> None:
    """Years, time stamps, pressures: a large offset must go before the numbers are rounded."""
    spread = np.random.default_rng(0).integers(-50, 50, (400, 3))
    x = (spread + 1_700_000_000).astype(stored)
    want = (spread - spread.mean(axis=0)) / spread.std(axis=0)
    np.testing.assert_allclose(
        normalized("standardize", x, dtype=dtype), want, rtol=1e-5, atol=1e-5
    )


def test_a_float32_offset_loses_no_more_than_float32_itself() -> None:
    x = (np.random.default_rng(0).integers(-50, 50, (400, 3)) + 100_000).astype("f4")
    want = (x - x.mean(axis=0, dtype="f8")) / x.astype("f8").std(axis=0)
    np.testing.assert_allclose(
        normalized("standardize", x, dtype="float32"), want, rtol=1e-5, atol=1e-5
    )


def test_the_deviation_is_measured_around_the_mean() -> None:
    x = np.random.default_rng(0).normal(0, 1e-3, (2000, 2)) + 1e6
    normalization = measure("standardize", ArrayRows(x), Alone())
    np.testing.assert_allclose(normalization.deviation, x.std(axis=0), rtol=1e-9)
    np.testing.assert_allclose(normalization.mean, x.mean(axis=0), rtol=1e-14)


@pytest.mark.parametrize("size", [1e160, 1e-170, 1e-200, 1e290])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_features_of_any_size_are_standardized(size: float, dtype: str) -> None:
    x = draw()
    want = (x - x.mean(axis=0)) / x.std(axis=0)
    x[:, 2] *= size
    got = normalized("standardize", x, dtype=dtype)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["standardize", "mean-image", "range"])
def test_what_has_no_mean_or_spread_in_float64_is_refused(kind: str) -> None:
    x = draw()
    x[:, 3] = np.where(np.arange(len(x)) % 2, 1.7e308, 1.6e308 if kind != "range" else -1.7e308)
    with pytest.raises(DataError, match="number 3 of the inputs is so large"):
        normalized(kind, x)
