"""What torch.onnx.export writes of common networks is read, by both of its exporters."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disttrain.comm.alone import Alone
from disttrain.interop.exchange import adopt
from disttrain.runs.trained import load_trained

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
nn = torch.nn


class View(nn.Module):  # type: ignore[misc, name-defined]
    """`x.view(x.size(0), -1)`, or flattened by sizes that are multiplied."""

    def __init__(self, multiplied: bool = False) -> None:
        super().__init__()
        self.multiplied = multiplied

    def forward(self, x: Any) -> Any:
        last = x.size(1) * x.size(2) * x.size(3) if self.multiplied else -1
        return x.view(x.size(0), last)


class Means(nn.Module):  # type: ignore[misc, name-defined]
    """The mean of each channel."""

    def forward(self, x: Any) -> Any:
        return x.mean(dim=(2, 3))


def mlp(flat: Any) -> Any:
    return nn.Sequential(flat, nn.Linear(120, 20), nn.ReLU(), nn.Dropout(0.3), nn.Linear(20, 3))


def lenet(flat: Any, pool: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), pool(2),
        nn.Conv2d(4, 5, 3), nn.Tanh(), pool(2), flat,
        nn.Linear(10, 12), nn.BatchNorm1d(12), nn.SiLU(), nn.Linear(12, 3), nn.LogSoftmax(1),
    )  # fmt: skip


def pooled(*end: Any) -> Any:
    return nn.Sequential(nn.Conv2d(1, 6, 3, stride=2), nn.GELU("tanh"), *end, nn.Linear(6, 3))


@pytest.mark.parametrize(
    "exporter",
    ["script", pytest.param("dynamo", marks=[pytest.mark.long, pytest.mark.timeout(200)])],
)
@pytest.mark.parametrize("rows", ["any rows", "7 rows"])
@pytest.mark.filterwarnings("ignore")
def test_networks_come_in(tmp_path: Path, exporter: str, rows: str) -> None:
    if exporter == "dynamo":
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    networks = {
        "mlp": mlp(nn.Flatten()),
        "mlp by view": mlp(View()),
        "lenet": lenet(nn.Flatten(), nn.MaxPool2d),
        "lenet by view": lenet(View(), nn.AvgPool2d),
        "lenet by sizes": lenet(View(multiplied=True), nn.MaxPool2d),
        "pooled": pooled(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "means": pooled(Means()),
    }
    x = torch.randn(7, 1, 12, 10)
    for name, network in networks.items():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
        path, out = tmp_path / "n.onnx", tmp_path / "n.h5"
        sizes: dict[str, Any] = {}
        if rows == "any rows":
            sizes = {"dynamic_axes": {"x": {0: "n"}}} if exporter == "script" else {
                "dynamic_shapes": ({0: torch.export.Dim("n")},)
            }  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(network.eval(), (x,), str(path), input_names=["x"],
                              dynamo=exporter == "dynamo", verbose=False, **sizes)  # fmt: skip
        adopt(path, out, None, None, "softmax", None)
        made = load_trained(out, Alone())
        with torch.no_grad():
            want = network(x)
        want = want.exp() if made.loss.kind == "softmax" else want
        np.testing.assert_allclose(made.predict(x[:, 0].numpy()), want, atol=2e-6, err_msg=name)
