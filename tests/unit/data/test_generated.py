import numpy as np
import pytest

from disttrain.data.importers import generated
from disttrain.data.importers.generated import blobs, curve, fish, line, moons, spirals, xor
from disttrain.errors import UsageError

ALL = (blobs, curve, fish, line, moons, spirals, xor)
BY_CLASS = tuple(make for make in ALL if make is not curve)


def rows_of(imported):
    return imported.splits["train"]


def perceptron_ends(inputs, targets, epochs=2000):
    """Whether Rosenblatt's rule comes to an epoch without a mistake."""
    x = np.column_stack([inputs, np.ones(len(inputs))]).astype(np.float64)
    sign = 2 * targets - 1
    w = np.zeros(x.shape[1])
    for _ in range(epochs):
        mistakes = 0
        for row, side in zip(x, sign, strict=True):
            if side * (w @ row) <= 0:
                w += side * row
                mistakes += 1
        if not mistakes:
            return True
    return False


@pytest.mark.parametrize("make", ALL)
def test_the_seed_decides_and_shapes_and_dtypes_are_those_of_a_data_file(make):
    a, b, c = (rows_of(make(101, 0.2, seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])
    assert (a[0] != c[0]).any()
    assert a[0].shape == (101, 1 if make is curve else 2)
    assert a[0].dtype == np.float32
    if make is curve:
        assert a[1].shape == (101, 1)
        assert a[1].dtype == np.float32
    else:
        assert a[1].dtype == np.int64
        counts = np.bincount(a[1])
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("noise", [np.inf, np.nan, 1e300])
def test_noise_out_of_range_is_refused(make, noise):
    with pytest.raises(UsageError, match="--noise makes values that are not finite"):
        make(8, noise)


@pytest.mark.parametrize(("make", "least"), [(xor, 4), (blobs, 3), (moons, 2), (curve, 1)])
def test_too_few_rows_are_refused(make, least):
    assert len(rows_of(make(least))[0]) == least
    with pytest.raises(UsageError, match=f"give at least {least}"):
        make(least - 1)


def test_exact_xor_is_the_four_points():
    inputs, targets = rows_of(xor(exact=True))
    assert sorted(zip(*inputs.T.tolist(), targets.tolist(), strict=True)) == [
        (0, 0, 0),
        (0, 1, 1),
        (1, 0, 1),
        (1, 1, 0),
    ]


@pytest.mark.parametrize("options", [{"exact": True}, {"rows": 40}])
def test_xor_is_not_linearly_separable(options):
    assert not perceptron_ends(*rows_of(xor(**options)), epochs=300)


def test_xor_lies_around_the_corners():
    inputs, targets = rows_of(xor(4000, 0.1))
    np.testing.assert_array_equal((inputs > 0.5).sum(axis=1)[:8] % 2, targets[:8])
    np.testing.assert_allclose((inputs - np.round(inputs)).std(axis=0), 0.1, rtol=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_a_line_separates_line_with_the_margin(seed):
    inputs, targets = rows_of(line(seed=seed))
    assert perceptron_ends(inputs, targets)
    close = rows_of(line(400, seed=seed, margin=0.5))
    gap = np.linalg.norm(close[0][close[1] == 0][:, np.newaxis] - close[0][close[1] == 1], axis=2)
    assert gap.min() >= 1.0 - 1e-6


def test_noise_makes_line_inseparable():
    assert not perceptron_ends(*rows_of(line(100, 0.5)), epochs=100)


@pytest.mark.parametrize("margin", [0.0, 1.0, np.nan])
def test_a_margin_that_leaves_no_room_is_refused(margin):
    with pytest.raises(UsageError, match="must lie between 0 and 1"):
        line(margin=margin)


def test_spirals_are_those_of_1988():
    inputs, targets = rows_of(spirals())
    assert np.bincount(targets).tolist() == [97, 97]
    i = np.arange(97)
    r, a = 6.5 * (104 - i) / 104, i * np.pi / 16
    arm = np.stack([r * np.sin(a), r * np.cos(a)], axis=1)
    np.testing.assert_allclose(inputs[targets == 1], arm, atol=1e-6)
    np.testing.assert_allclose(inputs[targets == 0], -arm, atol=1e-6)
    np.testing.assert_allclose(arm[[0, 8, 96]], [[0, 6.5], [6, 0], [0, 0.5]], atol=1e-12)


def test_more_rows_lie_on_the_same_spirals():
    inputs, targets = rows_of(spirals(386))  # every second point is one of the classical
    np.testing.assert_allclose(
        inputs[targets == 1][::2], rows_of(spirals())[0][::2], rtol=0, atol=1e-6
    )


def test_moons_are_half_circles():
    inputs, targets = rows_of(moons(101, 0.0))
    upper, lower = inputs[targets == 0], inputs[targets == 1]
    np.testing.assert_allclose(np.linalg.norm(upper, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(lower - [1, 0.5], axis=1), 1, atol=1e-6)
    assert upper[:, 1].min() > -1e-6
    assert lower[:, 1].max() < 0.5 + 1e-6
    np.testing.assert_allclose([upper[0], upper[-1]], [[1, 0], [-1, 0]], atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_blobs_have_centres_4_apart(classes):
    inputs, targets = rows_of(blobs(classes, 0.0, classes=classes))
    assert targets.tolist() == list(range(classes))
    neighbours = np.linalg.norm(inputs - np.roll(inputs, 1, axis=0), axis=1)
    np.testing.assert_allclose(neighbours, 4, rtol=1e-6)


def test_one_blob_is_no_task():
    with pytest.raises(UsageError, match="needs at least 2"):
        blobs(classes=1)


def test_fish_have_scales_far_apart_and_need_both_features():
    imported = fish(4000)
    inputs, targets = rows_of(imported)
    assert imported.classes == ["salmon", "sea bass"]
    assert (inputs > 0).all()
    means = [inputs[targets == c].mean(axis=0) for c in (0, 1)]
    np.testing.assert_allclose(means, list(generated.FISH.values()), rtol=0.02)
    deviations = inputs[targets == 0].std(axis=0)
    np.testing.assert_allclose(deviations, generated.FISH_DEVIATIONS, rtol=0.05)
    # Fisher's discriminant on both features against each alone.
    errors = {}
    for name, columns in (("length", [0]), ("weight", [1]), ("both", [0, 1])):
        x = (inputs[:, columns] - inputs[:, columns].mean(axis=0)) / inputs[:, columns].std(axis=0)
        x = np.column_stack([x, np.ones(len(x))])
        w = np.linalg.lstsq(x, 2.0 * targets - 1, rcond=None)[0]
        errors[name] = ((x @ w > 0) != targets).mean()
    assert errors["both"] < 0.08 < 0.1 < errors["length"] < 0.3 < errors["weight"]


def test_the_curve_is_the_function():
    x, y = rows_of(curve())
    assert y.dtype == np.float32
    assert -3 <= x.min() < -2.8
    assert 2.8 < x.max() <= 3
    np.testing.assert_allclose(y, np.sin(3 * x) + 0.3 * x, atol=1e-5)
    x, y = rows_of(curve(function="x**2", low=1, high=2))
    np.testing.assert_allclose(y, x**2, rtol=1e-6)


def test_noise_on_the_curve_is_on_y_alone():
    x, y = rows_of(curve(4000))
    noisy_x, noisy_y = rows_of(curve(4000, 0.2))
    np.testing.assert_array_equal(x, noisy_x)
    np.testing.assert_allclose((noisy_y - y).std(), 0.2, rtol=0.05)


def test_a_curve_without_values_is_refused():
    with pytest.raises(UsageError, match=r"log\(x\) has no value at x = -\d"):
        curve(function="log(x)")
    for low, high in ((1, 1), (2, 1), (0, np.inf), (np.nan, 1)):
        with pytest.raises(UsageError, match="give --low below --high"):
            curve(low=low, high=high)
