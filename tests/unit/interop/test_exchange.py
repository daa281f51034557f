"""Networks out and in: onnxruntime and PyTorch compute what disttrain does."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.comm.alone import Alone
from disttrain.config import Settings
from disttrain.errors import CheckpointError, UsageError
from disttrain.interop.exchange import adopt, export
from disttrain.model import Dense
from disttrain.model.closer import closer_from
from disttrain.runs.trained import Trained, load_trained
from tests.conftest import blobs

Go = Callable[..., dict[str, Any]]
Make = Callable[..., Settings]
ACTIVATIONS = [
    "identity", "sigmoid", "tanh", "relu", "leaky-relu", "elu", "gelu", "silu",
]  # fmt: skip


def load(path: Path, **options: bool) -> Trained:
    return load_trained(path, Alone(), **options)


def session(path: Path) -> Any:
    return pytest.importorskip("onnxruntime").InferenceSession(path.read_bytes())


def ran(path: Path, inputs: Any) -> np.ndarray:
    model = session(path)
    named = inputs if isinstance(inputs, dict) else {model.get_inputs()[0].name: inputs}
    (found,) = model.run(None, named)
    return np.asarray(found)


def adopted(path: Path, out: Path, **options: Any) -> Trained:
    known = {"run": None, "layers": None, "loss": "softmax", "data": None} | options
    adopt(path, out, **known)
    return load(out)


def stranger(path: Path) -> None:
    """Take from an ONNX file what makes it known as one of ours."""
    import onnx

    model = onnx.load(path)
    (own,) = [prop for prop in model.metadata_props if prop.key == "disttrain"]
    model.metadata_props.remove(own)
    onnx.save(model, path)


def stack(*activations: str) -> str:
    tables = [f'{{units=7, activation="{a}"}}' for a in activations]
    return f"model.layers=[{', '.join(tables)}, {{units=3}}]"


@pytest.fixture(autouse=True)
def _onnx() -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("safetensors")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_onnxruntime_computes_the_network_and_import_brings_it_back(
    tmp_path: Path, settings: Make, go: Go, activation: str, dtype: str
) -> None:
    go(settings(stack(activation), f"model.dtype={dtype}", "data.normalize=standardize",
                "training.epochs=1"))  # fmt: skip
    trained, path = load(tmp_path / "run"), tmp_path / "model.onnx"
    export(trained, path)
    inputs, targets = blobs(100, 5)
    want = trained.predict(inputs)
    assert want is not None
    found = ran(path, inputs)
    np.testing.assert_allclose(found, want, atol=1e-6, rtol=0)
    assert (found.argmax(1) == want.argmax(1)).all()
    back = adopted(path, tmp_path / "back.h5")
    np.testing.assert_allclose(back.predict(inputs), want, atol=1e-6, rtol=0)
    assert [layer.activation for layer in back.settings.model.layers] == [activation, "identity"]
    assert back.evaluate(inputs, targets).accuracy == trained.evaluate(inputs, targets).accuracy


def test_pixels_and_names_of_classes_are_in_the_graph(
    tmp_path: Path, write_data: Callable[..., str], go: Go, settings: Make
) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (60, 5, 4)).astype("u1")
    path = write_data("p.h5", {"classes": ["ö", "b", "c"]}, train=(pixels, np.arange(60) % 3))
    go(settings(f"data.path={path}", "data.normalize=mean-image"))
    trained = load(tmp_path / "run")
    export(trained, tmp_path / "m.onnx")
    model = session(tmp_path / "m.onnx")
    assert json.loads(model.get_modelmeta().custom_metadata_map["classes"]) == ["ö", "b", "c"]
    want = trained.predict(pixels)
    np.testing.assert_allclose(ran(tmp_path / "m.onnx", pixels), want, atol=1e-6)
    back = adopted(tmp_path / "m.onnx", tmp_path / "b.h5")
    np.testing.assert_allclose(back.predict(pixels), want, atol=1e-6)
    assert back.taught.called == ("ö", "b", "c")


def test_numbers_come_out_in_the_units_of_the_targets(
    tmp_path: Path, write_data: Callable[..., str], go: Go, settings: Make
) -> None:
    random = np.random.default_rng(0)
    x = random.normal(2000, 1, (80, 4))
    y = x[:, :2] * [30, 0.1] + [5, 1000]
    path = write_data("n.h5", train=(x, y))
    go(settings(f"data.path={path}", "model.loss=auto", "data.normalize=auto",
                'model.layers=[{units=6,activation="tanh"},{units=2}]'))  # fmt: skip
    trained = load(tmp_path / "run")
    export(trained, tmp_path / "m.onnx")
    want = trained.predict(x)
    np.testing.assert_allclose(ran(tmp_path / "m.onnx", x), want, rtol=1e-6)
    back = adopted(tmp_path / "m.onnx", tmp_path / "b.h5")
    np.testing.assert_allclose(back.predict(x), want, rtol=1e-6)
    export(trained, tmp_path / "m.safetensors")
    again = adopted(tmp_path / "m.safetensors", tmp_path / "s.h5")
    np.testing.assert_array_equal(again.predict(x), want)


def test_a_tables_cells_are_prepared_in_the_graph(tmp_path: Path, go: Go, settings: Make) -> None:
    from disttrain.api import Data

    pandas = pytest.importorskip("pandas")
    random = np.random.default_rng(0)
    number = np.where(random.random(90) < 0.2, np.nan, random.normal(size=90))
    color = random.choice(["red", "blue", None], 90).astype(object)
    frame = pandas.DataFrame({"size": number, "color": color, "age": random.normal(size=90)})
    data = Data(frame, random.integers(0, 3, 90), missing="indicator").write(tmp_path)
    go(settings(f"data.path={data}", "data.normalize=standardize"))
    trained = load(tmp_path / "run")
    want = trained.predict(frame)
    assert want is not None
    export(trained, tmp_path / "m.onnx")
    cells = {
        "size": frame[["size"]].to_numpy("f8"),
        "color": np.array([[text or ""] for text in color], object),
        "age": frame[["age"]].to_numpy("f8"),
    }
    np.testing.assert_allclose(ran(tmp_path / "m.onnx", cells), want, atol=1e-6)
    export(trained, tmp_path / "p.onnx", prepared=True)
    for name in ("m.onnx", "p.onnx"):
        back = adopted(tmp_path / name, tmp_path / "b.h5")
        np.testing.assert_array_equal(back.predict(frame), want)
    numbers = frame.drop(columns="color")
    data = Data(numbers, random.integers(0, 3, 90), missing="indicator").write(tmp_path / "n")
    go(settings(f"data.path={data}"), "numbers")
    trained = load(tmp_path / "numbers")
    export(trained, tmp_path / "n.onnx")
    found = ran(tmp_path / "n.onnx", numbers.to_numpy("f8"))
    np.testing.assert_allclose(found, trained.predict(numbers), atol=1e-6)


def test_a_sequential_of_torch_takes_the_weights_and_gives_its_own(
    tmp_path: Path, settings: Make, go: Go
) -> None:
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    nn = torch.nn
    go(settings(
        'model.layers=[{units=7,activation="relu",dropout=0.5},{units=6,activation="gelu"},'
        "{units=3}]", "data.normalize=none",
    ))  # fmt: skip
    trained, path = load(tmp_path / "run"), tmp_path / "m.safetensors"
    about = export(trained, path)["about"]
    line = about.partition("torch.nn.Sequential")[2]
    assert line == "(Linear(4, 7), ReLU(), Dropout(0.5), Linear(7, 6), GELU('tanh'), Linear(6, 3))"
    model = nn.Sequential(
        nn.Linear(4, 7), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, 6), nn.GELU("tanh"),
        nn.Linear(6, 3),
    ).eval()  # fmt: skip
    model.load_state_dict(safetensors.load_file(path))
    inputs, _ = blobs(40, 7)
    with torch.no_grad():
        found = torch.softmax(model(torch.from_numpy(inputs)), 1).numpy()
    want = trained.predict(inputs)
    np.testing.assert_allclose(found, want, atol=1e-6)
    np.testing.assert_array_equal(adopted(path, tmp_path / "a.h5").predict(inputs), want)

    other = nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 3))
    safetensors.save_file(other.state_dict(), tmp_path / "t.safetensors")
    with pytest.raises(UsageError, match=r"say what the layers are by --run"):
        adopted(tmp_path / "t.safetensors", tmp_path / "t.h5")
    with pytest.raises(UsageError, match=r"dense1/weight is float32 of shape \(9, 4\)"):
        adopted(tmp_path / "t.safetensors", tmp_path / "t.h5", layers="8:tanh,3")
    back = adopted(tmp_path / "t.safetensors", tmp_path / "t.h5", layers="9:tanh,3")
    with torch.no_grad():
        want = torch.softmax(other(torch.from_numpy(inputs)), 1).numpy()
    np.testing.assert_allclose(back.predict(inputs), want, atol=1e-6)
    # The weights are what another training begins with.
    begun = settings(f"model.from={tmp_path / 't.h5'}", "training.epochs=1",
                     'model.layers=[{units=9,activation="tanh"},{units=3}]')  # fmt: skip
    assert go(begun, "begun")["status"] == "completed"


@pytest.mark.filterwarnings("ignore")
def test_a_graph_that_pytorch_wrote_is_read(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    h, TensorProto = onnx.helper, onnx.TensorProto
    random = np.random.default_rng(3)
    w1, b1 = random.normal(size=(4, 5)).astype("f4"), random.normal(size=5).astype("f4")
    w2 = random.normal(size=(2, 5)).astype("f4")
    array = onnx.numpy_helper.from_array
    nodes = [
        h.make_node("MatMul", ["x", "w1"], ["a"]),
        h.make_node("Add", ["b1", "a"], ["b"]),
        h.make_node("Elu", ["b"], ["c"], alpha=1.0),
        h.make_node("Gemm", ["c", "w2"], ["y"], transB=1, alpha=0.5),
    ]
    value = h.make_tensor_value_info
    graph = h.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, ["n", 4])],
        [value("y", TensorProto.FLOAT, ["n", 2])],
        [array(w1, "w1"), array(b1, "b1"), array(w2, "w2")],
    )  # fmt: skip
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)]), tmp_path / "g.onnx")
    x = random.normal(size=(9, 4)).astype("f4")
    a = x @ w1 + b1
    want = np.where(a > 0, a, np.expm1(a)) @ w2.T * 0.5
    found = adopted(tmp_path / "g.onnx", tmp_path / "g.h5").predict(x)
    np.testing.assert_allclose(found, want, atol=1e-5)
    graph.node[2].attribute[0].f = 0.3
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)]), tmp_path / "g.onnx")
    with pytest.raises(UsageError, match=r"the node 'c' \(Elu\) is not a layer that disttrain has"):
        adopted(tmp_path / "g.onnx", tmp_path / "g.h5")


def test_a_file_that_gives_no_network_leaves_nothing(
    tmp_path: Path, settings: Make, go: Go
) -> None:
    from safetensors import numpy as library
    from safetensors import safe_open

    go(settings())
    path, out = tmp_path / "m.safetensors", tmp_path / "o.h5"
    export(load(tmp_path / "run"), path)
    tensors = library.load_file(path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    facts = json.loads(metadata["disttrain"])
    run_file = facts["run_file"].replace("units = 3", "units = 4")
    for damage in (
        {"run_file": run_file},
        {"run_file": "none"},
        {"state": facts["state"] | {"loss": "none"}},
        {"state": {}},
        {"state": facts["state"] | {"data": 3}},
        {"normalization": facts["normalization"] | {"mean": [1.0]}},
        {"normalization": {}},
    ):
        library.save_file(tensors, path, metadata | {"disttrain": json.dumps(facts | damage)})
        with pytest.raises(CheckpointError) as error:
            adopted(path, out)
        assert str(tmp_path) in str(error.value)
        assert "/disttrain-" not in str(error.value)
        assert not out.exists(), damage
        assert error.value.exit_code == 3
    out.write_text("before")
    with pytest.raises(CheckpointError):
        adopted(path, out)
    assert out.read_text() == "before"


class Own(Dense):
    """A layer of a user's own."""


