"""`python -m tests.mpi.driver ARGUMENTS`: `disttrain ARGUMENTS` with one thing broken on one rank.

The environment says what: FAULT = "how at place on rank", as in "exception at forward on 1" or
"flip at step 5 on 0", several with "; " between them; PACE = "0.002" has every step take so many
seconds more. `launch` starts its ranks as drivers too, so that nothing of this is in the package.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from disttrain import __main__ as command
from disttrain import launch
from disttrain.environment import launched

# Exceptions that are not errors: they pass by `except Exception`.
EXITS = {"interrupt": KeyboardInterrupt, "generator-exit": GeneratorExit, "memory": MemoryError}
# The step at which those faults happen that belong to a step.
STEP = 6


def fail(how: str) -> None:
    """Do to this process what `how` says."""
    from disttrain.errors import DataError

    if how == "exception":
        raise RuntimeError("injected fault")
    if how == "data-error":
        raise DataError("injected bad row")
    if how in EXITS:
        raise EXITS[how]
    if how == "move" and Path("out").exists():
        Path("out").rename("out.moved")
    if how == "sleep":
        time.sleep(300)
    if how in ("STOP", "KILL", "TERM", "SEGV"):
        os.kill(os.getpid(), getattr(signal, f"SIG{how}"))
    if how == "lost":
        lose_another()
    if how.startswith("os._exit"):
        os._exit(int(how.removeprefix("os._exit")))
    if how.startswith("sys.exit"):
        sys.exit(int(how.removeprefix("sys.exit")))


def lose_another() -> None:
    """Wait until another rank is dead, then raise what MPI does for a call in which it died.

    A collective call may have ended on some ranks before, and so without an error.
    """
    from mpi4py import MPI

    from disttrain.comm.failures import dead_in

    end = time.monotonic() + 20
    while not dead_in(MPI.COMM_WORLD) and time.monotonic() < end:
        time.sleep(0.01)
    raise MPI.Exception(MPI.ERR_PROC_FAILED)


def after_once(owner: object, name: str, how: str) -> None:
    """Have the first call of `owner.name` fail when it is done."""
    real, waiting = getattr(owner, name), [how]

    def broken(*arguments, **options):
        value = real(*arguments, **options)
        if waiting:
            fail(waiting.pop())
        return value

    setattr(owner, name, broken)


def before(owner: object, name: str, how: str, at: int = 0) -> None:
    """Have call number `at` of `owner.name`, and those after it, fail first."""
    real, calls = getattr(owner, name), iter(range(10**9))

    def broken(*arguments, **options):
        if next(calls) >= at:
            fail(how)
        return real(*arguments, **options)

    setattr(owner, name, broken)


def at_step(step: int, how: str) -> None:
    """Fail, or flip a bit of a weight, when the gradients of `step` are to be computed."""
    import numpy as np

    def broken(run, at):
        if at == step:
            if how == "flip":
                weight = run.network.tensors(run.network.values)["dense1/weight"]
                weight.reshape(-1).view(np.uint32)[7] ^= np.uint32(1 << 13)
            else:
                fail(how)

    before_each_step(broken)


def before_each_step(action) -> None:
    """Call `action(run, step)` before the work of each step, eager or recorded."""
    from disttrain.training import trainer
    from disttrain.training.recorded.step import Recording

    compute, prepare = trainer.compute_gradients, Recording.prepare

    def eager(run, step):
        action(run, step)
        return compute(run, step)

    def recorded(recording, step, rate):
        action(recording._run, step)
        return prepare(recording, step, rate)

    trainer.compute_gradients, Recording.prepare = eager, recorded


def in_training(owner: object, name: str, how: str, at: int = 0) -> None:
    """As `before`, counted from the beginning of the training: the probe computes too."""
    from disttrain.training import trainer

    begin = trainer.begin

    def begun(*arguments):
        before(owner, name, how, at)
        return begin(*arguments)

    trainer.begin = begun


def slow_down(seconds: float) -> None:
    """Have each step take longer, so that a run can be met in the middle of it."""
    before_each_step(lambda run, step: time.sleep(seconds))


def inject(how: str, place: str) -> None:
    """Break `place` in this process."""
    from disttrain import config
    from disttrain.api.progress import Progress
    from disttrain.comm import world
    from disttrain.data import Batches, dataset
    from disttrain.model import Network
    from disttrain.runs import folder, saving
    from disttrain.training import trainer
    from disttrain.training.optimizer import Optimizer

    if place.startswith("step "):
        at_step(int(place.removeprefix("step ")), how)
        return
    if place == "end of saving":
        after_once(folder.RunFolder, "save", how)
        return
    if place == "backward":
        forward, begin = Network.forward, trainer.begin

        def half(self, inputs, pass_):
            outputs, _ = forward(self, inputs, pass_)
            return outputs, lambda *_: fail(how)

        def begun(*arguments):
            Network.forward = half
            return begin(*arguments)

        trainer.begin = begun
        return
    if place == "the sum":
        # First of all: it sets what MPI reads when it starts.
        import disttrain.comm.ranks  # noqa: F401
        from disttrain.comm.gathers.ways import WindowGather
        from disttrain.comm.sums.window import Window
        from disttrain.training.recorded import Recordings

        # A recorded sum is inside a call into C.
        Recordings.of = lambda recordings, step: None
        before(Window, "finish", how, STEP)
        before(WindowGather, "complete", how, STEP)
        return
    owner, name, at = {
        "joining": (world, "_join", 0),
        "configuration": (config, "read", 0),
        "opening data": (dataset, "read_facts", 0),
        "reading a batch": (Batches, "parts_of", STEP),
        "forward": (Network, "forward", STEP),
        "update": (Optimizer, "step", STEP),
        "validation": (Network, "predict", 0),
        "saving": (saving, "write_atomically", 0),
        "callback": (Progress, "on_interval", 0),
        "callback at start": (Progress, "on_start", 0),
        "callback in a step": (Progress, "on_step", STEP),
        "callback at end": (Progress, "on_end", 0),
    }[place]
    (in_training if owner is Network else before)(owner, name, how, at)


def main() -> None:
    """Break what the environment says if this is the rank, then do what `disttrain` does."""
    supervise = launch.supervise

    def as_drivers(launcher, ranks, program, *rest):
        driver = [argument.replace("disttrain", __spec__.name) for argument in program[:3]]
        return supervise(launcher, ranks, [program[0], *driver[1:], *program[3:]], *rest)

    launch.supervise = as_drivers
    job, fault = launched(), os.environ.get("FAULT")
    if job and fault:
        for each in fault.split("; "):
            how, rest = each.split(" at ", 1)
            place, rank = rest.rsplit(" on ", 1)
            if job.rank == int(rank):
                inject(how, place)
    if job and "PACE" in os.environ:
        slow_down(float(os.environ["PACE"]))
    command.main()


if __name__ == "__main__":
    main()
