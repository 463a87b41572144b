# SPDX-License-Identifier: BSD-3-Clause
"""What all scorers of rows share: the table, the runs, the results, other rows."""

import warnings
from numbers import Integral

import numpy as np
from scipy.stats import rankdata
from sklearn.utils import column_or_1d
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skpapers.data_selection._checkpoints import last_step
from skpapers.data_selection._chunks import count_rows, is_dask, score_partitions
from skpapers.data_selection._models._base import is_torch, no_gradients
from skpapers.data_selection._models._dense import is_dense
from skpapers.data_selection._runs import Job, map_runs, predict_with, rescore, told
from skpapers.data_selection._table import (
    Table,
    default_classifier,
    draw_seeds,
    read_rows,
    read_table,
    route,
    tags_of,
    warn_of_scales,
)
from skpapers.utils import DataConditionWarning
from skpapers.utils._callbacks import CallbackSupportMixin, with_callbacks
from skpapers.utils._estimator import DocumentedEstimator, all_or_nothing
from skpapers.utils._sklearn import HasMethods, Interval, fit_context

MIN_RELIABILITY = 0.5  # of the mean over the runs; below it we warn
MAX_RANKED = 20_000  # rows that this is judged by


def stability(scores_per_run):
    """Return the mean rank correlation of each run with the mean of the others.

    Parameters
    ----------
    scores_per_run : ndarray of shape (n_runs, n_samples)
        Scores.

    Returns
    -------
    float
        In [-1, 1]; NaN for a single run. Two constant rows agree.
    """
    n_runs = len(scores_per_run)
    if n_runs < 2:
        return np.nan
    found = [
        _rank_correlation(scores, np.delete(scores_per_run, run, axis=0).sum(axis=0))
        for run, scores in enumerate(scores_per_run)
    ]
    return float(np.mean(found))


def _rank_correlation(a, b):
    a, b = (rankdata(x) - (len(x) + 1) / 2 for x in (a, b))
    norm = np.sqrt((a @ a) * (b @ b))
    if norm == 0:
        return float(not a.any() and not b.any())
    return a @ b / norm


class ScoreResults:
    """What can be asked of scores, with ``scores_`` and ``scores_per_run_``."""

    higher_is_harder = True

    @property
    def hardness_(self):
        """Scores with the hard rows on top, of shape (n_samples,)."""
        check_is_fitted(self)
        return self.scores_ if self.higher_is_harder else -self.scores_

    @property
    def stability_(self):
        """Mean rank correlation of one run with the mean of the others; NaN for one."""
        check_is_fitted(self)
        return stability(self.scores_per_run_)


