"""An ensemble that is trained, stopped and gone on with by any ranks is that of one rank alone."""

import json

import pytest

import disttrain
from disttrain.comm.alone import Alone
from disttrain.errors import Preempted
from disttrain.preemption import ASKED
from disttrain.runs.ensembled import load_model
from disttrain.selection.ensemble import by_seed, combine, train_each
from tests.cli.shell import blobs

RUN_FILE = """
seed = 5
data.path = "{path}"
model.layers = [{{ units = 9, activation = "tanh" }}, {{ units = 3 }}]
training = {{ epochs = 3, batch_size = 16 }}
reproducibility.mode = "{mode}"
"""


def averaged(settings, folder, comm, **more):
    """Train three members and average them; return what stands in the file."""
    files = train_each(by_seed(settings, 3), folder, comm, say=lambda line: None, **more)
    return combine(files, folder, comm, kind="members", split="validation")


@pytest.mark.parametrize("mode", ["exact", "auto"])
def test_the_same_file_on_any_ranks(comm, made_data, together_path, mode):
    settings = disttrain.parse(RUN_FILE.format(path=made_data, mode=mode))
    alone, folder = None, together_path / f"ensemble-{mode}"
    with comm.together("training alone"):
        if comm.is_root:
            alone = averaged(settings, together_path / f"ensemble-alone-{mode}", Alone())
    alone = comm.share(alone)
    if mode == "exact":
        # All ranks are asked to stop while they train, as often as they have to be.
        ASKED.signal = "SIGUSR1"
        try:
            with pytest.raises(Preempted, match=f"{folder.name} keeps what has ended, --resume"):
                averaged(settings, folder, comm)
        finally:
            ASKED.signal = None
        comm.barrier()
    assert averaged(settings, folder, comm, resume=mode == "exact") == alone
    whole = load_model(folder, comm)
    split = whole.split("validation")
    assert whole.score(split, "scoring").loss == alone["ensemble"]["loss"]
    found = whole.predict_split(split)
    with comm.together("comparing"):
        if comm.is_root:
            assert json.loads((folder / "ensemble.json").read_text()) == alone
            one = load_model(folder, Alone())
            assert one.predict_split(one.split("validation")).tobytes() == found.tobytes()


@pytest.fixture(scope="module")
def made_data(made):
    return made("ensembles.h5", blobs, 90)
