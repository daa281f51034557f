"""Augmentation: training samples that look a little different in each epoch.

What happens to a sample is a function of the seed, the epoch and its number alone: ranks, resumes
and streaming change nothing.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from disttrain.arrays import field
from disttrain.arrays.draws import normals
from disttrain.config import Augment
from disttrain.data.shape import in_words
from disttrain.errors import RunFileError

__all__ = ["Augmentation", "image_of"]

# Draws are made for so many samples at once: a batch comes from eight blocks of the data.
BLOCK = 1024
LEVELS = 1 << 16
# Numbers for each sample: shift down and right, flip, turn, size and place of the window.
DRAWN = 7


class Augmentation:
    """Moves, turns and cuts images of (height, width) or (height, width, channels); adds noise.

    - `shift` s: by -s to s whole pixels down and right; - `flip`: left and right exchanged in half
      of the cases; - `rotate` r: around the centre by -r to r degrees; - `crop` c: a window that is
      0 to c pixels less high and wide, at any place, is brought back to the full size;
    - `noise` σ: normal with this deviation, added to every input of any kind of sample, after
      normalization.

    All are drawn uniformly. What lies outside of an image is 0 as stored. Between pixels the value
    is interpolated linearly, where images are turned or cut. Raises RunFileError where samples are
    no images and more than noise is asked for.
    """

    def __init__(self, settings: Augment, shape: tuple[int, ...], seed: int) -> None:
        self._settings, self._seed = settings, seed
        self._between = bool(settings.rotate or settings.crop)
        self._moves = self._between or bool(settings.shift or settings.flip)
        image = image_of(shape)
        if self._moves and image is None:
            raise RunFileError(
                f"data.augment moves images, and a sample is {in_words(shape)}: keep noise alone, "
                "or prepare the data as height x width (x channels)"
            )
        self._image = image or (1, 1, 1)
        if settings.crop >= min(self._image[:2]) and settings.crop:
            raise RunFileError(
                f"data.augment.crop = {settings.crop}, but images have {in_words(shape)}: give less"
            )
        self._block = functools.lru_cache(maxsize=32)(self._drawn_for)

    def moved(self, rows: np.ndarray, samples: np.ndarray, epoch: int) -> np.ndarray:
        """Return stored `rows` (rows, inputs) of `samples` as they are in `epoch`."""
        if not self._moves or not len(rows):
            return rows
        drawn = self._drawn(samples, epoch)
        move = self._interpolated if self._between else self._exchanged
        return move(rows.reshape(len(rows), *self._image), drawn).reshape(rows.shape)

    def add_noise(self, inputs: np.ndarray, samples: np.ndarray, epoch: int) -> None:
        """Add the noise of `samples` in `epoch` to normalized `inputs` (rows, inputs)."""
        if self._settings.noise:
            drawn = normals(samples, inputs.shape[1], self._seed, "augmentation noise", epoch)
            np.add(inputs, drawn * np.float32(self._settings.noise), out=inputs, casting="unsafe")

    def _drawn_for(self, epoch: int, block: int) -> np.ndarray:
        return field(BLOCK, DRAWN, block * BLOCK, self._seed, "augmentation", epoch)

    def _drawn(self, samples: np.ndarray, epoch: int) -> np.ndarray:
        """Return the random numbers of each sample, 0 to 65535 as int64 (samples, DRAWN)."""
        found, blocks = np.empty((len(samples), DRAWN), np.int64), samples // BLOCK
        for block in np.unique(blocks).tolist():
            here = blocks == block
            found[here] = self._block(epoch, block)[samples[here] % BLOCK]
        return found

    def _shifts(self, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the pixels down and right, and whether left and right are exchanged."""
        most = self._settings.shift
        down, right = ((drawn[:, n] * (2 * most + 1) >> 16) - most for n in (0, 1))
        return down, right, self._settings.flip & (drawn[:, 2] < LEVELS // 2)

    def _exchanged(self, images: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Return images moved by whole pixels, and flipped."""
        rows, (height, width, _) = len(images), self._image
        down, right, flipped = self._shifts(drawn)
        ys = np.arange(height) - down[:, None]
        xs = np.arange(width) - right[:, None]
        xs = np.where(flipped[:, None], width - 1 - xs, xs)
        inside = ((ys >= 0) & (ys < height))[:, :, None] & ((xs >= 0) & (xs < width))[:, None, :]
        places = (np.arange(rows)[:, None] * height + ys.clip(0, height - 1))[:, :, None] * width
        places = places + xs.clip(0, width - 1)[:, None, :]
        found = pixels_at(images, places.reshape(-1))
        np.multiply(found, inside.reshape(-1, 1), out=found, casting="unsafe")
        return found

    def _interpolated(self, images: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Return images moved, flipped, turned and cut; each pixel is found from four."""
        rows, height, width, channels = images.shape
        wide = width + 2
        padded = np.zeros((rows, height + 2, wide, channels), np.float32)
        padded[:, 1:-1, 1:-1] = images
        y, x = self._places(drawn)
        low_y, low_x = np.floor(y), np.floor(x)
        over_y, over_x = (part.reshape(-1, 1) for part in (y - low_y, x - low_x))
        first = (np.arange(rows, dtype=np.int64) * (height + 2) * wide)[:, None, None]
        at = (first + low_y.astype(np.int64) * wide + low_x.astype(np.int64)).reshape(-1)
        above, below = (
            _between(pixels_at(padded, at + n), pixels_at(padded, at + n + 1), over_x)
            for n in (0, wide)
        )
        found = _between(above, below, over_y)
        return (found if images.dtype.kind == "f" else np.rint(found)).astype(images.dtype)

    def _places(self, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where each pixel comes from in an image with a border of one pixel of zeros."""
        height, width, _ = self._image
        down, right, flipped = self._shifts(drawn)
        part = (drawn[:, 3:] + 0.5) / LEVELS
        turns = (2 * part[:, 0] - 1) * math.radians(self._settings.rotate)
        # Of Python: the last bit of NumPy's may depend on how many angles there are.
        cosine, sine = (np.array([f(turn) for turn in turns]) for f in (math.cos, math.sin))
        size = 1 - part[:, 1] * self._settings.crop / min(height, width)
        y = np.arange(height) - (height - 1) / 2 - down[:, None]
        x = np.arange(width) - (width - 1) / 2 - right[:, None]
        x = np.where(flipped[:, None], -x, x)
        c, s = ((size * each)[:, None] for each in (cosine, sine))
        middle = [
            ((2 * part[:, n] - 1) * (1 - size) * side + side + 1)[:, None] / 2
            for n, side in ((2, height), (3, width))
        ]
        at_y, at_x = (
            (of_y + over)[:, :, None].astype(np.float32) + of_x[:, None, :].astype(np.float32)
            for of_y, of_x, over in ((c * y, -s * x, middle[0]), (s * y, c * x, middle[1]))
        )
        # So that one pixel more is still in the border.
        return at_y.clip(0, height + 0.999), at_x.clip(0, width + 0.999)


def pixels_at(images: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the pixels of `images` (rows, height, width, channels) at places counted over all."""
    channels = images.shape[-1]
    if channels == 1:
        return np.take(images.reshape(-1), places, mode="clip").reshape(-1, 1)
    return np.take(images.reshape(-1, channels), places, axis=0, mode="clip")


def _between(low: np.ndarray, high: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return `low + part (high - low)`, in the memory of `high`."""
    high -= low
    high *= part
    high += low
    return high


def image_of(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Return height, width and channels of samples of `shape`, or None where they are no images."""
    if len(shape) == 3 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) not in (2, 3) or min(shape[:2]) < 2:
        return None
    return shape[0], shape[1], shape[2] if len(shape) == 3 else 1
