"""Tables and images of scikit-learn, written as other people do, against its own networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import disttrain
from disttrain.data.importers.images import import_images
from disttrain.data.importers.tables import Options, import_table
from disttrain.data.writer import write_data_file

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn import datasets
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

SEEDS, UNITS, BATCH, RATE = range(3), 32, 32, 0.003


def test_categories_and_gaps_become_the_inputs_that_scikit_learn_makes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "length": random.normal(40, 5, 90).round(1),
            "island": random.choice(["Biscoe", "Dream", "Torgersen"], 90),
            "sex": random.choice(["female", "male", None], 90),
            "mass": random.integers(2700, 6300, 90).astype(float),
            "kind": random.choice(["Adelie", "Gentoo"], 90),
        }
    )
    frame.loc[random.choice(90, 12, replace=False), "length"] = np.nan
    train, test = train_test_split(frame, test_size=0.3, random_state=0)
    for name, part in (("train", train), ("test", test)):
        part.to_csv(tmp_path / f"{name}.csv")
    imported = import_table(
        tmp_path / "train.csv", Options(missing="median"), others={"test": tmp_path / "test.csv"}
    )
    maker = ColumnTransformer(
        [
            ("length", SimpleImputer(strategy="median"), ["length"]),
            ("words", OneHotEncoder(), ["island", "sex"]),
            ("mass", "passthrough", ["mass"]),
        ],
        sparse_threshold=0,
    )
    train["sex"], test["sex"] = train["sex"].fillna("zz"), test["sex"].fillna("zz")
    want = {"train": maker.fit_transform(train), "test": maker.transform(test)}
    for name, part in (("train", train), ("test", test)):
        inputs, targets = imported.splits[name]
        np.testing.assert_allclose(inputs, want[name].astype(float), rtol=1e-6)
        np.testing.assert_array_equal(targets, part["kind"] == "Gentoo")


def excel(frame: pandas.DataFrame, path: Path) -> None:
    frame.to_csv(path, sep=";", decimal=",", index=False, encoding="utf-8-sig")


def csv(frame: pandas.DataFrame, path: Path) -> None:
    frame.to_csv(path)


def parquet(frame: pandas.DataFrame, path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    frame.to_parquet(path)


def frame_of(bunch: Any) -> pandas.DataFrame:
    frame = pandas.DataFrame(bunch.data, columns=list(bunch.feature_names))
    names = getattr(bunch, "target_names", None)
    return frame.assign(target=bunch.target if names is None else names[bunch.target])


def as_good(ours: list[float], theirs: list[float]) -> bool:
    """Tell whether our mean is not below by more than the deviations, or three hundredths."""
    spread = 2 * (np.std(ours) + np.std(theirs))
    return bool(np.mean(ours) >= np.mean(theirs) - max(spread, 0.03))


@pytest.mark.long
@pytest.mark.parametrize(
    ("load", "write", "options", "epochs"),
    [
        (datasets.load_iris, csv, {}, 150),
        (datasets.load_wine, excel, {"decimal": ","}, 60),
        (datasets.load_breast_cancer, parquet, {}, 60),
        (lambda: datasets.load_diabetes(scaled=False), csv, {}, 60),
    ],
    ids=["iris", "wine", "breast_cancer", "diabetes"],
)
def test_a_table_is_learned_as_well_as_by_scikit_learn(
    tmp_path: Path,
    load: Callable[[], Any],
    write: Callable[[pandas.DataFrame, Path], None],
    options: dict[str, Any],
    epochs: int,
) -> None:
    frame = frame_of(load())
    classes = None if frame["target"].dtype.kind == "f" else frame["target"]
    train, test = train_test_split(frame, test_size=0.25, random_state=0, stratify=classes)
    for name, part in (("train", train), ("test", test)):
        write(part, tmp_path / name)
    imported = import_table(
        tmp_path / "train", Options(**options), others={"test": tmp_path / "test"}
    )
    data = tmp_path / "data.h5"
    write_data_file(data, imported.splits, imported.classes, preparation=imported.preparation)
    made = {"hidden_layer_sizes": (UNITS,), "max_iter": epochs, "batch_size": BATCH,
            "learning_rate_init": RATE}  # fmt: skip
    ours, theirs = [], []
    for seed in SEEDS:
        outputs = 1 if classes is None else len(set(classes))
        model = disttrain.train(
            data, layers=[{"units": UNITS, "activation": "relu"}, outputs], epochs=epochs,
            batch_size=BATCH, learning_rate=RATE, optimizer="adam", seed=seed,
        )  # fmt: skip
        X, y, X_test, y_test = (
            part for each in (train, test) for part in (each.drop(columns="target"), each["target"])
        )
        predicted = model.predict(str(tmp_path / "test"))
        assert predicted is not None
        if classes is None:
            network = TransformedTargetRegressor(
                make_pipeline(StandardScaler(), MLPRegressor(random_state=seed, **made)),
                transformer=StandardScaler(),
            )
            error = ((predicted[:, 0] - y_test.to_numpy()) ** 2).mean()
            ours.append(1 - error / y_test.var(ddof=0))
        else:
            network = make_pipeline(StandardScaler(), MLPClassifier(random_state=seed, **made))
            named = np.array(model.taught.called)[predicted.argmax(axis=1)]
            ours.append(float((named == y_test.to_numpy()).mean()))
        theirs.append(network.fit(X, y).score(X_test, y_test))
    assert as_good(ours, theirs), (ours, theirs)


@pytest.mark.long
def test_a_folder_of_digits_is_learned_as_well_as_by_scikit_learn(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    digits = datasets.load_digits()
    pixels = (digits.images * 15).astype(np.uint8)
    places = train_test_split(np.arange(len(pixels)), random_state=0, stratify=digits.target)
    for split, numbers in zip(("train", "test"), places, strict=True):
        for number in numbers.tolist():
            path = tmp_path / "digits" / split / str(digits.target[number]) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pillow.fromarray(pixels[number]).save(path)
    imported = import_images(tmp_path / "digits")
    write_data_file(tmp_path / "data.h5", imported.splits, imported.classes)
    flat, labels = pixels.reshape(len(pixels), -1) / 255, digits.target
    ours, theirs = [], []
    for seed in SEEDS:
        model = disttrain.train(
            tmp_path / "data.h5", layers=[{"units": UNITS, "activation": "relu"}, 10], epochs=30,
            batch_size=BATCH, learning_rate=RATE, optimizer="adam", seed=seed,
        )  # fmt: skip
        score = model.evaluate(str(tmp_path / "digits" / "test"))
        assert score == model.evaluate()
        ours.append(score.accuracy)
        network = MLPClassifier(
            (UNITS,), max_iter=30, batch_size=BATCH, learning_rate_init=RATE, random_state=seed
        )
        network.fit(flat[places[0]], labels[places[0]])
        theirs.append(network.score(flat[places[1]], labels[places[1]]))
    assert as_good(ours, theirs), (ours, theirs)
