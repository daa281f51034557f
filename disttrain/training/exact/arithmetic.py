"""Exact mode: the choice of the arithmetic, which does not depend on the number of ranks.

Both arithmetics give the same bits on any number of ranks. `leaves` assumes only that the same call
gives the same bits again; `shared` also divides products by rows, as far as the probe allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from disttrain.arrays.blas import blas
from disttrain.comm import Communicator
from disttrain.data import PIECE_ROWS, Leaves
from disttrain.errors import RunFileError, UsageError
from disttrain.model import BUILT_IN, Conv, Network, Pass
from disttrain.model.products import multipliable, products_of
from disttrain.training.evaluation import BLOCK_ROWS
from disttrain.training.exact.probe import Probe, synthetic
from disttrain.training.predictor import Predictor
from disttrain.training.reducers import Plan

__all__ = ["Arithmetic", "decide"]

# `shared` sends the inputs and gradients of every layer for the whole batch; where these are more
# than so many times the parameters, `leaves` sends less.
MOST = 4
# Numbers that take no time to speak of to share, however few the parameters are.
LITTLE = 1 << 18
RECORDED = "this run so far"


@dataclass(frozen=True)
class Arithmetic:
    """What a run computes with, from its first step to its last; kept in its checkpoints.

    `kind` is "leaves" or "shared"; `plan` is for the latter; `blas` names the library with its
    kernels and threads; `probe` is the digest of passes on the shapes of the run.
    """

    kind: str
    leaves: int
    plan: Plan
    blas: str
    probe: str

    def same_bits(self, other: Arithmetic, facts: int) -> bool:
        """Return True where another machine computes the same, by probe and `facts` of the plan."""
        return self.probe == other.probe and self.plan[:facts] == other.plan[:facts]

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        return asdict(self) | {"plan": list(self.plan)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Arithmetic:
        """Return what `to_json` wrote."""
        alone, grid, tiled, grids = values["plan"]
        return cls(**{**values, "plan": Plan(alone, grid, tiled, tuple(grids))})


def decide(
    model: Predictor, sizes: Sequence[int], classes: int, outputs: int, comm: Communicator,
    recorded: Arithmetic | None = None,
) -> Arithmetic | None:  # fmt: skip
    """Return the arithmetic for global batches of `sizes` rows: `recorded` if a run goes on.

    Collective. None is fast mode: asked for, or by `mode = "auto"` where exact mode costs something
    or can't be had here. Raises on all ranks: RunFileError where "shared" is asked for and can't be
    had, or where leaves are fewer than ranks; UsageError where ranks, or this machine and the one
    of `recorded`, do not compute the same bits.
    """
    settings, targets = model.settings.reproducibility, (classes, outputs)
    auto = settings.mode == "auto" and recorded is None
    if settings.mode == "fast":
        return None
    if auto:
        with comm.together("choosing the mode"):
            dear = costs(model, sizes, targets)
        if dear:
            return None
    threads = threadpool_limits(settings.blas_threads or 1, "blas")
    with comm.together("probing the arithmetic"), threads:
        cheap = "leaves" if has_images(model.network) else "shared"
        asked = recorded.kind if recorded else cheap if auto else settings.arithmetic
        kind = kind_of(asked, model, sizes, targets)
        refuse_fewer_leaves(kind, settings.leaves, comm.size)
        mine, steady = probed(kind, model, sizes, targets)
        if not auto:
            refuse_unsteady(steady)
    everyone = comm.collect((mine, steady))
    first = everyone[0][0]
    if auto and not all(there.same_bits(first, 4) and steady for there, steady in everyone):
        return None
    with comm.together("probing the arithmetic"):
        refuse_other_bits(mine, first, "rank 0", comm)
        refuse_other_bits(mine, recorded or mine, RECORDED, comm)
    return mine


def probed(
    kind: str, model: Predictor, sizes: Sequence[int], targets: tuple[int, int]
) -> tuple[Arithmetic, bool]:
    """Return what this rank computes with, and whether it gave the same bits twice."""
    leaves, accumulate = model.settings.reproducibility.leaves, model.settings.training.accumulate
    shared, parts = kind == "shared", leaf_sizes(sizes, leaves, accumulate)
    rows = max(sizes[0] if shared else parts[0], BLOCK_ROWS)
    probe = Probe(model, rows, *targets)
    plan = probe.divisible(sizes) if shared else Plan(True, 1, False, ())
    passes = [*(sizes if shared else ()), *(parts if plan.alone else ())]
    # After the plan: products are computed in its tiles now, as in training.
    digest = probe.digest(passes)
    return Arithmetic(kind, leaves, plan, str(blas()), digest), digest == probe.digest(passes)


def costs(model: Predictor, sizes: Sequence[int], targets: tuple[int, int]) -> bool:
    """Return True where exact mode costs time to speak of, whatever the ranks.

    That is by leaves, but where filters take most of the time, which are computed image by image
    in any case; and by shared products that move more than a little. A way to sum gradients that is
    asked for is fast mode's.
    """
    network, settings = model.network, model.settings
    if has_images(network) and settings.communication.sum == "auto":
        return settings.reproducibility.arithmetic == "shared"
    if settings.reproducibility.arithmetic == "leaves" or settings.communication.sum != "auto":
        return True
    if why_not_shared(model, sizes, targets):
        return True
    return too_much(network, sizes[0]) and moved(network, sizes[0]) > LITTLE


def has_images(network: Network) -> bool:
    """Return True where all layers are disttrain's own, on a processor, and there are filters."""
    kinds = [type(layer) for layer in network.layers]
    own = all(kind in BUILT_IN.values() for kind in kinds)
    return own and network.device.kind == "cpu" and Conv in kinds


