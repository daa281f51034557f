from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.comm.alone import Alone
from disttrain.config import Settings
from disttrain.errors import CheckpointError, DataError, UsageError
from disttrain.model import Dense
from disttrain.runs.trained import Trained, load_trained
from disttrain.training import Callback
from tests.conftest import blobs

Go = Callable[..., dict[str, Any]]
Make = Callable[..., Settings]


class Keep(Callback):
    """Keeps the run, which has its best weights at the end."""

    run: Any

    def on_end(self, run: Any, summary: dict[str, Any]) -> None:
        self.run = run


def load(path: Path) -> Trained:
    return load_trained(path, Alone())


def test_a_loaded_network_predicts_what_the_run_did(tmp_path: Path, settings: Make, go: Go) -> None:
    keep = Keep()
    summary = go(settings("data.normalize=standardize"), callbacks=[keep])
    trained = load(tmp_path / "run")
    np.testing.assert_array_equal(
        trained.predict(blobs(20, 3)[0]), keep.run.predict(blobs(20, 3)[0])
    )
    for split in ("validation", "test"):
        assert trained.evaluate(split=split)._asdict() == summary[split]


def test_a_run_folder_means_its_best_and_a_file_itself(
    tmp_path: Path, settings: Make, go: Go
) -> None:
    summary = go(settings())
    assert load(tmp_path / "run").snapshot.step == summary["best_step"]
    file = tmp_path / "run/checkpoints/step-00000014.h5"
    assert load(file).snapshot.step == 14


def test_predicting_and_evaluating_may_take_turns_whatever_the_types(
    tmp_path: Path, settings: Make, go: Go
) -> None:
    summary = go(settings())
    trained = load(tmp_path / "run")
    x = np.random.default_rng(0).integers(-300, 300, (20, 4))
    for dtype in ("i2", "f4", "i8", "f8", "i2"):
        want = load(tmp_path / "run").predict(x.astype(dtype))
        np.testing.assert_array_equal(trained.predict(x.astype(dtype)), want)
        assert trained.evaluate()._asdict() == summary["test"]


def test_pixels_and_other_numbers_are_not_mistaken_for_each_other(
    tmp_path: Path, settings: Make, go: Go, write_data: Callable[..., str]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 4), dtype=np.uint8)
    labels = np.digitize(pixels[:, 0], [85, 170])
    go(settings("data.path=" + write_data("pixels.h5", train=(pixels, labels))), "pixels")
    go(settings(), "numbers")
    with pytest.raises(DataError, match=r"inputs are float64, but .* uint8 \(0-255\)"):
        load(tmp_path / "pixels").predict(pixels / 255)
    with pytest.raises(DataError, match=r"inputs are uint8, but .* not uint8"):
        load(tmp_path / "numbers").predict(pixels)


def test_lists_of_whole_numbers_are_pixels_where_the_training_had_pixels(
    tmp_path: Path, settings: Make, go: Go, write_data: Callable[..., str]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 4), dtype=np.uint8)
    labels = np.digitize(pixels[:, 0], [85, 170])
    go(settings("data.path=" + write_data("pixels.h5", train=(pixels, labels))))
    trained = load(tmp_path / "run")
    np.testing.assert_array_equal(trained.predict(pixels.tolist()), trained.predict(pixels))
    with pytest.raises(DataError, match="int64"):
        trained.predict([[0, 1, 2, 256]])


def test_images_may_be_given_flat_but_never_in_another_order(
    tmp_path: Path, settings: Make, go: Go, write_data: Callable[..., str]
) -> None:
    random = np.random.default_rng(0)
    images, labels = random.normal(size=(40, 2, 3, 4)).astype("f4"), np.arange(40) % 3
    path = write_data("images.h5", train=(images, labels), test=(images, labels))
    go(settings(f"data.path={path}", "training.epochs=1"))
    trained = load(tmp_path / "run")
    assert trained.snapshot.state["data"]["shape"] == [2, 3, 4]
    assert trained.network.shapes[0] == (2, 3, 4)
    want = trained.predict(images)
    np.testing.assert_array_equal(trained.predict(images.reshape(40, 24)), want)
    np.testing.assert_array_equal(trained.predict(images.reshape(40, 2, 1, 3, 4)), want)
    flat = write_data("flat.h5", test=(images.reshape(40, 24), labels))
    assert trained.evaluate(flat) == trained.evaluate()
    turned = images.transpose(0, 2, 3, 1)
    with pytest.raises(DataError, match=r"3 x 4 x 2 = 24 numbers .* takes 2 x 3 x 4 = 24 numbers"):
        trained.predict(turned)
    with pytest.raises(DataError, match=r"3 x 4 x 2 = 24 numbers .* takes 2 x 3 x 4 = 24 numbers"):
        trained.evaluate(write_data("turned.h5", test=(turned, labels)))


def test_a_run_of_flat_images_goes_on_with_images_but_not_with_turned_ones(
    tmp_path: Path, settings: Make, interrupted: Any, go: Go, write_data: Callable[..., str]
) -> None:
    random = np.random.default_rng(0)
    # The mean of all pixels is the same wherever they stand.
    images = np.repeat(random.normal(size=(40, 1, 1, 1)), 24, axis=1).reshape(40, 2, 3, 4)
    path = write_data(train=(images, np.arange(40) % 3))
    interrupted(settings(f"data.path={path}"), 2)
    turned = write_data("turned.h5", train=(images.transpose(0, 2, 3, 1), np.arange(40) % 3))
    with pytest.raises(DataError, match=r"a sample was \(2, 3, 4\), now it is \(3, 4, 2\)"):
        go(settings(f"data.path={turned}"), resume=True)
    flat = write_data("flat.h5", train=(images.reshape(40, 24), np.arange(40) % 3))
    assert go(settings(f"data.path={flat}"), resume=True)["status"] == "completed"


def test_other_data_must_fit(
    tmp_path: Path, settings: Make, go: Go, write_data: Callable[..., str]
) -> None:
    go(settings("training.epochs=1"))
    trained = load(tmp_path / "run")
    x, y = blobs(30, 4)
    good = write_data("good.h5", test=(x, y))
    assert trained.evaluate(good).accuracy is not None
    with pytest.raises(DataError, match=r"has 3 numbers a sample, but the network of .* takes 4"):
        trained.evaluate(write_data("narrow.h5", test=(x[:, :3], y)))
    with pytest.raises(
        DataError, match=r"has 8 classes as targets, which the 3 outputs of .* do not fit"
    ):
        trained.evaluate(write_data("classes.h5", test=(x, y + 5)))
    with pytest.raises(DataError, match="has 1 numbers a sample as targets"):
        trained.evaluate(write_data("numbers.h5", test=(x, y + 0.5)))
    with pytest.raises(UsageError, match=r"no split 'validation'.*test"):
        trained.evaluate(good, split="validation")
    with pytest.raises(DataError, match="inputs have 3 numbers a sample"):
        trained.predict(x[:, :3])


def test_a_network_of_a_scripts_own_layers_is_refused(
    tmp_path: Path, settings: Make, go: Go
) -> None:
    go(settings("training.epochs=1"), layers=[Dense(5, "tanh"), Dense(3)])
    with pytest.raises(CheckpointError, match="another network"):
        load(tmp_path / "run")


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load(tmp_path)
