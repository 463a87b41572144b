# SPDX-License-Identifier: BSD-3-Clause
"""Sufficient statistics of a table: n, mean and covariance, in one pass or in parts.

For weights w the moments are n = Σ w, mean = Σ w x / n and
C = Σ w (x - mean)(x - mean)ᵀ / n, so a weight of two is a row that stands twice. Those
of two tables a and b together are

    mean = mean_a + (n_b / n) δ,    C = (n_a C_a + n_b C_b) / n + (n_a n_b / n²) δδᵀ,

with n = n_a + n_b and δ = mean_b - mean_a (Chan, Golub and LeVeque 1979).
"""

import numpy as np

from skpapers.utils._array_api import array_namespace, is_numpy_array, to_numpy

_CHUNK_ENTRIES = 1 << 22  # rows are centred in pieces of 32 MB


def moments(X, weight=None):
    """Return n, the column means and the covariance, in float64 NumPy.

    The n d² operations run in the library and on the device of X.

    Parameters
    ----------
    X : array of shape (n_samples, d)
        The table.
    weight : array of shape (n_samples,), default=None
        Non-negative weights that are not all zero, of the library of X; None stands
        for ones.

    Returns
    -------
    n : float
        Sum of the weights.
    mean : ndarray of shape (d,)
        Means of the columns.
    covariance : ndarray of shape (d, d)
        Covariance with divisor n.
    """
    xp = array_namespace(X)
    parts = _parts(X)
    n = float(X.shape[0] if weight is None else xp.sum(weight))

    def rows(part):
        block = xp.astype(X[part, :], xp.float64, copy=False)
        # one memory order, so that frames and arrays give the same last bit
        return np.ascontiguousarray(block) if is_numpy_array(block) else block

    total = 0.0
    for part in parts:
        block = rows(part)
        total = total + xp.sum(
            block if weight is None else weight[part, None] * block, axis=0
        )
    mean = total / n
    scatter = 0.0
    for part in parts:
        centred = rows(part) - mean
        other = centred if weight is None else weight[part, None] * centred
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks for it
            scatter = scatter + centred.T @ other
    return n, to_numpy(mean), to_numpy(scatter) / n


def mean_kurtosis(X, weight, mean, W, std):
    """Return the mean over the columns of the kurtosis of what their parents leave.

    Parameters
    ----------
    X : array of shape (n_samples, d)
        The table.
    weight : array of shape (n_samples,) or None
        Its weights, as for `moments`.
    mean : ndarray of shape (d,)
        Means of the columns.
    W : ndarray of shape (d, d)
        Weights of the edges.
    std : ndarray of shape (d,)
        Standard deviations of the residuals.

    Returns
    -------
    float
        Fourth moment of the residuals (X - mean)(I - W) in units of ``std``: 3 for a
        normal distribution, 9 for an exponential one.
    """
    left_over = (np.eye(len(W)) - W) / std
    total = n = 0.0
    for part in _parts(X):
        Z = (to_numpy(X[part, :]).astype(np.float64) - mean) @ left_over
        w = np.ones(len(Z)) if weight is None else to_numpy(weight[part])
        total += float(w @ (Z**4).mean(axis=1))
        n += float(w.sum())
    return float(np.clip(total / n, 1.0, max(n, 1.0)))  # bounds of any n numbers


def _parts(X):
    """Return slices of rows that make up X."""
    n_rows, d = X.shape
    step = max(1, _CHUNK_ENTRIES // d)
    return [slice(i, min(i + step, n_rows)) for i in range(0, n_rows, step)]


def merge_moments(a, b):
    """Return the moments of two tables together.

    Parameters
    ----------
    a, b : tuple
        Their n, mean and covariance.

    Returns
    -------
    tuple
        n, mean and covariance of all rows.
    """
    (n_a, mean_a, C_a), (n_b, mean_b, C_b) = a, b
    n = n_a + n_b
    delta = mean_b - mean_a
    share = n_b / n
    C = C_a + share * (C_b - C_a) + (1 - share) * share * np.outer(delta, delta)
    return n, mean_a + share * delta, C
