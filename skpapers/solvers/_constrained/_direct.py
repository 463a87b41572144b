# SPDX-License-Identifier: BSD-3-Clause
r"""Newton steps by factorisation.

Every class solves, for the Hessian H of the Lagrangian and the Jacobian G,

    [ B  G' ] [ dx   ]   [ r1 ]
    [ G  0  ] [ dlam ] = [ r2 ],      B = H + tau I,

with the smallest tau >= 0 that makes B positive definite on the null space of G. The
factorisation tells whether it is: by its inertia (LDL'), or by the Cholesky
factorisation of B, of B + sigma G'G (which gives the same step) or of B on the null
space. If it is not, tau = xi - (smallest eigenvalue of H on the null space) for n up to
`SMALL`, and grows by a factor of 8 from try to try above; where H is singular but not
indefinite on the null space, as convex problems are, `SLIGHT` times its size is enough
and keeps the step a Newton step. Dependent rows of G get -rho I in the lower right
block.
"""

import numpy as np
import scipy.sparse as sp
from scipy.linalg import (
    blas,
    eigvalsh,
    lapack,
    qr,
    solve_triangular,
)
from scipy.sparse.linalg import splu

from skpapers.solvers._constrained._matrices import (
    dense_hessian,
    hessian_diagonal,
    hessian_norm,
    kind_of,
    sparse_hessian,
)

CURVATURE = 1e-6  # smallest eigenvalue that the published rule leaves alone
SMALL = 300  # variables up to which eigenvalues give the shift
ZERO = 1e-10  # eigenvalues below this part of the norm of H count as zero
SLIGHT = 1e-8  # shift of a semi-definite Hessian, as a part of its size
FIRST = 1e-4  # first shift of a large indefinite Hessian, as a part of its size
GROWTH = 8.0
RHO = 1e-8  # of the squared size of G
NOISE = 1e-14  # keeps sparse pivots from vanishing; entries are near one
FAR_OFF = 1e3  # first multipliers above this are not believed
TINY = 1e-14  # pivots below this part of the largest count as zero
SWEEPS = 3  # of equilibration
FLAT = 1e-6  # rows of H that are smaller, beside the largest, count as this large
WIDTH = 4096  # columns of G that are scaled and multiplied at a time
LARGEST_SHIFT = 1e20


class FactorisationError(Exception):
    """No shift helps."""


class Shifts:
    """The shift tau, remembered from one iteration to the next.

    Parameters
    ----------
    xi : float
        Smallest eigenvalue wanted on the null space of G after a shift.
    rule : {"shift", "norm"}
        "norm" is the published rule: tau = xi + ||H||_F whenever one is needed.
    """

    def __init__(self, xi, rule="shift"):
        self.xi, self.rule = xi, rule
        self.last = self.floor = 0.0

    def ahead(self, H, G):
        """Return the shift before any try: the published rule looks at eigenvalues."""
        if self.rule != "norm" or G.m == G.n:
            return 0.0
        if smallest_reduced_eigenvalue(H, G) >= CURVATURE:
            return 0.0
        return self.xi + hessian_norm(H)

    def first(self, H, G):
        """Return the shift to try when H itself failed."""
        if self.rule == "norm":
            tau = self.xi + hessian_norm(H)
        elif H.shape[0] <= SMALL:
            tau = self.from_eigenvalue(
                smallest_reduced_eigenvalue(H, G), hessian_norm(H)
            )
        else:
            scale = np.max(np.abs(_diagonal_or_one(H)))
            self.floor = FIRST * scale
            again = self.last / 3
            tau = again if again > self.floor else SLIGHT * scale
        self.last = tau
        return tau

    def from_eigenvalue(self, low, size):
        """Return the shift for a smallest eigenvalue and the size of H."""
        if size > 0 and (abs(low) <= ZERO * size or low == np.inf):
            return SLIGHT * size
        return self.xi if low == np.inf else self.xi - low

    def next(self, tau):
        """Return a larger shift."""
        self.last = max(GROWTH * tau, self.floor) or self.xi
        if not self.last < LARGEST_SHIFT:
            raise FactorisationError("The Hessian has no usable shift.")
        return self.last


