# SPDX-License-Identifier: BSD-3-Clause
r"""Search for the sparse DAG of lowest BIC over causal orders.

The score of a DAG G over d variables with n rows of data is

.. math:: S(G) = \sum_v n \log \hat\sigma_v^2(P_v) + \lambda \log(n) |P_v|

with the parents :math:`P_v` of v and the mean squared residual :math:`\hat\sigma_v^2`
of the regression of v on them; :math:`\lambda = 1` is the textbook BIC. The score does
not depend on the units of the columns beyond a constant, and Markov-equivalent DAGs
have the same score, so the search identifies a class of DAGs.

Nodes move through a causal order while their parents are repaired by steps that add or
remove one; restarts disturb the best order and repair what the disturbance touched.
The kernels, with the formulas, are in `skpapers.causal._kernels.bic`.

References
----------
M. Wienöbst, L. Henckel, S. Weichwald, "Embracing discrete search: a reasonable approach
to causal structure learning", ICLR 2026, arXiv 2510.04970.

B. Andrews et al., "Fast scalable and accurate discovery of DAGs using the best order
score search and grow-shrink trees", NeurIPS 2023.
"""

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from joblib import Parallel, delayed

from skpapers.causal._kernels import bic as kernels
from skpapers.causal._kernels.node_state import COLLINEAR, COUNT, TIE
from skpapers.causal._sparsify import correlations
from skpapers.utils._graph import is_dag

KICKS = {"swap": kernels.SWAP, "edge": kernels.EDGE}
SCORE_TOLERANCE = 1e-5  # changes of S below this count as none
LOCAL_TOLERANCE = 1e-9  # the same for S / n, where rounding sets a limit
MIN_KICKS = 4  # with fewer, small graphs do not get out of their local optima
CHUNK = 10  # restarts between two looks at the keyboard
LEAST_ROOM = 48  # parents of a node that there is room for at least
FIRST_ROOM, LARGEST_ROOM = 5e7, 1e9  # bytes of the factors in the beginning, in the end


@dataclass
class BICSearch:
    """What a search comes back with.

    Attributes
    ----------
    parents : bool ndarray of shape (d, d)
        ``parents[i, j]``: i is a parent of j in the best DAG.
    order : int64 ndarray of shape (d,)
        A causal order of it.
    score : float
        Its score S.
    path : ndarray of shape (1 + n_restarts,)
        Lowest score so far: after the first descent, and after each restart.
    capped : int64 ndarray
        Nodes that ``max_parents`` kept from another parent.
    cap : int
        Largest number of parents that a node could have.
    """

    parents: np.ndarray
    order: np.ndarray
    score: float
    path: np.ndarray
    capped: np.ndarray
    cap: int


def order_by_remaining_variance(R, precedes=None):
    """Return the order that always takes the node which its predecessors explain best.

    Parameters
    ----------
    R : ndarray of shape (d, d)
        Correlation matrix.
    precedes : bool ndarray of shape (d, d), default=None
        ``precedes[i, j]``: i comes before j; acyclic.

    Returns
    -------
    int64 ndarray of shape (d,)
        The order.

    Notes
    -----
    A Cholesky factorisation with the smallest pivot first, O(d³ / 2).
    """
    d = len(R)
    waits_for = np.zeros(d) if precedes is None else precedes.sum(axis=0).astype(float)
    variance, L = np.ones(d), np.empty((d, d))
    order = np.empty(d, dtype=np.int64)
    for k in range(d):
        p = np.argmin(np.where(waits_for == 0, variance, np.inf))
        L[k] = R[p] - L[:k, p] @ L[:k]
        L[k] *= variance[p] ** -0.5 if variance[p] > COLLINEAR else 0.0
        variance -= L[k] ** 2
        if precedes is not None:
            waits_for -= precedes[p]
        waits_for[p] = np.inf
        order[k] = p
    return order


def agreeing_order(order, precedes):
    """Return the order that agrees with ``precedes``, the first possible node first."""
    waits_for = precedes.sum(axis=0)
    result = []
    left = list(order)
    while left:
        v = next(v for v in left if waits_for[v] == 0)
        left.remove(v)
        waits_for = waits_for - precedes[v]
        result.append(v)
    return np.array(result, dtype=np.int64)


