"""Labels that count from 1 are classes by these names, in whichever file they stand."""

import json

import numpy as np


def arrays(path, labels, seed):
    rows = np.random.default_rng(seed).normal(size=(len(labels), 4)) * 0.1
    rows[np.arange(len(labels)), np.asarray(labels) - 1] += 3
    np.savez(path, x=rows.astype("f4"), y=np.asarray(labels))


def test_labels_from_1_to_k_train_k_classes_and_a_test_file_of_two_is_matched(shell):
    arrays(shell.folder / "train.npz", [1, 2, 3, 4] * 40, 0)
    arrays(shell.folder / "test.npz", [2, 4] * 20, 1)
    done = shell.run("prepare", "npz", "train.npz", "train.h5", "--json")
    assert json.loads(done.stdout)["outputs"] == 4
    assert "the labels count from 1" in done.stderr
    assert shell.run("prepare", "npz", "test.npz", "test.h5").returncode == 0
    (shell.folder / "one.toml").write_text(
        '[data]\npath = "train.h5"\n[model]\nlayers = [{ units = 4 }]\n'
    )
    done = shell.run("train", "one.toml", "--output", "out")
    assert done.returncode == 0, done.stderr
    done = shell.run("evaluate", "out", "--data", "test.h5", "--json")
    assert json.loads(done.stdout)["accuracy"] == 1


def test_labels_with_a_gap_stay_numbers(shell):
    arrays(shell.folder / "odd.npz", [1, 2, 4] * 10, 0)
    done = shell.run("prepare", "npz", "odd.npz", "odd.h5", "--json")
    assert json.loads(done.stdout)["classes"] is None


def test_hdf5_of_another_program_with_labels_from_1_is_trained_as_it_is(shell):
    import h5py

    for name, labels, seed in (("theirs", [1, 2, 3] * 40, 0), ("test", [3, 2] * 20, 1)):
        arrays(shell.folder / f"{name}.npz", labels, seed)
        found = np.load(shell.folder / f"{name}.npz")
        with h5py.File(shell.folder / f"{name}.h5", "w") as file:
            file["train/inputs"], file["train/targets"] = found["x"], found["y"]
    run = shell.run_file('data.path = "theirs.h5"\nmodel.layers = [{ units = 3 }]\n')
    assert "3 classes (1, 2, 3)" in shell.run("check", run).stdout
    done = shell.run("train", run, "--output", "out")
    assert done.returncode == 0, done.stderr
    assert "the labels count from 1: 1 to 3 are the names of classes" in done.stdout
    done = shell.run("evaluate", "out", "--data", "test.h5", "--json")
    assert json.loads(done.stdout)["accuracy"] == 1
    done = shell.run("predict", "out", "test.h5", "--json")
    assert json.loads(done.stdout)["predictions"] == ["3", "2"] * 20
