"""A network of PyTorch's trained by disttrain has the weights that DDP gives it (CPU, gloo)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import disttrain
from tests.conftest import blobs

torch = pytest.importorskip("torch")

EXAMPLES = Path(__file__).parents[2] / "examples"
# Two processes, each with half of the rows: the gradients of DDP are means over both.
DDP = """
import os, sys, numpy as np, torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel


def work(rank, folder):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    data = np.load(f"{folder}/data.npz")
    nn = torch.nn
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    network.load_state_dict(torch.load(f"{folder}/begin.pt"))
    model = DistributedDataParallel(network)
    step = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-3)
    x, y = (torch.tensor(data[name][rank::2]) for name in ("x", "y"))
    for _ in range(12):
        step.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        step.step()
    if rank == 0:
        vector = nn.utils.parameters_to_vector(network.parameters())
        np.save(f"{folder}/ddp.npy", vector.detach().numpy())
    dist.barrier()
    dist.destroy_process_group()
    # Threads of gloo may outlive the group, and abort a process that ends in the ordinary way.
    os._exit(0)


if __name__ == "__main__":
    mp.spawn(work, (sys.argv[1],), nprocs=2)
"""


def loaded(name: str) -> Any:
    """Return an example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


def model_of_jax(network: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the example's model with the weights of PyTorch's network, in float64."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    example = loaded("any_model_jax")
    (w1, b1, w2, b2) = (p.detach().numpy().T for p in network.parameters())
    vector, unravel = example.ravel_pytree({"w1": w1, "b1": b1, "w2": w2, "b2": b2})
    monkeypatch.setattr(example, "unravel", unravel)
    model = example.JaxModel()
    model.parameters = np.array(vector)
    return model


@pytest.mark.long
@pytest.mark.parametrize("kind", ["torch", "jax"])
def test_the_weights_are_those_of_ddp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    x, y = blobs(80, 1)
    x = x.astype("f8")
    nn = torch.nn
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    np.savez(tmp_path / "data.npz", x=x, y=y)
    torch.save(network.state_dict(), tmp_path / "begin.pt")
    (tmp_path / "ddp.py").write_text(DDP)
    subprocess.run([sys.executable, tmp_path / "ddp.py", tmp_path], check=True, timeout=100)
    if kind == "jax":
        model = model_of_jax(network, monkeypatch)
    else:
        summed = nn.CrossEntropyLoss(reduction="sum")
        model = loaded("any_model_torch").TorchModel(network, summed)
    disttrain.train(
        disttrain.Data(x, y), model=model, epochs=12, protocol="batch", normalize="none",
        validation_fraction=0, schedule="constant", learning_rate=0.05,
        optimizer={"momentum": 0.9, "weight_decay": 1e-3}, mode="exact", device="cpu",
    )  # fmt: skip
    want, found = np.load(tmp_path / "ddp.npy"), model.parameters
    if kind == "jax":
        # (b1, b2, w1, w2), weights as (inputs, units).
        b1, b2, w1, w2 = np.split(found, np.cumsum([8, 3, 32]))
        found = np.concatenate([w1.reshape(4, 8).T.ravel(), b1, w2.reshape(8, 3).T.ravel(), b2])
    np.testing.assert_allclose(found, want, rtol=1e-10)
