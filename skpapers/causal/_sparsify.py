# SPDX-License-Identifier: BSD-3-Clause
r"""Sparse graphs along a causal order, from a covariance matrix.

Given an order of the d variables, the edges of a DAG are chosen node by node among the
earlier variables. Two ways:

``"bic_l0"``
    The parents P of v minimise :math:`n \log \hat\sigma^2_v(P) + \lambda \log(n) |P|`
    over steps that add or remove one parent, from the empty set (forward) and from all
    predecessors (backward); :math:`\hat\sigma^2_v` is the mean squared residual. The
    penalty :math:`\lambda = 1` is the textbook BIC; the default 2 is stricter. The
    weights are the least-squares coefficients. [1]_

``"adaptive_lasso"``
    Least squares on all predecessors gives a weight :math:`|a_i|` each, then a lasso
    with the penalty :math:`\sum_i |w_i| / |a_i|`, whose strength is chosen by the BIC
    (noise variance of the full regression, as in `sklearn.linear_model.LassoLarsIC`).
    The weights are the lasso's own, a little shrunken. [2]_, [3]_

Both work on the correlation matrix, so the graph does not depend on the units of the
columns; the weights are in the units of the given covariance.

References
----------
.. [1] Margaritis (2003). Learning Bayesian network model structure from data.
.. [2] Zou (2006). The adaptive lasso and its oracle properties. JASA 101.
.. [3] Reisach, Seiler, Weichwald (2021). Beware of the simulated DAG! NeurIPS 34.
"""

from warnings import warn

import numpy as np
from scipy.linalg import lstsq
from scipy.linalg.lapack import dpstrf
from sklearn.exceptions import ConvergenceWarning

from skpapers.causal._kernels.sparsify import (
    adaptive_lasso,
    least_squares,
    sparse_parents,
)

BACKWARD_MAX_FEATURES = 300  # the backward search costs O(d^4) in all


def correlations(C):
    """Return the correlation matrix and the standard deviations.

    A column of variance zero gets deviation 1 and correlations 0.
    """
    scale = np.sqrt(np.diag(C))
    scale[scale == 0] = 1.0
    R = C / scale / scale[:, None]
    np.fill_diagonal(R, 1.0)
    return R, scale


def refit_ols(C, support):
    """Fit every variable by least squares on its parents.

    Parameters
    ----------
    C : ndarray of shape (d, d)
        Covariance.
    support : bool ndarray of shape (d, d)
        ``support[i, j]``: i is a parent of j.

    Returns
    -------
    ndarray of shape (d, d)
        Weights, zero outside the support. Collinear parents share the effect: the
        solution of least norm in units of their standard deviations.

    Notes
    -----
    Costs O(k³) for a node with k parents.
    """
    R, scale = correlations(C)
    parents = np.ascontiguousarray(np.asarray(support, dtype=bool).T)
    B, solved = least_squares(R, parents)
    for v in np.flatnonzero(~solved):
        P = np.flatnonzero(parents[v])
        B[v, P] = lstsq(R[np.ix_(P, P)], R[P, v], cond=1e-10)[0]
    return B.T * scale / scale[:, None]