class BaseScorer(CallbackSupportMixin, ScoreResults, DocumentedEstimator):
    """A score for each labelled row, from a classifier looked at while it trains.

    A subclass says which `Accumulator` it wants and when it looks.
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit"]), HasMethods(["named_parameters"]), None],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "n_runs": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "memory": [str, HasMethods(["cache"]), None],
        "verbose": ["verbose"],
    }
    _instead_of_none = {
        "estimator": "a classifier, such as MLPClassifier((100,), solver='sgd', "
        "learning_rate_init=0.05),"
    }
    _needs_gradients = False
    _shares_pass = True  # whether other scores can be filled by the same training

    @with_callbacks
    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, **fit_params):
        """Train the classifier and score the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, in the form that the classifier takes. The default classifier wants
            numbers, dense or sparse, with columns of similar scale.
        y : array-like of shape (n_samples,)
            Labels; the scores tell how well they suit the rows.
        **fit_params : dict
            What the classifier's ``fit`` is to be given, by metadata routing: for
            example ``sample_weight``, if the classifier requests it.

        Returns
        -------
        self : object
            The fitted scorer.

        Raises
        ------
        ValueError
            If ``y`` is no set of classes, if ``epochs`` is given for a classifier that
            cannot be looked at while it trains, or if the scores of a run are not
            finite.
        TypeError
            If the classifier has no probabilities, or no gradients where the score
            needs them.

        Warns
        -----
        DataConditionWarning
            If the default classifier meets columns whose scales differ by more than
            1000, or if the runs agree so little that more than half of the spread of
            the ranks is chance.
        """
        estimator = self._resolve_estimator(count_rows(X))
        table = read_table(self, X, y, [estimator])
        table.fit_params = self._route(fit_params, table)
        seeds = draw_seeds(self.random_state, self.n_runs)
        if len(table.classes) < 2:
            self._store_zeros(table)
            return self
        self._check_classifier(estimator, table)
        job = self._job(estimator, table)
        results = map_runs(self, [job] * len(seeds), table, seeds)
        runs = [found[0] for found in told(self, results, len(seeds))]
        self._store(table, runs)
        return self

    # ------------------------------------------------------------ what subclasses say

    def _accumulator(self, times, table):
        """Return the accumulator of a training with checkpoints at these times."""
        raise NotImplementedError

    def _times(self, last, n_samples):
        """Return the epochs at which it looks; None for the trained classifier."""
        raise NotImplementedError

    def _last_or_all_epochs(self):
        if self.epochs is None:
            return None
        if self.epochs and self.score_path:
            return tuple(float(epoch) for epoch in range(1, self.epochs + 1))
        return (float(self.epochs),)

    def _job(self, estimator, table):
        """Return what a worker does in one run."""
        times = self._times(last_step(estimator), count_rows(table.X))
        accumulator = self._accumulator(times, table)
        return Job(estimator, self.epochs, times, [accumulator], [self._keeps()])

    def _keeps(self):
        return getattr(self, "keep_checkpoints", True)

    def _route(self, fit_params, table):
        """Return what of the arguments of ``fit`` goes to the classifier."""
        return route(self, fit_params, table)

    # ---------------------------------------------------------------------- the results

    def _resolve_estimator(self, n_samples):
        return (
            default_classifier(n_samples)
            if self.estimator is None
            else (self.estimator)
        )

    def _check_classifier(self, estimator, table):
        last = last_step(estimator)
        if not (hasattr(last, "predict_proba") or is_torch(last) or _wraps(last)):
            raise TypeError(
                f"{type(self).__name__} needs a classifier with predict_proba, which "
                f"{type(last).__name__} has not, at least with these parameters. Wrap "
                "it in CalibratedClassifierCV, or take another."
            )
        if self._needs_gradients and not (is_torch(last) or is_dense(last)):
            raise no_gradients(type(last).__name__)
        if self.estimator is None:
            warn_of_scales(table.X)
        if self.epochs == 0:
            warnings.warn(
                f"{type(self).__name__}(epochs=0) scores an untrained classifier. That "
                "this prunes better than chance was claimed, but does not reproduce.",
                UserWarning,
                stacklevel=6,
            )

    def _store(self, table, runs):
        """Set the fitted attributes from what the runs left."""
        vars(self).pop("score_path_", None)  # of a former fit
        self.classes_ = table.classes
        scores = np.array([run["scores"] for run in runs])
        self._check_finite(scores)
        self.scores_per_run_ = scores
        self.scores_ = scores.mean(axis=0)
        with np.errstate(invalid="ignore"):  # runs may agree on an infinite score
            spread = scores.std(axis=0)
        self.scores_std_ = np.where((scores == scores[0]).all(axis=0), 0.0, spread)
        self.estimators_ = [
            estimator
            for run in runs
            for estimator in run.get("estimators", [run.get("estimator")])
        ]
        self.checkpoints_ = [
            {name: run[name] for name in run if name not in ("scores", "path")}
            for run in runs
        ]
        if runs and runs[0]["path"] is not None:
            self.score_path_ = np.mean([run["path"] for run in runs], axis=0)
        self._warn_of_few_runs()

    def _copy_columns(self, owner):
        """Know the same columns as an estimator that has read the table."""
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(owner, name):
                setattr(self, name, getattr(owner, name))

    def _store_zeros(self, table):
        vars(self).pop("score_path_", None)
        self.classes_ = table.classes
        self.scores_per_run_ = np.zeros((self.n_runs, len(table.y)))
        self.scores_, self.scores_std_ = np.zeros((2, len(table.y)))
        self.estimators_, self.checkpoints_ = [], []

    def _check_finite(self, scores):
        bad = ~np.isfinite(scores).all(axis=1)
        if bad.any():
            raise ValueError(
                f"The scores of run {bad.argmax() + 1} of {len(scores)} are "
                "not finite: the training diverged. Scale the columns, or lower the "
                "learning rate of the classifier."
            )

    def _warn_of_few_runs(self):
        n_runs, n_samples = self.scores_per_run_.shape
        if n_runs < 2:
            return
        step = -(-n_samples // MAX_RANKED)
        ranks = np.array([rankdata(s) for s in self.scores_per_run_[:, ::step]])
        ranks -= ranks.mean(axis=1, keepdims=True)
        between, total = ranks.mean(axis=0).var(), ranks.var(axis=1).mean()
        # variance of the mean of the runs = signal + noise / n_runs
        noise = max(total - between, 0) * n_runs / (n_runs - 1)
        if between > 0 and 1 - noise / n_runs / between < MIN_RELIABILITY:
            warnings.warn(
                f"n_runs={n_runs} is too small: the runs agree so little (stability_ "
                f"{self.stability_:.2f}) that more than half of the spread of their "
                "mean's ranks is chance. Raise n_runs.",
                DataConditionWarning,
                stacklevel=5,
            )

    def score_samples(self, X, y=None):
        """Score other rows with what was kept of the runs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; of a dask table the partitions are scored where they lie.
        y : array-like of shape (n_samples,), default=None
            Their labels, of those that were seen in ``fit``. None takes the labels that
            the trained classifiers predict, by the mean of their probabilities.

        Returns
        -------
        ndarray of shape (n_samples,)
            Scores on the scale of ``scores_``, mean over the runs.

        Raises
        ------
        ValueError
            If a label is new, or if the checkpoints were not kept.
        """
        check_is_fitted(self)
        if is_dask(X):
            return score_partitions(self.score_samples, X, y)
        X = self._read_rows(X)
        if not self._keeps():
            raise ValueError(
                "score_samples needs the checkpoints: fit with keep_checkpoints=True."
            )
        codes = self._codes(X, y)
        if len(self.classes_) < 2:
            return np.zeros(len(codes))
        return np.mean([self._rescore(r, X, codes) for r in self.checkpoints_], axis=0)

    def _read_rows(self, X):
        estimators = [self._resolve_estimator(1)]
        return read_rows(self, X, estimators=estimators, reset=False)

    def _rescore(self, record, X, codes):
        table = Table(X, None, codes, self.classes_)
        times = None if np.isnan(record["epochs"]).any() else tuple(record["epochs"])
        accumulator = self._accumulator(times, table)
        return rescore(record, accumulator, X, codes, len(self.classes_))

    def _codes(self, X, y):
        if y is None:
            return self._predicted_codes(X)
        y = column_or_1d(y)
        check_consistent_length(X, y)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"y has labels that fit did not see: {unknown[:5].tolist()}; known are "
                f"{self.classes_[:20].tolist()}."
            )
        return np.searchsorted(self.classes_, y)

    def _predicted_codes(self, X):
        total = np.zeros((count_rows(X), len(self.classes_)))
        for record in self.checkpoints_:
            for part in record.get("folds", [record]):
                total += predict_with(part, X, self.classes_)
        return total.argmax(axis=1)

    # ------------------------------------------------------------- for scikit-learn

    def get_metadata_routing(self):
        """Return how arguments of ``fit`` reach the classifier.

        Returns
        -------
        routing : MetadataRouter
            The arguments that the classifier's ``fit`` requests go to it.
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        return MetadataRouter(owner=self).add(
            estimator=self._resolve_estimator(1), method_mapping=mapping
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = tags_of(self._resolve_estimator(1))
        tags.target_tags.required = True
        tags.classifier_tags = inner.classifier_tags
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        return tags


def _wraps(last):
    """Return whether a classifier holds others, and can have what they have."""
    return any(hasattr(value, "fit") for value in last.get_params().values())
