# SPDX-License-Identifier: BSD-3-Clause
"""Order search with any loss that splits into one regression a node.

The score of a causal order is

    Q = sum_j q(j, predecessors of j that may be parents of j),

q the smallest loss of explaining x_j from these columns. Three losses are offered:
least squares from a covariance, for orders under prior knowledge; logistic regression
of 0/1 columns; and whatever a callable fits.

Moving a node v changes the predecessors of the nodes in between by v alone, wherever
v goes. So all insertions of all nodes need 2 d (d - 1) values of q, and a cache by node
and set of predecessors keeps those that a move leaves as they are. No move puts a node
before a parent that is required.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from skpapers.causal._kernels.logistic import fit_logistic

NEWTON_TOL = 1e-12
NEWTON_MAX_ITER = 100
MAX_KNOWN = 50_000  # fits that are remembered


class NodeFits:
    """Regressions by node and set of predecessors, each done once.

    Parameters
    ----------
    fit : callable
        ``fit(node, parents, start) -> (loss, solution)`` with the parents in ascending
        order and the latest ``(parents, solution)`` of the node, or None.
    allowed : bool ndarray of shape (d, d), default=None
        ``allowed[i, j]``: i may be a parent of j. Others are left out of the set.
    """

    def __init__(self, fit, allowed=None):
        self.fit = fit
        self.may_cause = None
        if (
            allowed is not None
            and not (allowed | np.eye(len(allowed), dtype=bool)).all()
        ):
            self.may_cause = [frozenset(np.flatnonzero(a).tolist()) for a in allowed.T]
        self.known = {}
        self.latest = {}

    def __call__(self, node, parents):
        """Return the loss and the solution of a node given a frozenset of others."""
        if self.may_cause is not None:
            parents &= self.may_cause[node]
        key = node, parents
        if key not in self.known:
            if len(self.known) >= MAX_KNOWN:
                self.known.clear()
            columns = np.array(sorted(parents), dtype=np.int64)
            result = self.fit(node, columns, self.latest.get(node))
            self.known[key] = result
            self.latest[node] = columns, result[1]
        return self.known[key]

    def loss(self, node, parents):
        """Return the loss alone."""
        return self(node, parents)[0]

    def order_losses(self, order):
        """Return the loss of each node, by position."""
        return np.array(
            [self.loss(v, frozenset(order[:p])) for p, v in enumerate(order)]
        )

    def weights(self, parents_of, d):
        """Return the adjacency and the solutions' last entries for given parents."""
        W, extra = np.zeros((d, d)), np.zeros(d)
        for j, parents in parents_of.items():
            if self.may_cause is not None:
                parents = self.may_cause[j].intersection(parents)
            columns, solution = sorted(parents), self(j, frozenset(parents))[1]
            W[columns, j] = solution[: len(columns)]
            if len(solution) > len(columns):
                extra[j] = solution[-1]
        return W, extra


def insertion_changes(fits, order, losses, q, required):
    """Return the change of Q for moving the node at position q to each position.

    It is infinite where the node would pass a required parent or child.
    """
    d, v = len(order), order[q]
    changes = np.full(d, np.inf)
    changes[q] = between = 0.0
    for p in range(q - 1, -1, -1):
        if required[order[p], v]:
            break
        with_v = frozenset([*order[:p], v])
        between += fits.loss(order[p], with_v) - losses[p]
        own = fits.loss(v, frozenset(order[:p])) - losses[q]
        changes[p] = between + own
    between = 0.0
    for p in range(q + 1, d):
        if required[v, order[p]]:
            break
        before = [u for u in order[:p] if u != v]
        between += fits.loss(order[p], frozenset(before)) - losses[p]
        own = fits.loss(v, frozenset([*before, order[p]])) - losses[q]
        changes[p] = between + own
    return changes


def search_insertions(fits, order, required, *, tol, max_iter):
    """Move nodes to their best places until none lowers Q by more than ``tol`` of it.

    Parameters
    ----------
    fits : NodeFits
        The regressions.
    order : sequence of int
        The start, which agrees with the required edges.
    required : bool ndarray of shape (d, d)
        ``required[i, j]``: i stays before j.
    tol : float
        Fraction of Q.
    max_iter : int
        Largest number of sweeps.

    Returns
    -------
    order : list of int
        Nodes, causes first.
    history : list of float
        Q at the start and after each move.
    n_iter : int
        Number of sweeps.
    converged : bool
        Whether the last sweep found nothing.
    """
    order = [int(v) for v in order]
    losses = fits.order_losses(order)
    history = [float(losses.sum())]
    for n_iter in range(1, max_iter + 1):
        moved = False
        for v in list(order):
            q = order.index(v)
            changes = insertion_changes(fits, order, losses, q, required)
            p = int(np.argmin(changes))
            if changes[p] < -tol * abs(history[-1]):
                order.insert(p, order.pop(q))
                losses = fits.order_losses(order)
                history.append(float(losses.sum()))
                moved = True
        if not moved:
            return order, history, n_iter, True
    return order, history, max_iter, False


