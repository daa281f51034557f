"""What a training says and writes down: a file for each rank, silence on request, no colours."""

import json
import os
import signal

import pytest

from tests.cli.shell import wait_for

pytestmark = pytest.mark.timeout(240)
RANKS = 3
TRAIN = ("launch", "-n", RANKS, "train", "run.toml", "--output", "out")


def journals(shell):
    return {
        path.name: [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted((shell.folder / "out" / "logs").iterdir())
    }


def of(lines, event):
    return [line for line in lines if line["event"] == event]


def test_each_rank_writes_its_own_file(shell):
    result = shell.run(*TRAIN)
    assert result.returncode == 0, result.stderr
    written = journals(shell)
    assert list(written) == [f"rank-{rank:04d}.jsonl" for rank in range(RANKS)]
    pids = set()
    for rank, lines in enumerate(written.values()):
        assert {line["rank"] for line in lines} == {rank}
        assert {line["host"] for line in lines} == {os.uname().nodename}
        assert [lines[0]["event"], lines[-1]["event"]] == ["start", "end"]
        assert lines[0]["ranks"] == RANKS
        assert lines[0]["cores"]
        (ready,) = of(lines, "ready")
        assert ready["device"] == "cpu"
        pids.add(lines[0]["pid"])
    assert len(pids) == RANKS
    first, *others = written.values()
    assert [line["step"] for line in of(first, "interval")] == [5, 10, 15]
    assert [line["step"] for line in of(first, "saved")] == [5, 10, 15]
    assert of(first, "summary")[0]["digest"] == shell.summary("out")["digest"]
    assert all(not of(lines, "interval") for lines in others)


def test_a_resumed_run_goes_on_in_the_file_and_another_one_replaces_it(shell):
    shell.run("train", "run.toml", "--output", "out")
    more = ("--resume", "--set", "training.epochs=4")
    assert shell.run("train", "run.toml", "--output", "out", *more).returncode == 0
    (lines,) = journals(shell).values()
    assert [line["step"] for line in of(lines, "ready")] == [0, 15]
    assert any("training.epochs" in line["text"] for line in of(lines, "said"))
    assert shell.run("train", "run.toml", "--output", "out", "--overwrite").returncode == 0
    (lines,) = journals(shell).values()
    assert len(of(lines, "start")) == 1


def test_quiet_says_nothing_of_a_run_that_goes_well(shell):
    result = shell.run(*TRAIN, "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert shell.summary("out")["status"] == "completed"


def test_quiet_still_warns_and_fails_in_one_sentence(shell):
    shell.run("train", "run.toml", "--output", "out")
    newest = max((shell.folder / "out" / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    more = ("--quiet", "--resume", "--set", "training.epochs=4")
    result = shell.run("train", "run.toml", "--output", "out", *more)
    assert result.returncode == 0
    assert result.stdout == ""
    assert f"{newest.name}.damaged" in result.stderr
    assert all(line.startswith("warning: ") for line in result.stderr.splitlines())
    bad = shell.run("train", "nowhere.toml", "--quiet")
    assert bad.returncode == 2
    assert bad.stderr.startswith("disttrain: ")


def test_verbose_says_what_each_rank_does(shell):
    result = shell.run(*TRAIN, "--verbose")
    assert result.returncode == 0
    host = os.uname().nodename
    for rank in range(RANKS):
        assert f"rank {rank} ({host}): ready: device cpu, sum products" in result.stderr
    assert f"rank 0 ({host}): saved: step 5, " in result.stderr
    assert all(line.startswith("rank ") for line in result.stderr.splitlines())
    assert "completed after 3 epochs" in result.stdout


def test_quiet_and_verbose_exclude_each_other(shell):
    result = shell.run("train", "run.toml", "--quiet", "--verbose")
    assert result.returncode == 2
    assert "--quiet or --verbose" in result.stderr


@pytest.mark.parametrize("name", ["NO_COLOR", ""])
def test_no_color_no_escape_codes(shell, name):
    """On a terminal there is a moving bar, unless NO_COLOR is set to anything."""
    environment = {"DISTTRAIN_TERMINAL": "1", "TERM": "xterm-256color", "COLUMNS": "100"}
    result = shell.run("train", "run.toml", env=environment | ({name: "1"} if name else {}))
    assert result.returncode == 0
    assert ("\x1b" in result.stdout + result.stderr) == (not name)


def test_an_empty_no_color_is_none(shell):
    environment = {"DISTTRAIN_TERMINAL": "1", "TERM": "xterm-256color", "NO_COLOR": ""}
    assert "\x1b" in shell.run("train", "run.toml", env=environment).stdout


@pytest.mark.parametrize(
    ("fault", "phase"), [("forward", "forward (step 6)"), ("update", "update")]
)
def test_a_crashed_ranks_file_names_the_phase_and_where(shell, fault, phase):
    result = shell.run(
        *TRAIN, module="tests.mpi.driver", env={"FAULT": f"exception at {fault} on 1"}
    )
    assert result.returncode == 1
    (error,) = of(journals(shell)["rank-0001.jsonl"], "error")
    assert error["level"] == "error"
    assert error["phase"] == phase
    assert error["here"] is True
    assert "injected fault" in error["text"]
    assert "tests/mpi/driver.py" in error["traceback"]
    if fault == "forward":
        (other,) = of(journals(shell)["rank-0002.jsonl"], "error")
        assert other["here"] is False
        assert other["traceback"] == ""


def test_a_rank_that_is_stuck_says_so_before_its_deadline_and_at_it(shell):
    result = shell.run(
        *TRAIN[:3], "--fault-tolerance", "off", *TRAIN[3:], "--set",
        "communication.deadline_seconds=4",
        module="tests.mpi.driver", env={"FAULT": "sleep at reading a batch on 2"},
    )  # fmt: skip
    assert result.returncode == 5
    lines = journals(shell)["rank-0002.jsonl"]
    (near,) = of(lines, "deadline near")
    (passed,) = of(lines, "deadline passed")
    assert near["phase"] == passed["phase"] == "reading a batch"
    assert "rank 2 (" in result.stderr


def test_a_signal_is_written_by_the_rank_that_got_it(shell):
    endless = ("--set", "training.epochs=1000000", "--set", "validation.every_epochs=20")
    process = shell.start(*TRAIN, *endless)
    metrics = shell.folder / "out" / "metrics.jsonl"
    assert wait_for(lambda: metrics.exists() and metrics.read_text())
    os.kill(shell.ranks()[1], signal.SIGUSR1)
    process.communicate(timeout=100)
    assert process.returncode == 75
    written = journals(shell)
    assert of(written["rank-0001.jsonl"], "signal")[0]["signal"] == "SIGUSR1"
    assert not of(written["rank-0002.jsonl"], "signal")
    assert "asked to stop" in of(written["rank-0000.jsonl"], "error")[0]["text"]