def _diagonal_or_one(H):
    diagonal = hessian_diagonal(H)
    return np.ones(1) if diagonal is None or not np.any(diagonal) else diagonal


def null_space(G):
    """Return orthonormal columns that span the null space of a dense G."""
    m, n = G.shape
    if not m:
        return np.eye(n)
    Q, R, _ = qr(G.T, pivoting=True)
    size = np.abs(np.diag(R))
    rank = int(np.sum(size > 1e-12 * max(size[0], 1e-300))) if size[0] > 0 else 0
    return Q[:, rank:]


def smallest_reduced_eigenvalue(H, G):
    """Return the smallest eigenvalue of H on the null space of G (inf if it is {0})."""
    Z = null_space(G.dense())
    if not Z.shape[1]:
        return np.inf
    reduced = Z.T @ (dense_hessian(H) @ Z)
    return float(eigvalsh((reduced + reduced.T) / 2, subset_by_index=[0, 0])[0])


# --- dense LDL' ---------------------------------------------------------------------
class LDL:
    """Symmetric indefinite factorisation of the whole dense matrix."""

    name = "ldl"

    def __init__(self, shifts):
        self.shifts = shifts

    def prepare(self, H, G):
        """Factorise; return tau."""
        self.n, self.m = G.n, G.m
        H = dense_hessian(H)
        self._assemble(H, G)
        tau, rho = self.shifts.ahead(H, G), 0.0
        good, singular = self._factorise(tau, rho)
        if good:
            return tau
        if singular:
            rho = RHO
            good, _ = self._factorise(tau, rho)
        if not good and not tau:
            tau = self.shifts.first(H, G)
            tau = tau if np.isfinite(tau) else 0.0  # the rows leave no null space
            good, singular = self._factorise(tau, rho)
        while not good:
            if singular and not rho:
                rho = RHO
            else:
                tau = self.shifts.next(tau)
            good, singular = self._factorise(tau, rho)
        return tau

    def _assemble(self, H, G):
        n, N = self.n, self.n + self.m
        self.K = np.zeros((N, N), order="F")
        self.K[:n, :n] = H
        if self.m:
            self.K[n:, :n] = G.dense()
        self.D = equilibration(abs(H), abs(self.K[n:, :n]))
        self.K *= self.D[:, None]
        self.K *= self.D

    def _factorise(self, tau, rho):
        """Return whether the inertia is (n, m, 0) and whether a pivot vanished."""
        K, n = self.K, self.n
        if tau or rho:
            K = K.copy(order="F")
            d = np.arange(n)
            K[d, d] += tau * self.D[:n] ** 2
            d = np.arange(n, n + self.m)
            K[d, d] -= rho
        lwork = 64 * K.shape[0]
        self.matrix = K
        self.factor, self.pivots, info = lapack.dsytrf(K, lower=1, lwork=lwork)
        negative, smallest, largest = ldl_inertia(self.factor, self.pivots)
        singular = info > 0 or smallest <= TINY * largest
        return negative == self.m and not singular, singular

    def solve(self, r1, r2):
        """Return dx, dlam."""
        right = self.D * np.concatenate([r1, r2])
        if hasattr(lapack, "dsytrs"):
            z = lapack.dsytrs(self.factor, self.pivots, right, lower=1)[0].ravel()
        else:  # the oldest scipy: the driver that also refines
            z = lapack.dsysvx(
                self.matrix,
                right,
                af=self.factor,
                ipiv=self.pivots,
                factored=1,
                lower=1,
            )[4].ravel()
        z = self.D * z
        return z[: self.n], z[self.n :]


