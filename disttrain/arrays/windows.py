"""Where a filter or a pool stands on an image: sizes, strides and borders, in numbers of pixels."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Window"]


class Window(NamedTuple):
    """Windows of `size` (height, width), `stride` apart, on images (height, width, channels).

    `before` is how many zeros stand above and left of the image; `out` counts the windows from
    top to bottom and from left to right. Window (i, j) begins at pixel
    `(i stride[0] - before[0], j stride[1] - before[1])`; pixels outside of the image are 0.
    """

    image: tuple[int, int, int]
    size: tuple[int, int]
    stride: tuple[int, int]
    before: tuple[int, int]
    out: tuple[int, int]

    @property
    def covered(self) -> tuple[int, int]:
        """Height and width of what all windows cover together, zeros included."""
        (kh, kw), (sh, sw), (oh, ow) = self.size, self.stride, self.out
        return (oh - 1) * sh + kh, (ow - 1) * sw + kw