def parent_limits(d, n_samples, max_parents):
    """Return for how many parents there is room at first, and at last.

    All nodes have the same room, and few graphs need much of it, but a search that
    lacks it ends far from the optimum. So None stands for what memory allows.
    """
    limit = max(0, min(d - 1, int(n_samples) - 2))
    if max_parents is not None:
        return min(max_parents, limit), min(max_parents, limit)
    rooms = [int((size / 8 / n_slots(d)) ** 0.5) for size in (FIRST_ROOM, LARGEST_ROOM)]
    first, most = (min(max(LEAST_ROOM, room), limit) for room in rooms)
    return first, most


def n_slots(d):
    """Return the number of regressions that a search has in hand."""
    return 3 * d + 1


def make_search(R, n_samples, order, seed, *, penalty, cap, allowed, required):
    """Return the state of a search, all memory allocated."""
    d = len(R)
    cost = penalty * np.log(n_samples) / n_samples
    capacity = min(cap + int(required.sum(axis=0).max()), d)
    slots = n_slots(d)
    lists = kernels.Lists(
        nodes=np.empty((3, d), np.int64),
        ends=np.zeros((3, 2), np.int64),
        inside=np.zeros((3, d), np.bool_),
    )
    return kernels.Search(
        C=R,
        usable=np.ascontiguousarray(allowed.T) & ~np.eye(d, dtype=bool),
        required=np.ascontiguousarray(required.T),
        cost=float(cost),
        share=float(-np.expm1(-cost) * (1 + TIE)),
        cap=cap,
        tol=max(SCORE_TOLERANCE / n_samples, LOCAL_TOLERANCE),
        order=order.copy(),
        place=np.empty(d, np.int64),
        kept=order.copy(),
        parents=np.zeros((slots, capacity + 1), np.int64),
        factors=np.empty((slots, capacity + 3, capacity)),
        given=np.empty((slots, 2, d)),
        score=np.empty(slots),
        lowest=np.array([np.inf]),
        pick=kernels.Pick(np.empty(1, np.int64), np.empty(1), np.empty(1, np.int64)),
        lists=lists,
        candidates=np.empty(d, np.bool_),
        random=np.random.SeedSequence(seed).generate_state(1, np.uint64) | np.uint64(1),
        scratch=np.empty((2, d)),
    )


def run_chain(search, most, n_restarts, end, kick, n_kicks=None):
    """Search from the start and restart.

    Returns the path of the lowest local scores, or None as soon as a node has as many
    parents as there is room for, if that are fewer than ``most``. With an ``end`` (of
    `perf_counter`) only the first descent is judged like this: there may be no time
    for another search.
    """
    if n_kicks is None:
        n_kicks = max(MIN_KICKS, round(np.log(len(search.order))))
    pieces, n_left = [np.empty(1)], n_restarts
    kernels.improve(search, n_kicks, KICKS[kick], pieces[0])
    while True:
        judged = end is None or len(pieces) == 1
        if judged and search.cap < most and is_full(search):
            return None
        if len(search.order) == 1 or (
            n_left <= 0 if end is None else perf_counter() >= end
        ):
            return np.concatenate(pieces)
        pieces.append(np.empty(min(CHUNK, n_left) if end is None else 1))
        kernels.improve(search, n_kicks, KICKS[kick], pieces[-1])
        n_left -= CHUNK


def is_full(search):
    """Tell whether a node of the present DAG has all the parents it has room for."""
    d = len(search.order)
    return bool((search.parents[:d, COUNT] >= search.cap).any())


def capped_nodes(search):
    """Return the nodes that would get another parent but for the cap."""
    d, parents, capped = len(search.order), read_parents(search), []
    for v in np.flatnonzero(search.parents[:d, COUNT] >= search.cap):
        s, r = search.given[v]
        usable = search.usable[v] & ~descendants(parents, search.order, v)
        pays = (s > COLLINEAR) & (r**2 > search.share * s * s[v])
        if s[v] > COLLINEAR and (usable & pays).any():
            capped.append(v)
    return np.array(capped, dtype=np.int64)


def descendants(parents, order, v):
    """Return the mask of what v acts on, v included."""
    reached = np.zeros(len(order), dtype=bool)
    reached[v] = True
    for u in order:
        reached[u] |= (parents[:, u] & reached).any()
    return reached


