# SPDX-License-Identifier: BSD-3-Clause
"""What a search sees of a surrogate: a score, its gradient, and how often it was asked.

A surrogate is any regressor of scikit-learn, or a net of skorch. It is differentiable
if it has a method ``tensor_predict`` that takes a tensor (m, D) and answers a tensor
(n_members, m), or if it is a net of skorch.
"""

import sys

import numpy as np

from skpapers.utils._torch import import_torch, seeded

REDUCTIONS = ("mean", "min")
WITHOUT_GRADIENT = "'cmaes', 'reinforce', 'pymoo' or 'bo'"
CHUNK = 8192  # rows that pass a network at once


def is_net(estimator):
    """Tell whether an estimator is a net of skorch, without importing it."""
    skorch = sys.modules.get("skorch")
    return skorch is not None and isinstance(estimator, skorch.NeuralNet)


def fit_surrogate(estimator, Z, score, params, seed):
    """Fit an estimator to points and their scores.

    Parameters
    ----------
    estimator : estimator
        It is fitted in place.
    Z : ndarray of shape (n, D)
        Points.
    score : ndarray of shape (n,)
        What is to be maximised.
    params : dict
        Further arguments of ``fit``.
    seed : int
        For nets of skorch, which have no ``random_state``.
    """
    if not is_net(estimator):
        return estimator.fit(Z, score, **params)
    dtype = _net_dtype(estimator)
    with seeded(seed):
        return estimator.fit(Z.astype(dtype), score.astype(dtype)[:, None], **params)


def predict_surrogate(estimator, Z):
    """Return the predictions of a fitted surrogate, float64 of shape (m,)."""
    if is_net(estimator):
        Z = Z.astype(_net_dtype(estimator))
    return np.asarray(estimator.predict(Z), dtype=np.float64).reshape(len(Z))


def _net_dtype(net):
    """Return the dtype of the weights of a net, as far as they are there."""
    module = getattr(net, "module_", net.module)
    if hasattr(module, "state_dict") and not isinstance(module, type):
        for parameter in module.parameters():
            return str(parameter.dtype).rpartition(".")[2]
    return "float32"


class Objective:
    """The score that a search maximises.

    Parameters
    ----------
    estimator : estimator
        A fitted surrogate.
    reduction : {"mean", "min"}, default="mean"
        How the predictions of several members make a score.

    Attributes
    ----------
    n_calls : int
        How often the surrogate was asked.
    n_evaluated : int
        Number of points that it was asked for.
    """

    def __init__(self, estimator, reduction="mean"):
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction={reduction!r}: expected 'mean' or 'min'.")
        self.estimator, self.reduction = estimator, reduction
        self.counts = {"calls": 0, "points": 0}
        if reduction == "min" and not self.is_differentiable:
            raise ValueError(
                f"reduction='min' needs the members of the surrogate, but "
                f"{type(estimator).__name__} has no tensor_predict."
            )

    @property
    def is_differentiable(self):
        """Whether `value_and_grad` works."""
        return hasattr(self.estimator, "tensor_predict") or is_net(self.estimator)

    @property
    def n_calls(self):
        """How often the surrogate was asked."""
        return self.counts["calls"]

    @property
    def n_evaluated(self):
        """Number of points that the surrogate was asked for."""
        return self.counts["points"]

    def with_reduction(self, reduction):
        """Return the objective with another reduction and the same counts."""
        other = Objective(self.estimator, reduction)
        other.counts = self.counts
        return other

    def values(self, Z):
        """Return the scores (m,) of points (m, D)."""
        self._count(Z)
        if not self.is_differentiable:
            return predict_surrogate(self.estimator, Z)
        torch = import_torch("Objective")
        with torch.no_grad():
            parts = [self._scores(part) for part in _tensor(Z).split(CHUNK)]
        return torch.cat(parts).cpu().numpy().astype(np.float64)

    def value_and_grad(self, Z):
        """Return scores (m,) and their gradients (m, D) at points (m, D)."""
        if not self.is_differentiable:
            raise ValueError(
                f"{type(self.estimator).__name__} has no gradients (no tensor_predict) "
                f"for this search; search={WITHOUT_GRADIENT} needs none."
            )
        self._count(Z)
        torch = import_torch("Objective")
        values, gradients = [], []
        for part in _tensor(Z).split(CHUNK):
            points = part.detach().requires_grad_()
            with torch.enable_grad():
                scores = self._scores(points)
                (gradient,) = torch.autograd.grad(scores.sum(), points)
            values.append(scores.detach())
            gradients.append(gradient)
        return tuple(
            torch.cat(parts).cpu().numpy().astype(np.float64)
            for parts in (values, gradients)
        )

    def _count(self, Z):
        self.counts["calls"] += 1
        self.counts["points"] += len(Z)

    def _scores(self, points):
        """Return the reduced predictions for a tensor."""
        predict = getattr(self.estimator, "tensor_predict", None)
        members = (
            _net_predict(self.estimator, points) if predict is None else predict(points)
        )
        return members.mean(dim=0) if self.reduction == "mean" else members.amin(dim=0)


def _tensor(Z):
    torch = import_torch("Objective")
    return torch.from_numpy(np.array(Z, dtype=np.float64))


def _net_predict(net, points):
    """Return the predictions of a net of skorch as those of a single member."""
    module = net.module_.eval()
    like = next(module.parameters())
    outputs = module(points.to(dtype=like.dtype, device=like.device))
    if isinstance(outputs, tuple):
        outputs = outputs[0]
    return outputs.reshape(len(points), -1)[:, 0][None].to(points)
