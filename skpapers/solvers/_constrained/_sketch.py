# SPDX-License-Identifier: BSD-3-Clause
r"""Newton steps by sketch-and-project.

For the system A y = b of N unknowns, a step draws a matrix S of shape (N, s) and
projects y onto the solutions of S'A y = S'b:

    y <- y - A'S (S'A A'S)^+ S'(A y - b).

===================== ========================================================
"kaczmarz"            S is a row of the identity, each as likely; with a block
                      size, a block of a random partition that is drawn once an
                      outer iteration, so that its factor is made once
"kaczmarz_norm"       rows with probabilities like their squared norms
"subsample"           s rows, drawn anew
"gaussian"            normal entries
"countsketch"         every row of A added, with a random sign, to one of s
callable(rng, N, s)   whatever it returns
===================== ========================================================

A is the KKT matrix after five sweeps of symmetric equilibration, D Gamma D with
y = z / D, or P^-1 Gamma with the constraint preconditioner P.
"""

import numpy as np
import scipy.sparse as sp
from scipy.linalg import cho_factor, cho_solve, eigh

from skpapers.solvers._constrained._direct import (
    CURVATURE,
    SMALL,
    Schur,
    smallest_reduced_eigenvalue,
)
from skpapers.solvers._constrained._krylov import ConstraintPreconditioner
from skpapers.solvers._constrained._matrices import (
    dense_hessian,
    hessian_norm,
    kind_of,
    sparse_hessian,
)
from skpapers.solvers._kernels.kaczmarz import (
    kaczmarz_dense,
    kaczmarz_sparse,
    project_on_vectors,
)

SKETCHES = ("kaczmarz", "kaczmarz_norm", "subsample", "gaussian", "countsketch")
SWEEPS = 5  # of equilibration
CHUNK = 200_000  # rows drawn at a time
VECTORS = 100_000  # entries of random combinations drawn at a time
SPARSE_SHARE = 0.2  # of entries up to which the system is kept sparse
ROW_STEPS, BLOCK_STEPS = 1_000_000, 20_000  # limits of one outer iteration
CHECKS = 8  # block steps between looks at the residual, at most


