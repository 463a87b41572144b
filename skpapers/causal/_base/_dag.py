# SPDX-License-Identifier: BSD-3-Clause
"""What all learners of causal graphs share, linear or not."""

from abc import ABCMeta, abstractmethod
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any
from warnings import warn

import numpy as np
from scipy.linalg.lapack import dpstrf
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from skpapers.causal._moments import moments
from skpapers.utils import DataConditionWarning
from skpapers.utils._array_api import (
    array_namespace,
    check_same_namespace,
    float_dtypes,
    like,
    to_numpy,
)
from skpapers.utils._callbacks import CallbackSupportMixin, with_callbacks
from skpapers.utils._estimator import DocumentedEstimator, all_or_nothing
from skpapers.utils._optional import import_optional
from skpapers.utils._sklearn import check_sample_weight, fit_context
from skpapers.utils._threads import single_thread

RANK_TOLERANCE = 1e-12  # unexplained share of a variance that counts as none


@dataclass
class LearnedDAG:
    """What a learner hands back; all of it speaks of the columns that it was given.

    Attributes
    ----------
    adjacency : ndarray of shape (d, d)
        Weights of the acyclic graph.
    raw_adjacency : ndarray of shape (d, d)
        Weights before small ones were cut.
    order : ndarray of shape (d,)
        Causal order of ``adjacency``, causes first.
    noise_std : ndarray of shape (d,)
        Standard deviation of the noise.
    attributes : dict
        Further fitted attributes, by name without the trailing underscore, that do not
        depend on the number of columns.
    """

    adjacency: np.ndarray
    raw_adjacency: np.ndarray
    order: np.ndarray
    noise_std: np.ndarray
    attributes: dict[str, Any] = field(default_factory=dict)


def residual_variances(covariance, adjacency):
    """Return diag((I - W)ᵀ C (I - W)), floored far below the columns' variances."""
    left_over = np.eye(len(adjacency)) - adjacency
    variances = np.einsum("ij,ij->j", left_over, covariance @ left_over)
    return np.maximum(variances, 1e-20 * np.diag(covariance))


def dependent_columns(C):
    """Return the columns that others explain completely, by pivoted Cholesky."""
    std = np.sqrt(np.diag(C))
    _, pivots, rank, _ = dpstrf(C / std / std[:, None], tol=RANK_TOLERANCE, lower=1)
    return np.sort(pivots[rank:] - 1)