def sparsify(
    C,
    n_samples,
    order,
    method="bic_l0",
    *,
    penalty=2.0,
    max_parents=None,
    allowed=None,
    required=None,
):
    """Learn a sparse weighted DAG that agrees with a causal order.

    Parameters
    ----------
    C : ndarray of shape (d, d)
        Covariance with divisor ``n_samples``.
    n_samples : float
        Number of rows behind ``C``, or the sum of their weights.
    order : ndarray of shape (d,)
        Permutation of the variables, causes first.
    method : {"bic_l0", "adaptive_lasso"}, default="bic_l0"
        How edges are chosen, see the notes.
    penalty : float, default=2.0
        Price of an edge in units of log(n_samples) for "bic_l0"; 1 is the textbook BIC.
    max_parents : int, default=None
        Largest number of parents of a node for "bic_l0". A node never gets more than
        ``n_samples - 2`` parents.
    allowed : bool ndarray of shape (d, d), default=None
        ``allowed[i, j]``: i may be a parent of j. None allows all.
    required : bool ndarray of shape (d, d), default=None
        ``required[i, j]``: i is a parent of j whatever the data say.

    Returns
    -------
    ndarray of shape (d, d)
        Weights W, ``W[i, j] != 0`` means i -> j, in the units of ``C``.

    Raises
    ------
    ValueError
        If ``order`` is no permutation, or if a required edge is not allowed or points
        against the order.

    Warns
    -----
    ConvergenceWarning
        If ``max_parents`` kept nodes from parents that lower their score.

    Notes
    -----
    "bic_l0" searches forward and backward up to 300 variables, if there are more rows
    than variables, and costs O(d⁴ / 24) multiplications at most; else it only searches
    forward, in O(d² k) for a mean number of k parents. Of both results each node
    takes the one with the lower local score.

    "adaptive_lasso" keeps the lasso's weights; a node whose required parents the lasso
    does not choose is fitted by least squares. With fewer rows than predecessors there
    is no full regression; it then starts from the n / log(n) predecessors that a greedy
    forward selection finds first.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.causal._sparsify import sparsify
    >>> W = np.array([[0, 2.0, 0], [0, 0, -1.0], [0, 0, 0]])
    >>> effects = np.linalg.inv(np.eye(3) - W)
    >>> C = effects.T @ effects  # of x = x W + z with unit noise
    >>> sparsify(C, 1000, order=[0, 1, 2]).round(6) + 0.0
    array([[ 0.,  2.,  0.],
           [ 0.,  0., -1.],
           [ 0.,  0.,  0.]])
    """
    order = _check_order(order, len(C))
    usable, required = _masks_by_position(order, allowed, required)
    R, scale = correlations(C)
    R = np.ascontiguousarray(R[np.ix_(order, order)])
    if method == "adaptive_lasso":
        B = adaptive_lasso(R, usable, float(n_samples))
        support = B != 0
        refit = (required & ~support).any(axis=1)
        support = (support | required) & refit[:, None]
    else:
        support = _bic_parents(R, n_samples, usable, required, penalty, max_parents)
        B, refit = np.zeros_like(R), np.ones(len(R), dtype=bool)
    if refit.any():
        B[refit] = refit_ols(R, support.T).T[refit]
    W = np.empty_like(B)
    W[np.ix_(order, order)] = B.T
    return W * scale / scale[:, None]


def _bic_parents(R, n_samples, usable, required, penalty, max_parents):
    """Return the parents of each node, with a warning if their number was capped."""
    d = len(R)
    # More parents than this leave no residual: rounding would choose among them. The
    # rank counts the distinct rows, n_samples may count repetitions and weights.
    limit = max(0, min(d - 1, int(n_samples) - 2, _rank(R) - 1))
    cap = limit if max_parents is None else min(limit, max_parents)
    backward = d <= BACKWARD_MAX_FEATURES and n_samples > d
    support, capped = sparse_parents(
        R,
        usable,
        required,
        penalty * np.log(n_samples) / n_samples,
        cap,
        backward,
    )
    if capped.any() and cap < limit:
        warn(
            f"{capped.sum()} nodes reached {cap} parents although more would lower "
            f"their score: raise max_parents or penalty={penalty}.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return support


def _rank(R):
    """Return the numerical rank, by pivoted Cholesky."""
    return int(dpstrf(R, tol=1e-12, lower=1)[2])


def _check_order(order, d):
    order = np.asarray(order, dtype=np.int64)
    if order.shape != (d,) or not np.array_equal(np.sort(order), np.arange(d)):
        raise ValueError(f"order must be a permutation of 0..{d - 1}, got {order}.")
    return order


def _masks_by_position(order, allowed, required):
    """Return both masks as (node, parent), numbered by position in the order."""
    d = len(order)
    earlier = np.tri(d, k=-1, dtype=bool)

    def by_position(mask):
        mask = np.asarray(mask, dtype=bool)
        if mask.shape != (d, d):
            raise ValueError(f"masks must have shape ({d}, {d}), got {mask.shape}.")
        return np.ascontiguousarray(mask[np.ix_(order, order)].T)

    usable = earlier if allowed is None else earlier & by_position(allowed)
    required = np.zeros_like(usable) if required is None else by_position(required)
    wrong = np.argwhere(required & ~usable)
    if len(wrong):
        target, source = order[wrong[0]]
        raise ValueError(
            f"The required edge {source} -> {target} is not allowed or points against "
            "the order."
        )
    return usable, required
