# SPDX-License-Identifier: BSD-3-Clause
"""What a fitted learner says of the edges: those that are directed, those left open.

A learner that scores Markov-equivalent graphs alike has found a class of graphs, of
which ``cpdag_`` is the description. Prior knowledge may rule out members of the class;
what directions then follow is worked out by Meek's rules.

References
----------
C. Meek, "Causal inference and causal explanation with background knowledge", UAI 1995.
"""

import numpy as np

from skpapers.causal._knowledge import edge_knowledge
from skpapers.utils._array_api import to_numpy

KNOWLEDGE = ("forbidden_edges", "required_edges", "tiers")


def allowed_edges(learner):
    """Return the mask of the edges that a fitted learner may use, or None for all."""
    known = [getattr(learner, name, None) for name in KNOWLEDGE]
    if all(item is None for item in known):
        return None
    return edge_knowledge(learner.get_feature_names_out(), *known)[0]


def edges_of(learner, d, allowed=None):
    """Return the edges of a graph, the directed and the undirected ones of its class.

    Parameters
    ----------
    learner : object or None
        Fitted learner; None stands for a graph without edges.
    d : int
        Number of columns.
    allowed : bool ndarray of shape (d, d), default=None
        Edges that the graph may have; None stands for all.

    Returns
    -------
    graph, directed, undirected : bool ndarray of shape (d, d)
        ``graph`` is one member of the class that the others describe; ``undirected``
        is symmetric. A learner without ``cpdag_`` vouches for all directions, and so
        does one whose ``loss_`` tells the members of a class apart ("squared").
    """
    if learner is None:
        none = np.zeros((d, d), dtype=bool)
        return none, none, none
    graph = np.asarray(to_numpy(learner.adjacency_)) != 0
    codes = getattr(learner, "cpdag_", None)
    if codes is None or getattr(learner, "loss_", "bic") != "bic":
        return graph, graph, np.zeros_like(graph)
    codes = np.asarray(to_numpy(codes))
    both = ((codes != 0) & (codes != 0).T) | (codes == 2)  # 1 both ways, or 2
    undirected = both | both.T
    directed = (codes != 0) & ~undirected
    if allowed is not None:
        directed, undirected = orient(directed, undirected, allowed)
    return graph, directed, undirected


def orient(directed, undirected, allowed):
    """Direct the open edges of a class that knowledge, and what follows of it, decides.

    Parameters
    ----------
    directed, undirected : bool ndarray of shape (d, d)
        The class; ``undirected`` is symmetric.
    allowed : bool ndarray of shape (d, d)
        Edges that the graph may have.

    Returns
    -------
    directed, undirected : bool ndarray of shape (d, d)
        The part of the class that agrees with the knowledge.

    Notes
    -----
    Each pass over the open edges costs O(d²) an edge; a pass directs at least one.
    """
    D, U = directed.copy(), undirected.copy()
    changed = U.any()
    while changed:
        changed = False
        for a, b in np.argwhere(U):
            if U[a, b] and (not allowed[b, a] or _follows(D, U, a, b)):
                D[a, b], changed = True, True
                U[a, b] = U[b, a] = False
    return D, U


def _follows(D, U, a, b):
    """Tell whether one of Meek's four rules directs the open edge a - b to b."""
    linked = D | D.T | U
    into_a, into_b = D[:, a], D[:, b]
    if (into_a & ~linked[b]).any():  # or there would be a new collider at a
        return True
    if (D[a] & into_b).any():  # or there would be a cycle
        return True
    around = U[a] & into_b  # two of them, not linked: one would collide at a
    if around.sum() > 1 and not linked[np.ix_(around, around)][~_eye(around)].all():
        return True
    # a - c -> d -> b with c and b not linked, a and d linked
    ends = linked[a] & into_b
    starts = U[a] & ~linked[b]
    starts[b] = False
    return bool(D[np.ix_(starts, ends)].any())


def _eye(mask):
    return np.eye(int(mask.sum()), dtype=bool)


def reachable(edges):
    """Return the mask of the pairs (i, j) with a directed path from i to j."""
    reach = edges.astype(np.float64)
    for _ in range(len(edges).bit_length()):  # paths of up to 1, 2, 4, ... edges
        reach = np.minimum(reach + reach @ reach, 1.0)
    return reach > 0
