"""Going on with a run on other ranks: what depends on the ranks is made again, the rest goes on."""

from __future__ import annotations

import numpy as np

from disttrain.arrays import checksum
from disttrain.errors import LostRanks
from disttrain.training.run import Run
from disttrain.training.stage import Done
from disttrain.training.work import divide

__all__ = ["go_on_with_others", "stand_down"]


def go_on_with_others(run: Run) -> None:
    """Bring all ranks to the state of the one that is furthest, and divide the work again.

    Collective over the ranks that are left. Each has a whole replica, and none is more than a step
    behind, but for spares: a step ends only when all have taken part in its sum. Data, settings,
    weights and slots stay where they are; the ledger is what it must be after so many steps.
    """
    agree_on_state(run)
    stand_down(run)


def stand_down(run: Run) -> None:
    """Have the spares wait, where there are any, and divide the work among the other ranks.

    Collective. It returns on ranks that work only, see `Communicator.stand_down`.
    """
    run.stage.spare = run.comm.rank >= run.comm.workers
    run.comm.stand_down()
    run.work = divide(run, run.dataset, run.optimizer, run.arithmetic)
    run.__dict__.pop("recordings", None)
    run.state.used, run.state.used_count = run.work.ledger.up_to(run.state.step)


def agree_on_state(run: Run) -> None:
    """Give the ranks that are behind the state of the one that is furthest. Collective."""
    comm, stage, told = run.comm, run.stage, run.stage.told
    if stage.done == Done.AUDITED and stage.before is not None:
        # The end of an interval is done again as a whole.
        run.state, stage.before = stage.before, None
    places = comm.collect((not stage.spare, run.state.step, stage.done))
    source = places.index(max(places))
    if not places[source][0]:
        with comm.together("going on without lost ranks"):
            raise LostRanks(
                "all ranks that worked have died, and no spare has their state: --resume goes on "
                "from the newest checkpoint"
            )
    behind = places[comm.rank] != places[source]
    found = comm.share((run.state, stage), source)
    if len(set(places)) > 1:
        copy_replica(run, source, behind)
    # Only now: where a rank dies before, all this is done again from where the ranks stood.
    run.state, run.stage = found
    run.stage.told = told


def copy_replica(run: Run, source: int, behind: bool) -> None:
    """Give the ranks that are `behind` the weights and slots of rank `source`. Collective."""
    comm, device, optimizer = run.comm, run.network.device, run.optimizer
    copies = [np.array(device.get(vector)) for vector in optimizer.vectors.values()]
    for host in copies:
        comm.broadcast(host, source)
    best, read = comm.share((run.best, optimizer.checksum_read), source)
    sums = comm.collect([checksum(host) for host in copies])
    if any(other != sums[source] for other in sums):
        raise RuntimeError("weights changed on their way between ranks")
    if behind:
        for vector, host in zip(optimizer.vectors.values(), copies, strict=True):
            device.put(host, vector)
        run.best, optimizer.checksum_read = best, read
