# SPDX-License-Identifier: BSD-3-Clause
"""Logistic regression under equations."""

from numbers import Real

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    validate_data,
)

from skpapers.linear_model._constrained._base import ConstrainedLinearModel
from skpapers.linear_model._constrained._groups import (
    MEASURES,
)
from skpapers.linear_model._glm_losses import make_loss
from skpapers.utils._estimator import all_or_nothing
from skpapers.utils._sklearn import (
    Interval,
    LinearClassifierMixin,
    StrOptions,
    check_sample_weight,
    fit_context,
)


class ConstrainedLogisticRegression(LinearClassifierMixin, ConstrainedLinearModel):
    """Logistic regression that fulfils equations exactly.

    Equations may tie coefficients together (A w = b: known sums, equal effects, a fixed
    coefficient), or the predictions of groups of rows:

    - "parity": the groups get the same score on average ("demographic parity");
    - "equal_opportunity": so do the members of the groups that belong to the positive
      class;
    - "equalized_odds": so do also those that do not;
    - "calibration": in each group the mean probability is the observed share.

    Without any it is penalised logistic regression, the minimum that
    `sklearn.linear_model.LogisticRegression` finds.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the penalty: C Σ_i s_i loss_i + ½‖coef‖² is minimised. inf
        means no penalty.
    A : array-like of shape (m, n_features) or (m, n_features + 1), default=None
        Left sides of equations between the coefficients; the last column, if there is
        one more than features, is for the intercept. With K > 2 classes the columns are
        those of class 0, of class 1, and so on.
    b : array-like of shape (m,), default=None
        Right sides.
    constraints : str, scipy constraint, or list of them, default=None
        Names from the list above, and `scipy.optimize.LinearConstraint` or
        `scipy.optimize.NonlinearConstraint` objects with equal bounds, on the flat
        parameters: slopes and then intercept, class after class. With K > 2 classes a
        name is about each class.
    measure : {"decision", "probability", "rate"}, default="rate"
        What "parity", "equal_opportunity" and "equalized_odds" make equal:

        - "decision": the mean of `decision_function`; linear in the coefficients, and
          the fastest, but groups may still be classified differently;
        - "probability": the mean of `predict_proba`;
        - "rate": the share of rows classified as positive.
    strength : float, default=1.0
        Share of the gap between the groups that is removed: 0 leaves the model as it
        is without these constraints, 1 makes the groups equal. It is what to tune for a
        compromise between accuracy and equality.
    sensitive_columns : int, str or list of them, default=None
        Columns of X whose values are the groups. Else give ``sensitive_features`` to
        `fit`, for example groups that the model must not see as features.
    fit_intercept : bool, default=True
        Whether to fit an intercept; it has no penalty.
    class_weight : dict or "balanced", default=None
        Weights of the classes, as in scikit-learn.
    solver : {"auto", "ldl", "sparse", "schur", "nullspace", "minres", "gmres", \
            "sketch"}, default="auto"
        How the Newton systems are solved; see
        `skpapers.solvers.minimize_constrained`.
    tol : float, default=1e-8
        Largest norm of the KKT residual of the mean objective.
    max_iter : int, default=200
        Most Newton steps of one solution; a constraint on rates takes several.
    warm_start : bool, default=False
        Whether `fit` starts from the coefficients it has.
    random_state : int, RandomState instance or None, default=None
        Seed of the sketches of ``solver="sketch"``; else unused.
    verbose : int, default=0
        1 prints a line for each solution, 2 one for each step.

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Slopes of the linear predictors (log-odds per unit of the column).
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    classes_ : ndarray of shape (n_classes,)
        Labels; the last of two is the positive one.
    constraint_names_ : list of str
        What each equation says.
    multipliers_ : ndarray of shape (n_equations,)
        λ: by raising the right side of an equation by a small unit the minimum of the
        mean objective falls by λ.
    constraint_violation_ : float
        Largest deviation of an equation, as it was solved for.
    objective_ : float
        Mean loss with the penalty divided by C Σ_i s_i.
    n_iter_ : int
        Newton steps in all.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these columns, if they have any that are all strings.

    See Also
    --------
    ConstrainedGLMRegressor : Counts, amounts and other measured targets.
    skpapers.solvers.minimize_constrained : The solver.

    Notes
    -----
    A Newton step costs O(n p²) for the Hessian and O((p + m)³) for the system, with
    K² times as much for K > 2 classes. Rates take some ten solutions of a few steps
    each. Equality of groups on the rows of the fit holds on new rows only up to the
    error of estimating shares, about ``1 / sqrt(rows of the smallest group)``.

    The labels of groups are no features: `predict` does not need them.

    References
    ----------
    I. Hong, S. Na, M. W. Mahoney, M. Kolar, "Constrained optimization via exact
    augmented Lagrangian and randomized iterative sketching", ICML 2023.

    Examples
    --------
    Two groups of applicants; the second has lower values of the feature.

    >>> import numpy as np
    >>> from skpapers.linear_model import ConstrainedLogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> group = np.repeat(["a", "b"], 500)
    >>> X = rng.standard_normal((1000, 2)) - (group == "b")[:, None] * [1.0, 0.0]
    >>> y = X[:, 0] + X[:, 1] + rng.standard_normal(1000) > 0
    >>> model = ConstrainedLogisticRegression(constraints="parity")
    >>> positive = model.fit(X, y, sensitive_features=group).predict(X)
    >>> round(float(positive[group == "a"].mean() - positive[group == "b"].mean()), 2)
    0.0

    Coefficients with a known sum:

    >>> model = ConstrainedLogisticRegression(A=[[1.0, 1.0]], b=[2.0]).fit(X, y)
    >>> round(float(model.coef_.sum()), 8)
    2.0
    """

    _parameter_constraints = {
        **ConstrainedLinearModel._parameter_constraints,
        "C": [Interval(Real, 0, None, closed="right")],
        "measure": [StrOptions(set(MEASURES))],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        C=1.0,
        *,
        A=None,
        b=None,
        constraints=None,
        measure="rate",
        strength=1.0,
        sensitive_columns=None,
        fit_intercept=True,
        class_weight=None,
        solver="auto",
        tol=1e-8,
        max_iter=200,
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.C = C
        self.A = A
        self.b = b
        self.constraints = constraints
        self.measure = measure
        self.strength = strength
        self.sensitive_columns = sensitive_columns
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
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
            Labels, at least two different ones.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; a weight of two counts as a row that stands twice.
        sensitive_features : array-like of shape (n_samples,) or (n_samples, s), \
                default=None
            The group of each row, for the named constraints; with several columns the
            constraints hold for each of them.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If there is one class only, if the equations contradict each other (the
            message names the rows that clash), if sizes do not fit, or if a group has
            no row that a constraint could speak of.

        Warns
        -----
        ConvergenceWarning
            If the solver stops early, or rates cannot be made equal.
        DataConditionWarning
            If equations are redundant.
        """
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=np.float64, order="C"
        )
        check_classification_targets(y)
        encoder = LabelEncoder().fit(y)
        codes, self.classes_ = encoder.transform(y), encoder.classes_
        K = len(self.classes_)
        if K < 2:
            raise ValueError(
                "This classifier needs samples of at least 2 classes in the data, but "
                f"the data contains only one class: {self.classes_[0]!r}"
            )
        weight = check_sample_weight(sample_weight, X)
        if self.class_weight is not None:
            of_class = compute_class_weight(
                self.class_weight, classes=self.classes_, y=y, sample_weight=weight
            )
            weight = weight * of_class[codes]
        if K == 2:
            loss, target = make_loss("binomial"), codes.astype(np.float64)
        else:
            loss, target = make_loss("multinomial", n_classes=K), codes
        l2 = 1 / (self.C * weight.sum())
        sensitive = self._sensitive(X, sensitive_features)
        self._solve(X, target, weight, loss, l2, sensitive)
        self.coef_ = np.atleast_2d(self.coef_)
        self.intercept_ = np.atleast_1d(self.intercept_)
        return self

    def predict_proba(self, X):
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        decision = self.decision_function(X)
        if decision.ndim == 1:
            return np.column_stack([expit(-decision), expit(decision)])
        return softmax(decision, axis=1)

    def predict_log_proba(self, X):
        """Return the logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Log-probabilities, in the order of ``classes_``.
        """
        decision = self.decision_function(X)
        if decision.ndim == 1:
            return np.column_stack([log_expit(-decision), log_expit(decision)])
        return log_softmax(decision, axis=1)
