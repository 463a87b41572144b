# SPDX-License-Identifier: BSD-3-Clause
"""EL2N: the length of the error of early probabilities."""

from numbers import Integral

from skpapers.data_selection._accumulators import ErrorNorm
from skpapers.data_selection._scorers._base import BaseScorer
from skpapers.utils._sklearn import Interval, Options


class EL2NScorer(BaseScorer):
    r"""Score rows by how wrong a classifier is about them early in its training.

    The score of a row is the norm of the error vector,

    .. math:: \lVert p - y \rVert_2,

    of the probabilities p after a few epochs against the one-hot label y, as a mean
    over independent runs. Rows with low scores are easy and can often be left out; the
    very highest ones may be wrongly labelled.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier with probabilities, or a pipeline that ends in one; it is cloned.
        Any classifier serves.
        None stands for ``MLPClassifier((100,), solver="sgd", learning_rate_init=0.05,
        batch_size=min(32, n_samples))``, which wants columns of similar scale.

    epochs : int or None, default=10
        Length of the training. Early is better: once all rows are fitted, the order of
        the easy ones is chance.
        What an epoch is, depends on the classifier: a stage of
        ``staged_predict_proba``; else a pass over the rows by ``partial_fit``; else a
        tree or an iteration added by ``warm_start``. None scores the classifier as its
        ``fit`` leaves it, which is all there is for the others.

    n_runs : int, default=10
        Number of trainings from independent seeds whose scores are averaged. One run
        ranks the easy rows poorly.

    norm : {1, 2}, default=2
        Order of the norm.

    score_path : bool, default=False
        Whether to keep the scores after every epoch in ``score_path_``, to see from
        when on they serve.

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
        Mean over the runs of the norm of the error, in [0, √2].

    scores_per_run_ : ndarray of shape (n_runs, n_samples)
        The same for each run.

    scores_std_ : ndarray of shape (n_samples,)
        Standard deviation over the runs. A mean over R runs is known up to about
        ``scores_std_ / sqrt(R)``: rows that differ by less are in random order.

    hardness_ : ndarray of shape (n_samples,)
        The same as ``scores_``: high is hard.

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
    GraNdScorer : Norm of the gradient of the loss, which EL2N approximates.
    skpapers.data_selection.ScoreBank : Several scores from the same training.

    Notes
    -----
    Cost: the runs, and O(n K) for n rows and K classes at the checkpoint, in chunks of
    rows. The training decides.

    With two classes the score is √2 (1 - p) for the probability p of the true one.

    Scores of untrained networks, ``epochs=0``, say nothing about the rows.

    References
    ----------
    .. [1] M. Paul, S. Ganguli, G. K. Dziugaite, "Deep learning on a data diet: finding
       important examples early in training", NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skpapers.data_selection import EL2NScorer
    >>> X, y = load_iris(return_X_y=True)
    >>> X, y = StandardScaler().fit_transform(X), y.copy()
    >>> y[:3] = 2  # wrong labels
    >>> scorer = EL2NScorer(n_runs=3, random_state=0).fit(X, y)
    >>> np.sort(np.argsort(scorer.scores_)[-3:])
    array([0, 1, 2])
    """

    _parameter_constraints = {
        **BaseScorer._parameter_constraints,
        "epochs": [Interval(Integral, 0, None, closed="left"), None],
        "norm": [Options(Integral, {1, 2})],
        "score_path": ["boolean"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        epochs=10,
        n_runs=10,
        norm=2,
        score_path=False,
        random_state=None,
        n_jobs=None,
        memory=None,
        verbose=0,
    ):
        self.estimator = estimator
        self.epochs = epochs
        self.n_runs = n_runs
        self.norm = norm
        self.score_path = score_path
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    def _times(self, last, n_samples):
        return self._last_or_all_epochs()

    def _accumulator(self, times, table):
        return ErrorNorm(times, self.norm, keep_path=self.score_path)
