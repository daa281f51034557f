"""Pictures of what was pre-trained, of filters and maps, and of augmented samples."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from disttrain.checkpoint import newest_whole
from disttrain.config import Settings
from disttrain.errors import UsageError
from disttrain.report import augmented
from disttrain.report.pictures import draw_all
from disttrain.report.reconstructions import learned
from disttrain.report.subject import Subject
from disttrain.training import Run

IMAGES = np.random.default_rng(3).integers(0, 256, (60, 7, 6), dtype=np.uint8)
NEW = {"features.png", "reconstructions.png", "filters.png", "maps.png"}


@pytest.fixture
def path(write_data: Callable[..., str]) -> str:
    targets = np.arange(60) % 3
    return write_data("images.h5", train=(IMAGES, targets), test=(IMAGES[:9], targets[:9]))


@pytest.mark.parametrize("kind", ["rbm", "denoising"])
def test_what_each_layer_gives_back(
    settings: Callable[..., Settings], go: Callable[..., dict], path: str, tmp_path: Path, kind: str
) -> None:
    go(settings(
        f"data.path={path}", "data.normalize=none", f"pretraining.kind={kind}",
        "pretraining.epochs=2", "training.epochs=1",
        'model.layers=[{units=5,activation="sigmoid"},{units=4,activation="sigmoid"},{units=3}]',
    ))  # fmt: skip
    drawn = {picture.name for picture in draw_all(tmp_path / "run", tmp_path) if picture.path}
    assert drawn & NEW == {"features.png", "reconstructions.png"}
    layers = learned(Subject(tmp_path / "run"))
    assert [(e.inputs, e.outputs, d.outputs) for e, d in layers] == [(42, 5, 42), (5, 4, 5)]
    state = newest_whole(tmp_path / "run/pretraining-1").snapshot
    assert state is not None
    name = "rbm1" if kind == "rbm" else "dense2"
    w, b = (state.parameters[f"{name}/{part}"].astype("f8") for part in ("weight", "bias"))
    x = IMAGES[:4].reshape(4, -1) / 255
    encoder, decoder = layers[0]
    h = encoder.predict(x).copy()
    np.testing.assert_allclose(h, 1 / (1 + np.exp(-(x @ w.T + b))), rtol=1e-6)
    if kind == "rbm":
        back = 1 / (1 + np.exp(-(h @ w + state.parameters["rbm1/visible"])))
        np.testing.assert_allclose(decoder.predict(h), back, rtol=1e-6)


def test_what_convolutions_learned_is_shown_by_their_filters(
    settings: Callable[..., Settings], go: Callable[..., dict], path: str, tmp_path: Path
) -> None:
    go(settings(
        f"data.path={path}", "pretraining.epochs=1", "training.epochs=1",
        'model.layers=[{kind="conv",filters=4,size=3},{units=3}]',
    ))  # fmt: skip
    drawn = {picture.name for picture in draw_all(tmp_path / "run", tmp_path) if picture.path}
    assert drawn & NEW == {"filters.png", "maps.png"}


def test_filters_and_maps_of_a_convolution(
    settings: Callable[..., Settings], go: Callable[..., dict], path: str, tmp_path: Path
) -> None:
    go(settings(
        f"data.path={path}", "training.epochs=1",
        'model.layers=[{kind="conv",filters=4,size=3},{kind="max-pool",size=2},{units=3}]',
    ))  # fmt: skip
    found = list(draw_all(tmp_path / "run", tmp_path, sample=8))
    assert {picture.name for picture in found if picture.path} & NEW == {"filters.png", "maps.png"}
    beyond = list(draw_all(tmp_path / "run", tmp_path / "other", sample=9))
    assert "maps.png" not in {picture.name for picture in beyond if picture.path}


def test_augmented_samples_are_drawn_as_the_network_sees_them(
    build: Callable[..., Run], path: str
) -> None:
    run = build(f"data.path={path}", "data.augment={shift=2}")
    axes = augmented.figure(run).axes
    assert len(axes) == augmented.SAMPLES * (augmented.EPOCHS + 1)
    stored = axes[0].images[0].get_array()
    rows = run.dataset.splits["train"].rows
    first, places = rows.locate(np.arange(1))
    np.testing.assert_allclose(stored, first[places[0]].reshape(7, 6) / 255, atol=1e-6)
    changed = [ax.images[0].get_array() for ax in axes[1 : augmented.EPOCHS + 1]]
    assert any(not np.allclose(one, stored) for one in changed)
    with pytest.raises(UsageError, match="--show is for images"):
        augmented.figure(build())
