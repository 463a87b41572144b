# SPDX-License-Identifier: BSD-3-Clause
"""The orders from which `TopologicalSwap` searches."""

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from skpapers.causal._order_search import check_order
from skpapers.utils._array_api import to_numpy
from skpapers.utils._graph import (
    check_adjacency,
    node_names,
    threshold_to_dag,
    topological_order,
)


def has_default_start(learner):
    """Whether the user leaves the start to the search."""
    return isinstance(learner.init, str) and learner.init == "variance"


def start_orders(learner, C, n_samples, columns, n_init):
    """Return ``n_init`` orders of the columns, each random one from its own seed.

    Parameters
    ----------
    learner : TopologicalSwap or TopologicalSwapMLP
        Its ``init`` and ``random_state`` count.
    C : ndarray of shape (d, d)
        Covariance of the columns that vary.
    n_samples : float
        Number of rows behind it.
    columns : ndarray of shape (d,)
        Their indices in the user's table, of which ``init`` speaks.
    n_init : int
        Number of orders; all but the first are random.

    Returns
    -------
    list of ndarray of shape (d,)
        The orders, by place in ``columns``.
    """
    rng = check_random_state(learner.random_state)
    seeds = rng.randint(np.iinfo(np.int32).max, size=n_init)
    starts = [np.random.RandomState(seed).permutation(len(C)) for seed in seeds]
    if has_default_start(learner):
        starts[0] = np.argsort(np.diag(C), kind="stable")
    elif hasattr(learner.init, "get_params"):
        starts[0] = _order_of_estimator(learner, C, n_samples, columns)
    elif not isinstance(learner.init, str):
        order = _order_of_array(learner, learner.init, "init")
        starts[0] = _among(columns, order)
    return starts


def _among(columns, order):
    """Restrict an order of all columns to these, numbered by their place."""
    return np.searchsorted(columns, order[np.isin(order, columns)])


def _order_of_estimator(learner, C, n_samples, columns):
    """Return the order of a fitted learner, or fit it to these columns."""
    other = learner.init
    if hasattr(other, "causal_order_"):
        order = to_numpy(other.causal_order_)
        order = check_order(order, learner.n_features_in_, "init.causal_order_")
    elif hasattr(other, "adjacency_"):
        order = _order_of_array(learner, to_numpy(other.adjacency_), "init.adjacency_")
    elif hasattr(other, "fit_covariance"):
        return clone(other).fit_covariance(C, n_samples).causal_order_
    else:
        raise ValueError(
            f"init={other!r} is neither fitted (no causal_order_ or adjacency_) nor "
            "has it a method fit_covariance. Fit it first."
        )
    return _among(columns, order)


def _order_of_array(learner, init, name):
    """Return the order of all columns that an order or adjacency stands for."""
    d = learner.n_features_in_
    if np.ndim(init) < 2:
        return check_order(init, d, name)
    names = node_names(init)
    known = getattr(learner, "feature_names_in_", None)
    if names is not None and known is not None and names != list(known):
        raise ValueError(f"{name} has the columns {names}, X has {list(known)}.")
    W = check_adjacency(init, name=name)
    if len(W) != d:
        raise ValueError(f"{name} has {len(W)} nodes, but X has {d} columns.")
    return topological_order(threshold_to_dag(W, threshold=0.0)[0])