def select_parents(fits, node, candidates, price, max_parents, required):
    """Add, then remove single parents while ``loss + price * number`` falls.

    Required ones are there from the start and stay.
    """
    fixed = frozenset(np.flatnonzero(required[:, node]).tolist())
    chosen, value = fixed, fits.loss(node, fixed)
    while len(chosen) < max_parents and len(chosen) < len(candidates):
        best = min(
            (fits.loss(node, chosen | {int(u)}), int(u))
            for u in candidates
            if u not in chosen
        )
        if best[0] + price >= value:
            break
        chosen, value = chosen | {best[1]}, best[0]
    while chosen > fixed:
        best = min((fits.loss(node, chosen - {u}), u) for u in chosen - fixed)
        if best[0] >= value + price:
            break
        chosen, value = chosen - {best[1]}, best[0]
    return chosen


class SparseFits(NodeFits):
    """Regressions on the best few predecessors, their number priced.

    The loss of a node is that of the parents chosen by `select_parents`, plus the price
    of each; the solution is the set of parents.
    """

    def __init__(self, dense, price, max_parents, allowed, required):
        def fit(node, candidates, start):
            chosen = select_parents(
                dense, node, candidates, price, max_parents, required
            )
            return dense.loss(node, chosen) + price * len(chosen), sorted(chosen)

        super().__init__(fit, allowed)


def covariance_fits(C, score, allowed=None):
    """Return the least squares regressions of a positive definite covariance.

    The loss of a node is ``score`` of its residual variance, the solution the weights.
    """

    def fit(node, parents, start):
        if not len(parents):
            return float(score(C[node, node])), np.zeros(0)
        try:
            factor = cho_factor(C[np.ix_(parents, parents)], check_finite=False)
        except np.linalg.LinAlgError:
            raise ValueError(
                "The covariance is not positive definite: its columns differ too much "
                "in scale, or alpha is too small."
            ) from None
        w = cho_solve(factor, C[parents, node], check_finite=False)
        return float(score(max(C[node, node] - C[parents, node] @ w, 0.0))), w

    return NodeFits(fit, allowed)


def distinct_rows(X, weight=None):
    """Return the distinct rows of a 0/1 table and their shares."""
    rows, inverse = np.unique(X.astype(bool), axis=0, return_inverse=True)
    share = np.bincount(inverse.ravel(), weights=weight, minlength=len(rows))
    return rows, share / share.sum()


def logistic_fits(rows, share, penalty, allowed=None):
    """Return the l1-logistic regressions of a 0/1 table.

    The loss of a node is ``sum_r share_r [log(1 + exp(m_r)) - x_r m_r] + penalty
    |w|_1`` at its minimum, the solution the weights followed by the intercept.
    """

    def fit(node, parents, start):
        w = np.zeros(len(parents) + 1)
        if start is not None:
            known, solution = start
            w[:-1][np.isin(parents, known)] = solution[:-1][np.isin(known, parents)]
            w[-1] = solution[-1]
        loss, _ = fit_logistic(
            rows, share, node, parents, penalty, True, w, NEWTON_TOL, NEWTON_MAX_ITER
        )
        return loss, w

    return NodeFits(fit, allowed)


def callable_fits(loss, X, allowed=None):
    """Return the regressions that a user's ``loss(P, x)`` does on centred columns."""

    def fit(node, parents, start):
        result = loss(X[:, parents], X[:, node])
        try:
            value, weights = result
            value, weights = float(value), np.asarray(weights, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(
                f"loss must return a pair (score, weights), got {result!r}."
            ) from None
        shape = (len(parents),)
        if weights.shape != shape or not np.isfinite([value, *weights]).all():
            raise ValueError(
                f"loss must return a finite score and finite weights of shape {shape}, "
                f"got {value!r} and weights of shape {weights.shape}."
            )
        return value, weights

    return NodeFits(fit, allowed)
