# SPDX-License-Identifier: BSD-3-Clause
"""Hessians and Jacobians in the form that they came in.

A Hessian is one of four kinds, and stays it:

========== ==================================================================
diagonal   ndarray of shape (n,)
dense      ndarray of shape (n, n), float32 or float64
sparse     CSC matrix of shape (n, n)
operator   `scipy.sparse.linalg.LinearOperator` of shape (n, n)
========== ==================================================================

A Jacobian is a stack of blocks of rows, dense or CSR, one a constraint object, so that
constant blocks are kept and never copied.
"""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator


def as_float(value, name):
    """Return a real floating array; ValueError where that is not possible."""
    if np.iscomplexobj(value):
        raise ValueError(f"{name} is complex; real numbers are needed.")
    try:
        value = np.asarray(value)
        return value if value.dtype == np.float64 else value.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is no array of numbers: {error}") from None


# --- Hessians -----------------------------------------------------------------------
def as_hessian(value, n, name):
    """Return what a callback gave as one of the four kinds.

    Parameters
    ----------
    value : array-like, sparse or LinearOperator
        The answer.
    n : int
        Number of variables.
    name : str
        Who gave it, for the messages.
    """
    if isinstance(value, LinearOperator):
        _check_shape(value.shape, [(n, n)], name)
        return value
    if sp.issparse(value):
        _check_shape(value.shape, [(n, n)], name)
        return _thin(value)
    if not (isinstance(value, np.ndarray) and value.dtype == np.float32):
        value = as_float(value, name)
    if n == 1 and value.ndim == 0:
        value = value.reshape(1)
    _check_shape(value.shape, [(n, n), (n,)], name)
    return value


def _thin(matrix):
    """Return a sparse matrix as CSC, or its diagonal if there is nothing else."""
    if matrix.format == "dia" and list(matrix.offsets) == [0]:
        return np.asarray(matrix.diagonal(), dtype=np.float64)
    matrix = sp.csc_matrix(matrix, dtype=np.float64)
    n = matrix.shape[0]
    if matrix.nnz <= n:
        columns = np.repeat(np.arange(n), np.diff(matrix.indptr))
        if np.array_equal(columns, matrix.indices):
            return matrix.diagonal()
    return matrix


def _check_shape(shape, allowed, name):
    if tuple(shape) not in allowed:
        words = " or ".join(map(str, allowed))
        raise ValueError(f"{name} has shape {tuple(shape)}; expected {words}.")


def kind_of(H):
    """Return "diagonal", "dense", "sparse" or "operator"."""
    if isinstance(H, LinearOperator):
        return "operator"
    if sp.issparse(H):
        return "sparse"
    return "diagonal" if H.ndim == 1 else "dense"


def hessian_dot(H, v):
    """Return H v."""
    if isinstance(H, np.ndarray) and H.ndim == 1:
        return H * v
    if isinstance(H, LinearOperator):
        return np.asarray(H.matvec(v), dtype=np.float64).ravel()
    if H.dtype == np.float32:
        return (H @ v.astype(np.float32)).astype(np.float64)
    return H @ v


def add_hessians(one, two):
    """Return the sum of two Hessians in the thinnest kind that holds it."""
    kinds = {kind_of(one), kind_of(two)}
    if "operator" in kinds:
        n = one.shape[0]
        return LinearOperator(
            (n, n),
            matvec=lambda v: hessian_dot(one, v.ravel()) + hessian_dot(two, v.ravel()),
            dtype=np.float64,
        )
    if kinds == {"diagonal"} or kinds == {"dense"}:
        return one + two
    if "dense" in kinds:
        dense, thin = (one, two) if kind_of(one) == "dense" else (two, one)
        return dense_hessian(dense, thin)
    return sp.csc_matrix(sparse_hessian(one) + sparse_hessian(two))


def dense_hessian(H, thin=None):
    """Return H as a dense float64 array, a copy if something is added to it."""
    if sp.issparse(H):
        H = H.toarray()
    elif isinstance(H, LinearOperator):
        n = H.shape[0]
        H = np.column_stack([hessian_dot(H, e) for e in np.eye(n)])
    elif H.ndim == 1:
        H = np.diag(H)
    if thin is None:
        return H if H.dtype == np.float64 else H.astype(np.float64)
    if isinstance(thin, np.ndarray):
        H = H.copy()
        H[np.diag_indices_from(H)] += thin
        return H
    return np.asarray(H + thin)


def sparse_hessian(H):
    """Return H as a CSC matrix."""
    if sp.issparse(H):
        return H
    if isinstance(H, LinearOperator):
        return sp.csc_matrix(dense_hessian(H))
    return sp.diags(H, format="csc") if H.ndim == 1 else sp.csc_matrix(H)