def test_what_can_not_be_exchanged_is_one_sentence(
    tmp_path: Path, settings: Make, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(settings())
    trained = load(tmp_path / "run")
    with pytest.raises(UsageError, match=r"ends with \.onnx or \.safetensors"):
        export(trained, tmp_path / "model.pt")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="can't be written"):
        export(trained, tmp_path / "file" / "model.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x99 nothing")
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 100)
    for name in ("bad.onnx", "bad.safetensors", "none.onnx"):
        with pytest.raises(CheckpointError, match=name):
            adopted(tmp_path / name, tmp_path / "o.h5")
    with pytest.raises(UsageError, match=r"name the checkpoint to write"):
        adopted(tmp_path / "bad.onnx", tmp_path / "o.onnx")
    export(trained, tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="an ONNX graph has its layers"):
        adopted(tmp_path / "m.onnx", tmp_path / "o.h5", layers="3")
    assert not (tmp_path / "o.h5").exists()
    go(settings(), "own", layers=[Own(8, "tanh"), Dense(3)])
    own = load_trained(tmp_path / "own", Alone(), [Own(8, "tanh"), Dense(3)])
    assert closer_from(own.network) == 1, "what is not built in is computed as it is"
    assert closer_from(trained.network) == 0
    for name in ("m.onnx", "m.safetensors"):
        with pytest.raises(UsageError, match=r"a layer of your own \(Own\)"):
            export(own, tmp_path / name)

    known = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] in ("onnx", "safetensors"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return known(name, *rest, **more)

    import importlib

    monkeypatch.setattr(importlib, "import_module", missing)
    for name, extra in (("m.onnx", "onnx"), ("m.safetensors", "safetensors")):
        with pytest.raises(UsageError, match=rf"pip install 'disttrain\[{extra}\]'") as error:
            export(trained, tmp_path / name)
        assert error.value.exit_code == 2


IMAGES = """model.layers=[
  {kind="conv",filters=4,size=3,activation="relu"},{kind="batch-norm"},
  {kind="max-pool",size=2},{kind="conv",filters=5,size=[3,2],stride=2,padding="valid",bias=false},
  {kind="layer-norm"},{units=7,activation="tanh",dropout=0.2},{units=3}]"""
POOLED = """model.layers=[{kind="conv",filters=4,size=4,stride=2,activation="gelu"},
  {kind="average-pool",size=2},{kind="global-average-pool"},{kind="batch-norm"},{units=3}]"""


@pytest.mark.parametrize("shape", [(12, 11), (12, 11, 2)])
@pytest.mark.parametrize("layers", [IMAGES, POOLED])
def test_layers_for_images_go_out(
    tmp_path: Path, write_data: Callable[..., str], go: Go, settings: Make, layers: str,
    shape: tuple[int, ...],
) -> None:  # fmt: skip
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (60, *shape)).astype("u1")
    path = write_data("p.h5", train=(pixels, np.arange(60) % 3))
    go(settings(f"data.path={path}", "data.normalize=none", layers, "training.epochs=2"))
    trained = load(tmp_path / "run")
    want = trained.predict(pixels)
    export(trained, tmp_path / "m.onnx")
    np.testing.assert_allclose(ran(tmp_path / "m.onnx", pixels), want, atol=1e-6)
    exact = load(tmp_path / "run", float64=True)
    export(exact, tmp_path / "e.onnx")
    np.testing.assert_allclose(ran(tmp_path / "e.onnx", pixels), exact.predict(pixels), atol=1e-13)
    back = adopted(tmp_path / "m.onnx", tmp_path / "b.h5")
    np.testing.assert_array_equal(back.predict(pixels), want)
    assert back.network.kinds == trained.network.kinds
    stranger(tmp_path / "m.onnx")
    back = adopted(tmp_path / "m.onnx", tmp_path / "b.h5")
    np.testing.assert_allclose(back.predict(pixels), want, atol=1e-6)
    if layers == POOLED:
        # 4 x 4 filters on 11 columns, "same": one zero more on the right.
        with pytest.raises(UsageError, match="export to ONNX"):
            export(trained, tmp_path / "m.safetensors")
        return
    torch = pytest.importorskip("torch")
    about = export(trained, tmp_path / "m.safetensors")["about"]
    line = about.partition("torch.nn.Sequential")[2]
    model = eval(f"Sequential{line}", vars(torch.nn))
    safetensors = pytest.importorskip("safetensors.torch")
    model.eval().load_state_dict(safetensors.load_file(tmp_path / "m.safetensors"))
    images = torch.from_numpy(pixels.reshape(60, 12, 11, -1).transpose(0, 3, 1, 2) / 255).float()
    with torch.no_grad():
        found = torch.softmax(model(images), 1).numpy()
    np.testing.assert_allclose(found, want, atol=1e-6)
    back = adopted(tmp_path / "m.safetensors", tmp_path / "s.h5")
    np.testing.assert_array_equal(back.predict(pixels), want)


