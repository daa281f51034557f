"""On a real GPU: agreement with NumPy, several ranks on one card, checkpoints that move."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import disttrain
from disttrain.arrays import Cpu, choose, compiled_images
from disttrain.arrays.compiled_images import CompiledImages
from disttrain.data.writer import write_data_file
from disttrain.errors import DeviceError
from disttrain.launch import find_launcher
from disttrain.model.layers.images import window_on
from disttrain.training import build as build_module
from tests.gpu.cases import BATCH, CASES, FILTERS, POOLS, built, stepped

try:
    GPU = choose("gpu", 0)
except DeviceError as error:
    pytest.skip(f"no GPU: {error}", allow_module_level=True)

pytestmark = pytest.mark.gpu


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    classes = np.arange(600) % 3
    inputs = (random.integers(0, 80, (600, 20)) + classes[:, None] * 40).astype("uint8")
    write_data_file(tmp_path / "data.h5", {"train": (inputs, classes), "test": (inputs, classes)})
    path = tmp_path / "run.toml"
    path.write_text(f"""
        [data]
        path = "{tmp_path / "data.h5"}"
        [model]
        layers = [{{ units = 32, activation = "relu" }}, {{ units = 16, activation = "sigmoid" }},
                  {{ units = 3 }}]
        dtype = "float64"
        [training]
        epochs = 3
        batch_size = 50
    """)
    return path


def train(run_file: Path, output: Path, device: str, ranks: int = 1, *more: str) -> dict:
    arguments = ["train", str(run_file), "--output", str(output), "--json"]
    arguments += ["--set", f"device.kind={device}", *more]
    launcher = find_launcher()
    done = subprocess.run(
        launcher.command(ranks, [sys.executable, "-m", "disttrain", *arguments]),
        capture_output=True, text=True, timeout=100, env=os.environ | launcher.environment(ranks),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def weights(output: Path) -> np.ndarray:
    newest = sorted((output / "checkpoints").glob("*.h5"))[-1]
    model = disttrain.load(newest)
    return np.concatenate([t.ravel() for t in model.snapshot.parameters.values()])


@pytest.mark.parametrize("name", ["identity", "relu", "tanh", "sigmoid", "elu", "leaky-relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_agree_with_numpy(name: str, dtype: str) -> None:
    random = np.random.default_rng(1)
    z, bias = random.standard_normal((33, 17)).astype(dtype), np.linspace(-1, 1, 17, dtype=dtype)
    dy = random.standard_normal(z.shape).astype(dtype)
    found = []
    for device in (Cpu(), GPU):
        y, d = device.put(z.copy()), device.put(dy.copy())
        db, scratch = device.empty((17,), dtype), device.empty(z.shape, dtype)
        device.kernels.activate(y, device.put(bias), name)
        device.kernels.activation_gradient(d, y, name, db, scratch)
        found.append([device.get(a) for a in (y, d, db)])
    for host, card in zip(*found, strict=True):
        np.testing.assert_allclose(
            card, host, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-6
        )


@pytest.mark.parametrize("form", ["classical", "averaged", "nesterov"])
def test_update_agrees_with_numpy(form: str) -> None:
    random = np.random.default_rng(2)
    w, v, g = random.standard_normal((3, 1000))
    found = []
    for device in (Cpu(), GPU):
        arrays = [device.put(a.copy()) for a in (w, v, g)]
        device.kernels.momentum(form, *arrays, 0.01, 0.1, 0.9, 1e-3)
        found.append([device.get(a) for a in arrays])
    for host, card in zip(*found, strict=True):
        np.testing.assert_allclose(card, host, rtol=1e-12)


def test_adam_agrees_with_numpy() -> None:
    random = np.random.default_rng(2)
    w, m, v, g = random.standard_normal((4, 1000))
    found = []
    for device in (Cpu(), GPU):
        arrays = [device.put(a.copy()) for a in (w, m, v * v, g)]
        device.kernels.adam(*arrays, 0.01, 1e-3, 0.99, 0.9, 0.999, 0.1, 31.6, 1e-8)
        found.append([device.get(a) for a in arrays])
    for host, card in zip(*found, strict=True):
        np.testing.assert_allclose(card, host, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_of_squares_agree_with_numpy(dtype: str) -> None:
    x = np.random.default_rng(3).standard_normal(100_003).astype(dtype)
    host, card = (d.get(d.kernels.square_sums(d.put(x))).sum() for d in (Cpu(), GPU))
    assert card == pytest.approx(host, rel=1e-13)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_on_one_card_agree_with_numpy(ranks: int, run_file: Path, tmp_path: Path) -> None:
    host = train(run_file, tmp_path / "cpu", "cpu")
    card = train(run_file, tmp_path / "gpu", "gpu", ranks)
    assert "gpu" in card["environment"]["device"]
    assert card["test"]["loss"] == pytest.approx(host["test"]["loss"], rel=1e-6)
    np.testing.assert_allclose(weights(tmp_path / "gpu"), weights(tmp_path / "cpu"), rtol=1e-6)


def test_a_checkpoint_moves_from_gpu_to_cpu_and_back(run_file: Path, tmp_path: Path) -> None:
    host = train(run_file, tmp_path / "cpu", "cpu")
    moved = tmp_path / "moved"
    train(run_file, moved, "gpu", 1, "--set", "training.epochs=1")
    train(run_file, moved, "cpu", 1, "--set", "training.epochs=2", "--resume")
    card = train(run_file, moved, "gpu", 1, "--resume")
    assert card["test"]["loss"] == pytest.approx(host["test"]["loss"], rel=1e-6)


def test_exact_runs_have_one_digest_on_any_number_of_ranks(run_file: Path, tmp_path: Path) -> None:
    exact = "--set", "reproducibility.mode=exact"
    digests = {
        train(run_file, tmp_path / str(ranks), "gpu", ranks, *exact)["digest"]
        for ranks in (1, 2, 4)
    }
    assert len(digests) == 1


@pytest.mark.parametrize("case", CASES)
def test_a_captured_step_has_the_bits_of_an_eager_one(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "choose", lambda *_: GPU)
    captured, eager = (built(tmp_path, CASES[case]) for _ in range(2))
    eager.recordings.why_not = "the test asks for it"
    totals = stepped(captured)
    program = captured.recordings._found[BATCH]._program
    assert program.problem == ""
    assert program._replay._graph is not None
    assert stepped(eager) == totals
    assert captured.digest() == eager.digest()


@pytest.fixture
def processor() -> CompiledImages:
    if not isinstance(Cpu.images, CompiledImages):
        pytest.skip("convolution was installed without a C compiler")
    if compiled_images._library("_images").image_level() < 3:
        pytest.skip("this processor has no fused multiply-add: other bits")
    return Cpu.images


@pytest.mark.parametrize(("shape", "filters", "size", "stride", "padding"), FILTERS)
def test_convolution_has_the_processors_bits(
    processor: CompiledImages, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...],
    filters: int, size: Any, stride: Any, padding: Any,
) -> None:  # fmt: skip
    from disttrain.arrays import gpu_images

    monkeypatch.setattr(gpu_images, "SUMS", 1)
    draw, window = np.random.default_rng(1), window_on(shape, size, stride, padding)
    x = draw.standard_normal((5, *window.image)).astype("f4")
    weight = draw.standard_normal((*window.size, window.image[2], filters)).astype("f4")
    bias, dy = np.ones(filters, "f4"), np.ones((5, *window.out, filters), "f4")
    found = []
    for device, images in ((Cpu(), processor), (GPU, GPU.images)):
        given = [device.put(array.copy()) for array in (x, weight, bias, dy)]
        into = [device.put(array.copy()) for array in (dy, weight, bias, x)]
        images.convolve(*given[:3], window, True, into[0])
        images.convolve_gradient(given[0], into[0], given[3], given[1], window, True, *into[1:])
        found.append([device.get(array).tobytes() for array in into])
    assert found[0] == found[1]


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize(("shape", "size", "stride"), POOLS)
def test_pooling_has_the_processors_bits(
    processor: CompiledImages, largest: bool, shape: tuple[int, ...], size: int, stride: int
) -> None:
    draw, window = np.random.default_rng(3), window_on(shape, size, stride, "valid")
    x = draw.integers(-2, 3, (4, *window.image)).astype("f4")
    dy = draw.standard_normal((4, *window.out, window.image[2])).astype("f4")
    found = []
    for device, images in ((Cpu(), processor), (GPU, GPU.images)):
        a, d, y, dx = (device.put(array.copy()) for array in (x, dy, dy, x))
        images.pool(a, largest, window, y)
        images.pool_gradient(a, y, d, largest, window, dx)
        found.append([device.get(array).tobytes() for array in (y, dx)])
    assert found[0] == found[1]
