"""Cross-validation against scikit-learn's, on the same folds."""

import statistics

import numpy as np
import pytest

from disttrain.comm.alone import Alone
from disttrain.selection.folds import folds_of
from disttrain.selection.validation import Plan, cross_validate
from tests.cli.shell import blobs

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

RUN = """
seed = {seed}
[data]
path = "{path}"
[model]
layers = [{{ units = 16, activation = "relu" }}, {{ units = 6 }}]
[training]
epochs = 30
batch_size = 32
[optimizer]
kind = "adam"
weight_decay = 0.0
[schedule]
kind = "constant"
learning_rate = 1e-2
[device]
kind = "cpu"
"""


def test_the_mean_is_that_of_cross_val_score_within_the_deviation_over_seeds(tmp_path):
    sklearn = pytest.importorskip("sklearn")
    assert sklearn.__version__
    from sklearn.model_selection import cross_val_score
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    path = blobs(tmp_path / "blobs.h5", 800, classes=6)
    import h5py

    with h5py.File(path) as file:
        inputs, targets = file["train/inputs"][()], file["train/targets"][()]
    ours, theirs = [], []
    for seed in (1, 2, 3, 4):
        run = tmp_path / f"run{seed}.toml"
        run.write_text(RUN.format(seed=seed, path=path))
        plan = Plan(str(run), (), {}, folds=5)
        ours.append(cross_validate(plan, tmp_path / f"folds{seed}", Alone(), say=print)["mean"])
        every = np.arange(len(targets))
        cuts = [(np.setdiff1d(every, fold), fold) for fold in folds_of(targets, 5, seed)]
        network = MLPClassifier(
            (16,), batch_size=32, learning_rate_init=1e-2, alpha=0.0, max_iter=30,
            n_iter_no_change=30, random_state=seed,
        )  # fmt: skip
        with pytest.warns(match="Maximum iterations"):
            scores = cross_val_score(
                make_pipeline(StandardScaler(), network), inputs, targets, cv=cuts
            )
        theirs.append(float(scores.mean()))
    print("ours", ours, "scikit-learn", theirs)
    deviation = max(statistics.stdev(ours), statistics.stdev(theirs))
    assert abs(statistics.mean(ours) - statistics.mean(theirs)) <= deviation
