"""Any model with a flat vector: the bits of one rank on several, by leaves."""

from __future__ import annotations

import disttrain
from disttrain.comm import Communicator
from disttrain.comm.alone import Alone
from tests.conftest import blobs
from tests.unit.interop.test_any_model import KEYS, Softmax


def test_a_model_has_the_same_bits_on_any_ranks(comm: Communicator) -> None:
    data = disttrain.Data(*blobs(70, 1))
    own = Softmax("float32")
    found = disttrain.train(data, model=own, mode="exact", comm=comm, **KEYS).summary["digest"]
    assert len(set(comm.collect((found, own.parameters.tobytes())))) == 1
    fast = disttrain.train(data, model=Softmax(), mode="fast", comm=comm, **KEYS)
    assert fast.history[-1]["train_accuracy"] > 0.9
    if comm.is_root:
        alone = disttrain.train(data, model=Softmax("float32"), mode="exact", comm=Alone(), **KEYS)
        assert alone.summary["digest"] == found
