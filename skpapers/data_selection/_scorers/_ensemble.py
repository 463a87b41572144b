# SPDX-License-Identifier: BSD-3-Clause
"""One score made of several."""

from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skpapers.data_selection._chunks import is_dask, score_partitions
from skpapers.data_selection._groups import ScorerHolder
from skpapers.data_selection._scorers._base import ScoreResults
from skpapers.data_selection._scorers._el2n import EL2NScorer
from skpapers.data_selection._scorers._tracin import TracInScorer
from skpapers.utils._callbacks import CallbackSupportMixin, with_callbacks
from skpapers.utils._estimator import DocumentedEstimator, all_or_nothing
from skpapers.utils._sklearn import HasMethods, StrOptions, fit_context

FLOOR = 0.01  # least weight of the linear map
ROUNDING = 1e-9  # relative difference of scores that are tied


class EnsembleScorer(
    CallbackSupportMixin, ScorerHolder, ScoreResults, DocumentedEstimator
):
    """Score rows by the mean of several scores, put on one scale.

    Scorers with the same classifier share their trainings. Their scores are turned so
    that high is hard, made comparable by ``combine``, and averaged.

    Parameters
    ----------
    scorers : list of (str, scorer), default=None
        Names and scorers. None stands for "el2n", ``EL2NScorer()``, and "tracin",
        ``TracInScorer(n_runs=10)``, which share their ten trainings.

    weights : array-like of shape (n_scorers,), default=None
        Non-negative weights of the mean; None for equal ones.

    combine : {"mean_rank", "mean_zscore", "mean_weight"}, default="mean_rank"
        What is averaged: the share of the rows that are easier, (rank - 1/2) / n, with
        ties in the middle; the score in standard deviations from its mean; or the
        score mapped linearly to [0.01, 1] and divided by the sum, the weights of a
        linear sampling.

    random_state : int, RandomState instance or None, default=None
        Source of the random numbers of the scorers that have no ``random_state`` of
        their own. The result for a given seed does not depend on ``n_jobs``.

    n_jobs : int, default=None
        Number of runs trained at the same time; that of the scorers is not used.
        None means 1 unless in a `joblib.parallel_config` context, which may also name
        a cluster.

    memory : str or joblib.Memory, default=None
        Where to keep finished runs, so that fitting again with the same parameters,
        rows and (integer) ``random_state`` does not train again.

    verbose : int or bool, default=0
        Whether to print a line after each run.

    Attributes
    ----------
    scorers_ : dict of str to scorer
        The fitted scorers.

    n_trainings_ : int
        Number of trainings that it took.

    scores_ : ndarray of shape (n_samples,)
        The combined score of the scorers' means over their runs.

    scores_per_run_ : ndarray of shape (n_runs, n_samples)
        The combined scores of single runs, as many as every scorer has.

    scores_std_ : ndarray of shape (n_samples,)
        Their standard deviation.

    hardness_ : ndarray of shape (n_samples,)
        The same as ``scores_``: high is hard.

    stability_ : float
        Mean rank correlation of one run with the mean of the others; NaN for one run.

    classes_ : ndarray of shape (n_classes,)
        The labels.

    n_features_in_ : int
        Number of columns seen in ``fit``.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if X was a frame whose columns have names.

    See Also
    --------
    skpapers.data_selection.ScoreBank : The scores side by side.

    Notes
    -----
    Cost: as many runs as the scorer with most of them asks for, if all have the same
    classifier, and O(n log n) for ranks.

    References
    ----------
    .. [1] N. Anand, J. Tan, M. Minakova, "Influence scores at scale for efficient
       language data sampling", EMNLP 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skpapers.data_selection import EL2NScorer, EnsembleScorer, PVIScorer
    >>> X, y = load_iris(return_X_y=True)
    >>> X, y = StandardScaler().fit_transform(X), y.copy()
    >>> y[:3] = 2  # wrong labels
    >>> scorers = [("el2n", EL2NScorer(n_runs=3)), ("pvi", PVIScorer(n_runs=3))]
    >>> scorer = EnsembleScorer(scorers, random_state=0).fit(X, y)
    >>> np.sort(np.argsort(scorer.scores_)[-3:])
    array([0, 1, 2])
    """

    _parameter_constraints = {
        "scorers": [list, None],
        "weights": ["array-like", None],
        "combine": [StrOptions({"mean_rank", "mean_zscore", "mean_weight"})],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "memory": [str, HasMethods(["cache"]), None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        scorers=None,
        *,
        weights=None,
        combine="mean_rank",
        random_state=None,
        n_jobs=None,
        memory=None,
        verbose=0,
    ):
        self.scorers = scorers
        self.weights = weights
        self.combine = combine
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    def _default_scorers(self):
        return [("el2n", EL2NScorer()), ("tracin", TracInScorer(n_runs=10))]

    @with_callbacks
    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, **fit_params):
        """Train as often as needed, score the rows and combine the scores.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, in the form that the classifiers take.
        y : array-like of shape (n_samples,)
            Labels.
        **fit_params : dict
            What the classifiers' ``fit`` is to be given, by metadata routing.

        Returns
        -------
        self : object
            The fitted scorer.

        Raises
        ------
        ValueError
            As for the scorers, or if the weights do not suit them.
        TypeError
            As for the scorers, or if one is none.
        """
        weights = self._checked_weights()
        fitted, table, self.n_trainings_ = self._fit_scorers(X, y, fit_params)
        self.scorers_, self.classes_ = fitted, table.classes
        scorers = list(fitted.values())
        hardness = [scorer.hardness_ for scorer in scorers]
        self.scores_ = self._combine(hardness, hardness, weights)
        n_runs = min(len(scorer.scores_per_run_) for scorer in scorers)
        runs = [
            [_oriented(s, s.scores_per_run_[r]) for s in scorers] for r in range(n_runs)
        ]
        self.scores_per_run_ = np.array([self._combine(h, h, weights) for h in runs])
        self.scores_std_ = self.scores_per_run_.std(axis=0)
        return self

    def _checked_weights(self):
        n_scorers = len(self._named_scorers())
        if self.weights is None:
            return np.full(n_scorers, 1 / n_scorers)
        weights = np.asarray(self.weights, dtype=float)
        if weights.shape != (n_scorers,):
            raise ValueError(
                f"weights has shape {weights.shape}, but there are {n_scorers} scorers."
            )
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise ValueError(
                "weights have to be finite, non-negative and not all zero, got "
                f"{self.weights}."
            )
        return weights / weights.sum()

    def _combine(self, hardness, known, weights):
        if len(self.classes_) < 2:
            return np.zeros(len(hardness[0]))
        return combine_scores(hardness, known, weights, self.combine)

    def score_samples(self, X, y=None):
        """Score other rows with what was kept of the runs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; of a dask table the partitions are scored where they lie.
        y : array-like of shape (n_samples,), default=None
            Their labels; None takes the labels that the classifiers predict.

        Returns
        -------
        ndarray of shape (n_samples,)
            Scores on the scale of ``scores_``: ranks, for example, are those among the
            rows of ``fit``.

        Raises
        ------
        ValueError
            If a label is new, or if a scorer did not keep its checkpoints.
        """
        check_is_fitted(self)
        if is_dask(X):
            return score_partitions(self.score_samples, X, y)
        self._read_rows(X)
        scorers = list(self.scorers_.values())
        found = [_oriented(s, s.score_samples(X, y)) for s in scorers]
        known = [s.hardness_ for s in scorers]
        return self._combine(found, known, self._checked_weights())