def test_large_outputs_agree_and_float32_is_to_be_had(
    tmp_path: Path, settings: Make, go: Go
) -> None:
    onnx = pytest.importorskip("onnx")
    go(settings(stack("relu", "relu"), "data.normalize=none"))
    trained, exact = load(tmp_path / "run"), load(tmp_path / "run", float64=True)
    inputs, _ = blobs(4000, 5)
    for model in (trained, exact):
        # Outputs of 30 and more, where float32 knows 2e-6: a factor that changes no digit.
        model.network.values[...] *= 2
    outputs = exact.network.predict(inputs.astype("f8"))
    assert np.abs(outputs).max() > 30
    want = trained.predict(inputs)
    assert want is not None
    assert want.dtype == np.float32
    assert np.abs(want - exact.predict(inputs)).max() < 1e-7
    for plain, limit in ((False, 1e-7), (True, 1e-5)):
        export(trained, tmp_path / "m.onnx", plain=plain)
        found = ran(tmp_path / "m.onnx", inputs)
        assert found.dtype == np.float32
        assert np.abs(found - want).max() < limit
        graph = onnx.load(tmp_path / "m.onnx").graph
        # float64 weights would make the file twice as large.
        assert {tensor.data_type for tensor in graph.initializer} == {onnx.TensorProto.FLOAT}
        casts = [a.i for node in graph.node if node.op_type == "Cast" for a in node.attribute]
        assert (onnx.TensorProto.DOUBLE in casts) == (not plain)
        back = adopted(tmp_path / "m.onnx", tmp_path / "b.h5")
        assert back.network.dtype == "float32"
        assert np.abs(back.predict(inputs) - want).max() < 1e-7
    with pytest.raises(UsageError, match="--float32 is for ONNX"):
        export(trained, tmp_path / "m.safetensors", plain=True)
    with pytest.raises(UsageError, match="--float32 is for networks that were trained in float32"):
        export(exact, tmp_path / "m.onnx", plain=True)


