# SPDX-License-Identifier: BSD-3-Clause
"""Compiled Kaczmarz steps for A y = b: projections onto one row's hyperplane at a time.

========= ====================================================================
``A``     square matrix, (N, N) C-contiguous, or CSR data, indices, indptr
``y``     present solution, changed in place
``ssq``   squared norms of the rows of A
``rows``  rows to project onto, in this order
``undo``  weights that turn a residual of A y = b into that of the system that
          was scaled, (N,)
``goal``  norm of the weighted residual to stop at, looked at every N steps
========= ====================================================================

A step costs one row: the residual is formed for that row alone. All jitted callees are
in this file.
"""

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
def kaczmarz_dense(A, b, y, ssq, rows, undo, goal):
    """Return how many rows were used and the last norm of the residual."""
    n, used, size = y.size, 0, np.inf
    while used < rows.size:
        stop = min(used + n, rows.size)
        for k in range(used, stop):
            i = rows[k]
            if ssq[i] > 0.0:
                row = A[i]
                step = (np.dot(row, y) - b[i]) / ssq[i]
                for j in range(n):
                    y[j] -= step * row[j]
        used = stop
        total = 0.0
        for i in range(n):
            gap = (np.dot(A[i], y) - b[i]) * undo[i]
            total += gap * gap
        size = np.sqrt(total)
        if size <= goal:
            break
    return used, size


@kernel
def kaczmarz_sparse(data, indices, indptr, b, y, ssq, rows, undo, goal):
    """Like `kaczmarz_dense` for a CSR matrix."""
    n, used, size = y.size, 0, np.inf
    while used < rows.size:
        stop = min(used + n, rows.size)
        for k in range(used, stop):
            i = rows[k]
            if ssq[i] > 0.0:
                gap = -b[i]
                for e in range(indptr[i], indptr[i + 1]):
                    gap += data[e] * y[indices[e]]
                step = gap / ssq[i]
                for e in range(indptr[i], indptr[i + 1]):
                    y[indices[e]] -= step * data[e]
        used = stop
        total = 0.0
        for i in range(n):
            gap = -b[i]
            for e in range(indptr[i], indptr[i + 1]):
                gap += data[e] * y[indices[e]]
            gap *= undo[i]
            total += gap * gap
        size = np.sqrt(total)
        if size <= goal:
            break
    return used, size


@kernel
def project_on_vectors(A, b, y, vectors, undo, goal):
    """Like `kaczmarz_dense` on v'A y = v'b for the rows v of `vectors`."""
    n, used, size = y.size, 0, np.inf
    row = np.empty(n)
    while used < vectors.shape[0]:
        stop = min(used + n, vectors.shape[0])
        for k in range(used, stop):
            row[:] = 0.0
            gap = 0.0
            for i in range(n):
                v = vectors[k, i]
                gap -= v * b[i]
                for j in range(n):
                    row[j] += v * A[i, j]
            length = np.dot(row, row)
            if length > 0.0:
                step = (gap + np.dot(row, y)) / length
                for j in range(n):
                    y[j] -= step * row[j]
        used = stop
        total = 0.0
        for i in range(n):
            gap = (np.dot(A[i], y) - b[i]) * undo[i]
            total += gap * gap
        size = np.sqrt(total)
        if size <= goal:
            break
    return used, size
