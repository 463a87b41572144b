# SPDX-License-Identifier: BSD-3-Clause
r"""BIC of a DAG, the best DAG of a few variables, and the choice within a class.

With n rows, the score of a DAG over d variables is

.. math:: S = \sum_v n \log \hat\sigma_v^2(P_v) + \lambda \log(n) |P_v|,

:math:`P_v` the parents of v and :math:`\hat\sigma_v^2` the mean squared residual of the
regression of v on them. DAGs that are Markov equivalent have the same score. An edge
x -> y is *covered* if y has the parents of x and x itself, and no others; reversing it
leads to an equivalent DAG, and all equivalent DAGs are reached by such steps
(Chickering 1995). If the noise variances are equal, the DAG of the class in which their
sum is smallest is the one to choose.
"""

from numbers import Real

import numpy as np
from scipy.linalg import lstsq
from sklearn.utils import check_array

from skpapers.causal._base import residual_variances
from skpapers.causal._kernels.node_state import COLLINEAR
from skpapers.causal._moments import moments
from skpapers.causal._order_search import check_covariance
from skpapers.causal._sparsify import correlations, refit_ols
from skpapers.utils._graph import check_adjacency, check_same_nodes, restore_frame
from skpapers.utils._sklearn import Interval, validate_params

EXACT_MAX_FEATURES = 12
TIE = 1e-9  # relative: a smaller gain is rounding

_N_SAMPLES = [Interval(Real, 2, None, closed="left")]
_PENALTY = [Interval(Real, 0, None, closed="left")]


def bic(C, n_samples, parents, penalty):
    """Return the score S of a DAG from a covariance; see `bic_score`."""
    variances = np.diag(C)
    residual = residual_variances(C, refit_ols(C, parents))
    with np.errstate(divide="ignore"):
        fit = n_samples * np.log(np.maximum(residual, COLLINEAR * variances)).sum()
    return float(fit + penalty * np.log(n_samples) * np.count_nonzero(parents))


def _read(X, n_samples):
    """Return the covariance and the number of rows of a table or a covariance."""
    if n_samples is not None:
        C = check_covariance(X)
    else:
        X = check_array(X, dtype=np.float64, ensure_min_samples=2, input_name="X")
        n_samples, _, C = moments(X)
    if (np.diag(C) <= 0).any():
        constant = np.flatnonzero(np.diag(C) <= 0).tolist()
        raise ValueError(f"The columns {constant} are constant: drop them.")
    return C, n_samples


def _read_dag(X, dag):
    check_same_nodes(X, dag, "X", "dag")
    return check_adjacency(dag, name="dag", acyclic=True) != 0


@validate_params(
    {
        "X": ["array-like"],
        "dag": ["array-like"],
        "n_samples": [*_N_SAMPLES, None],
        "penalty": _PENALTY,
    },
    prefer_skip_nested_validation=True,
)
def bic_score(X, dag, *, n_samples=None, penalty=2.0):
    r"""Score a causal graph by the Bayesian information criterion.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The table; or, if ``n_samples`` is given, the covariance of its columns, of
        shape (n_features, n_features), with divisor ``n_samples``.
    dag : array-like of shape (n_features, n_features)
        The graph: ``dag[i, j] != 0`` means i -> j. Weights do not matter.
    n_samples : float, default=None
        Number of rows behind a covariance; None if X is a table.
    penalty : float, default=2.0
        Price :math:`\lambda` of an edge in units of log(n_samples). 1 is the textbook
        BIC, 2 is stricter.

    Returns
    -------
    float
        :math:`\sum_v n \log \hat\sigma_v^2 + \lambda \log(n) |P_v|` with the parents
        :math:`P_v` of v and the mean squared residual :math:`\hat\sigma_v^2` of least
        squares on them. Smaller is better. Markov-equivalent graphs have the same
        score; other units of the columns add the same number to all scores.

    Raises
    ------
    ValueError
        If X or the graph is no valid input, if they do not fit each other, if the graph
        has a cycle, or if a column is constant.

    See Also
    --------
    TopologicalSwap : ``loss="bic"`` looks for the graph of lowest score.
    best_bic_dag_exact : The graph of lowest score for a few variables.

    Notes
    -----
    Costs O(n d²) for a table and O(k³) for a node with k parents. A variance that is
    explained but for 1e-11 of it counts as this share.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.causal import bic_score
    >>> C = np.array([[1.0, 1.0], [1.0, 2.0]])  # x1 = x0 + noise, all of variance 1
    >>> round(bic_score(C, [[0, 1], [0, 0]], n_samples=100), 4)  # 2 log(100)
    9.2103
    >>> round(bic_score(C, [[0, 0], [1, 0]], n_samples=100), 4)  # equivalent
    9.2103
    >>> round(bic_score(C, [[0, 0], [0, 0]], n_samples=100), 4)
    69.3147
    """
    parents = _read_dag(X, dag)
    C, n_samples = _read(X, n_samples)
    return bic(C, n_samples, parents, penalty)


