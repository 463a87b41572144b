# SPDX-License-Identifier: BSD-3-Clause
r"""Losses of targets z with what the target surrogate has to know of them.

A loss is called as ``loss(z, rows)`` and returns its value, a mean over the rows, and
the gradient of this value by z. ``smoothness`` is the constant L and ``metric(rows)``
the row weights h for which the surrogate with eta = 1/L lies above the loss:

.. math:: \nabla^2_z \ell \preceq (L / b) \operatorname{diag}(h).

For a mean of losses of single rows h are the sample weights. Sample weights have mean
one over the whole table.
"""

import numpy as np
from scipy.special import expit, log_expit, log_softmax

BLOCK = 2**19  # pairs of scores that are handled at once: they stay in the cache

__all__ = ["HuberLoss", "LogLoss", "PairwiseLoss", "SoftmaxLoss", "SquaredLoss"]


class _RowLoss:
    """A mean of losses of single rows; a subclass gives value and slope of each."""

    def __init__(self, y, sample_weight=None):
        self.y = y
        self.sample_weight = sample_weight

    def metric(self, rows):
        """Return the row weights of the surrogate, None for ones."""
        return None if self.sample_weight is None else self.sample_weight[rows]

    def __call__(self, z, rows):
        """Return the value and its gradient by z."""
        values, slopes = self._rows(z, self.y[rows])
        weight = self.metric(rows)
        if weight is not None:
            values = weight * values
            slopes = (weight if z.ndim == 1 else weight[:, None]) * slopes
        return float(np.mean(values)), slopes / len(z)

    def value(self, z, rows):
        """Return the value alone."""
        return self(z, rows)[0]


class LogLoss(_RowLoss):
    """log(1 + exp(z)) - y z with y of 0 and 1."""

    smoothness = 0.25

    def _rows(self, z, y):
        return np.where(y > 0, -log_expit(z), -log_expit(-z)), expit(z) - y


class SoftmaxLoss(_RowLoss):
    """Cross-entropy of the softmax of z (n, K) with labels y of 0 .. K - 1."""

    smoothness = 0.5

    def _rows(self, z, y):
        log_p = log_softmax(z, axis=1)
        slopes = np.exp(log_p)
        own = np.arange(len(y)), y
        slopes[own] -= 1
        return -log_p[own], slopes


class SquaredLoss(_RowLoss):
    """Half the squared distance of z and y, summed over the outputs."""

    smoothness = 1.0

    def _rows(self, z, y):
        r = z - y
        return 0.5 * (r * r if r.ndim == 1 else np.einsum("ij,ij->i", r, r)), r


class HuberLoss(_RowLoss):
    """Squared up to residuals of delta, linear beyond; summed over the outputs."""

    smoothness = 1.0

    def __init__(self, y, sample_weight=None, *, delta=1.35):
        super().__init__(y, sample_weight)
        self.delta = delta

    def _rows(self, z, y):
        r = z - y
        slopes = np.clip(r, -self.delta, self.delta)
        values = slopes * (r - 0.5 * slopes)
        return values if r.ndim == 1 else values.sum(axis=1), slopes


class PairwiseLoss:
    r"""Mean of log(1 + exp(z_j - z_i)) over the pairs of positive i and negative j.

    A smooth stand-in for one minus the area under the ROC curve; it costs O(n₊ n₋). The
    Hessian is a Laplacian of the complete bipartite graph with edge weights of at most
    a quarter, so it lies below half the diagonal of the degrees, 1/n₊ and 1/n₋: these
    are the row weights, up to the factor b.
    """

    smoothness = 0.5

    def __init__(self, y, sample_weight=None):
        self.y = np.asarray(y)
        n = len(self.y)
        self.sample_weight = np.ones(n) if sample_weight is None else sample_weight

    def metric(self, rows):
        """Return b w_i / (sum of the weights of the class of i)."""
        positive, w = self.y[rows] > 0, self.sample_weight[rows]
        total = np.where(positive, w[positive].sum(), w[~positive].sum())
        return len(w) * w / total

    def __call__(self, z, rows):
        """Return the value and its gradient by z."""
        positive, w = self.y[rows] > 0, self.sample_weight[rows]
        up, down = np.flatnonzero(positive), np.flatnonzero(~positive)
        gradient = np.zeros_like(z)
        total = w[up].sum() * w[down].sum()
        if total == 0:  # a batch of one class has no pairs
            return 0.0, gradient
        value, low, w_low = 0.0, z[down], w[down] / total
        step = max(1, BLOCK // len(down))
        for start in range(0, len(up), step):
            block = up[start : start + step]
            gap = z[block, None] - low
            value -= w[block] @ (log_expit(gap) @ w_low)
            wrong = expit(-gap)
            gradient[block] = -w[block] * (wrong @ w_low)
            gradient[down] += w_low * (w[block] @ wrong)
        return float(value), gradient

    def value(self, z, rows):
        """Return the value alone."""
        return self(z, rows)[0]
