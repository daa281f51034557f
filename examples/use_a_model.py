"""A trained model in a script: its scores, and what it says of new samples.

python examples/use_a_model.py runs/mnist-800
disttrain launch -n 2 python examples/use_a_model.py runs/mnist-800      # the same, by two ranks
"""

import sys

import numpy as np

import disttrain

comm = disttrain.connect()
model = disttrain.load(sys.argv[1])
score = model.evaluate()

# Raw inputs, of the type and shape of those in the data file: the model brings its normalization.
blank = np.zeros((1, *model.network.shapes[0]), model.snapshot.state["data"]["input_dtype"])
outputs = model.predict(blank)

# Every rank has the scores and the predictions; one of them prints.
if comm.is_root:
    print(model)
    print(f"test accuracy {score.accuracy:.4f}")
    print(f"a sample of zeros looks most like class {outputs[0].argmax()}")
