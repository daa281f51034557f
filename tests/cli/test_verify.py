"""`disttrain verify`: what is whole, what is damaged, what --resume takes; and it does."""

import json
import os
import shutil

import h5py
import pytest

from tests.cli.shell import sentence

pytestmark = pytest.mark.timeout(240)
LAUNCH = ("launch", "-n", 2)


def flip(path, name):
    """Change one bit of a data set, behind the back of HDF5."""
    with h5py.File(path) as file:
        place = file[name].id.get_offset()
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def verdicts(facts):
    """Name of each file of a run → what is wrong with it, None where it is whole."""
    return {file["path"].rpartition("/")[2]: file["problem"] for file in facts["files"]}


@pytest.mark.parametrize("launch", [(), pytest.param(LAUNCH, marks=pytest.mark.long)])
def test_a_whole_run(trained, launch):
    result = trained.run(*launch, "verify", "out", "--json")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert facts["whole"] is True
    assert list(verdicts(facts)) == [
        "step-00000015.h5", "step-00000010.h5", "step-00000005.h5", "best.h5", "run.toml",
        "metrics.jsonl", "digests.jsonl", "summary.json",
    ]  # fmt: skip
    assert facts["resume"] == "out/checkpoints/step-00000015.h5"
    assert facts["left_over"] == []
    newest, summary = facts["files"][0], trained.summary("out")
    assert (newest["step"], newest["epoch"]) == (15, 3.0)
    assert newest["digest"] == summary["digest"]
    lines = trained.run("verify", "out").stdout.splitlines()
    assert lines[0].startswith("out/checkpoints/step-00000015.h5: whole (step 15, epoch 3.0, ")
    assert lines[-1] == "--resume goes on from out/checkpoints/step-00000015.h5"


def test_a_whole_checkpoint_and_a_whole_data_file(trained):
    facts = json.loads(trained.run("verify", "out/best.h5", "--json").stdout)
    assert (facts["whole"], facts["step"]) == (True, trained.summary("out")["best_step"])
    facts = json.loads(trained.run("verify", "blobs.h5", "--json").stdout)
    assert facts["whole"] is True
    assert facts["rows"] == {"train": 150, "test": 50}
    assert facts["recorded"] is False
    said = trained.run("verify", "blobs.h5").stdout
    assert "blobs.h5: whole (without a record: damage among its values would not be seen)" in said


