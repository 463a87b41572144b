# SPDX-License-Identifier: BSD-3-Clause
"""Random directed acyclic graphs and their weights.

A graph over ``d`` nodes is a ``d x d`` matrix whose entry ``[i, j]`` is true (or, with
weights ``W``, different from 0) when there is an edge ``i -> j``. Every graph is drawn
in a hidden order of the nodes and then relabelled by a random permutation, so that the
order of the columns tells nothing.
"""

from numbers import Integral

import numpy as np

from skpapers.utils._graph import check_adjacency, topological_order
from skpapers.utils._sklearn import Interval, StrOptions, validate_params

EDGES_PER_NODE = 4
TOP_SHARE = 0.2  # share of the nodes of a bipartite graph that are causes

GRAPH_CONSTRAINTS = {
    "n_features": [Interval(Integral, 1, None, closed="left")],
    "n_edges": [Interval(Integral, 0, None, closed="left"), None],
    "graph": [StrOptions({"er", "er_bernoulli", "sf", "bipartite"})],
    "orientation": [StrOptions({"new_to_old", "old_to_new"})],
    "random_state": "no_validation",  # check_generator says more
}


def check_generator(random_state):
    """Return a ``numpy.random.Generator``; a Generator is passed through."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is None:
        return np.random.default_rng()
    if isinstance(random_state, Integral) and random_state >= 0:
        return np.random.default_rng(int(random_state))
    raise ValueError(
        f"random_state={random_state!r} must be a non-negative int, a "
        "numpy.random.Generator or None: pass a seed or "
        "numpy.random.default_rng(seed)."
    )


def check_weight_range(weight_range):
    """Return the two ends of ``weight_range`` as floats."""
    try:
        low, high = map(float, weight_range)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not 0 <= low <= high < np.inf:
        raise ValueError(
            f"weight_range={weight_range!r} must be a pair (low, high) of finite "
            "magnitudes with 0 <= low <= high; signs are drawn apart."
        )
    return low, high


def check_dag(W, name):
    """Return ``W`` as a square float matrix and a causal order of its nodes."""
    W = check_adjacency(W, name=name, acyclic=True).astype(np.float64)
    return W, topological_order(W)


def edge_limit(d, graph):
    """Return the largest number of edges of a graph of this kind over d nodes."""
    if graph == "bipartite":
        n_tops = _count_tops(d)
        return n_tops * (d - n_tops)
    return d * (d - 1) // 2


def resolve_n_edges(n_edges, d, graph):
    """Replace None by the default number of edges and refuse too many."""
    limit = edge_limit(d, graph)
    if n_edges is None:
        if graph == "sf":
            return _count_sf_edges(d, min(EDGES_PER_NODE, d - 1))
        return min(EDGES_PER_NODE * d, limit)
    if n_edges > limit:
        raise ValueError(
            f"n_edges={n_edges} is too many for graph={graph!r} with "
            f"n_features={d}: at most {limit} edges are possible."
        )
    return int(n_edges)


def draw_dag(rng, d, n_edges, graph, orientation):
    """Draw a graph; return its adjacency (bool) and the order it was drawn in.

    ``order`` lists the nodes with causes first.
    """
    n_edges = resolve_n_edges(n_edges, d, graph)
    if graph == "sf":
        cause, effect = _draw_sf_edges(rng, d, n_edges, orientation)
    elif graph == "bipartite":
        n_tops = _count_tops(d)
        chosen = rng.choice(n_tops * (d - n_tops), size=n_edges, replace=False)
        cause, effect = np.divmod(chosen, max(d - n_tops, 1))
        effect += n_tops
    else:
        n_pairs = d * (d - 1) // 2
        if graph == "er":
            chosen = rng.choice(n_pairs, size=n_edges, replace=False)
        else:
            chosen = np.flatnonzero(rng.random(n_pairs) < n_edges / max(n_pairs, 1))
        cause, effect = _unrank_pairs(chosen, d)
    order = rng.permutation(d)
    dag = np.zeros((d, d), dtype=bool)
    dag[order[cause], order[effect]] = True
    return dag, order


def draw_weights(rng, dag, low, high):
    """Draw a weight for each edge; draws d x d numbers whatever the graph is."""
    magnitude = rng.uniform(low, high, dag.shape)
    sign = rng.choice([-1, 1], dag.shape)
    return np.where(dag, magnitude * sign, 0.0)


def _unrank_pairs(rank, d):
    """Return the pairs ``i < j`` at positions ``rank`` of the list row by row."""
    row = np.arange(d)
    row_start = row * (2 * d - row - 1) // 2  # row i has d - 1 - i pairs
    i = np.searchsorted(row_start, rank, side="right") - 1
    return i, rank - row_start[i] + i + 1


def _count_tops(d):
    return max(int(TOP_SHARE * d), 1)


def _count_sf_edges(d, k):
    """Return the number of edges when node t links to min(t, k) older nodes."""
    return k * d - k * (k + 1) // 2


def _draw_sf_edges(rng, d, n_edges, orientation):
    """Grow a graph by preferential attachment; return causes and effects as ranks."""
    k = 0
    while k < d - 1 and _count_sf_edges(d, k + 1) <= n_edges:
        k += 1
    n_links = np.minimum(np.arange(d), k)
    surplus = n_edges - n_links.sum()  # so that the count is exact
    n_links[rng.choice(np.arange(k + 1, d), size=surplus, replace=False)] += 1
    degree = np.zeros(d)
    new, old = [], []
    for t in range(1, d):
        weight = np.maximum(degree[:t], 1.0)
        chosen = rng.choice(t, size=n_links[t], replace=False, p=weight / weight.sum())
        degree[chosen] += 1
        degree[t] = n_links[t]
        new.append(np.full(n_links[t], t))
        old.append(chosen)
    new = np.concatenate([np.empty(0, dtype=np.int64), *new])
    old = np.concatenate([np.empty(0, dtype=np.int64), *old])
    if orientation == "old_to_new":
        return old, new
    return d - 1 - new, d - 1 - old  # the newest node comes first


@validate_params(GRAPH_CONSTRAINTS, prefer_skip_nested_validation=True)
def random_dag(
    n_features=20,
    n_edges=None,
    *,
    graph="er",
    orientation="new_to_old",
    random_state=None,
):
    """Draw a random directed acyclic graph.

    The labels are shuffled, so that the order of the nodes tells nothing.

    Parameters
    ----------
    n_features : int, default=20
        Number of nodes ``d``.
    n_edges : int, default=None
        Number of edges; their expected number with ``graph="er_bernoulli"``. None
        means ``4 * n_features``, or all edges where there are fewer; with
        ``graph="sf"`` it means 4 edges for each new node, ``4 * n_features - 10``.
    graph : {"er", "er_bernoulli", "sf", "bipartite"}, default="er"
        - ``"er"``: exactly `n_edges` of the ``d (d - 1) / 2`` pairs of a random order,
          all choices equally likely (Erdős–Rényi).
        - ``"er_bernoulli"``: each pair with the same probability, independently.
        - ``"sf"``: scale-free (Barabási–Albert [1]_). Nodes come one after the other;
          each links to older nodes with a probability in proportion to their degree.
          The number of edges is exact: ``k d - k (k + 1) / 2`` edges are the textbook
          graph with ``k`` edges a new node, and a surplus goes to random nodes, one
          each.
        - ``"bipartite"``: a fifth of the nodes are causes of the others.
    orientation : {"new_to_old", "old_to_new"}, default="new_to_old"
        Direction of the edges of a scale-free graph: from new to old nodes, as in the
        published benchmarks, hubs are effects; from old to new, hubs are causes.
        Ignored for other graphs.
    random_state : int, numpy.random.Generator or None, default=None
        Seed, or the generator to draw from (its stream goes on).

    Returns
    -------
    dag : ndarray of shape (n_features, n_features), dtype=bool
        ``dag[i, j]`` is True when ``i -> j``.

    Raises
    ------
    ValueError
        If `n_edges` is more than such a graph can have.

    See Also
    --------
    random_weights : Weights for the edges.
    make_linear_sem : Graph, weights and data in one call.

    Notes
    -----
    O(d² + n_edges); O(d²) random numbers for ``"er_bernoulli"``.

    References
    ----------
    .. [1] A.-L. Barabási and R. Albert, "Emergence of scaling in random networks",
       Science 286 (1999) 509-512.

    Examples
    --------
    >>> from skpapers.datasets import random_dag
    >>> dag = random_dag(5, 6, random_state=0)
    >>> dag.astype(int)
    array([[0, 1, 1, 1, 0],
           [0, 0, 0, 0, 0],
           [0, 1, 0, 0, 1],
           [0, 0, 0, 0, 0],
           [0, 1, 0, 0, 0]])
    >>> int(dag.sum())
    6
    """
    rng = check_generator(random_state)
    return draw_dag(rng, n_features, n_edges, graph, orientation)[0]


@validate_params(
    {
        "dag": ["array-like"],
        "weight_range": [tuple, list, np.ndarray],
        "random_state": "no_validation",
    },
    prefer_skip_nested_validation=True,
)
def random_weights(dag, weight_range=(0.5, 2.0), random_state=None):
    """Draw a weight for each edge of a graph.

    Magnitudes are uniform on `weight_range`, signs are equally likely.

    Parameters
    ----------
    dag : array-like of shape (n_features, n_features)
        Acyclic graph; entries other than 0 are edges.
    weight_range : (float, float), default=(0.5, 2.0)
        Smallest and largest magnitude.
    random_state : int, numpy.random.Generator or None, default=None
        Seed, or the generator to draw from (its stream goes on).

    Returns
    -------
    W : ndarray of shape (n_features, n_features), dtype=float64
        ``W[i, j]`` is the weight of ``i -> j``, 0 where there is no edge.

    Raises
    ------
    ValueError
        If `dag` is not square, not finite or has a cycle, or `weight_range` is not a
        pair ``0 <= low <= high``.

    See Also
    --------
    random_dag : Graphs to put weights on.
    simulate_linear_sem : Samples from the weights.

    Notes
    -----
    O(d²): a number is drawn for each pair of nodes, edge or not, so that the weight of
    an edge does not depend on the other edges.

    Examples
    --------
    >>> from skpapers.datasets import random_dag, random_weights
    >>> random_weights(random_dag(3, 2, random_state=0), random_state=0).round(2)
    array([[ 0.  ,  0.  ,  0.  ],
           [ 0.52,  0.  ,  0.  ],
           [-1.41,  0.  ,  0.  ]])
    """
    rng = check_generator(random_state)
    low, high = check_weight_range(weight_range)
    W, _ = check_dag(dag, "dag")
    return draw_weights(rng, W != 0, low, high)
