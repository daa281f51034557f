"""Every number that a run file may hold is one that a training copes with."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from disttrain.errors import Divergence, RunFileError
from disttrain.training import Run, fit
from disttrain.training.suitability import refuse_what_memory_cannot_hold
from tests.unit.test_config import NUMERIC, limits

Build = Callable[..., Run]
# So many epochs take an hour, and so many units all the memory; so large windows do not fit.
# One row with its target is too few for the classes of the data.
NOT_TRAINED = ("data.labelled", "training.epochs", "model.layers.0.units", "model.layers.0.filters",
               "model.layers.0.size", "model.layers.0.stride",
               "model.layers.0.padding")  # fmt: skip


@pytest.mark.parametrize(
    ("key", "facts", "needs"),
    [case for case in NUMERIC if case[0] not in NOT_TRAINED],
    ids=[key for key, _, _ in NUMERIC if key not in NOT_TRAINED],
)
def test_a_number_at_its_limit_trains_or_diverges(
    build: Build, key: str, facts: dict[str, Any], needs: tuple[str, ...]
) -> None:
    mode = "exact" if key.startswith(("model.", "reproducibility.")) else "fast"
    for limit in limits(facts):
        mode_key = f"reproducibility.mode={mode}"
        try:
            fit(build("training.epochs=2", mode_key, *needs, f"{key}={limit!r}"))
        except Divergence:
            assert float(limit) >= 1e38
        except RunFileError as error:
            if "not built yet" in str(error):
                pytest.skip(str(error))
            # What is excluded, such as a factor of 0.
            assert limit in (facts.get("exclusiveMinimum"), facts.get("exclusiveMaximum"))


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("layers", [[2**24, 2**24, 3], [2**24, 3, 2**24, 3]])
def test_a_network_that_memory_can_not_hold_is_refused_before_it_is_asked_for(
    build: Build, monkeypatch: pytest.MonkeyPatch, layers: list[int], mode: str
) -> None:
    monkeypatch.setattr("disttrain.arrays.device.free_memory", lambda: 1e9)
    units = ", ".join(f"{{units={units}}}" for units in layers)
    tracemalloc.start()
    with pytest.raises(RunFileError, match=r"parameters need at least .* GB .*: give the layers"):
        build(f"model.layers=[{units}]", f"reproducibility.mode={mode}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_wide_layers_count_by_what_they_put_out(build: Build) -> None:
    run = build()

    class Free:
        kind = "cpu"

        def free_memory(self) -> float:
            return 1e6

    # 30,000 units of 5 numbers each: 0.6 MB of weights, and 11.9 MB of outputs for 99 rows.
    layers = [type(run.network.layers[0])(30_000)]
    with pytest.raises(RunFileError, match="150,000 parameters need at least"):
        refuse_what_memory_cannot_hold(layers, run.settings, run.dataset, Free(), run.comm)  # type: ignore[arg-type]
