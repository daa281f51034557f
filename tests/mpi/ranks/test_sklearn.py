"""scikit-learn's estimators on several ranks: all call `fit`, all have the same weights."""

from __future__ import annotations

import pytest

from disttrain.comm import Communicator
from tests.conftest import blobs

X, Y = blobs(60, 1)


def test_ranks_fit_together_to_the_bits_of_one(comm: Communicator) -> None:
    # Not for all tests: the import takes longer than they do.
    pytest.importorskip("sklearn", "1.6")
    from sklearn.model_selection import cross_val_score

    from disttrain.interop.sklearn import DistributedMLPClassifier

    model = DistributedMLPClassifier((8,), max_iter=5, mode="exact", batch_size=16)
    scores = cross_val_score(model, X, Y, cv=3)
    # The seed is drawn by each rank: that of rank 0 counts.
    model.fit(X, Y)
    parts = model.partial_fit(X, Y)
    found = (scores.tobytes(), *(w.tobytes() for w in parts.coefs_), parts.predict(X).tobytes())
    assert len(set(comm.collect(found))) == 1
    with pytest.raises(ValueError, match=r"dim 1|2D array"):
        model.fit(X[:, 0], Y)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["DistributedMLPClassifier", "DistributedMLPRegressor"])
def test_scikit_learns_checks_pass_on_ranks(comm: Communicator, kind: str) -> None:
    if comm.size != 2:
        pytest.skip("two ranks show it; without ranks see tests/unit/interop")
    pytest.importorskip("sklearn", "1.6")
    from sklearn.utils.estimator_checks import check_estimator

    import disttrain.interop.sklearn

    model = getattr(disttrain.interop.sklearn, kind)()
    found = check_estimator(model, on_skip=None)
    assert {result["status"] for result in found} <= {"passed", "skipped"}
    assert len(set(comm.collect([result["status"] for result in found].__repr__()))) == 1