def equilibration(H, G):
    """Return D that brings the largest entries of the rows of D K D near one.

    Those of H first, so that neither block drowns in the other.

    Parameters
    ----------
    H, G : ndarray or sparse matrix of shape (n, n), (m, n)
        Absolute values.
    """
    D = np.ones(H.shape[0])
    floor = FLAT * _largest(H, D).max(initial=0.0)
    for _ in range(SWEEPS if floor > 0 else 0):
        D /= np.sqrt(D * np.maximum(_largest(H, D), floor * D))
    largest = _largest(G, D)
    return np.r_[D, 1 / np.where(largest > 0, largest, 1.0)]


def _largest(A, D):
    """Return the largest entry of every row of A D."""
    if not A.shape[0]:
        return np.zeros(0)
    if sp.issparse(A):
        return sp.csr_matrix(A @ sp.diags(D)).max(axis=1).toarray().ravel()
    return (A * D).max(axis=1)


def ldl_inertia(factor, pivots):
    """Return the number of negative pivots, the smallest and the largest pivot.

    A 2 x 2 pivot of the lower factor has the same negative index twice, and one
    eigenvalue of each sign.
    """
    d = np.diag(factor)
    double = np.flatnonzero(pivots < 0)[::2]
    if not double.size:
        size = np.abs(d)
        return int(np.sum(d < 0)), size.min(initial=np.inf), size.max(initial=0.0)
    single = np.ones(len(d), dtype=bool)
    single[double] = single[double + 1] = False
    a, b, c = d[double], factor[double + 1, double], d[double + 1]
    mean, half = (a + c) / 2, np.hypot((a - c) / 2, b)
    eigenvalues = np.concatenate([d[single], mean - half, mean + half])
    size = np.abs(eigenvalues)
    return int(np.sum(eigenvalues < 0)), size.min(), size.max()


# --- Schur complement ---------------------------------------------------------------
class Schur:
    """Cholesky factorisation of B and of G B^-1 G'."""

    name = "schur"

    def __init__(self, shifts):
        self.shifts = shifts

    def prepare(self, H, G):
        """Factorise; return tau."""
        self.G = G
        kind = kind_of(H)
        if kind == "operator":
            H, kind = dense_hessian(H), "dense"
        tau = getattr(self, f"_prepare_{kind}")(H, G)
        self._factorise_complement()
        return tau

    # each sets self.inverse (a function) and self.S, and returns tau
    def _prepare_diagonal(self, h, G):
        tau, low = self.shifts.ahead(h, G), float(h.min())
        if low + tau <= TINY * max(float(h.max()), 1e-300):
            tau = self.shifts.from_eigenvalue(low, float(np.max(np.abs(h))))
        inverse = 1 / (h + tau)
        self.inverse = lambda r: inverse * r
        self.S = gram(G, inverse)
        self.sigma = 0.0
        return tau

    def _prepare_dense(self, H, G):
        H = dense_hessian(H)
        tau, self.sigma = self.shifts.ahead(H, G), 0.0
        factor, bad = _cholesky(H, tau)
        original = H
        if bad and G.m:
            size = max(float(np.sum(G.row_norms() ** 2)), 1e-300)
            self.sigma = 10 * max(hessian_norm(H), self.shifts.xi) / size * G.m
            H = H + self.sigma * (G.dense().T @ G.dense())
            factor, bad = _cholesky(H, tau)
        if bad:
            tau = self.shifts.first(original, G)
            factor, bad = _cholesky(H, tau)
        while bad:
            tau = self.shifts.next(tau)
            factor, bad = _cholesky(H, tau)
        self.inverse = lambda r: lapack.dpotrs(factor, r, lower=1)[0].ravel()
        if G.m:
            W = blas.dtrsm(1.0, factor, G.dense().T, lower=1)
            self.S = blas.dsyrk(1.0, W, trans=1, lower=1)
        else:
            self.S = np.zeros((0, 0))
        return tau

    def _prepare_sparse(self, H, G):
        tau, self.sigma = self.shifts.ahead(H, G), 0.0
        factor, bad = _sparse_cholesky(H, tau)
        if bad:
            tau = self.shifts.first(H, G)
            factor, bad = _sparse_cholesky(H, tau)
        while bad:
            tau = self.shifts.next(tau)
            factor, bad = _sparse_cholesky(H, tau)
        self.inverse = factor.solve
        if G.m:
            self.S = np.asfortranarray(G.dot(factor.solve(G.dense().T)))
        else:
            self.S = np.zeros((0, 0))
        return tau

    def _factorise_complement(self):
        m = self.S.shape[0]
        self.complement = None
        if not m:
            return
        if sp.issparse(self.S):
            self.complement, bad = _sparse_cholesky(self.S, 0.0)
            if bad:
                size = abs(self.S.diagonal()).max()
                self.complement, _ = _sparse_cholesky(self.S, RHO * size)
            self.solve_complement = self.complement.solve
            return
        self.solve_complement = inverse_of_complement(self.S)

    def solve(self, r1, r2):
        """Return dx, dlam."""
        if not self.G.m:
            return self.inverse(r1), np.zeros(0)
        if self.sigma:
            r1 = r1 + self.sigma * self.G.tdot(r2)
        dlam = self.solve_complement(self.G.dot(self.inverse(r1)) - r2)
        return self.inverse(r1 - self.G.tdot(dlam)), dlam