def hessian_diagonal(H):
    """Return the diagonal of H, None for an operator that does not tell it."""
    if isinstance(H, LinearOperator):
        return None
    if sp.issparse(H):
        return H.diagonal()
    return H if H.ndim == 1 else H.diagonal().astype(np.float64)


def hessian_norm(H):
    """Return the Frobenius norm of H, an estimate from 10 products for an operator."""
    if isinstance(H, LinearOperator):
        n = H.shape[0]
        probes = np.random.default_rng(0).choice([-1.0, 1.0], (10, n))
        squares = [np.sum(hessian_dot(H, p) ** 2) for p in probes]
        return float(np.sqrt(np.mean(squares)))
    values = H.data if sp.issparse(H) else H
    return float(np.linalg.norm(values))


def hessian_is_finite(H):
    """Tell whether no entry is NaN or infinite (operators are not asked)."""
    if isinstance(H, LinearOperator):
        return True
    values = H.data if sp.issparse(H) else H
    return bool(np.isfinite(np.sum(values)) or np.all(np.isfinite(values)))


def asymmetry(H):
    """Return max |H - H'| relative to max |H|."""
    if isinstance(H, LinearOperator) or H.ndim == 1:
        return 0.0
    gap, size = abs(H - H.T).max(), abs(H).max()
    return float(gap / size) if size > 0 else 0.0


# --- Jacobians ----------------------------------------------------------------------
class Jacobian:
    """The m x n matrix G of first derivatives, as a stack of blocks of rows.

    Parameters
    ----------
    blocks : list of ndarray or CSR matrix
        Blocks of rows.
    n : int
        Number of columns.
    """

    __slots__ = ("_dense", "blocks", "ends", "m", "n", "starts")

    def __init__(self, blocks, n):
        self.blocks = [block for block in blocks if block.shape[0]]
        self.n = n
        self.ends = np.cumsum([block.shape[0] for block in self.blocks], dtype=int)
        self.m = int(self.ends[-1]) if len(self.ends) else 0
        self.starts = np.r_[0, self.ends][:-1]  # none without constraints
        self._dense = None

    @property
    def is_sparse(self):
        """Whether every block is sparse."""
        return all(sp.issparse(block) for block in self.blocks)

    def dot(self, v):
        """Return G v."""
        if len(self.blocks) == 1:
            return self.blocks[0] @ v
        if not self.blocks:
            return np.zeros(0)
        return np.concatenate([block @ v for block in self.blocks])

    def tdot(self, y):
        """Return G' y."""
        if len(self.blocks) == 1:
            return y @ self.blocks[0]
        out = np.zeros(self.n)
        for start, end, block in zip(self.starts, self.ends, self.blocks, strict=True):
            out += y[start:end] @ block
        return out

    def dense(self):
        """Return G as one array, in the order of memory that it has."""
        if self._dense is None:
            rows = [b.toarray() if sp.issparse(b) else b for b in self.blocks]
            if len(rows) == 1:
                self._dense = rows[0]
            else:
                self._dense = np.vstack([np.zeros((0, self.n)), *rows])
        return self._dense

    def sparse(self):
        """Return G as one CSR matrix."""
        if not self.blocks:
            return sp.csr_matrix((0, self.n))
        return sp.csr_matrix(sp.vstack(list(map(sp.csr_matrix, self.blocks))))

    def row_norms(self):
        """Return the Euclidean norms of the rows."""
        squares = [
            np.asarray(b.multiply(b).sum(axis=1)).ravel()
            if sp.issparse(b)
            else np.einsum("ij,ij->i", b, b)
            for b in self.blocks
        ]
        return np.sqrt(np.concatenate([np.zeros(0), *squares]))

    def is_finite(self):
        """Tell whether no entry is NaN or infinite."""
        values = (b.data if sp.issparse(b) else b for b in self.blocks)
        return all(np.isfinite(np.sum(v)) or np.all(np.isfinite(v)) for v in values)


def as_jacobian_block(value, m, n, name):
    """Return what a callback gave as a dense or CSR block of m rows."""
    if sp.issparse(value):
        _check_shape(value.shape, [(m, n)], name)
        return sp.csr_matrix(value, dtype=np.float64)
    value = as_float(value, name)
    if value.ndim == 1 and m == 1:
        value = value.reshape(1, -1)
    elif value.ndim <= 1 and n == 1 and value.size == m:
        value = value.reshape(m, 1)
    _check_shape(value.shape, [(m, n)], name)
    return value
