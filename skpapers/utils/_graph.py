# SPDX-License-Identifier: BSD-3-Clause
"""Directed graphs as matrices: validation, acyclicity, order, thresholding.

A graph on d nodes is a d x d matrix ``W``; ``W[i, j] != 0`` is the edge
``i -> j`` (rows are causes). The entries may be weights, 0/1 or booleans. A
directed acyclic graph (DAG) has a topological order: a list of its nodes in
which every edge points forwards.

The compiled kernels take an edge list, the arrays ``source`` and ``target``,
and turn it into lists of children by a counting sort, so that their cost
depends on the number of edges and not on the d**2 entries of the matrix.
"""

from functools import partial
from numbers import Real

import numpy as np
from numba import njit
from sklearn.utils import check_array

kernel = partial(
    njit,
    cache=True,
    nogil=True,
    fastmath={"reassoc", "contract", "nsz"},
    error_model="numpy",
)


@kernel
def kahn(source, target, n_nodes):
    """Order nodes causes first, always taking the smallest node that is free.

    Nodes on a cycle, and those behind one, are left out: the graph is acyclic
    if and only if the result holds `n_nodes` entries.
    """
    n_edges = source.shape[0]
    n_parents = np.zeros(n_nodes, dtype=np.int64)
    start = np.zeros(n_nodes + 1, dtype=np.int64)
    for e in range(n_edges):
        n_parents[target[e]] += 1
        start[source[e] + 1] += 1
    for v in range(n_nodes):
        start[v + 1] += start[v]
    fill = start.copy()
    children = np.empty(n_edges, dtype=np.int64)
    for e in range(n_edges):
        children[fill[source[e]]] = target[e]
        fill[source[e]] += 1

    ready = n_parents == 0
    order = np.empty(n_nodes, dtype=np.int64)
    n_done = 0
    cursor = 0  # no node below it is ready
    while cursor < n_nodes:
        v = cursor
        cursor += 1
        if not ready[v]:
            continue
        ready[v] = False
        order[n_done] = v
        n_done += 1
        for k in range(start[v], start[v + 1]):
            child = children[k]
            n_parents[child] -= 1
            if n_parents[child] == 0:
                ready[child] = True
                cursor = min(cursor, child)
    return order[:n_done]


def node_names(A):
    """Return the column names of a frame as a list, or None.

    Only names that are all strings count, as for scikit-learn's
    ``feature_names_in_``; arrays have none.
    """
    columns = getattr(A, "columns", None)
    if columns is None:
        return None
    names = list(columns)
    return names if all(isinstance(name, str) for name in names) else None


def restore_frame(result, like):
    """Give the array `result` the labels of the frame `like`, if it is one."""
    if hasattr(like, "iloc"):
        return type(like)(result, index=like.index, columns=like.columns)
    if hasattr(like, "columns"):
        return type(like)(result, schema=list(like.columns), orient="row")
    return result


def edge_list(A):
    """Return the edges of a matrix as int64 arrays (source, target), row by row."""
    source, target = np.nonzero(A)
    return source.astype(np.int64, copy=False), target.astype(np.int64, copy=False)


def find_cycle(A):
    """Return the nodes of one cycle of the graph, in order; empty for a DAG."""
    A = np.asarray(A) != 0
    d = A.shape[0]
    left = np.ones(d, dtype=bool)
    left[kahn(*edge_list(A), d)] = False
    if not left.any():
        return []
    # Every node that Kahn's algorithm leaves over has a parent left over, so
    # that a walk backwards never ends and must meet itself.
    walk, place = [], {}
    node = int(np.flatnonzero(left)[0])
    while node not in place:
        place[node] = len(walk)
        walk.append(node)
        node = int(np.flatnonzero(A[:, node] & left)[0])
    cycle = walk[place[node] :][::-1]
    first = cycle.index(min(cycle))
    return cycle[first:] + cycle[:first]


def describe_cycle(A, names=None):
    """Return one cycle as text, such as ``0 -> 2 -> 0``; empty for a DAG."""
    cycle = find_cycle(A)
    labels = [str(v) if names is None else names[v] for v in cycle]
    return " -> ".join(labels + labels[:1])


