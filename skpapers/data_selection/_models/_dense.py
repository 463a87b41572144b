# SPDX-License-Identifier: BSD-3-Clause
r"""Linear classifiers and `MLPClassifier` as stacks of dense layers.

Layer l takes its input :math:`a_{l-1}` (the row x for the first) to
:math:`z_l = a_{l-1} W_l + b_l`, and :math:`a_l` is the activation of it. With
:math:`\delta_l = \partial \ell / \partial z_l` from one backward pass, the gradient of
the cross-entropy :math:`\ell` of a row by :math:`W_l` is the outer product
:math:`a_{l-1} \delta_l^\top`, so no gradient is ever formed:

.. math:: \|\nabla \ell\|^2 = \sum_l \|\delta_l\|^2 \, (\|a_{l-1}\|^2 + 1),

without the 1 where there is no intercept. The last :math:`\delta` depends on the loss:
p - y for the softmax; :math:`\sigma(z) - y` for one logit of two classes; and the same
for each of K logits, of which each tells a class from the rest.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import issparse
from scipy.special import expit, log_expit, logsumexp
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier
from sklearn.neural_network import MLPClassifier

from skpapers.data_selection._labelled import on_host
from skpapers.data_selection._models._base import LogitPass, subtract_labels

SLOPES = {  # derivative of an activation, from its value
    "identity": lambda a: np.ones_like(a),
    "relu": lambda a: (a > 0).astype(a.dtype),
    "tanh": lambda a: 1.0 - a**2,
    "logistic": lambda a: a * (1.0 - a),
}


def _activate(z, activation):
    if activation == "relu":
        return np.maximum(z, 0, out=z)
    if activation == "tanh":
        return np.tanh(z, out=z)
    if activation == "logistic":
        return expit(z, out=z)
    return z


def squared_norms(X):
    """Return the squared norms of rows, dense or sparse."""
    if issparse(X):
        return np.asarray(X.multiply(X).sum(axis=1), dtype=np.float64).ravel()
    return np.einsum("ij,ij->i", X, X, dtype=np.float64)


@dataclass
class DenseModel:
    """A stack of dense layers with a loss.

    Attributes
    ----------
    weights : list of ndarray of shape (n_in, n_out)
        Weights of the layers.
    intercepts : list of ndarray of shape (n_out,)
        Their intercepts.
    has_intercept : bool
        Whether the intercepts are trained.
    activation : {"identity", "relu", "tanh", "logistic"}
        Of the hidden layers.
    loss : {"softmax", "binary", "one-vs-rest"}
        What is made of the last layer.
    classes_ : ndarray of shape (K,)
        Labels.
    """

    weights: list
    intercepts: list
    has_intercept: bool
    activation: str
    loss: str
    classes_: np.ndarray

    is_differentiable = True

    @property
    def width(self):
        """Numbers that a pass holds for a row beside the row itself."""
        return 2 * sum(W.shape[1] for W in self.weights) + len(self.classes_)

    def snapshot(self):
        """Return a copy of the weights."""
        return replace(
            self,
            weights=[W.copy() for W in self.weights],
            intercepts=[b.copy() for b in self.intercepts],
        )

    def run(self, X):
        """Return what the model says about rows."""
        inputs = [X if issparse(X) else np.asarray(X)]
        for W, b in zip(self.weights, self.intercepts, strict=True):
            z = np.asarray(inputs[-1] @ W) + b
            inputs.append(z)
            if len(inputs) <= len(self.weights):
                _activate(z, self.activation)
        z = inputs.pop()
        return PASSES[self.loss](self, inputs, z)


class DensePass(LogitPass):
    """A forward pass through a softmax stack, with what the backward pass needs."""

    def __init__(self, model, inputs, z):
        super().__init__(z)
        self.model, self.inputs = model, inputs
        self.has_intercept = model.has_intercept

    def loss_slopes(self, codes):
        """Return the derivative of the loss by the last layer's outputs."""
        return self.errors(codes)

    def output_slopes(self, codes, output):
        """Return the derivative of the label's probability or logit by the outputs."""
        rows = np.arange(len(codes))
        if output == "logit":
            slopes = np.zeros_like(self.logits)
            slopes[rows, codes] = 1.0
            return slopes
        p = np.exp(self.log_proba[rows, codes])
        return -p[:, None] * self.errors(codes)

    def _backward(self, slopes, stop=0):
        """Yield layers and derivatives by their outputs, from the last to ``stop``."""
        weights = self.model.weights
        slope = SLOPES[self.model.activation]
        for k in range(len(weights) - 1, stop - 1, -1):
            yield k, slopes
            if k > stop:
                slopes = (slopes @ weights[k].T) * slope(self.inputs[k])

    def gradient_norms(self, codes, layers=None):
        """Return the norms of the gradient of the loss by the parameters."""
        total = np.zeros(len(codes))
        for a, slopes in self.factors(codes, layers):
            total += squared_norms(slopes) * (squared_norms(a) + self.has_intercept)
        return np.sqrt(total)

    def factors(self, codes, layers=None):
        """Yield the inputs of layers and the slopes of the loss by their outputs.

        The gradient by the weights is their outer product.
        """
        chosen = chosen_layers(layers, len(self.model.weights))
        for k, slopes in self._backward(self.loss_slopes(codes), min(chosen)):
            if k in chosen:
                yield self.inputs[k], slopes

    def input_gradients(self, codes, output="proba"):
        """Return the gradients of the label's probability or logit by the inputs."""
        *_, (_, slopes) = self._backward(self.output_slopes(codes, output))
        return slopes @ self.model.weights[0].T.astype(np.float64)


