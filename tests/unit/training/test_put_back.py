"""What a run sets in its process, it puts back: BLAS threads, the deadline, the journal."""

import pytest
import threadpoolctl

import disttrain
from disttrain import journal
from disttrain.comm.alone import Alone
from disttrain.errors import RankFailure
from disttrain.training import Callback


def threads():
    return {i["num_threads"] for i in threadpoolctl.threadpool_info() if i["user_api"] == "blas"}


def test_each_blas_has_the_threads_of_exact_mode(settings):
    """SciPy brings one of its own, which layers of a user's may call."""
    pytest.importorskip("scipy.linalg")
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    if len(libraries) < 2:
        pytest.skip("SciPy has the BLAS of NumPy here")
    mode = "reproducibility.mode=exact", "reproducibility.blas_threads=1"
    made, seen = settings("training.epochs=1", *mode), Looks()
    with threadpoolctl.threadpool_limits(2, "blas"):
        for library in libraries:
            library.set_num_threads(1 if "numpy" in library.filepath else 2)
        disttrain.fit(disttrain.build(made, callbacks=[seen], comm=Alone()))
    assert seen.seen == [{1}]


class Looks(Callback):
    """Notes how many BLAS threads there are in the run; fails at its second interval."""

    def __init__(self):
        self.seen = []

    def on_interval(self, run, report):
        self.seen.append(threads())
        if len(self.seen) == 2:
            raise ValueError("bad")


def test_blas_threads_deadline_and_journal_are_those_of_before(settings, tmp_path):
    made = settings("reproducibility.mode=exact", "reproducibility.blas_threads=2")
    comm, looks = Alone(), Looks()
    with threadpoolctl.threadpool_limits(1, "blas"):
        with pytest.raises(RankFailure, match="bad"):
            disttrain.train(made, tmp_path / "run", callbacks=[looks], comm=comm)
        assert looks.seen == [{2}, {2}]
        assert threads() == {1}
        assert comm.watch._seconds == 0
        assert not journal.is_open()
        run = disttrain.build(made, comm=comm)
        assert threads() == {1}
        disttrain.fit(run)
        run.score(run.dataset.splits["test"], "scoring")
        assert threads() == {1}
        assert run.arithmetic.blas.endswith("2 threads")
