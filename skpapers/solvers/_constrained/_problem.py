# SPDX-License-Identifier: BSD-3-Clause
"""The problem as callbacks: parsed, counted and checked at every call.

Callbacks get copies of x, which they may change, and what they return is copied, as
they may return the same array again with other entries.

The solver sees one object. `Problem.point` evaluates f, its gradient g, the
constraints c and their Jacobian G at x; `Problem.hessian` the Hessian H of the
Lagrangian L = f + lam'c.
"""

import copy
import inspect
from itertools import pairwise

import numpy as np
from scipy.optimize import (
    BFGS,
    SR1,
    HessianUpdateStrategy,
    LinearConstraint,
    NonlinearConstraint,
)
from scipy.sparse import issparse

from skpapers.solvers._constrained._differences import (
    DIFFERENCES,
    jacobian_by_differences,
)
from skpapers.solvers._constrained._matrices import (
    Jacobian,
    add_hessians,
    as_float,
    as_hessian,
    as_jacobian_block,
    asymmetry,
    hessian_is_finite,
)

STRATEGIES = {
    "bfgs": lambda: BFGS(exception_strategy="damp_update"),
    "sr1": SR1,
}
MANY = 10**7  # numbers that learnt Hessians of all rows may need
INSTEAD = "use scipy.optimize.minimize(method='trust-constr') instead"


class Evaluation(Exception):  # noqa: N818
    """A callback gave NaN or infinity where the solver cannot go around it."""


class Point:
    """x with f, g, c and G there."""

    __slots__ = ("G", "c", "f", "g", "x")

    def __init__(self, x, f, g, c, G):
        self.x, self.f, self.g, self.c, self.G = x, f, g, c, G


class MemoisedObjective:
    """A function that gives f and g together, asked once a point."""

    def __init__(self, fun):
        self.fun = fun
        self.x = None

    def _ask(self, x, args):
        if self.x is None or not np.array_equal(x, self.x):
            answer = self.fun(x.copy(), *args)
            if not (isinstance(answer, (tuple, list)) and len(answer) == 2):
                raise ValueError("With jac=True, fun must return the pair (f, g).")
            self.f, self.g = answer
            self.x = x.copy()

    def value(self, x, *args):
        """Return f."""
        self._ask(x, args)
        return self.f

    def gradient(self, x, *args):
        """Return g."""
        self._ask(x, args)
        return self.g


# --- constraints --------------------------------------------------------------------
class Linear:
    """Rows A x = b."""

    def __init__(self, A, b, name):
        self.A, self.b, self.name = A, b, name
        self.m = A.shape[0]

    def value(self, x):
        """Return A x - b."""
        return self.A @ x - self.b

    def jacobian(self, x):
        """Return A."""
        return self.A


class Nonlinear:
    """Rows c(x) = value."""

    def __init__(self, fun, target, jac, hess, name, args=()):
        self.fun, self.jac, self.hess = fun, jac, hess
        self.target, self.name, self.args = target, name, args
        self.m = self.block = None

    def value(self, x):
        """Return c(x) - target."""
        value = as_float(self.fun(x.copy(), *self.args), f"The value of {self.name}")
        if value.ndim > 1 or (self.m is not None and value.size != self.m):
            raise ValueError(
                f"The value of {self.name} has shape {value.shape}; expected "
                f"{'(m,)' if self.m is None else (self.m,)}."
            )
        return value.ravel() - self.target

    def jacobian(self, x):
        """Return the rows of G, the same object where they have not changed."""
        if callable(self.jac):
            value = self.jac(x.copy(), *self.args)
        else:
            value = jacobian_by_differences(self.value, x, self.jac)
        name = f"The Jacobian of {self.name}"
        block = as_jacobian_block(value, self.m, x.size, name)
        if issparse(block):
            return block.copy()
        if self.block is None or not np.array_equal(block, self.block):
            self.block = block.copy()
        return self.block

    def hessian(self, x, v):
        """Return sum_i v_i Hess c_i."""
        if callable(self.hess):
            value = self.hess(x.copy(), v.copy(), *self.args)
            return as_hessian(value, x.size, f"The Hessian of {self.name}")
        H = jacobian_by_differences(
            lambda z: np.asarray(v @ self.jacobian(z)).ravel(), x, self.hess
        )
        return (H + H.T) / 2


