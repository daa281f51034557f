"""Study files that can't be, and folders that are another's: one sentence, code 2, nothing lost."""

import numpy as np
import pytest

from disttrain import config
from disttrain.comm.alone import Alone
from disttrain.errors import RunFileError, UsageError
from disttrain.runs.held import KINDS, refuse_another
from disttrain.selection.search import search
from tests.conftest import blobs

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
        ('"model.layers.count" = { low = 2, high = 1000000000 }', "at most 1000"),
        ('"model.layers.count" = { low = 1.5, high = 3.0 }', "= 1.5: give a whole number"),
        ('"model.layers.count" = { choices = [2.5] }', "= 2.5: give a whole number"),
        ('"model.layers.count" = { choices = ["two"] }', "'two': give a whole number"),
        ('"model.layers.count" = { choices = [true] }', "True: give a whole number"),
        ('"schedule.learning_rate" = { low = 0.1, high = inf }', "high is inf: give a number"),
        ('"schedule.learning_rate" = { low = nan, high = 1.0 }', "low is nan: give a number"),
        ('"schedule.learning_rate" = { low = false, high = 1.0 }', "low is False: give a number"),
        (f'"schedule.learning_rate" = {{ low = 1, high = 1{"0" * 400} }}', "give a number of at"),
        (f'"seed" = {{ low = 0, high = {2**63 - 1} }}', "go up to 9007199254740992"),
        ("", "it should have at least 1 item"),
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
    # Nothing was validated when candidates are compared.
    late = '"validation.every_epochs" = { choices = [2, 3] }'
    said = refusal(late, 'candidates = 3\nepochs = 6\nprune = "median"')
    assert "give it first_epochs = 2" in said


def test_a_grid_of_more_points_than_can_be_listed(tmp_path):
    (tmp_path / "run.toml").write_text(RUN)
    keys = ("schedule.learning_rate", "optimizer.momentum", "optimizer.weight_decay")
    study = config.Study(
        run=str(tmp_path / "run.toml"), stages=(config.Stage(kind="grid"),),
        space={key: config.Range(low=0.1, high=0.9, steps=1000) for key in keys},
    )  # fmt: skip
    with pytest.raises(UsageError, match="1,000,000,000 points, and a stage at most 100,000"):
        search(study, tmp_path / "out", Alone())


@pytest.mark.parametrize("found", ["nothing", "an empty folder", "a file of the user's own"])
def test_a_study_that_is_refused_for_its_data_leaves_the_folder_as_it_was(
    write_data, tmp_path, found
):
    inputs, numbers = np.random.default_rng(0).random((2, 40, 3))
    path, folder = write_data(train=(inputs, numbers)), tmp_path / "out"
    (tmp_path / "run.toml").write_text(f"""
        data.path = "{path}"
        model.layers = [{{ units = 2 }}]
        model.loss = "squared"
    """)
    if found != "nothing":
        folder.mkdir()
    if found == "a file of the user's own":
        (folder / "notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    study = config.Study(
        run=str(tmp_path / "run.toml"), stages=(config.Stage(candidates=2),),
        space={"schedule.learning_rate": config.Range(low=0.1, high=0.9)},
    )  # fmt: skip
    loss = study.model_copy(update={"metric": "validation_loss"})
    for given, says in ((study, "numbers, which have no accuracy"), (loss, "give it units = 3")):
        with pytest.raises(UsageError, match=says):
            search(given, folder, Alone())
        assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_is_one_commands_alone(tmp_path):
    for name, kind in KINDS.items():
        (folder := tmp_path / name).mkdir()
        (folder / name).write_text("")
        refuse_another(folder, name)
        for own in KINDS.keys() - {name}:
            with pytest.raises(UsageError, match=f"holds {kind}: choose another"):
                refuse_another(folder, own)


def test_few_rows_to_judge_candidates_by_are_warned_of(tmp_path, write_data, caplog):
    (tmp_path / "run.toml").write_text(RUN.replace("nothing.h5", "data.h5"))
    study = tmp_path / "study.toml"
    study.write_text(
        'run = "run.toml"\n[[stages]]\nkind = "grid"\nepochs = 1\n'
        "[space]\n'schedule.learning_rate' = { choices = [0.1] }\n"
    )
    for rows, warned in ((100, 1), (300, 0)):
        write_data(train=blobs(rows, 1))
        caplog.clear()
        search(config.read_study(study), tmp_path / str(rows), Alone(), say=lambda line: None)
        told = [getattr(record, "fields", {}).get("text", "") for record in caplog.records]
        said = [line for line in told if line.startswith("only 10 samples are set aside")]
        assert len(said) == warned
        assert all("`disttrain cross-validate" in line for line in said)