def _local_scores(R, n_samples, penalty):
    """Return log s[v | P] + cost |P| for all sets P (bit masks) and nodes v.

    It is infinite where v is in P, or where P has too many members for the rows. The
    conditional covariance of a set follows from that of the set without its highest
    node in O(d²).
    """
    d = len(R)
    cost = penalty * np.log(n_samples) / n_samples
    scores = np.full((1 << d, d), np.inf)
    given = np.empty((1 << d, d, d))
    for P in range(1 << d):
        size = P.bit_count()
        if P == 0:
            given[P] = R
        else:
            b = P.bit_length() - 1
            given[P] = rest = given[P ^ 1 << b]
            if rest[b, b] > COLLINEAR:
                given[P] = rest - np.outer(rest[b], rest[b] / rest[b, b])
        if size <= max(0, n_samples - 2):
            s = np.maximum(np.diag(given[P]), COLLINEAR)
            scores[P] = np.log(s) + cost * size
            scores[P, [v for v in range(d) if P >> v & 1]] = np.inf
    return scores


def _best_subsets(scores):
    """Replace the score of every set by the lowest of its subsets; return those."""
    d = scores.shape[1]
    sets = np.arange(len(scores))
    best = np.repeat(sets[:, None], d, axis=1)
    for b in range(d):
        with_b = sets[sets >> b & 1 == 1]
        lower = scores[with_b ^ 1 << b] < scores[with_b]
        scores[with_b] = np.where(lower, scores[with_b ^ 1 << b], scores[with_b])
        best[with_b] = np.where(lower, best[with_b ^ 1 << b], best[with_b])
    return best


def best_bic_parents(C, n_samples, penalty):
    """Return the parents mask of a DAG of lowest score; see `best_bic_dag_exact`."""
    d = len(C)
    scores = _local_scores(correlations(C)[0], n_samples, penalty)
    best = _best_subsets(scores)
    total = np.full(1 << d, np.inf)
    sink = np.zeros(1 << d, dtype=np.int64)
    total[0] = 0.0
    for S in range(1, 1 << d):
        for v in range(d):
            rest = S & ~(1 << v)
            if rest != S and total[rest] + scores[rest, v] < total[S]:
                total[S], sink[S] = total[rest] + scores[rest, v], v
    parents = np.zeros((d, d), dtype=bool)
    S = (1 << d) - 1
    while S:
        v = sink[S]
        S &= ~(1 << int(v))
        parents[:, v] = best[S, v] >> np.arange(d) & 1
    return parents


@validate_params(
    {"C": ["array-like"], "n_samples": _N_SAMPLES, "penalty": _PENALTY},
    prefer_skip_nested_validation=True,
)
def best_bic_dag_exact(C, n_samples, *, penalty=2.0):
    """Find a causal graph of lowest BIC among all graphs.

    Parameters
    ----------
    C : array-like of shape (n_features, n_features)
        Covariance of at most 12 variables, with divisor ``n_samples``.
    n_samples : float
        Number of rows behind it.
    penalty : float, default=2.0
        Price of an edge in units of log(n_samples), see `bic_score`.

    Returns
    -------
    dag : ndarray of shape (n_features, n_features), dtype int64
        1 where i -> j. It stands for its Markov equivalence class
        (`skpapers.metrics.dag_to_cpdag`), as all its members have the same score.
    score : float
        Its score.

    Raises
    ------
    ValueError
        If C is not square, symmetric and finite with a positive diagonal, or has more
        than 12 columns.

    See Also
    --------
    TopologicalSwap : ``loss="bic"`` searches for any number of variables.

    Notes
    -----
    Dynamic programming over subsets [1]_: O(2^d d²) operations and numbers of memory;
    about 0.2 seconds for 12 variables. A node has at most ``n_samples - 2`` parents.

    References
    ----------
    .. [1] T. Silander and P. Myllymäki, "A simple approach for finding the globally
       optimal Bayesian network structure", UAI 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.causal import best_bic_dag_exact
    >>> C = np.array([[1.0, 0, 1], [0, 1, 1], [1, 1, 3]])  # 0 -> 2 <- 1
    >>> dag, score = best_bic_dag_exact(C, n_samples=1000)
    >>> dag
    array([[0, 0, 1],
           [0, 0, 1],
           [0, 0, 0]])
    """
    C, n_samples = _read(C, n_samples)
    if len(C) > EXACT_MAX_FEATURES:
        raise ValueError(
            f"{len(C)} variables are too many for the exact search (at most "
            f"{EXACT_MAX_FEATURES}); use TopologicalSwap(loss='bic')."
        )
    parents = best_bic_parents(C, n_samples, penalty)
    return parents.astype(np.int64), bic(C, n_samples, parents, penalty)