def _check_equal(lb, ub, name):
    if np.isnan(lb).any() or np.isnan(ub).any():
        raise ValueError(f"{name} has NaN in its bounds (rows {_nan_rows(lb + ub)}).")
    unequal = np.flatnonzero(lb != ub)
    if unequal.size:
        raise ValueError(
            f"{name} is an inequality: lb != ub in rows {unequal[:10].tolist()}. This "
            f"solver takes equalities only; {INSTEAD}."
        )
    if not np.isfinite(lb).all():
        raise ValueError(f"{name} has infinite bounds lb == ub.")


def _nan_rows(values):
    finite = np.isfinite(values)
    bad = ~finite if values.ndim == 1 else ~finite.all(axis=1)
    return np.flatnonzero(bad)[:10].tolist()


def _parse_linear(constraint, n, name):
    A = constraint.A
    if issparse(A):
        A = A.tocsr().astype(np.float64)
        finite = np.isfinite(A.data).all()
    else:
        A = np.atleast_2d(as_float(A, f"A of {name}"))
        finite = np.isfinite(A).all()
    if A.ndim != 2 or A.shape[1] != n:
        raise ValueError(
            f"A of {name} has shape {A.shape}; expected (m, {n}) for {n} variables."
        )
    if not finite:
        dense = A.toarray() if issparse(A) else A
        rows = _nan_rows(dense)
        raise ValueError(f"A of {name} has NaN or infinite entries (rows {rows}).")
    try:
        lb, ub = (
            np.broadcast_to(as_float(side, f"The bounds of {name}"), (A.shape[0],))
            for side in (constraint.lb, constraint.ub)
        )
    except ValueError as error:
        raise ValueError(f"The bounds of {name} do not fit A: {error}") from None
    _check_equal(lb, ub, name)
    return Linear(A, lb.copy(), name)


def _parse_nonlinear(constraint, name):
    lb, ub = np.broadcast_arrays(
        as_float(constraint.lb, f"lb of {name}"),
        as_float(constraint.ub, f"ub of {name}"),
    )
    _check_equal(np.atleast_1d(lb), np.atleast_1d(ub), name)
    target = lb.copy() if lb.ndim else float(lb)
    return Nonlinear(constraint.fun, target, constraint.jac, constraint.hess, name)


def _parse_dict(constraint, name):
    kind = str(constraint.get("type", "")).lower()
    if kind != "eq":
        raise ValueError(
            f"{name} is of type {kind!r}. This solver takes equalities (type 'eq') "
            f"only; {INSTEAD}."
        )
    if not callable(constraint.get("fun")):
        raise ValueError(f"{name} has no function under the key 'fun'.")
    return Nonlinear(
        constraint["fun"],
        0.0,
        constraint.get("jac") or "2-point",
        constraint.get("hess") or BFGS(exception_strategy="damp_update"),
        name,
        constraint.get("args", ()),
    )


def parse_constraints(constraints, n):
    """Return the constraint objects as `Linear` and `Nonlinear`.

    Parameters
    ----------
    constraints : constraint or sequence of constraints
        As in `scipy.optimize.minimize`.
    n : int
        Number of variables.
    """
    if isinstance(constraints, (dict, LinearConstraint, NonlinearConstraint)):
        constraints = [constraints]
    parsed = []
    for i, constraint in enumerate(constraints if constraints is not None else ()):
        name = f"constraints[{i}] ({type(constraint).__name__})"
        if isinstance(constraint, LinearConstraint):
            parsed.append(_parse_linear(constraint, n, name))
        elif isinstance(constraint, NonlinearConstraint):
            parsed.append(_parse_nonlinear(constraint, name))
        elif isinstance(constraint, dict):
            parsed.append(_parse_dict(constraint, name))
        else:
            raise TypeError(
                f"{name} is no LinearConstraint, NonlinearConstraint or dict."
            )
    for constraint in parsed:
        if isinstance(constraint, Nonlinear):
            _check_derivatives(constraint)
    return parsed


def _check_derivatives(constraint):
    jac, hess = constraint.jac, constraint.hess
    if not callable(jac) and jac not in DIFFERENCES:
        raise ValueError(
            f"jac of {constraint.name} is {jac!r}; expected a function or one of "
            f"{DIFFERENCES}."
        )
    if isinstance(hess, str) and hess in STRATEGIES:
        constraint.hess = STRATEGIES[hess]()
    elif hess is None:
        constraint.hess = BFGS(exception_strategy="damp_update")
    elif not (
        callable(hess) or isinstance(hess, HessianUpdateStrategy) or hess in DIFFERENCES
    ):
        raise ValueError(
            f"hess of {constraint.name} is {hess!r}; expected a function, a "
            f"HessianUpdateStrategy or one of {(*DIFFERENCES, *STRATEGIES)}."
        )


