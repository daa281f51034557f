"""Numbers that are not finite: the layer, the samples, the rank, and what is done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from disttrain.errors import Divergence
from disttrain.training.reducers import Totals

if TYPE_CHECKING:
    from disttrain.training.run import Run

__all__ = ["diverged", "leave_out", "origin", "refuse_overflow"]

# So many samples are named.
NAMED = 5


def leave_out(run: Run, totals: Totals, step: int) -> Totals:
    """Go on without the batch of `step`, whose loss is not finite, where the settings allow it.

    Collective. Raises Divergence, on all ranks, where they don't, or have for too many already.
    """
    state, allowed = run.state, run.settings.training.skip_not_finite
    where = origin(run, step)
    if state.skipped >= allowed:
        raise diverged(run, f"the loss is {totals.loss}", step, where)
    state.skipped += 1
    line = f"the loss is {totals.loss} at step {step}{where}: this batch is left out"
    run.warn(f"{line} ({state.skipped} of at most {allowed})")
    if run.optimizer.average:
        run.optimizer.average.follow(step + 1)
    run.work.ledger.end_step()
    return totals._replace(loss=0.0, correct=0.0, samples=0.0)


def refuse_overflow(run: Run) -> None:
    """Raise Divergence, on all ranks, where a weight or a slot is not finite. Collective.

    The loss does not show it after the last step, or where a slot divides the step. Rank 0 decides
    for all, so that a faulty replica can't send the ranks into different branches.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        finite = run.comm.is_root and run.optimizer.finite()
    if not run.comm.share(finite):
        what = "the weights or the optimizer's state are no longer finite numbers"
        raise diverged(run, what, run.state.step)


def diverged(run: Run, what: str, step: int, origin: str = "") -> Divergence:
    """Return the error for numbers that are not finite, with the advice."""
    where = f"{what} at step {step}{run.of_layer} (epoch {step / run.steps_per_epoch:.2f}){origin}"
    sizes = "the inputs" if run.dataset.classes else "inputs and targets"
    if step == 0:
        return Divergence(
            f"{where}, before any update, so no learning rate is the cause: normalize {sizes}, or "
            "prepare them in another unit"
        )
    rate = run.settings.schedule.learning_rate
    key = "pretraining" if run.pretrains else "schedule"
    # "auto" brings targets that are numbers to a common scale too, the others the inputs alone.
    scaled = ("auto", "standardize", "range") if run.dataset.classes else ("auto",)
    also = "" if run.settings.data.normalize in scaled else f", or normalize {sizes}"
    return Divergence(f"{where}: take a smaller {key}.learning_rate than {rate:g}{also}")


def origin(run: Run, step: int) -> str:
    """Return, as the end of a sentence, where the batch of `step` is first not finite.

    Collective. In the order in which they are computed: inputs; the weights, then the outputs, of
    each layer, without dropout; the losses. Empty where all of these are finite, and their sum not.
    """
    with np.errstate(all="ignore"):
        try:
            mine = _found_here(run, step)
        except Exception:
            # What is wrong is being told already.
            mine = None
    found = run.comm.collect(mine)
    places = [one[:2] for one in found if one]
    if not places:
        return ""
    first = min(places)
    (rank, value, samples), *others = [
        (rank, *one[2:]) for rank, one in enumerate(found) if one and one[:2] == first
    ]
    where = "all ranks" if len(others) + 1 == run.comm.size else f"rank {rank}"
    return f", first in {first[1]} ({value})" + f" on {where}" * (run.comm.size > 1) + samples


def _found_here(run: Run, step: int) -> tuple[int, str, float, str] | None:
    """Return what is not finite on this rank.

    That is its place in the order, its name, its first value that is not finite, and the end of a
    sentence that says for which samples.
    """
    network, found = run.network, []
    for name, values in network.tensors(network.values).items():
        layer = name.partition("/")[0]
        if not (finite := np.isfinite(values)).all():
            place, value = 2 * network.names.index(layer) + 1, float(values[~finite][0])
            found.append((place, f"the weights of {layer}", value, ""))
    names = ["the inputs", *(f"the outputs of {name}" for name in network.names), "the losses"]
    for part in run.work.batches.parts_of(step) if not found else ():
        computed = [part.inputs, *network.activations(part.inputs)]
        computed.append(run.loss.forward(computed[-1], part.targets, run.loss_context)[0])
        for number, rows in enumerate(computed):
            values = _rows(run, rows)
            wild = ~np.isfinite(values)
            if (bad := wild.any(axis=1)).any():
                value, samples = float(values[wild][0]), _named(part.samples[bad])
                found.append((2 * number, names[number], value, samples))
                break
    return min(found, default=None)


def _rows(run: Run, values: Any) -> np.ndarray:
    """Return an array of the device as rows on the host."""
    host = np.asarray(run.network.device.get(values))
    return host.reshape(len(host), -1)


def _named(samples: np.ndarray) -> str:
    """Return which samples these are, as they are numbered in the training data."""
    more = f" and {len(samples) - NAMED} more" if len(samples) > NAMED else ""
    return f", training samples {', '.join(map(str, sorted(samples)[:NAMED]))}{more}"
