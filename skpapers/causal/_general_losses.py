# SPDX-License-Identifier: BSD-3-Clause
"""Order search with losses that need the rows of the table.

For any loss that splits into one regression a node, the score of a causal order is

    Q = sum_j q(j, predecessors of j),

q the smallest loss of explaining x_j from these columns. Two losses are offered:
logistic regression of 0/1 columns, and whatever a callable fits.

Moving a node v changes the predecessors of the nodes in between by v alone, wherever
v goes. So all insertions of all nodes need 2 d (d - 1) values of q, and a cache by node
and set of predecessors keeps those that a move leaves as they are.
"""

from warnings import warn

import numpy as np
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skpapers.causal._base import LearnedDAG, residual_variances
from skpapers.causal._kernels.logistic import fit_logistic
from skpapers.causal._order_search import LOSSES, SWEEPS, search_order
from skpapers.causal._sparsify import sparsify
from skpapers.utils._array_api import like, to_numpy
from skpapers.utils._callbacks import reported

NEWTON_TOL = 1e-12
NEWTON_MAX_ITER = 100


class NodeFits:
    """Regressions by node and set of predecessors, each done once.

    Parameters
    ----------
    fit : callable
        ``fit(node, parents, start) -> (loss, solution)`` with the parents in ascending
        order and the latest ``(parents, solution)`` of the node, or None.
    """

    def __init__(self, fit):
        self.fit = fit
        self.known = {}
        self.latest = {}

    def __call__(self, node, parents):
        """Return the loss and the solution of a node given a frozenset of others."""
        key = node, parents
        if key not in self.known:
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
            columns, solution = sorted(parents), self(j, frozenset(parents))[1]
            W[columns, j] = solution[: len(columns)]
            if len(solution) > len(columns):
                extra[j] = solution[-1]
        return W, extra


def insertion_changes(fits, order, losses, q):
    """Return the change of Q for moving the node at position q to each position."""
    d, v = len(order), order[q]
    changes = np.zeros(d)
    between = 0.0
    for p in range(q - 1, -1, -1):
        with_v = frozenset([*order[:p], v])
        between += fits.loss(order[p], with_v) - losses[p]
        own = fits.loss(v, frozenset(order[:p])) - losses[q]
        changes[p] = between + own
    between = 0.0
    for p in range(q + 1, d):
        before = [u for u in order[:p] if u != v]
        between += fits.loss(order[p], frozenset(before)) - losses[p]
        own = fits.loss(v, frozenset([*before, order[p]])) - losses[q]
        changes[p] = between + own
    return changes