def _cholesky(A, tau):
    """Return the lower factor of A + tau I and whether there is none."""
    A = np.array(A, order="F", copy=True)
    if tau:
        d = np.arange(A.shape[0])
        A[d, d] += tau
    size = A.diagonal().copy()
    factor, info = lapack.dpotrf(A, lower=1, overwrite_a=1, clean=0)
    return factor, info != 0 or _lost(np.diag(factor) ** 2, size)


def _lost(pivots, diagonal):
    """Tell whether a pivot is but the rounding of what it was subtracted from."""
    return bool(np.any(pivots <= TINY * max(1.0, len(pivots) / 16) * diagonal))


def _sparse_cholesky(A, tau):
    """Like `_cholesky` for a sparse matrix, by an LU without exchanges."""
    A = sp.csc_matrix(A)
    if tau:
        A = sp.csc_matrix(A + tau * sp.eye(A.shape[0]))
    try:
        factor = _symmetric_lu(A)
    except RuntimeError:
        return None, True
    diagonal = np.empty(A.shape[0])
    diagonal[factor.perm_c] = A.diagonal()
    return factor, _lost(factor.U.diagonal(), diagonal) or _exchanged(factor)


def _symmetric_lu(A, order="MMD_AT_PLUS_A"):
    # not SuperLU's SymmetricMode: it writes out of bounds when a pivot is zero
    return splu(A, permc_spec=order, diag_pivot_thresh=0.0)


def _exchanged(factor):
    return not np.array_equal(factor.perm_r, factor.perm_c)


def gram(G, weight):
    """Return G diag(weight) G' for positive weights, lower triangle if dense."""
    if G.is_sparse:
        rows = G.sparse()
        S = sp.csc_matrix(rows @ sp.diags(weight) @ rows.T)
        full = S.shape[0] <= 500 or S.nnz > 0.2 * S.shape[0] ** 2
        return np.asfortranarray(S.toarray()) if full else S
    rows, root = G.dense(), np.sqrt(weight)
    m, n = rows.shape
    S = np.zeros((m, m), order="F")
    for start in range(0, n, WIDTH):
        part = rows[:, start : start + WIDTH] * root[start : start + WIDTH]
        by_columns = part.flags.f_contiguous
        part, trans = (part, 0) if by_columns else (part.T, 1)
        S = blas.dsyrk(1.0, part, beta=1.0, c=S, trans=trans, lower=1, overwrite_c=1)
    return S


