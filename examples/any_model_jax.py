"""A model of JAX's, its gradients by jax.grad, trained by disttrain on any number of ranks.

pip install jax
python examples/any_model_jax.py
disttrain launch -n 2 python examples/any_model_jax.py
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import disttrain

random = np.random.default_rng(0)
shapes = {"w1": (2, 16), "b1": (16,), "w2": (16, 2), "b2": (2,)}
begin = {name: jnp.array(0.5 * random.normal(size=s), "float32") for name, s in shapes.items()}
vector, unravel = ravel_pytree(begin)


def outputs_of(vector, inputs):
    p = unravel(vector)
    return jnp.tanh(inputs @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]


@jax.jit
def loss_and_gradient(vector, inputs, targets):
    def loss(vector):
        outputs = outputs_of(vector, inputs)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(outputs), targets[:, None], 1)
        return -chosen.sum(), outputs  # a sum over rows, not a mean

    (value, outputs), gradient = jax.value_and_grad(loss, has_aux=True)(vector)
    return value, gradient, outputs


class JaxModel:
    parameters = np.array(vector)

    def predict(self, inputs):
        return np.array(outputs_of(self.parameters, inputs))

    def loss_and_gradient(self, rows):
        found = loss_and_gradient(self.parameters, rows.inputs, rows.targets)
        return tuple(map(np.array, found))


if __name__ == "__main__":
    x = random.uniform(-1, 1, (2000, 2)).astype("float32")
    y = (np.hypot(*x.T) < 0.7).astype(int)
    comm = disttrain.connect()
    trained = disttrain.train(
        disttrain.Data(x[:1500], y[:1500], test=(x[1500:], y[1500:])), model=JaxModel(),
        epochs=20, batch_size=32, mode="exact", comm=comm, progress=False,
    )  # fmt: skip
    if comm.is_root:
        accuracy = trained.summary["test"]["accuracy"]
        print(f"test accuracy {accuracy:.3f} on {comm.size} rank(s)")
        print("digest", trained.summary["digest"][:16])
