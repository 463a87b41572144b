# SPDX-License-Identifier: BSD-3-Clause
r"""Newton steps that are only as accurate as the merit function needs.

With r = Gamma z - rhs the residual of the step z and Gamma = [[B, G'], [G, 0]], the two
rules for when to stop are

"paper"      ||r|| <= theta delta ||gradL|| / (||Gamma|| Psi), a worst-case bound under
             which z is a direction of descent if eta2 and delta are small enough,
             Psi = 20 max(||B||^2, 1) / (min(xi_G, 1) min(xi_B, 1)), with xi_G the
             smallest eigenvalue of GG' and Frobenius norms;
"practical"  ||r|| <= 0.1 theta ||gradL||, and z is a direction of descent: tested, and
             asked for with 100 times less residual where it is not.

Where accuracy does not make a direction of descent, the penalties change, and the inner
iteration goes on from where it was.
"""

import numpy as np

from skpapers.solvers._constrained._matrices import hessian_norm
from skpapers.solvers._constrained._newton import (
    complete,
    curves,
    soften,
    stiffened,
)

LOOSE = 0.1  # relative residual of the practical rule
TIGHTER = 0.01
TIGHTEST = 1e-10  # relative residual below which accuracy is not what is missing
SMALLEST_XI_G = 1e-8
PATIENCE = 15  # changes of the penalties after which B is doubted


class InexactSteps:
    """Steps from an inner iteration.

    Parameters
    ----------
    inner : object
        With ``prepare(H, G, rhs)``; ``improve(goal) -> (z, residual, used)``, which
        goes on from the last z to a residual norm of `goal`; and ``raise_shift()``,
        which says whether it did.
    xi : float
        xi_B of the bound.
    theta : float or "adaptive"
        Factor of the accuracy; "adaptive" is min(1, ||gradL|| / that at the start).
    accuracy : {"paper", "practical"}
        The rule.
    tol : float
        Of the outer iteration: no practical step is more accurate than a tenth of it.
    """

    def __init__(self, inner, xi, theta, accuracy, tol):
        self.inner, self.name = inner, inner.name
        self.xi, self.theta, self.accuracy, self.tol = xi, theta, accuracy, tol
        self.first_kkt = None

    def direction(self, H, iterate, merit, size, extra=0.0):
        """Return a step along which the merit falls, and a, b, q."""
        G, kkt, H = iterate.point.G, iterate.kkt, stiffened(H, extra)
        rhs = -np.concatenate([iterate.gL, iterate.point.c])
        self.first_kkt = self.first_kkt or kkt
        theta = self.theta
        if theta == "adaptive":
            theta = min(1.0, kkt / self.first_kkt)
        self.inner.prepare(H, G, rhs)
        rule = self._rule(H, G, theta, kkt, merit)
        before, used_in_all, tightened = merit.penalties(), 0, 0
        goal = rule.goal()
        while True:
            z, residual, used = self.inner.improve(goal)
            used_in_all += used
            H_dx = getattr(self.inner, "H_dx", None)
            dx, dlam = z[: G.n], z[G.n :]
            step = complete(dx, dlam, H, G, self.inner.tau, used_in_all, H_dx)
            step.residual = residual / kkt
            soften(step, extra)
            parts = merit.slope_parts(iterate.point.c, iterate.gL, step)
            if not curves(step, iterate.point.c) and self.inner.raise_shift():
                continue
            if merit.descends(parts, size) or merit.at_cap:
                return step, parts
            if rule.practical and used and TIGHTEST * kkt < residual <= goal:
                goal *= TIGHTER
            elif tightened == PATIENCE and self.inner.raise_shift():
                # so much is not needed where B is positive definite on the null space
                merit.restore(before)
                rule, tightened = self._rule(H, G, theta, kkt, merit), 0
                goal = rule.goal()
            else:
                tightened += 1
                rule.tighten()
                goal = goal if rule.practical else rule.goal()

    def _rule(self, H, G, theta, kkt, merit):
        if self.accuracy == "paper":
            return PaperRule(H, G, self.inner.tau, self.xi, theta, kkt, merit)
        return PracticalRule(theta, kkt, self.tol, merit)


class PaperRule:
    """The bound of the theory."""

    practical = False

    def __init__(self, H, G, tau, xi, theta, kkt, merit):
        upsilon, psi, gamma = constants(H, G, tau, xi)
        self.scale, self.merit = upsilon * psi, merit
        self.factor = theta * kkt / (gamma * psi)
        merit.start(self.scale)

    def goal(self):
        """Return the norm of the residual to reach."""
        return self.factor * self.merit.delta

    def tighten(self):
        """Change penalties and accuracy."""
        self.merit.tighten(self.scale)


class PracticalRule:
    """A tenth, and never more than the tolerance of the outer iteration needs."""

    practical = True

    def __init__(self, theta, kkt, tol, merit):
        self.first = max(LOOSE * theta * kkt, min(LOOSE * tol, LOOSE * kkt))
        self.merit = merit

    def goal(self):
        """Return the norm of the residual to reach first."""
        return self.first

    def tighten(self):
        """Change the penalties."""
        self.merit.tighten()


def constants(H, G, tau, xi):
    """Return Upsilon, Psi and the Frobenius norm of Gamma."""
    norm_h = hessian_norm(H)
    norm_b = norm_h + tau * np.sqrt(G.n) if tau else norm_h
    norm_g = float(np.linalg.norm(G.row_norms()))
    xi_g = 1.0
    if G.m:
        rows = G.dense()
        xi_g = max(float(np.linalg.eigvalsh(rows @ rows.T)[0]), SMALLEST_XI_G)
    upsilon = max(norm_g, norm_h, 1.0)
    psi = 20 * max(norm_b**2, 1.0) / (min(xi_g, 1.0) * min(xi, 1.0))
    return upsilon, psi, float(np.sqrt(norm_b**2 + 2 * norm_g**2))
