# SPDX-License-Identifier: BSD-3-Clause
"""What the linear models by gradient-normalised Newton steps share.

With rows x_i, weights s_i and slopes w (intercepts b have no penalty),

    min  sum_i s_i loss(y_i, x_i'w + b) / sum_i s_i + 1/2 sum_j l2_j w_j^2

is solved with the steps of `skpapers.solvers.gns_minimize` in a metric B. With the
second moments of the columns as metric ("diag"), iterates do not depend on the units of
the columns but for the penalty.
"""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skpapers.linear_model._gns._fit import (
    HESSIANS,
    METRICS,
    OPTIONS,
    choose_hessian,
    start_search,
)
from skpapers.solvers._gns._search import CONVERGED, MESSAGES, PRECISION, STOPPED
from skpapers.utils._array_api import (
    array_namespace,
    check_same_namespace,
    float_dtypes,
    like,
    to_numpy,
)
from skpapers.utils._callbacks import CallbackSupportMixin, reported
from skpapers.utils._estimator import DocumentedEstimator
from skpapers.utils._sklearn import Interval, StrOptions
from skpapers.utils._threads import single_thread

__all__ = ["GNSModel", "as_numpy"]


class _Steps:
    """The steps of a search as the tasks of an outer loop."""

    def __init__(self, search, max_iter, verbose):
        self.search, self.max_iter, self.verbose = search, max_iter, verbose
        self.finished = False

    def __len__(self):
        return self.max_iter

    def __iter__(self):
        while self.search.advance():
            if self.verbose:
                last = {key: column[-1] for key, column in self.search.history.items()}
                print(
                    f"iteration {self.search.n_iter:4d}: objective "
                    f"{last['objective']:.8g}, gradient {last['gradient_norm']:.2e}, "
                    f"radius {last['gamma']:.1e}, trials {last['trials']}"
                )
            yield self.search.n_iter
        self.finished = True


class GNSModel(CallbackSupportMixin, DocumentedEstimator):
    """What the linear models share: parameters, the fit, the linear predictor."""

    _parameter_constraints: dict = {
        "alpha_weights": ["array-like", None],
        "fit_intercept": ["boolean"],
        "hess": [StrOptions(set(HESSIANS))],
        "metric": [StrOptions(set(METRICS))],
        "gamma0": [Interval(Real, 0, None, closed="neither")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "lazy": [Interval(Integral, 1, None, closed="left")],
        "sample_hessian": [Interval(Real, 0, 1, closed="right")],
        "solver_options": [dict, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def _penalties(self, l2, n_features):
        """Return the penalty of each slope."""
        if self.alpha_weights is None:
            return l2
        weights = np.asarray(as_numpy(self.alpha_weights), dtype=np.float64)
        if weights.shape != (n_features,):
            raise ValueError(
                f"alpha_weights has shape {weights.shape}, but X has {n_features} "
                "features: give one weight a feature."
            )
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError("alpha_weights must be finite and not negative.")
        return l2 * weights

    def _options(self):
        given = self.solver_options or {}
        if unknown := sorted(set(given) - set(OPTIONS)):
            raise ValueError(
                f"solver_options has unknown keys {unknown}; known are "
                f"{sorted(OPTIONS)}."
            )
        return OPTIONS | given

    def _solve(self, objective, gradient_scale=1.0):
        """Minimise an objective and set the fitted attributes."""
        hess, max_products = self.hess, np.inf
        if hess == "auto":
            hess, max_products = choose_hessian(objective)
        if hess in ("exact", "block", "cg") and not objective.loss.convex:
            hess = "cg" if hess == "cg" else "expected"
        with single_thread():
            search = start_search(
                objective,
                self._start(objective),
                hess=hess,
                metric=self.metric,
                gamma0=self.gamma0,
                gtol=self.tol * gradient_scale,
                max_iter=self.max_iter,
                lazy=self.lazy,
                sample=self.sample_hessian,
                options=self._options(),
                rng=check_random_state(self.random_state),
                max_products=max_products,
                target=self._target(objective),
            )
            steps = _Steps(search, self.max_iter, self.verbose)
            for _ in reported(self, steps, "iteration"):
                pass
        if not steps.finished:  # a callback has asked to stop
            search.status = STOPPED
        self._warn(search, objective)
        self._store(search, objective, search.curvature.hess)

    def _target(self, objective):
        return None

    def _start(self, objective):
        """Return the start: the last fit, or the model without features."""
        if not (self.warm_start and hasattr(self, "coef_")):
            return objective.start()
        slopes = to_numpy(self.coef_).reshape(-1, to_numpy(self.coef_).shape[-1])
        columns = [slopes]
        if objective.design.intercept:
            intercept = np.atleast_1d(to_numpy(self.intercept_))
            columns.append(intercept[:, None])
        start = np.hstack(columns).astype(np.float64)
        if start.shape != np.atleast_2d(np.empty(objective.shape)).shape:
            return objective.start()
        return start.ravel()

    def _warn(self, search, objective):
        if search.status in (CONVERGED, PRECISION, STOPPED):
            return
        warnings.warn(
            f"{MESSAGES[search.status]} The gradient has dual norm {search.norm:.1e} > "
            f"tol={search.gtol:.1e} after {search.n_iter} iterations (max_iter="
            f"{self.max_iter}). Increase max_iter, or the penalty if the classes are "
            "separable.",
            ConvergenceWarning,
            stacklevel=4,
        )

    def _store(self, search, objective, hess):
        X = objective.design.X
        coef, intercept = objective.unpack(search.x)
        if objective.design.is_sparse:
            self.coef_ = coef.astype(X.dtype)
            self.intercept_ = np.asarray(intercept, dtype=X.dtype)
        else:
            self.coef_ = like(np.ascontiguousarray(coef), X, X.dtype)
            self.intercept_ = like(np.array(intercept), X, X.dtype)
        self.n_iter_ = max(1, search.n_iter)
        self.n_solves_ = search.n_solves
        self.gamma_ = float(search.gamma)
        self.converged_ = search.status in (CONVERGED, PRECISION)
        self.objective_ = float(search.point.value)
        self.hess_ = hess
        self.history_ = {
            key: [float(entry) for entry in column]
            for key, column in search.history.items()
        }

    def _read(self, X, method):
        """Return validated rows of the library of the fit."""
        check_is_fitted(self)
        X = validate_data(
            self, X, reset=False, accept_sparse="csr", dtype=float_dtypes(X)
        )
        if not issparse(X):
            check_same_namespace(self, method, X, self.coef_)
        return X

    def _predictor(self, X, method):
        """Return the linear predictor, (n,) or (n, K)."""
        X = self._read(X, method)
        xp = array_namespace(self.coef_)
        coef = xp.astype(self.coef_, X.dtype, copy=False)
        intercept = xp.astype(self.intercept_, X.dtype, copy=False)
        return X @ coef.T + intercept if coef.ndim == 2 else X @ coef + intercept

    def __sklearn_is_fitted__(self):
        return hasattr(self, "coef_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


def as_numpy(values):
    """Return an array of any library on the host; other containers as they are."""
    return to_numpy(values) if hasattr(values, "__array_namespace__") else values
