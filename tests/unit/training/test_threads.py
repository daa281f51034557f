"""BLAS threads of exact mode: all of a rank's cores where they change no bits, else one."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from disttrain.comm.alone import Alone
from disttrain.model import Context, Dense, Layer, Parameter
from disttrain.training import Run, fit
from disttrain.training.exact import threads

Build = Callable[..., Run]


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Alone, "blas_threads", 2)


@pytest.mark.usefixtures("cores")
def test_all_cores_are_used_where_the_bits_are_the_same(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "products", lambda *_: iter([np.ones(3)]))
    assert build("reproducibility.mode=exact").threads == 2


@pytest.mark.usefixtures("cores")
def test_one_thread_is_used_where_more_give_other_bits(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(*_: Any) -> Iterator[np.ndarray]:
        yield np.ones(3)
        blas = [i for i in threadpool_info() if i["user_api"] == "blas"]
        yield np.array([i["num_threads"] for i in blas])

    monkeypatch.setattr(threads, "products", other)
    assert build("reproducibility.mode=exact").threads == 1


@pytest.mark.usefixtures("cores")
def test_a_stated_number_is_taken(build: Build) -> None:
    assert build("reproducibility.mode=exact", "reproducibility.blas_threads=1").threads == 1


def test_fast_mode_has_none(build: Build) -> None:
    assert build("reproducibility.mode=fast").threads is None


@pytest.mark.parametrize("arithmetic", ["shared", "leaves"])
def test_the_digest_is_that_of_one_thread(
    build: Build, arithmetic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = ["reproducibility.mode=exact", f"reproducibility.arithmetic={arithmetic}",
           "model.layers.0.units=300"]  # fmt: skip
    one = build(*how)
    monkeypatch.setattr(Alone, "blas_threads", 2)
    two = build(*how)
    fit(one)
    fit(two)
    assert one.digest() == two.digest()


class Gain(Layer):
    """A layer of a user's own, whose parameter is no matrix and has no bias."""

    kind = "gain"

    def parameters(self, shape: tuple[int, ...]) -> dict[str, Parameter]:
        return {"gain": Parameter(shape, initial=1.0)}

    def forward(self, x: Any, ctx: Context) -> Any:
        def backward(dy: Any) -> Any:
            ctx.gradients["gain"][:] = (dy * x).sum(axis=0)
            return dy * ctx.values["gain"]

        return x * ctx.values["gain"], backward


@pytest.mark.usefixtures("cores")
def test_a_layer_of_ones_own_gets_one_thread(build: Build) -> None:
    run = build("reproducibility.mode=exact", layers=[Dense(8, "tanh"), Gain(), Dense(3)])
    assert run.threads == 1
    fit(run)


@pytest.mark.usefixtures("cores")
def test_blocks_and_this_ranks_own_rows_are_compared(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, ...]] = []
    real = threads.products
    monkeypatch.setattr(threads, "products", lambda *given: seen.append(given) or real(*given))
    run = build("reproducibility.mode=exact")
    _, pieces, blocks, *_ = seen[0]
    assert blocks == {split.count for split in run.dataset.splits.values()}
    assert {piece.rows for piece in pieces} == {
        run.work.batches.rows(step) for step in range(run.steps_per_epoch)
    }
