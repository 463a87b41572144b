# SPDX-License-Identifier: BSD-3-Clause
"""PVI: the bits that the columns add about the label."""

import copy
import warnings
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from skpapers.data_selection._accumulators import Information
from skpapers.data_selection._checkpoints import (
    fit_transformers,
    iter_checkpoints,
    seeded,
    transform_rows,
)
from skpapers.data_selection._chunks import count_rows, passes, take_rows
from skpapers.data_selection._labelled import LOG_TINY
from skpapers.data_selection._runs import Job, light_copy
from skpapers.data_selection._scorers._base import BaseScorer
from skpapers.data_selection._table import draw_seeds
from skpapers.utils._sklearn import Interval, StrOptions


class PVIScorer(BaseScorer):
    r"""Score rows by how many bits of information the columns give about the label.

    Pointwise V-information of a row (x, y) is

    .. math:: \log_2 p(y \mid x) - \log_2 p(y),

    with p(y | x) from a classifier trained on the rows, and p(y) from one that sees
    nothing. A low score, below zero in particular, is a hard or wrongly labelled row;
    the mean over the table is the information that this kind of classifier can use.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier with probabilities, or a pipeline that ends in one; it is cloned.
        Any classifier serves.
        None stands for ``MLPClassifier((100,), solver="sgd", learning_rate_init=0.05,
        batch_size=min(32, n_samples))``, which wants columns of similar scale.

    epochs : int or None, default=2
        Length of the training.
        What an epoch is, depends on the classifier: a stage of
        ``staged_predict_proba``; else a pass over the rows by ``partial_fit``; else a
        tree or an iteration added by ``warm_start``. None scores the classifier as its
        ``fit`` leaves it, which is all there is for the others.

    n_runs : int, default=10
        Number of trainings from independent seeds whose scores are averaged.

    null_model : {"prior", "fit"}, default="prior"
        Where p(y) comes from: the frequencies of the classes, weighted if there are
        sample weights, which is what a classifier without columns converges to; or a
        clone trained for as long on columns of zeros.

    cv : int, default=None
        None scores each row with the classifier that was trained on it. A number of
        folds scores it with one that was not, at as many trainings a run.

    score_path : bool, default=False
        Whether to keep the scores after every epoch in ``score_path_``; not with
        ``cv``.

    random_state : int, RandomState instance or None, default=None
        Source of the random numbers: each run gets a generator of its own, which
        replaces every ``random_state`` of the classifier. The result for a given seed
        does not depend on ``n_jobs``.

    n_jobs : int, default=None
        Number of runs trained at the same time. None means 1 unless in a
        `joblib.parallel_config` context, which may also name a cluster.

    memory : str or joblib.Memory, default=None
        Where to keep finished runs, so that fitting again with the same parameters,
        rows and (integer) ``random_state`` does not train again.

    verbose : int or bool, default=0
        Whether to print a line after each run.

    Attributes
    ----------
    scores_ : ndarray of shape (n_samples,)
        Mean over the runs of the information in bits.

    scores_per_run_ : ndarray of shape (n_runs, n_samples)
        The same for each run.

    scores_std_ : ndarray of shape (n_samples,)
        Standard deviation over the runs. A mean over R runs is known up to about
        ``scores_std_ / sqrt(R)``: rows that differ by less are in random order.

    hardness_ : ndarray of shape (n_samples,)
        The negative of ``scores_``: high is hard.

    stability_ : float
        Mean rank correlation of one run with the mean of the others; NaN for one run.

    score_path_ : ndarray of shape (n_checkpoints, n_samples)
        Scores after each epoch, mean over the runs; only with ``score_path=True``.

    estimators_ : list of estimators
        The classifiers as each run left them, without what only training needs.

    checkpoints_ : list of dict
        What `score_samples` uses of each run.

    classes_ : ndarray of shape (n_classes,)
        The labels.

    n_features_in_ : int
        Number of columns seen in ``fit``.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if X was a frame whose columns have names.

    See Also
    --------
    pvi_scores : The same from given probabilities.

    Notes
    -----
    Cost: the runs, times ``cv`` if given, twice as many with ``null_model="fit"``, and
    O(n K) for n rows and K classes. Logarithms of probabilities are cut at 1e-300.

    References
    ----------
    .. [1] K. Ethayarajh, Y. Choi, S. Swayamdipta, "Understanding dataset difficulty
       with V-usable information", ICML 2022.
    .. [2] N. Anand, J. Tan, M. Minakova, "Influence scores at scale for efficient
       language data sampling", EMNLP 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skpapers.data_selection import PVIScorer
    >>> X, y = load_iris(return_X_y=True)
    >>> X, y = StandardScaler().fit_transform(X), y.copy()
    >>> y[:3] = 2  # wrong labels
    >>> scorer = PVIScorer(epochs=10, n_runs=3, random_state=0).fit(X, y)
    >>> np.sort(np.argsort(scorer.scores_)[:3])
    array([0, 1, 2])
    >>> bool(scorer.scores_[:3].max() < 0)
    True
    """

    _parameter_constraints = {
        **BaseScorer._parameter_constraints,
        "epochs": [Interval(Integral, 1, None, closed="left"), None],
        "null_model": [StrOptions({"prior", "fit"})],
        "cv": [Interval(Integral, 2, None, closed="left"), None],
        "score_path": ["boolean"],
    }
    higher_is_harder = False

    def __init__(
        self,
        estimator=None,
        *,
        epochs=2,
        n_runs=10,
        null_model="prior",
        cv=None,
        score_path=False,
        random_state=None,
        n_jobs=None,
        memory=None,
        verbose=0,
    ):
        self.estimator = estimator
        self.epochs = epochs
        self.n_runs = n_runs
        self.null_model = null_model
        self.cv = cv
        self.score_path = score_path
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    @property
    def _shares_pass(self):
        return self.cv is None and self.null_model == "prior"

    def _times(self, last, n_samples):
        if self.cv is None:
            return self._last_or_all_epochs()
        return None if self.epochs is None else (float(self.epochs),)

    def _accumulator(self, times, table):
        keep_path = self.score_path and self.cv is None
        return Information(times, log_frequencies(table), keep_path=keep_path)

    def _job(self, estimator, table):
        job = super()._job(estimator, table)
        if self._shares_pass:
            return job
        return InformationJob(**vars(job), cv=self.cv, null_model=self.null_model)

    def _rescore(self, record, X, codes):
        if "folds" not in record:
            return super()._rescore(record, X, codes)
        bits = [self._rescore_fold(fold, X, codes) for fold in record["folds"]]
        return np.mean(bits, axis=0)

    def _rescore_fold(self, fold, X, codes):
        """Score rows by a training that may have lacked a class."""
        (model,), log_null = fold["models"], fold["reference"]["log_null"]
        log_p = _log_proba(model, transform_rows(fold["estimator"], X), self.classes_)
        return (log_p[np.arange(len(codes)), codes] - log_null[codes]) / np.log(2)