def test_an_ensemble_goes_out_as_the_mean_of_its_members(
    tmp_path: Path, settings: Make, go: Go
) -> None:
    from disttrain.runs.ensembled import ensemble_of

    for number in (1, 2):
        go(settings(f"seed={number}", "data.normalize=standardize"), f"run{number}")
    members = [load(tmp_path / f"run{number}") for number in (1, 2)]
    ensemble = ensemble_of(members, tmp_path / "ensemble.json")
    export(ensemble, tmp_path / "m.onnx")
    inputs, _ = blobs(50, 3)
    want = ensemble.predict(inputs)
    np.testing.assert_allclose(ran(tmp_path / "m.onnx", inputs), want, atol=1e-6)
    with pytest.raises(UsageError, match="safetensors hold one network"):
        export(ensemble, tmp_path / "m.safetensors")


def test_the_running_average_and_float64_go_out_as_they_are_asked_for(
    tmp_path: Path, settings: Make, go: Go
) -> None:
    from disttrain.runs.ensembled import ensemble_of, load_model

    go(settings("model.average=0.9", "data.normalize=standardize"))
    inputs, _ = blobs(50, 3)
    plain = load(tmp_path / "run").predict(inputs)
    for name in ("m.onnx", "m.safetensors"):
        averaged = load_model(tmp_path / "run", Alone(), averaged=True)
        want = averaged.predict(inputs)
        assert want is not None
        assert np.abs(want - plain).max() > 1e-4
        export(averaged, tmp_path / name)
        back = adopted(tmp_path / name, tmp_path / "back.h5")
        np.testing.assert_allclose(back.predict(inputs), want, atol=1e-6)
    exact = load(tmp_path / "run", float64=True)
    want = exact.predict(inputs)
    assert want is not None
    assert want.dtype == np.float64
    np.testing.assert_allclose(want, plain, atol=1e-6)
    averaged = load(tmp_path / "run", averaged=True, float64=True)
    for model in (exact, ensemble_of([exact, averaged], tmp_path / "ensemble.json")):
        export(model, tmp_path / "e.onnx")
        found = ran(tmp_path / "e.onnx", inputs)
        np.testing.assert_allclose(found, model.predict(inputs), atol=1e-14)
    with pytest.raises(UsageError, match="--float64 is for ONNX"):
        export(exact, tmp_path / "e.safetensors")
    go(settings(), "without")
    with pytest.raises(CheckpointError, match=r"needs model\.average"):
        load_model(tmp_path / "without", Alone(), averaged=True)


