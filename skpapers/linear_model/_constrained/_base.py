# SPDX-License-Identifier: BSD-3-Clause
r"""Linear models whose coefficients or predictions fulfil equations exactly.

A model minimises its penalised mean loss f(w) subject to c(w) = 0 by Newton's method
for constraints [1]_; w are the slopes and, last, the intercept. The multipliers λ of
L = f + λᵀc tell what a constraint costs: the minimum changes by -λ_r per unit by which
the right side of constraint r is raised.

*Rates.* The share of rows that a classifier puts into a class jumps as rows cross the
threshold, so it cannot be a smooth constraint. Instead the difference of the mean
probabilities of the groups is held at a target t, and t is moved by Broyden's method
until the difference of the shares is where it is to be. Each solution starts from the
one before.

References
----------
.. [1] I. Hong, S. Na, M. W. Mahoney, M. Kolar, "Constrained optimization via exact
   augmented Lagrangian and randomized iterative sketching", ICML 2023.
"""

from dataclasses import replace
from numbers import Integral, Real
from warnings import warn

import numpy as np
from scipy.optimize import LinearConstraint, NonlinearConstraint
from scipy.sparse import csr_array, issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import (
    check_consistent_length,
)

from skpapers.linear_model._constrained._equations import (
    coefficient_constraint,
    gauge_rows,
    number_of_rows,
    split_constraints,
)
from skpapers.linear_model._constrained._groups import (
    NAMED,
    SmoothMeans,
    groups_of,
    linear_means,
    named_means,
    stacked,
)
from skpapers.linear_model._glm_design import Design
from skpapers.linear_model._glm_losses import GLMObjective
from skpapers.solvers import minimize_constrained
from skpapers.utils._estimator import DocumentedEstimator
from skpapers.utils._sklearn import (
    Interval,
    StrOptions,
    get_feature_names,
)

SOLVERS = ("auto", "ldl", "sparse", "schur", "nullspace", "minres", "gmres", "sketch")
# A dense table with fewer non-zeros is multiplied as a sparse one.
SPARSE_BELOW = 0.2
# Measures that are linear in the coefficients.
LINEAR = ("decision", "linear_predictor")
# Part of the mean curvature that is the least after a shift of an indefinite Hessian.
SMALL_CURVATURE = 1e-3
# Largest number of times that the targets behind a constraint on rates are moved, and
# the difference of two rates that counts as none.
N_CORRECTIONS = 20
RATE_TOL = 1e-3
# Bounds of the change of rates with that of mean probabilities.
SLOPES = (0.3, 3.0)


class RateSearch:
    """Search for targets of smooth means at which differences of rates vanish.

    Broyden's method. Rates move in jumps, so the slope that it learns is kept between
    bounds, and a step that makes things worse is halved; a single rate is kept between
    targets of either sign.

    Parameters
    ----------
    target : ndarray of shape (R,)
        First targets.

    Attributes
    ----------
    target : ndarray of shape (R,)
        What to try next.
    worst : float
        Smallest of the largest deviations that were told.
    told_best : bool
        Whether the last deviation was the best so far.
    """

    def __init__(self, target):
        self.target = target
        self.slope = np.eye(len(target))
        self.worst, self.told_best = np.inf, False
        self._last = self._best = None
        self._n_halved = 0
        self._ends: dict[bool, np.ndarray] = {}

    def tell(self, off):
        """Take the deviations at ``target``, choose the next; return if it is best."""
        if self._last is not None:
            step, change = self.target - self._last[0], off - self._last[1]
            if change.any():  # else no row has crossed the threshold yet
                miss = change - self.slope @ step
                slope = self.slope + np.outer(miss, step) / (step @ step)
                U, sizes, V = np.linalg.svd(slope)
                self.slope = U * np.clip(sizes, *SLOPES) @ V
        self._last = self.target, off
        worst = np.abs(off).max()
        self.told_best = bool(worst < self.worst)
        if self.told_best:
            self.worst, self._best, self._n_halved = worst, self._last, 0
        self._n_halved += not self.told_best
        if len(off) == 1:
            self.target = self.target - off / self.slope[0]
            self._ends[bool(off[0] > 0)] = self._last[0]
            if len(self._ends) == 2 and not self._between(self.target):
                self.target = (self._ends[True] + self._ends[False]) / 2
        elif 1 <= self._n_halved <= 3:
            self.target = (self._best[0] + self.target) / 2
        else:
            if not self.told_best:  # what was learnt leads nowhere
                self.slope, self._n_halved = np.eye(len(off)), 0
            self.target = self.target - np.linalg.solve(self.slope, off)
        return self.told_best

    def _between(self, target):
        """Return whether a target lies well between those of either sign."""
        part = (target - self._ends[False]) / (self._ends[True] - self._ends[False])
        return bool(0.05 < part[0] < 0.95)