def covered_edges(parents):
    """Return the pairs (x, y) of covered edges x -> y, one a row."""
    edges = np.argwhere(parents)
    differ = parents[:, edges[:, 0]] != parents[:, edges[:, 1]]
    return edges[differ.sum(axis=0) == 1]


def reverse_edge(parents, x, y):
    """Return the mask with x -> y turned around."""
    parents = parents.copy()
    parents[x, y], parents[y, x] = False, True
    return parents


def orient_by_variances(C, parents):
    """Return the mask of an equivalent DAG with a smaller sum of noise variances.

    Each round reverses the covered edge that lowers the sum most, until none does. Only
    the variances of the two nodes of an edge change, and their product stays.
    """
    R, scale = correlations(C)
    variances = residual_variances(C, refit_ols(C, parents))
    while True:
        best, lowest = None, -TIE * variances.sum()
        for x, y in covered_edges(parents):
            P = np.flatnonzero(parents[:, x])
            gain = lstsq(R[np.ix_(P, P)], R[P, y], cond=1e-10)[0] if len(P) else 0.0
            y_first = scale[y] ** 2 * max(1 - np.sum(R[P, y] * gain), COLLINEAR)
            x_last = variances[x] * variances[y] / y_first
            change = y_first + x_last - variances[x] - variances[y]
            if change < lowest:
                best, lowest = (x, y, x_last, y_first), change
        if best is None:
            return parents
        x, y, variances[x], variances[y] = best
        parents = reverse_edge(parents, x, y)


@validate_params(
    {"X": ["array-like"], "dag": ["array-like"], "n_samples": [*_N_SAMPLES, None]},
    prefer_skip_nested_validation=True,
)
def orient_equal_variance(X, dag, *, n_samples=None):
    r"""Choose the graph of a Markov equivalence class by equal noise variances.

    If the noise variances are equal in the units of the columns, the true graph has the
    smallest sum of residual variances in its class. Starting from one member, covered
    edges are reversed while this lowers the sum.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The table; or, if ``n_samples`` is given, the covariance of its columns, of
        shape (n_features, n_features).
    dag : array-like of shape (n_features, n_features)
        A member of the class: ``dag[i, j] != 0`` means i -> j.
    n_samples : float, default=None
        Number of rows behind a covariance; None if X is a table.

    Returns
    -------
    ndarray of shape (n_features, n_features), dtype int64
        1 where i -> j: an equivalent graph with the same skeleton. A data frame if
        ``dag`` is one.

    Raises
    ------
    ValueError
        If X or the graph is no valid input, if they do not fit each other, if the graph
        has a cycle, or if a column is constant.

    See Also
    --------
    TopologicalSwap : ``loss="squared"`` uses equal variances in the search itself,
        which finds better graphs if they really are equal.
    skpapers.metrics.cpdag_to_dag : A member of the class of a CPDAG.

    Notes
    -----
    A hill climb: an error of the skeleton cannot be undone, and a local minimum is
    possible. Each round costs O(k³) for each covered edge.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.causal import orient_equal_variance
    >>> C = np.array([[1.0, 2.0], [2.0, 5.0]])  # x1 = 2 x0 + noise of variance 1
    >>> orient_equal_variance(C, [[0, 0], [1, 0]], n_samples=1000)
    array([[0, 1],
           [0, 0]])
    """
    parents = _read_dag(X, dag)
    C, _ = _read(X, n_samples)
    return restore_frame(orient_by_variances(C, parents).astype(np.int64), dag)
