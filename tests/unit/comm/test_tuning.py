from disttrain import environment
from disttrain.comm.tuning import CROWDED, tune


def tuned(monkeypatch, cores, **variables):
    monkeypatch.setattr(environment, "cores", lambda: set(range(cores)))
    tune(variables)
    return variables


def test_mpich_waits_without_its_shared_memory_where_ranks_share_cores(monkeypatch):
    variables = tuned(monkeypatch, 2, MPI_LOCALNRANKS="3")
    assert variables.items() >= CROWDED.items()
    assert variables["MPIR_CVAR_BARRIER_POSIX_INTRA_ALGORITHM"] == "mpir"


def test_a_core_for_each_rank_keeps_mpichs_own_choice(monkeypatch):
    assert not CROWDED.keys() & tuned(monkeypatch, 2, MPI_LOCALNRANKS="2").keys()


def test_what_the_user_has_set_stays(monkeypatch):
    name = "MPIR_CVAR_BARRIER_POSIX_INTRA_ALGORITHM"
    variables = tuned(monkeypatch, 1, MPI_LOCALNRANKS="3", **{name: "auto"})
    assert variables[name] == "auto"
