# SPDX-License-Identifier: BSD-3-Clause
"""Newton steps with gradient regularisation, for Hessians that are only approximate.

Problem: min f(x), with a positive semi-definite model H(x) of its Hessian and a metric
B. The step

    x+ = x - (H(x) + lam B)^-1 grad f(x),    lam = |grad f(x)|_* / gamma

has length at most gamma in the norm of B. The largest gamma for which the model
predicts gradients well (the gradient-normalised smoothness) covers both the Taylor
error and the error of H; it is found by doubling and halving, so no constant of f need
be known. A trial is accepted if

    f(x) - f(x+) >= |grad f(x+)|_*^2 / (8 lam).

Reference: A. Semenov, M. Jaggi, N. Doikov, "Gradient-Normalized Smoothness for
Optimization with Approximate Hessians", arXiv 2506.13710.

A trial where the factorisation fails or f or its gradient is not finite is rejected.
Where rounding hides differences of f (the predicted decrease is below 4 eps |f|), the
norm of the gradient decides: it must halve, or the search ends.
"""

import warnings
from inspect import signature

import numpy as np
from scipy.optimize import (
    HessianUpdateStrategy,
    OptimizeResult,
    OptimizeWarning,
    approx_fprime,
)
from scipy.sparse.linalg import LinearOperator

from skpapers.solvers._gns._models import make_metric, make_model
from skpapers.solvers._gns._search import (
    CONVERGED,
    MESSAGES,
    REJECTED,
    STOPPED,
    Search,
)

__all__ = ["gns", "gns_minimize"]


class _Point:
    """A point of a user's function; the gradient is computed when it is asked for."""

    def __init__(self, problem, x):
        self.problem, self.x = problem, x
        self.value = problem.value(x)
        self._gradient = None

    @property
    def gradient(self):
        if self._gradient is None:
            self._gradient = self.problem.gradient(self.x)
        return self._gradient


class _Problem:
    """A user's callbacks, counted and checked."""

    def __init__(self, fun, jac, args, n):
        self.fun, self.jac, self.args, self.n = fun, jac, args, n
        self.nfev = self.njev = self.nhev = 0
        self._pair = None

    def value(self, x):
        self.nfev += 1
        value = self.fun(x, *self.args)
        if self.jac is True:
            value, gradient = value
            self._pair = x, gradient
        value = np.asarray(value, dtype=np.float64)
        if value.size != 1:
            raise ValueError(f"fun must return a number, not shape {value.shape}.")
        return float(value.reshape(()))

    def gradient(self, x):
        self.njev += 1
        if self.jac is True:
            if self._pair is None or self._pair[0] is not x:
                self.value(x)
            gradient = self._pair[1]
        elif callable(self.jac):
            gradient = self.jac(x, *self.args)
        else:
            gradient = approx_fprime(x, self.fun, None, *self.args)
        gradient = np.asarray(gradient, dtype=np.float64)
        if gradient.shape != (self.n,):
            raise ValueError(
                f"jac must return shape ({self.n},), not {gradient.shape}."
            )
        return gradient


