"""What both the tests on a stand-in and those on a card go through: runs, filters, pools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import disttrain
from disttrain.data.writer import write_data_file
from disttrain.training.trainer import train_step

__all__ = ["BATCH", "CASES", "FILTERS", "POOLS", "built", "drawn", "stepped"]

# Shape of a sample, filters, size, stride, padding; none goes Winograd's way on the processor.
FILTERS: list[tuple[Any, ...]] = [
    ((12, 12), 6, 5, 1, "same"), ((7, 7, 6), 16, 5, 1, "valid"), ((9, 7, 3), 20, 3, 1, "same"),
    ((9, 8, 5), 40, (3, 2), (2, 1), 2), ((10, 11, 2), 33, 3, 3, "valid"), ((12,), 5, 5, 1, 2),
    ((5, 5, 17), 1, 1, 1, "same"), ((6, 6, 2), 7, 3, 2, "same"), ((3, 3, 4), 9, 3, 1, 4),
]  # fmt: skip
POOLS = [((6, 6, 3), 2, 2), ((7, 7, 6), 3, 2), ((9, 9, 5), 3, 3), ((8, 8, 33), 2, 1), ((12,), 3, 2)]

ROWS, BATCH = 40, 16
DENSE = [{"units": 9, "activation": "relu", "dropout": 0.4}, {"units": 5, "activation": "silu"},
         {"units": 3}]  # fmt: skip
IMAGES = [
    {"kind": "conv", "filters": 3, "size": 3, "activation": "relu"}, {"kind": "max-pool"},
    {"kind": "conv", "filters": 4, "size": 3, "activation": "tanh", "stride": 2},
    {"kind": "average-pool"}, {"units": 6, "activation": "gelu"}, {"units": 3},
]  # fmt: skip
RATES = [{"units": 5, "rate": 0.5, "activation": "tanh"}, {"units": 4, "rate": 0.25}, {"units": 3}]
SIGN = [{"units": 1, "activation": "sign"}]
SMOOTHED = {"class_weights": "balanced", "label_smoothing": 0.1}
CASES: dict[str, dict[str, Any]] = {
    "dense": {"layers": DENSE},
    "images": {"layers": IMAGES, "optimizer": {"form": "nesterov", "weight_decay": 0.01}},
    "adamw": {"layers": DENSE, "optimizer": {"kind": "adamw", "weight_decay": 0.01}},
    "squares": {"layers": DENSE, "loss": "squared", "optimizer": {"form": "averaged"}},
    "clipped": {"layers": DENSE, "optimizer": {"clip_norm": 0.1}},
    "leaves": {"layers": IMAGES, "mode": "exact"},
    "normalized": {"layers": [{"kind": "layer-norm"}, *IMAGES[:2], {"kind": "layer-norm"}, *DENSE]},
    "batches": {
        "layers": [
            *IMAGES[:1],
            {"kind": "batch-norm"},
            *IMAGES[1:],
            {"kind": "batch-norm"},
            {"units": 3},
        ]
    },
    "batches of leaves": {"layers": [*IMAGES[:1], {"kind": "batch-norm"}, *DENSE], "mode": "exact"},
    "weights": {"layers": DENSE, "weights": True},
    "classes": {"layers": DENSE, "training": {"class_weights": [1.0, 0.5, 3.0]}},
    "smoothed": {"layers": DENSE, "weights": True, "mode": "exact", "training": SMOOTHED},
    "rates": {"layers": RATES, "optimizer": {"weight_decay": 0.01}},
    "rates of adamw": {
        "layers": RATES,
        "optimizer": {"kind": "adamw", "weight_decay": 0.1, "clip_norm": 0.1},
    },
    "clipped leaves": {
        "layers": [*IMAGES[:1], {"kind": "batch-norm"}, *RATES],
        "optimizer": {"clip_norm": 0.1},
        "mode": "exact",
    },
    "passes": {"layers": DENSE, "weights": True, "training": {"accumulate": 3}},
    "passes of leaves": {"layers": IMAGES, "mode": "exact", "training": {"accumulate": 16}},
    "streamed passes": {"layers": DENSE, "inputs": "float64", "training": {"accumulate": 3}},
    "perceptron": {"layers": SIGN, "loss": "perceptron", "classes": 2},
    "weighed perceptron": {"layers": SIGN, "loss": "perceptron", "classes": 2, "weights": True},
    "numbers": {"layers": DENSE, "loss": "squared", "classes": 0, "weights": True},
    "float64": {"layers": DENSE, "dtype": "float64"},
    "streamed": {"layers": DENSE, "inputs": "float64"},
    "augmented": {"layers": IMAGES, "data": {"augment": {"shift": 1}}},
}


def drawn(seed: int) -> dict[str, Any]:
    """Return a case drawn at random: layers, loss, optimizer, passes, weights, mode."""
    draw = np.random.default_rng(seed)

    def one(*of: Any) -> Any:
        return of[draw.integers(len(of))]

    def dense(units: int) -> dict[str, Any]:
        kind = one("relu", "tanh", "sigmoid", "silu", "gelu", "elu", "leaky-relu", "identity")
        return {"units": units, "activation": kind, "dropout": one(0.0, 0.3), "rate": one(1, 0.5)}

    asked = one(False, False, True)
    layers: list[dict[str, Any]] = [{"kind": "batch-norm"}] if asked else []
    if one(False, True):
        layers += [{"kind": "conv", "filters": int(draw.integers(1, 5)), "size": one(1, 2, 3)}]
        layers += one([], [{"kind": one("max-pool", "average-pool")}])
    layers += one([], [{"kind": "layer-norm"}])
    layers += [dense(int(draw.integers(1, 9))) for _ in range(draw.integers(1, 3))]
    loss = one("softmax", "softmax", "squared")
    softly = {"label_smoothing": one(0, 0.1), "class_weights": one(None, [1.0, 0.5, 3.0])}
    return {
        "layers": [*layers, {"units": 3}], "loss": loss, "weights": one(False, True),
        "classes": one(0, 3) if loss == "squared" else 3, "mode": one("fast", "exact"),
        "training": {"accumulate": 1 if asked else one(1, 2, 5)}
        | {k: v for k, v in softly.items() if v and loss == "softmax"},
        "optimizer": one({"form": one("classical", "averaged", "nesterov")}, {"kind": "adam"},
                         {"kind": "adamw"})
        | {"weight_decay": one(0.0, 0.01)} | one({}, {"clip_norm": 0.1}),
        "inputs": one("uint8", "uint8", "float64"), "dtype": one("float32", "float64"),
    }  # fmt: skip


def built(tmp_path: Path, case: dict[str, Any], kind: str = "gpu") -> Any:
    draw = np.random.default_rng(0)
    inputs = draw.integers(0, 256, (ROWS, 8, 8), np.uint8).astype(case.get("inputs", "uint8"))
    classes, weighed = case.get("classes", 3), case.get("weights", False)
    path = tmp_path / f"{case.get('inputs', 'uint8')}-{classes}-{weighed}.h5"
    if not path.exists():
        targets = draw.integers(0, classes, ROWS) if classes else draw.normal(5, 2, (ROWS, 3))
        splits = {"train": (inputs, targets), "validation": (inputs[:23], targets[:23])}
        weights = {name: draw.random(len(rows)) for name, (_, rows) in splits.items()}
        write_data_file(path, splits, weights=weights if weighed else None)
    rate = {"learning_rate": 0.02, "kind": "constant"}
    settings = disttrain.Settings.model_validate({
        "data": {"path": str(path), **case.get("data", {})},
        "model": {"layers": case["layers"], "loss": case.get("loss", "softmax"),
                  "dtype": case.get("dtype", "float32")},
        "training": {"batch_size": BATCH, **case.get("training", {})}, "schedule": rate,
        "optimizer": case.get("optimizer", {}), "device": {"kind": kind},
        "reproducibility": {"mode": case.get("mode", "fast"), "arithmetic": "leaves"},
    })  # fmt: skip
    return disttrain.build(settings, loss=case.get("own"))


def stepped(run: Any, steps: int = 7) -> list[Any]:
    return [train_step(run, step, 0.02 / (step + 1)) for step in range(steps)]
