from __future__ import annotations

from pathlib import Path

import pytest

from disttrain import memory


@pytest.mark.parametrize(
    ("limit", "used", "free"),
    [("1000000", "400000", 600_000), ("max", "400000", None), ("", "", None), (None, None, None)],
)
def test_what_is_free_is_limited_by_the_job_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, used: str, free: float | None
) -> None:
    both = (tmp_path / "limit", tmp_path / "used")
    monkeypatch.setattr(memory, "LIMITS", (tuple(map(str, both)),))
    for path, text in zip(both, (limit, used), strict=True):
        if text is not None:
            path.write_text(text)
    found = memory.free_memory()
    assert found == free if free else found > 1e6
