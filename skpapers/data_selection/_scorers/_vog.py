# SPDX-License-Identifier: BSD-3-Clause
"""VoG: how much the gradient by the columns changes during training."""

from numbers import Integral, Real

from skpapers.data_selection._accumulators import GradientSpread
from skpapers.data_selection._checkpoints import checkpoint_times
from skpapers.data_selection._scorers._base import BaseScorer
from skpapers.utils._sklearn import Interval, StrOptions


class VoGScorer(BaseScorer):
    """Score rows by how much their input gradient varies during training.

    At each of C checkpoints the output of the true class is differentiated by the
    columns, G. The score is the mean over the columns of the spread of G over the
    checkpoints, standardised within the class or the table.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier with probabilities, or a pipeline that ends in one; it is cloned.
        Linear models, MLPClassifier and torch networks serve.
        None stands for ``MLPClassifier((100,), solver="sgd", learning_rate_init=0.05,
        batch_size=min(32, n_samples))``, which wants columns of similar scale.

    epochs : int, default=10
        Length of the training.
        What an epoch is, depends on the classifier: a stage of
        ``staged_predict_proba``; else a pass over the rows by ``partial_fit``; else a
        tree or an iteration added by ``warm_start``.

    n_checkpoints : int, default=10
        Number of checkpoints, at equal distances in time; at least 2.

    output : {"proba", "logit"}, default="proba"
        What is differentiated: the probability of the true class, or its input to the
        softmax. The papers take the logit. On tables the logit form ranked rows no
        better than chance in our tests, while that of the probability was as good as
        EL2N; hence the default.

    spread : {"var", "std"}, default="var"
        Variance over the checkpoints, or its root as in the first publication.

    normalize : {"class", "dataset"} or None, default="class"
        Whose mean and standard deviation the scores are standardised by. "dataset"
        leaves more hard rows to small classes that are complex.

    clip : float or None, default=1e4
        Bound on the scores before they are standardised.

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
        Mean over the runs of the standardised spread.

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
    input_gradients : The gradients for one fitted classifier.
    vog_scores : The same from given gradients.

    Notes
    -----
    Cost: the runs, and one forward and one backward pass at each checkpoint. Memory:
    O(n d) for n rows and d columns, whatever the number of checkpoints.

    Wrongly labelled rows tend to get *low* scores: the gradients of their classes do
    not vary. Do not look for label errors with it.

    For a linear model the gradient of the logit is the same for all rows of a class, so
    ``output="logit"`` with ``normalize="class"`` is refused there.

    References
    ----------
    .. [1] C. Agarwal, D. D'souza, S. Hooker, "Estimating example difficulty using
       variance of gradients", CVPR 2022.
    .. [2] N. Anand, J. Tan, M. Minakova, "Influence scores at scale for efficient
       language data sampling", EMNLP 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skpapers.data_selection import VoGScorer
    >>> X, y = load_iris(return_X_y=True)
    >>> X = StandardScaler().fit_transform(X)
    >>> scorer = VoGScorer(normalize="dataset", random_state=0).fit(X, y)
    >>> means = [scorer.scores_[y == k].mean() for k in range(3)]
    >>> bool(means[0] < min(means[1:]))  # the first class is apart from the others
    True
    """

    _parameter_constraints = {
        **BaseScorer._parameter_constraints,
        "n_checkpoints": [Interval(Integral, 2, None, closed="left")],
        "output": [StrOptions({"proba", "logit"})],
        "spread": [StrOptions({"var", "std"})],
        "normalize": [StrOptions({"class", "dataset"}), None],
        "clip": [Interval(Real, 0, None, closed="neither"), None],
        "keep_checkpoints": ["boolean"],
    }
    _needs_gradients = True

    def __init__(
        self,
        estimator=None,
        *,
        epochs=10,
        n_checkpoints=10,
        output="proba",
        spread="var",
        normalize="class",
        clip=1e4,
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
        self.output = output
        self.spread = spread
        self.normalize = normalize
        self.clip = clip
        self.n_runs = n_runs
        self.keep_checkpoints = keep_checkpoints
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.memory = memory
        self.verbose = verbose

    def _times(self, last, n_samples):
        every = self.epochs / self.n_checkpoints
        return checkpoint_times(last, n_samples, self.epochs, every)

    def _accumulator(self, times, table):
        return GradientSpread(
            times, self.output, self.spread, self.normalize, self.clip
        )
