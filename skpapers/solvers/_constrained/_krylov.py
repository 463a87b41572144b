# SPDX-License-Identifier: BSD-3-Clause
r"""Newton steps by Krylov iterations behind the constraint preconditioner.

The preconditioner is P = [[D, G'], [G, 0]] with D the diagonal of B, or I where the
Hessian is an operator that does not tell it. It is applied by Cholesky factors of
G D^-1 G'; products of constant blocks of G are kept from one iteration to the next.

`ProjectedResiduals` minimises the residual over Krylov spaces on the null space of G
(MINRES in the form of conjugate residuals): one product with B and one application of P
an iteration. Every iterate fulfils G dx = -c, and a direction u with u'Bu <= 0 is found
as a by-product: it proves that B needs a larger shift tau.
"""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, gmres

from skpapers.solvers._constrained._direct import (
    FactorisationError,
    gram,
    inverse_of_complement,
)
from skpapers.solvers._constrained._matrices import (
    hessian_diagonal,
    hessian_dot,
    hessian_norm,
)

FLOOR = 0.01  # part of the mean diagonal of B below which entries of D do not fall
FLAT = 1e-10  # curvature below this part of the largest seen counts as none
GROWTH = 8.0
NOISE = 1e-15  # residuals below this part of what cancels in them are rounding
RECURRED = 20  # iterations up to which the product with the step is only recurred
STALLED = 0.999  # no better residual than this in 50 iterations: rounding


class ConstraintPreconditioner:
    """Solutions of D u + G'v = r1, G u = r2.

    Keeps products of blocks of G that are the same objects as before.
    """

    def __init__(self):
        self.kept = {}

    def prepare(self, H, G):
        """Factorise for a Hessian and a Jacobian."""
        self.G = G
        d = hessian_diagonal(H)
        self.D = None
        if d is not None:
            floor = FLOOR * float(np.mean(np.abs(d)))
            self.D = np.maximum(np.abs(d), floor) if floor > 0 else None
        if not G.m:
            return
        S = self._identity_gram() if self.D is None else gram(G, 1 / self.D)
        self.inverse = inverse_of_complement(S.toarray() if sp.issparse(S) else S)

    def _identity_gram(self):
        G = self.G
        S, kept = np.zeros((G.m, G.m), order="F"), {}
        for i, one in enumerate(G.blocks):
            rows = slice(G.starts[i], G.ends[i])
            for j, two in enumerate(G.blocks[: i + 1]):
                key = (id(one), id(two))
                found = self.kept.get(key)
                if found is None or found[0] is not one or found[1] is not two:
                    product = one @ two.T
                    product = product.toarray() if sp.issparse(product) else product
                    found = (one, two, product)
                kept[key] = found
                S[rows, G.starts[j] : G.ends[j]] = found[2]
        self.kept = kept
        return S

    def solve(self, r1, r2=None):
        """Return u, v; None for r2 is zero."""
        D, G = self.D, self.G
        scaled = r1 if D is None else r1 / D
        if not G.m:
            return scaled, np.zeros(0)
        right = G.dot(scaled)
        if r2 is not None:
            right = right - r2
        v = self.inverse(right)
        rest = r1 - G.tdot(v)
        return (rest if D is None else rest / D), v

    def times_d(self, u):
        """Return D u."""
        return u if self.D is None else self.D * u