def read_parents(search):
    """Return the mask of the present DAG, required edges included."""
    parents = search.required.T.copy()
    for v in range(len(search.order)):
        parents[search.parents[v, : search.parents[v, COUNT]], v] = True
    return parents


def bic_order_search(
    C,
    n_samples,
    *,
    penalty=2.0,
    n_restarts=100,
    kick="swap",
    n_kicks=None,
    max_parents=None,
    order=None,
    time_budget=None,
    allowed=None,
    required=None,
    seeds=(0,),
    n_jobs=None,
):
    """Search for the DAG of lowest BIC.

    Parameters
    ----------
    C : ndarray of shape (d, d)
        Covariance with divisor ``n_samples``, positive diagonal.
    n_samples : float
        Number of rows behind ``C``.
    penalty : float, default=2.0
        Price lambda of an edge in units of log(n_samples).
    n_restarts : int, default=100
        Number of restarts from near the best DAG.
    kick : {"swap", "edge"}, default="swap"
        How a restart disturbs the order: about ln(d) times two random nodes change
        places, or an edge is turned around.
    n_kicks : int, default=None
        Number of such disturbances in a restart; None stands for ln(d), at least 4.
    max_parents : int, default=None
        Largest number of parents of a node. None sets no limit but memory: there is
        room for 48 parents or more at first, and a search in which a node has as many
        as that begins anew with twice the room, up to 1 GB: 456 parents with 200
        columns, 204 with 1000. It never exceeds ``n_samples - 2``.
    order : ndarray of shape (d,), default=None
        Where to start. None takes first what its predecessors explain best.
    time_budget : float, default=None
        Seconds after which no restart begins; ``n_restarts`` then does not count.
    allowed, required : bool ndarray of shape (d, d), default=None
        Edges that the DAG may and must have, as from
        `skpapers.causal._knowledge.edge_knowledge`.
    seeds : sequence of int, default=(0,)
        One search for each seed, all but the first from a random order; the best result
        is kept.
    n_jobs : int, default=None
        Number of searches at the same time.

    Returns
    -------
    BICSearch
        The best DAG. It depends on the seeds, not on ``n_jobs``, unless there is a time
        budget.

    Notes
    -----
    A node is tried at all places of the order in O(d + k² d) for k parents. Memory per
    search: 6 d² + 3 d max_parents² numbers, with None those of the room in use. A
    search that found more room has the result of one that had it from the beginning.
    """
    d = len(C)
    R, scale = correlations(C)
    allowed = np.ones((d, d), dtype=bool) if allowed is None else allowed
    required = np.zeros((d, d), dtype=bool) if required is None else required
    if order is not None:
        order = agreeing_order(order, required)
    elif allowed.all() and not required.any():
        order = order_by_remaining_variance(R)
    else:
        order = order_by_remaining_variance(R, precedence(allowed, required))

    first, most = parent_limits(d, n_samples, max_parents)

    def run(seed, start):
        end = None if time_budget is None else perf_counter() + time_budget
        cap, path = first, None
        while path is None:
            search = make_search(
                R,
                n_samples,
                start,
                seed,
                penalty=penalty,
                cap=cap,
                allowed=allowed,
                required=required,
            )
            path = run_chain(search, most, n_restarts, end, kick, n_kicks)
            cap = min(2 * cap, most)
        path = n_samples * (path + 2 * np.log(scale).sum())
        parents, capped = read_parents(search), capped_nodes(search)
        score = float(path[-1])
        return BICSearch(parents, search.order, score, path, capped, search.cap)

    # Threads: the kernels release the interpreter
    starts = [order] + [
        agreeing_order(np.random.default_rng(seed).permutation(d), required)
        for seed in seeds[1:]
    ]
    results = Parallel(n_jobs, prefer="threads")(map(delayed(run), seeds, starts))
    return min(results, key=lambda result: result.score)


def precedence(allowed, required):
    """Return who should come first: required parents, and those of earlier tiers.

    An edge that is allowed in one direction only is a reason to start with that
    direction, unless such reasons contradict each other.
    """
    one_way = allowed & ~allowed.T
    return one_way | required if is_dag(one_way | required) else required
