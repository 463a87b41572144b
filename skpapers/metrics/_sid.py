# SPDX-License-Identifier: BSD-3-Clause
"""Structural intervention distance: how many causal effects come out wrong.

With the parents P of node i in an estimated graph one estimates the effect of
setting x_i on every other x_j by adjusting for P. The distance counts the
ordered pairs (i, j) for which that is wrong in the true graph B, whatever the
mechanisms are. Which set P a node has is all that matters of the estimate, so
that the kernel answers queries (i, P).
"""

from numbers import Integral

import numpy as np
from sklearn.utils import check_scalar

from skpapers.metrics._cpdag import check_dag, check_pdag, complete_dag, extend_pdag
from skpapers.metrics._kernels import count_wrong_effects
from skpapers.utils._graph import check_same_nodes

MAX_MEMBERS = 10_000  # orientations of one undirected part: k! for k <= 7 nodes


def compress_rows(mask):
    """Return the True columns of each row as (start, index)."""
    start = np.zeros(mask.shape[0] + 1, dtype=np.int64)
    np.cumsum(mask.sum(axis=1), out=start[1:])
    return start, np.nonzero(mask)[1].astype(np.int64, copy=False)


def count_errors(dag, nodes, parents):
    """Count the wrong effects of ``nodes[q]`` with the parents ``parents[q]``.

    `dag` is the true graph, `parents` a boolean matrix with a row per query.
    """
    return count_wrong_effects(
        *compress_rows(dag.T),
        *compress_rows(dag),
        np.asarray(nodes, dtype=np.int64),
        *compress_rows(parents),
    )


def _components(undirected):
    """Return the connected parts with at least two nodes, as lists of nodes."""
    left = set(np.flatnonzero(undirected.any(axis=0)).tolist())
    parts = []
    while left:
        part, stack = [], [left.pop()]
        while stack:
            node = stack.pop()
            part.append(node)
            near = left.intersection(np.flatnonzero(undirected[node]).tolist())
            left -= near
            stack.extend(near)
        parts.append(sorted(part))
    return sorted(parts)


def _maximum_cardinality_order(near):
    """Order the nodes 0..m-1 so that earlier neighbours of a node form a clique.

    `near` holds the neighbours of each node as the bits of an integer; the
    graph is chordal.
    """
    order, placed = [], 0
    while len(order) < len(near):
        free = [v for v in range(len(near)) if not placed >> v & 1]
        best = max(free, key=lambda v: (near[v] & placed).bit_count())
        order.append(best)
        placed |= 1 << best
    return order


def orientations(near, max_members):
    """List the orientations of a chordal graph without cycles and colliders.

    `near[v]` and the results are sets of nodes 0..m-1 as the bits of integers;
    a result holds the parents of each node. Nodes are added one by one: the
    earlier neighbours of a node form a clique, which is a chain in each partial
    orientation, and the node takes a place in the chain. The last place is
    always free, so that no partial orientation is in vain.
    """
    partial = [tuple([0] * len(near))]
    placed = 0
    for v in _maximum_cardinality_order(near):
        members = near[v] & placed
        clique = [u for u in range(len(near)) if members >> u & 1]
        extended = []
        for parents in partial:
            chain = sorted(clique, key=lambda u: (parents[u] & members).bit_count())
            above, new = members, list(parents)
            while True:
                new[v] = above
                extended.append(tuple(new))
                # v may stand before the last of the chain only if it is
                # adjacent to all parents of that node.
                if not chain or parents[chain[-1]] & ~near[v]:
                    break
                last = chain.pop()
                above &= ~(1 << last)
                new[last] |= 1 << v
            if len(extended) > max_members:
                raise ValueError(
                    "est stands for too many DAGs: the bounds of the structural "
                    f"intervention distance need more than max_members={max_members} "
                    f"orientations of one undirected part ({len(near)} nodes). Pass "
                    "one DAG (skpapers.metrics.cpdag_to_dag) or raise max_members."
                )
        partial = extended
        placed |= 1 << v
    return partial


def _bits(nodes, n_nodes):
    """Return the set of integer bits as a boolean row."""
    row = np.zeros(n_nodes, dtype=bool)
    row[nodes] = True
    return row


