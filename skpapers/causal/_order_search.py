# SPDX-License-Identifier: BSD-3-Clause
"""Searches over causal orders on a covariance.

Every order of d nodes with covariance C has a best weighted adjacency, the regression
of each node on all its predecessors, and a score

    Q = sum_k phi(v_k),    phi(x) = x / 2 ("squared")  or  sqrt(x) ("sum_std"),

with the residual variances v_k. An order of small Q is found by moving nodes, from the
Cholesky state (R, U, v) of `skpapers.causal._kernels.order`, where the formulas stand:

- `search_order` sweeps over the nodes and takes the best insertion or exchange of each;
- `search_paper` exchanges those pairs whose reverse edge closes only weak cycles;
- `best_order_exact` looks at all orders of a few nodes.
"""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy.linalg import expm
from scipy.linalg.lapack import dtrtri

from skpapers.causal._kernels import order as kernels
from skpapers.utils._sklearn import StrOptions, validate_params

LOSSES = {"squared": kernels.SQUARED, "sum_std": kernels.SUM_STD}
SWEEPS = {
    "insertion": (kernels.insertion_sweep,),
    "exchange": (kernels.exchange_sweep,),
    "both": (kernels.insertion_sweep, kernels.exchange_sweep),
}
MAX_DRIFT = 1e-9
EXACT_MAX_NODES = 20


class OrderState:
    """An order with its Cholesky state; the kernels change all arrays in place.

    Attributes
    ----------
    order : int64 ndarray of shape (d,)
        Nodes, causes first.
    arrays : tuple
        R, U and the residual variances v by position.
    """

    def __init__(self, C, order):
        self.C = C
        self.order = np.array(order, dtype=np.int64)
        self.refresh()

    def refresh(self):
        """Compute the state from scratch, O(d³)."""
        self.arrays = kernels.factor(self.C, self.order)
        self.is_fresh = True

    @property
    def has_drifted(self):
        """Whether C = R Rᵀ and I = R Uᵀ fail on the diagonal, at a look in O(d²)."""
        R, U, _ = self.arrays
        variances = np.einsum("ij,ij->i", R, R) / np.diag(self.C)
        identity = np.einsum("ij,ij->i", R, U)
        return max(np.abs(variances - 1).max(), np.abs(identity - 1).max()) > MAX_DRIFT

    def score(self, loss):
        """Return Q."""
        variances = self.arrays[2]
        if loss == kernels.SUM_STD:
            return float(np.sqrt(variances).sum())
        return float(variances.sum() / 2)

    def weights(self):
        """Return the adjacency of all regressions on predecessors, W[i, j]: i -> j."""
        _, U, variances = self.arrays
        W = np.empty_like(self.C)
        W[:, self.order] = -U * np.sqrt(variances)
        np.fill_diagonal(W, 0.0)
        return W


@dataclass
class OrderSearch:
    """What a search comes back with.

    Attributes
    ----------
    state : OrderState
        Best order found, freshly factored.
    history : list of float
        Score at the start and after each accepted move.
    n_iter : int
        Number of sweeps.
    converged : bool
        Whether the search ended by itself.
    n_large_used : int
        How often the large candidate set helped.
    """

    state: OrderState
    history: list = field(default_factory=list)
    n_iter: int = 0
    converged: bool = False
    n_large_used: int = 0


def search_order(C, order, *, loss, sweeps, tol, max_iter):
    """Sweep through neighbourhoods until none of them improves the order.

    Parameters
    ----------
    C : ndarray of shape (d, d)
        Positive definite covariance.
    order : ndarray of shape (d,)
        Start.
    loss : int
        Code of phi.
    sweeps : tuple of kernels
        Neighbourhoods, the cheapest first; a later one is searched when the earlier
        ones have nothing to offer.
    tol : float
        Moves must lower Q by more than this fraction.
    max_iter : int
        Largest number of sweeps.

    Returns
    -------
    OrderSearch
        Its order is a local minimum of all neighbourhoods if it converged.
    """
    state = OrderState(C, order)
    search = OrderSearch(state, [state.score(loss)])
    scores = np.empty(len(C))
    level = 0
    while level < len(sweeps) and search.n_iter < max_iter:
        n_moves = sweeps[level](
            state.order, *state.arrays, loss, search.history[-1], tol, scores
        )
        search.n_iter += 1
        search.history += scores[:n_moves].tolist()
        if n_moves:
            level, state.is_fresh = 0, False
        elif state.is_fresh:
            level += 1
        if not state.is_fresh and (n_moves == 0 or state.has_drifted):
            state.refresh()
    search.converged = level == len(sweeps)
    if not state.is_fresh:
        state.refresh()
    return search


def _walks_logdet(B):
    # (I - B)⁻¹: all walks, each with the product of its weights
    return dtrtri(np.eye(len(B)) - B, lower=0, unitdiag=1)[0]