class SketchAndProject:
    """The inner iteration on random sketches of the KKT system.

    Parameters
    ----------
    shifts : Shifts
        How B is made.
    sketch : str or callable
        The distribution of S.
    block_size : int or None
        s; None is 1 for the Kaczmarz sketches and N / 8 for the others.
    scaling : {"equilibrate", "preconditioner", "none"}
        What is done to the system before it is sketched.
    max_iter : int or None
        Limit of the steps of one outer iteration.
    rng : numpy.random.RandomState
        Source of the sketches.
    """

    name = "sketch"

    def __init__(self, shifts, sketch, block_size, scaling, max_iter, rng):
        self.shifts, self.sketch, self.block_size = shifts, sketch, block_size
        self.scaling, self.max_iter, self.rng = scaling, max_iter, rng
        self.precondition = scaling == "preconditioner"
        self.preconditioner = ConstraintPreconditioner()

    def prepare(self, H, G, rhs):
        """Assemble the system; return tau."""
        self.tau = self._modify(H, G)
        self.rhs = rhs
        self._assemble(H, G)
        N = rhs.size
        single = isinstance(self.sketch, str) and self.sketch.startswith("kaczmarz")
        self.s = min(self.block_size or (1 if single else max(1, N // 8)), N)
        self.limit = self.max_iter or (ROW_STEPS if self.s == 1 else BLOCK_STEPS)
        if self.s == 1:
            self._prepare_rows()
        elif single:
            self._prepare_partition()
        self.single = single
        self.used = 0
        return self.tau

    def raise_shift(self):
        """Never: B is positive definite on the null space of G from the start."""
        return False

    def _modify(self, H, G):
        if self.shifts.rule == "norm":
            return self.shifts.ahead(H, G)
        if G.m == G.n:
            return 0.0
        if G.n <= SMALL:
            low = smallest_reduced_eigenvalue(H, G)
            return 0.0 if low >= CURVATURE else self.shifts.xi - low
        if kind_of(H) == "diagonal":
            return max(0.0, self.shifts.xi - float(H.min())) if H.min() <= 0 else 0.0
        return Schur(self.shifts).prepare(dense_hessian(H), G)

    def _assemble(self, H, G):
        """Set A, b and what turns y into z."""
        n, m = G.n, G.m
        thin = kind_of(H) in ("diagonal", "sparse") and G.is_sparse
        if thin and not self.precondition:
            B = sparse_hessian(H) + self.tau * sp.eye(n)
            rows = G.sparse()
            gamma = sp.csr_matrix(sp.bmat([[B, rows.T], [rows, None]])) if m else B
            gamma = sp.csr_matrix(gamma)
            if gamma.nnz > SPARSE_SHARE * (n + m) ** 2:
                gamma = gamma.toarray()
        else:
            gamma = np.zeros((n + m, n + m))
            gamma[:n, :n] = dense_hessian(H)
            gamma[:n, :n][np.diag_indices(n)] += self.tau
            gamma[n:, :n] = G.dense()
            gamma[:n, n:] = G.dense().T
        self.gamma = gamma
        if self.precondition:
            self.preconditioner.prepare(dense_hessian(H), G)
            parts = [
                np.concatenate(self.preconditioner.solve(k[:n], k[n:]))
                for k in np.vstack([gamma, self.rhs])
            ]
            self.A = np.ascontiguousarray(np.array(parts[:-1]).T)
            self.b, self.D, self.undo = parts[-1], np.ones(n + m), None
        else:
            sweeps = SWEEPS if self.scaling == "equilibrate" else 0
            self.A, self.D = equilibrate(gamma, sweeps)
            self.b, self.undo = self.D * self.rhs, 1 / self.D
        self.y = np.zeros(n + m)

    def _prepare_rows(self):
        A = self.A
        if sp.issparse(A):
            self.ssq = np.asarray(A.multiply(A).sum(axis=1)).ravel()
        else:
            self.ssq = np.einsum("ij,ij->i", A, A)
        if self.sketch == "kaczmarz_norm":
            self.cumulated = np.cumsum(self.ssq) / np.sum(self.ssq)

    def _prepare_partition(self):
        N = self.rhs.size
        order = self.rng.permutation(N)
        self.blocks = []
        for part in np.array_split(order, -(-N // self.s)):
            W = self.A[part]
            self.blocks.append((part, W, inverse_of_gram(W)))

    def improve(self, goal):
        """Step until the residual is `goal`; return z, its residual, steps."""
        before = self.used
        while True:
            size = float(np.linalg.norm(self.gamma @ (self.D * self.y) - self.rhs))
            noise = 1e-15 * (
                hessian_norm(self.gamma) * np.linalg.norm(self.y)
                + np.linalg.norm(self.rhs)
            )
            if size <= max(goal, noise) or self.used >= self.limit:
                break
            if self.s == 1 and not callable(self.sketch):
                self._single_steps(goal)
            else:
                steps = max(1, min(CHECKS, self.rhs.size // self.s))
                for _ in range(steps):
                    self.y = self._block_step(self.y)
                self.used += steps
        return self.D * self.y, size, self.used - before

    def _single_steps(self, goal):
        """Make many steps with one row, or one combination of rows, each."""
        N, left = self.rhs.size, self.limit - self.used
        undo = np.ones(N) if self.undo is None else self.undo
        if self.sketch in ("gaussian", "countsketch"):
            count = min(max(VECTORS // N, N), left)
            if self.sketch == "gaussian":
                vectors = self.rng.standard_normal((count, N))
            else:
                vectors = self.rng.choice([-1.0, 1.0], (count, N))
            A = self.A.toarray() if sp.issparse(self.A) else self.A
            used, _ = project_on_vectors(A, self.b, self.y, vectors, undo, goal)
            self.used += int(used)
            return
        count = min(max(CHUNK // N, 1) * N, left)
        if self.sketch == "kaczmarz_norm":
            rows = np.searchsorted(self.cumulated, self.rng.random_sample(count))
            rows = np.minimum(rows, N - 1)
        else:
            rows = self.rng.randint(N, size=count)
        rest = (self.b, self.y, self.ssq, rows.astype(np.int64), undo, goal)
        if sp.issparse(self.A):
            A = self.A
            indices, indptr = A.indices.astype(np.int64), A.indptr.astype(np.int64)
            used, _ = kaczmarz_sparse(A.data, indices, indptr, *rest)
        else:
            used, _ = kaczmarz_dense(self.A, *rest)
        self.used += int(used)

    def _block_step(self, y):
        if self.single:
            part, W, inverse = self.blocks[self.rng.randint(len(self.blocks))]
            return y - W.T @ inverse(W @ y - self.b[part])
        N = self.rhs.size
        if self.sketch == "subsample":
            part = self.rng.choice(N, self.s, replace=False)
            W, target = self.A[part], self.b[part]
        else:
            S = draw(self.sketch, self.rng, N, self.s)
            W, target = S.T @ self.A, S.T @ self.b
        return project(y, W, target)


def equilibrate(gamma, sweeps=SWEEPS):
    """Return D Gamma D and D with entries of size one in every row."""
    N = gamma.shape[0]
    D = np.ones(N)
    for _ in range(sweeps):
        if sp.issparse(gamma):
            scaled = sp.diags(D) @ gamma @ sp.diags(D)
            largest = np.asarray(abs(scaled).max(axis=1).todense()).ravel()
        else:
            largest = np.max(np.abs(D[:, None] * gamma * D), axis=1)
        D = D / np.sqrt(np.where(largest > 0, largest, 1.0))
    if sp.issparse(gamma):
        return sp.csr_matrix(sp.diags(D) @ gamma @ sp.diags(D)), D
    return np.ascontiguousarray(D[:, None] * gamma * D), D


def draw(sketch, rng, N, s):
    """Return S of shape (N, s)."""
    if sketch == "gaussian":
        return rng.standard_normal((N, s))
    if sketch == "countsketch":
        signs = rng.choice([-1.0, 1.0], N)
        columns = rng.randint(s, size=N)
        return sp.csr_matrix((signs, (np.arange(N), columns)), shape=(N, s))
    S = sketch(rng, N, s)
    if np.ndim(S) == 1 and not sp.issparse(S):
        S = np.reshape(S, (-1, 1))
    if S.shape[0] != N or len(S.shape) != 2:
        raise ValueError(f"sketch returned shape {S.shape}; expected ({N}, s).")
    return S


def project(y, W, target):
    """Return the nearest point to y with W y = target (in the least-squares sense)."""
    return y - W.T @ inverse_of_gram(W)(W @ y - target)


def inverse_of_gram(W):
    """Return a function that applies the pseudo-inverse of W W'."""
    M = W @ W.T
    M = M.toarray() if sp.issparse(M) else np.asarray(M)
    if np.all(np.isfinite(M)):
        try:
            factor = cho_factor(M, lower=True)
        except np.linalg.LinAlgError:
            pass
        else:
            d = np.diag(factor[0])
            if np.min(d) > 1e-7 * np.max(d):
                return lambda r: cho_solve(factor, r)
    values, vectors = eigh(M)
    good = values > 1e-13 * max(values[-1], 1e-300)
    values, vectors = values[good], vectors[:, good]
    return lambda r: vectors @ ((vectors.T @ r) / values)
