"""Work in a child that is late, dies or ends wrongly: there is an answer all the same."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.shell import wait_for

SCRIPT = """
import os, signal, sys, time
from disttrain.launch.doctor.attend import attend
# As the doctor does: a request that comes before this process can answer waits.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
tell = attend(float(sys.argv[1]), lambda how: print("SAID", how, flush=True))
if tell is None:
    print("END", flush=True)
    sys.exit(0)
print("CHILD", os.getpid(), flush=True)
tell("thinking")
{work}
"""


def start(work, seconds="20"):
    script = SCRIPT.format(work=work)
    return subprocess.Popen(
        [sys.executable, "-c", script, seconds], stdout=subprocess.PIPE, text=True
    )


def run(work, seconds="20"):
    """The lines that are said, without the first, and that the child is gone."""
    process = start(work, seconds)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    first, *lines = out.splitlines()
    assert gone(int(first.split()[1]))
    return lines


def gone(pid):
    return wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 10)


def test_work_that_is_done_needs_no_word():
    assert run("print('WORK'); tell('done')") == ["WORK", "END"]


@pytest.mark.parametrize(
    ("work", "says"),
    [
        ("time.sleep(100)", "thinking: not over after 1 s"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "thinking: the process died by SIGSEGV"),
        ("os._exit(14)", "thinking: the process ended with status 14"),
        ("tell('more'); tell('and more'); os._exit(1)", "and more: the process ended with status"),
    ],
)
def test_what_becomes_of_the_work_is_said(work, says):
    said, end = run(work, "1" if "sleep" in work else "20")
    assert said.startswith(f"SAID {says}")
    assert end == "END"


@pytest.mark.parametrize("work", ["os._exit(9)", "os.kill(os.getpid(), signal.SIGABRT)"])
def test_after_the_report_a_bad_end_is_nobodys_concern(work):
    assert run(f"tell('done'); {work}") == ["END"]


def test_an_end_that_hangs_does_not_take_the_whole_limit(monkeypatch):
    begin = time.monotonic()
    assert run("tell('done'); time.sleep(100)", "90") == ["END"]
    assert time.monotonic() - begin < 60


def test_a_launcher_that_ends_the_job_is_answered():
    process = start("time.sleep(100)")
    child = int(process.stdout.readline().split()[1])
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=30)
    assert "the launcher has ended the job" in rest
    assert process.returncode == 0
    assert gone(child)


@pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's help")
def test_a_child_does_not_outlive_its_parent():
    process = start("time.sleep(100)")
    child = int(process.stdout.readline().split()[1])
    process.kill()
    process.communicate(timeout=30)
    assert gone(child)
