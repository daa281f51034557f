"""`disttrain drill`: the faults that it tries, what it makes of their journals, the score-card."""

import json

import pytest

from disttrain.cli.drill import _lines
from disttrain.launch.drill import Case, Outcome, Whole, cases, cost_of
from disttrain.training.injection import KINDS, parse_fault
from tests.cli.shell import sentence

WHOLE = Whole(steps=100, seconds=0.5, digest="a", exact=True, validates=True)
pytestmark = pytest.mark.timeout(700)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_every_kind_of_fault_is_tried_on_a_rank_that_is_there(ranks):
    faults = [parse_fault(text) for case in cases(ranks, WHOLE) for text in case.faults]
    assert {fault.kind for fault in faults} == set(KINDS)
    assert {0, ranks - 1} == {fault.rank for fault in faults}
    assert all(fault.step is None or fault.step < WHOLE.steps for fault in faults)
    killed = [len(case.faults) for case in cases(ranks, WHOLE) if "killed" in case.name]
    assert max(killed) < ranks


def event(name, time, **fields):
    return {"event": name, "time": time, **fields}


@pytest.mark.parametrize(
    ("events", "cost"),
    [
        ([], (None, None, False)),
        ([event("ready", 1, step=0)], (None, None, False)),
        ([event("ready", 1, step=0), event("injected", 5, step=9)], (None, 0, False)),
        (
            [event("injected", 5, step=9), event("recovered", 6, step=9),
             event("first step after a loss", 7, step=9)],
            (2, 0, False),
        ),
        ([event("injected", 5, step=9), event("done again", 6, step=4)], (1, 5, True)),
        ([event("injected", 5, step=9), event("ready", 8, step=2)], (3, 7, False)),
    ],
)  # fmt: skip
def test_what_a_fault_cost_by_the_journals(events, cost):
    assert cost_of(events) == cost


def test_a_fault_that_did_not_happen_is_none_that_was_got_over():
    assert not Outcome(Case("a", ()), "did not happen", None, None, True, 0, "").recovered


def card(shell, **options):
    """Return the score-card of a drill as an object, and as people read it."""
    result = shell.run("drill", "run.toml", "-n", 2, "--json", timeout=600, **options)
    return result, json.loads(result.stdout)


ONE = "import disttrain.launch.drill as d; all = d.cases; d.cases = lambda n, w: all(n, w)[:1]\n"


def test_the_score_card(shell):
    """Of the first fault alone."""
    (shell.folder / "one.py").write_text(ONE + "from disttrain.cli import main; main()")
    result, found = card(shell, module="one")
    assert result.returncode == 0, result.stderr
    (fault,) = found["faults"]
    assert fault["recovered"]
    assert fault["how"] == "went on"
    assert fault["steps_lost"] == 0
    assert fault["same_digest"]
    assert fault["seconds"] > 0
    assert found["passed"]
    assert found["undisturbed"]["steps"] > 0
    assert "rank 1 killed" in result.stderr
    assert "1 of 1 trainings with a fault ended with the digest" in result.stderr
    assert not (shell.folder / "runs").exists()
    assert not shell.left_running()


@pytest.mark.long
def test_where_it_is_off_each_fault_has_a_line_that_says_why_the_job_ended(shell):
    (shell.folder / "one.py").write_text(ONE + "from disttrain.cli import main; main()")
    result = shell.run("drill", "run.toml", "-n", 2, "--fault-tolerance", "off", module="one")
    assert result.returncode == 0, result.stderr
    said = result.stdout.splitlines()
    (place,) = [n for n, line in enumerate(said) if line.startswith("rank 1 killed ")]
    assert said[place].split()[3:5] == ["yes", "restarted"]
    assert said[place].endswith(" yes")
    assert said[place + 1].startswith("    code 5: ")
    assert "1 of 1 trainings with a fault ended with the digest" in said[-1]


@pytest.mark.long
def test_all_faults_are_got_over(shell):
    env = {"DISTTRAIN_STOPPED_SECONDS": "2"}
    result = shell.run("drill", "run.toml", "-n", 3, "--json", env=env, timeout=600)
    assert result.returncode == 0, result.stderr
    found = {fault["name"]: fault for fault in json.loads(result.stdout)["faults"]}
    assert all(fault["same_digest"] for fault in found.values())
    goes_on = {name for name, fault in found.items() if fault["how"] == "went on"}
    assert {name for name in found if "killed" in name or "stopped" in name} <= goes_on
    assert "rank 2 slow" in goes_on
    assert not shell.left_running()


def test_a_run_file_that_does_not_work_is_told_before_any_fault(shell):
    assert "units" in sentence(shell.run("drill", "run.toml", "--set", "model.layers=[{}]"), 2)
    result = shell.run("drill", "run.toml", "-n", 2, "--set", "data.path=none.h5")
    assert "the training without a fault does not work: " in sentence(result, 3)
    (shell.folder / "kept").mkdir()
    (shell.folder / "kept/file").touch()
    assert "is there already" in sentence(shell.run("drill", "run.toml", "--output", "kept"), 2)


def test_why_a_job_ended_has_a_line_of_its_own():
    outcome = Outcome(
        Case("rank 1 killed", ("kill:rank=1,step=3",)), "restarted", 1.0, 2, True, 5, "rank 1 died"
    )
    row, why = _lines(outcome)
    assert row.startswith("rank 1 killed")
    assert why == "    code 5: rank 1 died"
