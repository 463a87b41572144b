# SPDX-License-Identifier: BSD-3-Clause
"""Curvature models H and metrics B of gradient-normalised Newton steps.

A model answers one question, ``step(g, lam)``: d = -(H + lam B)^-1 g, or None where
H + lam B is not positive definite to working precision. What does not depend on lam is
computed once. A metric B is positive definite and gives the norms

    norm(h)^2 = h'B h,    dual_norm(g)^2 = g'B^-1 g.
"""

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh
from scipy.sparse import csc_array, diags_array, issparse
from scipy.sparse.linalg import LinearOperator, splu

__all__ = [
    "BlockModel",
    "DenseModel",
    "DiagonalMetric",
    "DiagonalModel",
    "LowRankModel",
    "MatrixMetric",
    "OperatorModel",
    "SparseModel",
    "factor_sparse",
    "make_metric",
    "make_model",
]

# From so many solves with one matrix on, an eigendecomposition serves all further ones.
MANY = 15


# --- metrics ------------------------------------------------------------------------
class DiagonalMetric:
    """B = diag(b).

    Parameters
    ----------
    b : ndarray of shape (n,)
        Positive numbers.
    """

    def __init__(self, b):
        self.b = b

    def solve(self, v):
        """Return B^-1 v, for a vector or the columns of a matrix."""
        return (v.T / self.b).T

    def norm(self, h):
        """Return the norm of a step."""
        return float(np.sqrt(np.sum(self.b * h * h)))

    def dual_norm(self, g):
        """Return the dual norm of a gradient; infinite or nan where g is."""
        root = np.sqrt(self.b)
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.linalg.norm(g / root))

    def times(self, v):
        """Return B v."""
        return self.b * v

    def added(self, H, lam):
        """Return the dense matrix H + lam B, a new one."""
        out = np.array(H, dtype=np.float64)
        out[np.diag_indices_from(out)] += lam * self.b
        return out

    def sparse(self):
        """Return B as a sparse matrix."""
        return diags_array(self.b, format="csc")

    def eigh(self, H):
        """Return mu, V with H V = B V diag(mu) and V'B V = I."""
        root = np.sqrt(self.b)
        mu, V = eigh(H / np.outer(root, root), check_finite=False)
        return mu, V / root[:, None]


class MatrixMetric:
    """B as a dense or sparse symmetric matrix.

    Parameters
    ----------
    B : ndarray or sparse matrix of shape (n, n)
        Positive definite.

    Raises
    ------
    ValueError
        If B is not positive definite.
    """

    def __init__(self, B):
        self.B = B
        try:
            self.solve = factor_sparse(B) if issparse(B) else factor_dense(B)
        except LinAlgError:
            self.solve = None
        if self.solve is None:
            raise ValueError("The metric is not positive definite.")

    def norm(self, h):
        """Return the norm of a step."""
        return float(np.sqrt(max(h @ (self.B @ h), 0)))

    def dual_norm(self, g):
        """Return the dual norm of a gradient; infinite or nan where g is."""
        if not np.isfinite(g).all():
            return np.inf
        return float(np.sqrt(max(g @ self.solve(g), 0)))

    def times(self, v):
        """Return B v."""
        return self.B @ v

    def added(self, H, lam):
        """Return the dense matrix H + lam B, a new one."""
        B = self.B.toarray() if issparse(self.B) else self.B
        return H + lam * B

    def sparse(self):
        """Return B as a sparse matrix."""
        return csc_array(self.B)

    def eigh(self, H):
        """Return mu, V with H V = B V diag(mu) and V'B V = I."""
        B = self.B.toarray() if issparse(self.B) else self.B
        return eigh(H, B, check_finite=False)


def make_metric(metric, n):
    """Return the metric of what a caller gives.

    Parameters
    ----------
    metric : None, array of shape (n,), or matrix of shape (n, n)
        None is the identity, a vector a diagonal.
    n : int
        Number of variables.

    Returns
    -------
    DiagonalMetric or MatrixMetric
        The metric.

    Raises
    ------
    ValueError
        If the shape is wrong, or it is not positive definite.
    """
    if metric is None:
        return DiagonalMetric(np.ones(n))
    if not issparse(metric):
        metric = np.asarray(metric, dtype=np.float64)
    if metric.shape not in ((n,), (n, n)):
        raise ValueError(
            f"metric has shape {metric.shape}; {n} variables need a diagonal of shape "
            f"({n},) or a matrix of shape ({n}, {n})."
        )
    values = metric.data if issparse(metric) else metric
    if not np.isfinite(values).all():
        raise ValueError("The metric has infinite or missing entries.")
    if metric.ndim == 1:
        if not (metric > 0).all():
            raise ValueError("The metric is not positive definite.")
        return DiagonalMetric(metric)
    return MatrixMetric(metric)


