"""A trained model in a script: its scores, and what it says of new images.

python examples/use_a_model.py runs/mnist-800
"""

import sys

import numpy as np

import disttrain

model = disttrain.load(sys.argv[1])
print(f"{model.path}: step {model.snapshot.step}, digest {model.snapshot.digest[:12]}")
print(f"test accuracy {model.evaluate().accuracy:.4f}")

# Raw inputs, as they stand in the data file: the model brings its own normalization.
black = np.zeros((1, *model.network.shapes[0]), "uint8")
probabilities = model.predict(black)
print(f"a black image looks most like class {probabilities[0].argmax()}")
