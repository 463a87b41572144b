# SPDX-License-Identifier: BSD-3-Clause
r"""Newton's method under equality constraints, made global by an exact merit function.

For min f(x) subject to c(x) = 0, with the symbols

====== ================================================================
n, m   number of variables and of constraints, m <= n
g, G   gradient of f (n,), Jacobian of c (m, n)
lam    multipliers (m,) of the Lagrangian L = f + lam'c
H      Hessian of L in x (n, n); B = H + tau I
KKT    the residual ``||(g + G'lam, c)||``
====== ================================================================

every iteration solves the Newton-KKT system with (B, G), exactly or only as accurately
as needed, adapts the penalties of the merit function of
`skpapers.solvers._constrained._merit` until the step is a direction of descent, and
backtracks along it in x and lam together.

References
----------
.. [1] I. Hong, S. Na, M. W. Mahoney, M. Kolar, "Constrained optimization via exact
   augmented Lagrangian and randomized iterative sketching", ICML 2023.
"""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy.optimize import OptimizeResult
from sklearn.utils import check_random_state

from skpapers.solvers._constrained._direct import (
    DIRECT,
    Shifts,
    choose,
    first_multipliers,
    null_space,
)
from skpapers.solvers._constrained._feasibility import (
    check_linear,
    least_violation,
    row_norms,
)
from skpapers.solvers._constrained._inexact import InexactSteps
from skpapers.solvers._constrained._krylov import KRYLOV
from skpapers.solvers._constrained._matrices import as_float
from skpapers.solvers._constrained._merit import Merit
from skpapers.solvers._constrained._newton import (
    CONVERGED,
    FAILED,
    INFEASIBLE,
    MAX_ITER,
    PRECISION,
    STOPPED,
    UNBOUNDED,
    ExactSteps,
    Iterate,
    Loop,
    result_of,
)
from skpapers.solvers._constrained._problem import (
    Linear,
    Problem,
    parse_constraints,
    takes_intermediate_result,
)
from skpapers.solvers._constrained._sketch import SKETCHES, SketchAndProject
from skpapers.utils import DataConditionWarning

SOLVERS = ("auto", *DIRECT, *KRYLOV, "sketch")
MODIFICATIONS = ("shift", "norm")
SCALINGS = ("equilibrate", "preconditioner", "none")
ACCURACIES = ("practical", "paper")
NO_VIOLATION = 1e-8  # of a constraint that counts as fulfilled, whatever tol is
FAR = 1e8  # times the size of x0: a path that got there leads nowhere


