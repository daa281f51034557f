"""A rank that dies in a search costs its group a moment: the table is that of no death."""

import json
import re

import pytest

from tests.mpi.soak import SOON

pytestmark = pytest.mark.timeout(240)
RUN = """
[data]
path = "blobs.h5"
[model]
layers = [{ units = 8, activation = "relu" }, { units = 3 }]
[training]
batch_size = 16
[reproducibility]
mode = "exact"
[device]
kind = "cpu"
"""
STUDY = """
run = "run.toml"
ranks_each = {ranks_each}
metric = "validation_loss"
[[stages]]
candidates = 5
epochs = 3
prune = "halving"
[[stages]]
candidates = 3
epochs = 2
zoom = 0.5
[space]
"schedule.learning_rate" = {{ low = 1e-3, high = 0.3, scale = "log" }}
"""


def without_seconds(path):
    """Return what a file of results says, but for its times."""
    return json.loads(path.read_text(), object_hook=lambda told: told | {"seconds": 0})


def table(shell, output):
    """Return the table of a study, but for its times."""
    return without_seconds(shell.folder / output / "study.json")


@pytest.fixture
def wanted(shell):
    """The table of one undisturbed rank."""
    shell.run_file(RUN)
    shell.run_file(STUDY.format(ranks_each=1), "study.toml")
    assert shell.run("search", "study.toml", "-o", "whole", "-q").returncode == 0
    return table(shell, "whole")


def search(shell, ranks, *faults, ranks_each=1, **options):
    """Search on `ranks` with faults; return how it ended."""
    shell.run_file(STUDY.format(ranks_each=ranks_each), "study.toml")
    given = [f"--inject={fault}" for fault in faults]
    return shell.run(
        "launch", "-n", ranks, "search", "study.toml", "-o", "out", *given, timeout=SOON, **options
    )


CASES = [
    # Ranks, ranks of a group, and the faults.
    (3, 1, ["kill:rank=2,step=5"]),
    (3, 1, ["kill:rank=0,step=5"]),
    (4, 2, ["kill:rank=2,step=5"]),
    (2, 1, ["kill:rank=1,phase=validation"]),
    (4, 1, ["kill:rank=1,step=5", "kill:rank=2,step=5"]),
    (4, 1, ["kill:rank=0,step=3", "kill:rank=1,step=9", "kill:rank=2,step=20"]),
    (3, 1, ["kill:rank=1,phase=going on without", "kill:rank=2,step=5"]),
    (3, 1, ["kill:rank=0,phase=choosing candidates"]),
    (3, 1, ["kill:rank=2,phase=starting"]),
    (3, 1, ["kill:rank=0,phase=reporting a job"]),
    (3, 1, ["kill:rank=0,phase=waiting after the work"]),
    (3, 1, ["kill:rank=0,phase=opening the study"]),
    (2, 1, ["kill:rank=0,phase=writing the study"]),
    (4, 2, ["kill:rank=3,phase=taking the next job"]),
    (4, 2, ["kill:rank=2,phase=saving"]),
    (4, 2, ["kill:rank=2,step=5", "kill:rank=3,step=9"]),
    (4, 3, ["kill:rank=0,step=5", "kill:rank=1,step=9", "kill:rank=2,step=11"]),
]
FAST = (2,)


@pytest.mark.parametrize(
    ("ranks", "ranks_each", "faults"),
    [pytest.param(*case, marks=[] if number in FAST else pytest.mark.long)
     for number, case in enumerate(CASES)],
)  # fmt: skip
def test_a_kill_changes_no_table(shell, wanted, ranks, ranks_each, faults):
    result = search(shell, ranks, *faults, ranks_each=ranks_each)
    assert result.returncode == 0, result.stderr
    assert table(shell, "out") == wanted
    for fault in faults:
        rank = fault[len("kill:rank=")]
        assert f"): rank {rank} on " in result.stderr, result.stderr
    assert result.stderr.count(" died in ") == len(faults), result.stderr
    assert "best of 8: candidate" in result.stdout
    assert not shell.left_running()


