"""What tests of trainings on the stand-in for a GPU share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from disttrain.training import build as build_module
from tests.gpu.fake_cupy import fake_gpu


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give the stand-in, on which networks are built meanwhile."""
    with fake_gpu() as device:
        monkeypatch.setattr(build_module, "choose", lambda *_: device)
        yield device
