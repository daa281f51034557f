"""Every command as it is typed, and what each mistake is answered with: one sentence, its code."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.cli.shell import TRAINING, numbers, sentence, wait_for

pytestmark = pytest.mark.timeout(240)
METRICS = {
    "step", "epoch", "learning_rate", "train_loss", "train_accuracy", "validation_loss",
    "validation_accuracy", "samples_per_second", "seconds",
}  # fmt: skip
LAUNCH = ("launch", "-n", 2)
SUMMARY = {
    "status", "steps", "epochs", "ranks", "wall_seconds", "samples_per_second", "best_step",
    "validation", "test", "digest", "failures", "environment",
}  # fmt: skip


def files(folder):
    """The names, bytes and times of all files of a folder."""
    return {
        str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


# ---- what works


def test_a_run_folder_is_as_documented(trained):
    folder = trained.folder / "out"
    names = set(files(folder)) - {".lock"}
    steps = {f"checkpoints/step-{step:08d}.h5" for step in (5, 10, 15)}
    texts = {"run.toml", "metrics.jsonl", "digests.jsonl", "logs/rank-0000.jsonl"}
    assert names == texts | {"best.h5", "summary.json"} | steps
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [5, 10, 15]
    assert [row["epoch"] for row in rows] == [1.0, 2.0, 3.0]
    assert all(set(row) >= METRICS for row in rows)
    assert all(row[key] is not None for row in rows for key in METRICS)
    summary = trained.summary("out")
    assert set(summary) >= SUMMARY
    assert summary["status"] == "completed"
    assert (summary["steps"], summary["epochs"], summary["ranks"]) == (15, 3.0, 1)
    assert summary["failures"] == []
    for split in ("validation", "test"):
        assert set(summary[split]) == {"loss", "accuracy"}
    assert len(bytes.fromhex(summary["digest"])) == 32
    assert {"numpy", "blas", "mpi", "python"} <= set(summary["environment"])
    best = min(rows, key=lambda row: row["validation_loss"])
    assert summary["best_step"] == best["step"]
    assert summary["validation"]["loss"] == best["validation_loss"]
    newest = folder / "checkpoints" / "step-00000015.h5"
    with h5py.File(newest) as file:
        assert file.attrs["digest"] == summary["digest"]
    again = trained.run("train", "out/run.toml", "--output", "again")
    assert again.returncode == 0, again.stderr
    assert trained.summary("again")["digest"] == summary["digest"]


@pytest.mark.parametrize(("words", "found"), [("ev", "evaluate"), ("train --res", "--resume")])
def test_the_shell_completes_words(shell, words, found):
    line = f"disttrain {words}"
    asked = {"_DISTTRAIN_COMPLETE": "complete_bash", "COMP_WORDS": line}
    result = shell.run(env=asked | {"COMP_CWORD": str(line.count(" "))})
    assert (result.returncode, result.stdout.split(), result.stderr) == (0, [found], "")


def test_older_checkpoints_go(shell):
    result = shell.run("train", "run.toml", "--output", "out", "--set", "checkpoint.keep=1")
    assert result.returncode == 0
    assert [p.name for p in (shell.folder / "out/checkpoints").iterdir()] == ["step-00000015.h5"]


def test_the_default_folder_is_named_after_the_run(shell):
    assert shell.run("train", "run.toml", "--set", "name=first").returncode == 0
    assert shell.summary("runs/first")["status"] == "completed"


def test_a_data_file_lies_beside_its_run_file(shell):
    (shell.folder / "elsewhere").mkdir()
    shell.folder = shell.folder / "elsewhere"
    result = shell.run("check", "../run.toml")
    assert result.returncode == 0, result.stderr
    assert "ready to train" in result.stdout


JSON = [
    ("train", "run.toml", "--output", "new"),
    ("predict", "out", "blobs.h5"),
    ("evaluate", "out"),
    ("check", "run.toml"),
    ("inspect", "out"),
    ("verify", "out"),
]


@pytest.mark.parametrize(
    ("launch", "command"),
    [((), command) for command in JSON]
    + [(LAUNCH, command) for command in JSON[:1]]
    + [pytest.param(LAUNCH, command, marks=pytest.mark.long) for command in JSON[1:]],
)
def test_json_is_one_object_and_nothing_else(trained, launch, command):
    result = trained.run(*launch, *command, "--json")
    assert result.returncode == 0, result.stderr
    assert "\r" not in result.stdout
    assert result.stdout.endswith("}\n")
    assert result.stdout.count("\n") == 1
    assert isinstance(json.loads(result.stdout), dict)


def test_a_timeline_is_written(shell):
    trace = ("train", "run.toml", "--overwrite", "--trace")
    result = shell.run(*trace, "new/t.json")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "timeline:   new/t.json (opens in ui.perfetto.dev)"
    events = json.loads((shell.folder / "new/t.json").read_text())["traceEvents"]
    assert {"reading", "compute", "checkpoint"} <= {e["name"] for e in events}
    before = (shell.folder / "run.toml").read_text()
    assert "this file exists and is not a timeline" in sentence(shell.run(*trace, "run.toml"), 2)
    assert (shell.folder / "run.toml").read_text() == before


def test_json_of_a_failure_is_no_object(shell):
    result = shell.run("train", "missing.toml", "--json")
    assert sentence(result, 2)
    assert result.stdout == ""


def test_evaluate_repeats_the_summary(trained):
    found = json.loads(trained.run("evaluate", "out", "--json").stdout)
    assert {k: found[k] for k in ("loss", "accuracy")} == trained.summary("out")["test"]
    result = trained.run("evaluate", "out/checkpoints/step-00000005.h5", "--split", "train")
    assert result.returncode == 0
    assert "(step 5), train: loss " in result.stdout


def test_evaluate_shows_several_networks_in_one_table(trained):
    both = ("evaluate", "out", "out/checkpoints/step-00000005.h5")
    lines = trained.run(*both).stdout.splitlines()
    assert lines[0].split() == ["step", "split", "rows", "loss", "accuracy"]
    assert [line.split()[1] for line in lines[1:]] == ["15", "5"]
    found = json.loads(trained.run(*both, "--json").stdout)
    assert [score["step"] for score in found] == [15, 5]
    assert found[0]["accuracy"] == trained.summary("out")["test"]["accuracy"]
    assert lines[1].endswith(f"{100 * found[0]['accuracy']:.2f} %")


def test_predict_writes_a_row_for_each_sample(trained):
    with h5py.File(trained.folder / "blobs.h5") as file:
        np.save(trained.folder / "inputs.npy", file["test/inputs"][...])
    printed = trained.run("predict", "out", "blobs.h5")
    again = trained.run("predict", "out", "inputs.npy")
    assert printed.returncode == 0
    assert printed.stdout == again.stdout
    lines = printed.stdout.splitlines()
    assert lines[0] == "row,prediction,class_0,class_1,class_2"
    assert len(lines) == 51
    probabilities = np.array([line.split(",")[2:] for line in lines[1:]], float)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    written = trained.run("predict", "out", "inputs.npy", "--output", "found.csv")
    assert written.returncode == 0
    assert (trained.folder / "found.csv").read_text() == printed.stdout


def test_inspect_tells_of_an_ensemble_a_study_and_folds(trained):
    (trained.folder / "study.toml").write_text(
        'run = "run.toml"\n[[stages]]\nkind = "grid"\nepochs = 1\n'
        '[space]\n"training.batch_size" = { choices = [10, 20] }\n'
    )
    for words, told in (
        (("ensemble", "out", "--checkpoints", "2", "--output", "e"), "members"),
        (("search", "study.toml", "--output", "s"), "candidates: 2 completed"),
        (("cross-validate", "run.toml", "--folds", "2", "--output", "f"), "as in the run file"),
    ):
        assert trained.run(*words).returncode == 0
        folder = words[-1]
        printed = trained.run("inspect", folder)
        assert printed.returncode == 0
        assert told in printed.stdout
        facts = json.loads(trained.run("inspect", folder, "--json").stdout)
        assert facts | json.loads(Path(trained.folder / facts["path"]).read_text()) == facts


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ensemble.json", '{"members": null}'),
        ("ensemble.json", '{"members": [{"path": 3, "loss": "x"}]}'),
        ("study.json", '{"status": "completed", "candidates": [3], "best": null}'),
        ("folds.json", "{}"),
    ],
)
def test_inspect_of_results_that_are_none_is_one_sentence(shell, name, content):
    (shell.folder / name).write_text(content)
    result = shell.run("inspect", name)
    assert result.returncode == 3
    assert result.stderr.count("\n") == 1
    assert f"{name} is not what disttrain writes there" in result.stderr


@pytest.mark.parametrize("words", [("watch", "out", "--once"), ("inspect", "out")])
def test_standard_output_on_a_full_disk_is_one_sentence(trained, words):
    full = ["sh", "-c", 'exec "$@" > /dev/full', "sh"]
    said = sentence(trained.run(*words, prefix=full), 2)
    assert "standard output can't be written (No space left on device)" in said


def test_a_key_that_is_compared_twice_is_refused(shell):
    rates = ("--over", "schedule.learning_rate=0.1", "--over", "schedule.learning_rate=0.2")
    result = shell.run("cross-validate", "run.toml", "--folds", "2", *rates)
    assert result.returncode == 2
    assert "--over schedule.learning_rate is given twice" in result.stderr


def test_inspect_and_check_read_everything(trained):
    assert "digest" in trained.run("inspect", "out").stdout
    assert "rows" in trained.run("inspect", "blobs.h5").stdout
    facts = json.loads(trained.run("check", "run.toml", "--json").stdout)
    assert facts["steps"] == 15
    assert facts["parameters"] == 5 * 8 + 8 + 8 * 3 + 3


def test_resuming_what_is_finished_changes_nothing(trained):
    before = files(trained.folder / "out")
    result = trained.run("train", "run.toml", "--output", "out", "--resume")
    assert result.returncode == 0
    assert "finished" in result.stdout
    assert files(trained.folder / "out") == before


def test_resuming_nothing_starts_and_says_so(shell):
    result = shell.run("train", "run.toml", "--output", "out", "--resume")
    assert result.returncode == 0
    assert "starting from the beginning" in result.stdout
    assert shell.summary("out")["status"] == "completed"


def test_resuming_with_more_epochs_goes_on(trained):
    more = ("train", "run.toml", "--set", "training.epochs=5", "--output")
    result = trained.run(*more, "out", "--resume")
    assert result.returncode == 0
    assert trained.run(*more, "whole").returncode == 0
    assert trained.summary("out")["digest"] == trained.summary("whole")["digest"]


@pytest.mark.parametrize("named", ["out", "out/run.toml"])
def test_a_run_is_resumed_by_its_folder_with_the_settings_it_has(shell, named):
    changed = ("--set", "seed=7", "--set", "model.layers[0].units=9")
    shell.run("train", "run.toml", "--output", "out", *changed)
    before = files(shell.folder / "out")
    done = shell.run("train", "--resume", named, "--json")
    assert json.loads(done.stdout)["output"] == str(shell.folder / "out")
    assert files(shell.folder / "out") == before
    shell.run("train", "--resume", named, "--set", "training.epochs=4")
    assert shell.summary("out")["epochs"] == 4
    assert not (shell.folder / "runs").exists()


def test_the_folder_of_a_run_without_resume_is_no_run_file(trained):
    assert "go on with it by --resume" in sentence(trained.run("train", "out"), 2)


def test_overwrite_begins_anew(trained):
    result = trained.run("train", "run.toml", "--output", "out", "--overwrite", "--set", "seed=2")
    assert result.returncode == 0
    lines = (trained.folder / "out" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 3


def test_a_torn_newest_checkpoint_costs_one_interval(trained):
    whole = trained.summary("out")["digest"]
    (trained.folder / "out" / "summary.json").unlink()
    newest = trained.folder / "out" / "checkpoints" / "step-00000015.h5"
    newest.write_bytes(newest.read_bytes()[:-3000])
    result = trained.run("train", "run.toml", "--output", "out", "--resume")
    assert result.returncode == 0, result.stderr
    assert "step-00000015.h5 is" in result.stdout
    # The best state so far is of the newest step here, and whole: nothing is lost.
    assert "best.h5 is whole: step-00000015.h5 is written anew" in result.stdout
    assert trained.summary("out")["digest"] == whole


def test_help_needs_no_heavy_import(shell):
    script = (
        "import sys\nsys.argv = ['disttrain', *sys.argv[1:]]\nfrom disttrain.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code)\n"
        "print([m for m in ('numpy', 'h5py', 'mpi4py', 'matplotlib', 'cupy') if m in "
        "sys.modules])"
    )
    for arguments in (["--help"], ["train", "--help"], ["launch", "--help"]):
        result = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            capture_output=True, text=True, env=shell.environment, cwd=shell.folder, check=False,
        )  # fmt: skip
        assert result.stdout.splitlines()[-2:] == ["0", "[]"], result.stdout


# ---- what is refused, and how


RUN_FILE_MISTAKES = {
    "a misspelt key": ("batch_size", "batchsize", "'training.batch_size'"),
    "a misspelt section": ("[training]", "[trainning]", "'training'"),
    "a wrong type": ("epochs = 3", 'epochs = "three"', "training.epochs"),
    "a number out of range": ("epochs = 3", "epochs = 0", "training.epochs"),
    "an unknown choice": ('"relu"', '"rellu"', "'relu'"),
    "no TOML": ("[training]", "[training", "not valid TOML"),
    "no path": ('path = "blobs.h5"', "", "data.path"),
    "too many units": ("{ units = 3 }", "{ units = 4 }", "units = 3"),
    "a GPU that is not there": ('"cpu"', '"gpu"', 'use "auto" or "cpu"'),
}


@pytest.mark.parametrize("mistake", RUN_FILE_MISTAKES)
@pytest.mark.parametrize("command", ["train", "check"])
def test_a_mistake_in_the_run_file(shell, mistake, command):
    right, wrong, cure = RUN_FILE_MISTAKES[mistake]
    shell.run_file(TRAINING.replace(right, wrong))
    hidden = {"CUDA_VISIBLE_DEVICES": "-1"}
    assert cure in sentence(shell.run(command, "run.toml", env=hidden), 2)


@pytest.mark.parametrize(
    "mistake", ["too many units", pytest.param("a misspelt key", marks=pytest.mark.long)]
)
def test_a_mistake_is_told_once_by_several_ranks(shell, mistake):
    right, wrong, cure = RUN_FILE_MISTAKES[mistake]
    shell.run_file(TRAINING.replace(right, wrong))
    result = shell.run("launch", "-n", 2, "train", "run.toml")
    assert cure in sentence(result, 2)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("change", ["training.epoch=3", "training", "epochs=", "a.b.c=1"])
def test_a_mistake_in_set(shell, change):
    assert sentence(shell.run("train", "run.toml", "--set", change), 2)


@pytest.mark.parametrize("command", ["train", "check"])
def test_a_run_file_that_is_none(shell, command):
    assert "missing.toml does not exist" in sentence(shell.run(command, "missing.toml"), 2)
    assert "it is a folder" in sentence(shell.run(command, "."), 2)
    words = {"train": "blobs.h5 is not a run file: name the data file in one", "check": "UTF-8"}
    assert words[command] in sentence(shell.run(command, "blobs.h5"), 2)


def test_softmax_of_numbers(shell):
    numbers(shell.folder / "blobs.h5")
    softmax = ("train", "run.toml", "--output", "out", "--set", "model.loss=softmax")
    assert 'loss = "squared"' in sentence(shell.run(*softmax), 2)
    # A start that was refused leaves no folder, and one that was there as it was.
    assert not (shell.folder / "out").exists()
    (shell.folder / "out").mkdir()
    assert shell.run(*softmax).returncode == 2
    assert (shell.folder / "out").exists()


def test_there_is_no_run_to_go_on_with(trained):
    said = sentence(trained.run("train", "nope", "--resume"), 2)
    assert said == "nope does not exist: there is nothing to go on with; the runs beside it are out"
    (trained.folder / "empty").mkdir()
    said = sentence(trained.run("train", "empty", "--resume"), 2)
    assert said.startswith("empty holds no run: there is nothing to go on with")
    for file, words, command in (
        ("study.jsonl", "a study", "search STUDY.toml"),
        ("folds.jsonl", "folds", "cross-validate RUN.toml"),
    ):
        (trained.folder / "empty" / file).touch()
        said = sentence(trained.run("train", "empty", "--resume"), 2)
        goes_on = f"`disttrain {command} --output empty --resume` goes on with it"
        assert said == f"empty holds {words}: {goes_on}"
        (trained.folder / "empty" / file).unlink()


def test_an_option_that_is_no_number_is_answered_in_plain_words(shell):
    result = shell.run("launch", "-n", "two", "env")
    assert result.returncode == 2
    assert ": give a whole number\n" in result.stderr
    result = shell.run("prepare", "moons", "m.h5", "--test-fraction", 2)
    assert "Invalid value for '--test-fraction': the most is 0.99\n" in result.stderr


DATA = {
    "missing": (lambda path: path.unlink(), "does not exist"),
    "text": (lambda path: path.write_text("1,2,3\n"), "can't be read"),
    "empty": (lambda path: path.write_bytes(b""), "can't be read"),
    "torn": (lambda path: path.write_bytes(path.read_bytes()[:-2000]), "can't be read"),
    "another HDF5 file": (lambda path: h5py.File(path, "w").close(), "neither a group"),
}


@pytest.mark.parametrize("kind", DATA)
def test_a_data_file_that_is_none(shell, kind):
    spoil, words = DATA[kind]
    spoil(shell.folder / "blobs.h5")
    said = sentence(shell.run("train", "run.toml", "--output", "out"), 3)
    assert words in said
    assert "blobs.h5" in said
    assert shell.summary("out")["status"] == "failed"


def test_a_value_that_is_not_finite_is_named(shell):
    with h5py.File(shell.folder / "blobs.h5", "a") as file:
        file["train/inputs"][7, 2] = np.nan
    assert "row 7" in sentence(shell.run("train", "run.toml", "--output", "out"), 3)


@pytest.mark.parametrize("command", [("evaluate",), ("inspect",), ("predict", "blobs.h5")])
@pytest.mark.parametrize("how", ["torn", "changed", "missing", "text", "empty folder"])
def test_a_checkpoint_that_is_none(trained, command, how):
    path = trained.folder / "out" / "best.h5"
    content = bytearray(path.read_bytes())
    if how == "torn":
        path.write_bytes(content[: len(content) // 2])
    elif how == "changed":
        with h5py.File(path, "a") as file:
            file["parameters/dense1/weight"][0, 0] += 1
    elif how == "text":
        path.write_text("weights")
    elif how == "missing":
        path.unlink()
    else:
        path = trained.folder / "nothing"
        path.mkdir()
    name, *rest = command
    assert path.name in sentence(trained.run(name, path, *rest), 3)


def test_a_checkpoint_of_another_network(trained):
    wide = TRAINING.replace("units = 8", "units = 9")
    trained.run_file(wide)
    (trained.folder / "out" / "summary.json").unlink()
    before = files(trained.folder / "out")
    result = trained.run("train", "run.toml", "--output", "out", "--resume")
    assert "model.layers" in sentence(result, 2)
    assert files(trained.folder / "out") == before


def test_data_of_another_width(trained):
    with h5py.File(trained.folder / "wide.h5", "w") as file:
        for split in ("train", "test"):
            file[f"{split}/inputs"], file[f"{split}/targets"] = np.zeros((9, 6)), np.zeros(9, "i8")
    said = sentence(trained.run("evaluate", "out", "--data", "wide.h5"), 3)
    assert "6 numbers a sample" in said
    np.save(trained.folder / "wide.npy", np.zeros((9, 6)))
    assert "6 numbers a sample" in sentence(trained.run("predict", "out", "wide.npy"), 3)


def test_a_split_that_is_not_there(trained):
    said = sentence(trained.run("evaluate", "out", "--split", "tests"), 2)
    assert "train" in said
    assert "test" in said


def test_a_run_folder_that_holds_a_run(trained):
    before = files(trained.folder / "out")
    said = sentence(trained.run("train", "run.toml", "--output", "out"), 2)
    assert "--resume" in said
    assert "--overwrite" in said
    assert files(trained.folder / "out") == before


@pytest.mark.parametrize("second", [(), ("--resume",), ("--overwrite",)])
def test_two_runs_in_one_folder(shell, second):
    endless = ("train", "run.toml", "--output", "out", "--set", "training.epochs=1000000")
    first = shell.start(*endless)
    assert wait_for(lambda: (shell.folder / "out" / "metrics.jsonl").exists())
    assert "in use" in sentence(shell.run(*endless, *second), 2)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=100)
    assert first.returncode == 75


@pytest.mark.parametrize("kind", ["file", "below a file", "not ours"])
def test_an_output_that_cannot_be_used(shell, kind):
    output = shell.folder / "output"
    if kind == "not ours":
        # Even root can't make folders there.
        output = Path("/proc/self/output")
    else:
        output.write_text("")
        output = output / "below" if kind == "below a file" else output
    assert "--output" in sentence(shell.run("train", "run.toml", "--output", output), 2)


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def test_a_refused_write_leaves_the_previous_checkpoint(trained):
    more = ("train", "run.toml", "--output", "out", "--resume", "--set", "training.epochs=5")
    before = files(trained.folder / "out")
    said = sentence(trained.run(*more, preexec_fn=small_files), 3)
    assert "can't be written" in said
    after = files(trained.folder / "out")
    kept = [name for name in before if name.endswith(".h5")]
    assert {name: before[name] for name in kept} == {name: after[name] for name in kept}
    assert not [name for name in after if name.endswith(".tmp")]
    assert trained.summary("out")["status"] == "failed"
    assert trained.run(*more).returncode == 0
    assert trained.summary("out")["status"] == "completed"


@pytest.fixture
def small_disk(shell):
    disk = shell.folder / "disk"
    disk.mkdir()
    size = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(size, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("launch", [(), pytest.param(LAUNCH, marks=pytest.mark.long)])
def test_a_full_disk(shell, small_disk, launch):
    train = (*launch, "train", "run.toml", "--output", small_disk / "out")
    said = sentence(shell.run(*train), 3)
    assert "No space left on device" in said
    checkpoints = sorted((small_disk / "out" / "checkpoints").iterdir())
    assert checkpoints
    for path in checkpoints:
        assert shell.run("inspect", path).returncode == 0
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    resumed = shell.run(*train, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after step" in resumed.stdout
    whole = shell.run(*launch, "train", "run.toml", "--output", "whole")
    assert whole.returncode == 0
    found = json.loads((small_disk / "out" / "summary.json").read_text())
    assert found["digest"] == shell.summary("whole")["digest"]


@pytest.mark.parametrize("launch", [(), LAUNCH])
def test_divergence(shell, launch):
    result = shell.run(
        *launch, "train", "run.toml", "--output", "out", "--set", "schedule.learning_rate=1e30",
    )  # fmt: skip
    assert "schedule.learning_rate" in sentence(result, 4)
    assert shell.summary("out")["status"] == "diverged"


# ---- launch


@pytest.mark.parametrize(
    ("variable", "value"), [("OMPI_COMM_WORLD_SIZE", "2"), ("PMI_SIZE", "2"), ("PALS_SIZE", "4")]
)
def test_ranks_that_believe_to_be_alone(shell, variable, value):
    said = sentence(shell.run("train", "run.toml", env={variable: value}), 2)
    assert variable in said
    assert f"disttrain launch -n {value}" in said


def test_launch_of_what_it_does_not_know(shell):
    assert "train" in sentence(shell.run("launch", "-n", 2, "trian", "run.toml"), 2)


@pytest.mark.parametrize(
    "arguments", [("launch",), ("launch", "-n", 0, "train"), ("trian",), ("train",), ("--bogus",)]
)
def test_a_mistake_on_the_command_line(shell, arguments):
    result = shell.run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "Error" in result.stderr


def test_a_mistake_behind_launch_is_told_once(shell):
    result = shell.run("launch", "-n", 3, "train", "run.toml", "--bogus")
    assert result.returncode == 2
    assert result.stderr.count("No such option") == 1


def test_no_mpirun_says_how_to_get_one(shell):
    bare = shell.folder / "bin"
    bare.mkdir()
    (bare / "python").symlink_to(sys.executable)
    script = (
        "import sys; sys.executable = sys.argv.pop(1)\n"
        "from disttrain.cli import main; sys.argv[0] = 'disttrain'; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, bare / "python", "launch", "-n", "2", "train", "run.toml"],
        capture_output=True, text=True, cwd=shell.folder, check=False,
        env=shell.environment | {"PATH": str(bare)},
    )  # fmt: skip
    assert "pip install 'disttrain[mpi]'" in sentence(result, 2)


def test_output_to_a_reader_that_has_gone(trained):
    """As in `disttrain predict ... | head -1`."""
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-m", "disttrain", "predict", "out", "blobs.h5"],
        stdout=write, stderr=subprocess.PIPE, text=True, cwd=trained.folder,
        env=trained.environment, check=False,
    )  # fmt: skip
    os.close(write)
    assert "Traceback" not in process.stderr
    assert "Error" not in process.stderr