def test_the_candidate_of_a_dead_rank_is_named_and_goes_on_elsewhere(shell, wanted):
    result = search(shell, 2, "kill:rank=1,step=5")
    assert result.returncode == 0, result.stderr
    (number,) = re.findall(
        r"candidate (\d) lost its ranks: other ranks continue with it", result.stderr
    )
    assert table(shell, "out") == wanted
    assert result.stdout.count(f"candidate {number}/8") == 1


@pytest.mark.long
def test_a_group_that_lost_a_rank_says_so_in_the_candidates_row_and_summary(shell, wanted):
    result = search(shell, 2, "kill:rank=1,step=5", ranks_each=2)
    assert result.returncode == 0, result.stderr
    found = shell.summary("out/candidates/0001")["failures"]
    assert [line[:9] for line in found] == ["rank 1 on"]
    assert table(shell, "out") == wanted


@pytest.mark.parametrize(
    ("dead", "behind"),
    [(2, 0), *(pytest.param(*case, marks=pytest.mark.long) for case in [(2, 1), (0, 2), (1, 0)])],
)
def test_a_kill_in_the_last_call_before_a_pause_divides_no_group(shell, wanted, dead, behind):
    """For one of the others that call may end well: it pauses, and the other one has an error."""
    fault = f"KILL at end of saving on {dead}; lost at end of saving on {behind}"
    result = search(shell, 3, ranks_each=3, module="tests.mpi.driver", env={"FAULT": fault})
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(" died in ") == 1, result.stderr
    assert table(shell, "out") == wanted
    assert not shell.left_running()


@pytest.mark.long
@pytest.mark.parametrize("ranks_each", [1, 2])
@pytest.mark.parametrize(
    ("command", "file"),
    [(("cross-validate", "run.toml", "--folds", "3", "--repeats", "2"), "folds.json"),
     (("ensemble", "run.toml", "--members", "5"), "ensemble.json")],
)  # fmt: skip
def test_folds_and_members_too(shell, command, file, ranks_each):
    shell.run_file(RUN + "[validation]\nevery_epochs = 5\n")
    assert shell.run(*command, "-o", "whole", "-q").returncode == 0
    for fault in ("kill:rank=2,step=5", "kill:rank=0,step=5"):
        out = f"out{fault[10]}"
        result = shell.run("launch", "-n", 4, *command, "-o", out, "--inject", fault,
                           "--ranks-each", ranks_each, timeout=SOON)  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert result.stderr.count(" died in ") == 1, result.stderr
        found, whole = (without_seconds(shell.folder / o / file) for o in (out, "whole"))
        assert found == whole


@pytest.mark.long
@pytest.mark.parametrize("ranks_each", [1, 2])
def test_a_rank_that_stands_still_is_named_and_left_out(shell, wanted, ranks_each):
    result = search(shell, 4, "stop:rank=2,step=5", ranks_each=ranks_each,
                    env={"DISTTRAIN_STOPPED_SECONDS": "2"})  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "was stopped by a signal" in result.stderr
    assert "the others go on without it" in result.stderr
    assert table(shell, "out") == wanted


@pytest.mark.long
@pytest.mark.parametrize("fault", ["kill:rank=1,step=5", "stop:rank=1,step=5"])
def test_where_it_is_off_the_job_ends_and_resumes_to_the_same_table(shell, wanted, fault):
    launch = ("launch", "-n", 3, "--fault-tolerance", "off", "search", "study.toml", "-o", "out")
    env = {"DISTTRAIN_STOPPED_SECONDS": "2"}
    assert shell.run(*launch, "--inject", fault, env=env, timeout=SOON).returncode == 5
    assert shell.run(*launch, "--resume", timeout=SOON).returncode == 0
    assert table(shell, "out") == wanted