class QuasiNewton:
    """A running approximation of one Hessian from differences of gradients."""

    def __init__(self, strategy, n):
        self.strategy = copy.deepcopy(strategy)
        self.strategy.initialize(n, "hess")
        self.x, self.informed = None, False

    def update(self, x, gradient_old, gradient_new):
        """Learn from the way from the last point to x."""
        if self.x is not None:
            step = x - self.x
            if np.any(step):
                self.strategy.update(step, gradient_new - gradient_old)
                self.informed = True
        self.x = x

    def matrix(self):
        """Return the present approximation."""
        return np.array(self.strategy.get_matrix())


class SymmetricRankOne:
    """Running approximations of the Hessians of rows, which start at zero.

    Multipliers have either sign, so nothing keeps them positive definite; a linear
    constraint keeps the zero.

    Parameters
    ----------
    m, n : int
        Numbers of rows and of variables.
    """

    def __init__(self, m, n):
        self.H = np.zeros((m, n, n))
        self.x, self.informed = None, False

    def update(self, x, rows_old, rows_new):
        """Learn from the way from the last point to x."""
        if self.x is not None:
            step = x - self.x
            miss = rows_new - rows_old - self.H @ step
            product = miss @ step
            sizes = np.linalg.norm(miss, axis=1) * np.linalg.norm(step)
            for i in np.flatnonzero(np.abs(product) > 1e-8 * sizes):
                self.H[i] += np.outer(miss[i], miss[i] / product[i])
                self.informed = True
        self.x = x

    def matrix(self, v):
        """Return the combination of the rows' Hessians."""
        return np.tensordot(v, self.H, 1)


