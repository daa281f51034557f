"""A network of PyTorch's, its gradients by autograd, trained by disttrain on any number of ranks.

pip install torch
python examples/any_model_torch.py
disttrain launch -n 2 python examples/any_model_torch.py
"""

import numpy as np
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import disttrain


class TorchModel:
    def __init__(self, network, loss):
        self.network, self.loss = network, loss

    @property
    def parameters(self):
        return parameters_to_vector(self.network.parameters()).detach().numpy()

    @parameters.setter
    def parameters(self, vector):
        vector_to_parameters(torch.tensor(vector), self.network.parameters())

    def predict(self, inputs):
        with torch.no_grad():
            return self.network(torch.tensor(inputs)).numpy()

    def loss_and_gradient(self, rows):
        outputs = self.network(torch.tensor(rows.inputs))
        loss = self.loss(outputs, torch.tensor(rows.targets))
        gradients = torch.autograd.grad(loss, list(self.network.parameters()))
        return loss.item(), parameters_to_vector(gradients).numpy(), outputs.detach().numpy()


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    nn = torch.nn
    network = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    # A sum over rows, not a mean: ranks add their sums, and disttrain divides once.
    model = TorchModel(network, nn.CrossEntropyLoss(reduction="sum"))
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (2000, 2)).astype("float32")
    y = (np.hypot(*x.T) < 0.7).astype(int)
    comm = disttrain.connect()
    trained = disttrain.train(
        disttrain.Data(x[:1500], y[:1500], test=(x[1500:], y[1500:])), model=model,
        epochs=20, batch_size=32, mode="exact", comm=comm, progress=False,
    )  # fmt: skip
    if comm.is_root:
        accuracy = trained.summary["test"]["accuracy"]
        print(f"test accuracy {accuracy:.3f} on {comm.size} rank(s)")
        print("digest", trained.summary["digest"][:16])