def search_insertions(fits, order, *, tol, max_iter):
    """Move nodes to their best places until none lowers Q by more than ``tol`` of it.

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
            changes = insertion_changes(fits, order, losses, q)
            p = int(np.argmin(changes))
            if changes[p] < -tol * abs(history[-1]):
                order.insert(p, order.pop(q))
                losses = fits.order_losses(order)
                history.append(float(losses.sum()))
                moved = True
        if not moved:
            return order, history, n_iter, True
    return order, history, max_iter, False


def select_parents(fits, node, candidates, price, max_parents):
    """Add, then remove single parents while ``loss + price * number`` falls."""
    chosen, value = frozenset(), fits.loss(node, frozenset())
    while len(chosen) < max_parents and len(chosen) < len(candidates):
        best = min(
            (fits.loss(node, chosen | {int(u)}), int(u))
            for u in candidates
            if u not in chosen
        )
        if best[0] + price >= value:
            break
        chosen, value = chosen | {best[1]}, best[0]
    while chosen:
        best = min((fits.loss(node, chosen - {u}), u) for u in chosen)
        if best[0] >= value + price:
            break
        chosen, value = chosen - {best[1]}, best[0]
    return chosen


class SparseFits(NodeFits):
    """Regressions on the best few predecessors, their number priced.

    The loss of a node is that of the parents chosen by `select_parents`, plus the price
    of each; the solution is the set of parents.
    """

    def __init__(self, dense, price, max_parents):
        def fit(node, candidates, start):
            chosen = select_parents(dense, node, candidates, price, max_parents)
            return dense.loss(node, chosen) + price * len(chosen), sorted(chosen)

        super().__init__(fit)


def distinct_rows(X, weight=None):
    """Return the distinct rows of a 0/1 table and their shares."""
    rows, inverse = np.unique(X.astype(bool), axis=0, return_inverse=True)
    share = np.bincount(inverse.ravel(), weights=weight, minlength=len(rows))
    return rows, share / share.sum()


def logistic_fits(rows, share, penalty):
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

    return NodeFits(fit)


def callable_fits(loss, X):
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

    return NodeFits(fit)


class GeneralLossMixin:
    """What `TopologicalSwap` does differently where the covariance is not enough."""

    def _needs_rows(self):
        return callable(self.loss) or self.loss == "logistic"

    def _learn_from(self, moments, reference, rows=None):
        vars(self).pop("intercept_", None)  # of a logistic fit before
        super()._learn_from(moments, reference, rows)

    def _learn_rows(self, C, n_samples, columns, X, weight):
        """Search with the loss itself, by default from the order of a linear search."""
        knowledge = (self.forbidden_edges, self.required_edges, self.tiers)
        if any(item is not None for item in knowledge):
            raise ValueError(
                f"loss={self.loss!r} takes no forbidden_edges, required_edges or "
                "tiers: set loss='bic'."
            )
        X = to_numpy(X).astype(np.float64)[:, columns]
        if callable(self.loss):
            if weight is not None:
                raise ValueError("A callable loss takes no sample_weight.")
            fits = callable_fits(self.loss, np.asfortranarray(X - X.mean(axis=0)))
        else:
            self._check_binary(X, columns)
            table = distinct_rows(X, weight)
            self._check_sparsifier()
            fits = dense = logistic_fits(*table, self.alpha)
            if self.sparsifier == "bic_l0":
                price = self.penalty * np.log(n_samples) / (2 * n_samples)
                fits = SparseFits(dense, price, self.max_parents or len(C))
        starts = self._starts(C, n_samples, columns)
        if isinstance(self.init, str) and self.init == "variance":
            starts[0] = self._linear_order(C, n_samples, columns, starts[0])
        best = start_score = None
        for r in reported(self, range(len(starts)), "start"):
            found = search_insertions(
                fits, starts[r], tol=self.tol, max_iter=self.max_iter
            )
            start_score = found[1][0] if r == 0 else start_score
            if best is None or found[1][-1] < best[1][-1]:
                best = found
        order, history, n_iter, converged = best
        if not converged:
            warn(
                f"The search stopped after max_iter={self.max_iter} sweeps with score "
                f"{history[-1]:.6g}: raise max_iter.",
                ConvergenceWarning,
                stacklevel=2,
            )
        d = len(C)
        predecessors = {v: order[:p] for p, v in enumerate(order)}
        raw, intercept = (fits if callable(self.loss) else dense).weights(
            predecessors, d
        )
        attributes = {
            "objective": history[-1],
            "start_objective": start_score,
            "history": history,
            "n_moves": len(history) - 1,
            "n_iter": n_iter,
            "n_large_used": 0,
            "loss": "callable" if callable(self.loss) else "logistic",
            "bic": np.nan,
            "equal_variance_pvalue": np.nan,
            "kkt_violation": np.nan,
        }
        order = np.array(order, dtype=np.int64)
        if callable(self.loss):
            W = self._cut_rows(raw)
            if self.sparsifier in ("bic_l0", "adaptive_lasso"):
                W = sparsify(
                    C,
                    n_samples,
                    order,
                    self.sparsifier,
                    penalty=self.penalty,
                    max_parents=self.max_parents,
                )
                support = {j: np.flatnonzero(W[:, j]).tolist() for j in range(d)}
                W = self._cut_rows(fits.weights(support, d)[0])
            noise_std = np.sqrt(residual_variances(C, W))
        else:
            support = {
                j: fits(j, frozenset(before))[1]
                if self.sparsifier == "bic_l0"
                else np.flatnonzero(self._cut_rows(raw)[:, j]).tolist()
                for j, before in predecessors.items()
            }
            W, intercept = dense.weights(support, d)
            noise = X - expit(X @ W + intercept)
            noise_std = np.sqrt(np.average(noise**2, axis=0, weights=weight))
            attributes |= self._spread_logistic(columns, intercept, noise_std)
        return LearnedDAG(W, raw, order, noise_std, attributes)

    def _linear_order(self, C, n_samples, columns, start):
        """Return the order of a linear search, milliseconds away from a good start.

        The BIC search looks at sparse graphs, as does a logistic search with "bic_l0";
        the others fit complete graphs, and so does the least squares search.
        """
        if self.loss == "logistic" and self.sparsifier == "bic_l0":
            return self._learn_bic(C, n_samples, columns).order
        inner = self._inner_covariance(C, 0.0, n_samples, columns)
        options = {"loss": LOSSES["squared"], "sweeps": SWEEPS["insertion"]}
        limits = {"tol": self.tol, "max_iter": self.max_iter}
        return search_order(inner, start, **options, **limits).state.order

    def _cut_rows(self, W):
        wide = self.sparsifier in ("adaptive_lasso", "threshold")
        return self._cut(W, automatic=0.3 if wide else 0.0)

    def _check_binary(self, X, columns):
        binary = ((X == 0) | (X == 1)).all(axis=0)
        if not binary.all():
            names = list(self.get_feature_names_out()[columns[~binary]])
            raise ValueError(
                f"loss='logistic' needs columns of zeros and ones; {names} are not. "
                "Encode or drop them, or use another loss."
            )

    def _check_sparsifier(self):
        if self.sparsifier == "adaptive_lasso":
            raise ValueError(
                "sparsifier='adaptive_lasso' is for least squares; with "
                "loss='logistic' use 'bic_l0', 'threshold' or None."
            )

    def _spread_logistic(self, columns, intercept, noise_std):
        """Return the attributes of a logistic model over all columns of the table."""
        full = np.full(self.n_features_in_, np.nan)  # constant columns: see below
        full[columns] = intercept
        std = np.zeros(self.n_features_in_)
        std[columns] = noise_std
        return {"intercept": full, "residual_std": std}

    # --- what a fitted logistic model does ---------------------------------------
    @property
    def _is_logistic(self):
        check_is_fitted(self)
        return hasattr(self, "intercept_")

    def _probabilities(self, X):
        W = to_numpy(self.adjacency_).astype(np.float64)
        constant = np.isnan(self.intercept_)
        P = expit(np.asarray(X, dtype=np.float64) @ W + self.intercept_)
        return np.where(constant, to_numpy(self.mean_), P)

    def predict(self, X):
        """Predict each variable from its parents.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Conditional mean of each column given its parents' values; with
            ``loss="logistic"`` the probability of a one.
        """
        if not self._is_logistic:
            return super().predict(X)
        X = self._validate(X, "predict")
        return like(self._probabilities(to_numpy(X)), X, dtype=X.dtype)

    def _residuals(self, X):
        if not self._is_logistic:
            return super()._residuals(X)
        return X - like(self._probabilities(to_numpy(X)), X, dtype=X.dtype)

    def inverse_transform(self, Z):
        """Rebuild the table from its exogenous noise.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_features)
            Residuals as from `transform`.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The table.

        Raises
        ------
        ValueError
            With ``loss="logistic"``, whose residuals are no noise of their own.
        """
        if self._is_logistic:
            raise ValueError("A logistic model cannot be rebuilt from residuals.")
        return super().inverse_transform(Z)

    def score(self, X, y=None):
        """Return the mean log-likelihood of a row under the fitted graph.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        y : None
            Ignored, present for API consistency.

        Returns
        -------
        float
            Mean log-likelihood in nats, Gaussian or, with ``loss="logistic"``, of
            independent coins. Columns that were constant in fitting do not count.
        """
        if not self._is_logistic:
            return super().score(X, y)
        X = to_numpy(self._validate(X, "score")).astype(np.float64)
        varies = ~np.isnan(self.intercept_)
        margin = X @ to_numpy(self.adjacency_).astype(np.float64)[:, varies]
        margin += self.intercept_[varies]
        log_density = X[:, varies] * margin - np.logaddexp(0.0, margin)
        return float(log_density.sum(axis=1).mean())

    def intervene(self, do, *, n_samples=None, random_state=None):
        """Predict what happens when some variables are set from outside.

        Parameters
        ----------
        do : dict
            Values by column name or index.
        n_samples : int, default=None
            None returns the means under the intervention, a number that many random
            rows. With ``loss="logistic"`` a number is needed.
        random_state : int, RandomState instance or None, default=None
            Source of the random numbers, used if ``n_samples`` is given.

        Returns
        -------
        ndarray of shape (n_features,) or (n_samples, n_features)
            Means, or rows drawn from the model, under the intervention.

        Raises
        ------
        ValueError
            If a name or index is unknown, a value is not a finite number, or
            ``n_samples`` is missing for a logistic model.
        """
        if not self._is_logistic:
            return super().intervene(do, n_samples=n_samples, random_state=random_state)
        if n_samples is None or n_samples < 1:
            raise ValueError(
                "The means of a logistic model have no closed form: give a positive "
                f"n_samples and average the rows; got {n_samples!r}."
            )
        columns, values = self._parse_intervention(do)
        given = dict(zip(columns.tolist(), values, strict=True))
        uniform = check_random_state(random_state).random_sample(
            (n_samples, self.n_features_in_)
        )
        W, mean = to_numpy(self.adjacency_).astype(np.float64), to_numpy(self.mean_)
        X = np.zeros_like(uniform)
        for j in to_numpy(self.causal_order_):
            if j in given:
                X[:, j] = given[j]
            elif np.isnan(self.intercept_[j]):
                X[:, j] = mean[j]
            else:
                X[:, j] = uniform[:, j] < expit(X @ W[:, j] + self.intercept_[j])
        return like(X, self.mean_, dtype=self.mean_.dtype)

    @property
    def total_effects_(self):
        """Total causal effects of a linear model, see the base class."""
        if self._is_logistic:
            raise AttributeError("The effects of a logistic model are not constant.")
        return super().total_effects_