def _bounds_of_part(dag, directed, undirected, part, max_members):
    """Smallest and largest number of errors of the nodes of one undirected part."""
    place = {node: k for k, node in enumerate(part)}
    near = [
        sum(1 << place[u] for u in np.flatnonzero(undirected[node]).tolist())
        for node in part
    ]
    members = orientations(near, max_members)
    queries = {}
    asked = np.empty((len(members), len(part)), dtype=np.int64)
    for row, parents in enumerate(members):
        for k, above in enumerate(parents):
            asked[row, k] = queries.setdefault((k, above), len(queries))
    nodes = [part[k] for k, _ in queries]
    sets = np.array(
        [
            directed[:, part[k]]
            | _bits([part[m] for m in range(len(part)) if above >> m & 1], len(dag))
            for k, above in queries
        ]
    )
    totals = count_errors(dag, nodes, sets)[asked].sum(axis=1)
    return int(totals.min()), int(totals.max())


def intervention_distance(dag, directed, undirected, max_members=MAX_MEMBERS):
    """Return the distance (int), or its bounds if there are undirected edges."""
    if not undirected.any():
        return int(count_errors(dag, np.arange(len(dag)), directed.T).sum())
    member = extend_pdag(directed, undirected, "est")
    if (complete_dag(member) != (directed | undirected)).any():
        raise ValueError(
            "est has undirected edges but is not the graph of a Markov equivalence "
            "class: some undirected edges have the same direction in all members. "
            "Complete it: dag_to_cpdag(cpdag_to_dag(est))."
        )
    settled = np.flatnonzero(~undirected.any(axis=0))
    lower = upper = int(count_errors(dag, settled, directed.T[settled]).sum())
    # The parts can be oriented independently of each other, and the errors of a
    # node depend on its parents alone.
    for part in _components(undirected):
        low, high = _bounds_of_part(dag, directed, undirected, part, max_members)
        lower, upper = lower + low, upper + high
    return lower, upper


def structural_intervention_distance(true, est, *, max_members=MAX_MEMBERS):
    """Count the causal effects that an estimated graph gets wrong.

    The number of ordered pairs (i, j), i != j, for which the distribution of
    x_j after setting x_i comes out wrong if one adjusts for the parents P of i
    in the estimate:

    - j in P, so that the estimate says that i does not act on j: wrong if and
      only if j is a descendant of i in the true graph;
    - j not in P: wrong if and only if P is not a valid adjustment set for
      (i, j) in the true graph, that is, if P holds a node that lies behind i
      on a directed path from i to j, or a descendant of such a node, or if P
      leaves open a path between i and j that is not directed from i to j.

    It lies between 0 and d (d - 1), is not symmetric, and is 0 not only for the
    true graph but for every DAG that contains all its edges.

    Parameters
    ----------
    true : array-like or DataFrame of shape (n_nodes, n_nodes)
        The true DAG: weights, 0/1 or booleans; a non-zero ``true[i, j]`` is
        the edge i -> j.

    est : array-like or DataFrame of shape (n_nodes, n_nodes)
        The estimate: a DAG as above, or a CPDAG with entries 0 and 1, where
        i - j is 1 in both directions.

    max_members : int, default=10_000
        Largest number of orientations of one connected undirected part of
        `est` that are looked at for the bounds. Trees have as many as nodes,
        k fully connected nodes have k!.

    Returns
    -------
    distance : int or tuple of two int
        The distance; if `est` has undirected edges, the smallest and the
        largest distance of the DAGs that it stands for.

    Raises
    ------
    ValueError
        If `true` has a cycle or undirected edges, if the directed edges of
        `est` have a cycle, if `est` has undirected edges and is no CPDAG or has
        a part with more than `max_members` orientations, or if the shapes, the
        names of the columns or the entries are not as described.

    See Also
    --------
    structural_hamming_distance : Counts wrong edges instead of wrong effects.

    Notes
    -----
    For each i one search over the open walks from i answers for all j: for d
    nodes and e edges in `true` it takes O(d (d + e)) in all. The bounds are
    exact: the undirected parts are enumerated one by one, never their product.

    References
    ----------
    .. [1] J. Peters and P. Bühlmann, "Structural intervention distance for
       evaluating causal graphs", Neural Computation 27 (2015) 771-799.

    Examples
    --------
    Without edges one adjusts for nothing and confuses effects with their causes:

    >>> import numpy as np
    >>> from skpapers.metrics import structural_intervention_distance
    >>> chain = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    >>> structural_intervention_distance(chain, np.zeros((3, 3)))
    3
    >>> structural_intervention_distance(chain, chain.T)
    6

    The equivalence class of the chain holds both the truth and the reversal:

    >>> structural_intervention_distance(chain, chain + chain.T)
    (0, 6)
    """
    check_scalar(max_members, "max_members", Integral, min_val=1)
    dag = check_dag(true, "true")
    directed, undirected = check_pdag(est, "est")
    check_same_nodes(true, est, "true", "est")
    return intervention_distance(dag, directed, undirected, max_members)
