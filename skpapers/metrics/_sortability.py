# SPDX-License-Identifier: BSD-3-Clause
"""Sortability: how far a score of single columns gives the causal order away.

A score s_j of each column, such as its variance, is compared with a DAG: over
all lengths l and all pairs (i, j) with a directed walk of exactly l edges from
i to j, the agreement is the mean of 1 if s_i < s_j, 1/2 if they are equal and 0
otherwise. Values near 1 mean that sorting by the score solves the task, 1/2
that it tells nothing, and values near 0 that it gives the reversed order.
"""

import numpy as np
from sklearn.utils import check_array

from skpapers.metrics._cpdag import check_dag
from skpapers.metrics._kernels import count_walk_lengths
from skpapers.metrics._sid import compress_rows
from skpapers.utils._graph import (
    check_nonnegative,
    check_same_nodes,
    edge_list,
    kahn,
)


def _agreement(scores, dag, tol):
    """Order agreement of valid scores with a valid DAG."""
    counts = count_walk_lengths(kahn(*edge_list(dag), len(dag)), *compress_rows(dag.T))
    total = counts.sum()
    if total == 0:
        return np.nan
    size = np.abs(scores)
    gap = scores[None, :] - scores[:, None]
    equal = np.abs(gap) <= tol * np.maximum(size[None, :], size[:, None])
    return float((counts * np.where(equal, 0.5, gap > 0)).sum() / total)


def _check_table(X, W, tol):
    """Validate data, graph and tolerance; X becomes float64."""
    tol = check_nonnegative(tol, "tol")
    values = check_array(X, dtype=np.float64, ensure_min_samples=2, input_name="X")
    dag = check_dag(W, "W")
    check_same_nodes(X, W, "X", "W")
    return values, dag, tol


def _scaled(values, axis=None):
    """Divide by the largest absolute value, so that squares stay in range."""
    size = np.abs(values).max(axis=axis)
    return values / np.where(size > 0, size, 1)


def _unexplained_fractions(X):
    """Return 1 - R**2 of each column given all others; 1 for constant columns.

    With the singular value decomposition U diag(s) V' of the standardised
    columns, the inverse correlation matrix has the diagonal
    sum_k (V_jk / s_k)**2, and 1 - R_j**2 is one over it. A column with a part
    in the null space (s_k = 0) is a combination of the others: 0.
    """
    X = _scaled(X, axis=0)
    X = X - X.mean(axis=0)
    norm = np.linalg.norm(X, axis=0)
    eps = np.finfo(np.float64).eps
    varies = norm > 10 * eps * np.sqrt(len(X))
    fractions = np.ones(X.shape[1])
    if not varies.any():
        return fractions
    Z = X[:, varies] / norm[varies]
    if len(Z) > Z.shape[1]:
        Z = np.linalg.qr(Z, mode="r")
    _, s, Vt = np.linalg.svd(Z, full_matrices=False)
    full = s > s[0] * max(X.shape) * eps
    V, s = Vt[full].T, s[full]
    in_null_space = 1 - (V**2).sum(axis=1)
    inside = 1 / ((V / s) ** 2).sum(axis=1)
    fractions[varies] = np.where(in_null_space > 1e-10, 0.0, inside)
    return fractions


def order_agreement(scores, W, tol=1e-6):
    """Compare the order of scores with the order of a DAG.

    Over all lengths l = 1, ..., d - 1 and all ordered pairs (i, j) with a
    directed walk of exactly l edges from i to j, the mean of 1 if
    ``scores[i] < scores[j]``, 1/2 if they are equal, and 0 otherwise. A pair
    with walks of several lengths counts once for each length.

    Parameters
    ----------
    scores : array-like of shape (n_nodes,)
        A number for each node, expected to grow along the edges.

    W : array-like or DataFrame of shape (n_nodes, n_nodes)
        The DAG: weights, 0/1 or booleans; a non-zero ``W[i, j]`` is the edge
        i -> j.

    tol : float, default=1e-6
        Scores a and b are equal if ``abs(a - b) <= tol * max(abs(a), abs(b))``.

    Returns
    -------
    agreement : float
        Between 0 and 1; NaN for a graph without edges.

    Raises
    ------
    ValueError
        If the graph has a cycle, if the lengths do not match, if `tol` is
        negative, or if there are values that are not finite.

    See Also
    --------
    variance_sortability : Agreement of the variances.
    r2_sortability : Agreement of the coefficients of determination.

    Notes
    -----
    The set of walk lengths of a pair is held as bits: for d nodes, e edges and
    a longest path of m edges it takes O(d e m / 64) and O(d**2) memory.

    References
    ----------
    .. [1] A. G. Reisach, C. Seiler and S. Weichwald, "Beware of the simulated
       DAG! Causal discovery benchmarks may be easy to game", NeurIPS 2021.

    Examples
    --------
    The pairs (0, 1) and (0, 2) of the chain are in order, (1, 2) is not:

    >>> from skpapers.metrics import order_agreement
    >>> chain = [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    >>> round(order_agreement([1.0, 2.0, 1.5], chain), 4)
    0.6667
    """
    tol = check_nonnegative(tol, "tol")
    dag = check_dag(W, "W")
    values = check_array(
        scores, ensure_2d=False, dtype=np.float64, allow_nd=True, input_name="scores"
    )
    if values.shape != (len(dag),):
        raise ValueError(
            f"scores must have shape ({len(dag)},), one for each node of W, got "
            f"{values.shape}."
        )
    return _agreement(_scaled(values), dag, tol)