class _Curvature:
    """A user's model of the Hessian, renewed every ``lazy`` iterations."""

    def __init__(self, problem, hess, metric, lazy, cg_rtol, cg_max_iter):
        self.problem, self.hess, self.metric = problem, hess, metric
        # a quasi-Newton formula learns from every step
        self.lazy = 1 if isinstance(hess, HessianUpdateStrategy) else lazy
        self.cg_rtol, self.cg_max_iter = cg_rtol, cg_max_iter
        self.first_norm = None
        self.born = None
        self.current = None
        self.fresh = False

    def rtol(self, g, lam):
        """Return the accuracy of conjugate gradients at a gradient."""
        if self.cg_rtol is not None:
            return self.cg_rtol
        norm = self.metric.dual_norm(g)
        self.first_norm = self.first_norm or norm
        return min(0.1, np.sqrt(norm / self.first_norm))

    def model(self, point, n_iter):
        self.fresh = self.born is None or n_iter - self.born >= self.lazy
        return self._renew(point, n_iter) if self.fresh else self.current

    def improve(self, point):
        if self.fresh:
            return None
        self.fresh = True
        return self._renew(point, self.born)

    def _renew(self, point, n_iter):
        self.born = n_iter
        problem, n = self.problem, self.problem.n
        problem.nhev += 1
        hess = self.hess
        if isinstance(hess, HessianUpdateStrategy):
            hess = self._update(point)
        elif callable(hess):
            hess = hess(point.x, *problem.args)
        self.current = make_model(hess, self.metric, n, self.rtol, self.cg_max_iter)
        return self.current

    def _update(self, point):
        """Return the matrix of a quasi-Newton formula after the last step."""
        before = getattr(self, "_before", None)
        if before is None:
            self.hess.initialize(self.problem.n, "hess")
        else:
            x, g = before
            self.hess.update(point.x - x, point.gradient - g)
        self._before = point.x, point.gradient
        return self.hess.get_matrix()