def minimize_constrained(
    fun,
    x0,
    *,
    jac=None,
    hess=None,
    constraints=(),
    args=(),
    lam0=None,
    solver="auto",
    sketch="kaczmarz",
    block_size=None,
    sketch_scaling="equilibrate",
    tol=1e-6,
    max_iter=200,
    eta1=1.0,
    eta2=0.1,
    delta=0.1,
    nu=1.5,
    beta=0.1,
    xi_B=0.1,
    theta="adaptive",
    scale=True,
    accuracy="practical",
    inner_max_iter=None,
    hess_modification="shift",
    random_state=None,
    callback=None,
    verbose=0,
    return_history=False,
):
    """Minimise a smooth function under equality constraints by Newton's method.

    Every step solves the Newton-KKT system for x and the multipliers together, and is
    damped by the exact augmented Lagrangian of [1]_, which a full step lowers near a
    solution. The system is solved by a factorisation that suits its structure, by a
    Krylov iteration, or, as in the paper, by random sketches.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args) -> float``; with ``jac=True`` it returns the pair (f, g).
    x0 : array-like of shape (n,)
        Start; it need not be feasible.
    jac : callable, True or {"2-point", "3-point"}, default=None
        Gradient ``jac(x, *args) -> ndarray of shape (n,)``, or how to difference for
        it. None differences forward.
    hess : callable, str or HessianUpdateStrategy, default=None
        ``hess(x, *args)`` returns the Hessian of `fun` as an array of shape (n, n), a
        vector of shape (n,) for a diagonal matrix, a sparse matrix or a
        `scipy.sparse.linalg.LinearOperator`. "2-point" and "3-point" difference the
        gradient; "bfgs" (what None is) and "sr1" approximate the Hessian of the
        Lagrangian.
    constraints : constraint or sequence of constraints, default=()
        `scipy.optimize.LinearConstraint` and `scipy.optimize.NonlinearConstraint` with
        ``lb == ub``, or dicts of type "eq", which may have a key "hess" with a
        function of x and the multipliers. Jacobians may be sparse, and Hessians have
        the choices of `hess`; where none is given they are learnt by symmetric updates
        of rank one.
    args : tuple, default=()
        Further arguments of `fun`, `jac` and `hess`.
    lam0 : array-like of shape (m,), default=None
        First multipliers; None is those that make the gradient of the Lagrangian at x0
        smallest, or zeros where these are above 1000.
    solver : str, default="auto"
        How the Newton system is solved: "ldl" (dense symmetric indefinite), "schur"
        (Cholesky of the Hessian, or its diagonal, and of the Schur complement),
        "nullspace" (dense, for m near n), "sparse" (sparse LU), "minres" or "gmres"
        (Krylov iterations behind the constraint preconditioner) or "sketch". "auto"
        chooses by structure; see Notes.
    sketch : str or callable, default="kaczmarz"
        Distribution of the sketches of ``solver="sketch"``: "kaczmarz" (rows of the
        system), "kaczmarz_norm" (rows with probabilities like their squared norms),
        "subsample" (fresh blocks of rows), "gaussian", "countsketch", or a function
        ``sketch(rng, N, s)`` that returns an array or sparse matrix of shape (N, s).
    block_size : int, default=None
        Columns s of a sketch; None is 1 for the Kaczmarz sketches and (n + m) / 8 for
        the others. With "kaczmarz", the blocks are a partition whose factors are kept
        during an iteration.
    sketch_scaling : {"equilibrate", "preconditioner", "none"}, default="equilibrate"
        What is done to the system before it is sketched: symmetric equilibration, the
        constraint preconditioner, or nothing.
    tol : float, default=1e-6
        Largest norm of the KKT residual (g + G'lam, c) to stop at.
    max_iter : int, default=200
        Largest number of Newton steps.
    eta1, eta2 : float, default=1.0, 0.1
        First penalties of ``||c||^2`` and ``||g + G'lam||^2``. They change by factors
        nu**2 and 1 / nu where a step is no direction of descent.
    delta : float, default=0.1
        First accuracy of ``accuracy="paper"``.
    nu : float, default=1.5
        Factor of the penalties, above 1.
    beta : float, default=0.1
        Part of the predicted decrease that a step must bring, below 0.5.
    xi_B : float, default=0.1
        Smallest curvature on the null space of G that is made by a shift of an
        indefinite Hessian; with `scale` times the size of the first Hessian where that
        is below one. A Hessian that is singular there, but not indefinite, gets a far
        smaller shift.
    theta : float or "adaptive", default="adaptive"
        Factor in (0, 1] of the accuracy of inexact steps; "adaptive" falls with the
        KKT residual, which makes the convergence superlinear.
    scale : bool, default=True
        Whether the penalties are relative to the sizes of the Hessian and of the rows
        of G, so that they do not depend on units. Where this gets stuck, the
        iteration starts again without.
    accuracy : {"practical", "paper"}, default="practical"
        Rule for inexact steps: a relative residual of 0.1 theta and a tested descent,
        or the worst-case bound of the paper.
    inner_max_iter : int, default=None
        Largest number of inner iterations a step; None is 10**6 single rows, 20000
        blocks, ``max(4 n, 200)`` for "minres" and 1000 for "gmres".
    hess_modification : {"shift", "norm"}, default="shift"
        What is added to a Hessian that is not positive definite on the null space of
        G: the smallest multiple of the identity that helps, or xi_B plus its Frobenius
        norm, as in the paper.
    random_state : int, RandomState instance or None, default=None
        Source of the sketches.
    callback : callable, default=None
        Called after every iteration as ``callback(x)`` or, if that is the name of its
        only parameter, ``callback(intermediate_result=OptimizeResult)``. To return True
        or to raise StopIteration stops.
    verbose : int, default=0
        1 prints a last line, 2 one line an iteration.
    return_history : bool, default=False
        Whether the result has `history`.

    Returns
    -------
    scipy.optimize.OptimizeResult
        With

        - x, fun, jac: the point, f and its gradient;
        - lam, v: multipliers of the Lagrangian f + lam'c, stacked, and as a list of one
          array a constraint object;
        - kkt, optimality, constr_violation: norm of the KKT residual, largest entry of
          g + G'lam, largest entry of c;
        - success, status, message: 0 converged, 1 max_iter, 2 stopped by the callback,
          3 limit of precision, 4 unbounded below, 5 no feasible point found (x is
          one of least violation), 6 failed (NaN in a Hessian, singular system);
        - nit, nfev, njev, nhev, n_inner, penalty, solver: counts, the last
          (eta1, eta2), and how the system was solved;
        - history: a list of dicts, one an iteration, with fun, kkt, optimality,
          constr_violation, seconds, eta1, eta2, delta and, after a step, alpha, merit,
          merit_before, slope, size, tau, n_inner and residual.

    Raises
    ------
    ValueError
        If linear constraints contradict each other (the message names the rows), there
        are more constraints than variables, a constraint is an inequality, something
        is NaN or infinite in the constraints or at x0, or a callback returns a wrong
        shape.

    Warns
    -----
    DataConditionWarning
        If linear constraints are redundant. They are left out, with multiplier 0.

    See Also
    --------
    sketched_newton : The same as a method of `scipy.optimize.minimize`.

    Notes
    -----
    With N = n + m, a step costs N^3 / 3 operations by "ldl" or by "schur" with a dense
    Hessian, m^2 n by "schur" with a diagonal one, what the fill-in costs by "sparse",
    and one product with the Hessian an inner iteration by "minres". "auto" takes
    "schur" for positive diagonal Hessians, "sparse" for sparse ones, "minres" for
    operators; for dense ones "ldl" up to N = 100, "nullspace" where m > n / 2, else
    "schur".
    Sketches cost N operations a row, but their number grows with the square of the
    condition number of the system: they are there to reproduce the paper, and for
    users' own sketches. The multipliers are derivatives: lam_i is minus the change of
    the optimal f for a unit of the right-hand side b_i of A x = b.

    References
    ----------
    .. [1] I. Hong, S. Na, M. W. Mahoney, M. Kolar, "Constrained optimization via exact
       augmented Lagrangian and randomized iterative sketching", ICML 2023.

    Examples
    --------
    The point of a plane that is nearest to the origin:

    >>> import numpy as np
    >>> from scipy.optimize import LinearConstraint
    >>> from skpapers.solvers import minimize_constrained
    >>> result = minimize_constrained(
    ...     lambda x: x @ x / 2, np.zeros(3), jac=lambda x: x,
    ...     hess=lambda x: np.ones(3), constraints=LinearConstraint([[1, 2, 2]], 9, 9))
    >>> result.x.round(6), result.lam.round(6)
    (array([1., 2., 2.]), array([-1.]))
    """
    x0 = check_start(x0)
    penalties = {"eta1": eta1, "eta2": eta2, "delta": delta, "nu": nu, "beta": beta}
    _check_numbers(penalties | {"xi_B": xi_B, "tol": tol}, max_iter, theta)
    _check_choice("solver", solver, SOLVERS)
    _check_choice("hess_modification", hess_modification, MODIFICATIONS)
    _check_choice("accuracy", accuracy, ACCURACIES)
    _check_choice("sketch_scaling", sketch_scaling, SCALINGS)
    if not callable(sketch):
        _check_choice("sketch", sketch, SKETCHES)
    _check_counts(block_size=block_size, inner_max_iter=inner_max_iter)
    args = args if isinstance(args, tuple) else (args,)
    parsed = parse_constraints(constraints, x0.size)
    _drop_redundant(parsed)
    problem = Problem(fun, jac, hess, args, parsed, x0.size)
    start = problem.point(x0, first=True)
    if start.G.m > x0.size:
        raise ValueError(
            f"There are more constraints ({start.G.m}) than variables ({x0.size}): in "
            "general no point fulfils them all."
        )
    mask = _kept_rows(parsed)
    if lam0 is None:
        start = Iterate(start, first_multipliers(start.g, start.G))
    else:
        start = Iterate(start, _check_multipliers(lam0, mask))

    def make_engine(H, G, size):
        # with a small Hessian, a curvature of xi_B is a step that is far too short
        xi = xi_B if size is None else xi_B * min(1.0, size)
        shifts = Shifts(xi, hess_modification)
        name = choose(H, G) if solver == "auto" else solver
        if name in DIRECT:
            return ExactSteps(DIRECT[name](shifts))
        if name in KRYLOV:
            inner = KRYLOV[name](shifts, inner_max_iter)
        else:
            choice = (sketch, block_size, sketch_scaling, inner_max_iter, rng)
            inner = SketchAndProject(shifts, *choice)
        return InexactSteps(inner, xi_B, theta, accuracy, tol)

    rng = check_random_state(random_state)
    report, stiffens = _Report(callback, verbose), hess_modification != "norm"
    loop = Loop(problem, make_engine, tol, max_iter, report, stiffens)
    outcome = loop.run(start, Merit(**penalties, scaled=scale))
    if scale and outcome.status in (PRECISION, FAILED):
        outcome = loop.run_again(start, Merit(**penalties), outcome)
    if outcome.status == MAX_ITER and _far_away(outcome.iterate.point, start.point):
        outcome.status = UNBOUNDED
    if outcome.status in (PRECISION, FAILED):
        _go_where_least_is_violated(outcome, problem, tol)
    outcome.status, words = _words(outcome, problem, tol, max_iter)
    result = result_of(outcome, problem, words)
    result.lam, result.v = _restore(result.lam, mask, parsed)
    result.penalty = (loop.merit.eta1, loop.merit.eta2)
    result.solver = getattr(loop.engine, "name", None)
    if return_history:
        result.history = outcome.history
    if verbose:
        print(f"{words} KKT residual {result.kkt:.2e} after {result.nit} iterations.")
    return result


