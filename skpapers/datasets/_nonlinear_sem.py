# SPDX-License-Identifier: BSD-3-Clause
"""Data from structural equation models that are not linear.

The variables are computed one after the other in a causal order of a random acyclic
graph: 0/1 variables from the log-odds ``sum_i W[i, j] x_i``, or real ones as
``x_j = f_j(parents of j) + z_j`` with a random network ``f_j`` for each variable.
"""

from numbers import Integral

import numpy as np
from scipy.special import expit
from sklearn.utils import Bunch

from skpapers.datasets._graphs import (
    GRAPH_CONSTRAINTS,
    check_generator,
    check_weight_range,
    draw_dag,
    draw_weights,
)
from skpapers.datasets._linear_sem import (
    DATA_CONSTRAINTS,
    as_table,
    draw_noise,
    draw_noise_variance,
)
from skpapers.utils._sklearn import Interval, validate_params

MODEL_CONSTRAINTS = GRAPH_CONSTRAINTS | {
    "n_samples": DATA_CONSTRAINTS["n_samples"],
    "weight_range": [tuple, list, np.ndarray],
    "as_frame": ["boolean"],
}


@validate_params(MODEL_CONSTRAINTS, prefer_skip_nested_validation=True)
def make_logistic_sem(
    n_samples=1000,
    n_features=20,
    n_edges=None,
    *,
    graph="er",
    orientation="new_to_old",
    weight_range=(0.5, 2.0),
    random_state=None,
    as_frame=False,
):
    """Draw a random structural equation model of 0/1 variables and samples from it.

    ``x_j`` is 1 with probability ``1 / (1 + exp(-sum_i W[i, j] x_i))``, so a variable
    without causes is a fair coin.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    n_features : int, default=20
        Number of variables ``d``.
    n_edges : int, default=None
        Number of edges. None means ``4 * n_features`` (see :func:`random_dag`).
    graph : {"er", "er_bernoulli", "sf", "bipartite"}, default="er"
        Kind of graph (see :func:`random_dag`).
    orientation : {"new_to_old", "old_to_new"}, default="new_to_old"
        Direction of the edges of a scale-free graph (see :func:`random_dag`).
    weight_range : (float, float), default=(0.5, 2.0)
        Smallest and largest magnitude of a weight; signs are equally likely.
    random_state : int, numpy.random.Generator or None, default=None
        Seed, or the generator to draw from (its stream goes on).
    as_frame : bool, default=False
        If True, ``X`` is a pandas DataFrame with columns ``x0``, ``x1``, ...

    Returns
    -------
    sem : :class:`~sklearn.utils.Bunch`
        With the attributes

        X : ndarray or DataFrame of shape (n_samples, n_features), dtype=float64
            The samples, 0.0 or 1.0.
        W : ndarray of shape (n_features, n_features)
            The weights; ``W[i, j] != 0`` means ``i -> j``.
        order : ndarray of shape (n_features,), dtype=int64
            A causal order of the features, causes first.

    Raises
    ------
    ValueError
        If `n_edges` is too large for the graph or `weight_range` is wrong.
    ImportError
        If `as_frame` is True and pandas is not installed.

    See Also
    --------
    make_linear_sem : The same for real variables.

    Notes
    -----
    O(n_samples · n_edges + d²).

    Examples
    --------
    >>> from skpapers.datasets import make_logistic_sem
    >>> sem = make_logistic_sem(500, 5, 6, random_state=0)
    >>> sem.X[0]
    array([0., 1., 0., 1., 0.])
    """
    rng = check_generator(random_state)
    low, high = check_weight_range(weight_range)
    dag, order = draw_dag(rng, n_features, n_edges, graph, orientation)
    W = draw_weights(rng, dag, low, high)
    X = rng.random((n_samples, n_features))
    for j in order:
        parents = np.flatnonzero(dag[:, j])
        X[:, j] = X[:, j] < expit(X[:, parents] @ W[parents, j])
    return Bunch(X=as_table(X, as_frame, "make_logistic_sem"), W=W, order=order)


