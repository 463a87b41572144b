# SPDX-License-Identifier: BSD-3-Clause
"""Compiled loops over the rows of a sparse design (CSR, canonical, unchecked)."""

from functools import partial

import numpy as np
from numba import njit

kernel = partial(
    njit,
    cache=True,
    nogil=True,
    fastmath={"reassoc", "contract", "nsz"},
    error_model="numpy",
)


@kernel
def sparse_gram(data, indices, indptr, weight, intercept, out):
    """Add X'diag(weight)X to the upper triangle of ``out``, in place.

    Column indices grow within a row, so only the upper triangle is touched. With
    ``intercept`` the last column of ``out`` belongs to a column of ones.
    """
    last = out.shape[0] - 1
    for i in range(weight.shape[0]):
        w = weight[i]
        if w == 0.0:
            continue
        for a in range(indptr[i], indptr[i + 1]):
            wx = w * data[a]
            row = out[indices[a]]
            for b in range(a, indptr[i + 1]):
                row[indices[b]] += wx * data[b]
            if intercept:
                row[last] += wx
        if intercept:
            out[last, last] += w


@kernel
def sparse_dot(data, indices, indptr, coef, out):
    """Write coef X' to ``out``: coef (K, p), out (K, n)."""
    n_outputs = coef.shape[0]
    for i in range(out.shape[1]):
        for k in range(n_outputs):
            total = coef[k, 0] * 0
            for a in range(indptr[i], indptr[i + 1]):
                total += data[a] * coef[k, indices[a]]
            out[k, i] = total


@kernel
def sparse_rdot(data, indices, indptr, residual, out):
    """Add residual X to ``out``: residual (K, n), out (K, p)."""
    n_outputs = out.shape[0]
    for i in range(residual.shape[1]):
        for k in range(n_outputs):
            r = residual[k, i]
            if r == 0.0:
                continue
            for a in range(indptr[i], indptr[i + 1]):
                out[k, indices[a]] += r * data[a]


def mirrored(upper):
    """Return the symmetric matrix of an upper triangle."""
    return np.triu(upper) + np.triu(upper, 1).T