def gns_minimize(
    fun,
    x0,
    jac=None,
    hess_approx=None,
    metric=None,
    *,
    args=(),
    gamma0=1.0,
    gtol=1e-6,
    max_iter=1000,
    max_trials=40,
    lazy=1,
    patient=False,
    cg_rtol=None,
    cg_max_iter=None,
    f_min=None,
    f_tol=0.0,
    callback=None,
    disp=False,
):
    """Minimise a smooth function with an approximate Hessian.

    Each step is d = -(H + lam B)^-1 grad f, where lam is the dual norm of the gradient
    divided by gamma; it is never longer than gamma in the norm of B. gamma doubles
    after an accepted step and halves after a rejected one. No smoothness constant is
    needed, and H may be any positive semi-definite model: Gauss-Newton, Fisher, block
    or low-rank parts, subsampled or stale Hessians. An indefinite Hessian is safe too:
    where H + lam B is not positive definite the trial counts as rejected.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` returns the objective, a float; also the gradient if ``jac``
        is True.
    x0 : array-like of shape (n,)
        Start.
    jac : callable or True, default=None
        ``jac(x, *args)`` returns the gradient, shape (n,). None takes forward
        differences of ``fun``.
    hess_approx : callable, HessianUpdateStrategy, or constant, default=None
        ``hess_approx(x, *args)`` returns the model of the Hessian as one of

        - an ndarray of shape (n, n) or (n,) (a diagonal), or a sparse matrix,
        - a pair (d, U) that means diag(d) + U U', U of shape (n, r),
        - a `scipy.sparse.linalg.LinearOperator`, used by conjugate gradients,
        - any object with a method ``step(g, lam)`` that returns -(H + lam B)^-1 g or
          None where that matrix is not positive definite.

        A quasi-Newton formula such as ``scipy.optimize.BFGS()`` serves as well. None
        means zero, which is the gradient method with steps of length gamma.
    metric : array-like of shape (n,) or (n, n), default=None
        B, a positive diagonal or a positive definite (dense or sparse) matrix; None is
        the identity.
    args : tuple, default=()
        Further arguments of the callbacks.
    gamma0 : float, default=1.0
        First radius.
    gtol : float, default=1e-6
        Stop when the dual norm of the gradient is at most this.
    max_iter : int, default=1000
        Limit of accepted steps.
    max_trials : int, default=40
        Limit of trials in one iteration; then the search stops where it is.
    lazy : int, default=1
        Renew the model of the Hessian every so many iterations, or after a rejection.
    patient : bool, default=False
        Whether the radius doubles only after steps whose first trial was accepted;
        saves about a third of the solves where its limit changes little. False doubles
        after every step, as published.
    cg_rtol : float, default=None
        Relative residual at which conjugate gradients stop; None tightens it with the
        gradient, from 0.1.
    cg_max_iter : int, default=None
        Limit of products in one solve; None is max(100, 2 n).
    f_min : float, default=None
        The minimum, where it is known; stop when f - f_min <= f_tol.
    f_tol : float, default=0.0
        Accuracy in f; only with ``f_min``.
    callback : callable, default=None
        Called after each step with x, or with an `OptimizeResult` if its only argument
        is named ``intermediate_result``. Returning True or raising StopIteration ends
        the search.
    disp : bool, default=False
        Whether to print the message at the end.

    Returns
    -------
    scipy.optimize.OptimizeResult
        ``x, fun, jac``, ``nit`` steps, ``n_solves`` linear systems (trials), ``nfev``,
        ``njev``, ``nhev``, the last radius ``gamma``, ``gradient_norm`` (dual),
        ``success``, ``status``, ``message``, and ``history``: a dict of lists
        "objective", "gradient_norm", "gamma", "trials" and "seconds" (CPU), one entry
        for the start and each step.

    Raises
    ------
    ValueError
        If shapes are wrong, the metric is not positive definite, or the objective,
        gradient or curvature at the start is not finite.

    Warns
    -----
    scipy.optimize.OptimizeWarning
        If all trials of an iteration were rejected; the best point is returned.

    See Also
    --------
    gns : The same as a method of `scipy.optimize.minimize`.
    GNSLeastSquares : Powers of residual norms.

    Notes
    -----
    A trial costs one solve and one evaluation of f and its gradient: O(n^3 / 3) for
    dense H, O(n r^2) for a pair, O(n) for a diagonal; after 15 trials with one dense
    matrix an eigendecomposition makes each further one O(n^2). There are at most
    2 k + log2(gamma0 / min gamma) trials in k steps. If H differs from the Hessian by
    at most C1 + C2 times a power of the gradient norm, convex problems converge as with
    the exact Hessian up to terms of C1 and C2; logistic and softmax losses linearly.

    References
    ----------
    .. [1] A. Semenov, M. Jaggi, N. Doikov, "Gradient-Normalized Smoothness for
       Optimization with Approximate Hessians", 2025. https://arxiv.org/abs/2506.13710

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.optimize import rosen, rosen_der, rosen_hess
    >>> from skpapers.solvers import gns_minimize
    >>> result = gns_minimize(rosen, [-1.2, 1.0], rosen_der, rosen_hess)
    >>> result.x.round(6)
    array([1., 1.])

    The curvature may be a mere diagonal:

    >>> scale = np.array([1.0, 10.0, 100.0])
    >>> result = gns_minimize(
    ...     lambda x: scale @ np.cosh(x),
    ...     np.ones(3),
    ...     jac=lambda x: scale * np.sinh(x),
    ...     hess_approx=lambda x: scale * np.cosh(x),
    ... )
    >>> bool(abs(result.x).max() < 1e-6)
    True
    """
    x0 = np.array(x0, dtype=np.float64)
    if x0.ndim != 1 or not len(x0):
        raise ValueError(f"x0 must be a vector, not of shape {x0.shape}.")
    if not np.isfinite(x0).all():
        raise ValueError("x0 has infinite or missing entries.")
    if not gamma0 > 0:
        raise ValueError(f"gamma0={gamma0} must be positive.")
    n = len(x0)
    B = make_metric(metric, n)
    problem = _Problem(fun, jac, tuple(args), n)
    cg_max_iter = max(100, 2 * n) if cg_max_iter is None else cg_max_iter
    curvature = _Curvature(problem, hess_approx, B, lazy, cg_rtol, cg_max_iter)
    run = Search(
        lambda x: _Point(problem, x),
        x0,
        curvature,
        B,
        gamma0=gamma0,
        gtol=gtol,
        max_iter=max_iter,
        max_trials=max_trials,
        patient=patient,
        target=None if f_min is None else lambda p: p.value - f_min <= f_tol,
    )
    asks_to_stop = (lambda run: False) if callback is None else _wrapped(callback)
    while run.advance():
        if asks_to_stop(run):
            run.status = STOPPED
            break
    result = _result(run, problem)
    if run.status == REJECTED:
        warnings.warn(
            f"{result.message} The radius fell to {run.gamma:.1e}; gradient and "
            "objective may not belong together.",
            OptimizeWarning,
            stacklevel=2,
        )
    if disp:
        print(f"{result.message} f = {result.fun:.6g} after {result.nit} steps.")
    return result


