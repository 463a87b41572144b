# SPDX-License-Identifier: BSD-3-Clause
"""Generalised linear regression by gradient-normalised Newton steps."""

from numbers import Real

import numpy as np
from scipy.sparse import issparse
from sklearn.base import RegressorMixin
from sklearn.metrics import d2_tweedie_score
from sklearn.utils.validation import validate_data

from skpapers.linear_model._glm_losses import GLMObjective, make_loss
from skpapers.linear_model._gns._base import GNSModel, as_numpy
from skpapers.utils._array_api import array_namespace, float_dtypes, like, to_numpy
from skpapers.utils._callbacks import with_callbacks
from skpapers.utils._estimator import all_or_nothing
from skpapers.utils._sklearn import (
    Interval,
    StrOptions,
    check_sample_weight,
    fit_context,
)

__all__ = ["GNSGLMRegressor"]


class GNSGLMRegressor(RegressorMixin, GNSModel):
    """Generalised linear regression with a log link, by second-order steps.

    The mean is exp(x'w + b); the objective is the mean of half the deviances plus
    alpha / 2 norm(w)^2, as in scikit-learn's `PoissonRegressor`, `GammaRegressor` and
    `TweedieRegressor`, and the optimum is the same.

    Parameters
    ----------
    family : {"poisson", "gamma", "tweedie", "inverse_gaussian"}, default="poisson"
        Distribution of the targets.
    alpha : float, default=1.0
        Strength of the penalty.
    power : float, default=1.5
        Power of the variance function of "tweedie": 0 normal, 1 Poisson, between 1 and
        2 compound Poisson and gamma, 2 gamma, 3 inverse Gaussian.
    alpha_weights : array-like of shape (n_features,), default=None
        Factors of the penalty, one a feature; zero leaves a feature without penalty.
        None penalises all alike.
    fit_intercept : bool, default=True
        Whether there is an intercept; it has no penalty.
    hess : {"auto", "exact", "fisher", "block", "wgn", "diag", "lowrank", "cg"}, \
default="auto"
        Model of the Hessian, as in `GNSLogisticRegression`. Where the loss is not
        convex (inverse Gaussian, or other powers outside 1 to 2) the expected Hessian
        stands for "exact" and "block". "wgn" is the expected Hessian.
    metric : {"diag", "gram", "identity"}, default="diag"
        Norm in which steps are bounded and the gradient is measured.
    gamma0 : float, default=10.0
        First radius.
    tol : float, default=1e-6
        Stop when the dual norm of the gradient is at most this times the norm of the
        residuals of the model without features.
    max_iter : int, default=200
        Limit of iterations.
    warm_start : bool, default=False
        Whether to start from the last fit.
    lazy : int, default=1
        Renew the model of the Hessian every so many iterations, or after a rejection.
    sample_hessian : float, default=1.0
        Fraction of the rows in the first model of the Hessian; each rejected trial
        doubles it.
    solver_options : dict, default=None
        As in `GNSLogisticRegression`.
    random_state : int, RandomState instance or None, default=None
        Draws samples of rows and low-rank test vectors.
    verbose : bool or int, default=0
        Whether to print the progress.

    Attributes
    ----------
    coef_ : ndarray of shape (`n_features_in_`,)
        Slopes.
    intercept_ : ndarray of shape ()
        Intercept.
    n_iter_ : int
        Iterations, at least 1.
    n_solves_ : int
        Linear systems solved.
    gamma_ : float
        Last radius.
    converged_ : bool
        Whether the tolerance was reached, or all that rounding allows.
    objective_ : float
        Mean loss plus penalty, without the part of the deviance that does not depend on
        the coefficients.
    hess_ : str
        The model of the Hessian that was used (last).
    history_ : dict of lists
        "objective", "gradient_norm", "gamma", "trials" and "seconds" (CPU) at the start
        and after each iteration.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X had string names.

    See Also
    --------
    GNSLogisticRegression : Classes.
    skpapers.solvers.gns_minimize : The solver.

    Notes
    -----
    With n rows and q columns an iteration costs O(n q^2 + q^3), or O(n q) for each
    product of "cg".

    References
    ----------
    .. [1] A. Semenov, M. Jaggi, N. Doikov, "Gradient-Normalized Smoothness for
       Optimization with Approximate Hessians", 2025. https://arxiv.org/abs/2506.13710

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.linear_model import GNSGLMRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((5000, 2)) * [1.0, 1000.0]
    >>> y = rng.poisson(np.exp(0.5 * X[:, 0] - 0.0003 * X[:, 1]))
    >>> model = GNSGLMRegressor("poisson", alpha=0).fit(X, y)
    >>> (model.coef_ * [1, 1000]).round(1)
    array([ 0.5, -0.3])
    """

    _parameter_constraints: dict = {
        **GNSModel._parameter_constraints,
        "family": [StrOptions({"poisson", "gamma", "tweedie", "inverse_gaussian"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "power": [Interval(Real, None, None, closed="neither")],
    }

    def __init__(
        self,
        family="poisson",
        *,
        alpha=1.0,
        power=1.5,
        alpha_weights=None,
        fit_intercept=True,
        hess="auto",
        metric="diag",
        gamma0=10.0,
        tol=1e-6,
        max_iter=200,
        warm_start=False,
        lazy=1,
        sample_hessian=1.0,
        solver_options=None,
        random_state=None,
        verbose=0,
    ):
        self.family = family
        self.alpha = alpha
        self.power = power
        self.alpha_weights = alpha_weights
        self.fit_intercept = fit_intercept
        self.hess = hess
        self.metric = metric
        self.gamma0 = gamma0
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.lazy = lazy
        self.sample_hessian = sample_hessian
        self.solver_options = solver_options
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; float32 stays float32.
        y : array-like of shape (n_samples,)
            Targets in the range of the family.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative.

        Returns
        -------
        self : object
            The fitted model.

        Raises
        ------
        ValueError
            If a target is outside the range of the family, or a parameter does not fit
            the data.
        """
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=float_dtypes(X), y_numeric=True
        )
        loss = self._loss()
        y = np.asarray(to_numpy(y), dtype=np.float64)
        y = y.astype(X.dtype) if issparse(X) else like(y, X, X.dtype)
        weight = None
        if sample_weight is not None:
            weight = check_sample_weight(sample_weight, X)
        penalty = self._penalties(self.alpha, X.shape[1])
        try:
            objective = GLMObjective(X, y, loss, weight, penalty, self.fit_intercept)
        except ValueError as error:
            raise ValueError(
                f"Some value(s) of y are out of the valid range of the family "
                f"{self.family!r}: {error}"
            ) from None
        self._solve(objective, _residual_norm(objective))
        return self

    def _loss(self):
        return make_loss(self.family, power=self.power)

    def predict(self, X):
        """Return the predicted means.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Means, positive.
        """
        eta = self._predictor(X, "predict")
        return array_namespace(eta).exp(eta)

    def score(self, X, y, sample_weight=None):
        """Return the share of the deviance that is explained.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        float
            1 for a perfect fit, 0 for the mean of y, as `sklearn.metrics`'
            ``d2_tweedie_score``.
        """
        predicted = to_numpy(self.predict(X))
        weight = None if sample_weight is None else as_numpy(sample_weight)
        power = self._loss().power
        return float(
            d2_tweedie_score(as_numpy(y), predicted, sample_weight=weight, power=power)
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self.family != "tweedie" or self.power >= 1:
            tags.target_tags.positive_only = True
        return tags


def _residual_norm(objective):
    """Return the weighted norm of the derivatives in eta at the start.

    A gradient is a mean of these times columns, so this is the scale of the tolerance.
    """
    residual = objective.at(objective.start()).residual
    xp = objective.xp
    total = float(xp.sum(objective.weight * residual**2, dtype=xp.float64))
    return max(np.sqrt(total), np.finfo(np.float64).tiny)
