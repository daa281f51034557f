"""`verify --from --to` computes a stretch again; `compare` finds where two runs part, and why."""

import json
import shutil

import numpy as np
import pytest

from disttrain.training.integrity import chain
from tests.cli.shell import a_shell, blobs, sentence

pytestmark = pytest.mark.timeout(240)
EXACT = ("--set", 'reproducibility.mode="exact"', "--set", "validation.every_steps=4")
WAYS = {
    "base": (),
    "again": (),
    "seed": ("--set", "seed=5"),
    "rate": ("--set", "schedule.learning_rate=0.05"),
    "adam": ("--set", "optimizer.kind=adam"),
    "order": ("--set", "data.block_rows=16"),
    "shared": ("--set", 'reproducibility.arithmetic="shared"'),
    "slower": ("--set", "schedule.learning_rate=0.05", "--set", "validation.every_steps=8"),
    "cosine": ("--set", "schedule.kind=cosine"),
    "shorter": ("--set", "schedule.kind=cosine", "--set", "training.epochs=2"),
    "apart": ("--set", "validation.patience=50", "--set", "checkpoint.keep=1", "--set", "epochs=4"),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with an exact run for each of the `WAYS`; tests copy what they change."""
    folder = tmp_path_factory.mktemp("done")
    blobs(folder / "blobs.h5")
    with a_shell(folder) as shell:
        shell.run_file()
        for name, changes in WAYS.items():
            changes = [c.replace("epochs=4", "training.epochs=4") for c in changes]
            launch = ("launch", "-n", 2) if name == "again" else ()
            result = shell.run(*launch, "train", "run.toml", *EXACT, *changes, "--output", name)
            assert result.returncode == 0, result.stderr
        # The same shapes and settings, other samples.
        shutil.copy(folder / "blobs.h5", folder / "kept.h5")
        import h5py

        with h5py.File(folder / "blobs.h5", "r+") as file:
            file["train/inputs"][3] += 1
        assert shell.run("train", "run.toml", *EXACT, "--output", "data").returncode == 0
        shutil.copy(folder / "kept.h5", folder / "blobs.h5")
    return folder


@pytest.fixture
def runs(shell, done):
    for path in done.iterdir():
        if path.is_dir():
            shutil.copytree(path, shell.folder / path.name)
    shutil.copy(done / "blobs.h5", shell.folder / "blobs.h5")
    return shell


def compared(runs, a, b):
    result = runs.run("compare", a, b, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("launch", [(), ("launch", "-n", 3)])
def test_a_stretch_is_computed_again_on_whatever_ranks_are_there(runs, launch):
    result = runs.run(*launch, "verify", "again", "--from", 6, "--to", 13)
    assert result.returncode == 0, result.stderr
    # 5 steps an epoch, intervals of 4: the newest checkpoint not behind step 8 is that of step 8
    # (the best so far) or 5.
    assert "step 8: as recorded\nstep 12: as recorded\n" in result.stdout
    assert "as recorded at 2 intervals" in result.stdout


def test_from_the_initial_weights_to_the_end(runs):
    for path in [*(runs.folder / "base" / "checkpoints").iterdir()][:-1]:
        path.unlink()
    result = runs.run("verify", "base", "--from", 0, "--json")
    facts = json.loads(result.stdout)
    assert facts["whole"] is True
    assert facts["from"] == 0
    assert facts["compared"] == [0, 4, 8, 12, 15]


def test_a_run_that_is_not_what_its_run_file_gives(runs):
    """Somebody has trained with other weights, and written a chain that follows."""
    path = runs.folder / "base" / "digests.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records[2]["tensors"]["dense2/weight"][1] = "0" * 16
    before = ""
    for record in records:
        record["chain"] = before = chain.link(record, before)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    result = runs.run("verify", "base", "--from", 3)
    assert result.returncode == 3
    assert "dense2/weight is another one at step 8" in sentence(result, result.returncode)
    result = runs.run("verify", "base", "--from", 3, "--to", 4)
    assert result.returncode == 0


def test_a_changed_record_proves_nothing(runs):
    path = runs.folder / "base" / "digests.jsonl"
    path.write_text(path.read_text().replace('"step": 8', '"step": 9'))
    for command in (
        ("verify", "base", "--to", 9),
        ("compare", "base", "again"),
        ("verify", "base"),
    ):
        result = runs.run(*command)
        assert result.returncode == 3
        assert "digests.jsonl" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("base", "--from", 16), "none from 16 to 15"),
        (("base", "--from", 13, "--to", 14), "none from 13 to 14"),
        (("base", "--to", 99), "none from 0 to 99"),
    ],
)
def test_steps_that_the_run_does_not_have(runs, arguments, words):
    result = runs.run("verify", *arguments)
    assert result.returncode == 2
    assert words in sentence(result, result.returncode)


def test_no_run_at_all(runs):
    (runs.folder / "empty").mkdir()
    for command in (("verify", "empty", "--from", 0), ("compare", "base", "empty")):
        result = runs.run(*command)
        assert result.returncode == 3
        assert "holds no run" in sentence(result, result.returncode)
    result = runs.run("compare", "base", "base/run.toml")
    assert "run.toml is not a run folder: give one" in sentence(result, 3)


def test_equal_runs(runs):
    facts = compared(runs, "base", "again")
    assert facts["equal"] is True
    assert facts["compared"] == [0, 4, 8, 12, 15]
    assert "equal at all 5 intervals" in runs.run("compare", "base", "again").stdout


def test_which_run_is_better(runs, done):
    facts = compared(runs, "base", "slower")
    losses = [runs.summary(name)["validation"]["loss"] for name in ("base", "slower")]
    assert losses[0] < losses[1], "the test needs a worse run"
    assert facts["better"] == {"run": 0, "by": ["validation", "loss"], "values": losses}
    assert [run["ranks"] for run in facts["runs"]] == [1, 1]
    said = runs.run("compare", "slower", "base").stdout
    assert facts["choosing"] == ["validation.every_steps: 4 and 8"]
    chooses = "(changes which weights are the best, but no step)"
    assert f"run files differ in validation.every_steps: 8 and 4 {chooses}\n" in said
    assert f"better: base, by validation loss ({losses[0]:.6g} against {losses[1]:.6g})" in said
    facts = compared(runs, "base", "data")
    assert facts["better"] is None, "other samples, other losses"
    said = runs.run("compare", "base", "data").stdout
    held = f"{done / 'blobs.h5'} held other contents when data was trained than for base"
    assert f"which is better is unknown: {held}\n" in said
    assert said.endswith(f"cause: data: they were trained on other samples: {held}\n")
    copy = runs.folder / "data" / "run.toml"
    copy.write_text(copy.read_text().replace("blobs.h5", "others.h5"))
    said = runs.run("compare", "base", "data").stdout
    both = f"base was trained on {done / 'blobs.h5'}, data on {done / 'others.h5'}"
    assert f"which is better is unknown: {both}\n" in said


def test_what_no_step_depends_on_does_not_count(runs):
    facts = compared(runs, "base", "apart")
    assert facts["equal"] is True
    assert facts["settings"] == []


@pytest.mark.parametrize(
    ("other", "step", "cause"),
    [
        ("seed", 0, "weights"),
        ("rate", 4, "settings"),
        ("slower", 8, "settings"),
        ("adam", 4, "settings"),
        ("order", 4, "data order"),
        ("shared", 4, "settings"),
        ("data", 4, "data"),
    ],
)
def test_where_two_runs_part_and_why(runs, other, step, cause):
    facts = compared(runs, "base", other)
    assert facts["equal"] is False
    assert (facts["step"], facts["cause"]) == (step, cause)
    assert facts["tensor"] == "dense1/weight"
    said = runs.run("compare", "base", other).stdout
    assert f"different at step {step}, first in dense1/weight" in said
    assert f"cause: {cause}" in said


def test_the_rates_of_a_cosine_depend_on_the_epochs(runs):
    facts = compared(runs, "cosine", "shorter")
    assert facts["cause"] == "settings"
    assert facts["settings"] == ["training.epochs: 3 and 2"]


def test_other_arithmetic_is_named_with_what_computed(runs, done):
    """One bit of one velocity was another one from step 8 on."""
    path = runs.folder / "again" / "digests.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records[2:]:
        record["tensors"]["dense2/bias"][1] = f"{np.random.default_rng(1).integers(2**62):016x}"
    before = ""
    for record in records:
        record["chain"] = before = chain.link(record, before)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    facts = compared(runs, "base", "again")
    assert facts["step"] == 8
    assert facts["tensor"] == "dense2/bias"
    assert facts["vectors"] == ["velocity"]
    assert facts["cause"] == "arithmetic"
    said = runs.run("compare", "base", "again").stdout
    assert "equal up to step 4, different at step 8" in said
    assert "base: 1 rank, exact mode, " in said
    assert "again: 2 ranks, exact mode, " in said
