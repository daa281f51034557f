"""A disk that is full at any file of a save: one sentence, and all that was saved stays whole."""

import json
import os
import shutil
import subprocess

import pytest

from tests.cli.shell import sentence

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def small_disk(shell, request):
    """A file system of so many KiB, where it may be mounted."""
    disk = shell.folder / "disk"
    disk.mkdir()
    size = f"size={request.param}k"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


# A checkpoint takes 24 KiB: none fits, only the first, its best.h5 too, the second, ...
SIZES = (40, 56, *(pytest.param(size, marks=pytest.mark.long) for size in (16, 80, 104)))


@pytest.mark.parametrize("small_disk", SIZES, indirect=True)
def test_a_full_disk_at_every_file(shell, small_disk):
    out = small_disk / "out"
    said = sentence(shell.run("train", "run.toml", "--output", out), 3)
    assert "No space left on device" in said
    # The summary may find no room either, metrics may be cut off; checkpoints are never torn.
    result = shell.run("verify", out, "--json")
    facts = json.loads(result.stdout)
    wrong = {file["path"].rpartition("/")[2] for file in facts["files"] if not file["whole"]}
    assert wrong <= {"best.h5", "metrics.jsonl"}
    assert facts["left_over"] == []
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    resumed = shell.run("train", "run.toml", "--output", out, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert shell.run("verify", out).returncode == 0
    assert shell.run("train", "run.toml", "--output", "whole").returncode == 0
    whole, after = shell.summary("whole"), json.loads((out / "summary.json").read_text())
    for key in ("status", "steps", "best_step", "validation", "test", "digest"):
        assert after[key] == whole[key], key