def check_adjacency(A, *, name="A", acyclic=False):
    """Validate the matrix of a directed graph.

    Parameters
    ----------
    A : array-like or DataFrame of shape (n_nodes, n_nodes)
        Weights, 0/1 or booleans; a non-zero ``A[i, j]`` is the edge i -> j.

    name : str, default="A"
        Name of the parameter for error messages.

    acyclic : bool, default=False
        Whether a cycle (self loops included) is an error.

    Returns
    -------
    A : ndarray of shape (n_nodes, n_nodes)
        The matrix, of its own numeric or boolean dtype (objects become
        float64); it may share memory with the input.

    Raises
    ------
    ValueError
        If the matrix is not square, is empty, holds a NaN or an infinity, if
        a pandas frame labels its rows and columns differently, or if the
        graph has a cycle and `acyclic` is true.
    TypeError
        If the matrix is sparse.
    """
    names = node_names(A)
    index = getattr(A, "index", None)
    if names is not None and index is not None:
        rows = list(index)
        if all(isinstance(row, str) for row in rows) and rows != names:
            raise ValueError(
                f"The rows and the columns of {name} must have the same labels in "
                f"the same order, got rows {rows} and columns {names}."
            )
    A = check_array(A, ensure_2d=False, allow_nd=True, input_name=name)
    if A.ndim != 2 or A.shape[0] != A.shape[1]:
        raise ValueError(
            f"{name} must be a square matrix (n_nodes, n_nodes), got shape {A.shape}."
        )
    if acyclic and kahn(*edge_list(A), A.shape[0]).size < A.shape[0]:
        raise ValueError(
            f"{name} must be acyclic, but it has the cycle "
            f"{describe_cycle(A, names)}. A matrix of estimated weights can be "
            "cut to an acyclic one with skpapers.metrics.threshold_to_dag."
        )
    return A


def check_same_nodes(A, B, name_A, name_B):
    """Raise a ValueError unless two graphs, or a table and a graph, match.

    Compares the numbers of columns and, between two frames, their names:
    the same nodes in another order would be compared wrongly in silence.
    """
    d_A, d_B = np.shape(A)[-1], np.shape(B)[-1]
    if d_A != d_B:
        raise ValueError(
            f"{name_A} and {name_B} must have the same nodes, got {d_A} and {d_B} "
            "columns."
        )
    names_A, names_B = node_names(A), node_names(B)
    if names_A is not None and names_B is not None and names_A != names_B:
        raise ValueError(
            f"{name_A} and {name_B} must have the same column names in the same "
            f"order, got {names_A} and {names_B}."
        )


def check_nonnegative(value, name):
    """Return `value` as a float; it must be a number >= 0."""
    if not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}.")
    if not value >= 0:  # catches NaN too
        raise ValueError(f"{name} must be >= 0, got {value}.")
    return float(value)


def is_dag(A):
    """Tell whether a directed graph has no cycle.

    Parameters
    ----------
    A : array-like or DataFrame of shape (n_nodes, n_nodes)
        Weights, 0/1 or booleans; a non-zero ``A[i, j]`` is the edge i -> j. A
        non-zero diagonal entry is a cycle of length one.

    Returns
    -------
    acyclic : bool
        True if the graph is a directed acyclic graph.

    Raises
    ------
    ValueError
        If the matrix is not square or not finite.

    See Also
    --------
    topological_order : The order of the nodes of an acyclic graph.
    threshold_to_dag : Cut weak edges until a graph is acyclic.

    Notes
    -----
    Kahn's algorithm: O(d + e) for d nodes and e edges after one pass over the
    d**2 entries of the matrix.

    References
    ----------
    .. [1] A. B. Kahn, "Topological sorting of large networks",
       Communications of the ACM 5 (1962) 558-562.

    Examples
    --------
    >>> from skpapers.metrics import is_dag
    >>> is_dag([[0, 1], [0, 0]])
    True
    >>> is_dag([[0, 1], [1, 0]])
    False
    """
    A = check_adjacency(A, name="A")
    return bool(kahn(*edge_list(A), A.shape[0]).size == A.shape[0])


def topological_order(A):
    """Order the nodes of a directed acyclic graph, causes first.

    Parameters
    ----------
    A : array-like or DataFrame of shape (n_nodes, n_nodes)
        Weights, 0/1 or booleans; a non-zero ``A[i, j]`` is the edge i -> j.

    Returns
    -------
    order : ndarray of shape (n_nodes,), dtype int64
        Node indices such that each edge points from an earlier to a later
        entry. Of all nodes whose parents are placed the smallest comes next,
        so that the result is unique.

    Raises
    ------
    ValueError
        If the graph has a cycle (the message shows one), or if the matrix is
        not square or not finite.

    See Also
    --------
    is_dag : Only tell whether there is such an order.

    Notes
    -----
    Kahn's algorithm: O(d + e) for d nodes and e edges, plus the search for
    the smallest free node, which never exceeds O(d**2), the cost of reading
    the matrix.

    References
    ----------
    .. [1] A. B. Kahn, "Topological sorting of large networks",
       Communications of the ACM 5 (1962) 558-562.

    Examples
    --------
    >>> from skpapers.metrics import topological_order
    >>> topological_order([[0, 0, 0], [1, 0, 0], [1, 0.5, 0]])
    array([2, 1, 0])
    """
    A = check_adjacency(A, name="A", acyclic=True)
    return kahn(*edge_list(A), A.shape[0])


