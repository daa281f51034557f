"""KeyboardInterrupt, SystemExit and the like on one rank: its own there, and all end at once."""

import pytest

import disttrain
from disttrain.errors import RankFailure, exit_code_of
from disttrain.runs import saving
from disttrain.training import Callback, evaluation
from tests.cli.shell import blobs

# The exception that one rank raises, the cause that the others name, their exit code.
KINDS = {
    "interrupt": (KeyboardInterrupt, "KeyboardInterrupt", 1),
    "exit": (lambda: SystemExit(3), "ended by sys.exit(3); --resume goes on", 5),
    "generator": (GeneratorExit, "GeneratorExit", 1),
    "memory": (lambda: MemoryError("no room"), "MemoryError: no room", 1),
}
LIMIT = pytest.mark.timeout(20)


@pytest.fixture(scope="module")
def settings(made):
    return disttrain.parse(f"""
        [data]
        path = "{made("exits.h5", blobs, 120, validation=3200)}"
        [model]
        layers = [{{ units = 5, activation = "relu" }}, {{ units = 3 }}]
        [training]
        epochs = 2
        batch_size = 30
        [device]
        kind = "cpu"
        [validation]
        on = "all"
    """)


def once(error):
    """A function that raises `error` when it is called for the second time, and never again."""
    turns = iter([None, error])

    def fail(*arguments, **options):
        if found := next(turns, None):
            raise found

    return fail


def check(comm, error, rank, phase, kind, work):
    """Do `work`, in which `rank` raises `error`; compare what each rank sees."""
    with pytest.raises(BaseException) as caught:
        work()
    seen, (_, cause, code) = caught.value, KINDS[kind]
    assert exit_code_of(seen) == code
    if comm.rank == rank and not isinstance(error, Exception):
        assert seen is error
    else:
        assert type(seen) is RankFailure
        # What a script reads names the argument instead of the option.
        said = seen.cause.replace("resume=True", "--resume")
        assert (seen.rank, seen.phase, said) == (rank, phase, cause)
    assert comm.collect(comm.rank) == list(range(comm.size))


@LIMIT
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("who", ["first", "last"])
def test_in_a_phase(comm, kind, who):
    rank, error = 0 if who == "first" else comm.size - 1, KINDS[kind][0]()

    def work():
        with comm.together("opening data"):
            if comm.rank == rank:
                raise error

    check(comm, error, rank, "opening data", kind, work)


@LIMIT
def test_each_of_several_ranks_raises_its_own(comm):
    errors = [KeyboardInterrupt(), ValueError("bad")]
    with pytest.raises(BaseException) as caught, comm.together("opening data"):
        raise errors[comm.rank % 2]
    seen = caught.value
    assert seen is errors[0] if comm.rank % 2 == 0 else isinstance(seen, RankFailure)


@LIMIT
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["exact", "leaves", "fast", "buckets"])
def test_in_a_step(comm, settings, monkeypatch, kind, mode):
    """The rank still sends its message, so the others leave the sum that they wait in."""
    changes = {
        "exact": {},
        "leaves": {"reproducibility": {"arithmetic": "leaves"}},
        "fast": {"reproducibility": {"mode": "fast"}},
        "buckets": {
            "reproducibility": {"mode": "fast"},
            "communication": {"sum": "buckets", "bucket_mib": 1e-5},
        },
    }
    run = disttrain.build(settings.replace(**changes[mode]), comm=comm)
    rank, error = comm.size - 1, KINDS[kind][0]()
    if comm.rank == rank:
        real, fail = run.loss.forward, once(error)

        def forward(*arguments):
            fail()
            return real(*arguments)

        monkeypatch.setattr(run.loss, "forward", forward)
    check(comm, error, rank, "forward (step 1)", kind, lambda: disttrain.fit(run))
    assert run.state.step == 1
    # Nothing of it is left in the sum: the same run goes on to its end.
    disttrain.fit(run)
    assert run.state.step == run.total_steps
    assert len(set(comm.collect(run.digest()))) == 1


@LIMIT
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["on_start", "on_step", "on_interval", "on_end"])
def test_in_a_callback(comm, settings, together_path, kind, place):
    error = KINDS[kind][0]()
    turn = once(error)

    class Breaks(Callback):
        pass

    def fail(self, *arguments):
        if place in ("on_start", "on_end"):
            turn()
        turn()

    setattr(Breaks, place, fail)
    phase = "callback (step 1)" if place == "on_step" else "callback"
    folder = together_path / f"callback-{kind}-{place}"

    def work():
        disttrain.train(settings, folder, callbacks=[Breaks()], comm=comm)

    check(comm, error, 0, phase, kind, work)
    check_summary(comm, folder, "completed" if place == "on_end" else "failed")


@LIMIT
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["validation", "saving"])
def test_in_validation_and_saving(comm, settings, together_path, monkeypatch, kind, place):
    rank = comm.size - 1 if place == "validation" else 0
    error, folder = KINDS[kind][0](), together_path / f"{place}-{kind}"
    fail = once(error)
    owner, name = {
        "validation": (evaluation, "samples_of"),
        "saving": (saving, "write_atomically"),
    }[place]
    if comm.rank == rank:
        real = getattr(owner, name)

        def broken(*arguments):
            if place == "validation":
                fail()
            fail()
            return real(*arguments)

        monkeypatch.setattr(owner, name, broken)
    check(comm, error, rank, place, kind, lambda: disttrain.train(settings, folder, comm=comm))
    check_summary(comm, folder, "failed")


def check_summary(comm, folder, status):
    if comm.is_root:
        import json

        summary = json.loads((folder / "summary.json").read_text())
        assert summary["status"] == status
        assert len(summary["failures"]) == (status == "failed")
    comm.barrier()
