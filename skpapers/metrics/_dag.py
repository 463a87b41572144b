# SPDX-License-Identifier: BSD-3-Clause
"""Edge by edge comparison of a learned graph with the true one.

For each pair {i, j} a graph is in one of four states: no edge, i -> j, j -> i
or, in a CPDAG, i - j.
"""

import numpy as np
from sklearn.utils import check_array

from skpapers.metrics._cpdag import check_dag, check_pdag, complete_dag, extend_pdag
from skpapers.metrics._sid import intervention_distance
from skpapers.utils._graph import (
    check_adjacency,
    check_nonnegative,
    check_same_nodes,
    restore_frame,
)


def _count_pairs(pairs):
    """Count the pairs {i, j} with a True entry in either direction."""
    return int(np.triu(pairs | pairs.T, 1).sum())


def _complete(directed, undirected, name):
    """Return the CPDAG of the class that a valid graph stands for."""
    return complete_dag(extend_pdag(directed, undirected, name))


def structural_hamming_distance(true, est):
    """Count the pairs of nodes that two graphs connect differently.

    A pair has one of the states: no edge, i -> j, j -> i, i - j. The distance
    is the number of unordered pairs with different states: a missing edge, an
    additional one and a reversed one count 1 each (some papers count a reversal
    2), and so does an undirected edge in place of a directed one.

    Parameters
    ----------
    true : array-like or DataFrame of shape (n_nodes, n_nodes)
        The true graph: weights, 0/1 or booleans of a DAG, where a non-zero
        ``true[i, j]`` is the edge i -> j, or a CPDAG with entries 0 and 1,
        where i - j is 1 in both directions.

    est : array-like or DataFrame of shape (n_nodes, n_nodes)
        The estimated graph, given in the same way.

    Returns
    -------
    distance : int
        Between 0 and d (d - 1) / 2; symmetric in its arguments, and 0 if and
        only if the graphs are equal.

    Raises
    ------
    ValueError
        If the directed edges of a graph have a cycle, if a graph with edges in
        both directions has entries other than 0 and 1, if the shapes or column
        names differ, or if a matrix is not square or not finite.

    See Also
    --------
    cpdag_structural_hamming_distance : Compares equivalence classes.
    structural_intervention_distance : Compares the causal effects.

    Notes
    -----
    O(d**2) for d nodes.

    References
    ----------
    .. [1] I. Tsamardinos, L. E. Brown and C. F. Aliferis, "The max-min
       hill-climbing Bayesian network structure learning algorithm", Machine
       Learning 65 (2006) 31-78.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.metrics import structural_hamming_distance
    >>> chain = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    >>> structural_hamming_distance(chain, chain.T)
    2
    >>> structural_hamming_distance(chain, [[0, 0.7, 0.2], [0, 0, -1.5], [0, 0, 0]])
    1
    """
    first = np.logical_or(*check_pdag(true, "true"))
    second = np.logical_or(*check_pdag(est, "est"))
    check_same_nodes(true, est, "true", "est")
    return _count_pairs(first != second)


def cpdag_structural_hamming_distance(true, est):
    """Count the pairs that the Markov equivalence classes connect differently.

    The structural Hamming distance between the CPDAGs of both graphs (states:
    no edge, i -> j, j -> i, i - j), often called SHD-C. It does not blame an
    estimate for directions that no observational data can tell.

    Parameters
    ----------
    true : array-like or DataFrame of shape (n_nodes, n_nodes)
        The true graph: weights, 0/1 or booleans of a DAG, where a non-zero
        ``true[i, j]`` is the edge i -> j, or a CPDAG with entries 0 and 1,
        where i - j is 1 in both directions.

    est : array-like or DataFrame of shape (n_nodes, n_nodes)
        The estimated graph, given in the same way. A graph with undirected
        edges that is not complete is completed first.

    Returns
    -------
    distance : int
        Between 0 and d (d - 1) / 2; symmetric in its arguments, and 0 if and
        only if the graphs are Markov equivalent.

    Raises
    ------
    ValueError
        If a graph has a cycle or stands for no equivalence class, if a graph
        with edges in both directions has entries other than 0 and 1, if the
        shapes or column names differ, or if a matrix is not square or not
        finite.

    See Also
    --------
    structural_hamming_distance : Compares the graphs as they are.
    dag_to_cpdag : Graph of the equivalence class of a DAG.

    Notes
    -----
    O(d**2) plus the cost of `dag_to_cpdag`, which is about e times the mean
    in-degree for e edges.

    References
    ----------
    .. [1] I. Tsamardinos, L. E. Brown and C. F. Aliferis, "The max-min
       hill-climbing Bayesian network structure learning algorithm", Machine
       Learning 65 (2006) 31-78.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.metrics import cpdag_structural_hamming_distance
    >>> chain = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    >>> cpdag_structural_hamming_distance(chain, chain.T)
    0
    >>> cpdag_structural_hamming_distance(chain, [[0, 1, 0], [0, 0, 0], [0, 1, 0]])
    2
    """
    first = _complete(*check_pdag(true, "true"), "true")
    second = _complete(*check_pdag(est, "est"), "est")
    check_same_nodes(true, est, "true", "est")
    return _count_pairs(first != second)


