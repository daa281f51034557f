"""What happens to images, pixel by pixel, and that it depends on sample and epoch alone."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from disttrain.config import Augment, Settings
from disttrain.data.augmentation import Augmentation
from disttrain.errors import RunFileError
from disttrain.training import Run, fit

SAMPLES = np.array([3, 1, 1500, 7])
IMAGES = np.random.default_rng(0).integers(1, 256, (4, 9, 12), dtype=np.uint8)


def made(shape: tuple[int, ...] = (9, 12), **settings: object) -> Augmentation:
    return Augmentation(Augment(**settings), shape, seed=5)  # type: ignore[arg-type]


def moved(epoch: int = 0, samples: np.ndarray = SAMPLES, **settings: object) -> np.ndarray:
    rows = IMAGES.reshape(4, -1)[: len(samples)]
    return made(**settings).moved(rows, samples, epoch).reshape(-1, 9, 12)


def shifted(image: np.ndarray, down: int, right: int) -> np.ndarray:
    found, (height, width) = np.zeros_like(image), image.shape
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                found[y, x] = image[y - down, x - right]
    return found


def test_shift_and_flip_are_whole_pixels_of_the_image() -> None:
    seen = set()
    for epoch in range(60):
        for image, found in zip(IMAGES, moved(epoch, shift=2, flip=True), strict=True):
            fits = [
                (down, right, flip)
                for down in range(-2, 3)
                for right in range(-2, 3)
                for flip in (False, True)
                if np.array_equal(found, shifted(image[:, ::-1] if flip else image, down, right))
            ]
            assert len(fits) == 1
            seen.add(fits[0])
    assert len(seen) == 50


def test_a_turned_image_is_that_of_pillow() -> None:
    smooth = np.add.outer(np.sin(np.arange(31) / 5), np.cos(np.arange(31) / 4)) + 3
    augmentation = made((31, 31), rotate=40.0)
    found = augmentation.moved(smooth.reshape(1, -1).astype("f4"), SAMPLES[:1], 0).reshape(31, 31)
    drawn = augmentation._drawn(SAMPLES[:1], 0)
    degrees = 40 * (2 * (drawn[0, 3] + 0.5) / 65536 - 1)
    assert abs(degrees) > 3
    image = Image.fromarray(smooth.astype("f4"))
    turned = np.asarray(image.rotate(-float(degrees), Image.Resampling.BILINEAR))
    inner = np.s_[8:-8, 8:-8]
    np.testing.assert_allclose(found[inner], turned[inner], atol=0.02)


def test_a_window_fills_the_image_and_keeps_what_is_constant() -> None:
    ramp = np.tile(np.arange(20, dtype="f4"), (20, 1)) + 10
    found = made((20, 20), crop=8).moved(np.repeat(ramp.reshape(1, -1), 4, 0), SAMPLES, 0)
    for image in found.reshape(4, 20, 20):
        middle = image[2:-2, 2:-2]
        np.testing.assert_allclose(middle, middle[:1].repeat(16, 0), atol=1e-4)
        steps = np.diff(middle[0])
        np.testing.assert_allclose(steps, steps[0], atol=1e-3)
        assert 0.59 < steps[0] <= 1
    assert len({round(float(np.diff(i[9])[9]), 4) for i in found.reshape(4, 20, 20)}) == 4


def test_channels_move_together_and_keep_their_type() -> None:
    colours = np.stack([IMAGES, IMAGES // 2, 255 - IMAGES], axis=-1).reshape(4, -1)
    for settings in ({"shift": 3, "flip": True}, {"rotate": 20.0, "crop": 2}):
        found = made((9, 12, 3), **settings).moved(colours, SAMPLES, 1).reshape(4, 9, 12, 3)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found[..., 0], moved(1, **settings))


@pytest.mark.parametrize(
    "settings", [{"shift": 2, "flip": True}, {"rotate": 15.0, "crop": 3, "shift": 1}]
)
def test_it_depends_on_sample_and_epoch_alone(settings: dict[str, object]) -> None:
    whole = moved(2, **settings)
    for n in range(4):
        alone = made(**settings).moved(IMAGES[n : n + 1].reshape(1, -1), SAMPLES[n : n + 1], 2)
        np.testing.assert_array_equal(alone.reshape(9, 12), whole[n])
    assert not np.array_equal(moved(3, **settings), whole)
    assert moved(2, np.empty(0, np.int64), **settings).shape == (0, 9, 12)


def test_noise_has_its_deviation_and_is_the_samples_own() -> None:
    augmentation, samples = made((500,), noise=0.3), np.arange(40)
    inputs, single = np.ones((40, 500), "f4"), np.ones((1, 500), "f4")
    augmentation.add_noise(inputs, samples, 1)
    assert abs((inputs - 1).std() - 0.3) < 0.01
    augmentation.add_noise(single, samples[7:8], 1)
    np.testing.assert_array_equal(single[0], inputs[7])


@pytest.mark.parametrize("shape", [(4,), (1, 1, 5)])
def test_samples_that_are_no_images_have_noise_alone(shape: tuple[int, ...]) -> None:
    with pytest.raises(RunFileError, match="moves images"):
        made(shape, flip=True)
    made(shape, noise=1.0)
    with pytest.raises(RunFileError, match=r"crop = 9, but images have"):
        made(crop=9)


def test_recorded_and_eager_steps_see_the_same_samples(
    build: Callable[..., Run], write_data: Callable[..., str]
) -> None:
    images = np.random.default_rng(1).integers(0, 256, (90, 6, 7), dtype=np.uint8)
    path = write_data("images.h5", train=(images, np.arange(90) % 3))
    changes = (f"data.path={path}", "data.augment={shift=1,rotate=10,noise=0.1}")
    recorded, eager, streamed = (
        build(*changes),
        build(*changes),
        build(*changes, "data.memory=stream"),
    )
    eager.recordings.why_not = "it is a test"
    for run in (recorded, eager, streamed):
        fit(run)
    assert not recorded.recordings.why_not
    assert recorded.digest() == eager.digest() == streamed.digest()
    plain = build(changes[0])
    fit(plain)
    assert plain.digest() != recorded.digest()
    # What is validated is not changed.
    assert plain.predict(images[:5]).shape == (5, 3)  # type: ignore[union-attr]
    inputs, _ = recorded.feed(recorded.dataset.splits["train"], np.arange(5))
    expected, _ = plain.feed(plain.dataset.splits["train"], np.arange(5))
    np.testing.assert_array_equal(inputs, expected)


def test_a_resumed_run_sees_what_it_would_have_seen(
    settings: Callable[..., Settings], go: Callable[..., dict], interrupted: Callable[..., object]
) -> None:
    asked = settings("data.augment={noise=0.2}")
    whole = go(asked, "whole")
    interrupted(asked, 9)
    assert go(asked, resume=True)["digest"] == whole["digest"]
