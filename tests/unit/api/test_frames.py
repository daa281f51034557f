"""DataFrames in scripts: read through what that of the training taught, columns by name."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

import disttrain
from disttrain.errors import DataError, UsageError

SMALL = {
    "layers": [4, 2], "epochs": 2, "batch_size": 8, "validation_fraction": 0.0,
    "learning_rate": 0.05,
}  # fmt: skip


@pytest.fixture(scope="module")
def animals() -> tuple[pandas.DataFrame, pandas.Series]:
    random = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "id": np.arange(40),
            "size": random.normal(size=40),
            "colour": random.choice(["red", "blue"], 40),
            "tame": random.choice([True, False], 40),
        },
        index=random.permutation(40),
    )
    frame.iloc[3, 1] = np.nan
    return frame, pandas.Series(random.choice(["ant", "bee"], 40), index=frame.index, name="kind")


@pytest.fixture(scope="module")
def trained(animals: tuple[pandas.DataFrame, pandas.Series]) -> disttrain.Trained:
    frame, kinds = animals
    data = disttrain.Data(frame, kinds, test=(frame[:10], kinds[:10]), missing="indicator")
    return disttrain.train(data, **SMALL)


def test_a_frame_is_read_as_scikit_learn_would(
    animals: tuple[pandas.DataFrame, pandas.Series], trained: disttrain.Trained
) -> None:
    frame, _ = animals
    size = frame["size"].to_numpy()
    want = np.column_stack(
        [
            frame["id"], np.where(np.isnan(size), np.nanmean(size), size), np.isnan(size),
            frame["colour"] == "blue", frame["colour"] == "red", frame["tame"],
        ]
    ).astype(float)  # fmt: skip
    np.testing.assert_array_equal(trained.predict(frame), trained.predict(want))
    assert trained.taught.preparation.targets == ("kind",)
    assert trained.taught.called == ("ant", "bee")


def test_columns_are_matched_by_name(
    animals: tuple[pandas.DataFrame, pandas.Series], trained: disttrain.Trained
) -> None:
    frame, kinds = animals
    turned = frame[frame.columns[::-1]].assign(more=1)
    np.testing.assert_array_equal(trained.predict(turned), trained.predict(frame))
    assert trained.evaluate(turned[:10], kinds[:10])._asdict() == trained.summary["test"]


def test_what_the_training_does_not_know_is_one_sentence(
    animals: tuple[pandas.DataFrame, pandas.Series], trained: disttrain.Trained
) -> None:
    frame, kinds = animals
    for wrong, words in (
        (frame.drop(columns="size"), "no column 'size'"),
        (frame.assign(colour="green"), "row 0, column 'colour': 'green' is not a category"),
        (frame.assign(id="x"), "row 0, column 'id': 'x' is not a number"),
        (frame[:0], "no rows"),
    ):
        with pytest.raises(DataError, match=words):
            trained.predict(wrong)
    with pytest.raises(DataError, match="row 3, column 'size': the cell is empty"):
        disttrain.train(disttrain.Data(frame, kinds), **SMALL)
    with pytest.raises(UsageError, match="missing='drop'"):
        disttrain.Data(frame, kinds, missing="drop")  # type: ignore[arg-type]
    whole = disttrain.Data(frame, kinds, missing="mean", test=(np.zeros((2, 6)), kinds[:2]))
    with pytest.raises(DataError, match="test inputs are no DataFrame"):
        disttrain.train(whole, **SMALL)


def test_a_network_that_was_trained_on_arrays_takes_columns_in_their_order() -> None:
    inputs = np.random.default_rng(1).normal(size=(20, 2))
    model = disttrain.train(disttrain.Data(inputs, np.arange(20) % 2), **SMALL)
    frame = pandas.DataFrame(inputs, columns=["a", "b"])
    np.testing.assert_array_equal(model.predict(frame), model.predict(inputs))


def test_bytes_stay_pixels_and_numbers_to_be_fitted_keep_their_names() -> None:
    frame = pandas.DataFrame({"a": np.arange(20, dtype=np.uint8), "b": np.uint8(255)})
    targets = pandas.DataFrame({"u": np.arange(20) / 20, "v": 0.5})
    model = disttrain.train(
        disttrain.Data(frame, targets), **SMALL | {"layers": [2], "normalize": "none"}
    )
    assert model.taught.preparation.targets == ("u", "v")
    pixels = frame.to_numpy()
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(model.predict(frame), model.predict(pixels))


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_predictions_do_not_depend_on_how_an_array_lies_in_memory(kind: type) -> None:
    inputs = np.random.default_rng(2).integers(0, 256, (30, 6)).astype(kind)
    model = disttrain.train(
        disttrain.Data(inputs, np.arange(30) % 2), **SMALL | {"normalize": "none"}
    )
    want = model.predict(inputs)
    for lies in (
        np.asfortranarray(inputs), np.repeat(inputs, 2, axis=1)[:, ::2], inputs[::-1].copy()[::-1],
        np.repeat(inputs, 3, axis=0)[1::3],
    ):  # fmt: skip
        assert not lies.flags.c_contiguous
        np.testing.assert_array_equal(model.predict(lies), want)
