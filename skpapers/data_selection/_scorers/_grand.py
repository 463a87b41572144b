# SPDX-License-Identifier: BSD-3-Clause
"""GraNd: the length of the gradient of a row's loss."""

from numbers import Integral

from skpapers.data_selection._accumulators import GradientNorm
from skpapers.data_selection._scorers._base import BaseScorer
from skpapers.utils._sklearn import Interval


class GraNdScorer(BaseScorer):
    r"""Score rows by the norm of the gradient of their loss early in training.

    The score of a row is

    .. math:: \lVert \nabla_w \ell(w, x, y) \rVert_2

    for the cross-entropy ℓ, over all weights and intercepts w, without the penalty, as
    a mean over independent runs. It bounds how much leaving out the row changes the
    next step of any other row's loss.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier with probabilities, or a pipeline that ends in one; it is cloned.
        Linear models, MLPClassifier and torch networks serve.
        None stands for ``MLPClassifier((100,), solver="sgd", learning_rate_init=0.05,
        batch_size=min(32, n_samples))``, which wants columns of similar scale.

    epochs : int or None, default=10
        Length of the training.
        What an epoch is, depends on the classifier: a stage of
        ``staged_predict_proba``; else a pass over the rows by ``partial_fit``; else a
        tree or an iteration added by ``warm_start``. None scores the classifier as its
        ``fit`` leaves it, which is all there is for the others.

    n_runs : int, default=10
        Number of trainings from independent seeds whose scores are averaged.

    layers : list of int or str, default=None
        Layers whose weights count, from 0; None for all. For torch networks also names
        of modules or parameters.

    score_path : bool, default=False
        Whether to keep the scores after every epoch in ``score_path_``.

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
        Mean over the runs of the norm of the gradient.

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
    EL2NScorer : Nearly the same order after a few epochs, for any classifier.
    gradient_norms : The same for one fitted classifier.

    Notes
    -----
    Cost: the runs, and one forward and one backward pass, O(n P) for n rows and P
    weights, at the checkpoint. No gradient of a single row is ever formed.

    At initialisation, ``epochs=0``, the norm is nearly a function of the length of the
    row and prunes no better than chance: the published claim that it does was due to an
    error of the software of the time, as a reproduction has shown [2]_. A warning says
    so.

    References
    ----------
    .. [1] M. Paul, S. Ganguli, G. K. Dziugaite, "Deep learning on a data diet: finding
       important examples early in training", NeurIPS 2021.
    .. [2] A. Kirsch, "Does 'Deep learning on a data diet' reproduce? Overall yes, but
       GraNd at initialization does not", arXiv:2303.14753, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skpapers.data_selection import GraNdScorer
    >>> X, y = load_iris(return_X_y=True)
    >>> X, y = StandardScaler().fit_transform(X), y.copy()
    >>> y[:3] = 2  # wrong labels
    >>> scorer = GraNdScorer(n_runs=3, random_state=0).fit(X, y)
    >>> np.sort(np.argsort(scorer.scores_)[-3:])
    array([0, 1, 2])
    """

    _parameter_constraints = {
        **BaseScorer._parameter_constraints,
        "epochs": [Interval(Integral, 0, None, closed="left"), None],
        "layers": [list, tuple, None],
        "score_path": ["boolean"],
    }
    _needs_gradients = True

    def __init__(
        self,
        estimator=None,
        *,
        epochs=10,
        n_runs=10,
        layers=None,
        score_path=False,
        random_state=None,
        n_jobs=None,
        memory=None,
        verbose=0,
    ):
        self.estimator = estimator
        self.epochs = epochs
        self.n_runs = n_runs
        self.layers = layers
        self.score_path = score_path
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    def _times(self, last, n_samples):
        return self._last_or_all_epochs()

    def _accumulator(self, times, table):
        return GradientNorm(times, self.layers, keep_path=self.score_path)
