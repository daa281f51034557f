import numpy as np
import pytest

from disttrain.arrays import generator, permutation


def test_a_draw_does_not_depend_on_what_was_drawn_before() -> None:
    alone = generator(1, "weights", 3).standard_normal(5)
    first = generator(1, "weights", 2)
    first.standard_normal(1000)
    np.random.default_rng().standard_normal(7)
    np.testing.assert_array_equal(generator(1, "weights", 3).standard_normal(5), alone)


def test_seed_purpose_and_numbers_all_count() -> None:
    keys = [(1, "a"), (2, "a"), (1, "b"), (1, "a", 0), (1, "a", 1), (1, "a", 1, 0), (1, "a", 0, 1)]
    assert len({generator(*k).bit_generator.random_raw() for k in keys}) == len(keys)


def test_a_large_seed_is_its_own() -> None:
    big = generator(2**63 - 1, "a").bit_generator.random_raw()
    assert big != generator(2**31 - 1, "a").bit_generator.random_raw()


@pytest.mark.parametrize("length", [0, 1, 2, 17, 1000])
def test_a_permutation_holds_each_number_once(length: int) -> None:
    drawn = permutation(length, 1, "x")
    assert drawn.dtype == np.int64
    np.testing.assert_array_equal(np.sort(drawn), np.arange(length))


def test_permutations_never_change() -> None:
    """Every checkpoint's order of samples hangs on these numbers."""
    assert permutation(10, 1, "x").tolist() == [8, 5, 0, 6, 4, 9, 2, 1, 3, 7]
    assert permutation(10, 1, "x", 3).tolist() == [3, 1, 0, 2, 8, 5, 7, 4, 9, 6]
    assert permutation(6, 7, "blocks", 2).tolist() == [0, 2, 1, 5, 4, 3]


def test_the_stream_behind_never_changes() -> None:
    raw = generator(1, "weights dense1 weight").bit_generator.random_raw(2)
    assert raw.tolist() == [16172162915161089605, 3466555874108882325]
