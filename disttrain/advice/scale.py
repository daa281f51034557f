"""Whether the scale of inputs and targets is one that a network can learn from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from disttrain.data.normalization import DIVISOR
from disttrain.training.run import Run

__all__ = ["odd_scales"]

# So many of the first training rows are looked at.
ROWS = 1024
# Initial weights and usual learning rates are made for standard deviations near 1.
SMALL, LARGE = 0.01, 100.0
# The largest standard deviation of an input, divided by the smallest.
FAR_APART = 1000.0
CURE = 'use data.normalize = "standardize"'


def odd_scales(run: Run) -> list[str]:
    """Return a sentence for each thing about the scale of inputs and targets that hinders learning.

    It looks at the first 1,024 training rows, as the network gets them. There is a sentence where

    - no input varies;
    - the median of the inputs' standard deviations is below 0.01 or above 100;
    - one deviation is over 1,000 times another (not for pixels: one at the rim hardly varies);
    - targets are numbers, and the median of their deviations is below 0.01 or above 100.

    For one rank, which reads these rows alone.
    """
    return [*_of_inputs(run), *_of_targets(run)]


def _of_inputs(run: Run) -> Iterator[str]:
    train = run.dataset.splits["train"]
    inputs, _ = run.feed(train, np.arange(min(ROWS, train.count)))
    rows = run.network.device.get(inputs).astype(np.float64).reshape(len(inputs), -1)
    deviations = rows.std(axis=0)
    deviations = deviations[deviations > 0]
    if not len(deviations):
        if len(rows) > 1:
            yield f"no input varies in the first {len(rows)} training rows: nothing can be learned"
        return
    middle, least, most = np.median(deviations), deviations.min(), deviations.max()
    if not SMALL <= middle <= LARGE:
        yield (
            f"half of the inputs have a standard deviation {_beyond(middle)}, and weights begin as "
            f"if it were near 1: {CURE}"
        )
    elif most > FAR_APART * least and run.normalization.divisor != DIVISOR:
        yield (
            f"the inputs' standard deviations go from {least:.3g} to {most:.3g}, so that the large "
            f"ones dominate: {CURE}"
        )


def _of_targets(run: Run) -> Iterator[str]:
    if run.dataset.classes or run.feed.scale:
        return
    targets = run.dataset.splits["train"].targets
    middle = float(np.median(targets.reshape(len(targets), -1).std(axis=0)))
    if middle and not SMALL <= middle <= LARGE:
        yield (
            f"half of the targets have a standard deviation {_beyond(middle)}, and learning rates "
            'are usually for one near 1: use data.normalize = "auto" with loss = "squared" and a '
            "last layer without activation, or prepare them in another unit"
        )


def _beyond(value: float) -> str:
    return f"of {value:.3g} or {'less' if value < 1 else 'more'}"
