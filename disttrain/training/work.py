"""The parts of a run that depend on the ranks: batches, reducer, ledger, audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from disttrain.data import (
    Batches,
    BlockShuffle,
    Dataset,
    Division,
    Leaves,
    Shares,
    batch_sizes,
)
from disttrain.training.exact.arithmetic import Arithmetic
from disttrain.training.exact.threads import steady_threads
from disttrain.training.exact.tiles import tiles_at_once
from disttrain.training.integrity.audit import Audit
from disttrain.training.integrity.ledger import Ledger
from disttrain.training.optimizer import Optimizer
from disttrain.training.pace import Pace
from disttrain.training.predictor import Predictor
from disttrain.training.reducers import (
    BatchSums,
    LeafReducer,
    ProductReducer,
    Reducer,
    ShareReducer,
)
from disttrain.training.suitability import refuse_cut_batches
from disttrain.training.weighing import counts_of

__all__ = ["Work", "divide"]


@dataclass(frozen=True)
class Work:
    """What depends on the ranks; data, settings, weights and state stand in `Run`.

    `batches` are the global batches with this rank's part of them, `reducer` adds gradients over
    ranks, `ledger` counts the samples used, `audit` compares the replicas, `pace` finds
    stragglers; `batch_sums` is for layers that need sums over the global batch; `threads` are the
    BLAS threads of an exact run on this rank.
    """

    batches: Batches
    reducer: Reducer
    ledger: Ledger
    audit: Audit
    pace: Pace
    batch_sums: BatchSums | None = None
    threads: int | None = None

    def begin_step(self, step: int) -> BatchSums | None:
        """Forget a step that was not completed; return what adds sums over the batch, if any."""
        self.ledger.begin_step()
        if self.batch_sums:
            self.batch_sums.begin(self.batches.rows(step))
        return self.batch_sums


def divide(
    model: Predictor, dataset: Dataset, optimizer: Optimizer, arithmetic: Arithmetic | None
) -> Work:
    """Return the work for the ranks of `model.comm`; `arithmetic` is None in fast mode. Collective.

    Every batch has the same samples whatever the ranks, and in exact mode the sums the same bits.
    """
    settings, comm, size = model.settings, model.comm, model.settings.training.batch_size
    train, threads = dataset.splits["train"], None
    order = BlockShuffle(train.count, settings.seed, settings.data.block_rows)
    sizes = batch_sizes(train.count, size)
    division, reducer = reducing(model, sizes, arithmetic)
    division.accumulate = settings.training.accumulate
    counts = counts_of(train, model.loss)
    batches = Batches(train, order, size, model.feed, division, counts)
    audit = Audit(comm, model.network, optimizer, settings.reproducibility.audit)
    sums = None
    if model.network.asked:
        with comm.together("building the network"):
            refuse_cut_batches(settings, division, sizes)
        sums = BatchSums(comm, division, sizes[0], model.network.asked)
    if arithmetic:
        with comm.together("probing the arithmetic"):
            reducer.tiles = tiles_at_once(model, sizes, division, arithmetic.plan)
            threads = steady_threads(model, sizes, dataset, division, arithmetic, reducer.tiles)
    return Work(batches, reducer, Ledger(comm, batches), audit, Pace(comm), sums, threads)


def reducing(
    model: Predictor, sizes: Sequence[int], arithmetic: Arithmetic | None
) -> tuple[Division, Reducer]:
    """Return how global batches of `sizes` rows are divided, and their gradients added."""
    comm, network = model.comm, model.network
    if arithmetic is None:
        return Shares(comm.rank, comm.size), ShareReducer(comm, network, model.settings)
    plan = arithmetic.plan
    division = Leaves(comm.rank, comm.size, arithmetic.leaves, plan.alone, plan.grid)
    if arithmetic.kind == "shared":
        return division, ProductReducer(comm, network, division, sizes, plan)
    return division, LeafReducer(comm, network, division, sizes, bool(network.asked))
