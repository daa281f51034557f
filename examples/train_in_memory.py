"""Two classes on a ring and inside it, learned in memory: no files but the data file.

python examples/train_in_memory.py
mpirun -n 2 python examples/train_in_memory.py      # the same, by two ranks
"""

import tempfile
from pathlib import Path

import numpy as np

import disttrain
from disttrain.data.writer import write_data_file

comm = disttrain.connect()

# Rank 0 makes a data file of 2,000 points; every rank learns where it is.
folder = Path(comm.share(tempfile.mkdtemp() if comm.is_root else None))
if comm.is_root:
    random = np.random.default_rng(0)
    points = random.uniform(-1, 1, (2000, 2)).astype("float32")
    inside = (np.hypot(*points.T) < 0.7).astype("int64")
    splits = {"train": (points[:1500], inside[:1500]), "test": (points[1500:], inside[1500:])}
    write_data_file(folder / "ring.h5", splits, ["outside", "inside"])
comm.barrier()

settings = disttrain.parse(f"""
    [data]
    path = "{folder / "ring.h5"}"
    normalize = "standardize"
    [model]
    layers = [{{ units = 16, activation = "tanh" }}, {{ units = 2 }}]
    [training]
    epochs = 40
    batch_size = 32
    [schedule]
    kind = "cosine"
""")
run = disttrain.build(settings)
disttrain.fit(run)
run.use_best()
score = run.score(run.dataset.splits["test"], "test")
probabilities = run.predict(np.array([[0.0, 0.0], [0.9, 0.9]], "float32"))
if comm.is_root:
    print(f"test accuracy {score.accuracy:.3f} on {comm.size} rank(s)")
    print(f"the centre is inside with probability {probabilities[0, 1]:.3f}")
    print(f"a corner is inside with probability {probabilities[1, 1]:.3f}")
