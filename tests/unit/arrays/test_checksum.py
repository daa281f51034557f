import hashlib

import numpy as np
import pytest

from disttrain.arrays import checksum
from disttrain.arrays.checksum import CHUNK, SPREAD, in_numpy


def by_hand(array: np.ndarray) -> int:
    """Return the sum as its definition says, with Python's own numbers."""
    raw = array.tobytes()
    words = [int.from_bytes(raw[low : low + 8], "little") for low in range(0, len(raw), 8)]
    terms = ((2 * i + 1) * (word + SPREAD * (word >> 32)) for i, word in enumerate(words))
    return sum(terms) % (1 << 64)


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "<i2"])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 8, 9, 30, 31])
def test_it_is_the_sum_of_its_definition(dtype: str, length: int) -> None:
    array = np.random.default_rng(length).integers(0, 250, length).astype(dtype)
    assert checksum(array) == by_hand(array)


@pytest.mark.parametrize("words", [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 2])
def test_long_arrays_are_summed_in_pieces_to_the_same(words: int) -> None:
    array = np.random.default_rng(1).integers(0, 1 << 63, words)
    assert checksum(array) == by_hand(array) == in_numpy(array.view("u1")) % (1 << 64)
    assert checksum(array.view("f4")[:-1]) == by_hand(array.view("f4")[:-1])
    assert checksum(array.view("f4")[1:]) == by_hand(array.view("f4")[1:])


@pytest.mark.parametrize(("dtype", "length"), [("f4", 13), ("f8", 6), ("u1", 11)])
def test_every_flipped_bit_changes_it(dtype: str, length: int) -> None:
    array = np.random.default_rng(2).normal(size=length).astype(dtype)
    raw, before = array.view("u1"), checksum(array)
    for byte in range(len(raw)):
        for bit in range(8):
            raw[byte] ^= np.uint8(1 << bit)
            assert checksum(array) != before
            raw[byte] ^= np.uint8(1 << bit)
    assert checksum(array) == before


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_two_flips_of_one_bit_and_signs_do_not_cancel(dtype: str) -> None:
    array = np.random.default_rng(5).normal(size=12).astype(dtype)
    words, before = array.view(f"u{array.itemsize}"), checksum(array)
    assert checksum(-array) != before
    for bit in range(8 * array.itemsize):
        flip = words.dtype.type(1 << bit)
        for a in range(12):
            for b in range(a):
                words[[a, b]] ^= flip
                assert checksum(array) != before, (bit, a, b)
                words[[a, b]] ^= flip


def test_elements_that_change_places_change_it() -> None:
    array = np.random.default_rng(4).normal(size=9)
    for a in range(9):
        for b in range(a):
            other = array.copy()
            other[[a, b]] = other[[b, a]]
            assert checksum(other) != checksum(array)


def test_a_minus_before_zero_and_the_kind_of_nan_are_bits_too() -> None:
    assert checksum(np.zeros(3, "f4")) != checksum(np.array([0, -0.0, 0], "f4"))
    assert checksum(np.array([np.nan])) != checksum(np.array([-np.nan]))


def test_it_does_not_depend_on_the_shape_and_leaves_the_array_alone() -> None:
    array = np.random.default_rng(3).normal(size=(5, 7)).astype("f4")
    before = hashlib.sha256(array.tobytes()).digest()
    assert checksum(array) == checksum(array.reshape(-1)) == checksum(array.reshape(7, 5))
    assert hashlib.sha256(array.tobytes()).digest() == before
