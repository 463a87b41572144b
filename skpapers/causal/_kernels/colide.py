# SPDX-License-Identifier: BSD-3-Clause
"""Compiled stages of CoLiDE: one fused Adam loop and one proximal Newton loop.

A stage minimises, over the entries of W that are free,

    F(W) = mu (fit(W) + sum_ij L_ij |W_ij|) + h_s(W),
    fit(W) = sum_j r_j / (2 sigma_j) + sigma_j / 2,    R = C (I - W),
    h_s(W) = d log s - log det(sI - W * W),            r_j = (e_j - w_j)' R_j,

in which sigma is the closed-form noise of W: the fit is a profile, and its gradient is
-R_ij / sigma_j. The gradient of h_s is 2 W * Q with Q the transposed inverse of
sI - W * W. Symbols, the same in every function (arrays C-contiguous float64):

========== =====================================================================
``C``      covariance of the centred data, (d, d)
``W``      weighted adjacency, ``W[i, j] != 0`` means i -> j, (d, d)
``sigma``  noise levels, (d,); with ``equal`` all the same
``floor``  lower bounds of the noise levels, (d,); with ``equal`` all the same
``L``      price of ``|W[i, j]|``: alpha, or 0 for an edge that is not penalised
``free``   1.0 where ``W[i, j]`` may differ from zero, else 0.0
``mu, s``  weight of the score and level of the acyclicity term in this stage
========== =====================================================================

Adam also runs in float32: all arrays are then of that type, and so is the arithmetic on
them, while F itself is summed in float64.

A stage may end early, when its graph has settled: the edges with |W[i, j]| > cut have
been the same, and without a cycle, for ``early_exit`` checkpoints of Adam or steps of
proximal Newton (0 for never).

All jitted callees are in this file.
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

# Adam
BETA_1, BETA_2, EPSILON = 0.99, 0.999, 1e-8
TIGHT = 0.9  # a stage with s up to this fails where it leaves the domain of h_s
SMALLEST_RATE = 1e-16

# Proximal Newton
ARMIJO = 1e-4
SMALLEST_STEP = 1e-12
PATIENCE = 3  # steps in a row of negligible progress that end a stage
INNER = 0.1  # accuracy of the column problems, in parts of the stage's tolerance
ROUNDS, SWEEPS = 50, 5  # limits of a column problem; few rounds are ever needed
RANK_TOLERANCE = 1e-12  # a pivot below this part of its diagonal counts as zero


@kernel
def noise_levels(r, floor, equal):
    """Return sigma: root of the (mean) residual variance, at least the floor."""
    d = r.shape[0]
    variance = np.full(d, r.mean()) if equal else r
    return np.maximum(np.sqrt(np.maximum(variance, 0.0)), floor)


@kernel
def fit_value(r, sigma):
    """Return ``sum_j r_j / (2 sigma_j) + sigma_j / 2``."""
    total = 0.0
    for j in range(r.shape[0]):
        total += r[j] / sigma[j] + sigma[j]
    return total / 2.0


@kernel
def penalty_value(W, L):
    """Return ``sum(L * |W|)``."""
    total = 0.0
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            total += L[i, j] * abs(W[i, j])
    return total


@kernel
def residuals(C, W, R, r):
    """Overwrite ``R = C (I - W)`` and the residual variances ``r``."""
    d = C.shape[0]
    np.dot(C, W, R)
    r[:] = 0.0
    for i in range(d):
        for j in range(d):
            R[i, j] = C[i, j] - R[i, j]
            r[j] -= W[i, j] * R[i, j]
        r[i] += R[i, i]


@kernel
def acyclicity(W, s, Q):
    """Return ``h_s(W)`` and overwrite Q; infinity (and no Q) outside the domain.

    Gauss-Jordan elimination without pivoting: the matrix sI - W * W, whose entries off
    the diagonal are not positive, is a non-singular M-matrix (the domain) exactly if
    all pivots are positive. Zeros are skipped: a sparse graph costs far below 2 d^3.
    """
    d = W.shape[0]
    h, row = 0.0, np.empty(d, W.dtype)  # a row of its own lets the sweep vectorise
    for i in range(d):
        for j in range(d):
            Q[i, j] = -W[j, i] * W[j, i]
        Q[i, i] += s
    for k in range(d):
        pivot = Q[k, k]
        if not pivot > 0.0:
            return np.inf
        h -= np.log(pivot / s)
        Q[k, k] = 1.0
        for j in range(d):
            row[j] = Q[k, j] / pivot
            Q[k, j] = row[j]
        for i in range(d):
            factor = Q[i, k]
            if i != k and factor != 0.0:
                Q[i, k] = 0.0
                for j in range(d):
                    Q[i, j] -= factor * row[j]
    return h


@kernel
def is_acyclic(edges):
    """Tell whether a graph has no cycle: nodes without parents are taken off it."""
    d = edges.shape[0]
    n_parents = np.zeros(d, np.int64)
    for i in range(d):
        for j in range(d):
            n_parents[j] += edges[i, j]
    stack, n_stacked = np.empty(d, np.int64), 0
    for j in range(d):
        if n_parents[j] == 0:
            stack[n_stacked] = j
            n_stacked += 1
    n_taken = 0
    while n_stacked > 0:
        n_stacked -= 1
        i = stack[n_stacked]
        n_taken += 1
        for j in range(d):
            if edges[i, j]:
                n_parents[j] -= 1
                if n_parents[j] == 0:
                    stack[n_stacked] = j
                    n_stacked += 1
    return n_taken == d


@kernel
def same_edges(W, cut, edges):
    """Overwrite the mask of the edges above the cut; tell whether it stays the same."""
    same = True
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            edge = abs(W[i, j]) > cut
            same = same and edge == edges[i, j]
            edges[i, j] = edge
    return same


@kernel
def evaluate(C, W, floor, equal, L, s):
    """Return the fit, the penalty, ``h_s(W)`` and sigma."""
    R, r = np.empty_like(C), np.empty(C.shape[0])
    residuals(C, W, R, r)
    sigma = noise_levels(r, floor, equal)
    h = acyclicity(W, s, R)
    return fit_value(r, sigma), penalty_value(W, L), h, sigma


@kernel
def adam_step(W, R, sigma, Q, L, free, mu, rate, t, m, v):
    """Step number t on F, in place, with the moments m and v."""
    number = W.dtype.type  # constants of the arrays' type keep the arithmetic in it
    beta_1, rest_1 = number(BETA_1), number(1.0 - BETA_1)
    beta_2, rest_2 = number(BETA_2), number(1.0 - BETA_2)
    scale_m = number(rate / (1.0 - BETA_1**t))
    scale_v = number(1.0 / np.sqrt(1.0 - BETA_2**t))
    epsilon, two, worth = number(EPSILON), number(2.0), number(mu)
    weight = worth / sigma
    d = W.shape[0]
    for i in range(d):
        for j in range(d):
            w = W[i, j]
            g = worth * L[i, j] * np.sign(w) - weight[j] * R[i, j] + two * w * Q[i, j]
            g *= free[i, j]
            m[i, j] = beta_1 * m[i, j] + rest_1 * g
            v[i, j] = beta_2 * v[i, j] + rest_2 * g * g
            W[i, j] = w - scale_m * m[i, j] / (scale_v * np.sqrt(v[i, j]) + epsilon)


@kernel
def adam_stage(
    C,
    W,
    sigma,
    floor,
    equal,
    L,
    free,
    mu,
    s,
    tol,
    max_iter,
    cut,
    early_exit,
    rate,
    checkpoint,
    lazy,
):
    """Minimise F from W, in place, with Adam.

    Q is computed anew every ``lazy`` iterations. If W has left the domain by then, the
    way since the last time and the rate are halved until W is back; where s is tight,
    or before the first step, the stage fails instead.

    Returns
    -------
    n_iter : int
    change : float
        Relative change of F between the last two checkpoints.
    succeeded : bool
        False if the stage has to be repeated with a larger s and a smaller rate.
    settled : bool
        Whether it ended because the graph had settled.
    """
    d = C.shape[0]
    R, r, Q, scratch = np.empty_like(C), np.empty(d), np.empty_like(C), np.empty_like(C)
    m, v, W_safe = np.zeros_like(C), np.zeros_like(C), W.copy()
    edges, n_same = np.zeros(C.shape, np.bool_), 0
    residuals(C, W, R, r)
    value, change = np.inf, np.inf
    for t in range(1, max_iter + 1):
        if (t - 1) % lazy == 0:
            if acyclicity(W, s, Q) == np.inf:
                if t == 1 or s <= TIGHT:
                    return t, change, False, False
                while acyclicity(W, s, Q) == np.inf:
                    rate /= 2.0
                    if rate <= SMALLEST_RATE:
                        W[:] = W_safe
                        return t, change, True, False
                    for i in range(d):
                        for j in range(d):
                            W[i, j] = (W_safe[i, j] + W[i, j]) / 2
                residuals(C, W, R, r)
                sigma[:] = noise_levels(r, floor, equal)
            W_safe[:] = W
        adam_step(W, R, sigma, Q, L, free, mu, rate, t, m, v)
        residuals(C, W, R, r)
        sigma[:] = noise_levels(r, floor, equal)
        if t % checkpoint == 0 or t == max_iter:
            previous = value
            value = mu * (fit_value(r, sigma) + penalty_value(W, L))
            value += acyclicity(W, s, scratch)
            if previous < np.inf:
                change = abs(previous - value) / abs(previous)
            if change <= tol:
                return t, change, True, False
            if early_exit > 0:
                n_same = n_same + 1 if same_edges(W, cut, edges) else 0
                if n_same >= early_exit and value < np.inf and is_acyclic(edges):
                    return t, change, True, True
    if value == np.inf:
        W[:] = W_safe
    return max_iter, change, True, False


@kernel
def soft_threshold(x, threshold):
    """Return the proximal map of ``threshold * |.|`` at x."""
    if x > threshold:
        return x - threshold
    if x < -threshold:
        return x + threshold
    return 0.0


@kernel
def move_entry(C, v, g, i, change):
    """Add ``change`` to ``v[i]`` and keep ``g = C (e_j - v)``."""
    v[i] += change
    for k in range(g.shape[0]):
        g[k] -= change * C[i, k]


@kernel
def descend(C, v, g, weight, price, curvature, free, everywhere):
    """Sweep once over the entries of a column, in place; return the largest gain.

    The column problem, here and in the next functions, is to minimise

        weight/2 (e_j - v)' C (e_j - v) + sum_i price_i |v_i| + curvature_i v_i^2 / 2

    over the free entries of v, with ``g = C (e_j - v)`` kept up to date. Without
    ``everywhere``, zeros stay zero.
    """
    largest = 0.0
    for i in range(v.shape[0]):
        if free[i] == 0.0 or not (everywhere or v[i] != 0.0):
            continue
        second = weight * C[i, i] + curvature[i]
        pull = weight * (g[i] + C[i, i] * v[i])
        change = soft_threshold(pull, price[i]) / second - v[i]
        if change != 0.0:
            move_entry(C, v, g, i, change)
            largest = max(largest, second * change * change)
    return largest


@kernel
def solve_cholesky(H, x):
    """Solve ``H y = x`` in place from the lower triangle; False if not definite."""
    k = x.shape[0]
    for a in range(k):
        diagonal = H[a, a]
        for b in range(a + 1):
            inner = 0.0
            for c in range(b):
                inner += H[a, c] * H[b, c]
            H[a, b] -= inner
            if b < a:
                H[a, b] /= H[b, b]
        if not H[a, a] > RANK_TOLERANCE * diagonal:
            return False
        H[a, a] = np.sqrt(H[a, a])
        inner = 0.0
        for c in range(a):
            inner += H[a, c] * x[c]
        x[a] = (x[a] - inner) / H[a, a]
    for a in range(k - 1, -1, -1):
        x[a] /= H[a, a]
        for c in range(a):
            x[c] -= x[a] * H[a, c]
    return True


@kernel
def newton_system(C, v, g, weight, price, curvature, support):
    """Return the Hessian and the negative gradient on a support, signs fixed."""
    k = support.shape[0]
    H, x = np.empty((k, k)), np.empty(k)
    for a in range(k):
        i = support[a]
        x[a] = weight * g[i] - curvature[i] * v[i] - price[i] * np.sign(v[i])
        for b in range(a + 1):
            H[a, b] = weight * C[i, support[b]]
        H[a, a] += curvature[i]
    return H, x


@kernel
def solve_support(C, v, g, weight, price, curvature):
    """Move a column, in place, to the minimiser for its support and its signs.

    Coordinate descent alone would creep where C is ill-conditioned. Where the way there
    crosses a zero, that entry stays at zero and the rest is solved again, so the
    objective never grows. A numerically singular system leaves v as it is.
    """
    support = np.flatnonzero(v)
    while support.shape[0] > 0:
        H, x = newton_system(C, v, g, weight, price, curvature, support)
        if not solve_cholesky(H, x):
            return
        step, first = 1.0, -1
        for a in range(support.shape[0]):
            i = support[a]
            if price[i] > 0.0 and x[a] != 0.0 and 0.0 < -v[i] / x[a] < step:
                step, first = -v[i] / x[a], a
        for a in range(support.shape[0]):
            i = support[a]
            move_entry(C, v, g, i, -v[i] if a == first else step * x[a])
        if first < 0:
            return
        support = np.delete(support, first)


@kernel
def solve_column(C, v, g, weight, price, curvature, free, tol):
    """Solve the column problem, in place, up to gains of ``tol`` an entry."""
    for _ in range(ROUNDS):
        if descend(C, v, g, weight, price, curvature, free, True) <= tol:
            return
        for _ in range(SWEEPS):
            if descend(C, v, g, weight, price, curvature, free, False) <= tol:
                break
        else:
            solve_support(C, v, g, weight, price, curvature)


@kernel
def newton_model(C, W, R, sigma, Q, L, free, mu, tol, V, RV):
    """Overwrite V with the minimiser of the model of F at W, and ``RV = C (I - V)``.

    The model keeps sigma, so its fit lies above the profile, and is linear in W * W in
    place of h_s. It separates by columns.
    """
    for j in range(C.shape[0]):
        v, g = W[:, j].copy(), R[:, j].copy()
        price, curvature = mu * L[:, j], 2.0 * Q[:, j]
        solve_column(C, v, g, mu / sigma[j], price, curvature, free[:, j], tol)
        V[:, j], RV[:, j] = v, g


@kernel
def newton_line(W, R, sigma, Q, L, mu, V, RV):
    """Return what F needs along ``W + a (V - W)``.

    The residual variances are ``r + a r_1 + a^2 r_2``; the slope bounds the derivative
    of F at a = 0 from above (the penalty is convex).
    """
    d = W.shape[0]
    r_1, r_2, slope = np.zeros(d), np.zeros(d), 0.0
    for i in range(d):
        for j in range(d):
            D = V[i, j] - W[i, j]
            r_1[j] -= 2.0 * D * R[i, j]
            r_2[j] += D * (R[i, j] - RV[i, j])
            slope += 2.0 * W[i, j] * Q[i, j] * D
            slope += mu * L[i, j] * (abs(V[i, j]) - abs(W[i, j]))
    for j in range(d):
        slope += mu * r_1[j] / (2.0 * sigma[j])
    return r_1, r_2, slope


@kernel
def newton_stage(
    C, W, sigma, floor, equal, L, free, mu, s, tol, max_iter, cut, early_exit
):
    """Minimise F from W, in place, with proximal Newton steps.

    Each goes from W towards the minimiser V of the model, by the first of the lengths
    1, 1/2, 1/4, ... that stays in the domain and lowers F enough (Armijo).

    Returns
    -------
    n_iter : int
    change : float
        Largest relative decrease of F in the last steps.
    succeeded : bool
        False if W lies outside the domain, so that a larger s is needed.
    settled : bool
        Whether it ended because the graph had settled.
    """
    d = C.shape[0]
    R, r, Q = np.empty_like(C), np.empty(d), np.empty_like(C)
    V, RV, trial = np.empty_like(C), np.empty_like(C), np.empty_like(C)
    recent = np.full(PATIENCE, np.inf)
    edges, n_same = np.zeros(C.shape, np.bool_), 0
    residuals(C, W, R, r)
    sigma[:] = noise_levels(r, floor, equal)
    value = mu * (fit_value(r, sigma) + penalty_value(W, L)) + acyclicity(W, s, Q)
    if value == np.inf:
        return 1, np.inf, False, False
    for t in range(1, max_iter + 1):
        inner = INNER * tol * abs(value) / d
        newton_model(C, W, R, sigma, Q, L, free, mu, inner, V, RV)
        r_1, r_2, slope = newton_line(W, R, sigma, Q, L, mu, V, RV)
        a, new = 2.0, np.inf
        while not new <= value + ARMIJO * a * slope and a > SMALLEST_STEP:
            a /= 2.0
            trial[:] = W + a * (V - W)
            r_trial = r + a * r_1 + a * a * r_2
            fit = fit_value(r_trial, noise_levels(r_trial, floor, equal))
            new = mu * (fit + penalty_value(trial, L)) + acyclicity(trial, s, Q)
        if not new <= value:  # at the limits of floating point
            return t, max(-slope, 0.0) / abs(value), True, False
        W[:] = trial
        residuals(C, W, R, r)
        sigma[:] = noise_levels(r, floor, equal)
        recent[t % PATIENCE] = (value - new) / abs(value)
        value = new
        if recent.max() <= tol:
            break
        if early_exit > 0:
            n_same = n_same + 1 if same_edges(W, cut, edges) else 0
            if n_same >= early_exit and is_acyclic(edges):
                return t, recent.max(), True, True
    return t, recent.max(), True, False