class ProjectedResiduals:
    """Conjugate residuals on the null space of G."""

    name = "minres"

    def __init__(self, shifts, max_iter):
        self.shifts, self.max_iter = shifts, max_iter
        self.preconditioner = ConstraintPreconditioner()
        self.last_tau = 0.0

    def prepare(self, H, G, rhs):
        """Set up the iteration; return tau."""
        self.H, self.G, self.rhs = H, G, rhs
        self.r1, self.r2 = rhs[: G.n], rhs[G.n :]
        self.preconditioner.prepare(H, G)
        self.tau = self.shifts.ahead(H, G)
        self.limit = self.max_iter or max(4 * G.n, 200)
        self._restart()
        return self.tau

    def _product(self, u):
        w = hessian_dot(self.H, u)
        return w + self.tau * u if self.tau else w

    def _restart(self):
        """Begin with the step of the preconditioner, for the present tau."""
        solve = self.preconditioner.solve
        self.dx, _ = solve(self.r1, self.r2)
        # G dx = r2 only to rounding: once more
        if self.G.m:
            self.dx = (
                self.dx + solve(np.zeros(self.G.n), self.r2 - self.G.dot(self.dx))[0]
            )
        self._reset()

    def _reset(self):
        """Start conjugate residuals from the present dx."""
        self.image = image = self._product(self.dx)
        self.r = self.r1 - image
        self.u, self.v = self.preconditioner.solve(self.r)
        pull = self.G.tdot(self.v)
        self.r = self.r - pull
        parts = (self.r1, image, pull)
        self.noise = NOISE * sum(float(np.linalg.norm(part)) for part in parts)
        self.p, self.q = self.u, None
        self.curvature = None

    def improve(self, goal):
        """Iterate until the residual is `goal`; return z, its residual, iterations."""
        used, best, since = 0, np.inf, 0
        while True:
            size = float(np.linalg.norm(self.preconditioner.times_d(self.u)))
            if size < STALLED * best:
                best, since = size, 0
            since += 1
            if size <= max(goal, self.noise) or used >= self.limit or since > 50:
                break
            used += 1
            if not self._iterate():
                self._shift(min(self.rayleigh, 0.0))
                best, since = np.inf, 0
        return self._finish(used)

    def _iterate(self):
        """Make one step; False if the curvature is not positive."""
        if self.q is None:
            self.q = self._product(self.u)
            self.curvature = float(self.u @ self.q)
            self.largest = 0.0
        length = float(self.u @ self.preconditioner.times_d(self.u))
        self.rayleigh = self.curvature / max(float(self.u @ self.u), 1e-300)
        self.largest = max(self.largest, self.curvature / max(length, 1e-300))
        if self.curvature <= FLAT * self.largest * length:
            return False
        image, _ = self.preconditioner.solve(self.q)
        alpha = self.curvature / float(self.q @ image)
        self.dx = self.dx + alpha * self.p
        self.image = self.image + alpha * self.q
        self.r = self.r - alpha * self.q
        self.u = self.u - alpha * image
        w = self._product(self.u)
        curvature = float(self.u @ w)
        beta, self.curvature = curvature / self.curvature, curvature
        self.p = self.u + beta * self.p
        self.q = w + beta * self.q
        return True

    def raise_shift(self):
        """Raise tau, on the evidence of the step, and begin again."""
        dx = self.dx
        self._shift(min(float(dx @ self._product(dx)) / max(float(dx @ dx), 1e-300), 0))
        return True

    def _shift(self, curvature):
        """Raise tau, for a curvature that was seen, and begin again."""
        if self.shifts.rule == "norm" and not self.tau:
            self.tau = self.shifts.xi + hessian_norm(self.H)
        else:
            least = self.tau + self.shifts.xi - curvature
            self.tau = max(least, GROWTH * self.tau / 2)
        if not self.tau < 1e20:
            raise FactorisationError("The Hessian has no usable shift.")
        self._restart()

    def _finish(self, used):
        """Return the multipliers' part too, with the residual of both."""
        if used > RECURRED:
            self.image = self._product(self.dx)
        self.H_dx = self.image - self.tau * self.dx
        r = self.r1 - self.image
        _, v = self.preconditioner.solve(r)
        r = r - self.G.tdot(v)
        gap = self.r2 - self.G.dot(self.dx)
        size = float(np.sqrt(r @ r + gap @ gap))
        return np.concatenate([self.dx, v]), size, used


class PreconditionedGMRES:
    """GMRES on the whole system; curvature is tested along the step."""

    name = "gmres"

    def __init__(self, shifts, max_iter):
        self.shifts, self.max_iter = shifts, max_iter
        self.preconditioner = ConstraintPreconditioner()

    def prepare(self, H, G, rhs):
        """Set up the iteration; return tau."""
        self.H, self.G, self.rhs = H, G, rhs
        self.preconditioner.prepare(H, G)
        self.tau = self.shifts.ahead(H, G)
        self.z = np.zeros(rhs.size)
        return self.tau

    def _product(self, z):
        x, y = z[: self.G.n], z[self.G.n :]
        w = hessian_dot(self.H, x) + self.tau * x + self.G.tdot(y)
        return np.concatenate([w, self.G.dot(x)])

    def _precondition(self, r):
        return np.concatenate(self.preconditioner.solve(r[: self.G.n], r[self.G.n :]))

    def improve(self, goal):
        """Iterate until the residual is `goal`; return z, its residual, iterations."""
        used = self._iterate(goal)
        size = float(np.linalg.norm(self.rhs - self._product(self.z)))
        return self.z, size, used

    def raise_shift(self):
        """Raise tau and begin again."""
        if self.shifts.rule == "norm" and not self.tau:
            self.tau = self.shifts.xi + hessian_norm(self.H)
        elif not self.tau:
            self.tau = self.shifts.xi
        else:
            self.tau = self.shifts.next(self.tau)
        self.z = np.zeros(self.rhs.size)
        return True

    def _iterate(self, goal):
        count = [0]
        N = self.rhs.size
        restart = min(N, 50)
        rounds = -(-(self.max_iter or 20 * restart) // restart)
        operator = LinearOperator((N, N), matvec=self._product, dtype=float)
        inverse = LinearOperator((N, N), matvec=self._precondition, dtype=float)
        rest = self.rhs - self._product(self.z)
        noise = NOISE * float(np.linalg.norm(self.rhs))
        if np.linalg.norm(rest) <= max(goal, noise):
            return 0

        def count_one(_):
            count[0] += 1

        more, _ = gmres(
            operator,
            rest,
            rtol=0.0,
            atol=max(goal, noise),
            M=inverse,
            restart=restart,
            maxiter=rounds,
            callback=count_one,
            callback_type="pr_norm",
        )
        self.z = self.z + more
        return count[0]


KRYLOV = {cls.name: cls for cls in (ProjectedResiduals, PreconditionedGMRES)}