def combine_scores(scores, known, weights, combine):
    """Average scores, each on the scale of the known ones.

    Parameters
    ----------
    scores : sequence of ndarray of shape (n_samples,)
        Scores of several kinds.
    known : sequence of ndarray
        Scores of the same kinds that the scales are taken from; the same objects where
        these rows are meant.
    weights : ndarray of shape (n_kinds,)
        Of the mean.
    combine : {"mean_rank", "mean_zscore", "mean_weight"}
        What is averaged.

    Returns
    -------
    ndarray of shape (n_samples,)
        The means.
    """
    if combine != "mean_rank" and not all(np.isfinite(k).all() for k in known):
        raise ValueError(
            f"combine={combine!r} needs finite scores; ranks, combine='mean_rank', may "
            "also be infinite."
        )
    scale = SCALES[combine]
    return weights @ np.array([scale(s, k) for s, k in zip(scores, known, strict=True)])


def _oriented(scorer, scores):
    return scores if scorer.higher_is_harder else -scores


def _rank_share(scores, known):
    """Return the share of known scores that are lower, ties in the middle.

    Scores that differ by rounding are tied. Between known ones the share is
    interpolated, so that it does not jump by rounding either.
    """
    largest = np.finfo(np.float64).max
    scores, known = (np.nan_to_num(x, posinf=largest) for x in (scores, known))
    order = np.sort(known)
    starts = np.flatnonzero(np.diff(order, prepend=-np.inf) > ROUNDING * np.abs(order))
    ends = np.append(starts[1:], len(order))
    share = (starts + ends) / (2 * len(order))
    knots = np.column_stack([order[starts], order[ends - 1]]).ravel()
    return np.interp(scores, knots, np.repeat(share, 2))


def _z_score(scores, known):
    """Return scores in standard deviations from the mean of the known ones."""
    std = known.std()
    if not std > 0:
        return np.zeros_like(scores)
    return (scores - known.mean()) / std


def _linear_weight(scores, known):
    """Return weights from FLOOR to 1, divided by the sum of those of the known ones."""
    low, high = known.min(), known.max()
    if not high > low:
        return np.full(len(scores), 1 / len(known))

    def mapped(x):
        return FLOOR + (1 - FLOOR) * np.clip((x - low) / (high - low), 0, 1)

    return mapped(scores) / mapped(known).sum()


SCALES = {
    "mean_rank": _rank_share,
    "mean_zscore": _z_score,
    "mean_weight": _linear_weight,
}
