"""`disttrain export` and `import`, under one rank and two."""

import json

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


def test_mistakes_are_one_sentence(animals):  # noqa: F811
    (animals.folder / "x.onnx").write_bytes(b"none")
    for words, code in (
        (("export", "run", "model.pt"), 2),
        (("export", "nothing", "model.onnx"), 3),
        (("import", "x.onnx", "o.h5"), 3),
        (("import", "missing.onnx", "o.h5"), 3),
        (("import", "x.onnx", "o.txt"), 2),
    ):
        sentence(animals.run(*words), code)