def _walks_binomial(B):
    d = len(B)
    return np.linalg.matrix_power(np.eye(d) + B / d, d - 1)


ACYCLICITY = {"logdet": _walks_logdet, "expm": expm, "binomial": _walks_binomial}


def walk_weights(W, order, acyclicity="logdet"):
    """Return the gradient of an acyclicity function h, transposed and by position.

    Parameters
    ----------
    W : ndarray of shape (d, d)
        Adjacency that agrees with ``order``.
    order : ndarray of shape (d,)
        Nodes, causes first.
    acyclicity : {"logdet", "expm", "binomial"}, default="logdet"
        h = -log det(I - |W|), tr exp |W| or tr (I + |W| / d)^d.

    Returns
    -------
    ndarray of shape (d, d)
        Entry (p, q) is the total weight in h of the walks from the p-th to the q-th
        node, that is of the cycles which an edge of weight 1 back would close.
    """
    B = np.abs(W[np.ix_(order, order)])
    with np.errstate(over="ignore", invalid="ignore"):
        walks = ACYCLICITY[acyclicity](B)
    return np.nan_to_num(walks, nan=np.inf, posinf=np.inf)


def weakest_pairs(walks, size):
    """Mark the ``size`` pairs p < q of positions with the weakest walks, and ties."""
    later = np.triu(np.ones(walks.shape, dtype=bool), k=1)
    values = walks[later]
    return later & (walks <= np.partition(values, size - 1)[size - 1])


def disjoint_moves(pairs, changes):
    """Take moves greedily, best first, whose position intervals do not meet.

    The changes of the score of disjoint intervals add up exactly.
    """
    taken = np.zeros(pairs.max(initial=0) + 1, dtype=bool)
    accepted = []
    for m in np.argsort(changes, kind="stable"):
        interval = slice(pairs[m, 0], pairs[m, 1] + 1)
        if not taken[interval].any():
            taken[interval] = True
            accepted.append(m)
    return accepted


def candidate_sizes(d, size_small="auto", size_large="auto", n_large="auto"):
    """Resolve the automatic sizes of the candidate sets.

    Returns
    -------
    tuple of int
        ``size_small``, ``size_large``, ``n_large``.

    Raises
    ------
    ValueError
        If a size exceeds the d (d - 1) / 2 pairs, or the small set the large one.
    """
    n_pairs = d * (d - 1) // 2
    few, many = int(1.5 * d), int(np.sqrt(d) * (d - 1) * np.log10(d))
    if size_large == "auto":
        size_large = min(max(few, many), n_pairs)
        if size_small != "auto":
            size_large = max(size_large, min(size_small, n_pairs))
    if size_small == "auto":
        size_small = max(1, min(few, many, size_large))
    for name, size in (("size_small", size_small), ("size_large", size_large)):
        if size > n_pairs > 0:
            raise ValueError(
                f"{name}={size} exceeds the {n_pairs} pairs of {d} columns that vary."
            )
    if size_small > size_large > 0:
        raise ValueError(f"size_small={size_small} exceeds size_large={size_large}.")
    return size_small, size_large, int(d >= 10) if n_large == "auto" else n_large


def search_paper(C, order, *, loss, sizes, acyclicity, tol, max_iter):
    """Exchange pairs of the candidate sets of the TOPO algorithm.

    Candidates are the pairs whose walks (see `walk_weights`) are weakest: reversing
    them disturbs the present graph least. If no pair of the small set lowers the score,
    the large set is tried, at most ``n_large`` times.

    Parameters
    ----------
    C, order, loss, tol : see `search_order`
    sizes : tuple of int
        ``size_small``, ``size_large`` and ``n_large``.
    acyclicity : {"logdet", "expm", "binomial"}
        Measure of the walks.
    max_iter : int
        Largest number of rounds.

    Returns
    -------
    OrderSearch
        The result.
    """
    size_small, size_large, n_large = sizes
    state = OrderState(C, order)
    search = OrderSearch(state, [state.score(loss)])

    def improvements(candidates):
        pairs = np.argwhere(candidates)
        changes = np.empty(len(pairs))
        kernels.exchange_changes(state.order, *state.arrays, pairs, loss, changes)
        better = changes < -tol * search.history[-1]
        return pairs[better], changes[better]

    if len(C) == 1:
        search.n_iter, search.converged = 1, True
    while not search.converged and search.n_iter < max_iter:
        search.n_iter += 1
        walks = walk_weights(state.weights(), state.order, acyclicity)
        small = weakest_pairs(walks, size_small)
        pairs, changes = improvements(small)
        if len(pairs) == 0 and search.n_large_used < n_large:
            pairs, changes = improvements(weakest_pairs(walks, size_large) & ~small)
            search.n_large_used += len(pairs) > 0
        for m in disjoint_moves(pairs, changes):
            state.order[pairs[m]] = state.order[pairs[m, ::-1]]
            search.history.append(search.history[-1] + float(changes[m]))
        search.converged = len(pairs) == 0
        state.refresh()
    return search


