# SPDX-License-Identifier: BSD-3-Clause
"""Data from linear structural equation models.

The model over ``d`` variables is ``x_j = sum_i W[i, j] x_i + z_j`` with an acyclic
weight matrix ``W`` (``W[i, j] != 0`` means ``i -> j``) and independent noise ``z_j`` of
mean 0 and variance ``v_j``. With the noise of ``n`` samples as rows of ``Z`` the data
are ``X = Z (I - W)^{-1}``, and their covariance is
``(I - W)^{-T} diag(v) (I - W)^{-1}``.
"""

from numbers import Integral, Real

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.utils import Bunch

from skpapers.datasets._graphs import (
    GRAPH_CONSTRAINTS,
    check_dag,
    check_generator,
    check_weight_range,
    draw_dag,
    draw_weights,
)
from skpapers.utils._optional import import_optional
from skpapers.utils._sklearn import Interval, StrOptions, validate_params

NOISES = ("exponential", "gaussian", "gumbel", "laplace", "uniform")
GATHER_COST = 4  # measured: an edge costs as much as four entries in a dense solve
BLOCK_SIZE = 2**20  # entries of a block of rows (8 MB), so that copies stay small

DATA_CONSTRAINTS = {
    "n_samples": [Interval(Integral, 1, None, closed="left")],
    "noise": [StrOptions(set(NOISES))],
    "noise_variance": [Interval(Real, 0, None, closed="left"), "array-like"],
    "random_state": "no_validation",  # check_generator says more
}
SAMPLE_SIZES = [Interval(Integral, 1, None, closed="left"), StrOptions({"population"})]


def draw_noise_variance(rng, noise_variance, d):
    """Return d variances; random numbers are drawn only for a range (a tuple)."""
    if isinstance(noise_variance, tuple):
        low, high = _check_variance_range(noise_variance)
        return rng.uniform(low, high, d)
    variance = np.asarray(noise_variance, dtype=np.float64)
    if variance.ndim == 0:
        variance = np.full(d, float(variance))
    if variance.shape != (d,):
        raise ValueError(
            f"noise_variance has shape {variance.shape}: it must be a number, a tuple "
            f"(low, high), or an array of {d} variances, one for each feature."
        )
    if not np.all((variance >= 0) & np.isfinite(variance)):
        raise ValueError("noise_variance must be finite and not negative.")
    return variance.copy()


def _check_variance_range(pair):
    try:
        low, high = map(float, pair)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not 0 <= low <= high < np.inf:
        raise ValueError(
            f"noise_variance={pair!r}: a tuple must be a range (low, high) with "
            "0 <= low <= high; pass the variances of the features as an array."
        )
    return low, high


def draw_noise(rng, noise, n_samples, variance):
    """Draw independent noise with mean 0 and the given variances, n x d."""
    shape = (n_samples, len(variance))
    if noise == "gaussian":
        Z = rng.standard_normal(shape)
    elif noise == "exponential":
        Z = rng.standard_exponential(shape) - 1.0
    elif noise == "laplace":
        Z = rng.laplace(0.0, np.sqrt(0.5), shape)
    elif noise == "gumbel":
        scale = np.sqrt(6.0) / np.pi
        Z = rng.gumbel(-np.euler_gamma * scale, scale, shape)
    else:
        Z = rng.uniform(-np.sqrt(3.0), np.sqrt(3.0), shape)
    Z *= np.sqrt(variance)
    return Z


def propagate(W, Z, order):
    """Return ``Z (I - W)^{-1}`` for an acyclic W with causes first in `order`."""
    with np.errstate(over="ignore", invalid="ignore"):
        is_dense = np.count_nonzero(W) * GATHER_COST > W.size / 2
        solve = _propagate_dense if is_dense else _propagate_sparse
        X = solve(W, Z, order)
    if not np.isfinite(X).all():
        raise ValueError(
            "The simulated values are too large for float64: use fewer edges, smaller "
            "weights or a smaller noise variance."
        )
    return X


def _propagate_dense(W, Z, order):
    transposed = np.eye(len(W)) - W[np.ix_(order, order)].T
    X = np.empty_like(Z)
    X[:, order] = solve_triangular(
        transposed, Z[:, order].T, lower=True, unit_diagonal=True, check_finite=False
    ).T
    return X


