# SPDX-License-Identifier: BSD-3-Clause
"""What the learners of linear causal graphs share."""

from abc import ABCMeta
from numbers import Integral, Real

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skpapers.causal._base._dag import BaseDAG
from skpapers.causal._moments import merge_moments
from skpapers.utils._array_api import (
    check_same_namespace,
    float_dtypes,
    like,
    to_numpy,
)
from skpapers.utils._callbacks import with_callbacks
from skpapers.utils._estimator import all_or_nothing
from skpapers.utils._sklearn import fit_context, get_feature_names


class BaseLinearDAG(BaseDAG, metaclass=ABCMeta):
    """Base of the learners of linear causal graphs.

    A learner implements `_learn`; the rest is here.
    """

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def partial_fit(self, X, y=None, sample_weight=None, *, learn=True):
        """Add rows to what was seen so far and learn the graph of all of it.

        Only the number of rows, the means and the covariance are kept, so the memory
        does not grow with the rows, and the graph is that of one fit on all of them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Further rows; at least two in the first call.
        y : None
            Ignored, present for API consistency.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights as in `fit`.
        learn : bool, default=True
            False only adds the rows: say so in all calls but the last when the graph
            in between is of no interest.

        Returns
        -------
        self : object
            The learner.

        Raises
        ------
        ValueError
            As `fit`, or if X has other columns than before.
        """
        self._refuse_without_rows("partial_fit")
        first = not hasattr(self, "_moments")
        new, reference = self._read(X, sample_weight, reset=first)
        both = new if first else merge_moments(self._moments, new)
        if learn:
            self._learn_from(both, reference)
        else:
            self._moments = both
        return self

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit_covariance(self, covariance, n_samples, *, mean=None):
        """Learn the causal graph from a covariance matrix.

        Parameters
        ----------
        covariance : array-like of shape (n_features, n_features)
            Covariance of the columns (divisor ``n_samples``). The column names of a
            data frame are kept.
        n_samples : float
            Number of rows behind it, at least 2.
        mean : array-like of shape (n_features,), default=None
            Means of the columns; None stands for zeros.

        Returns
        -------
        self : object
            The fitted learner.

        Raises
        ------
        ValueError
            If the matrix is not square, symmetric and finite with a non-negative
            diagonal, if ``mean`` does not fit it, or if ``n_samples`` is below 2.
        """
        self._refuse_without_rows("fit_covariance")
        names = get_feature_names(covariance)
        C = check_array(covariance, dtype=np.float64, input_name="covariance")
        _check_covariance(C, n_samples)
        d = len(C)
        mean = np.zeros(d) if mean is None else np.asarray(mean, dtype=np.float64)
        if mean.shape != (d,):
            raise ValueError(f"mean must have shape ({d},), got {mean.shape}.")
        self.n_features_in_ = d
        vars(self).pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = names
        self._learn_from((float(n_samples), mean, (C + C.T) / 2), C)
        return self

    def _refuse_without_rows(self, method):
        if self._needs_rows():
            raise ValueError(
                f"loss={self.loss!r} needs all rows at once: {method} has no use for "
                "it. Call fit, or choose another loss."
            )

    def predict(self, X):
        """Predict each variable from its parents.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Conditional mean of each column given its parents' values.
        """
        X = self._validate(X, "predict")
        return self.mean_ + (X - self.mean_) @ self.adjacency_

    def _residuals(self, X):
        centred = X - self.mean_
        return centred - centred @ self.adjacency_

    def inverse_transform(self, Z):
        """Rebuild the table from its exogenous noise.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_features)
            Residuals as from `transform`.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The table mean + Z (I - W)⁻¹.
        """
        check_is_fitted(self)
        Z = check_array(Z, dtype=float_dtypes(Z), input_name="Z")
        if Z.shape[1] != self.n_features_in_:
            raise ValueError(
                f"Z has {Z.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
        check_same_namespace(self, "inverse_transform", Z, self.adjacency_)
        effects = like(self._effects(), Z, dtype=Z.dtype)
        return self.mean_ + Z @ effects

    def intervene(self, do, *, n_samples=None, random_state=None):
        """Predict what happens when some variables are set from outside.

        An intervention do(x_i = v) cuts the edges into x_i and lets the value v act on
        all descendants of x_i; the other variables keep their mechanisms.

        Parameters
        ----------
        do : dict
            Values by column name or index, for example ``{"PKC": 20.0}``, in the
            units of the table.
        n_samples : int, default=None
            None returns the means under the intervention, a number that many random
            rows.
        random_state : int, RandomState instance or None, default=None
            Source of the random numbers, used if ``n_samples`` is given.

        Returns
        -------
        ndarray of shape (n_features,) or (n_samples, n_features)
            Means, or rows drawn from the linear Gaussian model, under the intervention.

        Raises
        ------
        ValueError
            If a name or index is unknown, or a value is not a finite number.

        Examples
        --------
        >>> import numpy as np
        >>> from skpapers.causal import TopologicalSwap
        >>> rng = np.random.default_rng(0)
        >>> cause = rng.standard_normal(1000)
        >>> X = np.column_stack([cause, 2 * cause + rng.standard_normal(1000)])
        >>> learner = TopologicalSwap(loss="squared").fit(X)
        >>> learner.intervene({0: 3.0}).round()  # the effect follows
        array([3., 6.])
        >>> learner.intervene({1: 3.0}).round() + 0  # the cause does not
        array([0., 3.])
        """
        check_is_fitted(self)
        columns, values = self._parse_intervention(do)
        d = self.n_features_in_
        mean = to_numpy(self.mean_)
        if n_samples is None:
            Z = np.zeros((1, d))
        else:
            if not isinstance(n_samples, Integral) or n_samples < 1:
                raise ValueError(
                    f"n_samples must be None or a positive integer, got {n_samples!r}."
                )
            rng = check_random_state(random_state)
            Z = rng.standard_normal((n_samples, d)) * to_numpy(self.residual_std_)
        Z[:, columns] = values - mean[columns]
        X = mean + Z @ self._effects(cut=columns)
        X[:, columns] = values  # exactly
        X = X[0] if n_samples is None else X
        return like(X, self.mean_, dtype=self.mean_.dtype)

    def _effects(self, cut=()):
        """Return (I - W)⁻¹ with the edges into ``cut`` removed from W (NumPy)."""
        order = to_numpy(self.causal_order_)
        W = to_numpy(self.adjacency_).astype(np.float64)
        W[:, cut] = 0
        triangle = np.eye(len(W)) - W[np.ix_(order, order)]
        effects = np.empty_like(W)
        effects[np.ix_(order, order)] = solve_triangular(
            triangle, np.eye(len(W)), unit_diagonal=True
        )
        return effects

    @property
    def total_effects_(self):
        """Total causal effects, ndarray of shape (`n_features_in_`, `n_features_in_`).

        Entry (i, j) is the change of x_j when x_i is set one unit higher: the sum over
        all directed paths from i to j of the products of their weights, (I - W)⁻¹; the
        diagonal is 1.
        """
        check_is_fitted(self)
        return like(self._effects(), self.mean_, dtype=self.mean_.dtype)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags


def _check_covariance(C, n_samples):
    if C.shape[0] != C.shape[1]:
        raise ValueError(f"covariance must be square, got shape {C.shape}.")
    scale = np.abs(C).max()
    if np.abs(C - C.T).max() > 1e-8 * scale:
        raise ValueError("covariance must be symmetric.")
    if (np.diag(C) < 0).any():
        raise ValueError("covariance has a negative variance on its diagonal.")
    if not isinstance(n_samples, Real) or not n_samples >= 2:
        raise ValueError(f"n_samples must be a number >= 2, got {n_samples!r}.")
