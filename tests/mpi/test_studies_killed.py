"""A whole search is killed at random moments and gone on with, on other numbers of ranks; its table
is that of one rank that nobody disturbed.
"""

import importlib.util
import json
import random
import time

import pytest

from tests.cli.shell import wait_for

RUN = """
[data]
path = "digits.h5"
[model]
layers = [{ units = 16, activation = "relu" }, { units = 10 }]
[reproducibility]
mode = "exact"
"""
STUDY = """
run = "run.toml"
[[stages]]
candidates = 12
epochs = 6
prune = "halving"
[[stages]]
candidates = 6
epochs = 4
zoom = 0.25
[[stages]]
kind = "{last}"
candidates = 6
epochs = 4
[space]
"schedule.learning_rate" = {{ low = 1e-3, high = 1.0, scale = "log" }}
"model.layers.0.units" = {{ choices = [8, 16, 32] }}
"""
# Long enough for a start, and for a candidate, on a busy machine.
SOON = 120


def ended(shell, output):
    """Return how many candidates the study in a folder has noted."""
    log = shell.folder / output / "study.jsonl"
    return log.read_bytes().count(b'"ended"') if log.exists() else 0


def kill_all(shell, ranks, output, chance, candidates):
    """Go on with a study on `ranks` ranks and kill all of them, a little behind some candidate."""
    before = ended(shell, output)
    process = shell.start("launch", "-n", ranks, "search", "study.toml", "-o", output, "--resume")
    until = before + chance.randint(1, candidates)
    assert wait_for(lambda: ended(shell, output) >= until, SOON), "no candidate ended"
    time.sleep(0.3 * chance.random())
    shell.kill_all()
    _, said = process.communicate(timeout=SOON)
    assert process.returncode < 0, said
    assert not shell.left_running()


def table(shell, output):
    """Return `study.json` but for its times."""
    told = json.loads((shell.folder / output / "study.json").read_text())
    for row in (*told["candidates"], told["best"]):
        del row["seconds"]
    return told


def check(shell, ranks_of=(1, 2, 4), kills=2, candidates=6, seed=1):
    """Search undisturbed on one rank, and killed on each number; train the best by itself."""
    calm = shell.run("search", "study.toml", "-o", "calm", timeout=SOON * 5)
    assert calm.returncode == 0, calm.stderr
    chance, whole = random.Random(seed), table(shell, "calm")
    for ranks in ranks_of:
        launch = ("launch", "-n", ranks, "search", "study.toml", "-o")
        for _ in range(kills):
            kill_all(shell, ranks, f"cut{ranks}", chance, candidates)
        again = shell.run(*launch, f"cut{ranks}", "--resume", timeout=SOON * 5)
        assert again.returncode == 0, again.stderr
        assert table(shell, f"cut{ranks}") == whole, (ranks, seed)
    done = shell.run("train", "cut4/best.toml", "--output", "best", "--json", timeout=SOON)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["digest"] == whole["best"]["digest"]
    assert summary["validation"]["accuracy"] == whole["best"]["score"]
    return whole


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_study_of_24_candidates_killed_twice_has_one_table_on_1_2_and_4_ranks(shell):
    assert shell.run("prepare", "digits", "digits.h5").returncode == 0
    shell.run_file(RUN)
    last = "tpe" if importlib.util.find_spec("optuna") else "random"
    shell.run_file(STUDY.format(last=last), "study.toml")
    told = check(shell)
    assert len(told["candidates"]) == 24
    assert [row["status"] for row in told["candidates"]].count("pruned") == 10