@validate_params(
    MODEL_CONSTRAINTS
    | DATA_CONSTRAINTS
    | {"n_hidden": [Interval(Integral, 1, None, closed="left")]},
    prefer_skip_nested_validation=True,
)
def make_nonlinear_sem(
    n_samples=1000,
    n_features=20,
    n_edges=None,
    *,
    graph="er",
    orientation="new_to_old",
    n_hidden=100,
    weight_range=(0.5, 2.0),
    noise="gaussian",
    noise_variance=1.0,
    random_state=None,
    as_frame=False,
):
    """Draw a random non-linear structural equation model and samples from it.

    ``x_j = f_j(parents of j) + z_j``, where ``f_j`` is a network with one hidden layer
    of sigmoid units and random weights, and 0 for a variable without causes.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    n_features : int, default=20
        Number of variables ``d``.
    n_edges : int, default=None
        Number of edges. None means ``4 * n_features`` (see :func:`random_dag`).
    graph : {"er", "er_bernoulli", "sf", "bipartite"}, default="er"
        Kind of graph (see :func:`random_dag`).
    orientation : {"new_to_old", "old_to_new"}, default="new_to_old"
        Direction of the edges of a scale-free graph (see :func:`random_dag`).
    n_hidden : int, default=100
        Number of hidden units of each network.
    weight_range : (float, float), default=(0.5, 2.0)
        Smallest and largest magnitude of the weights of both layers; signs are equally
        likely. There are no intercepts.
    noise : {"gaussian", "exponential", "laplace", "gumbel", "uniform"}, \
            default="gaussian"
        Distribution of the noise; each kind has mean 0 and the asked variance.
    noise_variance : float, tuple (low, high) or array-like of shape (n_features,), \
            default=1.0
        Variance of the noise, as in :func:`make_linear_sem`.
    random_state : int, numpy.random.Generator or None, default=None
        Seed, or the generator to draw from (its stream goes on).
    as_frame : bool, default=False
        If True, ``X`` is a pandas DataFrame with columns ``x0``, ``x1``, ...

    Returns
    -------
    sem : :class:`~sklearn.utils.Bunch`
        With the attributes

        X : ndarray or DataFrame of shape (n_samples, n_features), dtype=float64
            The samples.
        dag : ndarray of shape (n_features, n_features), dtype=bool
            The graph; ``dag[i, j]`` is True when ``i -> j``.
        order : ndarray of shape (n_features,), dtype=int64
            A causal order of the features, causes first.
        noise_variance : ndarray of shape (n_features,)
            The variances of the noise.
        signal : ndarray of shape (n_samples, n_features)
            ``f_j(parents of j)`` for each sample, the best possible prediction of each
            variable from its causes.

    Raises
    ------
    ValueError
        If `n_edges` is too large for the graph, or a range or variance is wrong.
    ImportError
        If `as_frame` is True and pandas is not installed.

    See Also
    --------
    make_linear_sem : The same with linear mechanisms.

    Notes
    -----
    O(n_samples · n_edges · n_hidden).

    Examples
    --------
    >>> from skpapers.datasets import make_nonlinear_sem
    >>> sem = make_nonlinear_sem(500, 5, 6, random_state=0)
    >>> (sem.X - sem.signal).std(axis=0).round(1)
    array([1. , 1. , 1. , 1. , 0.9])
    """
    rng = check_generator(random_state)
    low, high = check_weight_range(weight_range)
    dag, order = draw_dag(rng, n_features, n_edges, graph, orientation)
    variance = draw_noise_variance(rng, noise_variance, n_features)
    X = draw_noise(rng, noise, n_samples, variance)
    signal = np.zeros_like(X)
    for j in order:
        parents = np.flatnonzero(dag[:, j])
        if len(parents):
            hidden = _draw_layer(rng, low, high, (len(parents), n_hidden))
            output = _draw_layer(rng, low, high, n_hidden)
            signal[:, j] = expit(X[:, parents] @ hidden) @ output
            X[:, j] += signal[:, j]
    return Bunch(
        X=as_table(X, as_frame, "make_nonlinear_sem"),
        dag=dag,
        order=order,
        noise_variance=variance,
        signal=signal,
    )


def _draw_layer(rng, low, high, shape):
    return rng.uniform(low, high, shape) * rng.choice([-1, 1], shape)
