"""A trained network is used on other files: through what its training file taught, whole."""

import csv
import io
import json

import h5py
import numpy as np
import pytest

from tests.cli.shell import sentence

PLACES = {"ant": (0.0, 0.0), "bee": (5.0, 0.0), "cow": (0.0, 5.0)}
RUN = """
data.path = "train.h5"
model.layers = [{ units = 8, activation = "tanh" }, { units = 3 }]
training.epochs = 10
training.batch_size = 16
device.kind = "cpu"
"""


def table(path, names, rows, columns=("a", "b", "kind"), seed=0, new=None):
    """Write a table of animals: each class lies around a point of its own."""
    random, lines = np.random.default_rng(seed), [",".join(columns)]
    for number in range(rows):
        kind = names[number % len(names)]
        a, b = random.normal(PLACES.get(kind, (9.0, 9.0)), 0.5)
        cells = {"a": a, "b": b, "kind": kind, "id": number} | (new or {})
        lines.append(",".join(str(cells[column]) for column in columns))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    from tests.cli.shell import a_shell

    folder = tmp_path_factory.mktemp("animals")
    table(folder / "train.csv", ("ant", "bee", "cow"), 300)
    with a_shell(folder) as shell:
        shell.run_file(RUN)
        for command in (
            ("prepare", "csv", "train.csv", "train.h5"),
            ("train", "run.toml", "--output", "run", "--quiet"),
        ):
            result = shell.run(*command)
            assert result.returncode == 0, result.stderr
        yield shell


