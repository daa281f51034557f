"""Inputs as scripts have them: arrays and lists, as rows like those of the training."""

from __future__ import annotations

from typing import Any

import numpy as np

from disttrain.data.normalization import Normalization
from disttrain.data.shape import in_words, interchangeable
from disttrain.data.source import ArrayRows
from disttrain.errors import DataError

__all__ = ["checked_rows"]


def checked_rows(given: Any, shape: tuple[int, ...], normalization: Normalization) -> ArrayRows:
    """Return `given` as samples like those of the training, or raise DataError.

    Whole numbers in lists have no type of their own: where the training had pixels they are these.
    """
    try:
        inputs = np.asarray(given)
    except ValueError as error:
        raise DataError(f"the inputs are not an array ({error}): give rows of one length") from None
    if inputs.dtype.kind not in "iufb" or inputs.ndim < 1 or not len(inputs):
        raise DataError(f"inputs of shape {inputs.shape}, {inputs.dtype}, are not rows of numbers")
    if not interchangeable(inputs.shape[1:], shape) and interchangeable(inputs.shape, shape):
        raise DataError(
            f"this is one sample of {in_words(shape)}, not a list of them: put it in brackets, [x]"
        )
    if not interchangeable(inputs.shape[1:], shape):
        raise DataError(
            f"inputs have {in_words(inputs.shape[1:])} a sample, the network takes "
            f"{in_words(shape)}: give inputs like those of the training"
        )
    listed = isinstance(given, list | tuple) and inputs.dtype.kind == "i"
    if listed and normalization.pixels and inputs.min() >= 0 and inputs.max() <= 255:
        inputs = inputs.astype(np.uint8)
    normalization.refuse_other_type(inputs.dtype)
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        raise DataError("the inputs hold NaN or infinity: mend them first")
    return ArrayRows(inputs)
