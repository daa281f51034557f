"""Stopped and resumed as a user does it, on other numbers of ranks; `ranks/test_resume.py` has
every step.
"""

import json
import re
from pathlib import Path

import pytest

from disttrain.checkpoint import all_checkpoints, load
from disttrain.training.integrity.chain import broken_at
from tests.cli.shell import blobs, sentence

pytestmark = pytest.mark.timeout(180)
# 150 rows in batches of 32: 5 steps an epoch, 20 in all.
TRAINING = """
seed = 9
[data]
path = "blobs.h5"
normalize = "standardize"
[model]
layers = [{ units = 19, activation = "tanh", dropout = 0.2 }, { units = 3 }]
[training]
epochs = 4
batch_size = 32
[schedule]
kind = "cosine"
[validation]
every_steps = 3
[checkpoint]
every_steps = 4
[device]
kind = "cpu"
"""
EXACT = ("--set", "reproducibility.mode=exact")
CLOCK = ("seconds", "samples_per_second")
BOTH = ("digest", "best_step", "validation", "test", "steps", "epochs", "status")


@pytest.fixture
def trained(shell):
    """A function that trains on so many ranks, broken by `fault`, and returns the result."""
    shell.run_file(TRAINING)

    def train(ranks, *arguments, fault="", code=0, output="out"):
        result = shell.run(
            "launch", "-n", ranks, "train", "run.toml", "--output", output, *arguments,
            module="tests.mpi.driver", env={"FAULT": fault} if fault else {},
        )  # fmt: skip
        assert result.returncode == code, result.stderr
        return result

    return train


def lines(path: Path) -> list[dict]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in rows]


STOPS = [(1, 2), (3, 5), (2, 11), (4, None)]


def in_parts(trained, *arguments):
    """Train on 1, 3, 2 and 4 ranks; the last rank of each is asked to stop in a step."""
    for number, (ranks, step) in enumerate(STOPS):
        more = ["--resume"] * (number > 0)
        if step is None:
            trained(ranks, *arguments, *more)
        else:
            result = trained(
                ranks, *arguments, *more, fault=f"TERM at step {step} on {ranks - 1}", code=75
            )
            assert f"asked to stop after step {step + 1} of 20" in result.stderr


def test_exact_from_1_to_3_to_2_to_4_ranks(shell, trained):
    in_parts(trained, *EXACT)
    trained(1, *EXACT, output="whole")
    parts, whole = (shell.summary(name) for name in ("out", "whole"))
    for key in BOTH:
        assert parts[key] == whole[key], key
    for name in ("metrics.jsonl", "digests.jsonl"):
        found, wanted = (lines(shell.folder / run / name) for run in ("out", "whole"))
        assert found == wanted
    assert broken_at(found) is None
    best = [load(shell.folder / run / "best.h5") for run in ("out", "whole")]
    assert best[0].digest == best[1].digest
    assert [p.name for p in all_checkpoints(shell.folder / "out/checkpoints")][-1] == (
        "step-00000020.h5"
    )


@pytest.mark.long
def test_fast_from_1_to_3_to_2_to_4_ranks(shell, trained):
    in_parts(trained)
    trained(2, output="whole")
    parts, whole = (shell.summary(name) for name in ("out", "whole"))
    for key in ("best_step", "steps", "epochs", "status"):
        assert parts[key] == whole[key], key
    found, wanted = (lines(shell.folder / run / "metrics.jsonl") for run in ("out", "whole"))
    for row, right in zip(found, wanted, strict=True):
        for key in ("step", "train_loss", "validation_loss", "learning_rate", "penalty"):
            assert row[key] == pytest.approx(right[key], rel=1e-4), key
    found, wanted = (lines(shell.folder / run / "digests.jsonl") for run in ("out", "whole"))
    assert [r["order"] for r in found] == [r["order"] for r in wanted]


def test_a_changed_run_file_is_refused_or_accepted(shell, trained):
    trained(2, fault="TERM at step 6 on 1", code=75)
    changed = ("--resume", "--set", "optimizer.momentum=0.5")
    text = sentence(trained(3, *changed, code=2), 2)
    assert text.startswith("optimizer.momentum was 0.9 when this run began and is 0.5 now: ")
    trained(3, *changed, "--accept-changes")
    summary = shell.summary("out")
    assert summary["status"] == "completed"
    assert summary["changes"] == ["optimizer.momentum from step 7: 0.5, was 0.9"]


