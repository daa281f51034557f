"""A layer and a loss of your own: each is a class with `forward`, which also returns backward.

python examples/custom_layer.py data/mnist.h5
disttrain launch -n 2 python examples/custom_layer.py data/mnist.h5      # the same, by two ranks
"""

import sys

import numpy as np

import disttrain


class LeakyDense(disttrain.Dense):
    """A dense layer whose negative sums are divided by ten instead of cut off."""

    kind = "leaky"
    rowwise = True  # each row of the output comes from that row alone

    def forward(self, x, ctx):
        a, dense_backward = super().forward(x, ctx)  # no activation: a = x Wᵀ + b
        slope = np.where(a > 0, 1, 0.1).astype(a.dtype)

        def backward(dh):
            return dense_backward(dh * slope)

        return a * slope, backward


class Hinge(disttrain.Loss):
    """The multi-class hinge loss `L = Σ max(0, 1 + o_j - o_k)` over the wrong classes j."""

    kind = "hinge"

    def forward(self, outputs, targets, ctx):
        rows = np.arange(len(outputs))
        margins = np.maximum(0, 1 + outputs - outputs[rows, targets][:, None])
        margins[rows, targets] = 0

        def backward():
            gradient = (margins > 0).astype(outputs.dtype)
            gradient[rows, targets] = -gradient.sum(axis=1)
            return gradient

        return margins.sum(axis=1, dtype="float64"), backward


class Print(disttrain.Callback):
    """What rank 0 is told at the end of each interval."""

    def on_interval(self, run, report):
        print(f"epoch {report.epoch:.0f}: validation accuracy {report.validation_accuracy:.3f}")


model = disttrain.train(
    sys.argv[1],
    layers=[LeakyDense(100), 10],
    loss=Hinge(),
    epochs=2,
    learning_rate=0.02,
    callbacks=[Print()],
)
if disttrain.connect().is_root:
    print(f"best weights: validation accuracy {model.summary['validation']['accuracy']:.3f}")
