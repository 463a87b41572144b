# SPDX-License-Identifier: BSD-3-Clause
"""Markov equivalence classes: from a DAG to its CPDAG and back.

Two DAGs are Markov equivalent if they imply the same conditional independences,
which is the case if and only if they have the same pairs of adjacent nodes and
the same unshielded colliders i -> k <- j (i and j not adjacent). The completed
partially directed acyclic graph (CPDAG) stands for the class: an edge is
directed if all members agree on its direction, and undirected else.

Coding, the same in all of ``skpapers.metrics``: ``P[i, j] = 1`` and
``P[j, i] = 0`` is i -> j, and ``P[i, j] = P[j, i] = 1`` is i - j.
"""

import numpy as np

from skpapers.metrics._kernels import extend_to_dag, label_compelled
from skpapers.utils._graph import (
    check_adjacency,
    describe_cycle,
    edge_list,
    kahn,
    node_names,
    restore_frame,
)


def check_dag(A, name):
    """Validate a DAG and return its edges as a contiguous boolean matrix."""
    return np.ascontiguousarray(check_adjacency(A, name=name, acyclic=True) != 0)


def check_pdag(A, name, *, coded=False):
    """Validate a graph that may hold undirected edges.

    Returns the boolean matrices (directed, undirected). Weights are accepted as
    long as no edge is undirected, and `coded` is false.
    """
    values = check_adjacency(A, name=name)
    edges = values != 0
    undirected = edges & edges.T
    if edges.diagonal().any():
        node = int(np.flatnonzero(edges.diagonal())[0])
        raise ValueError(f"{name} has a self loop at node {node}.")
    if coded or undirected.any():
        odd = values[edges & (values != 1)]
        if odd.size:
            raise ValueError(
                f"{name} holds the entry {odd[0]}, but a graph with undirected edges "
                "is coded with 0 and 1: A[i, j] = 1 and A[j, i] = 0 for i -> j, 1 "
                "both ways for i - j. Translate the codes of other packages (-1 or "
                "2); cut a cyclic matrix of weights with "
                "skpapers.metrics.threshold_to_dag."
            )
    directed = edges & ~undirected
    if kahn(*edge_list(directed), len(directed)).size < len(directed):
        raise ValueError(
            f"The directed edges of {name} must be acyclic, but there is the cycle "
            f"{describe_cycle(directed, node_names(A))}. A matrix of estimated "
            "weights can be cut to an acyclic one with "
            "skpapers.metrics.threshold_to_dag."
        )
    return directed, undirected


def complete_dag(dag):
    """Return the CPDAG of a valid boolean DAG, as a boolean matrix."""
    order = kahn(*edge_list(dag), len(dag))
    return dag | (dag & ~label_compelled(dag, order)).T


def extend_pdag(directed, undirected, name):
    """Return a DAG of the class that a valid graph stands for, or raise."""
    if not undirected.any():
        return np.ascontiguousarray(directed)
    dag, n_done = extend_to_dag(
        np.ascontiguousarray(directed), np.ascontiguousarray(undirected)
    )
    if n_done < len(dag):
        raise ValueError(
            f"The undirected edges of {name} cannot be directed without a cycle or a "
            "new unshielded collider: it stands for no Markov equivalence class."
        )
    return dag


def dag_to_cpdag(A):
    """Return the graph of the Markov equivalence class of a DAG.

    Parameters
    ----------
    A : array-like or DataFrame of shape (n_nodes, n_nodes)
        The DAG: weights, 0/1 or booleans; a non-zero ``A[i, j]`` is the edge
        i -> j.

    Returns
    -------
    P : ndarray or DataFrame of shape (n_nodes, n_nodes), dtype int8
        The CPDAG. ``P[i, j] = 1`` and ``P[j, i] = 0`` is the directed edge
        i -> j, ``P[i, j] = P[j, i] = 1`` the undirected edge i - j. A frame
        for a frame, with its labels.

    Raises
    ------
    ValueError
        If `A` has a cycle, is not square or is not finite.

    See Also
    --------
    cpdag_to_dag : A member of the class.
    cpdag_structural_hamming_distance : Number of pairs in which two classes differ.

    Notes
    -----
    The edges are labelled in Chickering's order [1]_, which takes
    O(sum over edges (x, y) of the parents of x and y), about e times the mean
    in-degree for e edges, after reading the matrix.

    Other packages code undirected edges by 2 in one or both directions, or
    directed edges by -1 and 1; translate before comparing.

    References
    ----------
    .. [1] D. M. Chickering, "A transformational characterization of equivalent
       Bayesian network structures", UAI 1995.

    Examples
    --------
    A chain is equivalent to its reversal, a collider to no other graph:

    >>> import numpy as np
    >>> from skpapers.metrics import dag_to_cpdag
    >>> dag_to_cpdag([[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    array([[0, 1, 0],
           [1, 0, 1],
           [0, 1, 0]], dtype=int8)
    >>> dag_to_cpdag([[0, 1, 0], [0, 0, 0], [0, 1, 0]])
    array([[0, 1, 0],
           [0, 0, 0],
           [0, 1, 0]], dtype=int8)
    """
    return restore_frame(complete_dag(check_dag(A, "A")).astype(np.int8), A)


def cpdag_to_dag(P):
    """Return a DAG of the Markov equivalence class that a CPDAG stands for.

    The graph may also be only partially completed: any graph with directed and
    undirected edges serves whose undirected edges can be directed without a
    cycle and without a new unshielded collider.

    Parameters
    ----------
    P : array-like or DataFrame of shape (n_nodes, n_nodes)
        Entries 0 and 1: ``P[i, j] = 1`` and ``P[j, i] = 0`` is the directed
        edge i -> j, ``P[i, j] = P[j, i] = 1`` the undirected edge i - j.

    Returns
    -------
    A : ndarray or DataFrame of shape (n_nodes, n_nodes), dtype int8
        The DAG, 1 for each edge i -> j; always the same one for the same `P`.
        A frame for a frame, with its labels.

    Raises
    ------
    ValueError
        If there is no such DAG, if the directed edges have a cycle, or if `P`
        is not square or holds another value than 0 and 1.

    See Also
    --------
    dag_to_cpdag : The way back.

    Notes
    -----
    The algorithm of Dor and Tarsi [1]_: a node without outgoing edges whose
    undirected neighbours are adjacent to all its neighbours can be made a sink
    and removed. For d nodes with at most k neighbours it takes O(d**2 k**2) in
    the worst case and about d k**2 on sparse graphs, after reading the matrix.

    References
    ----------
    .. [1] D. Dor and M. Tarsi, "A simple algorithm to construct a consistent
       extension of a partially oriented graph", Technical report R-185,
       University of California, Los Angeles, 1992.

    Examples
    --------
    >>> from skpapers.metrics import cpdag_to_dag
    >>> cpdag_to_dag([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    array([[0, 0, 0],
           [1, 0, 0],
           [0, 1, 0]], dtype=int8)
    """
    dag = extend_pdag(*check_pdag(P, "P", coded=True), "P")
    return restore_frame(dag.astype(np.int8), P)
