"""Weights from another run, frozen layers, rates of layers, and batches in several passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.comm.alone import Alone
from disttrain.config import Settings, parse, to_toml
from disttrain.errors import CheckpointError, UsageError
from disttrain.runs import train
from disttrain.training import Run, build_run, fit
from disttrain.training.trainer import train_step

Make = Callable[..., Settings]
Build = Callable[..., Run]
OTHER = "model.layers=[{units=8, activation='tanh'}, {units=5, activation='relu'}, {units=3}]"


def test_layers_are_matched_by_name_and_shape(
    settings: Make, build: Build, listen: Any, tmp_path: Path
) -> None:
    source = settings("training.epochs=1")
    train(source, tmp_path / "source", Alone())
    wanted = build_run(source, Alone())
    listener = listen()
    run = build(OTHER, f"model.from={tmp_path / 'source'}", callbacks=[listener])
    fresh, found = build(OTHER), run.network.tensors(run.network.values)
    wanted.restore(None)
    kept = fresh.network.tensors(fresh.network.values)
    assert not np.array_equal(found["dense1/weight"], kept["dense1/weight"])
    for name in ("dense2/weight", "dense3/weight", "dense3/bias"):
        np.testing.assert_array_equal(found[name], kept[name])
    said = next(line for line in listener.messages if "initial weights" in line)
    assert "initial weights of dense1 from" in said
    assert "not dense2 (weight (3, 8) there, (5, 8) here), dense3 (weight missing there" in said
    with pytest.raises(UsageError, match=r"no layer of .* has the name and the shape of one here"):
        build("model.layers=[{units=7}, {units=3}]", f"model.from={tmp_path / 'source'}")
    with pytest.raises(CheckpointError):
        build(OTHER, "model.from=nowhere")


def test_a_resumed_run_needs_its_source_no_more(
    settings: Make, interrupted: Any, go: Any, tmp_path: Path
) -> None:
    train(settings("training.epochs=1"), tmp_path / "source", Alone())
    begun = settings(OTHER, f"model.from={tmp_path / 'source'}")
    assert parse(to_toml(begun)) == begun
    whole = go(begun, "whole")
    interrupted(begun, 9)
    (tmp_path / "source/best.h5").unlink()
    (tmp_path / "source").rename(tmp_path / "moved")
    assert go(begun, resume=True)["digest"] == whole["digest"]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_rates_and_frozen_layers_are_pytorchs_groups(build: Build, optimizer: str) -> None:
    torch = pytest.importorskip("torch")
    run = build(
        "model.layers=[{units=6, activation='tanh', rate=0.1}, {units=5, activation='tanh', "
        "frozen=true}, {units=3, rate=2.0}]",
        f"optimizer.kind={optimizer}", "optimizer.clip_norm=0.5", "model.dtype=float64",
        "reproducibility.mode=fast",
    )  # fmt: skip
    start = run.network.tensors(run.network.values.copy())
    theirs = {n: torch.tensor(t.copy(), requires_grad="dense2" not in n) for n, t in start.items()}

    def group(layer: str, rate: float) -> list[dict[str, Any]]:
        return [
            {"params": [theirs[f"{layer}/weight"]], "lr": 0.05 * rate, "weight_decay": 1e-4},
            {"params": [theirs[f"{layer}/bias"]], "lr": 0.05 * rate, "weight_decay": 0.0},
        ]

    groups = [*group("dense1", 0.1), *group("dense3", 2.0)]
    of = torch.optim
    update = of.SGD(groups, momentum=0.9) if optimizer == "sgd" else of.Adam(groups)
    for step in range(20):
        (part,) = run.work.batches.parts_of(step)
        x, y = torch.tensor(part.inputs), torch.tensor(part.targets)
        for n in (1, 2, 3):
            x = x @ theirs[f"dense{n}/weight"].T + theirs[f"dense{n}/bias"]
            x = torch.tanh(x) if n < 3 else x
        update.zero_grad()
        torch.nn.functional.cross_entropy(x, y).backward()
        torch.nn.utils.clip_grad_norm_([t for t in theirs.values() if t.requires_grad], 0.5)
        update.step()
        train_step(run, step, 0.05)
    found = run.network.tensors(run.network.values)
    for name, want in theirs.items():
        np.testing.assert_allclose(found[name], want.detach().numpy(), atol=1e-9, err_msg=name)
    np.testing.assert_array_equal(found["dense2/weight"], start["dense2/weight"])


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_passes_add_up_to_the_batch(build: Build, mode: str) -> None:
    changes = ["training.batch_size=50", "model.dtype=float64", f"reproducibility.mode={mode}",
               "training.epochs=2"]  # fmt: skip
    whole, parts = build(*changes), build(*changes, "training.accumulate=20")
    assert max(len(part.samples) for part in parts.work.batches.parts_of(0)) == 3
    for run in (whole, parts):
        fit(run)
    np.testing.assert_allclose(parts.network.values, whole.network.values, atol=1e-12)
    assert parts.state.history[-1]["train_loss"] == pytest.approx(
        whole.state.history[-1]["train_loss"], rel=1e-12
    )


def test_check_says_what_model_from_gives_and_refuses_what_fits_nothing(
    settings: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from disttrain.cli import app

    source = settings("training.epochs=1")
    train(source, tmp_path / "source", Alone())
    (tmp_path / "run.toml").write_text(to_toml(source))

    def check(*words: str) -> str:
        sets = [word for each in words for word in ("--set", each)]
        app(["check", str(tmp_path / "run.toml"), *sets], "disttrain", standalone_mode=False)
        return capsys.readouterr().out

    assert "initial weights of dense1" in check(f"model.from={tmp_path / 'source'}")
    with pytest.raises(CheckpointError):
        check("model.from=nowhere")
    with pytest.raises(UsageError, match=r"no layer of .* has the name and the shape"):
        check("model.layers=[{units=7}, {units=3}]", f"model.from={tmp_path / 'source'}")
