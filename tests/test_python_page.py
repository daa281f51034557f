"""The page about Python: its blocks run one after the other, alone and on two ranks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from disttrain.launch import find_launcher
from tests.test_examples import run

PAGE = Path(__file__).parent.parent / "docs" / "python.md"


@pytest.mark.parametrize("ranks", [1, 2])
def test_every_block_of_the_page_runs(ranks: int, tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 6
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks))
    program = [sys.executable, str(script)]
    command = find_launcher().command(ranks, program) if ranks > 1 else program
    said = run(*command, cwd=tmp_path)
    assert "unknown setting 'epoch'; did you mean 'epochs'?" in said
    assert said.count("True") == ranks
    assert f" on {ranks} rank(s)" in said
    # No temporary run stays.
    assert {path.name for path in tmp_path.iterdir()} == {"page.py", "runs"}


def test_the_names_of_the_page_are_those_of_the_package() -> None:
    import disttrain

    named = set(re.findall(r"disttrain\.([A-Za-z_]+)", PAGE.read_text()))
    assert named <= set(disttrain.__all__)
    page = PAGE.read_text()
    assert [name for name in disttrain.__all__ if not re.search(rf"\b{name}\b", page)] == []


def test_its_settings_are_keys_of_a_run_file() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "disttrain", "check", "--schema"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for key in re.findall(r"`([a-z_]+)=", PAGE.read_text()):
        arguments = ("resume", "overwrite", "accept_changes", "data", "progress")
        assert f'"{key}"' in said or key in arguments