@pytest.mark.parametrize("ranks", [pytest.param(2, marks=pytest.mark.long), 3])
def test_other_data_are_refused_by_all_ranks_and_can_be_accepted(shell, trained, ranks):
    trained(2, *EXACT, fault="TERM at step 6 on 1", code=75)
    blobs(shell.folder / "blobs.h5", rows=200, validation=2100, classes=3, seed=6)
    before = {p: p.read_bytes() for p in (shell.folder / "out").rglob("*.h5")}
    text = sentence(trained(ranks, *EXACT, "--resume", code=3), 3)
    assert "blobs.h5 is not the data of this run: its content has changed" in text
    assert not shell.left_running()
    assert {p: p.read_bytes() for p in (shell.folder / "out").rglob("*.h5")} == before
    assert shell.summary("out")["status"] == "preempted"
    trained(ranks, *EXACT, "--resume", "--accept-changes")
    (change,) = shell.summary("out")["changes"]
    assert change.startswith("data from step 7: ")


@pytest.mark.parametrize("ranks", [2, pytest.param(3, marks=pytest.mark.long)])
def test_a_folder_that_is_moved_away_ends_all_ranks_with_code_3(shell, trained, ranks):
    text = sentence(trained(ranks, fault="move at step 6 on 0", code=3), 3)
    assert "out was moved, removed or replaced" in text
    assert not shell.left_running()
    assert not (shell.folder / "out").exists()
    trained(ranks, "--resume", output="out.moved")
    assert shell.summary("out.moved")["status"] == "completed"


def has(feature: str) -> bool:
    """Return whether this processor has a feature."""
    path = Path("/proc/cpuinfo")
    return path.exists() and re.search(rf"\b{feature}\b", path.read_text()) is not None


@pytest.mark.skipif(not has("avx512f"), reason="needs a processor with two kinds of kernels")
def test_other_blas_kernels_are_refused_or_accepted(shell):
    """Kernels of two kinds on one machine stand for two kinds of processors."""
    shell.run_file(TRAINING.replace("units = 19", "units = 64"))

    def train(kernels, epochs, *more, **options):
        return shell.run(
            "train", "run.toml", "--output", "out", *EXACT, "--set", f"training.epochs={epochs}",
            "--set", "schedule.kind=constant", *more, env={"OPENBLAS_CORETYPE": kernels}, **options,
        )  # fmt: skip

    first = train("Haswell", 1)
    assert first.returncode == 0, first.stderr
    before = shell.summary("out")
    if "Haswell" not in before["environment"]["blas"]:
        pytest.skip("this BLAS does not choose its kernels by OPENBLAS_CORETYPE")
    text = sentence(train("SkylakeX", 2, "--resume"), 2)
    assert re.search(r"BLAS here: \w+ [\d.]+ SkylakeX, .*; there: \w+ [\d.]+ Haswell, ", text)
    assert "--accept-changes" in text
    again = train("Haswell", 2, "--resume")
    assert again.returncode == 0, again.stderr
    assert shell.summary("out")["changes"] == []
    accepted = train("SkylakeX", 3, "--resume", "--accept-changes")
    assert accepted.returncode == 0, accepted.stderr
    (line,) = shell.summary("out")["changes"]
    assert re.match(r"arithmetic from step 10: .* SkylakeX, .* was .* Haswell, ", line)


def test_a_flipped_bit_ends_all_ranks_with_one_sentence_and_costs_an_interval(shell, trained):
    text = sentence(trained(3, *EXACT, fault="flip at step 9 on 1", code=5), 5)
    assert re.match(r"rank 1 \(.*\) differs from the others in .*weights of dense1/weight ", text)
    assert shell.summary("out")["status"] == "failed"
    assert shell.summary("out")["failures"] == [text]
    assert not shell.left_running()
    trained(2, *EXACT, "--resume")
    trained(1, *EXACT, output="whole")
    assert shell.summary("out")["digest"] == shell.summary("whole")["digest"]
