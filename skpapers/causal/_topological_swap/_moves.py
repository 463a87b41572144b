# SPDX-License-Identifier: BSD-3-Clause
"""Insertion search from several starts, with regressions that are done one by one.

It serves the losses that need the rows of a table, and orders under prior knowledge.
"""

from warnings import warn

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skpapers.causal._bic_search import agreeing_order, precedence
from skpapers.causal._general_losses import search_insertions
from skpapers.causal._knowledge import edge_knowledge, restrict_knowledge
from skpapers.utils._callbacks import reported


def knows_edges(learner):
    """Whether there is prior knowledge."""
    knowledge = (learner.forbidden_edges, learner.required_edges, learner.tiers)
    return any(item is not None for item in knowledge)


def edge_masks(learner, columns):
    """Return the allowed and the required edges among the columns that vary."""
    names = learner.get_feature_names_out()
    knowledge = (learner.forbidden_edges, learner.required_edges, learner.tiers)
    return restrict_knowledge(*edge_knowledge(names, *knowledge), columns, names)


def warn_unconverged(learner, score):
    """Tell that ``max_iter`` ended a search."""
    warn(
        f"The search stopped after max_iter={learner.max_iter} sweeps with score "
        f"{score:.6g}: raise max_iter.",
        ConvergenceWarning,
        stacklevel=2,
    )


def complete_graph(order):
    """Return the predecessors of each node in an order."""
    return {int(v): order[:p].tolist() for p, v in enumerate(order)}


def search_moves(learner, fits, starts, allowed, required):
    """Return the order of the best search of all starts, and what is told of it."""
    # what is allowed one way only is a good start, but a bad one for all
    precedes = [precedence(allowed, required)] + [required] * (len(starts) - 1)
    best = start_score = None
    for r in reported(learner, range(len(starts)), "start"):
        found = search_insertions(
            fits,
            agreeing_order(starts[r], precedes[r]),
            required,
            tol=learner.tol,
            max_iter=learner.max_iter,
        )
        history = found[1]
        if r == 0:
            start_score = history[0]
        if learner.verbose:
            print(
                f"[TopologicalSwap] start {r + 1}/{len(starts)}: score "
                f"{history[-1]:.6g} after {len(history) - 1} moves."
            )
        if best is None or history[-1] < best[1][-1]:
            best = found
    order, history, n_iter, converged = best
    if not converged:
        warn_unconverged(learner, history[-1])
    attributes = {
        "objective": history[-1],
        "start_objective": start_score,
        "history": history,
        "n_moves": len(history) - 1,
        "n_iter": n_iter,
        "n_large_used": 0,
        "bic": np.nan,
        "equal_variance_pvalue": np.nan,
        "kkt_violation": np.nan,
    }
    return np.array(order, dtype=np.int64), attributes