# --- factorisations -----------------------------------------------------------------
def factor_dense(A, overwrite=False):
    """Return a function that solves with A; LinAlgError unless positive definite."""
    factor = cho_factor(A, overwrite_a=overwrite, check_finite=False)
    return lambda v: cho_solve(factor, v, check_finite=False)


def factor_sparse(A):
    """Return a function that solves with sparse A, None unless positive definite."""
    try:
        lu = splu(
            csc_array(A),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
    except RuntimeError:  # exactly singular
        return None
    if not (lu.U.diagonal() > 0).all() or not np.array_equal(lu.perm_r, lu.perm_c):
        return None
    return lu.solve


# --- models -------------------------------------------------------------------------
class DenseModel:
    """H as a dense symmetric matrix; Cholesky a lam, an eigendecomposition for many.

    Parameters
    ----------
    H : ndarray of shape (n, n)
        Curvature.
    metric : metric
        B.
    """

    def __init__(self, H, metric):
        self.H, self.metric = H, metric
        self.n_solves = 0
        self.spectrum = None

    def step(self, g, lam):
        """Return the step, or None."""
        self.n_solves += 1
        if self.n_solves > MANY:
            return self._spectral_step(g, lam)
        try:
            solve = factor_dense(self.metric.added(self.H, lam), overwrite=True)
        except LinAlgError:
            return None
        return -solve(g)

    def _spectral_step(self, g, lam):
        if self.spectrum is None:
            self.spectrum = self.metric.eigh(self.H)
        mu, V = self.spectrum
        if mu[0] + lam <= 0:
            return None
        return -(V @ ((V.T @ g) / (mu + lam)))


class SparseModel:
    """H as a sparse symmetric matrix; one sparse factorisation a lam.

    Parameters
    ----------
    H : sparse matrix of shape (n, n)
        Curvature.
    metric : metric
        B.
    """

    def __init__(self, H, metric):
        self.H, self.B = csc_array(H), metric.sparse()

    def step(self, g, lam):
        """Return the step, or None."""
        solve = factor_sparse(self.H + lam * self.B)
        return None if solve is None else -solve(g)


class DiagonalModel:
    """H = diag(h) in a diagonal metric.

    Parameters
    ----------
    h : ndarray of shape (n,)
        Curvature.
    metric : DiagonalMetric
        B.
    """

    def __init__(self, h, metric):
        self.h, self.metric = h, metric

    def step(self, g, lam):
        """Return the step, or None."""
        total = self.h + lam * self.metric.b
        return -g / total if (total > 0).all() else None


class LowRankModel:
    """H = diag(d) + U U', solved by the identity of Sherman, Morrison and Woodbury.

    Parameters
    ----------
    d : ndarray of shape (n,)
        Diagonal.
    U : ndarray of shape (n, r)
        Factor, r much smaller than n.
    metric : metric
        B; of matrix form only where d is zero.
    """

    def __init__(self, d, U, metric):
        self.d, self.U, self.metric = d, U, metric
        self.has_diagonal = bool(d.any())
        if not self.has_diagonal:
            self.BU = metric.solve(U)
            self.core = U.T @ self.BU
            self._gradient = None

    def step(self, g, lam):
        """Return the step, or None."""
        if self.has_diagonal:
            P = self.d + lam * self.metric.b
            if not (P > 0).all():
                return None
            Pg, PU = g / P, self.U / P[:, None]
            core = self.U.T @ PU
        else:
            # B^-1 g is the same for all trials of an iteration
            if self._gradient is None or self._gradient[0] is not g:
                self._gradient = g, self.metric.solve(g)
            Pg, PU, core = self._gradient[1] / lam, self.BU / lam, self.core / lam
        core = core + np.eye(len(core))
        return PU @ np.linalg.solve(core, self.U.T @ Pg) - Pg


class BlockModel:
    """H block diagonal, with blocks of one size, in a diagonal metric.

    Parameters
    ----------
    blocks : ndarray of shape (K, m, m)
        Blocks of the curvature.
    metric : DiagonalMetric
        B, of K m variables.
    """

    def __init__(self, blocks, metric):
        self.blocks = blocks
        self.b = metric.b.reshape(blocks.shape[:2])
        self._factors = None

    def factor(self, lam):
        """Return a function that solves with H + lam B, or None."""
        if self._factors is None or self._factors[0] != lam:
            try:
                factors = [
                    cho_factor(
                        DiagonalMetric(b).added(block, lam),
                        overwrite_a=True,
                        check_finite=False,
                    )
                    for block, b in zip(self.blocks, self.b, strict=True)
                ]
            except LinAlgError:
                return None
            self._factors = lam, factors
        factors = self._factors[1]

        def solve(v):
            V = v.reshape(self.b.shape)
            parts = [
                cho_solve(factor, part, check_finite=False)
                for factor, part in zip(factors, V, strict=True)
            ]
            return np.concatenate(parts)

        return solve

    def step(self, g, lam):
        """Return the step, or None."""
        solve = self.factor(lam)
        return None if solve is None else -solve(g)


class OperatorModel:
    """H known by its products: preconditioned conjugate gradients.

    A direction of no positive curvature ends the solve with None. An early end is safe:
    each iterate is a descent direction, and every trial is tested.

    Parameters
    ----------
    product : callable
        v to H v.
    metric : metric
        B.
    rtol : callable
        From the gradient and lam to the relative residual at which to stop.
    max_iter : int
        Limit of products a solve.
    preconditioner : callable, default=None
        From lam to a function that solves approximately with H + lam B, or None to
        use B.
    """

    def __init__(self, product, metric, rtol, max_iter, preconditioner=None):
        self.product, self.metric = product, metric
        self.rtol, self.max_iter = rtol, max_iter
        self.preconditioner = preconditioner
        self.n_products = self.n_steps = 0

    def step(self, g, lam):
        """Return the step, or None."""
        self.n_steps += 1
        solve = self.metric.solve
        if self.preconditioner is not None:
            solve = self.preconditioner(lam)
            if solve is None:
                return None
        d = np.zeros_like(g)
        r = -g
        z = solve(r)
        rho = rho0 = r @ z
        p = z
        limit = self.rtol(g, lam) ** 2
        for _ in range(self.max_iter):
            if not rho > 0:
                break
            Ap = self.product(p) + lam * self.metric.times(p)
            self.n_products += 1
            bend = p @ Ap
            if not bend > 0:
                return None
            step = rho / bend
            d += step * p
            r -= step * Ap
            z = solve(r)
            rho, before = r @ z, rho
            if rho <= limit * rho0:
                break
            p = z + (rho / before) * p
        return d


def make_model(H, metric, n, rtol, cg_max_iter):
    """Return the model of what a curvature callback returns.

    Parameters
    ----------
    H : array, sparse matrix, pair, LinearOperator, model or None
        (n, n) dense or sparse, (n,) a diagonal, (d, U) for diag(d) + U U', an operator,
        an object with a method ``step(g, lam)``, or None for zero.
    metric : metric
        B.
    n : int
        Number of variables.
    rtol : callable
        Accuracy of conjugate gradients, from the gradient and lam.
    cg_max_iter : int
        Limit of products a solve.

    Returns
    -------
    model
        An object with a method ``step(g, lam)``.

    Raises
    ------
    ValueError
        If shapes are wrong or entries are not finite.
    """
    diagonal_metric = isinstance(metric, DiagonalMetric)
    if hasattr(H, "step"):
        return H
    if H is None:
        return LowRankModel(np.zeros(n), np.zeros((n, 1)), metric)
    if isinstance(H, LinearOperator):
        _check_shape(H.shape, ((n, n),), n)
        return OperatorModel(H.matvec, metric, rtol, cg_max_iter)
    if isinstance(H, tuple):
        d, U = _check_pair(H, n)
        if d.any() and not diagonal_metric:
            return DenseModel(np.diag(d) + U @ U.T, metric)
        return LowRankModel(d, U, metric)
    if issparse(H):
        _check_shape(H.shape, ((n, n),), n)
        _check_finite(H.data)
        return SparseModel(H, metric)
    H = np.asarray(H, dtype=np.float64)
    _check_shape(H.shape, ((n,), (n, n)), n)
    _check_finite(H)
    if H.ndim == 2:
        return DenseModel(H, metric)
    if diagonal_metric:
        return DiagonalModel(H, metric)
    return (
        SparseModel(diags_array(H), metric)
        if n > 500
        else DenseModel(np.diag(H), metric)
    )


def _check_pair(H, n):
    if len(H) != 2:
        raise ValueError(f"A tuple means diag(d) + U U'; got {len(H)} parts, not two.")
    d, U = (np.asarray(part, dtype=np.float64) for part in H)
    d = np.broadcast_to(d, (n,)) if d.ndim == 0 else d
    U = U[:, None] if U.ndim == 1 else U
    _check_shape(d.shape, ((n,),), n)
    if U.ndim != 2 or U.shape[0] != n:
        raise ValueError(f"U has shape {U.shape}, expected ({n}, r).")
    _check_finite(d)
    _check_finite(U)
    return d, U


def _check_shape(shape, allowed, n):
    if tuple(shape) not in allowed:
        raise ValueError(
            f"The curvature has shape {tuple(shape)}; {n} variables need "
            f"{' or '.join(map(str, allowed))}."
        )


def _check_finite(values):
    if not np.isfinite(values).all():
        raise ValueError("The curvature has infinite or missing entries.")
