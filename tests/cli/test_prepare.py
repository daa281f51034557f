import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from disttrain.cli import moving
from disttrain.cli.prepare import app
from disttrain.data import read_facts
from disttrain.errors import DataError, UsageError

SHIPPED = Path(__file__).parents[2] / "data" / "mnist"
TABLE = "a,b,label\n" + "".join(f"{i},{i * 2},{'dog' if i % 2 else 'cat'}\n" for i in range(20))


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "in" / "table.csv"
    path.parent.mkdir()
    path.write_text(TABLE)
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out" / "data.h5"


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_csv_says_what_it_made(table, out):
    result = run("csv", table, out)
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        f"{out}: train 20 rows; inputs 2 float32; target 'label': 2 classes (cat, dog)\n"
    )
    assert result.stderr == ""
    with h5py.File(out) as f:
        assert list(f.attrs["classes"]) == ["cat", "dog"]
        assert f["train/inputs"].shape == (20, 2)


def test_json_is_one_object_and_people_read_standard_error(table, out):
    result = run("csv", table, out, "--json", "--test-fraction", 0.2, "--seed", 4)
    assert json.loads(result.stdout) == {
        "path": str(out),
        "rows": {"train": 16, "test": 4},
        "input_shape": [2],
        "input_dtype": "float32",
        "target_dtype": "int64",
        "outputs": 2,
        "task": "classification",
        "classes": ["cat", "dog"],
        "target": ["label"],
        "weights": None,
        "seed": 4,
        "notes": [],
    }
    assert "train 16 rows, test 4 rows" in result.stderr


def test_the_seed_decides_the_order(table, out, tmp_path):
    paths = [out, tmp_path / "b.h5", tmp_path / "c.h5"]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        assert run("csv", table, path, "--seed", seed).exit_code == 0
    a, b, c = (path.read_bytes() for path in paths)
    assert a == b
    assert a != c


def test_regression_and_several_targets(table, out):
    result = run("csv", table, out, "--target", "b", "--regression")
    assert "column 'label' gives 2 inputs" in result.stdout
    table.write_text("a,b,c\n1,2,3\n4,5,6\n")
    assert "2 numbers to be fitted, float32" in run("csv", table, out, "--target", "b,c").stdout
    assert "1 number to be fitted" in run("csv", table, out, "--regression").stdout


def test_mnist_and_idx_give_the_same_file(out, tmp_path):
    result = run("mnist", out, "--from", SHIPPED)
    assert "train 60000 rows, test 10000 rows; inputs 28 x 28 uint8; 10 classes" in result.stdout
    assert run("idx", SHIPPED, tmp_path / "b.h5").exit_code == 0
    names = sorted(SHIPPED.glob("*.gz"))
    options = ("--test-images", "--test-labels", "--train-images", "--train-labels")
    pairs = [str(word) for pair in zip(options, names, strict=True) for word in pair]
    assert run("idx", tmp_path / "c.h5", *pairs).exit_code == 0
    assert out.read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert out.read_bytes() == (tmp_path / "c.h5").read_bytes()


def test_npz_and_npy(out, tmp_path):
    x, y = np.random.default_rng(0).random((10, 3)), np.arange(10) % 2
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    assert (
        "train 10 rows, test 10 rows; inputs 3 float64"
        in run("npz", tmp_path / "a.npz", out).stdout
    )
    result = run("npz", tmp_path / "x.npy", out, "--targets", tmp_path / "y.npy")
    assert "train 10 rows; inputs 3 float64; 2 classes" in result.stdout
    assert isinstance(run("npz", tmp_path / "x.npy", out).exception, UsageError)


