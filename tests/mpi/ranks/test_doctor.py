"""The doctor on ranks: facts come in order, and a rank whose looking fails stops no other."""

import pytest

from disttrain.launch.doctor import examine as examination
from disttrain.launch.doctor import interfaces
from disttrain.launch.doctor.checks import judge


def test_the_facts_of_all_ranks_come_to_rank_0(comm, together_path):
    facts = examination.examine(together_path)
    if not comm.is_root:
        assert facts == []
        return
    assert [f.rank for f in facts] == list(range(comm.size))
    assert all(f.failed == {} for f in facts)
    assert [f.disk is not None for f in facts] == [True] + [False] * (comm.size - 1)
    assert all(f.processor.cores for f in facts)
    assert len({f.machine.boot for f in facts}) == 1


@pytest.mark.parametrize("who", ["first", "last"])
def test_a_rank_whose_looking_fails_is_named(comm, together_path, monkeypatch, who):
    rank = 0 if who == "first" else comm.size - 1

    def fails():
        raise OSError("no such device")

    if comm.rank == rank:
        monkeypatch.setattr(interfaces, "network", fails)
    facts = examination.examine(together_path)
    if comm.is_root:
        (finding,) = [f for f in judge(facts) if f.name == "not-looked-at"]
        assert finding.ranks == (rank,)
        assert "OSError: no such device" in finding.what


def test_a_run_folder_that_hangs_on_rank_0_holds_up_nobody(comm, together_path, monkeypatch):
    import threading

    from disttrain.launch.doctor import disk

    never = threading.Event()
    monkeypatch.setattr(disk, "try_out", lambda folder: never.wait())
    facts = examination.examine(together_path, patience=2.0)
    never.set()
    if comm.is_root:
        assert "folder-gives-no-answer" in {f.name for f in judge(facts)}
        assert all(f.network for f in facts)


def test_another_host_sees_the_token_or_does_not(comm, together_path, monkeypatch):
    """The last rank plays the first rank of another host, whose folder is another one."""
    if comm.size < 2:
        pytest.skip("needs two ranks")
    if comm.rank == comm.size - 1:
        monkeypatch.setattr(comm, "local_rank", 0)
    facts = examination.examine(together_path)
    if comm.is_root:
        assert [f.disk and f.disk.token_seen for f in facts][-1] is True
        assert "folder-not-shared" not in {f.name for f in judge(facts)}
    if comm.rank == comm.size - 1:
        real = examination._with_token
        blind = together_path / "elsewhere" / "token"
        monkeypatch.setattr(
            examination, "_with_token", lambda seen, token, root: real(seen, blind, root)
        )
    facts = examination.examine(together_path)
    if comm.is_root:
        (finding,) = [f for f in judge(facts) if f.name == "folder-not-shared"]
        assert finding.ranks == (comm.size - 1,)
    comm.barrier()
    if comm.is_root:
        assert list(together_path.glob(".doctor-*")) == []
