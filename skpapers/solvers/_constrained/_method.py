# SPDX-License-Identifier: BSD-3-Clause
"""The solver as a method of `scipy.optimize.minimize`, with the names of that."""

import inspect

import numpy as np
from scipy.sparse.linalg import LinearOperator

from skpapers.solvers._constrained._api import check_start, minimize_constrained
from skpapers.solvers._constrained._problem import INSTEAD

NAMES = {"maxiter": "max_iter", "gtol": "tol", "disp": "verbose"}  # theirs and ours


def sketched_newton(
    fun,
    x0,
    args=(),
    jac=None,
    hess=None,
    hessp=None,
    bounds=None,
    constraints=(),
    callback=None,
    **options,
):
    """Run `minimize_constrained` as a ``method`` of `scipy.optimize.minimize`.

    Parameters
    ----------
    fun : callable
        As in `minimize_constrained`.
    x0 : array-like of shape (n,)
        Start.
    args : tuple, default=()
        Further arguments of the callbacks.
    jac : callable, bool or str, default=None
        As in `minimize_constrained`.
    hess : callable, str or HessianUpdateStrategy, default=None
        As in `minimize_constrained`.
    hessp : callable, default=None
        ``hessp(x, p, *args)`` returns the product of the Hessian with p.
    bounds : sequence or `scipy.optimize.Bounds`, default=None
        Refused unless all are infinite.
    constraints : constraint or list of constraints, default=()
        As in `minimize_constrained`.
    callback : callable, default=None
        As in `minimize_constrained`.
    **options : dict
        Further keywords of `minimize_constrained`; also the names of SciPy's solvers,
        ``maxiter`` for ``max_iter``, ``gtol`` for ``tol`` and ``disp`` for ``verbose``.

    Returns
    -------
    scipy.optimize.OptimizeResult
        See `minimize_constrained`.

    Raises
    ------
    ValueError
        If a variable is bounded, and as in `minimize_constrained`.
    TypeError
        If there is no such option.

    See Also
    --------
    minimize_constrained : The solver.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.optimize import LinearConstraint, minimize
    >>> from skpapers.solvers import sketched_newton
    >>> result = minimize(
    ...     lambda x: x @ x / 2, np.zeros(3), method=sketched_newton, jac=lambda x: x,
    ...     hess=lambda x: np.eye(3), constraints=LinearConstraint([[1, 2, 2]], 9, 9))
    >>> result.x.round(6)
    array([1., 2., 2.])
    """
    options = _own_names(options)
    x0 = check_start(x0)
    _refuse_bounds(bounds, x0.size)
    if hess is None and hessp is not None:
        hess = _operator(hessp, x0.size)
    return minimize_constrained(
        fun,
        x0,
        args=args,
        jac=jac,
        hess=hess,
        constraints=constraints,
        callback=callback,
        **options,
    )


def _own_names(options):
    """Return options by the names of `minimize_constrained`; raise for others."""
    parameters = inspect.signature(minimize_constrained).parameters
    own = set(parameters) - set(inspect.signature(sketched_newton).parameters)
    found = {}
    for name, value in options.items():
        ours = NAMES.get(name, name)
        if ours not in own:
            raise TypeError(
                f"sketched_newton has no option {name!r}; there are {sorted(own)}, and "
                f"{sorted(NAMES)} as SciPy calls them."
            )
        if ours in found:
            raise TypeError(f"The option {ours!r} is given twice.")
        found[ours] = int(value) if name == "disp" else value
    return found


def _operator(hessp, n):
    def hess(x, *args):
        return LinearOperator(
            (n, n), matvec=lambda p: hessp(x, np.ravel(p), *args), dtype=np.float64
        )

    return hess


def _refuse_bounds(bounds, n):
    if bounds is None:
        return
    if hasattr(bounds, "lb"):
        low, high = np.broadcast_to(bounds.lb, n), np.broadcast_to(bounds.ub, n)
    else:
        pairs = [(pair[0], pair[1]) for pair in bounds]
        low = np.array([-np.inf if a is None else a for a, _ in pairs], dtype=float)
        high = np.array([np.inf if b is None else b for _, b in pairs], dtype=float)
    bounded = np.flatnonzero(np.isfinite(low) | np.isfinite(high))
    if bounded.size:
        raise ValueError(
            f"bounds: variables {bounded[:10].tolist()} are bounded. This solver takes "
            f"equalities only; {INSTEAD}."
        )