def log_frequencies(table):
    """Return the logarithms of the weighted frequencies of the classes.

    Parameters
    ----------
    table : Table
        The rows; where labels are only those of other rows, None is returned.

    Returns
    -------
    ndarray of shape (n_classes,) or None
        Natural logarithms, cut at 1e-300.
    """
    if table.y is None:
        return None
    weight = table.fit_params.get("sample_weight")
    counts = np.bincount(table.codes, weight, minlength=len(table.classes))
    return np.log(np.maximum(counts / counts.sum(), 1e-300))


@dataclass
class InformationJob(Job):
    """A run of PVI with trainings of its own: on nothing, or on parts of the rows.

    Attributes
    ----------
    cv : int or None
        Number of folds.
    null_model : {"prior", "fit"}
        Where the probabilities without columns come from.
    """

    cv: int | None = None
    null_model: str = "prior"

    def __call__(self, table, seed):
        """Train; return what `Job` does, in a list of one."""
        seeds = draw_seeds(int(seed), 2 + (self.cv or 0))
        (accumulator,) = accumulators = copy.deepcopy(self.accumulators)
        if self.null_model == "fit":
            accumulator.log_null = self._null_log_proba(table, seeds[0])
        if self.cv is None:
            return Job.__call__(replace(self, accumulators=accumulators), table, seed)
        return [self._out_of_fold(table, accumulator.log_null, seeds[1:])]

    def _null_log_proba(self, table, seed):
        """Train on columns of zeros and return the logarithms of the probabilities."""
        estimator = seeded(clone(self.estimator, safe=False), int(seed))
        last, X, params = fit_transformers(
            estimator, table.X, table.y, dict(table.fit_params)
        )
        empty = sparse.csr_matrix if sparse.issparse(X) else np.zeros
        checkpoint = _last_checkpoint(
            last,
            empty(X.shape, dtype=getattr(X, "dtype", np.float64)),
            table.y,
            epochs=self.epochs,
            classes=table.classes,
            random_state=int(seed),
            fit_params=params,
        )
        one = empty((1, X.shape[1]), dtype=getattr(X, "dtype", np.float64))
        return _log_proba(checkpoint.model, one, table.classes)[0]

    def _out_of_fold(self, table, log_null, seeds):
        """Train on all folds but one and score that one, in turn."""
        scores, folds = np.empty(len(table.y)), []
        splits = StratifiedKFold(self.cv, shuffle=True, random_state=int(seeds[0]))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class")
            parts = list(splits.split(np.zeros(len(table.y)), table.codes))
        for seed, (train, test) in zip(seeds[1:], parts, strict=True):
            checkpoint = _last_checkpoint(
                self.estimator,
                take_rows(table.X, train),
                table.y[train],
                epochs=self.epochs,
                classes=table.classes,
                random_state=int(seed),
                fit_params={k: v[train] for k, v in table.fit_params.items()},
            )
            rows = transform_rows(checkpoint.estimator, take_rows(table.X, test))
            log_p = _log_proba(checkpoint.model, rows, table.classes)
            codes = table.codes[test]
            bits = log_p[np.arange(len(test)), codes] - log_null[codes]
            scores[test] = bits / np.log(2)
            folds.append({"rows": test, **self._fold(checkpoint, log_null)})
        return {
            "scores": scores,
            "path": None,
            "folds": folds,
            "estimators": [fold["estimator"] for fold in folds],
        }

    def _fold(self, checkpoint, log_null):
        return {
            "models": [checkpoint.model.snapshot()],
            "epochs": [float(checkpoint.epoch)],
            "learning_rates": [float(checkpoint.learning_rate)],
            "estimator": light_copy(checkpoint.estimator),
            "reference": {"log_null": log_null},
        }


def _last_checkpoint(estimator, X, y, *, epochs, **settings):
    """Train and return the last state."""
    every = 1.0 if epochs is None else float(epochs)
    (checkpoint,) = iter_checkpoints(
        estimator, X, y, epochs=epochs, check_every=every, **settings
    )
    return checkpoint


def _log_proba(model, X, classes):
    """Return logarithms of probabilities of all classes, also of those not learnt."""
    found = np.full((count_rows(X), len(classes)), LOG_TINY)
    columns = np.searchsorted(classes, model.classes_)
    for rows, p in passes(model, X):
        found[rows, columns] = np.maximum(p.log_proba, LOG_TINY)
    return found