def _edge_scores(dag, directed, undirected):
    """Return the counts of NOTEARS' evaluation and what follows from them."""
    d = len(dag)
    adjacent = dag | dag.T
    n_true = int(dag.sum())
    n_edges = int(directed.sum()) + _count_pairs(undirected)
    hits = int((directed & dag).sum()) + _count_pairs(undirected & adjacent)
    reversed_ = int((directed & dag.T).sum())
    false = int((directed & ~adjacent).sum()) + _count_pairs(undirected & ~adjacent)
    wrong = reversed_ + false
    recall = hits / max(n_true, 1)
    return {
        "tpr": recall,
        "fdr": wrong / max(n_edges, 1),
        "fpr": wrong / max(d * (d - 1) // 2 - n_true, 1),
        "precision": hits / max(n_edges, 1),
        "recall": recall,
        "f1": 2 * hits / max(n_edges + n_true, 1),
        "n_edges": n_edges,
    }


def dag_metrics(true, est, *, threshold=0.0):
    """Compute the usual scores of an estimated graph.

    Let the true graph B have n_true edges and the estimate E n_edges (an
    undirected edge counts once), and let TP be the number of edges of E that B
    holds in the same direction, R of those that B holds in the opposite
    direction and FP of those between nodes that are not adjacent in B. An
    undirected edge of E between adjacent nodes of B counts as TP, never as R
    (the rule of the NOTEARS scripts).

    Parameters
    ----------
    true : array-like or DataFrame of shape (n_nodes, n_nodes)
        The true DAG: weights, 0/1 or booleans; a non-zero ``true[i, j]`` is
        the edge i -> j.

    est : array-like or DataFrame of shape (n_nodes, n_nodes)
        The estimate: a DAG as above, or a CPDAG with entries 0 and 1, where
        i - j is 1 in both directions.

    threshold : float, default=0.0
        Entries of `est` up to this absolute value are no edges. Nothing else is
        cut: see `threshold_to_dag` for estimates with cycles.

    Returns
    -------
    scores : dict
        With the entries:

        - ``shd`` : int, `structural_hamming_distance`; a reversed edge counts
          1, and so does an undirected edge where B has a directed one;
        - ``shd_cpdag`` : int, `cpdag_structural_hamming_distance`;
        - ``sid`` : int, `structural_intervention_distance`, or its bounds, a
          tuple of two int, if E has undirected edges;
        - ``tpr`` : float, TP / n_true;
        - ``fdr`` : float, (R + FP) / n_edges;
        - ``fpr`` : float, (R + FP) / (d (d - 1) / 2 - n_true): the denominator
          counts the unordered pairs without a true edge, so that it may be
          above 1;
        - ``precision`` : float, TP / n_edges;
        - ``recall`` : float, the same as ``tpr``;
        - ``f1`` : float, 2 TP / (n_edges + n_true);
        - ``n_edges`` : int, the number of edges of E.

        A denominator of 0 is replaced by 1, so that 0 / 0 is 0.

    Raises
    ------
    ValueError
        If `true` has a cycle or undirected edges, if the directed edges of
        `est` have a cycle, if `est` has undirected edges and is no CPDAG (or
        one with too many members to bound ``sid``), or if the shapes, the
        names of the columns or the entries are not as described.

    See Also
    --------
    structural_hamming_distance : Counts wrong edges.
    structural_intervention_distance : Counts wrong causal effects.

    Notes
    -----
    O(d (d + e)) for d nodes and e edges, the cost of ``sid``.

    References
    ----------
    .. [1] X. Zheng, B. Aragam, P. Ravikumar and E. P. Xing, "DAGs with NO
       TEARS: continuous optimization for structure learning", NeurIPS 2018.
    .. [2] J. Peters and P. Bühlmann, "Structural intervention distance for
       evaluating causal graphs", Neural Computation 27 (2015) 771-799.

    Examples
    --------
    >>> from skpapers.metrics import dag_metrics
    >>> true = [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    >>> est = [[0, 0.9, 0.1], [0, 0, 0], [0, -1.2, 0]]
    >>> scores = dag_metrics(true, est, threshold=0.3)
    >>> scores["shd"], scores["shd_cpdag"], scores["sid"], scores["n_edges"]
    (1, 2, 3, 2)
    >>> scores["tpr"], scores["fdr"], scores["fpr"], scores["f1"]
    (0.5, 0.5, 1.0, 0.5)
    """
    threshold = check_nonnegative(threshold, "threshold")
    dag = check_dag(true, "true")
    values = check_adjacency(est, name="est")
    check_same_nodes(true, est, "true", "est")
    strong = np.abs(values.astype(np.float64)) > threshold
    # Labels, if there are any, are for the messages about what is left.
    kept = restore_frame(np.where(strong, values, values.dtype.type(0)), est)
    directed, undirected = check_pdag(kept, "est")
    return {
        "shd": _count_pairs(dag != (directed | undirected)),
        "shd_cpdag": _count_pairs(
            complete_dag(dag) != _complete(directed, undirected, "est")
        ),
        "sid": intervention_distance(dag, directed, undirected),
        **_edge_scores(dag, directed, undirected),
    }


def _relative_norm(true, est):
    """Return ||est - true|| / ||true||, safe against overflow of squares."""
    scale = np.abs(true).max()
    if scale == 0:
        return 0.0 if not est.any() else np.inf
    true, est = true / scale, est / scale
    return float(np.linalg.norm(est - true) / np.linalg.norm(true))


def adjacency_error(W_true, W_est):
    """Compute the relative squared error of estimated edge weights.

    The squared Frobenius norm of ``W_est - W_true`` over that of ``W_true``: 0
    for the true weights, 1 for an estimate without edges.

    Parameters
    ----------
    W_true : array-like or DataFrame of shape (n_nodes, n_nodes)
        True weights.

    W_est : array-like or DataFrame of shape (n_nodes, n_nodes)
        Estimated weights, in the same units.

    Returns
    -------
    error : float
        The relative squared error, >= 0. If `W_true` has no edge it is 0 for
        an estimate without edges, and infinite else.

    Raises
    ------
    ValueError
        If a matrix is not square or not finite, or if the shapes or column
        names differ.

    See Also
    --------
    noise_error : Relative error of the noise scales.

    Notes
    -----
    O(d**2) for d nodes. The graphs need not be acyclic.

    References
    ----------
    .. [1] S. S. Saboksayr, G. Mateos and M. Tepper, "CoLiDE: concomitant linear
       DAG estimation", ICLR 2024.

    Examples
    --------
    >>> from skpapers.metrics import adjacency_error
    >>> adjacency_error([[0, 2.0], [0, 0]], [[0, 1.5], [0, 0]])
    0.0625
    """
    true = check_adjacency(W_true, name="W_true").astype(np.float64)
    est = check_adjacency(W_est, name="W_est").astype(np.float64)
    check_same_nodes(W_true, W_est, "W_true", "W_est")
    return _relative_norm(true, est) ** 2


def noise_error(sigma_true, sigma_est):
    """Compute the relative error of estimated noise scales.

    The Euclidean norm of ``sigma_est - sigma_true`` over that of
    ``sigma_true``, not squared.

    Parameters
    ----------
    sigma_true : float or array-like of shape (n_nodes,)
        True standard deviations of the noise; a number stands for equal ones.

    sigma_est : float or array-like of shape (n_nodes,)
        Estimated standard deviations, in the same units.

    Returns
    -------
    error : float
        The relative error, >= 0.

    Raises
    ------
    ValueError
        If the lengths differ, if an entry is negative or not finite, or if all
        of `sigma_true` is zero.

    See Also
    --------
    adjacency_error : Relative squared error of the edge weights.

    Notes
    -----
    O(d) for d nodes.

    References
    ----------
    .. [1] S. S. Saboksayr, G. Mateos and M. Tepper, "CoLiDE: concomitant linear
       DAG estimation", ICLR 2024.

    Examples
    --------
    >>> from skpapers.metrics import noise_error
    >>> round(noise_error([3.0, 4.0], [3.0, 4.5]), 6)
    0.1
    >>> noise_error(2.0, [2.0, 2.0, 2.0])
    0.0
    """
    true = _check_scales(sigma_true, "sigma_true")
    est = _check_scales(sigma_est, "sigma_est")
    if true.ndim == est.ndim == 1 and true.shape != est.shape:
        raise ValueError(
            "sigma_true and sigma_est must have the same length, got "
            f"{true.size} and {est.size}."
        )
    if not true.any():
        raise ValueError("sigma_true must have a positive entry.")
    return _relative_norm(*np.broadcast_arrays(true, est))


def _check_scales(sigma, name):
    """Validate a number or a vector of standard deviations."""
    sigma = np.asarray(sigma)
    values = check_array(
        sigma.reshape(-1), ensure_2d=False, dtype=np.float64, input_name=name
    )
    if sigma.ndim > 1:
        raise ValueError(
            f"{name} must be a number or one-dimensional, got shape {sigma.shape}."
        )
    if (values < 0).any():
        raise ValueError(f"{name} must be >= 0, got {values.min()}.")
    return values.reshape(sigma.shape)
