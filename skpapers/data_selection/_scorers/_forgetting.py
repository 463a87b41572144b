# SPDX-License-Identifier: BSD-3-Clause
"""Forgetting: how often a row is right and then wrong again."""

from numbers import Integral, Real

import numpy as np

from skpapers.data_selection._accumulators import Forgetting
from skpapers.data_selection._checkpoints import checkpoint_times
from skpapers.data_selection._scorers._base import BaseScorer
from skpapers.utils._sklearn import Interval, StrOptions


class ForgettingScorer(BaseScorer):
    """Score rows by how often training forgets them.

    All rows are classified at regular checkpoints of the training. The score counts the
    events that a row is right at one checkpoint and wrong at the next, as a mean over
    independent runs; a row that is never right counts as forgotten at each.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier with probabilities, or a pipeline that ends in one; it is cloned.
        Any classifier serves that can be looked at while it trains.
        None stands for ``MLPClassifier((100,), solver="sgd", learning_rate_init=0.05,
        batch_size=min(32, n_samples))``, which wants columns of similar scale.

    epochs : int, default=2
        Length of the training.
        What an epoch is, depends on the classifier: a stage of
        ``staged_predict_proba``; else a pass over the rows by ``partial_fit``; else a
        tree or an iteration added by ``warm_start``.

    check_every : float or int, default=0.1
        Time between checkpoints: a float is a share of an epoch, an integer a number of
        mini-batches (rows, for classifiers without ``batch_size``). Where parts of an
        epoch are not to be had, it is rounded up to whole ones.

    n_runs : int, default=3
        Number of trainings from independent seeds whose scores are averaged.

    never_learned : {"max", "inf"}, default="max"
        What a row counts in a run in which it is never right: the number of
        checkpoints, or infinity.

    keep_checkpoints : bool, default=True
        Whether to keep a light copy of the classifier at each checkpoint, which
        `score_samples` needs.

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
        Mean over the runs of the number of events.

    scores_per_run_ : ndarray of shape (n_runs, n_samples)
        The same for each run.

    scores_std_ : ndarray of shape (n_samples,)
        Standard deviation over the runs. A mean over R runs is known up to about
        ``scores_std_ / sqrt(R)``: rows that differ by less are in random order.

    hardness_ : ndarray of shape (n_samples,)
        The same as ``scores_``: high is hard.

    stability_ : float
        Mean rank correlation of one run with the mean of the others; NaN for one run.

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
    forgetting_scores : The same from given predictions.

    Notes
    -----
    Cost: the runs, and a forward pass over all rows at each checkpoint. Memory: O(n),
    two bits and a counter a row.

    Most rows of an easy table are never forgotten: choose among ties at random, which
    the selection does, or check more often. If few rows have events, raise ``epochs``
    and ``n_runs``.

    References
    ----------
    .. [1] M. Toneva et al., "An empirical study of example forgetting during deep
       neural network learning", ICLR 2019.
    .. [2] N. Anand, J. Tan, M. Minakova, "Influence scores at scale for efficient
       language data sampling", EMNLP 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skpapers.data_selection import ForgettingScorer
    >>> X, y = load_iris(return_X_y=True)
    >>> X, y = StandardScaler().fit_transform(X), y.copy()
    >>> y[:3] = 2  # wrong labels
    >>> scorer = ForgettingScorer(epochs=10, check_every=0.5, random_state=0).fit(X, y)
    >>> bool(scorer.scores_[:3].min() > np.median(scorer.scores_))
    True
    """

    _parameter_constraints = {
        **BaseScorer._parameter_constraints,
        "check_every": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, None, closed="neither"),
        ],
        "never_learned": [StrOptions({"max", "inf"})],
        "keep_checkpoints": ["boolean"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        epochs=2,
        check_every=0.1,
        n_runs=3,
        never_learned="max",
        keep_checkpoints=True,
        random_state=None,
        n_jobs=None,
        memory=None,
        verbose=0,
    ):
        self.estimator = estimator
        self.epochs = epochs
        self.check_every = check_every
        self.n_runs = n_runs
        self.never_learned = never_learned
        self.keep_checkpoints = keep_checkpoints
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    def _times(self, last, n_samples):
        return checkpoint_times(last, n_samples, self.epochs, self.check_every)

    def _accumulator(self, times, table):
        return Forgetting(times, self.never_learned)

    def _check_finite(self, scores):
        if np.isnan(scores).any():
            super()._check_finite(scores)
