# SPDX-License-Identifier: BSD-3-Clause
"""Generalised linear regression under equations."""

from numbers import Real

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import (
    check_is_fitted,
    validate_data,
)

from skpapers.linear_model._constrained._base import ConstrainedLinearModel
from skpapers.linear_model._constrained._equations import (
    split_constraints,
)
from skpapers.linear_model._glm_losses import make_loss
from skpapers.utils._estimator import all_or_nothing
from skpapers.utils._sklearn import (
    Interval,
    StrOptions,
    check_sample_weight,
    fit_context,
)


class ConstrainedGLMRegressor(RegressorMixin, ConstrainedLinearModel):
    """Generalised linear regression that fulfils equations exactly.

    Equations may tie coefficients together (A w = b), or the predictions of groups of
    rows: "calibration" makes the mean prediction in each group the observed mean
    (totals by region, say), "parity" the mean prediction of all groups the same.

    Parameters
    ----------
    family : {"gaussian", "poisson", "gamma", "inverse_gaussian", "tweedie"}, \
            default="gaussian"
        Distribution of the target; the mean is the linear predictor itself for
        "gaussian" and its exponential else.
    alpha : float, default=1.0
        Strength of the penalty: mean of half the deviance + ½ alpha ‖coef‖² is
        minimised, as in scikit-learn's `PoissonRegressor`.
    power : float, default=1.5
        Power of the variance for "tweedie", not between 0 and 1.
    A : array-like of shape (m, n_features) or (m, n_features + 1), default=None
        Left sides of equations between the coefficients; the last column, if there is
        one more than features, is for the intercept.
    b : array-like of shape (m,), default=None
        Right sides.
    constraints : {"parity", "calibration"}, scipy constraint, or list of them, \
            default=None
        Names, and `scipy.optimize.LinearConstraint` or
        `scipy.optimize.NonlinearConstraint` objects with equal bounds, on the flat
        parameters: slopes and then intercept.
    measure : {"mean", "linear_predictor"}, default="mean"
        What "parity" makes equal.
    strength : float, default=1.0
        Share of the gap between the groups that "parity" removes.
    sensitive_columns : int, str or list of them, default=None
        Columns of X whose values are the groups. Else give ``sensitive_features`` to
        `fit`.
    fit_intercept : bool, default=True
        Whether to fit an intercept; it has no penalty.
    solver : {"auto", "ldl", "sparse", "schur", "nullspace", "minres", "gmres", \
            "sketch"}, default="auto"
        How the Newton systems are solved; see
        `skpapers.solvers.minimize_constrained`.
    tol : float, default=1e-8
        Largest norm of the KKT residual of the mean objective.
    max_iter : int, default=200
        Most Newton steps.
    warm_start : bool, default=False
        Whether `fit` starts from the coefficients it has.
    random_state : int, RandomState instance or None, default=None
        Seed of the sketches of ``solver="sketch"``; else unused.
    verbose : int, default=0
        1 prints a line for each solution, 2 one for each step.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Slopes.
    intercept_ : float
        Intercept.
    constraint_names_ : list of str
        What each equation says.
    multipliers_ : ndarray of shape (n_equations,)
        λ: by raising the right side of an equation by a small unit the minimum of the
        objective falls by λ.
    constraint_violation_ : float
        Largest deviation of an equation.
    objective_ : float
        The objective, up to a constant of the family.
    n_iter_ : int
        Newton steps.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these columns, if they have any that are all strings.

    See Also
    --------
    ConstrainedLogisticRegression : Classes.

    Notes
    -----
    A Newton step costs O(n p²) for the Hessian and O((p + m)³) for the system.

    References
    ----------
    I. Hong, S. Na, M. W. Mahoney, M. Kolar, "Constrained optimization via exact
    augmented Lagrangian and randomized iterative sketching", ICML 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.linear_model import ConstrainedGLMRegressor
    >>> rng = np.random.default_rng(0)
    >>> region = rng.choice(["north", "south"], 300)
    >>> X = rng.standard_normal((300, 2)) + (region == "south")[:, None] * [1.0, 0.0]
    >>> claims = rng.poisson(np.exp(0.5 * X[:, 0] + 0.3 * (region == "south")))
    >>> model = ConstrainedGLMRegressor("poisson", constraints="calibration")
    >>> expected = model.fit(X, claims, sensitive_features=region).predict(X)
    >>> in_north = region == "north"
    >>> round(float(expected[in_north].sum() - claims[in_north].sum()), 4) + 0.0
    0.0
    """

    _parameter_constraints = {
        **ConstrainedLinearModel._parameter_constraints,
        "family": [
            StrOptions({"gaussian", "poisson", "gamma", "inverse_gaussian", "tweedie"})
        ],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "power": [Real],
        "measure": [StrOptions({"mean", "linear_predictor"})],
    }

    def __init__(
        self,
        family="gaussian",
        *,
        alpha=1.0,
        power=1.5,
        A=None,
        b=None,
        constraints=None,
        measure="mean",
        strength=1.0,
        sensitive_columns=None,
        fit_intercept=True,
        solver="auto",
        tol=1e-8,
        max_iter=200,
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.family = family
        self.alpha = alpha
        self.power = power
        self.A = A
        self.b = b
        self.constraints = constraints
        self.measure = measure
        self.strength = strength
        self.sensitive_columns = sensitive_columns
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, sensitive_features=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows; numeric and finite.
        y : array-like of shape (n_samples,)
            Targets within the range of the family.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; a weight of two counts as a row that stands twice.
        sensitive_features : array-like of shape (n_samples,) or (n_samples, s), \
                default=None
            The group of each row, for the named constraints; with several columns the
            constraints hold for each of them.

        Returns
        -------
        self : object
            The fitted regressor.

        Raises
        ------
        ValueError
            If a target is outside the range of the family, if the equations contradict
            each other (the message names the rows that clash), or if sizes do not fit.

        Warns
        -----
        ConvergenceWarning
            If the solver stops early.
        DataConditionWarning
            If equations are redundant.
        """
        named, _ = split_constraints(self.constraints)
        if classes_only := {"equal_opportunity", "equalized_odds"}.intersection(named):
            raise ValueError(
                f"constraints: {', '.join(sorted(classes_only))} is about classes; a "
                "regressor has 'parity' and 'calibration'."
            )
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            dtype=np.float64,
            order="C",
            y_numeric=True,
        )
        y = y.astype(np.float64, copy=False)
        weight = check_sample_weight(sample_weight, X)
        loss = make_loss(self.family, power=self.power)
        sensitive = self._sensitive(X, sensitive_features)
        self._solve(X, y, weight, loss, self.alpha, sensitive)
        self.intercept_ = float(self.intercept_)
        return self

    def predict(self, X):
        """Return the expected targets.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Means.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        eta = X @ self.coef_ + self.intercept_
        return eta if self.family == "gaussian" else np.exp(eta)

    def __sklearn_tags__(self):
        """Return the tags: most families have positive targets."""
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self.family != "gaussian"
        return tags
