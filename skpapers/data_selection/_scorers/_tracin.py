# SPDX-License-Identifier: BSD-3-Clause
"""TracIn: the influence of a row on its own loss."""

from numbers import Integral, Real

import numpy as np

from skpapers.data_selection._accumulators import SelfInfluence
from skpapers.data_selection._checkpoints import checkpoint_times
from skpapers.data_selection._scorers._base import BaseScorer
from skpapers.utils._sklearn import Interval, StrOptions


class TracInScorer(BaseScorer):
    r"""Score rows by how much training on them lowers their own loss.

    The self-influence of a row z = (x, y) is, to first order,

    .. math:: \sum_c \eta_c \lVert \nabla_w \ell(w_c, z) \rVert_2^2

    over the checkpoints c of a training with learning rates η. Rows that only they
    themselves explain have high scores: rare, hard or wrongly labelled ones.

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

    n_checkpoints : int, default=10
        Number of checkpoints, at equal distances in time.

    learning_rates : "auto", float or array-like, default="auto"
        The η, one for all checkpoints or of shape (n_checkpoints,). "auto" takes the
        step length of the optimiser at each checkpoint, also if it is decreasing or
        adaptive, and 1 where the classifier has none.

    layers : list of int or str, default=None
        Layers whose weights count, from 0; None for all. For torch networks also names
        of modules or parameters.

    n_runs : int, default=1
        Number of trainings from independent seeds whose scores are averaged.

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
        Mean over the runs of the self-influence.

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
    tracin_self_influence : The same from given norms.
    tracin_influence : Influence of rows on others.

    Notes
    -----
    Cost: the runs, and one forward and one backward pass, O(n P) for n rows and P
    weights, at each checkpoint. Memory: O(n).

    A learning rate that stays the same has no effect on the order.

    References
    ----------
    .. [1] G. Pruthi et al., "Estimating training data influence by tracing gradient
       descent", NeurIPS 2020.
    .. [2] N. Anand, J. Tan, M. Minakova, "Influence scores at scale for efficient
       language data sampling", EMNLP 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skpapers.data_selection import TracInScorer
    >>> X, y = load_iris(return_X_y=True)
    >>> X, y = StandardScaler().fit_transform(X), y.copy()
    >>> y[:3] = 2  # wrong labels
    >>> scorer = TracInScorer(random_state=0).fit(X, y)
    >>> np.sort(np.argsort(scorer.scores_)[-3:])
    array([0, 1, 2])
    """

    _parameter_constraints = {
        **BaseScorer._parameter_constraints,
        "epochs": [Interval(Integral, 1, None, closed="left"), None],
        "n_checkpoints": [Interval(Integral, 1, None, closed="left")],
        "learning_rates": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
            "array-like",
        ],
        "layers": [list, tuple, None],
        "keep_checkpoints": ["boolean"],
    }
    _needs_gradients = True

    def __init__(
        self,
        estimator=None,
        *,
        epochs=10,
        n_checkpoints=10,
        learning_rates="auto",
        layers=None,
        n_runs=1,
        keep_checkpoints=True,
        random_state=None,
        n_jobs=None,
        memory=None,
        verbose=0,
    ):
        self.estimator = estimator
        self.epochs = epochs
        self.n_checkpoints = n_checkpoints
        self.learning_rates = learning_rates
        self.layers = layers
        self.n_runs = n_runs
        self.keep_checkpoints = keep_checkpoints
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    def _times(self, last, n_samples):
        if self.epochs is None:
            return None
        every = self.epochs / self.n_checkpoints
        return checkpoint_times(last, n_samples, self.epochs, every)

    def _accumulator(self, times, table):
        return SelfInfluence(times, self._rates(times), self.layers)

    def _rates(self, times):
        if isinstance(self.learning_rates, str) or np.ndim(self.learning_rates) == 0:
            return self.learning_rates
        rates = np.asarray(self.learning_rates, dtype=float)
        wanted = 1 if times is None else len(times)
        if rates.shape != (wanted,):
            raise ValueError(
                f"learning_rates has shape {rates.shape}, but there are {wanted} "
                "checkpoints."
            )
        return rates
