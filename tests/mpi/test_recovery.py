"""A rank that dies, at any moment, costs a moment: the others go on, to the bits of no death."""

import pytest

from tests.mpi.soak import SOON, TRAIN, TRAINING, found, soak

DEEP = TRAINING.replace("{ units = 3 }", '{ units = 8, activation = "tanh" }, { units = 3 }')
PRETRAINING = """
[pretraining]
kind = "autoencoder"
epochs = 2
batch_size = 20
"""
pytestmark = pytest.mark.timeout(240)


CASES = [
    # Ranks, and the faults; the last number is that of the ranks that are left.
    (2, ["kill:rank=0,step=50"], 1),
    (4, ["kill:rank=0,step=20", "kill:rank=2,step=20"], 2),
    (3, ["kill:rank=1,phase=going on without", "kill:rank=2,step=60"], 1),
    (3, ["kill:rank=0,phase=saving,step=30"], 2),
    (3, ["kill:rank=0,phase=waiting after callback,step=30"], 2),
    (3, ["kill:rank=1,phase=validation"], 2),
    (3, ["kill:rank=0,phase=opening the run folder"], 2),
    (3, ["kill:rank=1,phase=reading data"], 2),
    (3, ["kill:rank=0,phase=waiting after restoring"], 2),
    (3, ["kill:rank=0,phase=scoring the test"], 2),
    (2, ["kill:rank=0,phase=waiting after saving,step=245"], 1),
    (4, ["kill:rank=0,step=9", "kill:rank=1,step=10", "kill:rank=2,step=11"], 1),
]
FAST = (1, 2)


@pytest.mark.parametrize(
    ("ranks", "faults", "left"),
    [pytest.param(*case, marks=[] if number in FAST else pytest.mark.long)
     for number, case in enumerate(CASES)],
)  # fmt: skip
def test_a_kill_changes_nothing(shell, wanted, ranks, faults, left):
    options = [f"--inject={fault}" for fault in faults]
    result = shell.run("launch", "-n", ranks, *TRAIN, "--output", "out", *options, timeout=SOON)
    assert result.returncode == 0, result.stderr
    assert found(shell, "out") == wanted
    summary = shell.summary("out")
    assert summary["ranks"] == left
    assert not shell.left_running()
    assert len(summary["failures"]) == ranks - left
    assert result.stderr.count(" died") == ranks - left, result.stderr


@pytest.mark.parametrize("way", ["ring", pytest.param("buckets", marks=pytest.mark.long)])
def test_a_kill_while_messages_are_under_way(shell, way):
    """What waits for several messages says only that one of them failed."""
    shell.run_file(TRAINING)
    fast = ["--set", "reproducibility.mode=fast", "--set", f"communication.sum={way}"]
    result = shell.run("launch", "-n", 3, *TRAIN, "--output", "out", *fast,
                       "--inject=kill:rank=1,step=50", timeout=SOON)  # fmt: skip
    assert result.returncode == 0, result.stderr
    summary = shell.summary("out")
    assert (summary["ranks"], len(summary["failures"])) == (2, 1)


def test_a_kill_of_rank_0_in_the_pre_training_repeats_no_layer_that_is_saved(shell):
    shell.run_file(DEEP + PRETRAINING)
    assert shell.run("train", "run.toml", "--output", "out", "-q").returncode == 0
    wanted = shell.summary("out")["digest"]
    # The run that is replaced stands in the same folder.
    result = shell.run("launch", "-n", 3, "train", "run.toml", "--output", "out", "--overwrite",
                       "--inject", "kill:rank=0,layer=2,step=9", timeout=SOON)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "2 ranks go on with the pre-training" in result.stdout
    assert result.stdout.count("pre-training of layer 1 (dense1)  epoch   2.00/2") == 1
    summary = shell.summary("out")
    assert summary["digest"] == wanted
    assert [line[:9] for line in summary["failures"]] == ["rank 0 on"]


