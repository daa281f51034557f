"""The listings of docs/coming-from.md run, on small data, and have the lines that it states."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from disttrain.config import read
from tests.cli.shell import blobs

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from.md").read_text()


def listings(heading: str) -> list[str]:
    """Return the blocks of Python, and of TOML, under a heading."""
    (part,) = re.findall(rf"^## {heading}.*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```(?:python|toml)\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


def statements(listing: str) -> int:
    """Return how many lines hold code."""
    return sum(bool(line.strip()) for line in listing.splitlines())


@pytest.mark.parametrize("heading", ["disttrain", "PyTorch DDP", "Keras", "scikit-learn"])
def test_lines_are_as_many_as_the_page_says(heading: str) -> None:
    (stated,) = re.findall(rf"^## {heading}: (\d+) lines", PAGE, re.MULTILINE)
    assert statements(listings(heading)[0]) == int(stated)


def test_lines_of_horovod_are_those_of_pytorch_with_its_own() -> None:
    (stated,) = re.findall(r"^## Horovod: (\d+) lines", PAGE, re.MULTILINE)
    ddp, own = listings("PyTorch DDP")[0], listings("Horovod")[0]
    other = ("init_process_group", "rank = ", "DDP", "sampler = ", "optimizer = ", " as dist")
    kept = [line for line in ddp.splitlines() if line.strip() and not any(o in line for o in other)]
    assert len(kept) + statements(own) == int(stated)


def test_the_listings_of_disttrain_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    blobs(tmp_path / "data" / "mnist.h5", validation=40)
    monkeypatch.chdir(tmp_path)
    as_toml, as_python = listings("disttrain")
    (tmp_path / "run.toml").write_text(as_toml)
    assert read(tmp_path / "run.toml").validation.patience == 5
    shown: list[object] = []
    exec(as_python.replace("10]", "3]"), {"print": shown.append})
    assert shown[0].accuracy > 0.8  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.filterwarnings("ignore")
def test_the_listings_of_scikit_learn_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    pytest.importorskip("sklearn", "1.6")
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 1000)
    np.save(tmp_path / "x.npy", np.eye(3)[y] * 4 + random.normal(size=(1000, 3)))
    np.save(tmp_path / "y.npy", y)
    monkeypatch.chdir(tmp_path)
    shown: list[float] = []
    exec(listings("scikit-learn")[number].replace("800", "64"), {"print": shown.append})
    assert shown[0] > 0.8


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_listing_of_pytorch_runs_on_two_processes_and_goes_on(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save((torch.randn(200, 784), torch.randint(0, 10, (200,))), tmp_path / "mnist.pt")
    listing = listings("PyTorch DDP")[0].replace("[54000, 6000]", "[180, 20]")
    program = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "job.py")
    for epochs in (2, 3):
        own = listing.replace("range(start, 20)", f"range(start, {epochs})")
        # Without it threads of gloo can abort the process at its end, after all has been saved.
        (tmp_path / "job.py").write_text(f"{own}\ndist.destroy_process_group()\n")
        environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        for _ in range(2):
            # What is saved counts: PyTorch's processes now and then fail to meet, or at their end.
            done = subprocess.run(
                [sys.executable, *program], cwd=tmp_path, env=environment,
                capture_output=True, text=True, timeout=140, check=False,
            )  # fmt: skip
            last = tmp_path / "last.pt"
            if last.exists() and torch.load(last)["epoch"] == epochs:
                break
        assert last.exists(), done.stderr[-2000:]
        assert torch.load(last)["epoch"] == epochs, done.stderr[-2000:]
    assert (tmp_path / "best.pt").exists()
