"""The estimators are scikit-learn's: its own checks, its own tools, its own weights."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import disttrain
from disttrain.errors import RunFileError
from disttrain.interop.sklearn import DistributedMLPClassifier, DistributedMLPRegressor

X, Y = load_iris(return_X_y=True)
QUICK: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 20, "random_state": 0}


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [DistributedMLPClassifier, DistributedMLPRegressor])
def test_scikit_learns_checks_pass_with_no_expected_failure(kind: Any) -> None:
    found = check_estimator(kind(), on_skip=None)
    assert {result["status"] for result in found} <= {"passed", "skipped"}
    skipped = {result["check_name"] for result in found if result["status"] == "skipped"}
    # Needs an environment variable of SciPy's.
    assert skipped <= {"check_array_api_input"}
    assert len(found) > 50


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [DistributedMLPClassifier, DistributedMLPRegressor])
def test_the_strictest_checks_pass(kind: Any) -> None:
    from sklearn.utils import estimator_checks as checks

    for name in (
        "check_sample_weight_equivalence_on_dense_data",
        "check_methods_subset_invariance",
        "check_estimators_pickle",
        "check_estimators_unfitted",
    ):
        getattr(checks, name)(kind.__name__, kind(max_iter=20))


def test_pipelines_searches_and_folds_take_it() -> None:
    model = make_pipeline(StandardScaler(), DistributedMLPClassifier(**QUICK))
    search = GridSearchCV(
        model,
        {
            "distributedmlpclassifier__learning_rate_init": [1e-5, 0.05],
        },
        cv=2,
    )
    search.fit(X, Y)
    assert search.best_params_ == {"distributedmlpclassifier__learning_rate_init": 0.05}
    assert search.best_score_ > 0.9
    names = np.array(["setosa", "versicolor", "virginica"])[Y]
    model = clone(model).set_params(distributedmlpclassifier__learning_rate_init=0.05)
    assert cross_val_score(model, X, names, cv=3).mean() > 0.9
    assert set(model.fit(X, names).predict(X[:60])) <= set(names)


def test_it_learns_what_scikit_learns_network_does() -> None:
    scaled = StandardScaler().fit_transform(X)
    ours = DistributedMLPClassifier((20,), max_iter=100, learning_rate_init=0.01, random_state=0)
    theirs = MLPClassifier((20,), max_iter=100, learning_rate_init=0.01, random_state=0, tol=0)
    both = [accuracy_score(Y, m.fit(scaled, Y).predict(scaled)) for m in (ours, theirs)]
    assert both[0] >= both[1] - 0.02
    assert ours.n_iter_ == 100
    assert ours.loss_curve_[-1] < ours.loss_curve_[0]
    assert [w.shape for w in ours.coefs_] == [w.shape for w in theirs.coefs_]
    np.testing.assert_allclose(ours.predict_proba(scaled).sum(axis=1), 1)


def test_frames_and_sparse_rows_are_the_same_rows() -> None:
    pandas, sparse = pytest.importorskip("pandas"), pytest.importorskip("scipy.sparse")
    want = DistributedMLPClassifier(**QUICK).fit(X, Y)
    frame = pandas.DataFrame(X, columns=list("abcd"))
    of_frame = DistributedMLPClassifier(**QUICK).fit(frame, pandas.Series(Y))
    assert list(of_frame.feature_names_in_) == list("abcd")
    of_sparse = DistributedMLPClassifier(**QUICK).fit(sparse.csr_matrix(X), Y)
    for found in (of_frame, of_sparse):
        for a, b in zip(found.coefs_, want.coefs_, strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(of_frame.predict_proba(frame), want.predict_proba(X))


def test_weights_of_classes_and_rows_decide() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 2))
    y = (x[:, 0] + random.normal(size=200) > 1).astype(int)
    options = QUICK | {"max_iter": 60, "learning_rate_init": 0.01}
    plain = DistributedMLPClassifier(**options).fit(x, y)
    balanced = DistributedMLPClassifier(**options, class_weight="balanced").fit(x, y)
    assert (balanced.predict(x) == 1).mean() > (plain.predict(x) == 1).mean() + 0.1
    weights = np.where(y == 1, (y == 0).mean() / (y == 1).mean(), 1.0)
    same = DistributedMLPClassifier(**options).fit(x, y, weights)
    np.testing.assert_allclose(same.predict_proba(x), balanced.predict_proba(x), atol=1e-5)


def test_partial_fit_goes_on_and_warm_start_begins_again_from_the_weights() -> None:
    whole = DistributedMLPClassifier(**QUICK | {"max_iter": 6}, batch_size=50).fit(X, Y)
    parts = DistributedMLPClassifier(**QUICK, batch_size=50)
    for _ in range(6):
        parts.partial_fit(X, Y, classes=[0, 1, 2])
    # The same epochs, the same steps of the optimizer.
    for a, b in zip(whole.coefs_, parts.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    # Rows of one class alone are a part of a stream too.
    parts.partial_fit(X[Y == 2], Y[Y == 2])
    with pytest.raises(ValueError, match="classes must be passed"):
        DistributedMLPClassifier().partial_fit(X, Y)
    with pytest.raises(ValueError, match="none of those"):
        parts.partial_fit(X, Y + 1)
    warm = DistributedMLPClassifier(**QUICK, warm_start=True).fit(X, Y)
    first = warm.loss_
    assert warm.fit(X, Y).loss_curve_[0] < first
    numbers = DistributedMLPRegressor(**QUICK).partial_fit(X, X[:, :2]).partial_fit(X, X[:, :2])
    assert numbers.predict(X).shape == (150, 2)


def test_early_stopping_and_mistakes() -> None:
    early = DistributedMLPClassifier(
        **QUICK | {"max_iter": 300, "learning_rate_init": 0.1}, early_stopping=True,
        n_iter_no_change=3,
    ).fit(X, Y)  # fmt: skip
    assert early.n_iter_ < 300
    for name, value in {
        "activation": "rleu", "solver": "lbfgs", "learning_rate": "adaptive", "max_iter": 0,
        "hidden_layer_sizes": (0,), "alpha": -1.0, "learning_rate_init": 0.0, "batch_size": 0,
        "dropout": 1.0, "mode": "quick",
    }.items():  # fmt: skip
        with pytest.raises(RunFileError, match=f"^'{name}' is "):
            DistributedMLPClassifier(**{name: value}).fit(X, Y)
    with pytest.raises(ValueError, match="one class"):
        DistributedMLPClassifier().fit(X, np.zeros(150))
    assert disttrain.DistributedMLPClassifier is DistributedMLPClassifier


def test_nothing_is_loaded_that_was_not_asked_for_and_what_is_missing_is_named() -> None:
    code = (
        "import sys, disttrain; disttrain.train; "
        "assert not {'sklearn', 'onnx', 'safetensors', 'tensorboardX'} & set(sys.modules); "
        "sys.modules['sklearn'] = None\n"
        "try: disttrain.DistributedMLPClassifier\n"
        "except disttrain.UsageError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'disttrain[sklearn]'" in said.stdout