def inverse_of_complement(S):
    """Return a function that applies S^-1 for S = G B^-1 G' (lower triangle).

    Rows are scaled to a unit diagonal, and rho I is added where rows of G are
    dependent.
    """
    diagonal = np.diag(S)
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    S = np.asfortranarray(scale[:, None] * S * scale)
    rho = 0.0
    while True:
        factor, bad = _cholesky(S, rho)
        if not bad:
            break
        rho = max(RHO, GROWTH * rho)
        if not rho < 10:
            raise FactorisationError("The Jacobian of the constraints is not finite.")
    return lambda r: scale * lapack.dpotrs(factor, scale * r, lower=1)[0].ravel()


def first_multipliers(g, G):
    """Return the multipliers with the least ``||g + G'lam||``; zeros if far off."""
    if not G.m:
        return np.zeros(0)
    S = gram(G, np.ones(G.n))
    if sp.issparse(S):
        factor, bad = _sparse_cholesky(S, RHO * abs(S.diagonal()).max())
        lam = np.zeros(G.m) if bad else factor.solve(-G.dot(g))
    else:
        lam = inverse_of_complement(S)(-G.dot(g))
    return lam if np.max(np.abs(lam)) <= FAR_OFF else np.zeros(G.m)


# --- null space ---------------------------------------------------------------------
class NullSpace:
    """QR factorisation of G', Cholesky factorisation of H on the null space."""

    name = "nullspace"

    def __init__(self, shifts):
        self.shifts = shifts
        self.G = None

    def prepare(self, H, G):
        """Factorise; return tau."""
        self._split(G)
        self.H = dense_hessian(H)
        Z = self.Z
        reduced = Z.T @ (self.H @ Z)
        self.tau = self.shifts.ahead(H, G)
        factor, bad = _cholesky(reduced, self.tau)
        if bad and Z.shape[1]:
            self.tau = self.shifts.first(H, G)
            factor, bad = _cholesky(reduced, self.tau)
        while bad and Z.shape[1]:
            self.tau = self.shifts.next(self.tau)
            factor, bad = _cholesky(reduced, self.tau)
        self.factor = factor
        return self.tau

    def _split(self, G):
        same = self.G is not None and len(self.G.blocks) == len(G.blocks)
        if same and all(a is b for a, b in zip(self.G.blocks, G.blocks, strict=True)):
            return  # constant rows
        self.G = G
        Q, R, self.order = qr(G.dense().T, pivoting=True)
        size = np.abs(np.diag(R))
        largest = size.max(initial=0.0)
        rank = int(np.sum(size > 1e-12 * largest)) if largest > 0 else 0
        self.Y, self.Z, self.R = Q[:, :rank], Q[:, rank:], R[:rank, :rank]

    def solve(self, r1, r2):
        """Return dx, dlam; multipliers of dependent rows do not move."""
        rank = self.R.shape[0]
        dx = self.Y @ _triangular(self.R, r2[self.order[:rank]], trans="T")
        if self.Z.shape[1]:
            right = self.Z.T @ (r1 - self.H @ dx)
            dx = dx + self.Z @ lapack.dpotrs(self.factor, right, lower=1)[0].ravel()
        dlam = np.zeros(len(r2))
        rest = self.Y.T @ (r1 - self.H @ dx - self.tau * dx)
        dlam[self.order[:rank]] = _triangular(self.R, rest)
        return dx, dlam


def _triangular(R, r, **options):
    # the oldest scipy does not take a matrix without rows
    return solve_triangular(R, r, **options) if r.size else r


