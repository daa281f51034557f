"""C code of another version than the Python code is found before anything is recorded."""

import pytest

from disttrain.arrays import recording


def test_this_installation_has_one_version() -> None:
    assert recording.why_no_recordings.__wrapped__("float32") == ""


@pytest.mark.parametrize("other", [([], []), (["gather"], [8, 8])])
def test_other_names_or_sizes_are_not_called(
    other: tuple[list[str], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "compiled_form", lambda: other)
    assert "install disttrain again" in recording.why_no_recordings.__wrapped__("float32")
