"""BLAS threads of exact mode: all of a rank's cores where they change no bits, else one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from disttrain.comm.alone import Alone
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
    monkeypatch.setattr(threads, "products", lambda *_: [np.ones(3)])
    assert build("reproducibility.mode=exact").threads == 2


@pytest.mark.usefixtures("cores")
def test_one_thread_is_used_where_more_give_other_bits(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(*_: Any) -> list[np.ndarray]:
        blas = [i for i in threadpool_info() if i["user_api"] == "blas"]
        return [np.array([i["num_threads"] for i in blas])]

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