def variance_sortability(X, W, tol=1e-6):
    """Tell how well the variances of the columns reveal the causal order.

    The order agreement (see `order_agreement`) of the variances with the true
    graph. Simulated data often have values near 1, because the variance grows
    along the edges: methods that depend on the scale of the columns then have
    an easy task. Standardised columns give exactly 1/2.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_samples, n_nodes)
        The data, at least two rows.

    W : array-like or DataFrame of shape (n_nodes, n_nodes)
        The true DAG: weights, 0/1 or booleans; a non-zero ``W[i, j]`` is the
        edge i -> j.

    tol : float, default=1e-6
        Two variances are equal if they differ by no more than this fraction of
        the larger one. With 0 the rounding of standardised columns decides.

    Returns
    -------
    sortability : float
        Between 0 and 1; NaN for a graph without edges.

    Raises
    ------
    ValueError
        If the graph has a cycle, if the shapes or column names do not match, if
        `tol` is negative, or if there are values that are not finite.

    See Also
    --------
    r2_sortability : The same for a score without units.

    Notes
    -----
    O(n d) for the variances of n rows and d columns, and the cost of
    `order_agreement`. A common factor of all columns changes nothing.

    References
    ----------
    .. [1] A. G. Reisach, C. Seiler and S. Weichwald, "Beware of the simulated
       DAG! Causal discovery benchmarks may be easy to game", NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.metrics import variance_sortability
    >>> rng = np.random.default_rng(0)
    >>> cause = rng.normal(size=1000)
    >>> X = np.column_stack([cause, 2 * cause + rng.normal(size=1000)])
    >>> variance_sortability(X, [[0, 1], [0, 0]])
    1.0
    >>> variance_sortability(X / X.std(axis=0), [[0, 1], [0, 0]])
    0.5
    """
    X, dag, tol = _check_table(X, W, tol)
    return _agreement(_scaled(X).var(axis=0), dag, tol)


def r2_sortability(X, W, tol=1e-6):
    """Tell how well the predictability of the columns reveals the causal order.

    The order agreement (see `order_agreement`) with the true graph of R**2, the
    fraction of the variance of each column that a linear regression on all
    other columns explains. It does not depend on the units: standardising the
    columns changes nothing.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_samples, n_nodes)
        The data, at least two rows. With no more rows than columns the
        regression explains everything, and the result is 1/2.

    W : array-like or DataFrame of shape (n_nodes, n_nodes)
        The true DAG: weights, 0/1 or booleans; a non-zero ``W[i, j]`` is the
        edge i -> j.

    tol : float, default=1e-6
        Two values are equal if the unexplained fractions 1 - R**2 differ by no
        more than this fraction of the larger one.

    Returns
    -------
    sortability : float
        Between 0 and 1; NaN for a graph without edges.

    Raises
    ------
    ValueError
        If the graph has a cycle, if the shapes or column names do not match, if
        `tol` is negative, or if there are values that are not finite.

    See Also
    --------
    variance_sortability : The same for the variances.

    Notes
    -----
    O(n d**2) for n rows and d columns, and the cost of `order_agreement`. A
    column that is a linear combination of others has R**2 = 1, a constant one
    counts as R**2 = 0.

    References
    ----------
    .. [1] A. G. Reisach, M. Tami, C. Seiler, A. Chambaz and S. Weichwald, "A
       scale-invariant sorting criterion to find a causal order in additive
       noise models", NeurIPS 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.metrics import r2_sortability
    >>> rng = np.random.default_rng(0)
    >>> a, b, noise = rng.normal(size=(3, 1000))
    >>> X = np.column_stack([a, b, a + b + 0.5 * noise])
    >>> r2_sortability(X, [[0, 0, 1], [0, 0, 1], [0, 0, 0]])
    1.0
    """
    X, dag, tol = _check_table(X, W, tol)
    # The sign makes it grow with R**2; 1 - R**2 keeps its digits near R**2 = 1.
    return _agreement(-_unexplained_fractions(X), dag, tol)
