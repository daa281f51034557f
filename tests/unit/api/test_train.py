"""The Python interface gives what the same run file gives, and says a mistake in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import disttrain
from disttrain.data.writer import write_data_file
from tests.conftest import blobs

X, Y = blobs(110, 1)
TEST = blobs(30, 2)
KEYS: dict[str, Any] = {"epochs": 3, "batch_size": 16, "device": "cpu"}
LAYERS = [{"units": 8, "activation": "tanh"}, {"units": 3}]


@pytest.fixture(scope="module")
def by_run_file(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the summary of a training by a run file on a prepared data file."""
    folder = tmp_path_factory.mktemp("run_file")
    write_data_file(folder / "data.h5", {"train": (X, Y), "test": TEST})
    (folder / "run.toml").write_text(
        "data.path = 'data.h5'\n"
        "model.layers = [{ units = 8, activation = 'tanh' }, { units = 3 }]\n"
        "training = { epochs = 3, batch_size = 16 }\ndevice.kind = 'cpu'\n"
        "schedule = { kind = 'step', learning_rate = 0.2, factor = 0.5, every_epochs = 2 }\n"
    )
    return disttrain.train(folder / "run.toml", folder / "out").summary


def data() -> disttrain.Data:
    return disttrain.Data(X, Y, test=TEST)