SERIES = """model.layers=[{kind="conv",filters=4,size=3,padding=1,activation="leaky-relu"},
  {kind="batch-norm"},{kind="max-pool",size=2},{units=3}]"""


def test_a_convolution_along_series_comes_back(
    tmp_path: Path, write_data: Callable[..., str], go: Go, settings: Make
) -> None:
    x = np.random.default_rng(0).normal(3, 2, size=(60, 11))
    path = write_data("s.h5", train=(x, np.arange(60) % 3))
    go(settings(f"data.path={path}", "data.normalize=standardize", SERIES, "training.epochs=2"))
    trained = load(tmp_path / "run")
    want = trained.predict(x)
    for name in ("m.onnx", "m.safetensors"):
        export(trained, tmp_path / name)
        back = adopted(tmp_path / name, tmp_path / "back.h5")
        np.testing.assert_allclose(back.predict(x), want, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_convolution_with_its_channels_first_is_read(tmp_path: Path, channels: int) -> None:
    onnx = pytest.importorskip("onnx")
    h, random = onnx.helper, np.random.default_rng(3)

    def some(*shape: int) -> np.ndarray:
        return (0.3 * random.normal(size=shape)).astype("f4")

    constants = {
        "mean": some(channels, 1, 1), "w1": some(4, channels, 3, 3), "b1": some(4),
        "scale": some(4), "shift": some(4), "m": some(4), "v": np.abs(some(4)) + 1,
        "w2": some(5, 4, 3, 2), "w3": some(3, 5 * 2 * 2), "b3": some(3),
    }  # fmt: skip
    nodes = [
        h.make_node("Sub", ["x", "mean"], ["x0"]),
        h.make_node("Conv", ["x0", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]),
        h.make_node("BatchNormalization", ["c1", "scale", "shift", "m", "v"], ["n1"]),
        h.make_node("Relu", ["n1"], ["r1"]),
        h.make_node("Conv", ["r1", "w2"], ["c2"], kernel_shape=[3, 2]),
        h.make_node("MaxPool", ["c2"], ["p2"], kernel_shape=[2, 2], strides=[2, 2]),
        h.make_node("Tanh", ["p2"], ["t2"]),
        h.make_node("Flatten", ["t2"], ["f"]),
        h.make_node("Gemm", ["f", "w3", "b3"], ["y"], transB=1),
    ]
    value, kind = h.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = h.make_graph(
        nodes, "g", [value("x", kind, ["n", channels, 12, 11])], [value("y", kind, ["n", 3])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip

    def written() -> Path:
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / "g.onnx")
        return tmp_path / "g.onnx"

    x = random.normal(size=(7, channels, 12, 11)).astype("f4")
    want = ran(written(), x)
    rows = x[:, 0] if channels == 1 else x.transpose(0, 2, 3, 1)
    back = adopted(written(), tmp_path / "g.h5")
    np.testing.assert_allclose(back.predict(rows), want, atol=1e-5)
    assert back.network.kinds == ["conv", "conv", "max-pool", "dense"]
    nodes[1].attribute.append(h.make_attribute("group", channels))
    nodes[4].attribute.append(h.make_attribute("dilations", [1, 2]))
    graph.ClearField("node")
    graph.node.extend(nodes)
    with pytest.raises(UsageError, match=r"\(Conv\) (has groups|is not a convolution)"):
        adopted(written(), tmp_path / "g.h5")
