"""The examples run as their first lines say, alone and under mpirun."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import disttrain
from disttrain.data.writer import write_data_file
from disttrain.launch import find_launcher

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(*command: str, cwd: Path) -> str:
    environment = os.environ | find_launcher().environment(2)
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("ranks", [1, 2])
def test_train_in_memory(ranks: int, tmp_path: Path) -> None:
    program = [sys.executable, str(EXAMPLES / "train_in_memory.py")]
    command = find_launcher().command(ranks, program) if ranks > 1 else program
    said = run(*command, cwd=tmp_path)
    assert f"on {ranks} rank(s)" in said
    assert float(said.split("test accuracy ")[1].split()[0]) > 0.95


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Ten classes, each a bright spot of its own."""
    random = np.random.default_rng(0)
    classes = np.arange(600) % 10
    images = random.integers(0, 60, (600, 10, 10)).astype("uint8")
    images[np.arange(600), classes] += 120
    path = tmp_path / "digits.h5"
    splits = {"train": (images[:500], classes[:500]), "test": (images[500:], classes[500:])}
    write_data_file(path, splits)
    return path


@pytest.mark.parametrize("ranks", [1, 2])
def test_custom_layer(ranks: int, digits: Path, tmp_path: Path) -> None:
    program = [sys.executable, str(EXAMPLES / "custom_layer.py"), str(digits)]
    command = find_launcher().command(ranks, program) if ranks > 1 else program
    said = run(*command, cwd=tmp_path)
    assert said.count("best weights") == 1
    assert float(said.split("best weights: validation accuracy ")[1].split()[0]) > 0.9


def test_use_a_model(digits: Path, tmp_path: Path) -> None:
    run_file = tmp_path / "run.toml"
    run_file.write_text(
        f'[data]\npath = "{digits}"\n[model]\nlayers = [{{ units = 10 }}]\n[training]\nepochs = 5\n'
    )
    run(sys.executable, "-m", "disttrain", "train", "run.toml", "--output", "out", cwd=tmp_path)
    program = [sys.executable, str(EXAMPLES / "use_a_model.py"), "out"]
    for command in (program, find_launcher().command(2, program)):
        said = run(*command, cwd=tmp_path)
        assert float(said.split("test accuracy ")[1].split()[0]) > 0.9
        assert said.count("looks most like class") == 1


def test_serve_answers_with_an_exported_model(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 3)), np.where(random.random(60) < 0.5, "no", "yes")
    disttrain.train(disttrain.Data(x, y), tmp_path / "run", layers=[2], epochs=1)
    run(sys.executable, "-m", "disttrain", "export", "run", "m.onnx", cwd=tmp_path)
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, EXAMPLES / "serve.py", "m.onnx", str(port)],
                              cwd=tmp_path, stderr=subprocess.DEVNULL)  # fmt: skip

    def asked(text: bytes) -> tuple[int, bytes]:
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"http://localhost:{port}", text, 20) as answer:
                    return answer.status, bytes(answer.read())
            except urllib.error.HTTPError as error:
                return error.code, error.read()
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the server does not answer")

    try:
        code, said = asked(json.dumps(x[:5].tolist()).encode())
        found = json.loads(said)
        assert code == 200
        want = disttrain.load(tmp_path / "run").predict(x[:5])
        assert want is not None
        np.testing.assert_allclose(found["outputs"], want, atol=1e-6)
        assert found["classes"] == [["no", "yes"][n] for n in want.argmax(1)]
        for stray in (
            b"[[1]]",
            b"",
            b"{}",
            b"[[1, 2, 3], [4]]",
            b'[["a", 2, 3]]',
            b"[[1e999, 0, 0]]",
        ):
            code, said = asked(stray)
            assert code == 400
            assert json.loads(said)["error"].startswith(
                "send a JSON list of rows, 3 numbers each: "
            )
    finally:
        server.kill()
        server.wait()


@pytest.mark.long
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_any_model_has_the_same_bits_on_two_ranks(library: str, tmp_path: Path) -> None:
    pytest.importorskip(library)
    program = [sys.executable, str(EXAMPLES / f"any_model_{library}.py")]
    one = run(*program, cwd=tmp_path)
    two = run(*find_launcher().command(2, program), cwd=tmp_path)
    assert float(one.split("test accuracy ")[1].split()[0]) > 0.9
    assert one.splitlines()[1] == two.splitlines()[1]
