"""Study files that can't be, and folders that are another's: one sentence, code 2, nothing lost."""

import pytest

from disttrain import config
from disttrain.comm.alone import Alone
from disttrain.errors import RunFileError, UsageError
from disttrain.runs.held import KINDS, refuse_another
from disttrain.selection.search import search

RUN = """
data.path = "nothing.h5"
model.layers = [{ units = 6 }, { units = 3 }]
"""
STUDY = """
run = "run.toml"
[[stages]]
{stage}
[space]
{space}
"""
RATES = '"schedule.learning_rate" = { low = 0.1, high = 1.0 }'


@pytest.fixture
def refusal(tmp_path):
    """Return the sentence with which a study is refused."""

    def refuse(space=RATES, stage="candidates = 3", run=RUN):
        (tmp_path / "run.toml").write_text(run)
        (tmp_path / "study.toml").write_text(STUDY.format(stage=stage, space=space))
        with pytest.raises(RunFileError) as caught:
            search(config.read_study(tmp_path / "study.toml"), tmp_path / "out", Alone())
        assert not (tmp_path / "out").exists()
        return str(caught.value)

    return refuse


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ('"schedule.learning_rat" = { choices = [0.1] }', "did you mean 'schedule.learning_rate'?"),
        ('"schedule.learning_rate" = 0.1', "give { low = ..., high = ... } or { choices"),
        ("schedule.learning_rate = { choices = [0.1] }", '"schedule.learning_rate" = { ... }'),
        ('"model.layers.7.units" = { choices = [3] }', "its items are 0 to 1"),
        ('"model.layers.0.units" = { low = 0, high = 9 }', "it should be at least 1"),
        ('"model.layers.count" = { low = 0, high = 3 }', "at least 1 layer"),
    ],
)
def test_a_space_that_can_not_be(refusal, space, says):
    said = refusal(space)
    assert says in said
    assert "space" in said
    assert "study" in said


def test_what_does_not_fit_the_rest(refusal):
    flat = RUN.replace("{ units = 6 }, ", "")
    said = refusal('"model.layers.count" = { choices = [2] }', run=flat)
    assert "no hidden layer to repeat" in said
    # The stage would decide for all candidates.
    epochs = '"training.epochs" = { choices = [1, 2] }'
    assert "goes without epochs" in refusal(epochs, "candidates = 3\nepochs = 2")


def test_a_folder_is_one_commands_alone(tmp_path):
    for name, kind in KINDS.items():
        (folder := tmp_path / name).mkdir()
        (folder / name).write_text("")
        refuse_another(folder, name)
        for own in KINDS.keys() - {name}:
            with pytest.raises(UsageError, match=f"holds {kind}: choose another"):
                refuse_another(folder, own)
