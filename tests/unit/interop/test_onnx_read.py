"""ONNX graphs of other programs: read as onnxruntime computes them, or refused by their node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.comm.alone import Alone
from disttrain.errors import UsageError
from disttrain.interop.exchange import adopt
from disttrain.runs.trained import Trained, load_trained

onnx = pytest.importorskip("onnx")
RANDOM = np.random.default_rng(5)


def some(*shape: int) -> np.ndarray:
    return (0.5 * RANDOM.normal(size=shape)).astype("f4")


def node(kind: str, inputs: str, name: str, /, **options: Any) -> Any:
    return onnx.helper.make_node(kind, inputs.split(), [name], **options)


class Written:
    """A graph from `x` to `y`, what onnxruntime makes of rows, and what disttrain does."""

    def __init__(self, folder: Path) -> None:
        self.path, self.out = folder / "g.onnx", folder / "g.h5"

    def write(
        self, nodes: list[Any], shape: tuple[int, ...], outputs: str = "y", *, domain: str = "",
        given: int = 1, **constants: Any,
    ) -> None:  # fmt: skip
        helper, kinds = onnx.helper, onnx.TensorProto
        kind = kinds.INT64 if nodes[-1].op_type == "ArgMax" else kinds.FLOAT
        graph = helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("x", given, ["n", *shape])],
            [helper.make_tensor_value_info(name, kind, ["n", "m"]) for name in outputs.split()],
            [onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
        )  # fmt: skip
        sets = [helper.make_opsetid(domain, 17)]
        onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), self.path)

    def read(self) -> Trained:
        adopt(self.path, self.out, None, None, "softmax", None)
        return load_trained(self.out, Alone())

    def same(self, rows: np.ndarray, given: np.ndarray | None = None) -> Trained:
        """Assert that disttrain computes what onnxruntime does; `given` are disttrain's rows."""
        runtime = pytest.importorskip("onnxruntime").InferenceSession(self.path.read_bytes())
        (want,) = runtime.run(None, {"x": rows})
        made = self.read()
        found = made.predict(rows if given is None else given)
        np.testing.assert_allclose(found, want.reshape(len(rows), -1), atol=1e-5)
        return made

    def refused(self, words: str) -> None:
        with pytest.raises(UsageError, match=rf"g\.onnx.*{words}"):
            self.read()
        assert not self.out.exists()


@pytest.fixture
def graph(tmp_path: Path) -> Written:
    return Written(tmp_path)


DENSE = {"w": some(4, 4), "v": some(4, 4), "b": some(4)}
FIRST = [node("Gemm", "x w b", "a"), node("Relu", "a", "h")]


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([*FIRST, node("Gemm", "h v", "p"), node("Gemm", "h w", "y")], r"'y' \(Gemm\) takes"),
        ([*FIRST, node("Gemm", "a v", "y")], r"'y' \(Gemm\) takes"),
        ([*FIRST, node("Gemm", "h v", "p"), node("Add", "p h", "y")], r"'y' \(Add\) takes"),
        ([*FIRST, node("Gemm", "h v", "y"), node("Relu", "y", "z")], r"'z' \(Relu\) does not lead"),
        ([*FIRST, node("Tanh", "a", "t"), node("Gemm", "t v", "y")], r"'h' \(Relu\) does not lead"),
        ([*FIRST, node("Add", "a b", "c"), node("Mul", "h c", "y")], "is not a layer"),
    ],
)
def test_a_branch_is_refused(graph: Written, nodes: list[Any], words: str) -> None:
    graph.write(nodes, (4,), **DENSE)
    graph.refused(words)


def test_two_outputs_are_refused(graph: Written) -> None:
    heads = [*FIRST, node("Gemm", "h v", "p"), node("Gemm", "h w", "y")]
    graph.write(heads, (4,), "p y", **DENSE)
    graph.refused(r"gives 2 outputs \(p, y\), one is read")
    graph.write([*FIRST, node("Gemm", "h v", "y")], (4,), "h y", **DENSE)
    graph.refused("gives 2 outputs")