def make_search(neighborhood, loss, d, *, tol, max_iter, acyclicity, **sizes):
    """Return the search ``(C, order) -> OrderSearch`` that the parameters describe."""
    common = {"loss": LOSSES[loss], "tol": tol, "max_iter": max_iter}
    if neighborhood != "paper":
        return partial(search_order, sweeps=SWEEPS[neighborhood], **common)
    sizes = candidate_sizes(d, **sizes)
    return partial(search_paper, sizes=sizes, acyclicity=acyclicity, **common)


def check_covariance(C):
    C = np.ascontiguousarray(C, dtype=np.float64)
    if C.ndim != 2 or C.shape[0] != C.shape[1] or C.shape[0] == 0:
        raise ValueError(f"C must be a square matrix, got shape {C.shape}.")
    if not (np.isfinite(C).all() and np.allclose(C, C.T, rtol=1e-8, atol=0)):
        raise ValueError("C must be finite and symmetric.")
    return C


def check_order(order, d, name="order"):
    """Return a permutation of 0..d-1 as int64 array."""
    given = np.asarray(order)
    if given.shape != (d,) or not np.array_equal(np.sort(given), np.arange(d)):
        raise ValueError(
            f"{name} must list each of the {d} columns once, by index from 0 to "
            f"{d - 1}, causes first; got {order!r}."
        )
    return given.astype(np.int64)


@validate_params(
    {
        "C": ["array-like"],
        "order": ["array-like"],
        "loss": [StrOptions(set(LOSSES))],
    },
    prefer_skip_nested_validation=True,
)
def order_score(C, order, loss="squared"):
    """Score a causal order by regressing each variable on all its predecessors.

    Parameters
    ----------
    C : array-like of shape (n_features, n_features)
        Covariance, positive definite.
    order : array-like of shape (n_features,)
        Column indices, causes first.
    loss : {"squared", "sum_std"}, default="squared"
        Half the sum of the residual variances, which is the least squares loss
        ``||X - XW||² / (2n)`` of centred data, or the sum of the residual standard
        deviations.

    Returns
    -------
    float
        The score, in squared units of the data for "squared", in units of the data
        for "sum_std". Smaller is better.

    Raises
    ------
    ValueError
        If C is not square, symmetric, finite and positive definite, or if ``order``
        is no permutation of its columns.

    See Also
    --------
    best_order_exact : The order of smallest score.

    Notes
    -----
    One Cholesky factorisation, O(d³).

    Examples
    --------
    >>> from skpapers.causal import order_score
    >>> C = [[1.0, 2.0], [2.0, 5.0]]  # x1 = 2 x0 + noise of variance 1
    >>> order_score(C, [0, 1])
    1.0
    >>> round(order_score(C, [1, 0]), 6)
    2.6
    """
    C = check_covariance(C)
    try:
        state = OrderState(C, check_order(order, len(C)))
    except np.linalg.LinAlgError:
        raise ValueError(
            "C is not positive definite: drop the columns that depend linearly on "
            "others, or add a small number to the diagonal of C."
        ) from None
    return state.score(LOSSES[loss])


@validate_params(
    {"C": ["array-like"], "loss": [StrOptions(set(LOSSES))]},
    prefer_skip_nested_validation=True,
)
def best_order_exact(C, loss="squared"):
    """Find the causal order of smallest score among all orders.

    Parameters
    ----------
    C : array-like of shape (n_features, n_features)
        Covariance of at most 20 variables.
    loss : {"squared", "sum_std"}, default="squared"
        See `order_score`.

    Returns
    -------
    order : ndarray of shape (n_features,), dtype int64
        Column indices, causes first.
    score : float
        Its score.

    Raises
    ------
    ValueError
        If C is not square, symmetric and finite, or has more than 20 columns.

    See Also
    --------
    TopologicalSwap : Local search, for any number of variables.

    Notes
    -----
    Dynamic programming over subsets [1]_: O(2^d d²) operations, 2^d numbers of memory;
    about a second for 20 variables.

    References
    ----------
    .. [1] T. Silander and P. Myllymäki, "A simple approach for finding the globally
       optimal Bayesian network structure", UAI 2006.

    Examples
    --------
    >>> from skpapers.causal import best_order_exact
    >>> order, score = best_order_exact([[5.0, 2.0], [2.0, 1.0]])
    >>> order, round(score, 6)
    (array([1, 0]), 1.0)
    """
    C = check_covariance(C)
    if len(C) > EXACT_MAX_NODES:
        raise ValueError(
            f"{len(C)} variables are too many for the exact search (at most "
            f"{EXACT_MAX_NODES}); use TopologicalSwap with n_init > 1."
        )
    order, score = kernels.exact_order(C, LOSSES[loss], 1e-12 * np.diag(C))
    return order, float(score)
