"""Predictions and scores of files by ranks together: the bits of one rank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import disttrain
from disttrain.comm import Communicator
from disttrain.comm.alone import Alone
from disttrain.errors import RankFailure, exit_code_of
from disttrain.model import Network
from disttrain.runs.trained import load_trained
from disttrain.training import evaluation
from tests.conftest import blobs


@pytest.fixture(scope="module")
def run(comm: Communicator, together_path: Path) -> Path:
    """The folder of a run on arrays, seen by all ranks."""
    folder = together_path / "predictions"
    disttrain.train(
        disttrain.Data(*blobs(96, 1)), folder, layers=[8, 3], epochs=1, device="cpu", comm=comm
    )
    return folder


@pytest.mark.parametrize("most", [16 << 20, 40_000, 4_000, 1])
def test_predictions_are_those_of_one_rank_whatever_the_messages(
    comm: Communicator, run: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    inputs = blobs(5000 if most > 1000 else 40, 2)[0]
    monkeypatch.setattr(evaluation, "MESSAGE_BYTES", most)
    found = load_trained(run, comm).predict(inputs, everywhere=False)
    with comm.together("comparing"):
        if comm.is_root:
            np.testing.assert_array_equal(found, load_trained(run, Alone()).predict(inputs))
        else:
            assert found is None


def test_predictions_reach_every_rank_whatever_one_message_may_hold(
    comm: Communicator, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for more than 2 GiB, but with a limit that 300 rows reach."""
    if comm.size > 1:
        monkeypatch.setattr("disttrain.comm.ranks.LARGEST", 1000)
    monkeypatch.setattr(evaluation, "MESSAGE_BYTES", 1000)
    inputs = blobs(300, 2)[0]
    found = load_trained(run, comm).predict(inputs)
    assert found is not None
    assert found.nbytes > 3 * 1000
    np.testing.assert_array_equal(found, load_trained(run, Alone()).predict(inputs))


def test_a_table_and_its_scores_are_those_of_one_rank(
    comm: Communicator, run: Path, together_path: Path
) -> None:
    path = together_path / "new.csv"
    inputs, targets = blobs(3000, 3)
    with comm.together("writing"):
        if comm.is_root:
            lines = [
                ",".join(map(str, (*row, target)))
                for row, target in zip(inputs.tolist(), targets.tolist(), strict=True)
            ]
            path.write_text("\n".join(["a,b,c,d,class", *lines]) + "\n")
    trained = load_trained(run, comm)
    score, found = trained.evaluate(str(path)), trained.predict(path)
    assert len(set(comm.collect((score, found.tobytes())))) == 1
    with comm.together("comparing"):
        if comm.is_root:
            alone = load_trained(run, Alone())
            assert alone.evaluate(str(path)) == score
            assert alone.evaluate(inputs, targets) == score
            np.testing.assert_array_equal(alone.predict(path), found)


@pytest.mark.timeout(20)
def test_a_rank_without_memory_for_more_exact_weights_ends_all(
    comm: Communicator, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = load_trained(run, comm)

    def closer(network: Network) -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        if comm.rank == comm.size - 1:
            patch.setattr(Network, "closer", closer)
        with pytest.raises(RankFailure, match="failed in predicting: MemoryError: no room") as seen:
            trained.predict(blobs(40, 2)[0])
    assert seen.value.rank == comm.size - 1
    assert trained.predict(blobs(40, 2)[0]) is not None


def test_what_does_not_fit_is_raised_on_all_ranks(comm: Communicator, run: Path) -> None:
    said = None
    try:
        load_trained(run, comm).predict(run / "missing.csv")
    except Exception as error:
        said = exit_code_of(error)
    assert comm.collect(said) == [3] * comm.size
