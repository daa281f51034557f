"""The gradients of a step whose layers need sums over the batch: all parts, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from disttrain.training.evaluation import correct
from disttrain.training.weighing import weighed

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["compute_together"]


def compute_together(run: Run, step: int) -> None:
    """Do what `compute_gradients` does, with all parts of this rank under way at once.

    Collective: in each layer that asks, the ranks wait for each other.
    """
    comm, network, reducer, sums = run.comm, run.network, run.work.reducer, run.work.batch_sums
    assert sums is not None
    # The arrays of a part are valid until the next one is read.
    parts = [
        part._replace(inputs=part.inputs.copy(), targets=part.targets.copy())
        for part in run.work.batches.parts_of(step)
    ]
    for part in parts:
        run.work.ledger.use(part.samples)
    comm.phase("forward")
    passes = [reducer.open(step, p.piece)._replace(place=n) for n, p in enumerate(parts)]
    outputs, backward = network.forward_together([p.inputs for p in parts], passes, sums.sum)
    judged, douts = [], []
    for part, output in zip(parts, outputs, strict=True):
        weights = run.work.batches.weights(part.samples)
        loss, loss_gradient = weighed(
            *run.loss.forward(output, part.targets, run.loss_context),
            weights if weights is None else network.device.put(weights),
        )
        judged.append((part.piece, loss.copy(), correct(output, part.targets)))
        douts.append(loss_gradient().copy())
    comm.phase("backward")
    backward(douts)
    for piece, loss, right in judged:
        reducer.add(piece, loss, right)
