"""All pictures of a run: each kind has a file here, with NAME, `why_not` and `figure`.

curves      loss, accuracy, learning rate over epochs          every run
confusion   the confusion matrix                               classes
weights     the first layer's weights as images                images
regions     the network's output over the plane of inputs      1 or 2 inputs
growth      the same at several checkpoints                    1 or 2 inputs
hidden      the data as the hidden layers transform them       2 inputs, classes

Of some networks only, and of others nothing is said about them:

features, reconstructions   what pre-training learned                pre-training, images
filters, maps               a convolution's filters and its maps     a convolution first
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from disttrain.errors import CheckpointError, DataError, DisttrainError
from disttrain.model import Layer, Loss
from disttrain.report import (
    confusion,
    curves,
    features,
    filters,
    growth,
    hidden,
    maps,
    reconstructions,
    regions,
    weights,
)
from disttrain.report.figure import save
from disttrain.report.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["KINDS", "OF_SOME", "Picture", "draw_all", "unfit"]


class Kind(Protocol):
    """The interface of the module of a kind of picture."""

    NAME: str

    def why_not(self, subject: Subject) -> str | None:
        """Return why there is no such picture of this run, or None where there is one."""

    def figure(self, subject: Subject) -> Figure:
        """Return the picture."""


KINDS: tuple[Kind, ...] = (curves, confusion, weights, regions, growth, hidden)
OF_SOME: tuple[Kind, ...] = (features, reconstructions, filters, maps)


class Picture(NamedTuple):
    """A picture that is drawn, or why it is not; `failed` where it should have been."""

    name: str
    path: Path | None
    reason: str = ""
    failed: bool = False

    @property
    def line(self) -> str:
        """One line for people."""
        return str(self.path) if self.path else f"{self.name} is not drawn: {self.reason}"


def unfit(pictures: Sequence[Picture]) -> str:
    """Return one line that names the pictures that do not fit the run, and why; "" where all do."""
    why: dict[str, list[str]] = {}
    for picture in pictures:
        if not picture.path and not picture.failed:
            why.setdefault(picture.reason, []).append(picture.name)
    return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in why.items())


def draw_all(
    folder: Path,
    output: Path,
    careful: bool = False,
    sample: int = 0,
    layers: Sequence[Layer] | None = None,
    loss: Loss | None = None,
) -> Iterator[Picture]:
    """Draw every picture that makes sense for the run in `folder` into the folder `output`.

    `layers` and `loss` are those of the user's own that it was trained with, if any.
    A picture whose data or checkpoint can't be read is one that is not drawn. Raises
    CheckpointError where there is no run, UsageError where `output` can't be written; nothing, with
    `careful`: then these too are reasons.
    """
    subject = Subject(folder, sample, layers, loss)
    for kind in (*KINDS, *OF_SOME):
        try:
            if kind in OF_SOME and kind.why_not(subject):
                continue
            yield _draw(kind, subject, output)
        except (DataError, CheckpointError) as error:
            yield Picture(kind.NAME, None, str(error), failed=True)
        except Exception as error:
            if not careful:
                raise
            known = isinstance(error, DisttrainError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            yield Picture(kind.NAME, None, reason, failed=True)


def _draw(kind: Kind, subject: Subject, output: Path) -> Picture:
    if reason := kind.why_not(subject):
        return Picture(kind.NAME, None, reason)
    save(kind.figure(subject), output / kind.NAME)
    return Picture(kind.NAME, output / kind.NAME)
