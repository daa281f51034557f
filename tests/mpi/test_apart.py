"""Scripts in which one rank calls what the others do not: the job ends at once, and says who."""

import pytest

pytestmark = pytest.mark.timeout(150)
SCRIPT = """
import os, subprocess, sys, time
import disttrain

comm = disttrain.connect()
settings = disttrain.settings("blobs.h5", layers=[3], epochs=1, seed=1, communication=LIMIT)
run = disttrain.build(settings)
X = [[0.0] * 5]
"""


def spoken(result):
    """What disttrain said on standard error; mpirun puts a blank before some lines."""
    lines = [line.strip() for line in result.stderr.splitlines()]
    return [line.removeprefix("disttrain: ") for line in lines if line.startswith("disttrain: ")]


def sentence(result, code):
    """The one sentence of a job that ended with this code."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    (said,) = spoken(result)
    return said


def started(shell, body, ranks=2, limit=600, **environment):
    """Run a script on some ranks."""
    text = SCRIPT.replace("LIMIT", f"{{'deadline_seconds': {limit}}}")
    (shell.folder / "script.py").write_text(f"{text}{body}\n")
    return shell.run(
        "launch", "-n", ranks, "python", "script.py", env=environment, timeout=100, prefix=[]
    )


@pytest.mark.parametrize("ranks", [2, 3, pytest.param(4, marks=pytest.mark.long)])
def test_a_call_of_rank_0_alone_at_the_end(shell, ranks):
    said = sentence(started(shell, "if comm.is_root:\n    run.predict(X)", ranks), 5)
    others = "rank 1" if ranks == 2 else f"ranks {', '.join(map(str, range(1, ranks)))}"
    assert said == (
        f"the ranks did not make the same call: rank 0: predict, at script.py:10; {others}: has "
        "left its script; every rank must make the same calls in the same order, outside of "
        "`if comm.is_root:`"
    )


def test_the_lines_where_ranks_parted_are_named(shell):
    body = "if comm.is_root:\n    run.predict(X)\nrun.predict(X)\nrun.use_best()"
    said = sentence(started(shell, body), 2)
    assert "rank 0: predict, at script.py:11; rank 1: use_best, at script.py:12" in said
    assert "(first at different lines: rank 0: predict, at script.py:10; rank 1: predict" in said


def test_the_deadline_names_the_rank_that_did_not_come(shell):
    body = "if comm.rank:\n    time.sleep(90)\nrun.predict(X)"
    result = started(shell, body, limit=6, DISTTRAIN_NOTICE_SECONDS="2")
    assert result.returncode == 5
    waits, ends = spoken(result)
    assert "rank 0 has waited 2 s in predict for ranks that did not call it" in waits
    assert "rank 1 on " in ends
    assert "has been in 'the script' since " in ends
    assert "past the deadline of 6 s (rank 0 waited for it)" in ends
    assert (
        "rank 0: predict, at script.py:11; rank 1: in no collective call, at script.py:10" in ends
    )


def test_rank_0_that_leaves_by_sys_exit_in_a_callback_is_named(shell):
    body = """
class Leaves(disttrain.Callback):
    def on_interval(self, run, report):
        sys.exit(0)

disttrain.train(settings, "out", callbacks=[Leaves()])"""
    said = sentence(started(shell, body), 5)
    assert said.startswith("rank 0 failed in callback: ended by sys.exit(0)")


def test_processes_that_a_rank_starts_are_no_ranks(shell):
    """They inherit the launcher's variables."""
    body = """
if comm.is_root:
    code = "import disttrain; print('size', disttrain.connect().size)"
    subprocess.run([sys.executable, "-c", code], check=True)
    if not os.fork():
        print("size", disttrain.connect().size, flush=True)
        os._exit(0)
    os.wait()
run.predict(X)"""
    result = started(shell, body)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["size", "1", "size", "1"]


def test_a_script_that_ends_at_different_times_is_fine(shell):
    result = started(shell, "run.predict(X)\nif comm.is_root:\n    time.sleep(3)")
    assert result.returncode == 0, result.stderr
    assert not result.stderr
