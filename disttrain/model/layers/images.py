"""What a sample is to layers for images: height, width, channels; and the windows on it."""

from __future__ import annotations

from disttrain.arrays.windows import Window
from disttrain.errors import UsageError
from disttrain.model.layer import Shape

__all__ = ["Sides", "image_of", "window_on"]

Sides = int | tuple[int, int]
"""A size or a stride: one number for both sides, or (height, width)."""


def image_of(shape: Shape) -> tuple[int, int, int]:
    """Return (height, width, channels) of a sample: (h, w) is grey, (n,) has height 1.

    Raises UsageError for a sample of more axes.
    """
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    if len(shape) == 2:
        return shape[0], shape[1], 1
    if len(shape) == 1:
        return 1, shape[0], 1
    raise UsageError(
        f"it gets samples of {len(shape)} axes, {shape}: images have (height, width) or "
        "(height, width, channels), series have (length,)"
    )


def window_on(
    shape: Shape, size: Sides, stride: Sides, padding: str | int, what: str = "filters"
) -> Window:
    """Return the windows of a filter or a pool on samples of `shape`.

    "same" has `ceil(side / stride)` windows along a side, "valid" those that lie within the image,
    a number so many zeros at each border. One number as `size` or `stride` is for both sides; of a
    sample of height 1, for its width. Raises UsageError where no window fits.
    """
    height, width, channels = image = image_of(shape)
    sizes, strides = _sides(size, height), _sides(stride, height)
    before, out = [], []
    for axis, (side, of, apart) in enumerate(zip((height, width), sizes, strides, strict=True)):
        if padding == "same":
            count = -(-side // apart)
            first = max((count - 1) * apart + of - side, 0) // 2
        else:
            border = 0 if padding == "valid" else int(padding)
            # A sample of height 1 has no border above it.
            first = 0 if axis == 0 and side == of == 1 else border
            count = (side + 2 * first - of) // apart + 1
        if count < 1:
            raise UsageError(
                f"its {what} of {sizes[0]} x {sizes[1]} do not fit on samples of "
                f"{height} x {width} x {channels} (height, width, channels): make size smaller"
            )
        before.append(first)
        out.append(count)
    return Window(image, sizes, strides, (before[0], before[1]), (out[0], out[1]))


def _sides(given: Sides, height: int) -> tuple[int, int]:
    if isinstance(given, int):
        return (1 if height == 1 else given, given)
    return given[0], given[1]