def order_to_mask(order):
    """Return the boolean matrix of all edges that an order allows.

    Entry (i, j) is True if i stands before j in `order`, an integer array
    with every node once.
    """
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[:, None] < rank[None, :]


def _largest_to_drop(size, source, target, n_nodes):
    """Smallest entry of `size` above which the edges form a DAG.

    None if all edges together do.
    """
    by_size = np.argsort(-size, kind="stable")
    size, source, target = size[by_size], source[by_size], target[by_size]
    # Edges of equal size stay or go together: `stop[k]` edges are left when
    # the k + 1 largest distinct sizes are.
    stop = np.append(np.flatnonzero(np.diff(size)) + 1, size.size)

    def is_acyclic(n_levels):
        n_edges = stop[n_levels - 1]
        return kahn(source[:n_edges], target[:n_edges], n_nodes).size == n_nodes

    if size.size == 0 or is_acyclic(stop.size):
        return None
    # A subgraph of a DAG is a DAG, so the number of levels can be bisected.
    good, bad = 0, stop.size
    while bad - good > 1:
        middle = (good + bad) // 2
        if is_acyclic(middle):
            good = middle
        else:
            bad = middle
    return float(size[stop[bad - 1] - 1])


def threshold_to_dag(W, threshold=0.3, strict=">"):
    """Cut the weak edges of a weighted graph until it is acyclic.

    First every weight not above the threshold is set to zero. If cycles are
    left, the weakest remaining edges go, one after the other, until there is
    none; edges of equal absolute weight go together.

    Parameters
    ----------
    W : array-like or DataFrame of shape (n_nodes, n_nodes)
        Weights; a non-zero ``W[i, j]`` is the edge i -> j. A non-zero diagonal
        entry is a cycle of length one and is cut like any other.

    threshold : float, default=0.3
        Absolute weight up to which an edge is dropped in any case, in the
        units of `W`; >= 0.

    strict : {">", ">="}, default=">"
        What an edge has to satisfy to stay: ``abs(W) > threshold`` or
        ``abs(W) >= threshold``.

    Returns
    -------
    W_cut : ndarray or DataFrame of shape (n_nodes, n_nodes)
        Copy of `W` with the dropped entries set to zero, of the dtype of `W`
        (a frame for a frame, with its labels).

    cut : float
        The cut that was used: the kept edges are those with ``abs(W) > cut``
        (``abs(W) >= cut`` for ``strict=">="``). It equals `threshold` if that
        was enough.

    Raises
    ------
    ValueError
        If `W` is not square or not finite, if `threshold` is negative, or if
        `strict` is neither of the two.

    See Also
    --------
    is_dag : Tell whether a graph is acyclic.

    Notes
    -----
    The smallest sufficient cut is found by bisection over the sorted weights
    with an acyclicity test of O(d + e) each: O((d + e) log e) for d nodes and
    e edges, after one pass over the matrix.

    References
    ----------
    .. [1] X. Zheng, B. Aragam, P. Ravikumar and E. P. Xing, "DAGs with NO
       TEARS: continuous optimization for structure learning", NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.metrics import threshold_to_dag
    >>> W = np.array([[0.0, 1.2, 0.1], [0.4, 0.0, 0.9], [0.0, 0.5, 0.0]])
    >>> W_cut, cut = threshold_to_dag(W)
    >>> W_cut
    array([[0. , 1.2, 0. ],
           [0. , 0. , 0.9],
           [0. , 0. , 0. ]])
    >>> cut
    0.5
    """
    threshold = check_nonnegative(threshold, "threshold")
    if strict not in (">", ">="):
        raise ValueError(f"strict must be '>' or '>=', got {strict!r}.")
    weights = check_adjacency(W, name="W")
    size = np.abs(weights.astype(np.float64))
    keep = size > threshold if strict == ">" else size >= threshold
    source, target = edge_list(keep & (size > 0))
    dropped = _largest_to_drop(size[source, target], source, target, weights.shape[0])
    cut = threshold
    if dropped is not None:
        keep = size > dropped
        # For ">=" the next larger number: keeping >= that is keeping > dropped.
        cut = dropped if strict == ">" else float(np.nextafter(dropped, np.inf))
    return restore_frame(np.where(keep, weights, weights.dtype.type(0)), W), cut