def test_the_new_rank_0_holds_the_folder_and_prints_the_rest(shell, wanted):
    result = shell.run(
        "launch", "-n", 2, "train", "run.toml", "--output", "out",
        "--inject", "kill:rank=0,step=100", timeout=SOON,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "rank 0 on" in result.stdout
    assert "1 rank goes on after step 100" in result.stdout
    assert "completed after 25 epochs" in result.stdout
    assert shell.run("verify", "out").returncode == 0
    again = shell.run("train", "run.toml", "--output", "out", "--resume")
    assert "nothing to do" in again.stdout


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_forty_kills_at_random_moments(shell):
    assert soak(shell, 40, 8)["kills"] >= 40


@pytest.mark.parametrize(
    "fault",
    ["kill:rank=0,step=50",
     *(pytest.param(fault, marks=pytest.mark.long) for fault in (
         "kill:rank=1,phase=waiting for the sums of a layer,step=51",
         "kill:rank=2,phase=validation", "kill:rank=0,phase=saving,step=30"))],
)  # fmt: skip
def test_a_kill_changes_no_running_average(shell, fault):
    """Those of batch normalization are moved by sums over the global batch in the pass forward."""
    layers = '[{ units = 12 }, { kind = "batch-norm" }, { units = 3 }]'
    text = TRAINING.replace("average = 0.9", "").splitlines()
    place = next(n for n, line in enumerate(text) if line.startswith("layers"))
    text[place] = f"layers = {layers}"
    shell.run_file("\n".join(text))
    assert shell.run("train", "run.toml", "--output", "whole", "-q").returncode == 0
    result = shell.run(
        "launch", "-n", 3, *TRAIN, "--output", "out", "--inject", fault, timeout=SOON
    )
    assert result.returncode == 0, result.stderr
    assert found(shell, "out") == found(shell, "whole")
    assert shell.summary("out")["ranks"] == 2
    assert " died" in result.stderr


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("slow:rank=1,step=50,seconds=1000", "has been in 'reading a batch' since"),
        pytest.param("stop:rank=0,step=50", "was stopped by a signal", marks=pytest.mark.long),
    ],
)
def test_a_rank_that_stands_still_is_named_and_left_out(shell, wanted, fault, told):
    result = shell.run(
        "launch", "-n", 3, *TRAIN, "--output", "out", "--inject", fault, timeout=SOON,
        env={"DISTTRAIN_STOPPED_SECONDS": "2"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert found(shell, "out") == wanted
    assert shell.summary("out")["ranks"] == 2
    assert told in result.stderr
    assert "the others go on without it" in result.stderr
    assert not shell.left_running()


def test_a_rank_ten_times_slower_than_the_others_stays_and_is_told(shell, wanted):
    slow = ["--inject", "slow:rank=1,step=50,seconds=0.02"]
    env = {"DISTTRAIN_STOPPED_SECONDS": "5"}
    result = shell.run("launch", "-n", 2, *TRAIN, "--output", "out", *slow, env=env, timeout=SOON)
    assert result.returncode == 0, result.stderr
    assert found(shell, "out") == wanted
    assert shell.summary("out")["ranks"] == 2
    (straggler,) = shell.summary("out")["stragglers"]
    assert straggler["rank"] == 1
    assert straggler["in"] == "reading"
    assert 0 < straggler["seconds"] <= straggler["of_seconds"]
    assert "rank 1 is slower than the others: of " in result.stderr
    assert shell.summary("whole")["stragglers"] == []


def test_where_it_is_off_or_cannot_be_a_dead_rank_ends_the_job(shell):
    result = shell.run(
        "launch", "-n", 2, "--fault-tolerance", "off", "train", "run.toml",
        "--inject", "kill:rank=1,step=3", timeout=SOON,
    )  # fmt: skip
    assert result.returncode == 5
    said = shell.run("launch", "-n", 2, "--fault-tolerance", "on", "check", "run.toml")
    assert said.returncode == 2
    assert "is for train" in said.stderr
