# SPDX-License-Identifier: BSD-3-Clause
"""Histories of solvers that keep none."""

import time

import numpy as np

from skpapers.solvers._constrained._matrices import as_float
from skpapers.solvers._constrained._problem import Problem, parse_constraints

__all__ = ["ConvergenceRecorder"]


class ConvergenceRecorder:
    """Callback that writes down how a solver under equations converges.

    Give it as ``callback`` to `scipy.optimize.minimize`, then draw it with
    `ConvergenceDisplay`. What it spends on its own evaluations is not counted in the
    seconds.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> float``.
    x0 : array-like of shape (n,)
        Start: the first entry. The clock starts when the object is made.
    jac : callable, True or {"2-point", "3-point"}, default=None
        Gradient, as in `minimize_constrained`.
    constraints : constraint or sequence of constraints, default=()
        Equations, as in `minimize_constrained`.
    args : tuple, default=()
        Further arguments of `fun` and `jac`.

    Attributes
    ----------
    history : list of dict
        One entry an iteration: fun, kkt (norm of the KKT residual with the multipliers
        that make it smallest), constr_violation (largest entry of c) and seconds.

    Raises
    ------
    ValueError
        If a constraint is an inequality, or something is not finite at x0.

    See Also
    --------
    ConvergenceDisplay : The pictures.
    minimize_constrained : Has ``return_history=True``.

    Notes
    -----
    An entry costs one evaluation of everything and m^2 n operations.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.optimize import minimize
    >>> from skpapers.solvers import ConvergenceRecorder
    >>> plane = {"type": "eq", "fun": lambda x: x.sum() - 3, "jac": np.ones_like}
    >>> problem = dict(fun=lambda x: x @ x, x0=np.zeros(3), jac=lambda x: 2 * x)
    >>> recorder = ConvergenceRecorder(**problem, constraints=plane)
    >>> result = minimize(
    ...     **problem, constraints=plane, method="SLSQP", callback=recorder)
    >>> round(recorder.history[0]["kkt"], 6), round(recorder.history[-1]["kkt"], 6)
    (3.0, 0.0)
    """

    def __init__(self, fun, x0, *, jac=None, constraints=(), args=()):
        x0 = np.atleast_1d(as_float(x0, "x0"))
        parsed = parse_constraints(constraints, x0.size)
        args = args if isinstance(args, tuple) else (args,)
        self._problem = Problem(fun, jac, None, args, parsed, x0.size)
        self.history = []
        self._own = 0.0
        self._start = time.perf_counter()
        self._record(x0, first=True)

    def __call__(self, x, state=None):
        """Write down a point; `state` is what some solvers give as well."""
        self._record(np.asarray(x, dtype=np.float64))

    def _record(self, x, first=False):
        now = time.perf_counter()
        point = self._problem.point(x, first=first)
        entry = {"fun": np.nan, "kkt": np.nan, "constr_violation": np.nan}
        if point is not None:
            residual = point.g
            if point.G.m:
                rows = point.G.dense()
                lam = np.linalg.lstsq(rows.T, -point.g, rcond=None)[0]
                residual = point.g + lam @ rows
            entry["fun"] = point.f
            entry["kkt"] = float(np.linalg.norm(np.r_[residual, point.c]))
            entry["constr_violation"] = float(np.max(np.abs(point.c), initial=0.0))
        entry["seconds"] = now - self._start - self._own
        self.history.append(entry)
        self._own += time.perf_counter() - now