def _propagate_sparse(W, Z, order):
    n_samples, d = Z.shape
    parents = [(j, np.flatnonzero(W[:, j])) for j in order]
    steps = [(j, pa, W[pa, j]) for j, pa in parents if len(pa)]
    X = np.empty_like(Z)
    n_rows = max(BLOCK_SIZE // d, 256)
    for start in range(0, n_samples, n_rows):
        block = Z[start : start + n_rows].T.copy()  # a feature's values side by side
        for j, pa, weight in steps:
            block[j] += weight @ block[pa]
        X[start : start + n_rows] = block.T
    return X


def population_covariance(W, variance, order):
    """Return ``(I - W)^{-T} diag(v) (I - W)^{-1}``."""
    root = propagate(W, np.diag(np.sqrt(variance)), order)
    return root.T @ root


@validate_params(
    DATA_CONSTRAINTS | {"W": ["array-like"], "n_samples": SAMPLE_SIZES},
    prefer_skip_nested_validation=True,
)
def simulate_linear_sem(
    W,
    n_samples=1000,
    *,
    noise="gaussian",
    noise_variance=1.0,
    random_state=None,
):
    """Draw samples from a linear structural equation model with known weights.

    ``x_j = sum_i W[i, j] x_i + z_j`` with independent noise of mean 0.

    Parameters
    ----------
    W : array-like of shape (n_features, n_features)
        Weights of an acyclic graph; ``W[i, j] != 0`` means ``i -> j``.
    n_samples : int or "population", default=1000
        Number of rows; ``"population"`` asks for the exact covariance instead.
    noise : {"gaussian", "exponential", "laplace", "gumbel", "uniform"}, \
            default="gaussian"
        Distribution of the noise; each kind has mean 0 and the asked variance.
    noise_variance : float, tuple (low, high) or array-like of shape (n_features,), \
            default=1.0
        Variance of the noise, one for all or one for each feature. A tuple is a range
        from which each feature's variance is drawn uniformly; variances given one by
        one come as a list or an array.
    random_state : int, numpy.random.Generator or None, default=None
        Seed, or the generator to draw from (its stream goes on).

    Returns
    -------
    X : ndarray of shape (n_samples, n_features), dtype=float64
        The samples. With ``n_samples="population"`` the covariance
        ``(I - W)^{-T} diag(v) (I - W)^{-1}`` of shape (n_features, n_features).

    Raises
    ------
    ValueError
        If `W` is not square, not finite or has a cycle, if a variance is negative, or
        if the values overflow.

    See Also
    --------
    make_linear_sem : Draw graph, weights and data in one call.

    Notes
    -----
    O(n_samples · edges) by substitution in a causal order, or a dense triangular solve
    where there are many edges.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.datasets import simulate_linear_sem
    >>> W = np.array([[0.0, 2.0], [0.0, 0.0]])
    >>> simulate_linear_sem(W, "population", noise_variance=[1.0, 0.5])
    array([[1. , 2. ],
           [2. , 4.5]])
    >>> X = simulate_linear_sem(W, 1000, noise="laplace", random_state=0)
    >>> np.cov(X, rowvar=False).round(1)
    array([[1., 2.],
           [2., 5.]])
    """
    rng = check_generator(random_state)
    W, order = check_dag(W, "W")
    variance = draw_noise_variance(rng, noise_variance, len(W))
    if isinstance(n_samples, str):
        return population_covariance(W, variance, order)
    return propagate(W, draw_noise(rng, noise, n_samples, variance), order)


@validate_params(
    GRAPH_CONSTRAINTS
    | DATA_CONSTRAINTS
    | {
        "n_samples": SAMPLE_SIZES,
        "weight_range": [tuple, list, np.ndarray],
        "return_covariance": ["boolean"],
        "as_frame": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_linear_sem(
    n_samples=1000,
    n_features=20,
    n_edges=None,
    *,
    graph="er",
    orientation="new_to_old",
    weight_range=(0.5, 2.0),
    noise="gaussian",
    noise_variance=1.0,
    random_state=None,
    return_covariance=False,
    as_frame=False,
):
    """Draw a random linear structural equation model and samples from it.

    ``x_j = sum_i W[i, j] x_i + z_j`` over a random acyclic graph with shuffled labels.
    The two settings of the literature are

    - equal variances ("EV"): the defaults;
    - non-equal variances ("NV"): ``weight_range=(0.25, 1.0),
      noise_variance=(0.5, 10.0)``.

    Parameters
    ----------
    n_samples : int or "population", default=1000
        Number of rows. With ``"population"`` no samples are drawn, ``X`` is None and
        ``covariance`` is exact.
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
    noise : {"gaussian", "exponential", "laplace", "gumbel", "uniform"}, \
            default="gaussian"
        Distribution of the noise; each kind has mean 0 and the asked variance.
    noise_variance : float, tuple (low, high) or array-like of shape (n_features,), \
            default=1.0
        Variance of the noise, one for all or one for each feature. A tuple is a range
        from which each feature's variance is drawn uniformly; variances given one by
        one come as a list or an array.
    random_state : int, numpy.random.Generator or None, default=None
        Seed, or the generator to draw from (its stream goes on).
    return_covariance : bool, default=False
        If True, the result has the covariance of the model, too.
    as_frame : bool, default=False
        If True, ``X`` is a pandas DataFrame with columns ``x0``, ``x1``, ...

    Returns
    -------
    sem : :class:`~sklearn.utils.Bunch`
        With the attributes

        X : ndarray or DataFrame of shape (n_samples, n_features)
            The samples (not centred: the noise has mean 0, its sample has not).
        W : ndarray of shape (n_features, n_features)
            The weights; ``W[i, j] != 0`` means ``i -> j``.
        noise_variance : ndarray of shape (n_features,)
            The variances of the noise.
        order : ndarray of shape (n_features,), dtype=int64
            A causal order of the features, causes first.
        covariance : ndarray of shape (n_features, n_features)
            Covariance of the model, ``(I - W)^{-T} diag(v) (I - W)^{-1}``; only with
            `return_covariance` or ``n_samples="population"``.

    Raises
    ------
    ValueError
        If `n_edges` is too large for the graph, a range or variance is wrong, or the
        values overflow.
    ImportError
        If `as_frame` is True and pandas is not installed.

    See Also
    --------
    random_dag : The graphs.
    simulate_linear_sem : Samples for weights of one's own.
    make_nonlinear_sem : The same with sigmoid networks as mechanisms.
    make_logistic_sem : The same for 0/1 data.

    Notes
    -----
    The random numbers are drawn in an order that is part of the interface, so that
    figures can be reproduced by other programs: with ``rng = default_rng(seed)`` the
    edges are ``rng.choice(d (d - 1) / 2, size=n_edges, replace=False)`` in the list of
    the pairs ``i < j`` row by row, then come ``order = rng.permutation(d)`` (an edge
    ``i -> j`` becomes ``order[i] -> order[j]``), magnitudes
    ``rng.uniform(low, high, (d, d))``, signs ``rng.choice([-1, 1], (d, d))``, variances
    ``rng.uniform(low, high, d)`` if a range is given, and the noise
    ``rng.standard_normal((n, d))``.

    On such data the variance of a variable grows along the causal order, which gives
    much of the answer away: results on them do not carry over to data whose scales are
    arbitrary [1]_.

    O(n_samples · n_edges + d²) beside the random numbers.

    References
    ----------
    .. [1] A. G. Reisach, C. Seiler and S. Weichwald, "Beware of the Simulated DAG!
       Causal Discovery Benchmarks May Be Easy To Game", NeurIPS 2021.

    Examples
    --------
    >>> from skpapers.datasets import make_linear_sem
    >>> sem = make_linear_sem(500, 10, 20, random_state=0)
    >>> sem.X.shape, int((sem.W != 0).sum())
    ((500, 10), 20)
    >>> sem.order
    array([4, 5, 7, 6, 2, 3, 1, 9, 0, 8])
    """
    rng = check_generator(random_state)
    low, high = check_weight_range(weight_range)
    dag, order = draw_dag(rng, n_features, n_edges, graph, orientation)
    W = draw_weights(rng, dag, low, high)
    variance = draw_noise_variance(rng, noise_variance, n_features)
    sem = Bunch(X=None, W=W, noise_variance=variance, order=order)
    if return_covariance or isinstance(n_samples, str):
        sem.covariance = population_covariance(W, variance, order)
    if not isinstance(n_samples, str):
        Z = draw_noise(rng, noise, n_samples, variance)
        sem.X = as_table(propagate(W, Z, order), as_frame, "make_linear_sem")
    return sem


def as_table(X, as_frame, caller):
    """Return X, or a DataFrame of it with columns x0, x1, ..."""
    if not as_frame:
        return X
    pd = import_optional("pandas", extra="frames", needed_by=f"{caller}(as_frame=True)")
    return pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
