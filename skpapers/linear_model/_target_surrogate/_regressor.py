# SPDX-License-Identifier: BSD-3-Clause
"""Regressor that is trained by target surrogates."""

from numbers import Real

import numpy as np
from sklearn.base import RegressorMixin

from skpapers.linear_model._target_surrogate._base import (
    BaseTargetSurrogate,
    CallableLoss,
    row_weights,
)
from skpapers.solvers._target_surrogate._losses import HuberLoss, SquaredLoss
from skpapers.utils._estimator import all_or_nothing
from skpapers.utils._sklearn import Interval, StrOptions, fit_context

__all__ = ["TargetSurrogateRegressor"]


class TargetSurrogateRegressor(RegressorMixin, BaseTargetSurrogate):
    """Regressor for losses that are expensive to evaluate.

    Minimises loss(y, f(X)) + alpha / 2 ||coef||², f linear or a network, with as few
    evaluations of the loss as possible: each one pays for an exact step of a linear
    model, or for many steps of a network. The loss may be a simulator that turns
    predictions into costs.

    Parameters
    ----------
    loss : {"squared_error", "huber"} or callable, default="squared_error"
        What is minimised: the mean of half the squared residuals; Huber's loss, which
        is linear beyond ``huber_delta``; or a callable ``loss(y, z)``, with
        ``sample_weight`` as a third argument if `fit` got some, that returns the value
        and its gradient by the predictions z. Both have the shape of y.

    hidden_layer_sizes : int or sequence of int, default=()
        Units of hidden layers (ReLU). Empty is a linear model; others need torch.

    huber_delta : float, default=1.35
        Residual up to which "huber" is quadratic, in the units of y.

    alpha : float, default=0.0
        Weight of half the squared coefficients, which do not include intercepts. The
        alpha of `sklearn.linear_model.Ridge` is n_samples times as large.

    eta : float, "auto", "armijo" or "adaptive", default="auto"
        Step in the space of predictions. "adaptive" starts at one over the smoothness L
        of the loss, or with a line search if it is not known, and changes with the
        success of the last step. "armijo" is a line search at every step, which
        evaluates the loss some times more. "auto" is "adaptive" on all rows, and on
        batches 1 / L, or "armijo" for callables. L is 1 for the losses with a name;
        with eta = 1 / L or less the objective never rises. ``eta_rule_`` says what was
        done.

    eta_schedule : {"auto", "constant", "stochastic", "exponential"}, default="auto"
        How eta falls with the step t of max_iter = T: not at all, as eta / sqrt(t), or
        as eta T^(-t / T). "auto" is "stochastic" on batches and else "constant".

    metric : {"auto", "euclidean", "secant"}, default="auto"
        Weights of the rows in the surrogate: those of the bound L on the curvature
        ("euclidean"), or the curvature that the last step has shown ("secant"), which
        needs far fewer evaluations where the bound is much too high, and a matrix to be
        formed and factored in every step; only with an adaptive eta on all rows. "auto"
        is "secant" for a linear model of one target where that is so, else "euclidean".

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
        Stop when no entry of the gradient of the objective exceeds this, for the losses
        with a name in units of the standard deviation of y. For a linear model it is
        the gradient by the coefficients of standardised columns, so that units do not
        matter. It is not tested on batches.

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
    coef_ : ndarray of shape (`n_features_in_`,) or (n_outputs, `n_features_in_`)
        Coefficients of a linear model.

    intercept_ : float or ndarray of shape (n_outputs,)
        Intercepts of a linear model.

    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of the layers of a network.

    intercepts_ : list of ndarray of shape (n_out,)
        Intercepts of the layers of a network.

    n_outputs_ : int
        Number of columns of y.

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
    TargetSurrogateClassifier : The same for classes.
    skpapers.solvers.minimize_target_surrogate : The solver, for any model.

    Notes
    -----
    A linear model on n rows and d columns costs O(n d² + d³) a step with learnt
    weights ("secant"), otherwise so much once, and O(n d) a step and output besides
    the loss. Memory is a copy of X (dense) and d². With the squared error the first
    step is the solution, which the second evaluation confirms. A network costs
    ``n_inner`` passes forward and backward a step.

    References
    ----------
    .. [1] J. W. Lavington, S. Vaswani, R. Babanezhad, M. Schmidt and N. Le Roux,
       "Target-based surrogates for stochastic optimization", ICML 2023,
       arXiv:2302.02607.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from skpapers.linear_model import TargetSurrogateRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = TargetSurrogateRegressor("huber", huber_delta=50).fit(X, y)
    >>> round(model.score(X, y), 2), model.n_oracle_calls_ < 30
    (0.52, True)

    A loss of one's own, ordering one unit too few costing three times as much as one
    too many:

    >>> def shortage(y, z):
    ...     short = z < y
    ...     slope = np.where(short, -3.0, 1.0)
    ...     smooth = np.clip((z - y) / 10, -1, 1)
    ...     return np.mean(slope * (z - y)), slope * np.abs(smooth) / len(y)
    >>> model = TargetSurrogateRegressor(shortage, eta=30.0, tol=0.02).fit(X, y)
    >>> bool(np.mean(model.predict(X) > y) > 0.6)
    True
    """

    _parameter_constraints = {
        "loss": [StrOptions({"squared_error", "huber"}), callable],
        "huber_delta": [Interval(Real, 0, None, closed="neither")],
        **BaseTargetSurrogate._parameter_constraints,
    }

    def __init__(
        self,
        loss="squared_error",
        *,
        hidden_layer_sizes=(),
        huber_delta=1.35,
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
        self.huber_delta = huber_delta
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
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; a weight of two counts as a row that stands twice.

        Returns
        -------
        self : object
            The fitted regressor.

        Raises
        ------
        ValueError
            If a callable loss returns a gradient of the wrong shape or a value that is
            not finite.
        """
        X, y = self._read(X, y, reset=True, multi_output=True, y_numeric=True)
        self._fit(*self._prepare(X, y, sample_weight))
        return self

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Take one outer step on a batch: one evaluation of the loss.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The batch.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights as in `fit`.

        Returns
        -------
        self : object
            The regressor.

        Raises
        ------
        ValueError
            As `fit`.
        """
        first = not hasattr(self, "history_")
        X, y = self._read(X, y, reset=first, multi_output=True, y_numeric=True)
        self._partial_fit(*self._prepare(X, y, sample_weight))
        return self

    def _prepare(self, X, y, sample_weight):
        """Return the rows that count, their loss, the number of outputs, weights."""
        self._vector = y.ndim == 1
        self.n_outputs_ = 1 if self._vector else y.shape[1]
        weight, kept = row_weights(sample_weight, X)
        if kept is not None and not kept.all():
            X, y = X[kept], y[kept]
        y = y.astype(np.float64)
        several = self.n_outputs_ > 1
        y = y if several else y.ravel()
        loss = self._make_loss(y, None if sample_weight is None else weight)
        return X, loss, self.n_outputs_ if several else None, weight

    def _make_loss(self, y, weight):
        if callable(self.loss):
            return CallableLoss(self.loss, y, weight)
        if self.loss == "huber":
            return HuberLoss(y, weight, delta=self.huber_delta)
        return SquaredLoss(y, weight)

    def _tol(self, loss):
        if callable(self.loss):
            return self.tol
        spread = float(np.mean(np.std(loss.y, axis=0)))
        return self.tol * (spread or 1.0)

    def _store_linear(self, coef, intercept):
        self.coef_ = coef[0] if self._vector else coef
        self.intercept_ = float(intercept[0]) if self._vector else intercept

    def predict(self, X):
        """Predict the targets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The table.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions.
        """
        z = self._raw(X)
        return z[:, 0] if self._vector else z

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