def score(shell, *words, launch=()):
    result = shell.run(*launch, "evaluate", "run", *words, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def predicted(shell, *words, launch=()):
    result = shell.run(*launch, "predict", "run", *words)
    assert result.returncode == 0, result.stderr
    return list(csv.DictReader(io.StringIO(result.stdout))), result


def test_classes_are_matched_by_name_in_a_table_that_was_prepared_apart(animals):
    # The numbers of its classes are others: bee is 0 there and 1 for the network.
    table(animals.folder / "test.csv", ("cow", "bee"), 200, ("b", "a", "kind"), seed=1)
    assert animals.run("prepare", "csv", "test.csv", "test.h5").returncode == 0
    found = score(animals, "--data", "test.h5")
    assert (found["accuracy"], found["rows"], found["split"]) == (1.0, 200, "train")
    direct = score(animals, "--data", "test.csv")
    assert (direct["accuracy"], direct["rows"]) == (1.0, 200)
    assert direct["loss"] == pytest.approx(found["loss"], rel=1e-6)
    two = score(animals, "--data", "test.csv", launch=("launch", "-n", "2"))
    assert two["loss"] == direct["loss"]


def test_a_class_that_the_network_does_not_have_is_one_sentence(animals):
    table(animals.folder / "emu.csv", ("bee", "emu"), 40, seed=2)
    assert animals.run("prepare", "csv", "emu.csv", "emu.h5").returncode == 0
    for name in ("emu.csv", "emu.h5"):
        said = sentence(animals.run("evaluate", "run", "--data", name), 3)
        assert "'emu'" in said
        assert "ant, bee, cow" in said


def test_the_runs_own_file_is_split_as_it_was(animals):
    assert score(animals, "--split", "validation")["rows"] == 30
    assert score(animals, "--split", "train")["rows"] == 270
    assert score(animals, "--data", "./train.h5", "--split", "train")["rows"] == 270
    assert "name train or validation by --split" in sentence(animals.run("evaluate", "run"), 2)
    rows, _ = predicted(animals, "train.h5", "--split", "validation")
    with h5py.File(animals.folder / "train.h5") as file:
        inputs = file["train/inputs"][...]
    numbers = [int(row["row"]) for row in rows]
    np.save(animals.folder / "aside.npy", inputs[numbers])
    again, _ = predicted(animals, "aside.npy")
    assert [r["prediction"] for r in again] == [r["prediction"] for r in rows]
    assert [r["row"] for r in again] == [str(n) for n in range(30)]


def test_a_table_without_labels_keeps_its_order_and_says_what_it_passed_over(animals):
    table(animals.folder / "new.csv", ("cow", "bee", "ant"), 60, ("id", "b", "a"), seed=3)
    rows, result = predicted(animals, "new.csv")
    assert [row["row"] for row in rows] == [str(n) for n in range(60)]
    assert [row["prediction"] for row in rows] == ["cow", "bee", "ant"] * 20
    assert all(float(row[f"class_{row['prediction']}"]) > 0.9 for row in rows)
    assert list(rows[0]) == ["row", "prediction", "class_ant", "class_bee", "class_cow"]
    assert "passed over 1 column of new.csv: 'id'" in result.stderr
    for ranks in ("2", "3"):
        launch = ("launch", "-n", ranks)
        assert predicted(animals, "new.csv", launch=launch)[1].stdout == result.stdout


def test_the_same_rows_give_the_same_predictions_whatever_the_file(animals):
    import pandas

    table(animals.folder / "same.csv", ("cow", "ant"), 40, seed=4)
    cells = pandas.read_csv(animals.folder / "same.csv")
    cells[["kind", "b", "a"]].to_parquet(animals.folder / "same.parquet")
    inputs = cells[["a", "b"]].to_numpy("f4")
    np.savez(animals.folder / "same.npz", x=inputs)
    np.save(animals.folder / "same.npy", inputs)
    with h5py.File(animals.folder / "same.h5", "w") as file:
        file["inputs"] = inputs
    want, said = predicted(animals, "same.csv")
    assert "'kind'" in said.stderr
    for suffix in ("parquet", "npz", "npy", "h5"):
        assert predicted(animals, f"same.{suffix}")[0] == want, suffix


def test_a_file_of_several_splits_is_used_whole(animals):
    inputs = np.array([PLACES[name] for name in ("ant", "bee", "cow")], "f4")
    with h5py.File(animals.folder / "splits.h5", "w") as file:
        for split, order in (("train", [0, 1, 2]), ("test", [2, 0])):
            file[f"{split}/inputs"] = inputs[order]
            file[f"{split}/targets"] = order
    assert score(animals, "--data", "splits.h5")["rows"] == 5
    found = score(animals, "--data", "splits.h5", "--split", "test")
    assert (found["rows"], found["accuracy"]) == (2, 1.0)
    rows, _ = predicted(animals, "splits.h5")
    assert [(r["split"], r["row"], r["prediction"]) for r in rows] == [
        ("train", "0", "ant"), ("train", "1", "bee"), ("train", "2", "cow"),
        ("test", "0", "cow"), ("test", "1", "ant"),
    ]  # fmt: skip
    rows, _ = predicted(animals, "splits.h5", "--split", "test")
    assert [(r["row"], r["prediction"]) for r in rows] == [("0", "cow"), ("1", "ant")]
    said = sentence(animals.run("evaluate", "run", "--data", "splits.h5", "--split", "dev"), 2)
    assert "name train or test by --split" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,c\n1,2\n", "no column 'b'"),
        ("a,b\n1,\n", "line 2, column 'b'"),
        ("a,b\n1,many\n2,3\n", "'many'"),
    ],
)
def test_what_a_table_lacks_is_one_sentence(animals, text, words):
    (animals.folder / "bad.csv").write_text(text)
    assert words in sentence(animals.run("predict", "run", "bad.csv"), 3)


def test_mistakes_with_files(animals):
    np.save(animals.folder / "array.npy", np.zeros((3, 2), "f4"))
    assert "targets" in sentence(animals.run("evaluate", "run", "--data", "array.npy"), 2)
    assert "no splits" in sentence(animals.run("predict", "run", "array.npy", "--split", "test"), 2)
    for name in ("no.csv", "no.npy", "no.npz", "no.h5"):
        assert name in sentence(animals.run("predict", "run", name), 3)