class BinaryPass(DensePass):
    """One logit z of two classes; the logits of the classes are -z and z."""

    def __init__(self, model, inputs, z):
        super().__init__(model, inputs, z)
        self.z = self.logits[:, 0]

    @cached_property
    def log_proba(self):
        """Logarithms of the probabilities."""
        return log_expit(np.column_stack([-self.z, self.z]))

    def errors(self, codes):
        """Return p - y."""
        wrong = expit(np.where(codes == 1, -self.z, self.z))
        second = np.where(codes == 1, -wrong, wrong)
        return np.column_stack([-second, second])

    def loss_slopes(self, codes):
        """Return the derivative of the loss by z."""
        return self.errors(codes)[:, 1:]

    def output_slopes(self, codes, output):
        """Return the derivative of the label's probability or logit by z."""
        sign = np.where(codes == 1, 1.0, -1.0)
        if output == "proba":
            sign = sign * expit(self.z) * expit(-self.z)
        return sign[:, None]


class OneVsRestPass(DensePass):
    """K logits of K logistic losses; the probabilities are the normalised sigmoids."""

    @cached_property
    def log_proba(self):
        """Logarithms of the probabilities."""
        log_s = log_expit(self.logits)
        return log_s - logsumexp(log_s, axis=1, keepdims=True)

    def errors(self, codes):
        """Return p - y for the normalised probabilities."""
        return subtract_labels(np.exp(self.log_proba), codes)

    def loss_slopes(self, codes):
        """Return the derivatives of the K logistic losses."""
        slopes, rows = expit(self.logits), np.arange(len(codes))
        slopes[rows, codes] = -expit(-self.logits[rows, codes])
        return slopes

    def output_slopes(self, codes, output):
        """Return the derivative of the label's probability or logit by the outputs."""
        if output == "logit":
            return super().output_slopes(codes, output)
        # d log p_y / d z_k = [k = y] (1 - s_k) - p_k (1 - s_k)
        rows = np.arange(len(codes))
        slopes = -self.errors(codes) * expit(-self.logits)
        return slopes * np.exp(self.log_proba[rows, codes])[:, None]


PASSES = {"softmax": DensePass, "binary": BinaryPass, "one-vs-rest": OneVsRestPass}


def chosen_layers(layers, n_layers):
    """Return the layers that count, by number from the input; None: all."""
    if layers is None:
        return set(range(n_layers))
    found = {k + n_layers if k < 0 else k for k in layers}
    if not found or not found <= set(range(n_layers)):
        raise ValueError(
            f"layers must name some of the {n_layers} layers by number (0 is the first,"
            f" -1 the last), got {list(layers)}."
        )
    return found


def is_dense(estimator):
    """Return whether a classifier, fitted or not, is a stack of dense layers."""
    if isinstance(estimator, SGDClassifier):
        return estimator.loss == "log_loss"
    known = MLPClassifier | LogisticRegression | LogisticRegressionCV
    return isinstance(estimator, known)


def dense_model(estimator):
    """Return a fitted classifier as a stack of dense layers, or None if it is none."""
    if not is_dense(estimator):
        return None
    if isinstance(estimator, MLPClassifier):
        return _network(estimator)
    is_ovr = isinstance(estimator, SGDClassifier) or estimator.solver == "liblinear"
    return _linear(estimator, "one-vs-rest" if is_ovr else "softmax")


def _linear(estimator, loss):
    W = estimator.coef_.toarray() if issparse(estimator.coef_) else estimator.coef_
    W = on_host(W)  # of another library, if it was fitted to arrays of that
    if len(W) == 1:
        loss = "binary"
    return DenseModel(
        weights=[W.T],
        intercepts=[np.broadcast_to(on_host(estimator.intercept_), len(W))],
        has_intercept=bool(estimator.fit_intercept),
        activation="identity",
        loss=loss,
        classes_=on_host(estimator.classes_),
    )


def _network(estimator):
    loss = {"softmax": "softmax", "logistic": "binary"}[estimator.out_activation_]
    if loss == "binary" and estimator.n_outputs_ > 1:
        raise TypeError("influence scores need one label a row, not several at once.")
    return DenseModel(
        weights=list(estimator.coefs_),
        intercepts=list(estimator.intercepts_),
        has_intercept=True,
        activation=estimator.activation,
        loss=loss,
        classes_=estimator.classes_,
    )