def test_images(out, tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.new("RGB", (8, 6)).save(path)
    options = ("--size", "3x4", "--grey", "--test-fraction", "0.5")
    result = run("images", tmp_path / "images", out, *options)
    assert "train 2 rows, test 2 rows; inputs 3 x 4 uint8; 2 classes (a, b)" in result.stdout
    for size in ("3", "3x", "0x4", "axb"):
        assert isinstance(run("images", tmp_path, out, "--size", size).exception, UsageError)


@pytest.mark.parametrize(
    ("arguments", "kind", "cause"),
    [
        (("csv", "{in}/nope.csv", "{out}"), DataError, "nope.csv does not exist"),
        (("csv", "{in}", "{out}"), DataError, "is a folder, not a file"),
        (("csv", "{in}/table.csv", "{in}"), DataError, "is a folder"),
        (("csv", "{in}/table.csv", "{in}/table.csv"), UsageError, "is also a file to read"),
        (("csv", "{in}/table.csv", "{out}", "--target", "z"), DataError, "columns are a, b, label"),
        (("mnist", "{out}", "--from", "{in}"), DataError, "does not hold train-images"),
        (("idx", "{out}"), UsageError, "either FOLDER OUT, or OUT and options"),
        (("idx", "{in}", "{out}", "--train-images", "x"), UsageError, "either FOLDER OUT"),
        (("idx", "{out}", "--train-images", "x"), UsageError, "--train-images with --train-labels"),
        (("npz", "{in}/table.csv", "{out}"), DataError, "is not an array file"),
        (("images", "{in}", "{out}"), DataError, "holds no folders with images"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(table, out, arguments, kind, cause):
    places = {"{in}": str(table.parent), "{out}": str(out)}
    words = []
    for argument in arguments:
        for mark, place in places.items():
            argument = argument.replace(mark, place)
        words.append(argument)
    result = run(*words)
    assert type(result.exception) is kind
    assert cause in str(result.exception)
    assert "\n" not in str(result.exception)
    assert result.stdout == ""
    assert os.listdir(table.parent) == ["table.csv"]
    assert table.read_text() == TABLE
    assert not out.parent.exists()


def test_a_bad_option_ends_with_2(table, out):
    assert run("csv", table, out, "--seed", "-1").exit_code == 2
    assert run("csv", table, out, "--test-fraction", "1.5").exit_code == 2


def test_help_needs_nothing_heavy():
    heavy = "{'numpy', 'h5py', 'rich'}"
    code = f"import sys, disttrain.cli.prepare; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("digits", "train 1438 rows, test 359 rows; inputs 8 x 8 float32; 10 classes"),
        (
            "iris",
            "train 120 rows, test 30 rows; inputs 4 float32; target 'class': "
            "3 classes (setosa, versicolor, virginica)",
        ),
        (
            "wine",
            "train 142 rows, test 36 rows; inputs 13 float32; target 'class': 3 classes (class_0, ",
        ),
        (
            "breast-cancer",
            "train 455 rows, test 114 rows; inputs 30 float32; target 'class': "
            "2 classes (benign, malignant)",
        ),
    ],
)
def test_small_sets_are_divided_by_class_and_seed(name, said, out, tmp_path):
    result = run(name, out)
    assert result.exit_code == 0, result.output
    assert said in result.stdout
    with h5py.File(out) as f:
        counts = [np.bincount(f[f"{split}/targets"]) for split in ("train", "test")]
    np.testing.assert_allclose(counts[1], 0.25 * counts[0], atol=1.3)
    for place, seed in (("b.h5", 0), ("c.h5", 1)):
        assert run(name, tmp_path / place, "--seed", seed).exit_code == 0
    assert out.read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert out.read_bytes() != (tmp_path / "c.h5").read_bytes()
    facts = json.loads(run(name, out, "--json", "--test-fraction", 0).stdout)
    assert facts["rows"] == {"train": sum(sum(count) for count in counts)}


def test_a_changed_small_set_ends_with_3_and_leaves_nothing(table, out):
    (table.parent / "iris.csv").write_text("a,b,class\n1,2,setosa\n")
    result = run("iris", out, "--from", table.parent)
    assert isinstance(result.exception, DataError)
    assert result.exception.exit_code == 3
    assert "iris.csv is not the iris data" in str(result.exception)
    assert not out.parent.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("xor", "train 400 rows; inputs 2 float32; 2 classes"),
        ("xor --exact", "train 4 rows; inputs 2 float32; 2 classes"),
        ("moons --rows 50 --noise 0", "train 50 rows; inputs 2 float32; 2 classes"),
        ("spirals", "train 194 rows; inputs 2 float32; 2 classes"),
        ("blobs --classes 5", "train 400 rows; inputs 2 float32; 5 classes"),
        ("line --margin 0.3", "train 200 rows; inputs 2 float32; 2 classes"),
        ("fish --test-fraction 0.25", "train 300 rows, test 100 rows; inputs 2 float32; 2 classes"),
        ("curve --test-fraction 0.1", "test 20 rows; inputs 1 float32; 1 number to be fitted"),
        ("curve --function x**2 --low 0 --high 9 --noise 1", "train 200 rows; inputs 1 float32"),
    ],
)
def test_generated_sets_follow_the_seed(words, said, out, tmp_path):
    result = run(*words.split(), out)
    assert result.exit_code == 0, result.output
    assert said in result.stdout
    assert run(*words.split(), tmp_path / "b.h5", "--seed", 0).exit_code == 0
    assert out.read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert json.loads(run(*words.split(), out, "--json", "--seed", 5).stdout)["seed"] == 5
    assert out.read_bytes() != (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("xor --exact --rows 8", "leave --rows, --noise and --test-fraction out"),
        ("xor --rows 3", "give at least 4"),
        ("moons --noise 1e300", "--noise makes values that are not finite"),
        ("blobs --rows 3 --classes 4", "give at least 4"),
        ("line --margin 0", "must lie between 0 and 1"),
        ("curve --function 3x", "is not a function of x"),
        ("curve --low 3", "give --low below --high"),
    ],
)
def test_mistakes_in_generated_sets_end_with_2(words, cause, out):
    result = run(*words.split(), out)
    assert isinstance(result.exception, UsageError)
    assert cause in str(result.exception)
    assert not out.parent.exists()
    assert run("fish", out, "--noise", -1).exit_code == 2