# --- sparse -------------------------------------------------------------------------
class SparseLU:
    """SuperLU of the whole matrix; the order is found once.

    First with -rho I in the corner and without row exchanges: the signs of the pivots
    are then those of an LDL' factorisation and tell the inertia, and refinement takes
    the error of rho away. Where it cannot, the caller asks for row exchanges
    (`refactorise`); then the curvature along the step is tested instead (``proven`` is
    False), and `prepare_more` gives more shift.
    """

    name = "sparse"

    def __init__(self, shifts):
        self.shifts = shifts
        self.order = None
        self.exchanges = False

    def prepare(self, H, G):
        """Factorise; return tau."""
        self.n, self.m, self.G = G.n, G.m, G
        self.H, self.rows = sparse_hessian(H), G.sparse()
        m = self.m
        corner = sp.csr_matrix((m, m))
        self.K = sp.bmat([[self.H, self.rows.T], [self.rows, corner]], format="coo")
        self.D = equilibration(abs(self.H), abs(self.rows))
        self.entries = self.D[self.K.row] * self.K.data * self.D[self.K.col]
        self.tau = self.shifts.ahead(H, G)
        return self.tau if self._factorise() else self.prepare_more()

    def prepare_more(self):
        """Factorise with a larger shift; return tau."""
        good = False
        while not good:
            if self.tau:
                self.tau = self.shifts.next(self.tau)
            else:
                tau = self.shifts.first(self.H, self.G)
                self.tau = tau if np.isfinite(tau) else 1e-8
            good = self._factorise()
        return self.tau

    def refactorise(self):
        """Factorise with row exchanges from now on; return whether that worked."""
        if self.exchanges:
            return False
        self.exchanges = True
        return self._factorise()

    def _matrix(self, rho):
        """Return the matrix with a stored diagonal that nothing cancels exactly.

        SuperLU is not safe on structurally or exactly singular matrices.
        """
        n, N = self.n, self.n + self.m
        jitter = NOISE * np.random.default_rng(0).uniform(1, 2, N)
        shift = self.tau * self.D[:n] ** 2
        diagonal = np.r_[shift + jitter[:n], -rho - jitter[n:]]
        k = np.arange(N)
        data = np.concatenate([self.entries, diagonal])
        i, j = (np.concatenate([side, k]) for side in (self.K.row, self.K.col))
        return sp.csc_matrix((data, (i, j)), shape=(N, N))

    def _factorise(self):
        try:
            return self._exchanging() if self.exchanges else self._symmetric()
        except RuntimeError:  # exactly singular
            return False

    def _exchanging(self):
        self.proven = self.permuted = False
        for rho in (0.0, RHO):
            self.lu = splu(self._matrix(rho), diag_pivot_thresh=0.1)
            if np.min(np.abs(self.lu.U.diagonal())) > 100 * NOISE:
                return True
        return False

    def _symmetric(self):
        K = self._matrix(RHO)
        self.permuted = self.order is not None
        if self.permuted:
            K = sp.csc_matrix(K[self.order][:, self.order])
        order = "NATURAL" if self.permuted else "MMD_AT_PLUS_A"
        self.lu = _symmetric_lu(K, order)
        if not self.permuted:
            self.order = np.argsort(self.lu.perm_c)
        self.proven = True
        d = self.lu.U.diagonal()
        if _exchanged(self.lu) or np.min(np.abs(d)) <= 100 * NOISE:
            return False
        return int(np.sum(d < 0)) == self.m

    def solve(self, r1, r2):
        """Return dx, dlam."""
        r = self.D * np.concatenate([r1, r2])
        if self.permuted:
            z = np.empty_like(r)
            z[self.order] = self.lu.solve(r[self.order])
        else:
            z = self.lu.solve(r)
        z = self.D * z
        return z[: self.n], z[self.n :]


# --- choice -------------------------------------------------------------------------
DIRECT = {cls.name: cls for cls in (LDL, Schur, NullSpace, SparseLU)}
DENSE_SIZE = 100  # unknowns up to which nothing beats the plain factorisation


def choose(H, G):
    """Return the name of the solver that suits the structure."""
    n, m, kind = G.n, G.m, kind_of(H)
    if kind == "operator":
        return "minres"
    if kind == "diagonal":
        return "schur" if np.min(H, initial=np.inf) > 0 else "sparse"
    if kind == "sparse":
        if n + m <= DENSE_SIZE:
            return "ldl"
        return "sparse" if G.is_sparse or m * n <= 0.1 * n * n else "ldl"
    if n + m <= DENSE_SIZE:
        return "ldl"
    return "nullspace" if 2 * m > n and m < n else "schur"