class BaseDAG(
    CallbackSupportMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    DocumentedEstimator,
    metaclass=ABCMeta,
):
    """Base of the learners of causal graphs with additive noise.

    A learner implements `_learn` (or `_needs_rows` and `_learn_rows`) and `_residuals`,
    and its own `predict` and `intervene`.
    """

    def _learn(self, C, n_samples, columns):
        """Learn a graph from the covariance of columns that all vary.

        Parameters
        ----------
        C : ndarray of shape (d, d)
            Covariance with divisor ``n_samples``, float64, C-contiguous, not to be
            changed.
        n_samples : float
            Number of rows behind ``C``, or the sum of their weights.
        columns : ndarray of shape (d,)
            Indices of these columns in the user's table, for parameters that speak of
            columns.

        Returns
        -------
        LearnedDAG
            The graph over these columns.
        """
        raise NotImplementedError

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y=None, sample_weight=None):
        """Learn the causal graph of the columns of a table.

        The columns are centred and never rescaled: what is learnt may depend on their
        units (see `skpapers.causal.sortability_report`).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table: numeric, finite, at least two rows. It is never changed.
        y : None
            Ignored, present for API consistency.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; a weight of two counts as a row that stands twice.

        Returns
        -------
        self : object
            The fitted learner.

        Raises
        ------
        ValueError
            If X is not numeric and finite (rows with missing values have to be dropped
            or imputed before), if all its columns are constant, or if a weight is
            negative or all are zero.
        """
        moments, X = self._read(X, sample_weight, reset=True)
        self._learn_from(moments, X, rows=(X, sample_weight))
        return self

    def _read(self, X, sample_weight, reset):
        """Return the moments of a validated table, and the table."""
        X = validate_data(
            self,
            X,
            reset=reset,
            dtype=float_dtypes(X),
            ensure_min_samples=2 if reset else 1,
        )
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)
        with single_thread():
            return moments(X, sample_weight), X

    def _needs_rows(self):
        """Whether `_learn_rows`, given the table and weights, replaces `_learn`."""
        return False

    def _learn_from(self, moments, reference, rows=None):
        """Learn on the columns that vary by more than rounding errors.

        Fitted arrays get the library, the device and the dtype of ``reference``.
        """
        n, mean, C = moments
        if not np.isfinite(C).all():
            raise ValueError(
                "The covariance of X overflows: divide the columns by a common number."
            )
        rounding = n * np.finfo(np.float64).eps * np.abs(mean)
        varies = np.sqrt(np.diag(C)) > rounding
        columns, constant = np.flatnonzero(varies), np.flatnonzero(~varies)
        if len(columns) == 0:
            raise ValueError("All columns are constant: there is nothing to learn.")
        if len(constant):
            names = self.get_feature_names_out()
            warn(
                f"Constant columns are left without edges: {list(names[constant])}.",
                DataConditionWarning,
                stacklevel=2,
            )
        block = np.ix_(columns, columns)
        C_block = np.ascontiguousarray(C[block])
        with single_thread():
            if self._needs_rows():
                learned = self._learn_rows(C_block, n, columns, *rows)
            else:
                learned = self._learn(C_block, n, columns)

        def fitted(values):
            return like(values, reference, dtype=reference.dtype)

        def spread(values):
            full = np.zeros(C.shape[: values.ndim])
            full[block if values.ndim == 2 else columns] = values
            return fitted(full)

        self.adjacency_ = spread(learned.adjacency)
        self.raw_adjacency_ = spread(learned.raw_adjacency)
        order = np.concatenate([columns[learned.order], constant])
        self.causal_order_ = like(order.astype(np.int64), reference)
        self.noise_std_ = spread(learned.noise_std)
        if "residual_std" not in learned.attributes:
            residuals = residual_variances(C_block, learned.adjacency)
            self.residual_std_ = spread(np.sqrt(residuals))
        self.mean_ = fitted(mean)
        self.covariance_ = fitted(C)
        self.n_samples_seen_ = int(n) if n == int(n) else n
        self._moments = moments
        for name, value in learned.attributes.items():
            setattr(self, f"{name}_", value)

    def _warn_if_singular(self, C, n_samples, columns, consequence):
        """Tell users of a singular covariance, why it is one and what follows.

        Returns
        -------
        bool
            Whether it is singular.
        """
        dependent = dependent_columns(C)
        if n_samples <= len(C):
            reason = f"{n_samples:g} rows are too few for {len(C)} columns"
        elif len(dependent):
            names = list(self.get_feature_names_out()[columns[dependent]])
            reason = f"The columns {names} depend linearly on others (duplicates?)"
        else:
            return False
        warn(f"{reason}: {consequence}", DataConditionWarning, stacklevel=2)
        return True

    def _validate(self, X, method):
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=float_dtypes(X))
        check_same_namespace(self, method, X, self.adjacency_)
        return X

    def transform(self, X):
        """Return the exogenous noise of each variable: what its parents leave over.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The residuals (X - mean)(I - W).
        """
        return self._residuals(self._validate(X, "transform"))

    @abstractmethod
    def _residuals(self, X):
        """Return what the parents leave over of a validated table."""

    def score(self, X, y=None):
        """Return the mean Gaussian log-likelihood of a row under the fitted graph.

        Higher is better, also on rows that were not used in fitting, so it serves in
        `sklearn.model_selection.GridSearchCV`. Columns that were constant in fitting
        do not count.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table.
        y : None
            Ignored, present for API consistency.

        Returns
        -------
        float
            Mean log-likelihood in nats.
        """
        Z = self._residuals(self._validate(X, "score"))
        xp = array_namespace(Z)
        mean_square = to_numpy(xp.mean(xp.astype(Z, xp.float64) ** 2, axis=0))
        variance = to_numpy(self.residual_std_).astype(np.float64) ** 2
        varies = variance > 0
        variance, mean_square = variance[varies], mean_square[varies]
        log_density = np.log(2 * np.pi * variance) + mean_square / variance
        return float(-0.5 * log_density.sum())

    def sample(self, n_samples=1, random_state=None):
        """Draw rows from the fitted model, with Gaussian noise.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Source of the random numbers.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The rows.
        """
        return self.intervene({}, n_samples=n_samples, random_state=random_state)

    def _parse_intervention(self, do):
        names = {name: j for j, name in enumerate(self.get_feature_names_out())}
        columns, values = [], []
        for key, value in dict(do).items():
            column = names.get(key, key) if isinstance(key, str) else key
            if not isinstance(column, Integral) or not 0 <= column < len(names):
                raise ValueError(
                    f"do speaks of the column {key!r}; known are the names "
                    f"{list(names)} and the indices 0 to {len(names) - 1}."
                )
            if not np.isscalar(value) or not np.isfinite(value):
                raise ValueError(f"do[{key!r}] must be a finite number, got {value!r}.")
            columns.append(int(column))
            values.append(value)
        return np.array(columns, dtype=np.intp), np.array(values, dtype=np.float64)

    def to_frame(self):
        """Return the edges as a data frame, in causal order of their sources.

        Returns
        -------
        pandas.DataFrame
            One row an edge: ``source``, ``target``, ``weight`` as in `adjacency_`, and,
            for a linear model, ``total_effect``; a weight is then the direct effect,
            and both are in units of the target per unit of the source.
        """
        check_is_fitted(self)
        pandas = import_optional("pandas", extra="frames", needed_by="to_frame")
        names = self.get_feature_names_out()
        adjacency = to_numpy(self.adjacency_)
        position = np.argsort(to_numpy(self.causal_order_))
        sources, targets = np.nonzero(adjacency)
        rows = np.lexsort([position[targets], position[sources]])
        edge = sources[rows], targets[rows]
        columns = {
            "source": names[edge[0]],
            "target": names[edge[1]],
            "weight": adjacency[edge],
        }
        if hasattr(self, "total_effects_"):
            columns["total_effect"] = to_numpy(self.total_effects_)[edge]
        return pandas.DataFrame(columns)

    def to_networkx(self):
        """Return the graph as a networkx graph with named nodes and edge weights.

        Returns
        -------
        networkx.DiGraph
            Nodes in column order; every edge has the attribute ``weight``.
        """
        check_is_fitted(self)
        networkx = import_optional("networkx", extra="plot", needed_by="to_networkx")
        graph = networkx.DiGraph()
        names = self.get_feature_names_out()
        graph.add_nodes_from(names)
        adjacency = to_numpy(self.adjacency_)
        graph.add_weighted_edges_from(
            (names[i], names[j], float(adjacency[i, j]))
            for i, j in zip(*np.nonzero(adjacency), strict=True)
        )
        return graph

    def __sklearn_is_fitted__(self):
        return hasattr(self, "adjacency_")  # rows alone, from partial_fit, are no graph

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