def test_a_bias_is_a_constant_or_refused(graph: Written) -> None:
    for kind in ("Identity", "Neg"):
        graph.write([node(kind, "b", "c"), node("Gemm", "x w c", "y")], (4,), **DENSE)
        graph.same(some(6, 4))
    graph.out.unlink()
    graph.write([node("Abs", "b", "c"), node("Gemm", "x w c", "y")], (4,), **DENSE)
    graph.refused(r"'y' \(Gemm\) has a bias that is not one constant")
    graph.write([node("Gemm", "x w", "a"), node("Gemm", "a w a", "y")], (4,), **DENSE)
    graph.refused(r"'y' \(Gemm\) has a bias that is not one constant")
    conv = [node("Abs", "b", "c"), node("Conv", "x k c", "f"), node("Flatten", "f", "g"),
            node("Gemm", "g w", "y")]  # fmt: skip
    graph.write(conv, (1, 3, 3), k=some(4, 1, 3, 3), **DENSE)
    graph.refused(r"'f' \(Conv\) has a bias that is not one constant")


def test_what_makes_classes_of_the_outputs(graph: Written) -> None:
    head = node("Gemm", "x w b", "h")
    rows = some(9, 4)
    want = (rows @ DENSE["w"] + DENSE["b"]).argmax(1)
    for ends in (
        [node("Softmax", "h", "y", axis=1)],
        [node("LogSoftmax", "h", "y")],
        [node("ArgMax", "h", "y", axis=-1)],
        [node("Softmax", "h", "s"), node("ArgMax", "s", "y", axis=1, keepdims=0)],
    ):
        graph.write([head, *ends], (4,), **DENSE)
        made = graph.read()
        assert made.loss.kind == "softmax"
        np.testing.assert_array_equal(made.predict(rows).argmax(1), want)
    graph.out.unlink()
    for kind in ("Softmax", "LogSoftmax", "ArgMax"):
        graph.write([head, node(kind, "h", "y", axis=0)], (4,), **DENSE)
        graph.refused(rf"\({kind}\) does not go along the outputs")
    graph.write([head, node("Softmax", "h", "s"), node("Softmax", "s", "y")], (4,), **DENSE)
    graph.refused("Softmax")


def test_a_temperature_before_the_softmax_is_part_of_the_weights(graph: Written) -> None:
    nodes = [node("Gemm", "x w b", "h"), node("Div", "h t", "i"), node("Softmax", "i", "y")]
    graph.write(nodes, (4,), t=np.float32(2.5), **DENSE)
    graph.same(some(9, 4))
    # Without classes it is the unit of the targets.
    graph.write([nodes[0], node("Div", "h t", "y")], (4,), t=np.float32(2.5), **DENSE)
    assert graph.same(some(9, 4)).loss.kind == "squared"


def test_units_of_a_dense_layer_are_no_image(graph: Written) -> None:
    constants = {"w": some(5, 9), "s": np.array([-1, 1, 3, 3]), "k": some(2, 1, 3, 3),
                 "v": some(18, 3)}  # fmt: skip
    nodes = [
        node("Gemm", "x w", "h"), node("Reshape", "h s", "i"),
        node("Conv", "i k", "c", pads=[1, 1, 1, 1]), node("Flatten", "c", "f"),
        node("Gemm", "f v", "y"),
    ]  # fmt: skip
    graph.write(nodes, (5,), **constants)
    graph.refused(r"'i' \(Reshape\) moves numbers")
    constants |= {"s": np.array([-1, 1, 1, 9]), "k": some(2, 1, 1, 3)}
    nodes[2] = node("Conv", "i k", "c", pads=[0, 1, 0, 1])
    graph.write(nodes, (5,), **constants)
    graph.refused(r"'i' \(Reshape\) moves numbers")
    constants["s"] = np.array([-1, 1, 9, 1])
    first, last = [0, 3, 1, 2], [0, 2, 3, 1]
    nodes[2:4] = [
        node("Transpose", "i", "j", perm=first), node("Conv", "j k", "c", pads=[0, 1, 0, 1]),
        node("Transpose", "c", "d", perm=last), node("Flatten", "d", "f"),
    ]  # fmt: skip
    graph.write(nodes, (5,), **constants)
    assert graph.same(some(7, 5)).network.kinds == ["dense", "conv", "dense"]
    graph.out.unlink()
    graph.write([node("MatMul", "x w", "y")], (3, 5), **constants)
    graph.refused(r"'y' \(MatMul\) uses only a part of its inputs")


