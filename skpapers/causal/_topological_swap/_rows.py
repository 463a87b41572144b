# SPDX-License-Identifier: BSD-3-Clause
"""What `TopologicalSwap` does with the rows of a table.

The logistic and the callable losses need them (`skpapers.causal._general_losses`), and
a fitted logistic model predicts, scores and intervenes in its own way.
"""

import numpy as np
from scipy.special import expit
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skpapers.causal._base import LearnedDAG, residual_variances
from skpapers.causal._general_losses import (
    SparseFits,
    callable_fits,
    distinct_rows,
    logistic_fits,
)
from skpapers.causal._order_search import LOSSES, SWEEPS, search_order
from skpapers.causal._topological_swap._linear import (
    cut_weights,
    inner_covariance,
    learn_by_bic,
    sparse_weights,
)
from skpapers.causal._topological_swap._moves import (
    complete_graph,
    edge_masks,
    search_moves,
)
from skpapers.causal._topological_swap._starts import has_default_start, start_orders
from skpapers.utils._array_api import like, to_numpy

TINY = np.finfo(np.float32).tiny  # weight of a required edge that a penalty cuts


def row_starts(learner, C, n_samples, columns, sparse):
    """Return the start orders; by default the first is that of a linear search.

    It is milliseconds away: for sparse graphs that of the BIC, for complete ones that
    of least squares.
    """
    starts = start_orders(learner, C, n_samples, columns, learner.n_init)
    if has_default_start(learner):
        if sparse:
            starts[0] = learn_by_bic(learner, C, n_samples, columns).order
        else:
            inner = inner_covariance(learner, C, 0.0, n_samples, columns)
            options = {"loss": LOSSES["squared"], "sweeps": SWEEPS["insertion"]}
            limits = {"tol": learner.tol, "max_iter": learner.max_iter}
            starts[0] = search_order(inner, starts[0], **options, **limits).state.order
    return starts


def parents_of(W):
    """Return the parents of each node in a graph."""
    return {j: np.flatnonzero(W[:, j]).tolist() for j in range(len(W))}


def learn_by_callable(learner, C, n_samples, columns, X, weight):
    """Search with the user's regression."""
    if weight is not None:
        raise ValueError("A callable loss takes no sample_weight.")
    known = edge_masks(learner, columns)
    fits = callable_fits(learner.loss, np.asfortranarray(X - X.mean(axis=0)), known[0])
    starts = row_starts(learner, C, n_samples, columns, sparse=False)
    order, attributes = search_moves(learner, fits, starts, *known)
    raw = fits.weights(complete_graph(order), len(C))[0]
    W = sparse_weights(learner, C, n_samples, order, raw, *known)
    if learner.sparsifier in ("bic_l0", "adaptive_lasso"):
        W = fits.weights(parents_of(W), len(C))[0]
        W = cut_weights(learner, W, required=known[1])
    W[known[1] & (W == 0)] = TINY
    attributes["loss"] = "callable"
    noise_std = np.sqrt(residual_variances(C, W))
    return LearnedDAG(W, raw, order, noise_std, attributes)


def learn_by_logistic(learner, C, n_samples, columns, X, weight):
    """Search with l1-logistic regressions."""
    _check_binary(learner, X, columns)
    if learner.sparsifier == "adaptive_lasso":
        raise ValueError(
            "sparsifier='adaptive_lasso' is for least squares; with loss='logistic' "
            "use 'bic_l0', 'threshold' or None."
        )
    d, sparse = len(C), learner.sparsifier == "bic_l0"
    allowed, required = edge_masks(learner, columns)
    fits = dense = logistic_fits(*distinct_rows(X, weight), learner.alpha, allowed)
    if sparse:
        price = learner.penalty * np.log(n_samples) / (2 * n_samples)
        limit = learner.max_parents or d
        fits = SparseFits(dense, price, limit, allowed, required)
    starts = row_starts(learner, C, n_samples, columns, sparse)
    order, attributes = search_moves(learner, fits, starts, allowed, required)
    predecessors = complete_graph(order)
    W = raw = dense.weights(predecessors, d)[0]
    if sparse:
        parents = {j: fits(j, frozenset(p))[1] for j, p in predecessors.items()}
        W = dense.weights(parents, d)[0]
    automatic = 0.3 if learner.sparsifier == "threshold" else 0.0
    graph = (cut_weights(learner, W, automatic) != 0) | required
    W, intercept = dense.weights(parents_of(graph), d)
    W[required & (W == 0)] = TINY
    noise = X - expit(X @ W + intercept)
    noise_std = np.sqrt(np.average(noise**2, axis=0, weights=weight))
    attributes["loss"] = "logistic"
    # over all columns of the table, also those that do not vary
    attributes["intercept"] = np.full(learner.n_features_in_, np.nan)
    attributes["intercept"][columns] = intercept
    attributes["residual_std"] = np.zeros(learner.n_features_in_)
    attributes["residual_std"][columns] = noise_std
    return LearnedDAG(W, raw, order, noise_std, attributes)


def _check_binary(learner, X, columns):
    binary = ((X == 0) | (X == 1)).all(axis=0)
    if not binary.all():
        names = list(learner.get_feature_names_out()[columns[~binary]])
        raise ValueError(
            f"loss='logistic' needs columns of zeros and ones; {names} are not. "
            "Encode or drop them, or use another loss."
        )


class RowLossMixin:
    """What `TopologicalSwap` does where a covariance is not enough."""

    def _needs_rows(self):
        return callable(self.loss) or self.loss == "logistic"

    def _learn_rows(self, C, n_samples, columns, X, weight):
        learn = learn_by_callable if callable(self.loss) else learn_by_logistic
        X = to_numpy(X).astype(np.float64)[:, columns]
        return learn(self, C, n_samples, columns, X, weight)

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
