# SPDX-License-Identifier: BSD-3-Clause
"""Logistic regression, binary or multinomial, by gradient-normalised Newton steps."""

import warnings
from numbers import Real

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from skpapers.linear_model._glm_losses import GLMObjective, make_loss
from skpapers.linear_model._gns._base import GNSModel, as_numpy
from skpapers.utils._array_api import (
    array_namespace,
    float_dtypes,
    is_numpy_array,
    like,
    to_numpy,
)
from skpapers.utils._callbacks import with_callbacks
from skpapers.utils._estimator import all_or_nothing
from skpapers.utils._sklearn import (
    Interval,
    StrOptions,
    check_sample_weight,
    fit_context,
)

__all__ = ["GNSLogisticRegression"]

# A mean loss below this cannot be told from zero: the classes are separated.
NO_LOSS = 1e-12


class GNSLogisticRegression(ClassifierMixin, GNSModel):
    """Logistic regression, binary or multinomial, by second-order steps.

    A drop-in for scikit-learn's `LogisticRegression` with a quadratic penalty: the same
    objective C sum_i s_i loss_i + 1/2 norm(w)^2 and the same optimum, found by Newton
    steps whose radius is searched for. It needs no scaled columns, is safe on classes
    that are nearly separable, and uses products with the Hessian instead of the Hessian
    where there are many classes or columns.

    Parameters
    ----------
    C : float, default=1.0
        Inverse strength of the penalty; ``np.inf`` for none. A penalty alpha on the
        mean loss of n rows is C = 1 / (n alpha).
    alpha_weights : array-like of shape (n_features,), default=None
        Factors of the penalty, one a feature; zero leaves a feature without penalty.
        None penalises all alike.
    fit_intercept : bool, default=True
        Whether there is an intercept; it has no penalty.
    hess : {"auto", "exact", "fisher", "block", "wgn", "diag", "lowrank", "cg"}, \
default="auto"
        Model of the Hessian. "exact" forms it; "cg" uses exact products in conjugate
        gradients, preconditioned by the blocks of the classes; "fisher" sums the outer
        products of the gradients of the rows; "block" keeps the blocks of the classes,
        "wgn" lies above the Hessian by leaving out its negative part; "diag" is a
        diagonal; "lowrank" a randomised factor plus a diagonal. "auto" takes "exact" or
        "cg", by a count of the operations, and changes from "cg" to "exact" where
        solves need so many products that the matrix is cheaper.
    metric : {"diag", "gram", "identity"}, default="diag"
        Norm in which steps are bounded and the gradient is measured: mean squares of
        the columns (scale-free), their whole moment matrix (also free of rotations), or
        none.
    gamma0 : float, default=10.0
        First radius.
    tol : float, default=1e-6
        Stop when the dual norm of the gradient of the mean objective is at most this.
    max_iter : int, default=200
        Limit of iterations.
    class_weight : dict or "balanced", default=None
        Weights of the classes.
    warm_start : bool, default=False
        Whether to start from the last fit.
    lazy : int, default=1
        Renew the model of the Hessian every so many iterations, or after a rejection.
    sample_hessian : float, default=1.0
        Fraction of the rows in the first model of the Hessian; each rejected trial
        doubles it. Gradients always use all rows.
    solver_options : dict, default=None
        "rank" of the low-rank model (20), "cg_rtol" (by the radius) and "cg_max_iter"
        (500) of conjugate gradients, "refresh" iterations between preconditioners (4),
        "max_trials" in an iteration (40).
    random_state : int, RandomState instance or None, default=None
        Draws samples of rows and low-rank test vectors.
    verbose : bool or int, default=0
        Whether to print the progress.

    Attributes
    ----------
    coef_ : ndarray of shape (1, `n_features_in_`) or (n_classes, `n_features_in_`)
        Slopes.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts. With several classes they sum to zero, as the slopes of each feature
        do.
    classes_ : ndarray of shape (n_classes,)
        Labels.
    n_iter_ : int
        Iterations, at least 1.
    n_solves_ : int
        Linear systems solved.
    gamma_ : float
        Last radius.
    converged_ : bool
        Whether the tolerance was reached, or all that rounding allows.
    objective_ : float
        Weighted mean loss plus penalty, 1 / C divided by the sum of the weights.
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
    GNSGLMRegressor : Counts and positive targets.
    skpapers.solvers.gns_minimize : The solver.

    Notes
    -----
    With n rows, q columns and K classes an iteration costs O(n q^2 + q^3) for two
    classes, O(n q^2 K^2 + (K q)^3) for "exact" with more, and O(n q K) for each product
    of "cg", which needs some ten of them. Sparse X is never made dense; "cg" on it
    takes memory O(nonzeros + K q).

    References
    ----------
    .. [1] A. Semenov, M. Jaggi, N. Doikov, "Gradient-Normalized Smoothness for
       Optimization with Approximate Hessians", 2025. https://arxiv.org/abs/2506.13710

    Examples
    --------
    Raw columns, in units from 1e-3 to 1e3, need no scaler:

    >>> from sklearn.datasets import load_breast_cancer
    >>> from skpapers.linear_model import GNSLogisticRegression
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = GNSLogisticRegression(C=100).fit(X, y)
    >>> model.converged_, model.n_iter_ < 20
    (True, True)
    >>> round(model.score(X, y), 2)
    0.98
    """

    _parameter_constraints: dict = {
        **GNSModel._parameter_constraints,
        "C": [Interval(Real, 0, None, closed="right")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        C=1.0,
        *,
        alpha_weights=None,
        fit_intercept=True,
        hess="auto",
        metric="diag",
        gamma0=10.0,
        tol=1e-6,
        max_iter=200,
        class_weight=None,
        warm_start=False,
        lazy=1,
        sample_hessian=1.0,
        solver_options=None,
        random_state=None,
        verbose=0,
    ):
        self.C = C
        self.alpha_weights = alpha_weights
        self.fit_intercept = fit_intercept
        self.hess = hess
        self.metric = metric
        self.gamma0 = gamma0
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight
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
            Labels of at least two classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, not negative.

        Returns
        -------
        self : object
            The fitted model.

        Raises
        ------
        ValueError
            If there is one class only, or a parameter does not fit the data.
        """
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=float_dtypes(X), order=None
        )
        labels = to_numpy(y) if not isinstance(y, np.ndarray) else y
        check_classification_targets(labels)
        classes, codes = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                "GNSLogisticRegression needs samples of at least 2 classes in the "
                f"data, but the data contains only one class: {classes[0]!r}."
            )
        weight = self._weights(sample_weight, X, labels, classes, codes)
        objective = self._objective(X, codes, len(classes), weight)
        self._solve(objective)
        self.classes_ = classes
        if not issparse(X) and not is_numpy_array(X) and classes.dtype.kind in "iufb":
            self.classes_ = like(classes, X)
        return self

    def _weights(self, sample_weight, X, labels, classes, codes):
        """Return the weights of the rows times those of their classes, or None."""
        if sample_weight is None and self.class_weight is None:
            return None
        weight = check_sample_weight(sample_weight, X)
        if self.class_weight is not None:
            of_class = compute_class_weight(
                self.class_weight,
                classes=classes,
                y=labels,
                sample_weight=np.asarray(to_numpy(weight)),
            )
            factor = np.asarray(of_class[codes])
            if not (issparse(X) or is_numpy_array(X)):
                factor = like(factor, X)
            weight = weight * array_namespace(weight).astype(factor, weight.dtype)
        return weight

    def _objective(self, X, codes, n_classes, weight):
        n, n_features = X.shape
        total = n
        if weight is not None:
            xp = array_namespace(weight)
            total = float(xp.sum(weight, dtype=xp.float64))
        penalty = self._penalties(1 / (self.C * total), n_features)
        if n_classes == 2:
            loss, y = make_loss("binomial"), codes.astype(np.float64)
            y = like(y, X, X.dtype) if not issparse(X) else y.astype(X.dtype)
        else:
            loss = make_loss("multinomial", n_classes=n_classes)
            y = codes if issparse(X) or is_numpy_array(X) else like(codes, X)
        return GLMObjective(X, y, loss, weight, penalty, self.fit_intercept)

    def _target(self, objective):
        if objective.penalty.any():
            return None
        return lambda point: point.value <= NO_LOSS

    def _warn(self, search, objective):
        if not objective.penalty.any() and search.point.value <= NO_LOSS:
            warnings.warn(
                "The classes are separated perfectly and there is no penalty: "
                "coefficients grow without bound, and the fit was stopped where the "
                "loss vanishes. Give a finite C.",
                ConvergenceWarning,
                stacklevel=4,
            )
            return
        super()._warn(search, objective)

    def _store(self, search, objective, hess):
        super()._store(search, objective, hess)
        xp = array_namespace(self.coef_)
        if self.coef_.ndim == 1:
            self.coef_ = xp.reshape(self.coef_, (1, -1))
            self.intercept_ = xp.reshape(self.intercept_, (1,))
        else:
            # a common shift changes no probability, and lowers no penalty
            self.coef_ = self.coef_ - xp.mean(self.coef_, axis=0)
            self.intercept_ = self.intercept_ - xp.mean(self.intercept_)

    def decision_function(self, X):
        """Return the linear predictors.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log-odds of the second class, or one predictor a class.
        """
        return self._decision(X, "decision_function")

    def _decision(self, X, method):
        eta = self._predictor(X, method)
        return eta[:, 0] if eta.shape[1] == 1 else eta

    def predict(self, X):
        """Return the most probable classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        eta = self._decision(X, "predict")
        xp = array_namespace(eta)
        if eta.ndim == 1:
            index = xp.astype(eta > 0, xp.int64)
        else:
            index = xp.argmax(eta, axis=1)
        if isinstance(self.classes_, np.ndarray):
            return self.classes_[to_numpy(index)]
        return xp.take(self.classes_, index, axis=0)

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
        eta = self._decision(X, "predict_proba")
        xp = array_namespace(eta)
        return xp.exp(_log_proba(eta))

    def predict_log_proba(self, X):
        """Return the logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Logarithms, exact also where a probability rounds to zero or one.
        """
        return _log_proba(self._decision(X, "predict_log_proba"))

    def score(self, X, y, sample_weight=None):
        """Return the accuracy.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        float
            Share of the rows whose class is predicted.
        """
        predicted = to_numpy(self.predict(X))
        weight = None if sample_weight is None else as_numpy(sample_weight)
        return float(accuracy_score(as_numpy(y), predicted, sample_weight=weight))


def _log_proba(eta):
    """Return log-probabilities (n, K) of predictors (n,) or (n, K)."""
    xp = array_namespace(eta)
    if eta.ndim == 1:
        tail = xp.log1p(xp.exp(-xp.abs(eta)))
        zero = 0 * eta
        no = -(xp.where(eta > 0, eta, zero) + tail)
        yes = -(xp.where(eta < 0, -eta, zero) + tail)
        return xp.stack([no, yes], axis=1)
    shifted = eta - xp.max(eta, axis=1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True))
