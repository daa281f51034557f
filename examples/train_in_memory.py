"""Two classes on a ring and inside it, learned from arrays: no file is given and none is left.

python examples/train_in_memory.py
mpirun -n 2 python examples/train_in_memory.py      # the same, by two ranks
"""

import numpy as np

import disttrain

random = np.random.default_rng(0)
points = random.uniform(-1, 1, (2000, 2)).astype("float32")
places = np.where(np.hypot(*points.T) < 0.7, "inside", "outside")

model = disttrain.train(
    disttrain.Data(points[:1500], places[:1500], test=(points[1500:], places[1500:])),
    layers=[disttrain.Dense(16, "tanh"), 2],
    epochs=40,
    batch_size=32,
    normalize="standardize",
    schedule="cosine",
)
score = model.evaluate()
centre, corner = model.predict([[0.0, 0.0], [0.9, 0.9]])

comm = disttrain.connect()
if comm.is_root:
    print(f"test accuracy {score.accuracy:.3f} on {comm.size} rank(s)")
    print(f"the centre is inside with probability {centre[0]:.3f}")
    print(f"a corner is inside with probability {corner[0]:.3f}")