# --- validation ---------------------------------------------------------------------
def check_start(x0):
    x0 = np.atleast_1d(as_float(x0, "x0"))
    if x0.ndim != 1 or not x0.size:
        raise ValueError(f"x0 must be a vector; got shape {x0.shape}.")
    if not np.isfinite(x0).all():
        raise ValueError("x0 has NaN or infinite entries.")
    return x0


def _check_numbers(positive, max_iter, theta):
    for name, value in positive.items():
        if not (isinstance(value, Real) and np.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive number; got {value!r}.")
    if not positive["beta"] < 0.5:
        raise ValueError(f"beta must be below 0.5; got {positive['beta']!r}.")
    if not positive["nu"] > 1:
        raise ValueError(f"nu must be above 1; got {positive['nu']!r}.")
    if not (isinstance(max_iter, Integral) and max_iter >= 0):
        raise ValueError(f"max_iter must be an integer >= 0; got {max_iter!r}.")
    if theta != "adaptive" and not (isinstance(theta, Real) and 0 < theta <= 1):
        raise ValueError(f"theta must be 'adaptive' or in (0, 1]; got {theta!r}.")


def _check_counts(**counts):
    for name, value in counts.items():
        if value is not None and not (isinstance(value, Integral) and value >= 1):
            raise ValueError(f"{name} must be None or an integer >= 1; got {value!r}.")


def _check_choice(name, value, allowed):
    if not (isinstance(value, str) and value in allowed):
        raise ValueError(f"{name} is {value!r}; expected one of {allowed}.")


def _check_multipliers(lam0, mask):
    lam0 = np.atleast_1d(as_float(lam0, "lam0"))
    if lam0.shape != mask.shape:
        raise ValueError(f"lam0 has shape {lam0.shape}; expected {mask.shape}.")
    if not np.isfinite(lam0).all():
        raise ValueError("lam0 has NaN or infinite entries.")
    return lam0[mask]


# --- redundant rows -----------------------------------------------------------------
def _drop_redundant(parsed):
    """Drop redundant linear rows with a warning; raise if linear rows clash."""
    linear = [constraint for constraint in parsed if isinstance(constraint, Linear)]
    found = check_linear(linear)
    start = 0
    for constraint in linear:
        constraint.kept = found.keep[start : start + constraint.m]
        start += constraint.m
        if not constraint.kept.all():
            constraint.A = constraint.A[constraint.kept]
            constraint.b = constraint.b[constraint.kept]
            constraint.m = int(np.sum(constraint.kept))
    if found.words:
        more = f"; and {len(found.words) - 5} more" if len(found.words) > 5 else ""
        warnings.warn(
            "Redundant linear constraints are left out, with multiplier 0: "
            f"{'; '.join(found.words[:5])}{more}.",
            DataConditionWarning,
            stacklevel=3,
        )


def _kept_rows(parsed):
    """Return, for the stack of all rows that were given, which are kept."""
    masks = [getattr(c, "kept", np.ones(c.m, dtype=bool)) for c in parsed]
    return np.concatenate([np.zeros(0, dtype=bool), *masks])


def _restore(lam, mask, parsed):
    """Return all multipliers, stacked and one array a constraint object."""
    full = np.zeros(mask.size)
    full[mask] = lam
    sizes = [getattr(c, "kept", np.ones(c.m, dtype=bool)).size for c in parsed]
    ends = np.cumsum(sizes)[:-1]
    return full, [part.copy() for part in np.split(full, ends)] if sizes else []


# --- words --------------------------------------------------------------------------
class _Report:
    """Print and call back after every iteration."""

    def __init__(self, callback, verbose):
        self.callback, self.verbose = callback, verbose
        self.whole = callback is not None and takes_intermediate_result(callback)
        self.nit = -1

    def __call__(self, record, iterate):
        self.nit += 1
        if self.verbose > 1:
            print(
                f"{self.nit:4d}  fun {record['fun']: .6e}  kkt {record['kkt']:.2e}  "
                f"violation {record['constr_violation']:.2e}  "
                f"step {record.get('alpha', 0):.2g}  shift {record.get('tau', 0):.1e}"
            )
        if self.callback is None or not self.nit:
            return False
        x = iterate.point.x.copy()
        try:
            if self.whole:
                state = OptimizeResult(x=x, nit=self.nit, **record)
                return bool(self.callback(intermediate_result=state))
            return bool(self.callback(x))
        except StopIteration:
            return True


def _far_away(point, start):
    """Tell whether x has left every neighbourhood of its start, downhill."""
    sizes = (np.max(np.abs(each.x), initial=0.0) for each in (point, start))
    return point.f < start.f and next(sizes) > FAR * max(1.0, next(sizes))


def _go_where_least_is_violated(outcome, problem, tol):
    """Replace the last point by one of least violation if that is not zero."""
    iterate, enough = outcome.iterate, max(tol, NO_VIOLATION)
    if iterate.violation <= enough:
        return
    x = least_violation(problem.constrain, iterate.point.x, enough)
    point = None if x is None else problem.point(x)
    if point is not None:
        outcome.iterate, outcome.status = Iterate(point, iterate.lam), INFEASIBLE


def _words(outcome, problem, tol, max_iter):
    """Return the status, looked at once more, and the message."""
    iterate, status = outcome.iterate, outcome.status
    if status in (MAX_ITER, PRECISION, FAILED, INFEASIBLE):
        stuck = _stuck_rows(iterate, problem, tol, status == INFEASIBLE)
        if stuck:
            return INFEASIBLE, (
                "No feasible point found: the violation of the constraints is "
                f"stationary at {iterate.violation:.3g}; violated: {stuck}."
            )
    end = f"KKT residual {iterate.kkt:.2e} > tol={tol:.1e}"
    words = {
        CONVERGED: f"Converged: KKT residual {iterate.kkt:.2e} <= tol={tol:.1e}.",
        MAX_ITER: f"Stopped after max_iter={max_iter} iterations: {end}.",
        STOPPED: f"Stopped by the callback: {end}.",
        PRECISION: f"Stopped at the limit of precision: {outcome.detail}; {end}.",
        UNBOUNDED: (
            "The objective seems to be unbounded below on the feasible set: "
            f"fun = {iterate.point.f:.3e}, ||x|| = "
            f"{np.linalg.norm(iterate.point.x):.1e}."
        ),
        FAILED: f"Failed: {outcome.detail} {end}.",
    }[status]
    return status, words + _dependent_rows(iterate, problem, status)


def _stuck_rows(iterate, problem, tol, known=False):
    """Name the violated rows where the violation cannot fall, if need be to look."""
    c, G = iterate.point.c, iterate.point.G
    size = float(np.linalg.norm(c))
    if not G.m or iterate.violation <= max(tol, NO_VIOLATION):
        return ""
    pull = np.linalg.norm(G.tdot(c))
    if not known and pull > 1e-3 * size * max(float(np.max(G.row_norms())), 1e-300):
        return ""
    return _name_rows(np.abs(c) > 1e-3 * iterate.violation, problem)


def _dependent_rows(iterate, problem, status):
    """Return a sentence on dependent rows of the last Jacobian, if that failed."""
    G = iterate.point.G
    if status in (CONVERGED, STOPPED, UNBOUNDED) or not G.m or G.m * G.n > 1e7:
        return ""
    rows = G.dense()
    norms = row_norms(rows)
    unit = rows / np.where(norms > 0, norms, 1.0)[:, None]
    weights = null_space(unit.T)  # of the rows: combinations that vanish
    if not weights.shape[1]:
        return ""
    involved = np.max(np.abs(weights), axis=1) > 1e-6
    return (
        " The Jacobian of the constraints is rank-deficient there; dependent: "
        f"{_name_rows(involved, problem)}."
    )


def _name_rows(mask, problem):
    words = []
    for constraint, part in zip(problem.constraints, problem.parts(mask), strict=True):
        kept = getattr(constraint, "kept", None)
        rows = np.flatnonzero(part) if kept is None else np.flatnonzero(kept)[part]
        if rows.size:
            more = ", ..." if rows.size > 8 else ""
            listed = ", ".join(map(str, rows[:8]))
            words.append(f"row(s) {listed}{more} of {constraint.name}")
    return " and ".join(words)
