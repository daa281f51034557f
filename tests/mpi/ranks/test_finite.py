"""On any number of ranks the same batch is left out, and every rank raises the same sentence."""

import h5py
import numpy as np
import pytest

import disttrain

BAD = 13


def overflowing(path):
    """Write a data file in which products of one training sample overflow."""
    random = np.random.default_rng(1)
    x, y = random.normal(size=(60, 4)), random.integers(0, 3, 60)
    x[BAD] = 3e38
    with h5py.File(path, "w") as file:
        file.attrs.update(format="disttrain-data", version=1)
        for split, rows in (("train", 60), ("validation", 12)):
            file[f"{split}/inputs"], file[f"{split}/targets"] = x[-rows:], y[-rows:]
    return path


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_a_batch_is_left_out_by_all_ranks(comm, jobs, made, mode):
    path = made("overflowing.h5", overflowing)
    text = f"""
data = {{ path = "{path}", normalize = "none" }}
model = {{ layers = [6, 3] }}
training = {{ epochs = 3, batch_size = 10, skip_not_finite = 3 }}
schedule = {{ learning_rate = 0.1 }}
reproducibility = {{ mode = "{mode}" }}
"""
    digests = []
    for size in sorted(jobs):
        if (job := jobs[size]) is not None:
            run = disttrain.build(disttrain.parse(text), comm=job)
            disttrain.fit(run)
            assert run.state.skipped == 3
            digests.append(run.digest())
    assert mode == "fast" or len(set(digests)) == 1
    none = disttrain.parse(text, ["training.skip_not_finite=0"])
    run = disttrain.build(none, comm=comm)
    with pytest.raises(disttrain.Divergence, match=f"training samples {BAD}") as caught:
        disttrain.fit(run)
    assert len(set(comm.collect(str(caught.value)))) == 1
    assert (" on rank " in str(caught.value)) == (comm.size > 1)
