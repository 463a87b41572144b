# SPDX-License-Identifier: BSD-3-Clause
"""Classifier that is trained by target surrogates."""

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from skpapers.linear_model._target_surrogate._base import (
    BaseTargetSurrogate,
    CallableLoss,
    row_weights,
)
from skpapers.solvers._target_surrogate._losses import (
    LogLoss,
    PairwiseLoss,
    SoftmaxLoss,
)
from skpapers.utils._estimator import all_or_nothing
from skpapers.utils._sklearn import StrOptions, fit_context

__all__ = ["TargetSurrogateClassifier"]


def _logistic_intercept(z, positive, weight):
    """Return c that maximises the likelihood of sigmoid(z + c), by bisection."""
    share = weight @ positive
    low, high = -z.max() - 50.0, -z.min() + 50.0
    for _ in range(200):
        c = 0.5 * (low + high)
        if weight @ expit(z + c) < share:
            low = c
        else:
            high = c
    return c


class TargetSurrogateClassifier(ClassifierMixin, BaseTargetSurrogate):
    """Classifier for losses that are expensive to evaluate.

    Minimises loss(y, f(X)) + alpha / 2 ||coef||², f linear or a network, with as few
    evaluations of the loss as possible: each one pays for an exact step of a linear
    model, or for many steps of a network. It is meant for ranking losses over all
    pairs of rows, simulators and the like. For the plain logistic loss of a linear
    model a Newton method is the first choice, as in
    `sklearn.linear_model.LogisticRegression(solver="newton-cholesky")`.

    Parameters
    ----------
    loss : {"log_loss", "pairwise_auc"} or callable, default="log_loss"
        What is minimised. "log_loss" is the mean logistic loss, of the softmax for
        several classes. "pairwise_auc" is the mean over all pairs of a positive and a
        negative row of log(1 + exp(z_neg - z_pos)), for two classes; the intercept is
        then set to make `predict_proba` calibrated in the large. A callable is called
        as ``loss(y, z)``, with ``sample_weight`` as a third argument if `fit` got some,
        and returns the value and its gradient by z: y are the indices of the classes in
        ``classes_``, z is of shape (n,) for two classes and (n, n_classes) otherwise.

    hidden_layer_sizes : int or sequence of int, default=()
        Units of hidden layers (ReLU). Empty is a linear model; others need torch.

    alpha : float, default=0.0
        Weight of half the squared coefficients, which do not include intercepts. C of
        scikit-learn is 1 / (alpha n_samples).

    eta : float, "auto", "armijo" or "adaptive", default="auto"
        Step in the space of predictions. "adaptive" starts at one over the smoothness L
        of the loss, or with a line search if it is not known, and changes with the
        success of the last step. "armijo" is a line search at every step, which
        evaluates the loss some times more. "auto" is "adaptive" on all rows, and on
        batches 1 / L, or "armijo" for callables. L is 1/4 for the logistic loss of two
        classes and 1/2 for several and for "pairwise_auc"; with eta = 1 / L or less the
        objective never rises. ``eta_rule_`` says what was done.

    eta_schedule : {"auto", "constant", "stochastic", "exponential"}, default="auto"
        How eta falls with the step t of max_iter = T: not at all, as eta / sqrt(t), or
        as eta T^(-t / T). "auto" is "stochastic" on batches and else "constant".

    metric : {"auto", "euclidean", "secant"}, default="auto"
        Weights of the rows in the surrogate: those of the bound L on the curvature
        ("euclidean"), or the curvature that the last step has shown ("secant"), which
        needs far fewer evaluations where the bound is much too high, and a matrix to be
        formed and factored in every step; only with an adaptive eta on all rows. "auto"
        is "secant" for a linear model of two classes where that is so, otherwise
        "euclidean".

    n_inner : int or "auto", default="auto"
        Largest number of inner steps for each evaluation of the loss, where the inner
        problem is not solved exactly. "auto" is 20.

    inner_solver : {"auto", "exact", "armijo", "lbfgs", "adam"}, default="auto"
        Solver of the inner problem. "auto" is, on all rows, "exact" for a linear model
        and "lbfgs" for a network, and on batches "armijo", gradient steps with line
        search.

    batch_size : int, default=None
        Rows of each evaluation of the loss; None is all of them.

    max_iter : int, default=100
        Largest number of evaluations of the loss with gradient.

    tol : float, default=1e-4
        Stop when no entry of the gradient of the objective exceeds this. For a linear
        model it is the gradient by the coefficients of standardised columns, so that
        units do not matter. It is not tested on batches.

    fit_intercept : bool, default=True
        Whether a linear model has intercepts. Networks always do.

    warm_start : bool, default=False
        Whether `fit` starts from what was learnt before.

    random_state : int, RandomState instance or None, default=None
        Order of the rows in batches, and initial weights of a network.

    verbose : int, default=0
        Whether to print a line for each evaluation of the loss.

    Attributes
    ----------
    coef_ : ndarray of shape (1 or n_classes, `n_features_in_`)
        Coefficients of a linear model.

    intercept_ : ndarray of shape (1 or n_classes,)
        Intercepts of a linear model.

    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of the layers of a network.

    intercepts_ : list of ndarray of shape (n_out,)
        Intercepts of the layers of a network.

    classes_ : ndarray of shape (n_classes,)
        Class labels.

    n_iter_ : int
        Number of outer steps, the evaluations of the loss with gradient.

    n_oracle_calls_ : int
        Number of evaluations of the loss with gradient, over all calls of
        `partial_fit`.

    n_value_calls_ : int
        Number of evaluations for the line search on eta.

    objective_ : float
        Objective at the last evaluation of the loss.

    history_ : list of dict
        For each evaluation: ``loss`` (the objective), ``gradient`` (its largest entry)
        and ``eta`` of the step that followed (NaN if none did).

    eta_rule_ : str
        How eta was chosen.

    n_features_in_ : int
        Number of columns.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, if X had any.

    See Also
    --------
    TargetSurrogateRegressor : The same for numbers.
    skpapers.solvers.minimize_target_surrogate : The solver, for any model.

    Notes
    -----
    A linear model on n rows and d columns costs O(n d² + d³) a step with learnt
    weights ("secant"), otherwise so much once, and O(n d) a step besides the loss.
    Memory is a copy of X (dense) and d². "pairwise_auc" costs O(n₊ n₋) for each
    evaluation. A network costs ``n_inner`` passes forward and backward a step.

    On separable data and without ``alpha`` the logistic loss has no minimum, and the
    budget is used up.

    References
    ----------
    .. [1] J. W. Lavington, S. Vaswani, R. Babanezhad, M. Schmidt and N. Le Roux,
       "Target-based surrogates for stochastic optimization", ICML 2023,
       arXiv:2302.02607.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.metrics import roc_auc_score
    >>> from skpapers.linear_model import TargetSurrogateClassifier
    >>> X, y = make_classification(500, weights=[0.9], random_state=0)
    >>> model = TargetSurrogateClassifier("pairwise_auc", alpha=0.01, tol=0.01)
    >>> model.fit(X, y).n_oracle_calls_ < 20
    True
    >>> bool(roc_auc_score(y, model.decision_function(X)) > 0.9)
    True
    """

    _parameter_constraints = {
        "loss": [StrOptions({"log_loss", "pairwise_auc"}), callable],
        **BaseTargetSurrogate._parameter_constraints,
    }

    def __init__(
        self,
        loss="log_loss",
        *,
        hidden_layer_sizes=(),
        alpha=0.0,
        eta="auto",
        eta_schedule="auto",
        metric="auto",
        n_inner="auto",
        inner_solver="auto",
        batch_size=None,
        max_iter=100,
        tol=1e-4,
        fit_intercept=True,
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.alpha = alpha
        self.eta = eta
        self.eta_schedule = eta_schedule
        self.metric = metric
        self.n_inner = n_inner
        self.inner_solver = inner_solver
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The table; sparse for linear models only.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; a weight of two counts as a row that stands twice.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If there is one class only, if "pairwise_auc" meets more than two, or if a
            callable loss returns a gradient of the wrong shape or a value that is not
            finite.
        """
        X, y = self._read(X, y, reset=True)
        check_classification_targets(y)
        weight, kept = row_weights(sample_weight, X)
        if kept is not None and not kept.all():
            X, y = X[kept], y[kept]
        before = getattr(self, "classes_", None)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes, got 1 "
                f"class: {self.classes_.tolist()}."
            )
        changed = before is not None and not np.array_equal(before, self.classes_)
        if self.warm_start and changed:
            raise ValueError(
                f"warm_start: y has the classes {self.classes_}, had {before}."
            )
        loss = self._make_loss(codes, None if sample_weight is None else weight)
        self._fit(X, loss, self._n_outputs(), weight)
        self._calibrate(X, codes, weight)
        return self

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Take one outer step on a batch: one evaluation of the loss.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The batch.
        y : array-like of shape (n_samples,)
            Class labels.
        classes : array-like of shape (n_classes,), default=None
            All class labels; needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights as in `fit`.

        Returns
        -------
        self : object
            The classifier.

        Raises
        ------
        ValueError
            As `fit`, or if ``classes`` are missing, differ from those before, or lack a
            label of y.
        """
        first = not hasattr(self, "classes_")
        X, y = self._read(X, y, reset=first)
        check_classification_targets(y)
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if classes is not None:
            classes = np.unique(classes)
            if not first and not np.array_equal(classes, self.classes_):
                raise ValueError(
                    f"classes={classes} is not the same as on last call to partial_fit,"
                    f" was: {self.classes_}"
                )
            self.classes_ = classes
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y has labels that are not in classes: {unknown}.")
        weight, kept = row_weights(sample_weight, X)
        if kept is not None and not kept.all():
            X, y = X[kept], y[kept]
        codes = np.searchsorted(self.classes_, y)
        loss = self._make_loss(codes, None if sample_weight is None else weight)
        self._partial_fit(X, loss, self._n_outputs(), weight)
        if len(np.unique(codes)) > 1:
            self._calibrate(X, codes, weight)
        return self

    def _n_outputs(self):
        n_classes = len(self.classes_)
        if n_classes > 2 and self.loss == "pairwise_auc":
            raise ValueError(
                "Only binary classification is supported by loss='pairwise_auc', y has "
                f"{n_classes} classes: wrap the classifier in "
                "sklearn.multiclass.OneVsRestClassifier."
            )
        return None if n_classes <= 2 else n_classes

    def _make_loss(self, y, weight):
        if callable(self.loss):
            return CallableLoss(self.loss, y, weight)
        if self.loss == "pairwise_auc":
            return PairwiseLoss(y, weight)
        return (LogLoss if len(self.classes_) <= 2 else SoftmaxLoss)(y, weight)

    def _calibrate(self, X, codes, weight):
        """Set the intercept, of which the pairwise loss knows nothing."""
        if self.loss != "pairwise_auc":
            return
        if hasattr(self, "coefs_"):
            self.intercepts_[-1] = np.zeros_like(self.intercepts_[-1])
        elif self.fit_intercept:
            self.intercept_ = np.zeros_like(self.intercept_)
        else:
            return
        c = _logistic_intercept(self._outputs(X)[:, 0], codes, weight)
        if hasattr(self, "coefs_"):
            self.intercepts_[-1] += self.intercepts_[-1].dtype.type(c)
        else:
            self.intercept_ += self.intercept_.dtype.type(c)

    def _store_linear(self, coef, intercept):
        self.coef_, self.intercept_ = coef, intercept

    def decision_function(self, X):
        """Return the predictions z.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The table.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Scores of the second class, or of all if there are more than two.
        """
        z = self._raw(X)
        return z[:, 0] if len(self.classes_) <= 2 else z

    def predict(self, X):
        """Return the class with the largest score.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The table.

        Returns
        -------
        ndarray of shape (n_samples,)
            Class labels.
        """
        z = self.decision_function(X)
        best = (z > 0).astype(int) if z.ndim == 1 else z.argmax(axis=1)
        return self.classes_[best]

    @available_if(lambda self: not callable(self.loss))
    def predict_proba(self, X):
        """Return the probabilities of the classes; not for callable losses.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The table.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Sigmoid or softmax of the scores.
        """
        z = self.decision_function(X)
        if z.ndim == 2:
            return softmax(z, axis=1)
        return np.stack([expit(-z), expit(z)], axis=1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = self.loss != "pairwise_auc"
        return tags
