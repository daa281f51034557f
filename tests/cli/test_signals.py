"""USR1, TERM and INT mean: save, end with 75, leave nothing running, and lose nothing."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.shell import ROOT, wait_for

pytestmark = pytest.mark.timeout(240)
SIGNALS = ["SIGUSR1", "SIGTERM", "SIGINT"]
# Ends on request only. An interval is 100 steps.
ENDLESS = (
    "train", "run.toml", "--set", "training.epochs=1000000", "--set", "validation.every_epochs=20",
    "--set", "checkpoint.every_epochs=20",
)  # fmt: skip


def under_way(shell, output="out"):
    """Wait until a run is past its second interval."""
    metrics = shell.folder / output / "metrics.jsonl"
    assert wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") > 1)


def over(process, seconds=100):
    """Return the output of a process that ends within `seconds`."""
    return process.communicate(timeout=seconds)


def check_preempted(shell, process):
    """The run ended as it should when asked to: code, sentence, summary, checkpoint."""
    out, err = over(process)
    assert process.returncode == 75, f"{process.returncode}\n{out}\n{err}"
    sentences = [line for line in err.splitlines() if line.startswith("disttrain: ")]
    assert len(sentences) == 1, err
    assert "asked to stop after step" in sentences[0]
    assert f"train {shell.folder / 'out'} --resume` goes on" in sentences[0]
    ranks = shell.summary("out")["ranks"]
    assert ("`disttrain train" if ranks == 1 else f"launch -n {ranks} train") in sentences[0]
    assert "Traceback" not in err
    assert not shell.left_running()
    summary = shell.summary("out")
    assert summary["status"] == "preempted"
    newest = shell.folder / "out" / "checkpoints" / f"step-{summary['steps']:08d}.h5"
    assert newest.is_file()
    return summary


def check_resumed(shell, summary, *launch):
    """A resumed run ends where an undisturbed one of the same ranks does."""
    epochs = int(summary["epochs"]) + 2
    going_on = [*launch, *ENDLESS, "--set", f"training.epochs={epochs}", "--output"]
    resumed = shell.run(*going_on, "out", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert f"resuming after step {summary['steps']}" in resumed.stdout
    whole = shell.run(*going_on, "whole")
    assert whole.returncode == 0, whole.stderr
    assert shell.summary("out")["status"] == "completed"
    assert shell.summary("out")["steps"] == 5 * epochs
    assert shell.summary("out")["digest"] == shell.summary("whole")["digest"]


@pytest.mark.parametrize("name", SIGNALS)
def test_one_rank_alone(shell, name):
    process = shell.start(*ENDLESS, "--output", "out")
    under_way(shell)
    process.send_signal(getattr(signal, name))
    check_resumed(shell, check_preempted(shell, process))


@pytest.mark.parametrize("name", SIGNALS)
def test_the_launcher(shell, name):
    process = shell.start("launch", "-n", 2, *ENDLESS, "--output", "out")
    under_way(shell)
    process.send_signal(getattr(signal, name))
    summary = check_preempted(shell, process)
    assert summary["ranks"] == 2
    if name == "SIGTERM":
        check_resumed(shell, summary, "launch", "-n", 2)


@pytest.mark.parametrize(("name", "rank"), [("SIGUSR1", 1), ("SIGTERM", 0)])
def test_one_rank_of_several(shell, name, rank):
    process = shell.start("launch", "-n", 2, *ENDLESS, "--output", "out")
    under_way(shell)
    os.kill(shell.ranks()[rank], getattr(signal, name))
    check_preempted(shell, process)


def test_a_request_is_kept_while_the_program_starts(shell):
    """Sent as soon as the process listens, long before the first step."""
    process = shell.start(*ENDLESS, "--output", "out")
    assert wait_for(lambda: _listens(process.pid))
    process.send_signal(signal.SIGTERM)
    _, err = over(process)
    assert process.returncode == 75, err
    assert shell.summary("out")["status"] == "preempted"


def test_a_request_in_the_middle_of_an_import_imports_nothing():
    """It would find modules half made: a traceback, and code 1."""
    code = (
        "import os, signal, sys\n"
        "from disttrain.preemption import ASKED\n"
        "ASKED.listen()\n"
        "before = set(sys.modules)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.exit(ASKED.signal != 'SIGTERM' or set(sys.modules) != before)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    "delay", [0.0, 0.3, *(pytest.param(d, marks=pytest.mark.long) for d in (0.15, 0.5, 0.8))]
)
def test_a_request_to_the_launcher_while_ranks_start(shell, delay):
    """Whenever it comes: the run ends as preempted and nothing stays."""
    process = shell.start("launch", "-n", 2, *ENDLESS, "--output", "out")
    assert wait_for(lambda: _listens(process.pid))
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    _, err = over(process)
    assert process.returncode == 75, err
    assert not shell.left_running()


def _listens(pid):
    """Whether a process has set a handler for USR1, as /proc says."""
    with open(f"/proc/{pid}/status") as status:
        caught = next(line for line in status if line.startswith("SigCgt")).split()[1]
    return int(caught, 16) >> (signal.SIGUSR1 - 1) & 1


ENDED_AT_ONCE = (
    "disttrain: interrupted twice: ended at once; --resume goes on from what was saved\n"
)


@pytest.mark.parametrize("launch", [(), ("launch", "-n", 2)])
def test_a_second_interrupt_ends_at_once(shell, launch):
    process = shell.start(*launch, *ENDLESS, "--output", "out")
    under_way(shell)
    # The ranks can't answer the first one: that leaves time for the second.
    stopped = list(shell.ranks().values())
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    if not launch:
        os.kill(process.pid, signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        os.kill(process.pid, signal.SIGCONT)
        process.send_signal(signal.SIGINT)
        over(process)
        # The first may have been enough: then it ended as preempted.
        assert process.returncode in (130, 75)
    else:
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said = over(process)[1]
        assert process.returncode == 130
        assert said.count(ENDED_AT_ONCE) == 1, said
    assert not shell.left_running()


def test_a_second_interrupt_says_what_it_does():
    code = (
        "import os, signal\n"
        "from disttrain.preemption import ASKED\n"
        "ASKED.listen()\n"
        "for _ in range(2):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stderr) == (130, ENDED_AT_ONCE)


def test_no_rank_outlives_a_killed_launcher(shell):
    process = shell.start("launch", "-n", 2, *ENDLESS, "--output", "out")
    under_way(shell)
    assert len(shell.ranks()) == 2
    process.kill()
    process.wait(100)
    assert not shell.left_running()
    resumed = shell.run(
        "launch", "-n", 2, *ENDLESS, "--output", "out", "--resume",
        "--set", "training.epochs=1",
    )  # fmt: skip
    # It has done more than one epoch by now: there is nothing left to do but the summary.
    assert resumed.returncode == 0, resumed.stderr


def test_a_signal_at_the_very_end_is_not_an_error(shell):
    """Asked to stop in the last step: it is done, not preempted."""
    process = shell.start("train", "run.toml", "--output", "out", "--set", "training.epochs=1")
    assert wait_for(lambda: (shell.folder / "out" / "summary.json").exists())
    process.send_signal(signal.SIGTERM)
    over(process)
    assert process.returncode == 0
    assert shell.summary("out")["status"] == "completed"


def test_a_launch_whose_reader_goes_away_saves_and_ends_with_75(shell):
    """As in `disttrain launch -n 2 train run.toml | head -3`."""
    process = shell.start("launch", "-n", 2, *ENDLESS, "--output", "out")
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(100) == 75
    assert shell.summary("out")["status"] == "preempted"
    assert not shell.left_running()