def test_a_row_becomes_an_image_before_the_first_layer(graph: Written) -> None:
    constants = {"s": np.array([-1, 4, 5, 2]), "k": some(3, 2, 3, 3), "v": some(18, 3)}
    nodes = [
        node("Reshape", "x s", "i"), node("Transpose", "i", "j", perm=[0, 3, 1, 2]),
        node("Conv", "j k", "c"), node("Flatten", "c", "f"), node("Gemm", "f v", "y"),
    ]  # fmt: skip
    graph.write(nodes, (40,), **constants)
    rows = some(7, 40)
    graph.same(rows, rows.reshape(7, 4, 5, 2))


def images(between: list[Any]) -> list[Any]:
    """Return a convolution of (2, 6, 4) to 4 filters of (6, 4), `between` from `c` to `d`."""
    return [node("Conv", "x k", "c", pads=[1, 1, 1, 1]), *between, node("Flatten", "d", "f"),
            node("Gemm", "f v", "y")]  # fmt: skip


IMAGE = {"k": some(4, 2, 3, 3), "v": some(96, 3)}


def test_a_cast_to_whole_numbers_is_refused(graph: Written) -> None:
    cast = node("Cast", "a", "c", to=onnx.TensorProto.INT32)
    back = node("Cast", "c", "d", to=onnx.TensorProto.FLOAT)
    for first in (node("Identity", "x", "a"), node("Gemm", "x w", "a")):
        graph.write([first, cast, back, node("Gemm", "d v", "y")], (4,), **DENSE)
        graph.refused(r"'c' \(Cast\) is not a layer")