def _result(run, problem=None):
    counts = {}
    if problem is not None:
        counts = {key: getattr(problem, key) for key in ("nfev", "njev", "nhev")}
    return OptimizeResult(
        x=run.point.x,
        fun=run.point.value,
        jac=run.point.gradient,
        nit=run.n_iter,
        n_solves=run.n_solves,
        gamma=run.gamma,
        gradient_norm=run.history["gradient_norm"][-1],
        success=run.status == CONVERGED,
        status=run.status,
        message=MESSAGES[run.status],
        history=run.history,
        **counts,
    )


def _wrapped(callback):
    """Return scipy's kind of callback as one that takes the search."""
    try:
        named = list(signature(callback).parameters) == ["intermediate_result"]
    except (TypeError, ValueError):
        named = False

    def call(run):
        try:
            if named:
                return callback(intermediate_result=_result(run)) is True
            return callback(np.copy(run.point.x)) is True
        except StopIteration:
            return True

    return call


def gns(
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
    """Gradient-normalised Newton steps as a method of `scipy.optimize.minimize`.

    ``minimize(fun, x0, method=gns, jac=..., hess=..., options={...})`` calls this
    function; `gns_minimize` says what ``hess`` may return.

    Parameters
    ----------
    fun : callable
        Objective.
    x0 : ndarray of shape (n,)
        Start.
    args : tuple, default=()
        Further arguments of the callbacks.
    jac : callable or True, default=None
        Gradient.
    hess : callable or HessianUpdateStrategy, default=None
        Model of the Hessian.
    hessp : callable, default=None
        ``hessp(x, v, *args)``, the model of the Hessian times v, if there is no
        ``hess``.
    bounds, constraints : None
        Refused: the problem has none.
    callback : callable, default=None
        As in `gns_minimize`.
    **options : dict
        Other parameters of `gns_minimize`; also ``maxiter`` for ``max_iter`` and
        ``tol`` for ``gtol``.

    Returns
    -------
    scipy.optimize.OptimizeResult
        As from `gns_minimize`.

    Raises
    ------
    ValueError
        If there are bounds or constraints.

    See Also
    --------
    gns_minimize : The solver.

    References
    ----------
    .. [1] A. Semenov, M. Jaggi, N. Doikov, "Gradient-Normalized Smoothness for
       Optimization with Approximate Hessians", 2025. https://arxiv.org/abs/2506.13710

    Examples
    --------
    >>> from scipy.optimize import minimize, rosen, rosen_der, rosen_hess
    >>> from skpapers.solvers import gns
    >>> result = minimize(
    ...     rosen, [2.0, 2.0, 2.0], method=gns, jac=rosen_der, hess=rosen_hess
    ... )
    >>> result.x.round(6)
    array([1., 1., 1.])
    """
    if bounds is not None or len(np.atleast_1d(constraints)):
        raise ValueError("gns takes neither bounds nor constraints.")
    if hess is None and hessp is not None:

        def hess(x, *args):
            n = len(x)
            return LinearOperator(
                (n, n), lambda v: hessp(x, v, *args), dtype=np.float64
            )

    for theirs, ours in (("maxiter", "max_iter"), ("tol", "gtol")):
        if theirs in options:
            options[ours] = options.pop(theirs)
    metric = options.pop("metric", None)
    return gns_minimize(
        fun, x0, jac, hess, metric, args=args, callback=callback, **options
    )
