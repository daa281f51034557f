"""Files that were written before samples had a shape in checkpoints: they are read as they were.

`before/` holds a data file of 72 images of 4 x 3 pixels, the checkpoint of step 7 of a run in exact
mode with dropout on them, and what the network in it said of the 12 test images then.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from disttrain.checkpoint import load, save
from disttrain.comm.alone import Alone
from disttrain.data import read_facts
from disttrain.report.subject import Subject
from disttrain.runs import train
from disttrain.runs.trained import Trained, load_trained

BEFORE = Path(__file__).parent / "before"
IMAGES, CHECKPOINT = BEFORE / "images.h5", BEFORE / "step-00000007.h5"


@pytest.fixture
def trained() -> Trained:
    return load_trained(CHECKPOINT, Alone())


def test_the_network_says_what_it_said(trained: Trained) -> None:
    assert "shape" not in trained.snapshot.state["data"]
    assert trained.network.shapes == [(12,), (12,), (6,), (6,), (3,)]
    split = trained.split("test", str(IMAGES))
    want = np.load(BEFORE / "outputs.npy")
    np.testing.assert_allclose(trained.predict_split(split), want, rtol=1e-5, atol=1e-6)
    stored, places = split.rows.locate(np.arange(12))
    pixels = stored[places]
    for images in (pixels, pixels.reshape(12, 4, 3)):
        np.testing.assert_allclose(trained.predict(images), want, rtol=1e-5, atol=1e-6)


def test_the_run_goes_on_to_the_state_that_it_has_with_a_shape(
    tmp_path: Path, trained: Trained
) -> None:
    """Bits of another processor may be others: so the run begins here, and is set back once."""
    settings = trained.settings.replace(data={"path": str(IMAGES)})
    whole = train(settings, tmp_path / "whole", Alone())
    ring = tmp_path / "whole/checkpoints"
    middle = load(ring / "step-00000010.h5")
    assert middle.state["data"].pop("shape") == [4, 3]
    folder = tmp_path / "older"
    shutil.copytree(tmp_path / "whole", folder)
    for path in folder.glob("checkpoints/*.h5"):
        path.unlink()
    (folder / "summary.json").unlink()
    save(folder / "checkpoints/step-00000010.h5", middle)
    assert train(settings, folder, Alone(), resume=True)["digest"] == whole["digest"]


def test_a_checkpoint_of_before_is_resumed(tmp_path: Path, trained: Trained) -> None:
    settings = trained.settings.replace(data={"path": str(IMAGES)})
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(CHECKPOINT, tmp_path / "checkpoints")
    # Whatever the processor: where it computes other bits, that is one of the changes.
    summary = train(settings, tmp_path, Alone(), resume=True, accept_changes=True)
    assert summary["steps"] == 12
    assert load(tmp_path / "checkpoints/step-00000012.h5").state["data"]["shape"] == [4, 3]


def test_the_shape_for_pictures_is_that_of_the_data_file(tmp_path: Path) -> None:
    assert read_facts(str(IMAGES)).shape == (4, 3)
    (tmp_path / "checkpoints").mkdir()
    snapshot = load(CHECKPOINT)
    snapshot.state["data"]["path"] = str(IMAGES)
    save(tmp_path / "best.h5", snapshot)
    (tmp_path / "run.toml").write_text(snapshot.run_file)
    assert Subject(tmp_path).sample_shape == (4, 3)
