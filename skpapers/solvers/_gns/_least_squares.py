# SPDX-License-Identifier: BSD-3-Clause
"""Powers of residual norms, f(x) = |u(x)|^p / p, for gradient-normalised Newton steps.

With the Jacobian J of u the Hessian is

    |u|^(p-2) J'J + (p-2) |u|^(p-4) (J'u)(J'u)' + |u|^(p-2) sum_i u_i Hess u_i;

the first term is that of Gauss and Newton, the second a Fisher term of rank one, and
the third, which needs second derivatives, is left out.
"""

import numpy as np
from scipy.sparse import csc_array, issparse

from skpapers.solvers._gns._api import gns_minimize
from skpapers.solvers._gns._models import factor_sparse, make_metric

__all__ = ["GNSLeastSquares"]

CURVATURES = ("both", "gauss-newton", "fisher")


class GNSLeastSquares:
    """Nonlinear least squares, and other powers of a residual norm.

    The objective is f(x) = norm(u(x))^p / p for a residual function u with Jacobian J
    and a power p of at least 2. The curvature is the positive semi-definite part of its
    Hessian that needs no second derivative of u. ``fun``, ``jac`` and ``hess_approx``
    fit `gns_minimize` and `scipy.optimize.minimize`.

    Parameters
    ----------
    residual : callable
        ``residual(x)`` returns u, shape (m,).
    jacobian : callable
        ``jacobian(x)`` returns J, a dense or sparse matrix of shape (m, n).
    power : float, default=2
        Exponent p, at least 2.
    curvature : {"both", "gauss-newton", "fisher"}, default="both"
        Terms of the model: Gauss-Newton, the Fisher term of rank one, or both. With
        "fisher" alone steps cost O(n) but for the metric, which should then be J'J.

    Raises
    ------
    ValueError
        If the power is below 2 or there is no such curvature.

    See Also
    --------
    gns_minimize : The solver.

    Notes
    -----
    A step costs O(m n^2 + n^3) for dense J; for sparse J one sparse factorisation of
    J'J, with the term of rank one added by the formula of Sherman and Morrison.

    References
    ----------
    .. [1] A. Semenov, M. Jaggi, N. Doikov, "Gradient-Normalized Smoothness for
       Optimization with Approximate Hessians", 2025. https://arxiv.org/abs/2506.13710

    Examples
    --------
    Rosenbrock's valley as a sum of squares, to the power 5:

    >>> import numpy as np
    >>> from skpapers.solvers import GNSLeastSquares
    >>> problem = GNSLeastSquares(
    ...     lambda x: np.array([1 - x[0], 10 * (x[1] - x[0] ** 2)]),
    ...     lambda x: np.array([[-1, 0], [-20 * x[0], 10]]),
    ...     power=5,
    ... )
    >>> result = problem.minimize([-2.0, 2.0], gtol=1e-12)
    >>> result.x.round(2)
    array([1., 1.])
    """

    def __init__(self, residual, jacobian, *, power=2, curvature="both"):
        if not power >= 2:
            raise ValueError(f"power={power} must be at least 2.")
        if curvature not in CURVATURES:
            raise ValueError(f"curvature={curvature!r} is none of {CURVATURES}.")
        self.residual, self.jacobian = residual, jacobian
        self.power, self.curvature = power, curvature
        self._last = None

    def _at(self, x):
        """Return u, its norm and J at x, remembering the last x."""
        if self._last is None or not np.array_equal(self._last[0], x):
            u = np.atleast_1d(np.asarray(self.residual(x), dtype=np.float64))
            if u.ndim != 1:
                raise ValueError(f"residual must return a vector, not {u.shape}.")
            self._last = np.copy(x), u, float(np.linalg.norm(u)), None
        return self._last

    def _jacobian(self, x):
        x, u, norm, J = self._at(x)
        if J is None:
            J = self.jacobian(x)
            if not issparse(J):
                J = np.asarray(J, dtype=np.float64)
            if J.shape != (len(u), len(x)):
                raise ValueError(
                    f"jacobian must return shape {(len(u), len(x))}, not {J.shape}."
                )
            self._last = x, u, norm, J
        return u, norm, J

    def fun(self, x):
        """Return the objective.

        Parameters
        ----------
        x : ndarray of shape (n,)
            Variables.

        Returns
        -------
        float
            The norm of the residuals to the power, divided by it.
        """
        return self._at(x)[2] ** self.power / self.power

    def jac(self, x):
        """Return the gradient.

        Parameters
        ----------
        x : ndarray of shape (n,)
            Variables.

        Returns
        -------
        ndarray of shape (n,)
            The gradient.
        """
        u, norm, J = self._jacobian(x)
        return norm ** (self.power - 2) * (J.T @ u)

    def hess_approx(self, x):
        """Return the model of the Hessian.

        Parameters
        ----------
        x : ndarray of shape (n,)
            Variables.

        Returns
        -------
        ndarray of shape (n, n), sparse matrix, or pair
            Dense for a dense Jacobian, sparse for a sparse one without the Fisher term,
            a pair (d, U) for the Fisher term alone.
        """
        gauss_newton, fisher = self._terms(x)
        if gauss_newton is None:
            return np.zeros(len(x)), fisher[:, None]
        if not fisher.any():
            return gauss_newton
        if issparse(gauss_newton):
            gauss_newton = gauss_newton.toarray()
        return gauss_newton + np.outer(fisher, fisher)

    def _terms(self, x):
        """Return |u|^(p-2) J'J or None, and v with v v' the Fisher term."""
        u, norm, J = self._jacobian(x)
        gauss_newton = None
        if self.curvature != "fisher":
            gauss_newton = norm ** (self.power - 2) * (J.T @ J)
        fisher = np.zeros(len(x))
        if self.curvature != "gauss-newton" and norm > 0 and self.power > 2:
            scale = np.sqrt((self.power - 2) * norm ** (self.power - 2))
            fisher = scale * (J.T @ (u / norm))
        return gauss_newton, fisher

    def minimize(self, x0, **options):
        """Minimise.

        Parameters
        ----------
        x0 : array-like of shape (n,)
            Start.
        **options : dict
            Options of `gns_minimize`.

        Returns
        -------
        scipy.optimize.OptimizeResult
            As from `gns_minimize`.
        """
        metric = make_metric(options.get("metric"), len(x0))

        def model(x):
            gauss_newton, fisher = self._terms(x)
            if issparse(gauss_newton):
                return SparsePlusOne(gauss_newton, fisher, metric)
            return self.hess_approx(x)

        return gns_minimize(self.fun, x0, self.jac, model, **options)


class SparsePlusOne:
    """H = S + v v' with S sparse, by the formula of Sherman and Morrison.

    Parameters
    ----------
    S : sparse matrix of shape (n, n)
        Positive semi-definite.
    v : ndarray of shape (n,)
        Vector, may be zero.
    metric : metric
        B.
    """

    def __init__(self, S, v, metric):
        self.S, self.v, self.B = csc_array(S), v, metric.sparse()

    def step(self, g, lam):
        """Return the step, or None."""
        solve = factor_sparse(self.S + lam * self.B)
        if solve is None:
            return None
        d, w = solve(np.column_stack([-g, self.v])).T
        return d - w * (self.v @ d) / (1 + self.v @ w)