def test_thousands_of_class_names_are_kept(tmp_path, out):
    path = tmp_path / "many.csv"
    names = [f"a class with the long name {number:05d}" for number in range(6000)]
    path.write_text("a,label\n" + "".join(f"{n % 7},{name}\n" for n, name in enumerate(names * 2)))
    facts = json.loads(run("csv", path, out, "--json").stdout)
    assert facts["classes"] == names
    assert list(read_facts(str(out)).class_names) == names


def test_what_was_learned_is_kept_and_a_table_to_test_on_goes_through_it(tmp_path, table, out):
    run("csv", table, out)
    made = read_facts(str(out)).preparation
    assert [column.name for column in made.columns] == ["a", "b"]
    assert made.classes == ("cat", "dog")
    other = tmp_path / "other.csv"
    other.write_text("label,b,a\ndog,1,2\ndog,3,4\n")
    result = run("csv", other, tmp_path / "test.h5", "--like", out)
    assert "test 2 rows; inputs 2 float32; target 'label': 2 classes (cat, dog)" in result.stdout
    with h5py.File(tmp_path / "test.h5") as f:
        assert f["test/inputs"][:].tolist() == [[2, 1], [4, 3]]
        assert f["test/targets"][:].tolist() == [1, 1]
    assert isinstance(run("csv", other, out, "--like", out).exception, UsageError)
    bad = run("csv", other, tmp_path / "b.h5", "--like", out, "--pixels").exception
    assert "leave the other options out" in str(bad)


def test_hdf5_of_any_layout(out, tmp_path):
    path = tmp_path / "a.mat"
    with h5py.File(path, "w") as f:
        f["X"], f["y"] = np.arange(40.0).reshape(2, 20), np.arange(20.0)[None] % 2 + 1
    result = run("hdf5", path, out, "--inputs", "X", "--targets", "y", "--transposed")
    assert result.stdout.splitlines()[0] == (
        f"{out}: train 20 rows; inputs 2 float64; 2 classes (1, 2)"
    )
    listed = run("hdf5", path, out)
    assert isinstance(listed.exception, DataError)
    assert "it holds /X (2, 20) float64; /y (1, 20) float64" in str(listed.exception)
    half = run("hdf5", path, out, "--inputs", "X", "--targets", "y", "--test-inputs", "X")
    assert isinstance(half.exception, UsageError)


def test_a_pipe_is_said_to_be_waited_for(table, out):
    pipe = table.with_name("pipe")
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(TABLE,))
    writer.start()
    result = run("csv", pipe, out, "--json")
    writer.join()
    assert result.stderr.startswith(f"waiting for another program to write to the pipe {pipe}\n")
    assert json.loads(result.stdout)["rows"] == {"train": 20}


def test_names_outside_the_character_set_of_the_terminal(tmp_path, out):
    path = tmp_path / "t.csv"
    path.write_text("größe,label\n1,ä\n2,日本\n")
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "disttrain", "prepare", "csv", str(path), str(out)],
        capture_output=True, env=environment, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert rb"2 classes (\xe4, \u65e5\u672c)" in done.stdout


def test_quiet_says_nothing_and_lines_tell_how_far_it_is(table, out, monkeypatch):
    monkeypatch.setattr(moving, "EVERY", 0.0)
    told = run("csv", table, out)
    assert "reading table.csv: 20 rows, 100%" in told.stderr
    assert "writing data.h5, 100%" in told.stderr
    assert "reading" not in told.stdout
    quiet = run("csv", table, out, "--quiet")
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")
    assert json.loads(run("csv", table, out, "-q", "--json").stdout)["rows"] == {"train": 20}
    assert run("xor", out, "--quiet").output == ""