def step(epoch: int) -> float:
    return 0.2 * 0.5 ** (epoch // 2)


SCHEDULE = {"kind": "step", "learning_rate": 0.2, "factor": 0.5, "every_epochs": 2}
WAYS: dict[str, dict[str, Any]] = {
    "tables": {"layers": LAYERS, "schedule": SCHEDULE},
    "objects": {
        "layers": [disttrain.Dense(8, "tanh"), disttrain.Dense(3)],
        "schedule": {"kind": "step", "every_epochs": np.int64(2)},
        "learning_rate": np.float64(0.2),
        "factor": 0.5,
    },
    "a function": {"layers": (disttrain.Dense(8, "tanh"), 3), "schedule": step},
    "a loss": {"layers": LAYERS, "schedule": SCHEDULE, "loss": disttrain.Softmax()},
    "sections": {
        "layers": LAYERS,
        "schedule": SCHEDULE,
        "optimizer": {"kind": "sgd", "momentum": 0.9},
        "validation": {"every_epochs": 1},
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_arrays_and_keywords_give_what_the_run_file_gives(
    by_run_file: dict[str, Any], way: str
) -> None:
    model = disttrain.train(data(), **KEYS, **WAYS[way])
    for key in ("digest", "validation", "test", "steps", "status"):
        assert model.summary[key] == by_run_file[key]
    assert model.evaluate().loss == model.evaluate(*TEST).loss == by_run_file["test"]["loss"]
    assert [report["epoch"] for report in model.history] == [1.0, 2.0, 3.0]


def test_a_run_file_takes_keywords_too(by_run_file: dict[str, Any], tmp_path: Path) -> None:
    write_data_file(tmp_path / "data.h5", {"train": (X, Y), "test": TEST})
    text = "data.path = 'data.h5'\nmodel.layers = [{ units = 5 }]\nname = 'other'\n"
    (tmp_path / "run.toml").write_text(text)
    one = disttrain.train(tmp_path / "run.toml", layers=LAYERS, schedule=SCHEDULE, **KEYS)
    two = disttrain.train(tmp_path / "data.h5", layers=LAYERS, schedule=SCHEDULE, **KEYS)
    assert one.summary["digest"] == two.summary["digest"] == by_run_file["digest"]
    assert (one.settings.name, one.settings.seed) == ("other", 1)


class Place:
    """A path of another library than pathlib."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)


def test_any_kind_of_path_will_do(tmp_path: Path) -> None:
    write_data_file(tmp_path / "data.h5", {"train": (X, Y), "test": TEST})
    made = disttrain.train(Place(tmp_path / "data.h5"), Place(tmp_path / "out"), layers=[3], **KEYS)
    again = disttrain.train(Place(tmp_path / "out" / "run.toml"), Place(tmp_path / "again"))
    assert made.summary["digest"] == again.summary["digest"]
    assert disttrain.load(Place(tmp_path / "again")).snapshot.digest == made.snapshot.digest


def test_a_loaded_run_has_its_summary_and_its_history(tmp_path: Path) -> None:
    made = disttrain.train(data(), tmp_path / "run", layers=[3], **KEYS)
    again = disttrain.load(tmp_path / "run")
    assert again.summary == made.summary
    assert again.history == made.history
    assert [row["epoch"] for row in again.history] == [1, 2, 3]
    alone = disttrain.load(tmp_path / "run" / "best.h5")
    assert (alone.summary, alone.history) == ({}, [])
    (tmp_path / "run" / "summary.json").unlink()
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write("torn")
    torn = disttrain.load(tmp_path / "run")
    assert (torn.summary, torn.history) == ({}, made.history)


def test_a_network_is_saved_to_a_file_of_its_own(tmp_path: Path) -> None:
    made = disttrain.train(data(), layers=[3], **KEYS)
    said = made.predict(X[:5])
    made.save(tmp_path / "model.h5")
    del made
    assert np.array_equal(disttrain.load(tmp_path / "model.h5").predict(X[:5]), said)
    again = disttrain.load(tmp_path / "model.h5")
    with pytest.raises(disttrain.UsageError, match=r"its name must end in \.h5"):
        again.save("model.onnx")
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(disttrain.UsageError, match=r"folder\.h5"):
        again.save(tmp_path / "folder.h5")


def test_targets_of_another_length_are_refused_where_they_are_given() -> None:
    with pytest.raises(disttrain.DataError, match="train: 110 rows of inputs but 5 targets"):
        disttrain.Data(X, Y[:5])
    with pytest.raises(disttrain.DataError, match="test: 30 rows of inputs but 29 targets"):
        disttrain.Data(X, Y, test=(TEST[0], TEST[1][1:]))
    with pytest.raises(disttrain.DataError, match="train: 110 rows of inputs but 3 weights"):
        disttrain.Data(X, Y, weights=[1, 2, 3])


def test_a_temporary_run_goes_with_its_network() -> None:
    model = disttrain.train(data(), layers=[3], **KEYS)
    folder = model.path.parent
    assert folder.exists()
    del model
    assert not folder.exists()


def test_a_run_in_a_folder_is_resumed_with_a_longer_schedule(tmp_path: Path) -> None:
    keys = KEYS | {"layers": LAYERS, "schedule": step}
    whole = disttrain.train(data(), tmp_path / "whole", **keys | {"epochs": 5})
    disttrain.train(data(), tmp_path / "run", **keys)
    with pytest.raises(disttrain.UsageError, match="holds a run"):
        disttrain.train(disttrain.Data(X + 1, Y), tmp_path / "run", **keys)
    resumed = disttrain.train(data(), tmp_path / "run", resume=True, **keys | {"epochs": 5})
    assert resumed.summary["digest"] == whole.summary["digest"]
    longer = keys | {"epochs": 7, "schedule": lambda epoch: 0.1}
    with pytest.raises(disttrain.RunFileError, match=r"schedule\.rates was"):
        disttrain.train(data(), tmp_path / "run", resume=True, **longer)
    again = disttrain.train(disttrain.Data(X + 1, Y), tmp_path / "run", overwrite=True, **keys)
    assert list((tmp_path / "run").glob("data-*.h5")) == [Path(again.settings.data.path)]
    assert disttrain.load(tmp_path / "run").evaluate(X + 1, Y) == again.evaluate(X + 1, Y)


class Twice(disttrain.Dense):
    """A dense layer of a user's own."""

    kind = "twice"

    def forward(self, x: Any, ctx: disttrain.Context) -> Any:
        a, back = super().forward(x, ctx)
        return 2 * a, lambda dy: back(2 * dy)


def test_layers_of_ones_own_are_given_once(tmp_path: Path) -> None:
    layers = [Twice(8), 3]
    model = disttrain.train(data(), tmp_path / "run", layers=layers, **KEYS)
    assert model.network.names == ["twice1", "dense2"]
    assert [layer.units for layer in model.settings.model.layers] == [8, 3]
    again = disttrain.load(tmp_path / "run", layers=[Twice(8), disttrain.Dense(3)])
    assert again.evaluate() == model.evaluate()


NAMES = np.array(["cat", "ant", "bee"])[Y]


@pytest.mark.parametrize(
    "labels",
    [NAMES, NAMES.astype(object), list(NAMES), Y + 5, Y * 2, (Y == 1), Y.reshape(-1, 1)],
    ids=["texts", "objects", "list", "from 5", "gaps", "truth", "column"],
)
def test_labels_of_any_kind_are_classes(labels: Any) -> None:
    model = disttrain.train(disttrain.Data(X, labels), layers=[len(np.unique(labels))], **KEYS)
    names = model.snapshot.state["data"]["class_names"]
    flat = np.asarray(labels).reshape(-1)
    assert names == ([] if 0 in flat[:3] and len(names) == 0 else sorted({*map(str, flat)}))
    score = model.evaluate(X, labels)
    said = model.predict(X).argmax(axis=1)
    right = [names[n] if names else n for n in said] == (flat.astype(str) if names else flat)
    assert score.accuracy == pytest.approx(np.mean(right))


def test_codes_with_few_rows_are_classes_in_the_order_of_their_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = np.delete(np.arange(40), 17).repeat(4)
    for codes in (missing, np.arange(1, 21).repeat(3), missing.astype(str)):
        rows = np.arange(2 * len(codes)).reshape(-1, 2)
        path = disttrain.Data(rows, codes).write(tmp_path)
        with h5py.File(path) as file:
            names = list(file.attrs["classes"])
            of_rows = zip(file["train/inputs"][:, 0], file["train/targets"][:], strict=True)
            found = {row // 2: names[number] for row, number in of_rows}
        assert names == [str(name) for name in np.unique(codes.astype(int))]
        assert found == dict(enumerate(codes.astype(str)))
    for codes in (np.arange(1, 41), missing * 2, 1950 + missing):
        with pytest.raises(disttrain.DataError, match="targets are whole numbers"):
            disttrain.Data(rows := np.zeros((len(codes), 2)), codes).write(tmp_path)
    # A resumed run's data, accepted by an older version: the file is there already.
    with monkeypatch.context() as patch:
        patch.setattr("disttrain.api.data._refuse_quantities", lambda targets: None)
        path = disttrain.Data(rows, codes).write(tmp_path)
    assert disttrain.Data(rows, codes).write(tmp_path) == path


def test_floats_are_fitted_with_the_squared_loss() -> None:
    y = X @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.5
    model = disttrain.train(disttrain.Data(X, y), layers=[1], learning_rate=0.01, **KEYS)
    assert model.settings.model.loss == "squared"
    assert model.evaluate(X, y).accuracy is None
    assert model.predict(X.tolist()).shape == (110, 1)


Mistake = Callable[[], object]
ONE = {"layers": [3]}
MISTAKES: dict[str, tuple[Mistake, type[Exception], str]] = {
    "a misspelled key": (
        lambda: disttrain.train(data(), epoch=3, **ONE),
        disttrain.RunFileError, "unknown setting 'epoch'; did you mean 'epochs'?",
    ),
    "a key of several sections": (
        lambda: disttrain.train(data(), every_epochs=3, **ONE),
        disttrain.RunFileError, "write checkpoint={'every_epochs': ...} or schedule=",
    ),
    "a key of another kind": (
        lambda: disttrain.train(data(), schedule="cosine", factor=0.5, **ONE),
        disttrain.RunFileError, 'is a key of kind = "step", and kind is "cosine" here',
    ),
    "arrays that are no Data": (
        lambda: disttrain.train(X, X[:, 0] > 0, layers=[2]),
        disttrain.UsageError, "run folder, is ndarray: give arrays as disttrain.Data(X, y)",
    ),
    "no layers": (lambda: disttrain.train(data()), disttrain.RunFileError, "'model.layers'"),
    "one layer": (
        lambda: disttrain.train(data(), layers=3), disttrain.UsageError, "give a list",
    ),
    "too few units": (
        lambda: disttrain.train(data(), layers=[2]), disttrain.RunFileError, "give it units = 3",
    ),
    "an unknown loss": (
        lambda: disttrain.train(data(), loss="mse", **ONE), disttrain.RunFileError, "'softmax'",
    ),
    "an unknown optimizer": (
        lambda: disttrain.train(data(), optimizer="rms", **ONE),
        disttrain.RunFileError, "'rms'; known kinds: sgd, adam, adamw",
    ),
    "a schedule without a rate": (
        lambda: disttrain.train(data(), schedule=lambda epoch: None, **ONE),
        disttrain.UsageError, "schedule(0) returned None",
    ),
    "no metric": (
        lambda: disttrain.train(data(), metrics=3, **ONE), disttrain.UsageError, "metrics has 3",
    ),
    "a metric by name": (
        lambda: disttrain.train(data(), metrics="f1", **ONE),
        disttrain.UsageError, "metrics = 'f1' is a name: give functions",
    ),
    "years": (
        lambda: disttrain.train(disttrain.Data(X, 1950 + np.arange(110) % 49), **ONE),
        disttrain.DataError, "49 different years from 1950 to 1998: give them as floats (y.astype",
    ),
    "no callback": (
        lambda: disttrain.train(data(), callbacks=[print], **ONE),
        disttrain.UsageError, "subclass of disttrain.Callback",
    ),
    "arrays to score": (
        lambda: disttrain.train(data(), **ONE).score(X, Y),
        disttrain.UsageError, "evaluate(X, y) is for arrays",
    ),
    "no arrays": (lambda: disttrain.train(3), disttrain.UsageError, "give disttrain.Data(X, y)"),
    "a pair for validation": (
        lambda: disttrain.train(data(), validation=TEST, **ONE),
        disttrain.RunFileError, "Data(X, y, validation=(X_val, y_val)) names them",
    ),
    "no file": (lambda: disttrain.train("no.h5", **ONE), disttrain.DataError, "does not exist"),
    "other lengths": (
        lambda: disttrain.train(disttrain.Data(X, Y[:5]), **ONE),
        disttrain.DataError, "110 rows of inputs but 5 targets",
    ),
    "ragged rows": (
        lambda: disttrain.train(disttrain.Data([[1, 2], [3]], [0, 1]), **ONE),
        disttrain.DataError, "give rows of one length",
    ),
    "texts as inputs": (
        lambda: disttrain.train(disttrain.Data([["a"], ["b"]], [0, 1]), **ONE),
        disttrain.DataError, "give whole numbers or floats",
    ),
    "a hole": (
        lambda: disttrain.train(disttrain.Data(X * np.nan, Y), **ONE), disttrain.DataError, "NaN",
    ),
    "an unknown class": (
        lambda: disttrain.train(disttrain.Data(X, NAMES, test=(X, ["elk"] * 110)), **ONE),
        disttrain.DataError, "the class 'elk'",
    ),
    "no pair": (
        lambda: disttrain.train(disttrain.Data(X, Y, test=X), **ONE), disttrain.DataError, "a pair",
    ),
}  # fmt: skip


def test_a_refused_start_leaves_no_folder_and_others_data_stay(tmp_path: Path) -> None:
    for mistake in ({"layers": [8, 4]}, {"layers": [2]}, {"layers": [3], "epoch": 3}):
        with pytest.raises(disttrain.UsageError):
            disttrain.train(data(), tmp_path / "new", **mistake)
        assert not list(tmp_path.iterdir())
    mine = tmp_path / "new" / "data-2024.h5"
    mine.parent.mkdir()
    mine.touch()
    disttrain.train(data(), mine.parent, layers=[3], **KEYS)
    assert mine.exists()


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(name: str) -> None:
    mistake, kind, words = MISTAKES[name]
    with pytest.raises(disttrain.DisttrainError) as caught:
        mistake()
    assert words in str(caught.value)
    assert caught.value.exit_code == kind.exit_code  # type: ignore[attr-defined]
    assert "\n" not in str(caught.value)


def test_a_mistake_names_arguments_and_no_options(tmp_path: Path) -> None:
    """Of a run in a folder: `resume=True`, not `--resume`; commands stay commands."""
    train, folder = disttrain.train, tmp_path / "run"
    train(data(), folder, **ONE, **KEYS)
    with pytest.raises(disttrain.UsageError) as caught:
        train(data(), folder, **ONE, **KEYS)
    assert str(caught.value) == (
        f"run folder {folder} holds a run: go on with it by resume=True, replace it by "
        "overwrite=True, or choose another output folder"
    )
    with pytest.raises(disttrain.RunFileError, match="resume with the old value") as no:
        train(data(), folder, resume=True, seed=3, **ONE, **KEYS | {"epochs": 5})
    assert "`disttrain train RUN --resume`" in str(no.value)
    assert "or go on with accept_changes=True, to another result" in str(no.value)
    with pytest.raises(disttrain.UsageError, match="give resume=True or overwrite=True, not both"):
        train(data(), folder, resume=True, overwrite=True, **ONE, **KEYS)
    frames = pytest.importorskip("pandas")
    gaps = frames.DataFrame(X).mask(X > 1)
    with pytest.raises(disttrain.DataError) as gap:
        train(disttrain.Data(gaps, Y), **ONE, **KEYS)
    assert str(gap.value).endswith('say what to do with missing="mean", "median" or "indicator"')
    with pytest.raises(disttrain.UsageError, match=r"name train or validation by split=\.\.\.$"):
        train(disttrain.Data(X, Y, validation=TEST), **ONE, **KEYS).evaluate(split="test")


@pytest.fixture(scope="module")
def trained() -> Any:
    return disttrain.train(disttrain.Data(X, NAMES), layers=[3], **KEYS)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda model: model.evaluate(X), "give evaluate(X, y)"),
        (lambda model: model.evaluate(X, NAMES, split="test"), "is for files"),
        (lambda model: model.evaluate(X, NAMES[:5]), "do not fit 110 samples"),
        (lambda model: model.evaluate(X, ["elk"] * 110), "the class 'elk'"),
        (lambda model: model.evaluate(split="test"), "no split 'test'"),
        (lambda model: model.predict(X[:, :2]), "2 numbers a sample, the network takes 4"),
        (lambda model: model.predict([[1], [2, 3]]), "give rows of one length"),
        (lambda model: model.predict(X * np.inf), "NaN or infinity"),
    ],
)
def test_a_mistake_with_a_network_is_one_sentence(
    trained: Any, use: Callable[[Any], object], words: str
) -> None:
    with np.errstate(all="ignore"), pytest.raises(disttrain.DisttrainError) as caught:
        use(trained)
    assert words in str(caught.value)
    assert caught.value.exit_code in (2, 3)


def test_every_exception_is_exported_and_the_version() -> None:
    from disttrain import errors

    for name in errors.__all__:
        if name[0].isupper():
            assert getattr(disttrain, name) is getattr(errors, name)
    assert disttrain.__version__ == "0.1.0"
    assert set(disttrain.__all__) <= set(dir(disttrain))


def test_weights_say_how_much_each_sample_counts(tmp_path: Path) -> None:
    """Rows of weight 0 change nothing, and a row of weight 2 counts as two rows."""
    x, y = blobs(60, 1)
    keys = {"layers": [3], "epochs": 2, "protocol": "batch", "normalize": "none", "device": "cpu"}
    keys["validation_fraction"] = 0
    weights = np.random.default_rng(0).integers(0, 3, 60)
    weighted = disttrain.train(disttrain.Data(x, y, weights=weights), **keys)
    repeated = disttrain.train(disttrain.Data(x.repeat(weights, 0), y.repeat(weights)), **keys)
    np.testing.assert_allclose(
        weighted.network.values, repeated.network.values, rtol=1e-4, atol=1e-6
    )
    plain = disttrain.train(disttrain.Data(x, y), **keys)
    assert not np.allclose(weighted.network.values, plain.network.values, rtol=1e-2)
    data = disttrain.Data(x, y, weights=weights, validation=(x, y, weights + 1))
    disttrain.train(data, tmp_path / "run", **keys | {"epochs": 1})
    for wrong in (weights[:-1], weights - 1.0, np.full(60, "much")):
        with pytest.raises(disttrain.DataError, match="weight"):
            disttrain.train(disttrain.Data(x, y, weights=wrong), **keys)
