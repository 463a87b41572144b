# SPDX-License-Identifier: BSD-3-Clause
r"""The exact augmented Lagrangian, its slope along a step, and the penalties.

    M(x, lam) = f + lam'c + (eta1/2) c'U c + (eta2/2) gL'V gL,    gL = g + G'lam,

with diagonal weights U and V (all ones unless the problem is scaled). Its gradient is

    gL + eta1 G'U c + eta2 H V gL    in x,        c + eta2 G V gL    in lam,

so its slope along (dx, dlam) is a + eta1 b + eta2 q with

    a = gL'dx + c'dlam,    b = (U c)'G dx,    q = (V gL)'(H dx + G'dlam):

new penalties cost nothing once the three numbers are there.
"""

import numpy as np

from skpapers.solvers._constrained._matrices import hessian_diagonal, hessian_dot

ETA1_CAP, ETA2_CAP = 1e8, 1e-8
DELTA_FLOOR = 1e-6
DISTRUST = 30.0


class Merit:
    """Penalties eta1, eta2 and accuracy delta, with the rule that changes them.

    Parameters
    ----------
    eta1, eta2, delta, nu, beta : float
        As in `minimize_constrained`.
    U, V : float or ndarray
        Weights of the constraints and of the variables.
    """

    def __init__(self, eta1, eta2, delta, nu, beta, scaled=False):
        self.eta1, self.eta2, self.delta = eta1, eta2, delta
        self.nu, self.beta = nu, beta
        self.U, self.V = 1.0, 1.0
        self.scaled, self.h = scaled, None

    def weigh(self, H, G):
        """Choose U and V from sizes of H and of the rows of G, if that is wanted."""
        if not self.scaled:
            return
        if self.h is None:
            d = hessian_diagonal(H)
            if d is None:
                probes = np.random.default_rng(0).choice([-1.0, 1.0], (3, G.n))
                d = np.array([abs(p @ hessian_dot(H, p)) / G.n for p in probes])
            h = float(np.mean(np.abs(d)))
            self.h = h if h > 0 else 1.0
            self.norms = np.zeros(G.m)
            self.V = 1 / self.h
        norms = G.row_norms()
        if np.any(norms > 2 * self.norms):
            self.norms = np.maximum(norms, self.norms)
            self.U = self.h / np.where(self.norms > 0, self.norms, 1.0) ** 2

    def value(self, f, c, gL, lam):
        """Return M."""
        penalty = self.eta1 * np.sum(self.U * c * c)
        penalty += self.eta2 * np.sum(self.V * gL * gL)
        return f + float(lam @ c) + 0.5 * float(penalty)

    def size(self, c, gL):
        """Return the squared residual that a step must beat."""
        return float(np.sum(self.U * c * c) + np.sum(self.V * gL * gL))

    def slope_parts(self, c, gL, step):
        """Return a, b, q."""
        a = float(gL @ step.dx + c @ step.dlam)
        b = float((self.U * c) @ step.G_dx)
        q = float((self.V * gL) @ (step.H_dx + step.Gt_dlam))
        return a, b, q

    def slope(self, parts):
        """Return the slope for the present penalties."""
        a, b, q = parts
        return a + self.eta1 * b + self.eta2 * q

    def descends(self, parts, size):
        """Tell whether a step lowers M fast enough."""
        return self.slope(parts) <= -0.5 * self.eta2 * size

    @property
    def at_cap(self):
        """Whether the penalties are as extreme as they may get."""
        return self.eta1 > ETA1_CAP or self.eta2 < ETA2_CAP

    def penalties(self):
        """Return what `restore` takes."""
        return self.eta1, self.eta2, self.delta

    def restore(self, penalties):
        """Go back to earlier penalties of the same iteration."""
        self.eta1, self.eta2, self.delta = penalties

    def tighten(self, scale=None):
        """Raise eta1, lower eta2 and delta.

        Parameters
        ----------
        scale : float, default=None
            Upsilon * Psi of this iteration; None leaves delta out.
        """
        self.eta1 *= self.nu**2
        self.eta2 /= self.nu
        if scale is not None:
            self.delta = min(self.delta / self.nu**4, self.trial_delta(scale))
            self.delta = max(self.delta, DELTA_FLOOR)

    def trust_less(self, parts, size):
        """Lower eta2, whose part of the slope needs the exact Hessian."""
        self.eta2 /= DISTRUST
        while not (self.descends(parts, size) or self.at_cap):
            self.tighten()

    def start(self, scale):
        """Adapt delta to an iteration."""
        self.delta = max(min(self.delta, self.trial_delta(scale)), DELTA_FLOOR)

    def trial_delta(self, scale):
        """Return the delta with which the theory is content."""
        room = (0.5 - self.beta) * self.eta2
        return room / ((1 + self.eta1 + self.eta2) * scale**2)