def test_labels_in_an_npz_are_names(animals):
    names = np.array(["cow", "ant"] * 10)
    np.savez(animals.folder / "named.npz", x=np.array([PLACES[n] for n in names], "f4"), y=names)
    found = score(animals, "--data", "named.npz")
    assert (found["accuracy"], found["rows"]) == (1.0, 20)
    np.savez(animals.folder / "one.npz", x=np.zeros((5, 2), "f4"), y=np.full(5, 0))
    assert score(animals, "--data", "one.npz")["accuracy"] == 1.0


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    from tests.cli.shell import a_shell

    folder = tmp_path_factory.mktemp("pictures")
    shades(folder / "train", {"dark": 40, "$mid$ $x": 120, "light": 210}, 30)
    with a_shell(folder) as shell:
        shell.run_file(RUN)
        for command in (
            ("prepare", "images", "train", "train.h5"),
            ("train", "run.toml", "--output", "run", "--quiet"),
        ):
            result = shell.run(*command)
            assert result.returncode == 0, result.stderr
        yield shell


def shades(folder, classes, count, size=(6, 8), mode="L"):
    """Write images, each of one shade and some noise."""
    from PIL import Image

    random = np.random.default_rng(1)
    for name, shade in classes.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.normal(shade, 8, size).clip(0, 255).astype("u1")
            image = Image.fromarray(pixels).convert(mode)
            image.save(folder / name / f"{number}.png")


def test_folders_of_images_are_matched_by_name(pictures):
    # In the order of their names "light" would be 1 here; for the network it is 2.
    shades(pictures.folder / "two", {"light": 210, "dark": 40}, 5)
    found = score(pictures, "--data", "two")
    assert (found["accuracy"], found["rows"]) == (1.0, 10)
    rows, _ = predicted(pictures, "two")
    names = [f"{c}/{n}.png" for c in ("dark", "light") for n in range(5)]
    assert [(r["image"], r["prediction"]) for r in rows] == [(n, n.split("/")[0]) for n in names]
    again = predicted(pictures, "two", launch=("launch", "-n", "2"))[0]
    assert again == rows
    (one,), _ = predicted(pictures, "two/light/3.png")
    assert (one["image"], one["prediction"]) == ("3.png", "light")


def test_images_of_another_size_are_brought_to_the_networks_and_that_is_said(pictures):
    shades(pictures.folder / "large", {"light": 210, "dark": 40}, 3, (20, 30), "RGB")
    rows, result = predicted(pictures, "large")
    assert [r["prediction"] for r in rows] == ["dark"] * 3 + ["light"] * 3
    assert "6 of 6 images are brought to 6 x 8 pixels in grey" in result.stderr


def test_a_folder_of_an_unknown_class_and_a_torn_image_are_one_sentence(pictures):
    shades(pictures.folder / "odd", {"light": 210, "pink": 99}, 2)
    said = sentence(pictures.run("evaluate", "run", "--data", "odd"), 3)
    assert "pink" in said
    assert "dark, light" in said
    path = pictures.folder / "odd/pink/1.png"
    path.write_bytes(path.read_bytes()[:40])
    assert "1.png" in sentence(pictures.run("predict", "run", "odd"), 3)
    assert "folder for each class" in sentence(
        pictures.run("evaluate", "run", "--data", "odd/light/1.png"), 3
    )