# --- the problem --------------------------------------------------------------------
class Problem:
    """f, c and their derivatives, counted and checked.

    Parameters
    ----------
    fun, jac, hess : callables or the other choices of `minimize_constrained`
        The objective.
    args : tuple
        Further arguments of these three.
    constraints : list of Linear or Nonlinear
        The constraints.
    n : int
        Number of variables.
    """

    def __init__(self, fun, jac, hess, args, constraints, n):
        if not callable(fun):
            raise TypeError(f"fun must be a function, not {type(fun).__name__}.")
        self.n, self.args, self.constraints = n, args, constraints
        self.nfev = self.njev = self.nhev = 0
        self.hess = _check_hess(hess)
        self.fun, self.jac = fun, jac
        if jac is True:
            both = MemoisedObjective(fun)
            self.fun, self.jac = both.value, both.gradient
        elif jac is None or jac is False:
            self.jac = "2-point"
        elif not callable(jac) and jac not in DIFFERENCES:
            raise ValueError(
                f"jac is {jac!r}; expected a function, True or one of {DIFFERENCES}."
            )
        # the objective or, if it has no Hessian, the whole Lagrangian
        self.learner = None
        if isinstance(self.hess, HessianUpdateStrategy):
            self.learner = QuasiNewton(self.hess, n)
        self.learners = {}
        self.last = None
        self.checked = False

    def forget(self):
        """Drop what was learnt about Hessians: a new iteration begins."""
        self.last, self.learners = None, {}
        if self.learner is not None:
            self.learner = QuasiNewton(self.hess, self.n)

    # -- first derivatives
    def objective(self, x):
        """Return f(x) as a float."""
        self.nfev += 1
        value = self.fun(x.copy(), *self.args)
        try:
            return float(np.asarray(value, dtype=np.float64).reshape(()))
        except (TypeError, ValueError):
            raise ValueError(
                f"fun must return one real number; got shape {np.shape(value)}."
            ) from None

    def gradient(self, x):
        """Return g(x)."""
        self.njev += 1
        if not callable(self.jac):
            differences = jacobian_by_differences(
                lambda z: np.atleast_1d(self.objective(z)), x, self.jac
            )
            return differences.ravel()
        value = as_float(self.jac(x.copy(), *self.args), "The gradient (jac)")
        if value.size != self.n or value.ndim > 2:
            raise ValueError(
                f"The gradient (jac) has shape {value.shape}; expected ({self.n},)."
            )
        return value.flatten()

    def point(self, x, first=False):
        """Evaluate everything at x; None if something is not finite.

        The first point fixes the numbers of rows, and must be finite.
        """
        x = x.copy()  # callbacks may keep it
        with np.errstate(all="ignore"):
            f = self.objective(x)
            if not np.isfinite(f) and not first:
                return None
            g = self.gradient(x)
            c, G = self._constrain(x, first)
        if first:
            _refuse(f, "fun")
            _refuse(g, "The gradient (jac)")
            for constraint, part in zip(self.constraints, self.parts(c), strict=True):
                _refuse(part, f"The value of {constraint.name}")
            for constraint, block in zip(self.constraints, self.raw, strict=True):
                values = block.data if issparse(block) else block
                _refuse(values, f"The Jacobian of {constraint.name}")
        elif not (np.isfinite(g).all() and np.isfinite(c).all() and G.is_finite()):
            return None
        return Point(x, f, g, c, G)

    def constrain(self, x):
        """Return c and G at x, finite or not."""
        with np.errstate(all="ignore"):
            return self._constrain(x, False)

    def _constrain(self, x, first):
        values, self.raw = [], []
        for constraint in self.constraints:
            value = constraint.value(x)
            if first and isinstance(constraint, Nonlinear):
                constraint.m = value.size
            values.append(value)
            self.raw.append(constraint.jacobian(x))
        c = values[0] if len(values) == 1 else np.concatenate([np.zeros(0), *values])
        return c, Jacobian(self.raw, self.n)

    def parts(self, stacked):
        """Split a stacked vector into one piece a constraint object."""
        ends = np.cumsum([0, *(constraint.m for constraint in self.constraints)])
        return [stacked[a:b] for a, b in pairwise(ends)]

    # -- second derivatives
    def hessian(self, point, lam):
        """Return the Hessian of the Lagrangian at a point."""
        self.nhev += 1
        with np.errstate(all="ignore"):
            H = self._hessian(point, lam)
        if not hessian_is_finite(H):
            raise Evaluation("The Hessian has NaN or infinite entries.")
        if not self.checked:
            gap = asymmetry(H)
            if gap > 1e-6:
                raise ValueError(
                    f"The Hessian is not symmetric: entries differ by {gap:.1e} of "
                    "the largest."
                )
            self.checked = True
        return H

    def _hessian(self, point, lam):
        x, last = point.x, self.last
        self.last = point
        if self.learner is not None:
            old = None if last is None else last.g + last.G.tdot(lam)
            self.learner.update(x, old, point.g + point.G.tdot(lam))
            return self.learner.matrix()
        if callable(self.hess):
            value = self.hess(x.copy(), *self.args)
            H = as_hessian(value, self.n, "The Hessian (hess)")
        else:
            H = jacobian_by_differences(self.gradient, x, self.hess)
            H = (H + H.T) / 2
        for i, (constraint, v) in enumerate(
            zip(self.constraints, self.parts(lam), strict=True)
        ):
            if isinstance(constraint, Nonlinear) and constraint.m:
                H = add_hessians(H, self._curvature(i, constraint, v, point, last))
        return H

    def _curvature(self, i, constraint, v, point, last):
        if not isinstance(constraint.hess, HessianUpdateStrategy):
            return constraint.hessian(point.x, v)
        new = self._block(point.G, i)
        old = None if last is None else self._block(last.G, i)
        # a matrix a row, or, where that is too much, one for all of them together
        joint = constraint.m * self.n**2 > MANY
        if joint:
            new, old = v @ new, None if last is None else v @ old
        new, old = (each if each is None else _rows(each) for each in (new, old))
        if i not in self.learners:
            self.learners[i] = SymmetricRankOne(len(new), self.n)
        self.learners[i].update(point.x, old, new)
        return self.learners[i].matrix(np.ones(1) if joint else v)

    @property
    def has_learnt(self):
        """Whether a Hessian is an approximation that `forget` would change."""
        learners = list(self.learners.values())
        if self.learner is not None:
            learners.append(self.learner)
        return self.last is not None and any(each.informed for each in learners)

    def _block(self, G, i):
        before = sum(constraint.m > 0 for constraint in self.constraints[:i])
        return G.blocks[before]


def _rows(block):
    block = block.toarray() if issparse(block) else block
    return np.atleast_2d(block)


def _check_hess(hess):
    if hess is None:
        hess = "bfgs"
    if isinstance(hess, str) and hess in STRATEGIES:
        return STRATEGIES[hess]()
    if isinstance(hess, HessianUpdateStrategy) or hess in DIFFERENCES or callable(hess):
        return hess
    raise ValueError(
        f"hess is {hess!r}; expected a function, a HessianUpdateStrategy or one of "
        f"{(*DIFFERENCES, *STRATEGIES)}."
    )


def _refuse(values, name):
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{name} is NaN or infinite at the starting point x0.")


def takes_intermediate_result(callback):
    """Tell whether a callback has the signature of scipy's newer kind."""
    try:
        return set(inspect.signature(callback).parameters) == {"intermediate_result"}
    except (TypeError, ValueError):
        return False