@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1), ()])
def test_arithmetic_on_images_is_for_channels(graph: Written, shape: tuple[int, ...]) -> None:
    rows = some(5, 2, 6, 4)
    graph.write(images([node("Mul", "c m", "d")]), (2, 6, 4), m=some(*shape), **IMAGE)
    graph.same(rows, rows.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("shape", [(4,), (1, 4), (6, 1), (1, 1, 4)])
def test_arithmetic_on_the_sides_of_images_is_refused(
    graph: Written, shape: tuple[int, ...]
) -> None:
    graph.write(images([node("Mul", "c m", "d")]), (2, 6, 4), m=some(*shape), **IMAGE)
    graph.refused(r"'d' \(Mul\)")


@pytest.mark.parametrize("shape", [(2, 1, 1), (1, 2, 1, 1), (2,), (6, 2), (2, 6, 2), ()])
def test_arithmetic_on_the_inputs_goes_as_onnx_has_it(
    graph: Written, shape: tuple[int, ...]
) -> None:
    # As many channels as columns.
    nodes = [node("Sub", "x m", "x0"), *images([node("Relu", "c", "d")])]
    nodes[1] = node("Conv", "x0 k", "c", pads=[1, 1, 1, 1])
    graph.write(nodes, (2, 6, 2), m=some(*shape), k=IMAGE["k"], v=some(48, 3))
    rows = some(5, 2, 6, 2)
    graph.same(rows, rows.transpose(0, 2, 3, 1))


def test_an_input_that_is_turned_round_is_refused(graph: Written) -> None:
    nodes = [node("Mul", "x m", "a"), node("Add", "a b", "c"), node("Gemm", "c w", "y")]
    for factor in (-1, 0):
        graph.write(nodes, (4,), m=np.array([1, 2, factor, 1], "f4"), **DENSE)
        graph.refused(r"'c' \(Add\) multiplies an input by")


def test_a_filter_that_is_larger_than_the_image_has_its_border(graph: Written) -> None:
    graph.write(images([node("Relu", "c", "d")]), (2, 2, 2), k=IMAGE["k"], v=some(16, 3))
    rows = some(5, 2, 2, 2)
    graph.same(rows, rows.transpose(0, 2, 3, 1))
    graph.out.unlink()
    nodes = images([node("Relu", "c", "d")])
    nodes[0] = node("Conv", "x k", "c")
    graph.write(nodes, (2, 2, 2), k=IMAGE["k"], v=some(16, 3))
    graph.refused(r"'c' \(Conv\) has a padding")


def test_options_of_pools_that_change_nothing_are_read(graph: Written) -> None:
    rows = some(5, 2, 6, 4)
    pool: Callable[..., Any] = lambda kind, **more: images(  # noqa: E731
        [node(kind, "c", "d", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, **more)]
    )
    own = IMAGE | {"v": some(24, 3)}
    graph.write(pool("MaxPool"), (2, 6, 4), **own)
    graph.same(rows, rows.transpose(0, 2, 3, 1))
    graph.write(pool("AveragePool", count_include_pad=1, pads=[0] * 4), (2, 6, 4), **own)
    graph.same(rows, rows.transpose(0, 2, 3, 1))
    graph.out.unlink()
    graph.write(pool("MaxPool"), (2, 5, 4), **own)
    graph.refused(r"'d' \(MaxPool\) has windows that reach beyond the image")


def viewed() -> list[Any]:
    """Return PyTorch's `x.view(x.size(0), -1)` of a convolution, and a dense layer."""
    return [
        node("Conv", "x k", "c"), node("Shape", "c", "s"), node("Gather", "s at", "n", axis=0),
        node("Unsqueeze", "n zero", "u"), node("Concat", "u rest", "l", axis=0),
        node("Reshape", "c l", "f"), node("Gemm", "f v", "y"),
    ]  # fmt: skip


def test_a_view_whose_sizes_are_computed_is_read(graph: Written) -> None:
    own = {"k": IMAGE["k"], "v": some(32, 3), "zero": np.array([0]), "rest": np.array([-1])}
    rows = some(5, 2, 6, 4)
    graph.write(viewed(), (2, 6, 4), at=np.array(0), **own)
    graph.same(rows, rows.transpose(0, 2, 3, 1))
    # x.view(n, c * h * w)
    nodes = viewed()
    nodes[4:4] = [
        node("Slice", "s one four", "t"), node("Gather", "t zero", "a", axis=0),
        node("Gather", "t ones", "b", axis=0), node("Gather", "t twos", "d", axis=0),
        node("Mul", "a b", "e"), node("Mul", "e d", "rest"),
    ]  # fmt: skip
    more = {"one": np.array([1]), "four": np.array([4]), "ones": np.array([1])}
    more |= {"twos": np.array([2]), "at": np.array(0)} | own
    del more["rest"]
    graph.write(nodes, (2, 6, 4), **more)
    graph.same(rows, rows.transpose(0, 2, 3, 1))
    graph.out.unlink()
    # The number of rows in another place than that of the rows.
    nodes = viewed()
    nodes[4] = node("Concat", "rest u", "l", axis=0)
    graph.write(nodes, (2, 6, 4), at=np.array(0), **own)
    graph.refused(r"'f' \(Reshape\) moves numbers")


@pytest.mark.parametrize("named", [False, True])
def test_the_default_domain_may_be_called_by_its_name(graph: Written, named: bool) -> None:
    nodes = [
        node("Gemm", "x w b", "a"), node("Relu", "a", "h"), node("Gemm", "h v", "p"),
        node("Constant", "", "two", value_float=2.0), node("Mul", "p two", "y"),
    ]  # fmt: skip
    for each in nodes if named else ():
        each.domain = "ai.onnx"
    graph.write(nodes, (4,), domain="ai.onnx", **DENSE)
    graph.same(some(6, 4))


def counted(to: str, kind: str) -> list[Any]:
    """Return arithmetic with the number of rows."""
    return [
        node("Shape", "x", "s"), node("Gather", "s at", "n", axis=0),
        node("Cast", "n", "c", to=getattr(onnx.TensorProto, to)), node(kind, "x c", "z"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
def test_arithmetic_with_the_number_of_rows_is_refused(graph: Written, kind: str) -> None:
    at = np.array(0)
    graph.write([*counted("FLOAT", kind), node("Gemm", "z w b", "y")], (4,), at=at, **DENSE)
    graph.refused(rf"'z' \({kind}\) is not a layer")
    nodes = [*counted("INT64", kind), node("Cast", "z", "f", to=1), node("Gemm", "f w b", "y")]
    graph.write(nodes, (4,), given=onnx.TensorProto.INT64, at=at, **DENSE)
    graph.refused(rf"'z' \({kind}\) calculates with whole numbers")


def behind_dense(*nodes: Any) -> list[Any]:
    """Return two dense layers, and the nodes from `a` to `h` between them."""
    return [node("Gemm", "x w b", "a"), *nodes, node("Gemm", "h v", "y")]


@pytest.mark.parametrize("options", [{}, {"axis": 1, "epsilon": 0.01}])
@pytest.mark.parametrize("given", ["r s b", "r s", "r s one"])
def test_a_layer_normalization_behind_an_activation_is_read(
    graph: Written, given: str, options: dict[str, Any]
) -> None:
    norm = node("LayerNormalization", given, "h", **options)
    graph.write(behind_dense(node("Relu", "a", "r"), norm), (4,), s=some(4), one=some(1), **DENSE)
    made = graph.same(some(6, 4))
    assert made.network.kinds == ["dense", "layer-norm", "dense"]
    assert made.settings.model.layers[1].epsilon == options.get("epsilon", 1e-5)


@pytest.mark.parametrize("flat", [False, True])
def test_a_layer_normalization_of_images_is_read(graph: Written, flat: bool) -> None:
    norm = [node("LayerNormalization", "c s t", "d", axis=1)]
    if flat:
        norm = [node("Flatten", "c", "g"), node("LayerNormalization", "g s t", "d")]
    sides = (96,) if flat else (4, 6, 4)
    graph.write(images(norm), (2, 6, 4), s=some(*sides), t=some(*sides), **IMAGE)
    rows = some(5, 2, 6, 4)
    made = graph.same(rows, rows.transpose(0, 2, 3, 1))
    assert made.network.kinds == ["conv", "layer-norm", "dense"]


def test_a_layer_normalization_at_another_place_is_refused(graph: Written) -> None:
    norm = node("LayerNormalization", "a s", "n")
    graph.write(behind_dense(norm, node("Relu", "n", "h")), (4,), s=some(4), **DENSE)
    graph.refused(r"'h' \(Relu\).*behind 'n' \(LayerNormalization\) stands Relu, not arithmetic")
    last = [node("LayerNormalization", "c s", "d")]
    graph.write(images(last), (2, 6, 4), s=some(4), **IMAGE)
    graph.refused(r"'d' \(LayerNormalization\) normalizes parts of a sample")
    graph.write([node("LayerNormalization", "x s", "h"), node("Gemm", "h v", "y")], (4,),
                s=some(4), **DENSE)  # fmt: skip
    assert graph.same(some(6, 4)).network.kinds == ["layer-norm", "dense"]


def test_normalizations_of_groups_are_named(graph: Written) -> None:
    # As PyTorch writes nn.GroupNorm(2, 4).
    groups = [node("Reshape", "c l", "g"), node("InstanceNormalization", "g one zero", "i"),
              node("Reshape", "i m", "d")]  # fmt: skip
    own = {"l": np.array([0, 2, -1]), "m": np.array([0, 4, 6, 4])}
    own |= {"one": np.ones(2, "f4"), "zero": np.zeros(2, "f4")}
    graph.write(images(groups), (2, 6, 4), **own, **IMAGE)
    graph.refused(r"\(InstanceNormalization\) is none of the normalizations that disttrain has")


@pytest.mark.parametrize("limit", [7.0, 35.0, 100.0, 5e4])
@pytest.mark.parametrize("kind", ["Clip", "Min"])
def test_an_activation_with_a_far_limit_is_no_relu(graph: Written, kind: str, limit: float) -> None:
    both = [node("Relu", "a", "r"), node("Min", "r top", "h")]
    nodes = [node("Clip", "a zero top", "h")] if kind == "Clip" else both
    own = {"zero": np.float32(0), "top": np.float32(limit)}
    graph.write(behind_dense(*nodes), (4,), **own, **DENSE)
    graph.refused(rf"is not a layer.*behind 'a' \(Gemm\) stands .*{kind}, not one activation")
    graph.write(behind_dense(node("Clip", "a zero", "h")), (4,), **own, **DENSE)
    graph.same(100 * some(6, 4))


@pytest.mark.parametrize("kind", ["Div", "Mul", "Sub"])
@pytest.mark.parametrize("dtype", ["i8", "u1"])
def test_arithmetic_with_whole_numbers_is_refused(graph: Written, kind: str, dtype: str) -> None:
    # 7 / 2 is 3 there, and 200 * 2 of bytes is 144.
    kinds = {"i8": onnx.TensorProto.INT64, "u1": onnx.TensorProto.UINT8}
    nodes = [node(kind, "x two", "z"), node("Cast", "z", "f", to=1), node("Gemm", "f w b", "y")]
    own = {"two": np.array(2, dtype)} | DENSE
    graph.write(nodes, (4,), given=kinds[dtype], **own)
    graph.refused(rf"'z' \({kind}\) calculates with whole numbers")
    nodes[:2] = [node("Cast", "x", "f", to=1), node(kind, "f half", "z")]
    nodes[2] = node("Gemm", "z w b", "y")
    graph.write(nodes, (4,), given=kinds[dtype], half=np.float32(0.5), **DENSE)
    graph.same(RANDOM.integers(0, 9, (6, 4)).astype(dtype))


def test_a_negative_factor_behind_a_layer_is_part_of_it(graph: Written) -> None:
    rows = some(6, 4)
    for ends in ([node("Neg", "p", "y")], [node("Sub", "one p", "y")]):
        graph.write([*FIRST, node("Gemm", "h v", "p"), *ends], (4,), one=np.float32(1), **DENSE)
        graph.same(rows)
    turned = [node("Sigmoid", "a", "s"), node("Sub", "one s", "h")]
    graph.write(behind_dense(*turned), (4,), one=np.float32(1), **DENSE)
    graph.same(rows)


def test_constants_that_the_graph_computes_are_known(graph: Written) -> None:
    nodes = [
        node("Sqrt", "v2", "deviation"), node("Div", "one deviation", "f"),
        node("Sub", "x m", "c"), node("Mul", "c f", "z"), node("Gemm", "z w b", "y"),
    ]  # fmt: skip
    own = {"v2": some(4) ** 2 + 1, "one": np.float32(1), "m": some(4)}
    graph.write(nodes, (4,), **own, **DENSE)
    graph.same(some(6, 4))


def test_numbers_that_are_no_numbers_name_the_file(graph: Written) -> None:
    nodes = [node("Div", "x b", "z"), node("Gemm", "z w", "y")]
    graph.write(nodes, (4,), **DENSE | {"b": np.array([1, 0, 1, 1], "f4")})
    graph.refused(r"'z' \(Div\) is not a layer")
    graph.write([node("Gemm", "x w", "y")], (4,), w=np.where(DENSE["w"] > 0, np.nan, DENSE["w"]))
    graph.refused("dense1/weight holds NaN or infinity")
    graph.write(
        [node("MatMul", "x w", "y")], (4,), given=onnx.TensorProto.INT64, w=np.eye(4, dtype="i8")
    )
    graph.refused(r"'y' \(MatMul\) has weights of int64: export it in float32")


def test_the_inputs_are_counted_and_named(graph: Written) -> None:
    graph.write([node("Gemm", "x w b", "y")], (4,), **DENSE)
    model = onnx.load(graph.path)
    for count, names in ((3, r"\(x, n1, n2\)"), (7, r"\(x, n1, n2, n3, n4, and 2 more\)")):
        for number in range(len(model.graph.input), count):
            model.graph.input.append(onnx.helper.make_tensor_value_info(f"n{number}", 1, ["n", 1]))
        onnx.save(model, graph.path)
        graph.refused(rf"takes {count} inputs {names}, but one is read")


def classifier(x: np.ndarray, y: np.ndarray) -> Any:
    """Return a scikit-learn pipeline that was fitted."""
    pytest.importorskip("sklearn")
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = MLPClassifier(hidden_layer_sizes=(7,), max_iter=20, random_state=0)
    return make_pipeline(StandardScaler(), network).fit(x, y)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("names", [[0, 1], ["no", "yes"], [3, 5, 8], ["a", "ö", "c"]])
def test_a_pipeline_of_scikit_learn_is_read(graph: Written, names: list[Any]) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    x = RANDOM.normal(5, 3, (90, 4)).astype("f4")
    places = (x[:, 0] > 5).astype(int) + (x[:, 1] > 5)
    pipeline = classifier(x, np.array(names)[np.minimum(places, len(names) - 1)])
    for maps in (False, True):
        made = skl2onnx.to_onnx(pipeline, x[:1], options={"zipmap": maps})
        graph.path.write_bytes(made.SerializeToString())
        if maps:
            graph.out.unlink()
            graph.refused(r"gives 2 outputs \(output_label, output_probability\).*zipmap=False")
        else:
            back = graph.read()
            np.testing.assert_allclose(back.predict(x), pipeline.predict_proba(x), atol=1e-5)
            assert list(back.taught.called) == list(map(str, pipeline.classes_))


def labelled(probabilities: list[Any], classes: str = "c") -> list[Any]:
    """Return a network whose label stands beside its probabilities, as skl2onnx writes it."""
    label = [node("ArgMax", "y", "best", axis=1),
             onnx.helper.make_node("ArrayFeatureExtractor", [classes, "best"], ["label"],
                                   domain="ai.onnx.ml")]  # fmt: skip
    scaler = onnx.helper.make_node("Scaler", ["x"], ["z"], domain="ai.onnx.ml",
                                   offset=[1.0, 2.0, 3.0, 4.0], scale=[0.5])  # fmt: skip
    return [scaler, node("MatMul", "z w", "m"), *probabilities, *label]


def test_a_label_beside_the_probabilities_gives_the_names(graph: Written) -> None:
    rows, kinds = some(6, 4), onnx.TensorProto
    sigmoid = [node("Sigmoid", "m", "p"), node("Sub", "one p", "q"),
               node("Concat", "q p", "y", axis=1)]  # fmt: skip
    for nodes, width in ((sigmoid, 1), ([node("Softmax", "m", "y")], 2)):
        weight = some(4, width)
        own = {"w": weight, "one": np.float32(1), "c": np.array(["no", "yes"], object)}
        graph.write(labelled(nodes), (4,), **own)
        model = onnx.load(graph.path)
        model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 3))
        label = onnx.helper.make_tensor_value_info("label", kinds.STRING, ["n", 1])
        model.graph.output.insert(0, label)
        onnx.save(model, graph.path)
        made = graph.read()
        product = (rows - [1, 2, 3, 4]) * 0.5 @ weight
        outputs = np.hstack([np.zeros_like(product), product]) if width == 1 else product
        want = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
        np.testing.assert_allclose(made.predict(rows), want, atol=1e-5)
        assert list(made.taught.called) == ["no", "yes"]
    graph.out.unlink()
    sigmoid[2] = node("Concat", "p q", "y", axis=1)
    first = [node("MatMul", "x w", "m"), *sigmoid]
    graph.write(first, (4,), w=some(4, 1), one=np.float32(1))
    graph.refused(r"\(Sigmoid\) is not a layer")
