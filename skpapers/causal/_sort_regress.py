# SPDX-License-Identifier: BSD-3-Clause
"""Causal graphs by sorting the columns: the baseline that every learner must beat.

In simulated data the variance, and the share R² of it that the other columns explain,
tend to grow along the edges, so that sorting the columns by such a score finds a good
part of the graph. This says something about the simulation, not about the data of a
user: a learner that is no better than this baseline may have done no more than sort.

References
----------
A. G. Reisach, C. Seiler, S. Weichwald, "Beware of the simulated DAG! Causal discovery
benchmarks may be easy to game", NeurIPS 2021.
"""

from numbers import Real

import numpy as np
from sklearn.utils import check_random_state

from skpapers.causal._base import BaseLinearDAG, LearnedDAG, residual_variances
from skpapers.causal._sparsify import correlations, sparsify
from skpapers.utils._sklearn import Interval, StrOptions


def round_scores(scores):
    """Keep 9 digits of each score, so that those equal up to rounding errors are equal.

    Otherwise the order of standardised columns would be that of their rounding errors.
    """
    mantissa, exponent = np.frexp(scores)
    return np.ldexp(np.round(mantissa * 2**30) / 2**30, exponent)


def unexplained_shares(C):
    """Return 1 - R² of each column given all others, from the covariance.

    It is one over the diagonal of the inverse correlation matrix; a column with a part
    in the null space of that matrix is a combination of others, and nothing is left.
    """
    R = correlations(C)[0]
    eigenvalues, vectors = np.linalg.eigh(R)
    full = eigenvalues > 10 * len(R) * np.finfo(np.float64).eps * eigenvalues[-1]
    vectors, eigenvalues = vectors[:, full], eigenvalues[full]
    in_null_space = 1 - (vectors**2).sum(axis=1)
    inside = 1 / (vectors**2 / eigenvalues).sum(axis=1)
    return np.where(in_null_space > 1e-10, 0.0, inside)


class SortRegress(BaseLinearDAG):
    r"""Linear causal graph by sorting the columns and regressing on the earlier ones.

    The baseline of [1]_ and [2]_: columns in the order of a score, then a sparse
    regression of each column on those before it. Use it beside any other learner: what
    it finds as well is what the scale of the columns ("variance") or their
    predictability ("r2") gives away.

    Parameters
    ----------
    criterion : {"variance", "r2", "random"}, default="variance"
        The score that grows along the order: the variance, the share of the variance
        that a regression on all other columns explains, or a random number.

    sparsifier : {"adaptive_lasso", "bic_l0"}, default="adaptive_lasso"
        How the edges are chosen: the adaptive lasso with BIC as in [1]_, or a search of
        the parents of each column by BIC.

    penalty : float, default=2.0
        Price of an edge in "bic_l0", in units of log(n_samples); 1 is the textbook BIC.

    w_threshold : float or "auto", default="auto"
        Weights up to this absolute value are cut at the end. "auto" is 0.3 for
        "adaptive_lasso", as usual in the literature, and 0 for "bic_l0".

    random_state : int, RandomState instance or None, default=None
        Source of the random order.

    Attributes
    ----------
    adjacency_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        Weights of the graph; ``adjacency_[i, j] != 0`` means i -> j.

    raw_adjacency_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        Weights before those up to ``w_threshold`` were cut.

    causal_order_ : ndarray of shape (`n_features_in_`,)
        Columns by rising score. Constant columns are put last.

    noise_std_ : ndarray of shape (`n_features_in_`,)
        Standard deviation of the noise.

    residual_std_ : ndarray of shape (`n_features_in_`,)
        Standard deviation of what the parents leave over.

    mean_ : ndarray of shape (`n_features_in_`,)
        Column means.

    covariance_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        Covariance of the columns.

    n_samples_seen_ : int
        Number of rows.

    n_features_in_ : int
        Number of columns.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, if X had any.

    See Also
    --------
    sortability_report : What the scale of the columns decides in any learner.
    skpapers.metrics.variance_sortability : How well the variances sort a known graph.

    Notes
    -----
    O(n d²) for the covariance and at most O(d⁴) for all lasso paths, which is 0.02
    seconds for 200 columns.

    References
    ----------
    .. [1] A. G. Reisach, C. Seiler, S. Weichwald, "Beware of the simulated DAG! Causal
       discovery benchmarks may be easy to game", NeurIPS 2021.
    .. [2] A. G. Reisach, M. Tami, C. Seiler, A. Chambaz, S. Weichwald, "A
       scale-invariant sorting criterion to find a causal order in additive noise
       models", NeurIPS 2023.

    Examples
    --------
    >>> from skpapers.causal import SortRegress
    >>> from skpapers.datasets import make_linear_sem
    >>> data = make_linear_sem(1000, n_features=4, n_edges=4, random_state=0)
    >>> learner = SortRegress().fit(data.X)
    >>> bool(((learner.adjacency_ != 0) == (data.W != 0)).all())
    True
    """

    _parameter_constraints = {
        "criterion": [StrOptions({"variance", "r2", "random"})],
        "sparsifier": [StrOptions({"adaptive_lasso", "bic_l0"})],
        "penalty": [Interval(Real, 0, None, closed="left")],
        "w_threshold": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        criterion="variance",
        *,
        sparsifier="adaptive_lasso",
        penalty=2.0,
        w_threshold="auto",
        random_state=None,
    ):
        self.criterion = criterion
        self.sparsifier = sparsifier
        self.penalty = penalty
        self.w_threshold = w_threshold
        self.random_state = random_state

    def _learn(self, C, n_samples, columns):
        self._warn_if_singular(
            C,
            n_samples,
            columns,
            "regressions of columns on each other are not unique, and the graph is "
            "mostly arbitrary. Collect more rows or drop columns.",
        )
        order = self._sort(C)
        raw = sparsify(C, n_samples, order, self.sparsifier, penalty=self.penalty)
        threshold = self.w_threshold
        if threshold == "auto":
            threshold = 0.3 if self.sparsifier == "adaptive_lasso" else 0.0
        adjacency = np.where(np.abs(raw) > threshold, raw, 0.0)
        return LearnedDAG(
            adjacency=adjacency,
            raw_adjacency=raw,
            order=order,
            noise_std=np.sqrt(residual_variances(C, adjacency)),
        )

    def _sort(self, C):
        """Return the columns by rising score, equal ones by index."""
        if self.criterion == "random":
            return check_random_state(self.random_state).permutation(len(C))
        scores = np.diag(C)
        if self.criterion == "r2":
            scores = -unexplained_shares(C)
        return np.argsort(round_scores(scores), kind="stable")
