"""Networks of every layer that go out as ONNX come back: the same layers, type and bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.comm.alone import Alone
from disttrain.config import Settings
from disttrain.errors import UsageError
from disttrain.interop.exchange import adopt, export
from disttrain.runs.trained import Trained, load_trained
from tests.conftest import blobs

onnx = pytest.importorskip("onnx")
Go = Callable[..., dict[str, Any]]
Make = Callable[..., Settings]
ACTIVATIONS = (
    "identity", "sigmoid", "tanh", "relu", "leaky-relu", "elu", "gelu", "silu",
)  # fmt: skip
NORMS = ("", '{kind="batch-norm"}', '{kind="layer-norm"}', '{kind="batch-norm",epsilon=0.01}',
         '{kind="layer-norm",epsilon=0.001}')  # fmt: skip


def load(path: Path, **options: bool) -> Trained:
    return load_trained(path, Alone(), **options)


def ran(path: Path, rows: np.ndarray) -> np.ndarray:
    model = pytest.importorskip("onnxruntime").InferenceSession(path.read_bytes())
    (found,) = model.run(None, {"inputs": rows})
    return np.asarray(found)


def adopted(path: Path, out: Path, data: str | None = None) -> Trained:
    adopt(path, out, None, None, "softmax", data)
    return load(out)


def edited(path: Path, change: Callable[[Any], Any]) -> None:
    """Change an ONNX file of ours, as another program would."""
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def unnamed(model: Any) -> None:
    """Take away what makes it known as one of ours."""
    (own,) = [prop for prop in model.metadata_props if prop.key == "disttrain"]
    model.metadata_props.remove(own)


def drawn(seed: int, image: bool) -> str:
    """Return the layers of some network."""
    random = np.random.default_rng(seed)
    any_of: Callable[..., str] = lambda *those: str(random.choice(those))  # noqa: E731
    layers = []
    if image:
        layers += [
            f'{{kind="conv",filters=3,size={any_of("2", "3", "[3,2]")},stride={any_of("1", "2")},'
            f'padding={any_of("1", chr(34) + "same" + chr(34))},bias={any_of("true", "false")},'
            f'activation="{any_of(*ACTIVATIONS)}"}}',
            any_of(*NORMS),
            any_of("", '{kind="max-pool",size=2}', '{kind="average-pool",size=2}',
                   '{kind="average-pool",size=2,stride=1}'),
            any_of("", '{kind="global-average-pool"}', '{kind="flatten"}'),
        ]  # fmt: skip
    for _ in range(random.integers(1, 3)):
        layers += [
            any_of(*NORMS),
            f'{{units={any_of("1", "5")},activation="{any_of(*ACTIVATIONS)}",'
            f"dropout={any_of('0.0', '0.3')}}}",
        ]
    return f"model.layers=[{','.join(filter(None, [*layers, '{units=3}']))}]"


@pytest.mark.parametrize("seed", range(12))
def test_any_network_comes_back_as_it_was(
    tmp_path: Path, settings: Make, go: Go, write_data: Callable[..., str], seed: int
) -> None:
    random = np.random.default_rng(seed)
    image, dtype = seed % 3 != 0, ("float32", "float64")[seed % 4 == 1]
    shape = [(4,), (9, 8), (9, 8, 2), (11,)][seed % 4] if image else (4,)
    rows = random.normal(3, 2, (60, *shape))
    path = write_data("r.h5", train=(rows, np.arange(60) % 3))
    go(settings(f"data.path={path}", drawn(seed, image), f"model.dtype={dtype}",
                "data.normalize=standardize", "training.epochs=1"))  # fmt: skip
    trained = load(tmp_path / "run")
    want = trained.predict(rows)
    assert want is not None
    for plain in (False, True)[: 2 if dtype == "float32" else 1]:
        export(trained, tmp_path / "m.onnx", plain=plain)
        for some in (rows, rows[:1], rows[:0]):
            found = ran(tmp_path / "m.onnx", some)
            np.testing.assert_allclose(found, want[: len(some)], atol=1e-5 if plain else 1e-6)
        back = adopted(tmp_path / "m.onnx", tmp_path / "b.h5")
        np.testing.assert_array_equal(back.predict(rows), want)
        assert back.settings.model == trained.settings.model
        assert back.network.kinds == trained.network.kinds
        assert back.snapshot.normalization["kind"] == trained.snapshot.normalization["kind"]
    # Without what names it ours its nodes are read, or one of them is named.
    edited(tmp_path / "m.onnx", unnamed)
    try:
        back = adopted(tmp_path / "m.onnx", tmp_path / "b.h5")
    except UsageError as error:
        assert "the node" in str(error)  # noqa: PT017
    else:
        np.testing.assert_allclose(back.predict(rows), want, atol=1e-5)


def test_a_changed_file_of_ours_is_read_as_it_is(tmp_path: Path, settings: Make, go: Go) -> None:
    go(settings("data.normalize=standardize"))
    trained, path = load(tmp_path / "run"), tmp_path / "m.onnx"
    inputs, _ = blobs(30, 3)
    want = trained.predict(inputs)
    assert want is not None

    def doubled(model: Any) -> None:
        (weight,) = [t for t in model.graph.initializer if t.name == "dense1/weight"]
        weight.CopyFrom(onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(weight),
                                                     weight.name))  # fmt: skip

    def without_softmax(model: Any) -> None:
        (softmax,) = [node for node in model.graph.node if node.op_type == "Softmax"]
        softmax.op_type = "Identity"
        softmax.ClearField("attribute")

    def damaged(model: Any) -> None:
        (own,) = [prop for prop in model.metadata_props if prop.key == "disttrain"]
        own.value = own.value[:40]

    for change in (doubled, without_softmax, damaged):
        export(trained, path)
        edited(path, change)
        back = adopted(path, tmp_path / "b.h5")
        found = back.predict(inputs)
        assert found is not None
        if change is without_softmax:
            found = np.exp(ran(path, inputs))
            found /= found.sum(1, keepdims=True)
        else:
            np.testing.assert_allclose(found, ran(path, inputs), atol=1e-6)
        assert (np.abs(found - want).max() > 1e-3) == (change is doubled)


def test_the_average_and_another_data_file_come_back(
    tmp_path: Path, settings: Make, go: Go
) -> None:
    go(settings("model.average=0.9"))
    averaged = load(tmp_path / "run", averaged=True)
    inputs, _ = blobs(30, 3)
    export(averaged, tmp_path / "m.onnx")
    back = adopted(tmp_path / "m.onnx", tmp_path / "b.h5", str(tmp_path / "other.h5"))
    np.testing.assert_array_equal(back.predict(inputs), averaged.predict(inputs))
    assert back.snapshot.state["data"]["path"] == str(tmp_path / "other.h5")


def test_an_ensemble_is_refused(tmp_path: Path, settings: Make, go: Go) -> None:
    from disttrain.runs.ensembled import ensemble_of

    go(settings())
    members = [load(tmp_path / "run")] * 3
    export(ensemble_of(members, tmp_path / "ensemble.json"), tmp_path / "m.onnx")
    with pytest.raises(UsageError, match=r"m\.onnx is an ensemble of 3 networks.*one by one"):
        adopted(tmp_path / "m.onnx", tmp_path / "b.h5")
    assert not (tmp_path / "b.h5").exists()


@pytest.mark.parametrize("norm", ["", *NORMS[1:3]])
@pytest.mark.parametrize(
    "layers",
    ["{A},{P},{C},{N}{{kind='flatten'}},{N}{{units=5,activation='tanh'}},{N}{{units=3}}",
     "{N}{C},{N}{P},{{kind='global-average-pool'}},{N}{{units=3}}",
     "{A},{C},{{units=8,activation='relu'}},{N}{C},{{units=3}}"],
)  # fmt: skip
def test_a_sequential_of_torch_computes_the_same(
    tmp_path: Path, settings: Make, go: Go, write_data: Callable[..., str], layers: str, norm: str
) -> None:
    torch = pytest.importorskip("torch")
    tensors = pytest.importorskip("safetensors.torch")
    rows = np.random.default_rng(0).normal(size=(60, 9, 8, 2)).astype("f4")
    path = write_data("r.h5", train=(rows, np.arange(60) % 3))
    conv = '{kind="conv",filters=3,size=3,padding=1,activation="elu"}'
    stack = layers.format(N=norm + "," if norm else "", C=conv, A=conv,
                          P="{kind='max-pool',size=2}")  # fmt: skip
    go(settings(f"data.path={path}", f"model.layers=[{stack}]", "data.normalize=none",
                "training.epochs=1"))  # fmt: skip
    trained, file = load(tmp_path / "run"), tmp_path / "m.safetensors"
    want = trained.predict(rows)
    assert want is not None
    line = export(trained, file)["about"].partition("torch.nn.Sequential")[2]
    model = eval(f"Sequential{line}", vars(torch.nn)).eval()
    model.load_state_dict(tensors.load_file(file))
    for some in (60, 1, 0):
        images = torch.from_numpy(rows[:some].transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            found = torch.softmax(model(images), 1).numpy()
        np.testing.assert_allclose(found, want[:some], atol=2e-6)
    np.testing.assert_array_equal(adopted(file, tmp_path / "b.h5").predict(rows), want)


def test_safetensors_whose_order_or_numbers_are_not_known_are_refused(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    some = np.random.default_rng(0).normal(size=(6, 6)).astype("f4")

    def refused(words: str, **tensors: np.ndarray) -> None:
        named = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
        library.save_file(named, tmp_path / "t.safetensors")
        with pytest.raises(UsageError, match=rf"t\.safetensors.*{words}"):
            adopt(tmp_path / "t.safetensors", tmp_path / "o.h5", None, "6:relu,6", "squared", None)

    refused("body, fc_in don't say in which order", fc_in__weight=some, body__weight=some)
    refused("holds no tensors")
    refused("'0.weight' holds int64", **{"0__weight": some.astype("i8")})
    named = {"fc1.weight": some, "fc2.weight": some}
    library.save_file(named, tmp_path / "t.safetensors")
    adopt(tmp_path / "t.safetensors", tmp_path / "o.h5", None, "6:relu,6", "squared", None)
    named = {"hidden.weight": some[:5], "output.weight": some[:2, :5].copy()}
    library.save_file(named, tmp_path / "t.safetensors")
    adopt(tmp_path / "t.safetensors", tmp_path / "o.h5", None, "5:relu,2", "squared", None)
    named = {"0.weight": some[:1].copy()}
    library.save_file(named, tmp_path / "t.safetensors")
    with pytest.raises(UsageError, match=r"t\.safetensors has one output"):
        adopt(tmp_path / "t.safetensors", tmp_path / "o.h5", None, "1", "softmax", None)
    adopt(tmp_path / "t.safetensors", tmp_path / "o.h5", None, "1", "squared", None)
