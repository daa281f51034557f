"""scikit-learn's estimators whose `fit` is a training by all ranks.

    from disttrain.interop.sklearn import DistributedMLPClassifier

    GridSearchCV(DistributedMLPClassifier(), {"alpha": [1e-4, 1e-2]}).fit(X, y)

Alone they are like any estimator. Under mpirun every rank makes the same calls with the same data
(those of rank 0 are used): `fit` and `partial_fit` train together and leave the same weights on
each rank; `predict` computes on its own rank alone.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from disttrain.interop.estimator import FLOATS, Estimator, dense
from disttrain.interop.sklearn_parts import (
    ClassifierMixin,
    RegressorMixin,
    check_classification_targets,
    column_or_1d,
    compute_sample_weight,
    softmax,
    validate_data,
)

__all__ = ["DistributedMLPClassifier", "DistributedMLPRegressor"]


class DistributedMLPClassifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """A feed-forward classifier, trained by all ranks with the cross-entropy of the softmax.

    Parameters are called as those of scikit-learn's `MLPClassifier`: `hidden_layer_sizes`,
    `activation` ("identity", "sigmoid", "tanh", "relu", "leaky-relu", "elu", "gelu", "silu"),
    `solver` ("adam", "adamw", "sgd"), `alpha` (weight decay λ of the update `g + λ w`; biases are
    left out), `batch_size` (of all ranks together; "auto": 200), `learning_rate` (the schedule:
    "constant", "cosine", ...), `learning_rate_init`, `max_iter` (epochs: all of them, unless
    `early_stopping`), `class_weight` (None, "balanced" or a dictionary). Of disttrain: `dropout`
    and `mode` ("auto", "exact", "fast"). The network computes in the type of `X`: give float32 for
    speed.
    """

    _loss = "softmax"

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
        class_weight: Any = None,
        mode: str = "auto",
        random_state: Any = None,
        warm_start: bool = False,
    ) -> None:
        super().__init__(
            hidden_layer_sizes, activation, solver=solver, alpha=alpha, batch_size=batch_size,
            learning_rate=learning_rate, learning_rate_init=learning_rate_init, momentum=momentum,
            max_iter=max_iter, dropout=dropout, early_stopping=early_stopping,
            validation_fraction=validation_fraction, n_iter_no_change=n_iter_no_change, mode=mode,
            random_state=random_state, warm_start=warm_start,
        )  # fmt: skip
        self.class_weight = class_weight

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train one epoch on these rows, with the weights and the optimizer as they are.

        The first call needs `classes`, all that will ever come. Collective.
        """
        if not hasattr(self, "_tensors"):
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
            raise ValueError("classes are not the same as on the last call to partial_fit")
        return self._one_epoch(X, y, sample_weight)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train as above; the classes are those of `y`."""
        if hasattr(self, "classes_") and not self.warm_start:
            del self.classes_
        return super().fit(X, y, sample_weight)

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=FLOATS, reset=reset)
        check_classification_targets(y)
        if not hasattr(self, "classes_"):
            self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError("all rows are of one class: at least 2 classes are needed")
        if not np.isin(y, self.classes_).all():
            raise ValueError("y has classes that are none of those that the network was begun with")
        return dense(X), np.searchsorted(self.classes_, y)

    def _classes(self) -> int:
        return len(self.classes_)

    def _weights(self, given: Any, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        found = super()._weights(given, inputs, targets)
        if self.class_weight is None:
            return found
        of_class = compute_sample_weight(self.class_weight, self.classes_[targets])
        return np.asarray(of_class if found is None else found * of_class)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class (rows, classes), in the order of `classes_`."""
        return np.asarray(softmax(self._outputs(X)))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each row."""
        number = self._outputs(X).argmax(axis=1)
        return np.asarray(self.classes_[number])


class DistributedMLPRegressor(RegressorMixin, Estimator):  # type: ignore[misc]
    """A feed-forward network for numbers, trained by all ranks with the squared loss.

    Parameters are those of `DistributedMLPClassifier`, but for `class_weight`; `y` is (rows,) or
    (rows, outputs).
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train one epoch on these rows, with the weights and the optimizer as they are."""
        return self._one_epoch(X, y, sample_weight)

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=FLOATS, multi_output=True, y_numeric=True,
            reset=reset,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._flat = y.ndim == 1
        return dense(X), np.asarray(y, np.float64).reshape(len(y), -1)

    def predict(self, X: Any) -> np.ndarray:
        """Return the outputs, of the shape that `y` had."""
        found = self._outputs(X)
        return np.asarray(found[:, 0] if self._flat else found)
