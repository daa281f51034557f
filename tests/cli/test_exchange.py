"""`disttrain export` and `import`, under one rank and two."""

import json

import numpy as np
import pytest

from tests.cli.shell import sentence
from tests.cli.test_others import animals  # noqa: F401 - a fixture


@pytest.mark.parametrize("launch", [(), ("launch", "-n", "2")])
def test_a_network_goes_out_and_comes_back(animals, launch):  # noqa: F811
    pytest.importorskip("onnx")
    pytest.importorskip("safetensors")
    scores = []
    for number, name in enumerate(("m.onnx", "m.safetensors")):
        done = animals.run(*launch, "export", "run", name, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["network"] == "2-8-3"
        done = animals.run(*launch, "import", name, f"{number}.h5", "--data", "none.h5")
        assert done.returncode == 0, done.stderr
        done = animals.run("evaluate", f"{number}.h5", "--data", "train.csv", "--json")
        assert done.returncode == 0, done.stderr
        scores.append(json.loads(done.stdout)["accuracy"])
    assert scores[0] == scores[1] > 0.9


def test_an_ensemble_goes_out_as_one_graph(animals):  # noqa: F811
    runtime = pytest.importorskip("onnxruntime")
    for words in (
        ("ensemble", "run", "--checkpoints", "2", "--output", "ensemble"),
        ("export", "ensemble", "e.onnx", "--float64"),
        ("predict", "ensemble", "train.csv", "--output", "p.npy", "--float64"),
    ):
        done = animals.run(*words)
        assert done.returncode == 0, done.stderr
    session = runtime.InferenceSession(animals.folder / "e.onnx")
    rows = np.loadtxt(animals.folder / "train.csv", delimiter=",", skiprows=1, usecols=(0, 1))
    (found,) = session.run(None, {"inputs": rows.astype("f4")})
    np.testing.assert_allclose(found, np.load(animals.folder / "p.npy"), atol=1e-12)


def test_mistakes_are_one_sentence(animals):  # noqa: F811
    (animals.folder / "x.onnx").write_bytes(b"none")
    for words, code in (
        (("export", "run", "model.pt"), 2),
        (("export", "run", "model.onnx", "--float32", "--float64"), 2),
        (("export", "nothing", "model.onnx"), 3),
        (("export", "run", "model.onnx", "--average"), 3),
        (("import", "x.onnx", "o.h5"), 3),
        (("import", "missing.onnx", "o.h5"), 3),
        (("import", "x.onnx", "o.txt"), 2),
    ):
        sentence(animals.run(*words), code)
