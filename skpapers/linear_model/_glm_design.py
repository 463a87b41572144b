# SPDX-License-Identifier: BSD-3-Clause
"""Products with a design matrix X (n, p) and its column of ones, dense or sparse.

What costs n rows runs in the library of X (NumPy, SciPy sparse, or any array API
library); coefficients, gradients and Gram matrices are float64 NumPy arrays. Rows of
several outputs are stored output by output: (K, n).
"""

import numpy as np
from scipy.sparse import csr_array, issparse

from skpapers.linear_model import _glm_kernels
from skpapers.utils._array_api import array_namespace, is_numpy_array, like, to_numpy

__all__ = ["Design"]

# Entries of a block of rows: it stays in cache while it is multiplied by itself.
CACHED = 2**17
# Elsewhere (a graphics card) blocks only bound the memory.
LARGE = 2**25
# Up to this many columns the products of all pairs of columns may be formed once for
# many weights.
N_PAIRED = 160


class Design:
    """A design matrix with an optional last column of ones that is never stored.

    Parameters
    ----------
    X : array or sparse matrix of shape (n, p)
        Values; not copied unless sparse and not in canonical CSR form.
    fit_intercept : bool, default=True
        Whether there is a column of ones, the last one.

    Attributes
    ----------
    shape : tuple of int
        Rows, and columns with the column of ones.
    """

    def __init__(self, X, fit_intercept=True):
        self.intercept = bool(fit_intercept)
        self.is_sparse = issparse(X)
        if self.is_sparse:
            self.xp = np
            X = csr_array(X)
            if not X.has_canonical_format:
                X = X.copy()
                X.sum_duplicates()
        else:
            self.xp = array_namespace(X)
        self.X = X
        self.is_numpy = self.is_sparse or is_numpy_array(X)
        self.shape = (X.shape[0], X.shape[1] + self.intercept)
        self._squares = None

    @property
    def dtype(self):
        """Return the floating dtype of the values."""
        return self.X.dtype

    def take(self, rows):
        """Return the design of some rows (an index array)."""
        if not self.is_numpy:
            return Design(
                self.xp.take(self.X, like(rows, self.X), axis=0), self.intercept
            )
        return Design(self.X[rows], self.intercept)

    def rows(self, values):
        """Return NumPy values as an array of the library and dtype of X."""
        if self.is_numpy:
            return np.asarray(values, dtype=self.dtype)
        return like(np.asarray(values), self.X, self.dtype)

    def dot(self, coef):
        """Return coef X'.

        Parameters
        ----------
        coef : ndarray of shape (n_columns,) or (K, n_columns)
            Coefficients, the intercept last.

        Returns
        -------
        array of shape (n,) or (K, n)
            Linear predictors in the library of X.
        """
        p = self.X.shape[1]
        slopes = self.rows(coef[..., :p])
        if self.is_sparse:
            eta = self._sparse_dot(slopes)
        elif slopes.ndim == 1:
            eta = self.X @ slopes
        else:
            eta = slopes @ self.X.T
        if self.intercept:
            if coef.ndim == 1:
                eta += float(coef[p])
            else:
                eta += self.rows(coef[:, p:])
        return eta

    def _sparse_dot(self, slopes):
        if slopes.ndim == 1:
            return self.X @ slopes
        X, out = self.X, np.empty((len(slopes), self.shape[0]), dtype=self.dtype)
        slopes = np.ascontiguousarray(slopes)
        _glm_kernels.sparse_dot(X.data, X.indices, X.indptr, slopes, out)
        return out

    def rdot(self, residual):
        """Return residual X.

        Parameters
        ----------
        residual : array of shape (n,) or (K, n)
            One value a row, in the library of X.

        Returns
        -------
        ndarray of shape (n_columns,) or (K, n_columns)
            Its products with the columns.
        """
        out = np.empty((*residual.shape[:-1], self.shape[1]))
        p = self.X.shape[1]
        if self.is_sparse and residual.ndim == 2:
            X, part = self.X, np.zeros((len(residual), p), dtype=self.dtype)
            residual = np.ascontiguousarray(residual)
            _glm_kernels.sparse_rdot(X.data, X.indices, X.indptr, residual, part)
        elif self.is_sparse or residual.ndim == 1:
            part = self.X.T @ residual
        else:
            part = residual @ self.X
        out[..., :p] = to_numpy(part)
        if self.intercept:
            total = self.xp.sum(residual, axis=-1, dtype=self.xp.float64)
            out[..., p] = to_numpy(total)
        return out

    def moments(self, weight):
        """Return the weighted second moments of the columns, sum_i w_i x_ij^2.

        Parameters
        ----------
        weight : array of shape (n,) or (K, n)
            Weights in the library of X.

        Returns
        -------
        ndarray of shape (n_columns,) or (K, n_columns)
            Diagonals of X'diag(weight)X.
        """
        if self.is_sparse:
            if self._squares is None:
                self._squares = Design(self.X.power(2), self.intercept)
            return self._squares.rdot(weight)
        p = self.X.shape[1]
        out = np.zeros((*weight.shape[:-1], self.shape[1]))
        for rows in self._blocks():
            part = weight[..., rows] @ self.X[rows, :] ** 2
            out[..., :p] += to_numpy(part)
        if self.intercept:
            out[..., p] = to_numpy(self.xp.sum(weight, axis=-1, dtype=self.xp.float64))
        return out

    def _blocks(self, n_columns=None):
        """Yield slices of rows that fit into cache."""
        size = CACHED if self.is_numpy else LARGE
        step = max(64, size // max(n_columns or self.X.shape[1], 1))
        for start in range(0, self.shape[0], step):
            yield slice(start, min(start + step, self.shape[0]))

    def gram(self, weight):
        """Return X'diag(weight)X, the column of ones included.

        Parameters
        ----------
        weight : array of shape (n,)
            Weights in the library of X; half the work where none is negative.

        Returns
        -------
        ndarray of shape (n_columns, n_columns)
            The matrix.
        """
        out = np.zeros((self.shape[1], self.shape[1]))
        if self.is_sparse:
            X, weight = self.X, np.asarray(weight, dtype=np.float64)
            _glm_kernels.sparse_gram(
                X.data, X.indices, X.indptr, weight, self.intercept, out
            )
            return _glm_kernels.mirrored(out)
        p, xp = self.X.shape[1], self.xp
        signed = self.shape[0] > 0 and bool(xp.any(weight < 0))
        root = None if signed else xp.sqrt(weight)
        border = xp.zeros(p, dtype=self.dtype, device=self.X.device)
        for rows in self._blocks():
            block = self.X[rows, :]
            if signed:
                scaled = weight[rows, None] * block
                out[:p, :p] += to_numpy(block.T @ scaled)
                if self.intercept:
                    border = border + xp.sum(scaled, axis=0)
            else:
                # NumPy multiplies a matrix by itself in half the operations
                scaled = root[rows, None] * block
                out[:p, :p] += to_numpy(scaled.T @ scaled)
                if self.intercept:
                    border = border + scaled.T @ root[rows]
        if self.intercept:
            out[:p, p] = out[p, :p] = to_numpy(border)
            out[p, p] = float(xp.sum(weight, dtype=xp.float64))
        return out

    def grams(self, weights):
        """Return X'diag(weight)X for several weights.

        Parameters
        ----------
        weights : array of shape (m, n) or callable
            Weights in the library of X; or a function from a slice of rows to its
            weights, so that not all of them stand in memory.

        Returns
        -------
        ndarray of shape (m, n_columns, n_columns)
            The matrices.
        """
        make = weights if callable(weights) else (lambda rows: weights[:, rows])
        first = make(slice(0, min(1, self.shape[0])))
        if self.is_sparse or not self.is_numpy:
            whole = make(slice(0, self.shape[0]))
            return np.stack([self.gram(whole[k, :]) for k in range(whole.shape[0])])
        # forming the products of pairs costs as much as so many products of blocks
        enough = 3 + self.shape[1] ** 2 / 130
        if self.shape[1] <= N_PAIRED and len(first) >= enough:
            return self._paired_grams(make)
        return self._block_grams(make, len(first))

    def _block_grams(self, make, m):
        """One weight after the other on rows that stay in cache."""
        out = np.zeros((m, self.shape[1], self.shape[1]))
        for rows in self._blocks():
            part = Design(self.X[rows], self.intercept)
            for k, weight in enumerate(make(rows)):
                out[k] += part.gram(weight)
        return out

    def _paired_grams(self, make):
        """All weights at once: (weights) x (products of all pairs of columns)."""
        q, p = self.shape[1], self.X.shape[1]
        n_pairs = q * (q + 1) // 2
        total = 0.0
        for rows in self._blocks(n_pairs // 2):
            block = np.ones((q, rows.stop - rows.start), dtype=self.dtype)
            block[:p] = self.X[rows].T
            products = np.empty((n_pairs, block.shape[1]), dtype=self.dtype)
            start = 0
            for j in range(q):
                stop = start + q - j
                np.multiply(block[j:], block[j], out=products[start:stop])
                start = stop
            total = total + (make(rows) @ products.T).astype(np.float64, copy=False)
        out = np.empty((total.shape[0], q, q))
        first, second = np.triu_indices(q)
        out[:, first, second] = total
        out[:, second, first] = total
        return out
