from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from disttrain.checkpoint import Snapshot, State

ODD = [0.0, -0.0, np.nan, np.inf, 5e-324, -1.5]


def make(step: int = 7, dtype: str = "f4") -> Snapshot:
    """Return a small snapshot with all that one can hold, odd numbers among it."""
    random = np.random.default_rng(step)
    names = {"dense2/weight": (2, 3), "dense2/bias": (2,), "dense1/weight": (3, 2)}
    parameters, velocity = (
        {n: random.normal(size=shape).astype(dtype) for n, shape in names.items()} for _ in range(2)
    )
    velocity["dense1/weight"] = np.array(ODD).astype(dtype).reshape(3, 2)
    return Snapshot(
        step,
        step / 3,
        'data.path = "ä"\nmodel.layers = [{ units = 2 }]\n',
        parameters,
        {"velocity": velocity},
        {"kind": "standardize", "divisor": 255.0, "mean": np.arange(3.0), "deviation": np.ones(3)},
        {"data": {"path": "/a b"}},
        State(step, history=[{"loss": 0.1, "accuracy": None}]),
    )


@pytest.fixture(name="make")
def _make() -> Callable[..., Snapshot]:
    return make


def same(one: Snapshot, two: Snapshot) -> bool:
    """Return True where two snapshots hold the same bits."""

    def plain(snapshot: Snapshot) -> list:
        arrays = [snapshot.normalization, snapshot.parameters, *snapshot.slots.values()]
        return [
            snapshot.step,
            snapshot.epoch,
            snapshot.run_file,
            {k: v for k, v in snapshot.state.items() if k not in ("tensors", "slots")},
            snapshot.progress,
            list(snapshot.slots),
            *(
                [
                    (k, v.dtype.str, v.shape, v.tobytes()) if isinstance(v, np.ndarray) else (k, v)
                    for k, v in (sorted(a.items()) if number == 0 else a.items())
                ]
                for number, a in enumerate(arrays)
            ),
        ]

    return plain(one) == plain(two)


@pytest.fixture(name="same")
def _same() -> Callable[[Snapshot, Snapshot], bool]:
    return same