def test_a_data_file_that_was_prepared_is_compared_as_a_whole(shell):
    assert shell.run("prepare", "digits", "digits.h5").returncode == 0
    facts = json.loads(shell.run("verify", "digits.h5", "--json").stdout)
    assert (facts["whole"], facts["recorded"]) == (True, True)
    content = bytearray((shell.folder / "digits.h5").read_bytes())
    content[len(content) // 2] ^= 1
    (shell.folder / "digits.h5").write_bytes(content)
    assert "damaged or changed since it was written" in sentence(
        shell.run("verify", "digits.h5"), 3
    )


@pytest.mark.parametrize("name", ["parameters/dense1/weight", "velocity/dense2/bias", "state"])
def test_a_damaged_data_set_is_named(trained, name):
    flip(trained.folder / "out/checkpoints/step-00000010.h5", name)
    result = trained.run("verify", "out/checkpoints/step-00000010.h5", "--json")
    assert f"damaged in {name}:" in sentence(result, 3)
    assert json.loads(result.stdout)["damaged"] == [name]


@pytest.mark.parametrize("damage", ["no bytes", "cut", "header", "zeros", "text"])
def test_a_checkpoint_that_is_torn(trained, damage):
    path = trained.folder / "out/checkpoints/step-00000010.h5"
    whole = path.read_bytes()
    path.write_bytes(
        {
            "no bytes": b"", "cut": whole[:-1], "header": b"\0" * 4096 + whole[4096:],
            "zeros": bytes(len(whole)), "text": b"hello",
        }[damage]
    )  # fmt: skip
    said = sentence(trained.run("verify", path), 3)
    assert "step-00000010.h5" in said
    # Under another name it is still seen for what it is, where anything is left to see.
    if damage in ("cut", "header"):
        path.rename(trained.folder / "copy.h5")
        assert "checkpoint" in sentence(trained.run("verify", "copy.h5"), 3)


def test_every_file_of_a_damaged_run_is_named(trained):
    out = trained.folder / "out"
    flip(out / "checkpoints/step-00000015.h5", "parameters/dense1/weight")
    (out / "metrics.jsonl").write_bytes((out / "metrics.jsonl").read_bytes()[:-5])
    (out / "digests.jsonl").write_text("{}\n")
    (out / "run.toml").write_text("[data")
    (out / "summary.json").write_text("{}")
    (out / "checkpoints/step-00000001.h5.damaged").touch()
    (out / "checkpoints/.step-00000020.h5.7.tmp").touch()
    result = trained.run("verify", "out", "--json")
    said = sentence(result, 3)
    facts = json.loads(result.stdout)
    assert facts["whole"] is False
    found = verdicts(facts)
    assert [name for name, problem in found.items() if problem is None] == [
        "step-00000010.h5", "step-00000005.h5", "best.h5",
    ]  # fmt: skip
    assert "line 3 is cut off" in found["metrics.jsonl"]
    for name in ("step-00000015.h5", "run.toml", "summary.json"):
        assert name in said
    # The best state is the last one, so it holds what the damaged checkpoint held.
    assert "--resume goes on from out/best.h5" in said
    assert [path.rpartition("/")[2] for path in facts["left_over"]] == [
        ".step-00000020.h5.7.tmp", "step-00000001.h5.damaged",
    ]  # fmt: skip


CHANGES = {
    "metrics.jsonl": ('"step": 10', '"step": 11', "line 2 differs from the newest checkpoint"),
    "summary.json": ('"digest": "', '"digest": "0', "another digest than"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_files_that_contradict_the_checkpoints(trained, name):
    old, new, problem = CHANGES[name]
    path = trained.folder / "out" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    result = trained.run("verify", "out", "--json")
    assert name in sentence(result, 3)
    assert problem in verdicts(json.loads(result.stdout))[name]


def test_steps_out_of_order(trained):
    path = trained.folder / "out/metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[1]]))
    result = trained.run("verify", "out", "--json")
    assert sentence(result, 3)
    problem = verdicts(json.loads(result.stdout))["metrics.jsonl"]
    assert "line 4 is of step 10, after one of step 15" in problem


def test_a_checkpoint_under_another_name(trained):
    ring = trained.folder / "out/checkpoints"
    shutil.copy(ring / "step-00000005.h5", ring / "step-00000025.h5")
    result = trained.run("verify", "out")
    assert "step-00000025.h5" in sentence(result, 3)


@pytest.mark.parametrize("what", ["missing.h5", "empty"])
def test_nothing_to_verify(shell, what):
    (shell.folder / "empty").mkdir()
    result = shell.run("verify", what, "--json")
    assert what in sentence(result, 3)
    assert result.stdout == ""


def test_a_data_file_that_is_none(shell):
    (shell.folder / "bad.h5").write_bytes(b"no HDF5")
    assert "bad.h5" in sentence(shell.run("verify", "bad.h5"), 3)


@pytest.mark.long
def test_damage_is_told_once_by_several_ranks(trained):
    flip(trained.folder / "out/checkpoints/step-00000010.h5", "velocity/dense1/bias")
    said = sentence(trained.run(*LAUNCH, "verify", "out"), 3)
    assert "step-00000010.h5" in said


def test_verify_changes_nothing(trained):
    flip(trained.folder / "out/checkpoints/step-00000015.h5", "state")
    before = {p: p.stat().st_mtime_ns for p in trained.folder.rglob("*")}
    assert trained.run("verify", "out").returncode == 3
    assert {p: p.stat().st_mtime_ns for p in trained.folder.rglob("*")} == before


@pytest.mark.parametrize("bad", [1, 2, 3])
def test_resume_takes_the_newest_whole_one_and_says_so(trained, bad):
    """The newest, two and all of three checkpoints are damaged; the summary is gone by a crash."""
    whole, out = trained.summary("out"), trained.folder / "out"
    best = json.loads(trained.run("verify", "out/best.h5", "--json").stdout)
    (out / "summary.json").unlink()
    steps = [15, 10, 5][:bad]
    for step in steps:
        flip(out / f"checkpoints/step-{step:08d}.h5", "velocity/dense1/weight")
    assert best["step"] == 15, "it is newer than any checkpoint that is whole"
    said = sentence(trained.run("verify", "out"), 3)
    assert "--resume goes on from out/best.h5" in said
    result = trained.run("train", "run.toml", "--output", "out", "--resume")
    assert result.returncode == 0, result.stderr
    for step in steps:
        name = f"step-{step:08d}.h5"
        assert f"{name} is damaged in velocity/dense1/weight" in result.stdout
        assert f"it is put aside as {name}.damaged" in result.stdout
    assert "resuming after step 15" in result.stdout
    after = trained.summary("out")
    for key in ("status", "steps", "best_step", "validation", "test", "digest"):
        assert after[key] == whole[key], key
    facts = json.loads(trained.run("verify", "out", "--json").stdout)
    assert facts["whole"] is True
    assert {f["path"]: f.get("digest") for f in facts["files"]}["out/best.h5"] == best["digest"]


@pytest.mark.parametrize("launch", [(), pytest.param(("launch", "-n", 3), marks=pytest.mark.long)])
def test_where_nothing_is_whole_verify_and_resume_say_the_same(trained, launch):
    out = trained.folder / "out"
    for path in (*sorted((out / "checkpoints").iterdir()), out / "best.h5"):
        flip(path, "parameters/dense1/weight")
    before = {p: p.read_bytes() for p in out.rglob("*.h5")}
    (out / "summary.json").unlink()
    facts = json.loads(trained.run("verify", "out", "--json").stdout)
    assert facts["resume"] is None
    assert "nothing in out is whole to resume from" in facts["resume_refused"]
    said = sentence(trained.run(*launch, "train", "run.toml", "--output", "out", "--resume"), 3)
    assert "(and 3 more files)" in said
    assert "--overwrite or another --output" in said
    assert {p: p.read_bytes() for p in out.rglob("*.h5")} == before
    overwritten = trained.run("train", "run.toml", "--output", "out", "--overwrite")
    assert overwritten.returncode == 0, overwritten.stderr
    assert not list(out.rglob("*.replaced"))


@pytest.mark.long
@pytest.mark.parametrize("command", ["verify", "plot", "inspect", "compare", "resume"])
@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl", "digests.jsonl", "run.toml"])
@pytest.mark.parametrize("what", ["a pipe", "deep"])
def test_no_command_waits_or_breaks_at_a_small_file(trained, command, name, what):
    path = trained.folder / "out" / name
    path.unlink()
    if what == "a pipe":
        os.mkfifo(path)
    else:
        path.write_text("[" * 200_000)
    commands = {
        "compare": ("compare", "out", "out"),
        "resume": ("train", "run.toml", "--output", "out", "--resume"),
    }
    result = trained.run(*commands.get(command, (command, "out")))
    assert result.returncode in (0, 2, 3), result.stderr
    assert "Traceback" not in result.stdout + result.stderr
