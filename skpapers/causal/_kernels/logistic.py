# SPDX-License-Identifier: BSD-3-Clause
"""Compiled l1-penalised logistic regression of one 0/1 column on others.

With the distinct rows of a 0/1 table and their shares c (summing to one),

    Q(w, b) = sum_r c_r [log(1 + exp(m_r)) - x_r m_r] + lambda |w|_1,    m = P w + b,

is minimised by proximal Newton steps: the quadratic model of the smooth part plus the
penalty is minimised by coordinate descent, and the step halved until Q falls enough.
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
RIDGE = 1e-9  # keeps the coefficients of separable data finite
MAX_INNER = 1000  # passes of the coordinate descent
SUFFICIENT = 1e-4  # share of the predicted decrease that a step must reach


@kernel
def _margins(rows, parents, w, margin):
    k = len(parents)
    for r in range(rows.shape[0]):
        m = w[k]
        for a in range(k):
            if rows[r, parents[a]]:
                m += w[a]
        margin[r] = m


@kernel
def _objective(rows, share, node, margin, w, k, penalty):
    total = 0.0
    for r in range(len(margin)):
        m = margin[r]
        # log(1 + exp(m)) - x m without overflow
        signed = -m if rows[r, node] else m
        total += share[r] * (max(signed, 0.0) + np.log1p(np.exp(-abs(m))))
    for a in range(k):
        total += penalty * abs(w[a]) + 0.5 * RIDGE * w[a] * w[a]
    return total + 0.5 * RIDGE * w[k] * w[k]


@kernel
def _derivatives(rows, share, node, parents, margin, w, active, gradient, hessian):
    k = len(parents)
    gradient[:] = RIDGE * w
    hessian[:] = 0.0
    for r in range(len(margin)):
        p = 1.0 / (1.0 + np.exp(-margin[r]))
        slope = share[r] * (p - (1.0 if rows[r, node] else 0.0))
        curvature = share[r] * p * (1.0 - p)
        size = 0
        for a in range(k):
            if rows[r, parents[a]]:
                active[size] = a
                size += 1
        active[size] = k  # the intercept
        for s in range(size + 1):
            a = active[s]
            gradient[a] += slope
            for t in range(s + 1):
                hessian[a, active[t]] += curvature
    for a in range(k + 1):
        hessian[a, a] += RIDGE
        for b in range(a):
            hessian[b, a] = hessian[a, b]


@kernel
def _direction(gradient, hessian, w, penalty, first, last, step, slope, tol):
    """Minimise the quadratic model over coordinates first..last by cyclic descent."""
    k = len(w) - 1
    step[:] = 0.0
    slope[:] = gradient
    for _ in range(MAX_INNER):
        largest = 0.0
        for a in range(first, last):
            curvature = hessian[a, a]
            target = w[a] + step[a] - slope[a] / curvature
            if a < k:
                shrunk = max(abs(target) - penalty / curvature, 0.0)
                target = shrunk if target > 0 else -shrunk
            change = target - w[a] - step[a]
            if change != 0.0:
                step[a] += change
                for b in range(k + 1):
                    slope[b] += change * hessian[b, a]
                largest = max(largest, abs(change) * np.sqrt(curvature))
        if largest <= tol:
            break


@kernel
def fit_logistic(rows, share, node, parents, penalty, intercept, w, tol, max_iter):
    """Regress a column on others; ``w`` (weights, then intercept) changes in place.

    Parameters
    ----------
    rows : bool ndarray of shape (n_rows, d)
        Distinct rows of the table.
    share : float64 ndarray of shape (n_rows,)
        Their shares, which sum to one.
    node : int
        The column to explain.
    parents : int64 ndarray of shape (k,)
        The columns that explain it.
    penalty : float
        Strength of the l1 penalty; the intercept is free of it.
    intercept : bool
        Whether to fit one.
    w : float64 ndarray of shape (k + 1,)
        Start, and solution.
    tol : float
        Stop when the quadratic model promises no larger decrease.
    max_iter : int
        Largest number of Newton steps.

    Returns
    -------
    objective : float
        Q at the solution.
    n_iter : int
        Number of Newton steps, ``max_iter + 1`` if they did not suffice.
    """
    k = len(parents)
    if not intercept:
        w[k] = 0.0
    last = k + 1 if intercept else k
    margin, trial_margin = np.empty(rows.shape[0]), np.empty(rows.shape[0])
    gradient, hessian = np.empty(k + 1), np.empty((k + 1, k + 1))
    step, slope, trial = np.empty(k + 1), np.empty(k + 1), np.empty(k + 1)
    active = np.empty(k + 1, dtype=np.int64)
    _margins(rows, parents, w, margin)
    objective = _objective(rows, share, node, margin, w, k, penalty)
    for n_iter in range(1, max_iter + 1):
        _derivatives(rows, share, node, parents, margin, w, active, gradient, hessian)
        _direction(
            gradient, hessian, w, penalty, 0, last, step, slope, 0.1 * np.sqrt(tol)
        )
        promise = 0.0
        for a in range(k + 1):
            promise += gradient[a] * step[a]
            if a < k:
                promise += penalty * (abs(w[a] + step[a]) - abs(w[a]))
        if -promise <= tol:
            return objective, n_iter
        size = 1.0
        while True:
            trial[:] = w + size * step
            _margins(rows, parents, trial, trial_margin)
            value = _objective(rows, share, node, trial_margin, trial, k, penalty)
            if value <= objective + SUFFICIENT * size * promise:
                break
            size *= 0.5
            if size < 1e-10:
                return objective, n_iter  # at the limit of rounding
        w[:] = trial
        margin, trial_margin = trial_margin, margin
        objective = value
    return objective, max_iter + 1