def refuse_fewer_leaves(kind: str, leaves: int, ranks: int) -> None:
    """Raise RunFileError where ranks would have no leaf. Shared products need no leaf a rank."""
    if kind == "leaves" and ranks > leaves:
        raise RunFileError(
            f"reproducibility.leaves = {leaves}, but there are {ranks} ranks: a step can be shared "
            f"by at most as many; start {leaves} ranks, or give a new run leaves = {ranks}"
        )


def leaf_sizes(sizes: Sequence[int], leaves: int, accumulate: int = 1) -> list[int]:
    """Return the different numbers of rows that leaves, or parts of them, can have."""
    division = Leaves(0, 1, leaves, alone=True)
    division.accumulate = accumulate
    found = {part.high - part.low for rows in sizes for part in division.parts(rows)}
    return sorted(found, reverse=True)


def kind_of(kind: str, model: Predictor, sizes: Sequence[int], targets: tuple[int, int]) -> str:
    """Return "leaves" or "shared"; raise RunFileError where the one asked for can't be had."""
    reason = why_not_shared(model, sizes, targets)
    if kind == "shared" and reason:
        raise RunFileError(
            f'reproducibility.arithmetic = "shared" is not possible: {reason}; use "leaves"'
        )
    if kind == "auto":
        return "leaves" if reason or too_much(model.network, sizes[0]) else "shared"
    return kind


def why_not_shared(model: Predictor, sizes: Sequence[int], targets: tuple[int, int]) -> str:
    """Return why the gradients can't be products over the whole batch, or an empty string."""
    reason = why_not_products(model.network, sizes)
    if model.settings.training.accumulate > 1:
        reason = reason or "training.accumulate cuts the batch into passes"
    if not reason and not loss_of_each(model, *targets):
        reason = "the loss must return one number for each sample, not their sum"
    return reason


def why_not_products(network: Network, sizes: Sequence[int]) -> str:
    """Return why the gradients can't be products over the whole batch, or an empty string."""
    if network.device.kind != "cpu":
        return "it is for processors, not GPUs"
    if not network.rowwise:
        return "not every layer is declared `rowwise = True` (each row computed by itself)"
    if sizes[0] > PIECE_ROWS:
        return f"a global batch of {sizes[0]} rows is more than {PIECE_ROWS}"
    if not multipliable(network.layout):
        return "not every layer has a weight that decays, and a bias that does not"
    return "" if products_of(network.layout) else "the network has no weights"


def loss_of_each(model: Predictor, classes: int, outputs: int) -> bool:
    """Return True where the loss returns one number for each sample."""
    inputs, targets = synthetic(model, 2, classes, outputs)
    outputs, _ = model.network.forward(inputs, Pass())
    found, _ = model.loss.forward(outputs, targets, model.loss_context)
    return np.shape(found) == (2,)


def too_much(network: Network, rows: int) -> bool:
    """Return True where sharing a batch would send much more than the gradients are."""
    return moved(network, rows) > MOST * network.layout.length


def moved(network: Network, rows: int) -> int:
    """Return the numbers of a batch that are shared: inputs and gradients of all layers."""
    return rows * sum(p.inputs + p.units for p in products_of(network.layout))


def refuse_unsteady(steady: bool) -> None:
    """Raise UsageError where the same pass gave other bits the second time."""
    if not steady:
        raise UsageError(
            f"the same pass gives other bits the second time here (BLAS: {blas()}): exact mode "
            'needs a BLAS that repeats itself, as OpenBLAS does; or use mode = "fast"'
        )


def refuse_other_bits(here: Arithmetic, there: Arithmetic, where: str, comm: Communicator) -> None:
    """Raise UsageError where this rank computes other bits than `there`."""
    # The grids of gradients change no bits, only which rank computes which rows: so they may differ
    # from those of the run so far, but not between ranks.
    facts = 3 if where == RECORDED else 4
    if not here.same_bits(there, facts):
        raise UsageError(
            f"{comm.host} computes other bits than {where} (BLAS here: {here.blas}; there: "
            f"{there.blas}): exact mode needs processors of one kind and one BLAS; set "
            "OPENBLAS_CORETYPE alike everywhere, or "
            + ("go on with --accept-changes, to another result" if where == RECORDED
               else 'use reproducibility.mode = "fast"')
        )  # fmt: skip