def test_a_table_of_labels_says_what_the_images_of_a_folder_show(pictures):
    shades(pictures.folder / "flat", {"light": 210, "dark": 40}, 3)
    lines = [f"{c}/{n}.png,{c}" for c in ("light", "dark") for n in range(2)]
    labels = pictures.folder / "labels.csv"
    labels.write_text("\n".join(["file,label", *lines, "light/2,dark"]) + "\n")
    words = ("--data", "flat", "--labels", "labels.csv")
    found = score(pictures, *words)
    assert (found["rows"], found["accuracy"]) == (5, 0.8)
    assert any("passed over 1 images" in note for note in found["notes"])
    assert score(pictures, *words, launch=("launch", "-n", "2")) == found
    labels.write_text("file,label\ndark/0.png,pink\n")
    assert "'pink', which the network" in sentence(pictures.run("evaluate", "run", *words), 3)
    said = sentence(pictures.run("evaluate", "run", "--labels", "labels.csv"), 2)
    assert "--data FOLDER" in said
    said = sentence(pictures.run("evaluate", "run", "--data", "labels.csv", *words[2:]), 2)
    assert "is for a folder of images" in said


def test_rows_with_gaps_keep_their_place_where_the_training_left_them_out(animals):
    table(animals.folder / "gaps.csv", ("ant", "bee", "cow"), 60)
    lines = (animals.folder / "gaps.csv").read_text().splitlines()
    lines[5] = "," + lines[5].split(",", 1)[1]
    (animals.folder / "gaps.csv").write_text("\n".join(lines) + "\n")
    for command in (
        ("prepare", "csv", "gaps.csv", "gaps.h5", "--missing", "drop"),
        ("train", "run.toml", "--set", "data.path=gaps.h5", "--output", "gaps", "--quiet"),
    ):
        result = animals.run(*command)
        assert result.returncode == 0, result.stderr
    result = animals.run("predict", "gaps", "gaps.csv", "--output", "p.csv")
    assert result.returncode == 0, result.stderr
    assert "1 of 60 rows have gaps" in result.stderr
    rows = list(csv.DictReader((animals.folder / "p.csv").open()))
    assert [row["row"] for row in rows] == [str(n) for n in range(60)]
    assert set(list(rows[4].values())[1:]) == {""}
    kinds = [line.rsplit(",", 1)[1] for line in lines[1:]]
    assert [r["prediction"] for n, r in enumerate(rows) if n != 4] == kinds[:4] + kinds[5:]
    result = animals.run("launch", "-n", "2", "predict", "gaps", "gaps.csv", "--json")
    facts = json.loads(result.stdout)
    assert facts["predictions"][4] is None
    assert facts["outputs"][4] == [None] * 3
    assert facts["predictions"][5] == kinds[5]
    result = animals.run("evaluate", "gaps", "--data", "gaps.csv", "--json")
    assert json.loads(result.stdout)["rows"] == 59


def test_names_of_classes_are_no_formulas_in_pictures(pictures):
    result = pictures.run("plot", "run")
    assert result.returncode == 0, result.stderr
    assert (pictures.folder / "run/confusion.png").is_file()


def test_a_regression_says_which_column_its_outputs_are_of(animals):
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 2))
    lines = ["b,price,a", *(f"{b},{2 * a - b},{a}" for a, b in x)]
    (animals.folder / "prices.csv").write_text("\n".join(lines) + "\n")
    animals.run_file(
        'data.path = "prices.h5"\nmodel.layers = [1]\nmodel.loss = "squared"\n'
        'training.epochs = 30\ndevice.kind = "cpu"\n'.replace("[1]", "[{ units = 1 }]"),
        "prices.toml",
    )
    prepare = ("prepare", "csv", "prices.csv", "prices.h5", "--target", "price")
    for command in (prepare, ("train", "prices.toml", "--output", "priced", "--quiet")):
        assert animals.run(*command).returncode == 0
    (animals.folder / "asked.csv").write_text("a,b\n1,1\n0.5,-1\n")
    result = animals.run("predict", "priced", "asked.csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0]) == ["row", "output_price"]
    assert [float(r["output_price"]) for r in rows] == pytest.approx([1, 2], abs=0.05)
    found = json.loads(animals.run("evaluate", "priced", "--data", "prices.csv", "--json").stdout)
    assert found["loss"] < 0.01
    assert found["accuracy"] is None
