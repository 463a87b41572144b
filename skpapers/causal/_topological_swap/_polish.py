# SPDX-License-Identifier: BSD-3-Clause
"""Order searches from the graph of another method."""

import numpy as np
from sklearn.utils import Bunch

from skpapers.causal._markov_class import bic
from skpapers.causal._topological_swap._estimator import TopologicalSwap
from skpapers.utils._graph import check_adjacency, check_same_nodes, threshold_to_dag


def polish_dag(X, adjacency, **params):
    """Improve the causal graph of another method by a local search over orders.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The table.
    adjacency : array-like of shape (n_features, n_features)
        Weighted adjacency to start from, ``adjacency[i, j] != 0`` means i -> j. If it
        has cycles, its weakest edges are cut until it has none.
    **params
        Parameters of `TopologicalSwap`, except for ``init``.

    Returns
    -------
    result : `sklearn.utils.Bunch`
        With the keys

        order : ndarray of shape (n_features,)
            Causal order, causes first.
        adjacency : ndarray of shape (n_features, n_features)
            Weights of the sparse graph.
        raw_adjacency : ndarray of shape (n_features, n_features)
            Weights of the regressions on all predecessors.
        score_before, score_after : float
            What the search minimised (see `estimator.loss_`), for ``adjacency`` and for
            the result. That is the BIC of both graphs if the loss is "bic", also as the
            choice of "auto"; else the score of their orders with regressions on all
            predecessors, and then `score_after` is never larger.
        n_moves : int
            Number of accepted moves.
        estimator : TopologicalSwap
            The fitted estimator, for predictions, interventions and the like.

    Raises
    ------
    ValueError
        If the adjacency does not fit the columns of X, or for bad parameters.

    See Also
    --------
    TopologicalSwap : The search.

    Notes
    -----
    The cost is that of `TopologicalSwap`, O(n d²) plus the search.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.causal import polish_dag
    >>> from skpapers.datasets import make_linear_sem
    >>> data = make_linear_sem(1000, n_features=5, n_edges=6, random_state=0)
    >>> reversed_graph = data.W.T
    >>> result = polish_dag(data.X, reversed_graph, loss="squared")
    >>> result.score_after < result.score_before
    True
    >>> bool(((result.adjacency != 0) == (data.W != 0)).all())
    True
    """
    if "init" in params:
        raise ValueError("polish_dag starts from adjacency: it takes no init.")
    check_same_nodes(X, adjacency, "X", "adjacency")
    adjacency = check_adjacency(adjacency, name="adjacency")
    estimator = TopologicalSwap(init=adjacency, **params).fit(X)
    score_before = estimator.start_objective_
    if estimator.loss_ == "bic":  # began with parents of its own, in the same order
        given = threshold_to_dag(adjacency, threshold=0.0)[0] != 0
        varies = estimator.residual_std_ > 0
        block = np.ix_(varies, varies)
        score_before = bic(
            estimator.covariance_[block],
            estimator.n_samples_seen_,
            given[block],
            estimator.penalty,
        )
    return Bunch(
        order=estimator.causal_order_,
        adjacency=estimator.adjacency_,
        raw_adjacency=estimator.raw_adjacency_,
        score_before=score_before,
        score_after=estimator.objective_,
        n_moves=estimator.n_moves_,
        estimator=estimator,
    )