class ConstrainedLinearModel(DocumentedEstimator):
    """Fit of a generalised linear model under equality constraints."""

    _parameter_constraints = {
        "A": ["array-like", None],
        "b": ["array-like", None],
        "constraints": [
            StrOptions(set(NAMED)),
            list,
            tuple,
            LinearConstraint,
            NonlinearConstraint,
            None,
        ],
        "sensitive_columns": ["array-like", Integral, str, None],
        "strength": [Interval(Real, 0, 1, closed="both")],
        "fit_intercept": ["boolean"],
        "solver": [StrOptions(set(SOLVERS))],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def _solve(self, X, y, weight, loss, l2, sensitive):
        """Minimise under all constraints and store what is common."""
        if X.shape[0] and not issparse(X):
            density = np.count_nonzero(X) / X.size
            X = csr_array(X) if density < SPARSE_BELOW else X
        objective = GLMObjective(
            Design(X, self.fit_intercept), y, loss, sample_weight=weight, l2=l2
        )
        named, fixed = self._constraints(objective, y, weight, sensitive)
        self._random_state = check_random_state(self.random_state)
        w, result = self._minimise(objective, named, fixed)
        self.coef_, self.intercept_ = objective.unpack(w)
        self.n_iter_ = max(int(self._n_iter), 1)
        del self._n_iter, self._gauge, self._curvature, self._random_state
        self.objective_ = float(result.fun)
        self.multipliers_ = np.asarray(result.lam, dtype=np.float64)
        self.constraint_violation_ = float(result.constr_violation)
        if not result.success:
            remedy = "Raise max_iter or tol, or standardise the columns."
            if self.constraint_violation_ > 1e-3:
                remedy = (
                    "The equations are missed by up to "
                    f"{self.constraint_violation_:.2g}: they may contradict each other."
                )
            warn(
                f"The solver did not converge. {result.message} {remedy}",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _constraints(self, objective, y, weight, sensitive):
        """Return the group means (or None) and the other constraints."""
        named, fixed = split_constraints(self.constraints)
        if (self.A is None) != (self.b is None):
            raise ValueError("A and b must be given together.")
        if self.A is not None:
            shape, intercept = objective.shape, self.fit_intercept
            fixed.insert(0, coefficient_constraint(self.A, self.b, shape, intercept))
        n_rows = sum(number_of_rows(part, objective.start()) for part in fixed)
        labels = [f"equation {r}" for r in range(n_rows)]
        if not named:
            self.constraint_names_ = labels
            return None, fixed
        if sensitive is None:
            raise ValueError(
                f"constraints={self.constraints!r} speaks of groups of rows: give "
                "their labels as sensitive_features to fit, or name columns of X in "
                "sensitive_columns."
            )
        features = groups_of(*sensitive, weight)
        n_outputs = objective.n_outputs if len(objective.shape) == 2 else 1
        parts = {
            name: named_means(name, features, y, weight, n_outputs) for name in named
        }
        calibration = parts.pop("calibration", None)
        if calibration is not None:  # about probabilities, whatever the measure
            fixed.append(SmoothMeans(objective, calibration).constraint())
            labels += calibration.labels
        means = stacked(parts.values()) if parts else None
        self.constraint_names_ = labels + (means.labels if parts else [])
        return means, fixed

    def _minimise(self, objective, means, fixed):
        """Return the solution; ``strength`` and rates need more than one."""
        self._n_iter, self._gauge = 0, []
        # A shift that is small beside the curvature of the loss leaves the directions
        # of little curvature (collinear columns) their Newton steps.
        diagonal = objective.at(objective.start()).hessian_diagonal()
        self._curvature = max(float(SMALL_CURVATURE * diagonal.mean()), 1e-12)
        if len(objective.shape) == 2 and len(rows := gauge_rows(objective, fixed)):
            self._gauge = [LinearConstraint(rows, 0.0, 0.0)]
        start = self._start(objective), None
        curved = [part for part in fixed if isinstance(part, NonlinearConstraint)]
        if curved and not self.warm_start:  # their Jacobian may vanish at the origin
            linear = [part for part in fixed if isinstance(part, LinearConstraint)]
            start = self._once(objective, linear, *start)[0], None
        if means is None:
            return self._once(objective, fixed, *start)
        if self.strength == 1 and self.measure in LINEAR:
            return self._once(
                objective, [*fixed, self._smooth(objective, means)], *start
            )
        free = self._once(objective, fixed, *start)
        if self.strength == 0:
            free[1].lam = np.r_[free[1].lam, np.zeros(len(means.a))]
            return free
        keep = 1 - self.strength
        if self.measure != "rate":
            gap = self._gap(objective, means, free[0])
            means = replace(means, target=means.target + keep * gap)
            return self._once(
                objective, [*fixed, self._smooth(objective, means)], free[0], None
            )
        return self._with_rates(objective, means, fixed, free[0], keep)

    def _with_rates(self, objective, means, fixed, w, keep):
        """Move the targets of smooth means until the rates are as wanted."""
        wanted = keep * self._gap(objective, means, w)
        tolerance = self._rate_tolerance(means)
        smooth = SmoothMeans(objective, means).value(w)
        search = RateSearch(means.target + keep * smooth)
        lam, best = None, None
        for _ in range(N_CORRECTIONS):
            moved = replace(means, target=search.target)
            constraints = [*fixed, SmoothMeans(objective, moved).constraint()]
            w, result = self._once(objective, constraints, w, lam)
            lam = result.lam
            off = self._gap(objective, means, w) - wanted
            if search.tell(off):
                best = w, result
            if search.worst <= tolerance:
                break
        if search.worst > 2 * tolerance:  # two rows more or less cannot always be had
            warn(
                f"The rates of the groups still differ by {search.worst:.2g} from what "
                f"is asked for, after {N_CORRECTIONS} corrections. They jump as rows "
                "cross the threshold; groups may be too small, or the constraints "
                "contradict each other.",
                ConvergenceWarning,
                stacklevel=5,
            )
        return best

    def _rate_tolerance(self, means):
        """Return the step of a rate when a row crosses the threshold, or the goal."""
        return max(RATE_TOL, float(np.abs(means.a).max(axis=1).max()))

    def _smooth(self, objective, means):
        if self.measure in LINEAR:
            return linear_means(objective, means)
        return SmoothMeans(objective, means).constraint()

    def _gap(self, objective, means, w):
        """Return the differences of the group means, or rates, at w."""
        point = objective.at(w)
        if self.measure == "rate":
            values = self._classified(point)
        elif self.measure in LINEAR:
            values = np.atleast_2d(point.eta)
        else:
            values = np.atleast_2d(point.mean)
        return np.einsum("ri,ri->r", means.a, values[means.output]) - means.target

    def _classified(self, point):
        if point.eta.ndim == 1:
            return (point.eta > 0)[None].astype(float)
        return (point.eta.argmax(axis=0) == np.arange(len(point.eta))[:, None]) * 1.0

    def _once(self, objective, constraints, w, lam):
        """Return the solution of one problem, its multipliers without the gauge's."""
        hidden = sum(len(part.A) for part in self._gauge)
        result = minimize_constrained(
            objective.value,
            w,
            jac=objective.gradient,
            hess=objective.hessian,
            constraints=[*self._gauge, *constraints],
            lam0=None if lam is None else np.r_[np.zeros(hidden), lam],
            solver=self.solver,
            tol=self.tol,
            max_iter=self.max_iter,
            xi_B=self._curvature,
            random_state=self._random_state,
            verbose=int(self.verbose),
        )
        self._n_iter += result.nit
        result.lam = result.lam[hidden:]
        return result.x, result

    def _start(self, objective):
        if not (self.warm_start and hasattr(self, "coef_")):
            return objective.start()
        coef = np.reshape(self.coef_, (*objective.shape[:-1], -1))
        if self.fit_intercept:
            intercept = np.reshape(self.intercept_, (*objective.shape[:-1], 1))
            coef = np.concatenate([coef, intercept], axis=-1)
        return coef.ravel() if coef.shape == objective.shape else objective.start()

    def _sensitive(self, X, sensitive_features):
        """Return the labels of the rows and the names of the sensitive features."""
        if sensitive_features is None and self.sensitive_columns is None:
            return None
        if sensitive_features is not None and self.sensitive_columns is not None:
            raise ValueError(
                "sensitive_features and sensitive_columns are both given: which rows "
                "form a group can be said once."
            )
        if sensitive_features is None:
            columns = np.atleast_1d(np.asarray(self.sensitive_columns)).tolist()
            indices = [self._column(column) for column in columns]
            values = X[:, indices]
            values = values.toarray() if issparse(values) else values
            return values, [self._name_of(j) for j in indices]
        names = get_feature_names(sensitive_features)
        if names is None and getattr(sensitive_features, "name", None) is not None:
            names = [str(sensitive_features.name)]
        values = check_array(
            sensitive_features,
            dtype=None,
            ensure_2d=False,
            input_name="sensitive_features",
        )
        check_consistent_length(X, values)
        n_features = 1 if values.ndim == 1 else values.shape[1]
        if names is None:
            names = (
                ["group"] if n_features == 1 else [f"s{j}" for j in range(n_features)]
            )
        return values, list(names)

    def _name_of(self, j):
        names = getattr(self, "feature_names_in_", None)
        return f"x{j}" if names is None else str(names[j])

    def _column(self, column):
        if isinstance(column, str):
            names = list(getattr(self, "feature_names_in_", []))
            if column not in names:
                raise ValueError(f"sensitive_columns: X has no column {column!r}.")
            return names.index(column)
        if not -self.n_features_in_ <= column < self.n_features_in_:
            raise ValueError(
                f"sensitive_columns: X has {self.n_features_in_} columns, none with "
                f"index {column}."
            )
        return int(column) % self.n_features_in_

    def __sklearn_tags__(self):
        """Return the tags: sparse tables are taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
