"""What the estimators share: arrays become a run, and its weights plain arrays again."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from disttrain.comm import Communicator, connect
from disttrain.config import Settings, from_keywords
from disttrain.data.writer import write_data_file
from disttrain.errors import RunFileError
from disttrain.interop.sklearn_parts import (
    BaseEstimator,
    check_is_fitted,
    check_random_state,
    check_sample_weight,
    validate_data,
)
from disttrain.model.given import network_of
from disttrain.training import Run, build_run, fit

__all__ = ["FLOATS", "Estimator", "dense"]

BLOCK_ROWS = 1024
# Keys of a run file, and the parameters that state them.
CALLED = {
    "optimizer.kind": "solver", "optimizer.weight_decay": "alpha", "optimizer.momentum": "momentum",
    "schedule.kind": "learning_rate", "schedule.learning_rate": "learning_rate_init",
    "training.epochs": "max_iter", "training.batch_size": "batch_size",
    "units": "hidden_layer_sizes", "activation": "activation", "dropout": "dropout",
    "data.validation_fraction": "validation_fraction", "validation.patience": "n_iter_no_change",
    "reproducibility.mode": "mode",
}  # fmt: skip
OURS = re.compile(rf"'(?:model\.layers\.\d+\.)?({'|'.join(map(re.escape, CALLED))})'")
FLOATS = (np.float64, np.float32)


class Estimator(BaseEstimator):  # type: ignore[misc]
    """What both estimators share; parameters are stored as they are given, and checked by `fit`."""

    _loss = "squared"

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 1e-4,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 1e-3,
        momentum: float = 0.9,
        max_iter: int = 200,
        dropout: float = 0.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        mode: str = "auto",
        random_state: Any = None,
        warm_start: bool = False,
    ) -> None:
        self.hidden_layer_sizes, self.activation = hidden_layer_sizes, activation
        self.solver, self.alpha, self.batch_size = solver, alpha, batch_size
        self.learning_rate, self.learning_rate_init = learning_rate, learning_rate_init
        self.momentum, self.max_iter, self.dropout = momentum, max_iter, dropout
        self.early_stopping, self.validation_fraction = early_stopping, validation_fraction
        self.n_iter_no_change, self.mode = n_iter_no_change, mode
        self.random_state, self.warm_start = random_state, warm_start

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train `max_iter` epochs, or until `early_stopping`, and return the estimator. Collective.

        `X` is (rows, features), dense, sparse or a DataFrame; `sample_weight` (rows,) is 0 or more:
        a row of weight 2 counts as two. With `warm_start` it begins with the weights that it has.
        """
        inputs, targets = self._checked(X, y, reset=True)
        return self._fit(inputs, targets, sample_weight, self.max_iter, self.early_stopping)

    def _one_epoch(self, X: Any, y: Any, sample_weight: Any) -> Self:
        inputs, targets = self._checked(X, y, reset=not hasattr(self, "_tensors"))
        return self._fit(inputs, targets, sample_weight, epochs=None, early=False)

    def _fit(
        self, inputs: np.ndarray, targets: np.ndarray, sample_weight: Any, epochs: int | None,
        early: bool,
    ) -> Self:  # fmt: skip
        """Train some epochs, or (None) one more than before."""
        weights = self._weights(sample_weight, inputs, targets)
        comm, steps = connect(), 0
        seed = comm.share(int(check_random_state(self.random_state).randint(2**31)))
        with _stored(inputs, targets, weights, self._classes(), comm) as path:
            number = 1 if epochs is None else epochs
            settings = self._checked_settings(path, inputs, targets, seed, number, early)
            run = build_run(settings, comm)
            run.restore(None)
            if hasattr(self, "_tensors") and (self.warm_start or epochs is None):
                run.network.load(self._tensors, run.network.values)
                if epochs is None:
                    steps = self._go_on(run)
            fit(run)
            if early:
                run.use_best()
            self._keep(run, steps)
            run.close()
        return self

    def _checked_settings(self, *facts: Any) -> Settings:
        """Return the settings; what is wrong with them is said in the parameters' own names."""
        try:
            return self._settings(*facts)
        except RunFileError as error:
            text = str(error).removeprefix("settings: ")
            raise RunFileError(OURS.sub(lambda key: f"'{CALLED[key[1]]}'", text)) from None

    def _settings(
        self, path: str, inputs: np.ndarray, targets: np.ndarray, seed: int, epochs: int,
        early: bool,
    ) -> Settings:  # fmt: skip
        hidden, size = self.hidden_layer_sizes, self.batch_size
        sizes = [hidden] if isinstance(hidden, int | np.integer) else list(hidden)
        dense = {"activation": self.activation, "dropout": self.dropout}
        solver = {"kind": self.solver, "weight_decay": self.alpha}
        units = self._classes() or targets.shape[1]
        return from_keywords(None, {
            "seed": seed,
            "data": {
                "path": path, "normalize": "none",
                "validation_fraction": self.validation_fraction if early else 0.0,
            },
            "layers": [*({"units": size, **dense} for size in sizes), {"units": units}],
            "loss": self._loss, "dtype": str(inputs.dtype), "epochs": epochs,
            "batch_size": min(200, len(inputs)) if size == "auto" else size,
            "optimizer": solver | ({"momentum": self.momentum} if self.solver == "sgd" else {}),
            "schedule": {"kind": self.learning_rate, "learning_rate": self.learning_rate_init},
            "validation": {"patience": self.n_iter_no_change} if early else {},
            "reproducibility": {"mode": self.mode}, "device": {"kind": "cpu"},
        })  # fmt: skip

    def _classes(self) -> int:
        return 0

    def _weights(self, given: Any, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        if given is None:
            return None
        found: np.ndarray = check_sample_weight(
            given, inputs, dtype=np.float64, ensure_non_negative=True
        )
        if not found.any():
            raise ValueError("sample_weight is 0 for all rows: nothing can be learned")
        return found

    def _go_on(self, run: Run) -> int:
        """Go on with the optimizer as it was left; return the step where this begins."""
        run.optimizer.load(self._slots)
        # Whole epochs, as the order of samples is a function of the epoch.
        epochs = -(-self.t_ // run.steps_per_epoch)
        run.settings = run.settings.replace(training={"epochs": epochs + 1})
        run.state.step = epochs * run.steps_per_epoch
        return run.state.step

    def _keep(self, run: Run, steps: int) -> None:
        """Keep weights and optimizer as plain arrays, which any rank, or a pickle, can use."""
        network, history = run.network, run.state.history
        tensors = {name: np.array(t) for name, t in network.tensors(network.values).items()}
        self._tensors, self.t_ = tensors, run.state.step
        self._slots = {
            slot: {name: np.array(tensor) for name, tensor in own.items()}
            for slot, own in run.optimizer.tensors().items()
        }
        self.coefs_ = [t.T for name, t in tensors.items() if name.endswith("weight")]
        self.intercepts_ = [t for name, t in tensors.items() if name.endswith("bias")]
        self.n_iter_ = (run.state.step - steps) // run.steps_per_epoch
        self.loss_curve_ = [each["train_loss"] for each in history]
        self.loss_ = self.loss_curve_[-1]
        self.n_layers_, self.n_outputs_ = len(self.coefs_) + 1, network.outputs

    def _outputs(self, X: Any) -> np.ndarray:
        """Return the network's outputs (rows, outputs), computed on this rank."""
        check_is_fitted(self)
        rows = dense(validate_data(self, X, accept_sparse="csr", dtype=FLOATS, reset=False))
        dtype = self.coefs_[0].dtype
        activations = [self.activation] * (len(self.coefs_) - 1) + ["identity"]
        weights = [(w.T, b) for w, b in zip(self.coefs_, self.intercepts_, strict=True)]
        network = network_of(weights, activations, dtype.name)
        parts = [
            np.array(network.predict(np.ascontiguousarray(rows[low : low + BLOCK_ROWS], dtype)))
            for low in range(0, len(rows), BLOCK_ROWS)
        ]
        return np.concatenate(parts)

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs and targets as arrays. Raises ValueError as scikit-learn's do."""
        raise NotImplementedError


def dense(given: Any) -> np.ndarray:
    """Return sparse rows as plain ones: they have to be in memory whole."""
    return np.asarray(given.toarray() if hasattr(given, "toarray") else given)


@contextmanager
def _stored(
    inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, classes: int,
    comm: Communicator,
) -> Iterator[str]:  # fmt: skip
    """Write rank 0's rows to a data file that all ranks see, for the time of a training."""
    if classes and targets.min() == targets.max():
        # A part of the rows may have one class alone: a row of another, which counts as nothing.
        weights = np.append(np.ones(len(targets)) if weights is None else weights, 0.0)
        inputs = np.concatenate([inputs, inputs[:1]])
        targets = np.append(targets, (targets[0] + 1) % classes)
    folder = None
    try:
        with comm.together("preparing the data"):
            if comm.is_root:
                # Other hosts see the working directory rather than /tmp.
                where = None if comm.local_size == comm.size else "."
                folder = tempfile.TemporaryDirectory(prefix=".disttrain-", dir=where)
                path = Path(folder.name).absolute() / "data.h5"
                names = list(map(str, range(classes))) or None
                own = None if weights is None else {"train": weights}
                write_data_file(path, {"train": (inputs, targets)}, names, weights=own)
        yield comm.share(str(path) if folder else None)
    finally:
        if folder:
            folder.cleanup()
