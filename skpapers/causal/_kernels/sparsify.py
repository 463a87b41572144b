# SPDX-License-Identifier: BSD-3-Clause
r"""Compiled choice of parents along a causal order, from a correlation matrix.

Variables are numbered by their position in the order, so that the candidates for the
parents of v are the columns before v. Symbols beside those of `node_state` (all arrays
C-contiguous):

============ ==================================================================
``usable``   ``usable[v, j]``: j may be a parent of v
``required`` ``required[v, j]``: j must be a parent of v
============ ==================================================================
"""

from typing import NamedTuple

import numpy as np

from skpapers.causal._kernels.node_state import (
    BETA,
    COLLINEAR,
    COUNT,
    TIE,
    Node,
    S,
    add_parent,
    best_addition,
    clear_node,
    grow_shrink,
    kernel,
    local_score,
    make_node,
    set_parents,
)

LASSO_SLACK = 10  # variables that the lasso path may drop again after it looks hopeless


class Regression(NamedTuple):
    """Least squares of one variable on many, made to lose columns one by one.

    ``M`` is the inverse of the correlation matrix of the ``columns`` (the lower
    triangle is used), ``beta`` the coefficients.
    """

    columns: np.ndarray
    beta: np.ndarray
    M: np.ndarray


class Prefix(NamedTuple):
    """Factors of the correlation matrix of all earlier, not collinear columns.

    ``T`` is the inverse of the Cholesky factor ``L`` and ``M = TᵀT``; ``y`` and
    ``beta`` are scratch of the regression of the next variable.
    """

    columns: np.ndarray
    count: np.ndarray
    L: np.ndarray
    T: np.ndarray
    M: np.ndarray
    y: np.ndarray
    beta: np.ndarray


# Vectors and triangular factors ------------------------------------------------------


@kernel
def set_zero(x, k):
    """Fill the first k entries (compiles far faster than a slice assignment)."""
    for i in range(k):
        x[i] = 0.0


@kernel
def solve_lower(L, k, x, start):
    """Replace x by the solution of L x' = x, whose entries before start are 0."""
    for i in range(start, k):
        total = x[i]
        for j in range(start, i):
            total -= L[i, j] * x[j]
        x[i] = total / L[i, i]


@kernel
def solve_upper(L, k, x):
    """Replace x by the solution of Lᵀ x' = x."""
    for i in range(k - 1, -1, -1):
        x[i] /= L[i, i]
        for j in range(i):
            x[j] -= L[i, j] * x[i]


@kernel
def delete_row(L, k, a):
    """Take row a out of a k x k factor; Givens rotations restore the triangle."""
    for i in range(a, k - 1):
        for j in range(i + 2):
            L[i, j] = L[i + 1, j]
    for j in range(a, k - 1):
        radius = np.sqrt(L[j, j] * L[j, j] + L[j, j + 1] * L[j, j + 1])
        cosine, sine = L[j, j] / radius, L[j, j + 1] / radius
        L[j, j], L[j, j + 1] = radius, 0.0
        for i in range(j + 1, k - 1):
            left, right = L[i, j], L[i, j + 1]
            L[i, j] = cosine * left + sine * right
            L[i, j + 1] = cosine * right - sine * left


# Regression on all predecessors ------------------------------------------------------


@kernel
def make_prefix(d):
    """Return the empty prefix of an order of d variables."""
    return Prefix(
        np.empty(d, np.int64),
        np.zeros(1, np.int64),
        np.zeros((d, d)),
        np.zeros((d, d)),
        np.zeros((d, d)),
        np.empty(d),
        np.empty(d),
    )


@kernel
def regress_on_prefix(C, prefix, v):
    """Fill y = inv(L) C[:, v] and the coefficients beta; return the residual variance.

    O(k²); the inverse is not asked for the variance, since that would cost digits.
    """
    k, y, beta = prefix.count[0], prefix.y, prefix.beta
    for a in range(k):
        y[a] = C[v, prefix.columns[a]]
    solve_lower(prefix.L, k, y, 0)
    variance = C[v, v]
    set_zero(beta, k)
    for a in range(k):
        variance -= y[a] * y[a]
        for b in range(a + 1):
            beta[b] += y[a] * prefix.T[a, b]
    return variance


@kernel
def extend_prefix(prefix, v, variance):
    """Append v, which `regress_on_prefix` was called for, unless it is collinear."""
    if variance <= COLLINEAR:
        return
    k, T, M = prefix.count[0], prefix.T, prefix.M
    root = np.sqrt(variance)
    for a in range(k):
        prefix.L[k, a] = prefix.y[a]
        T[k, a] = -prefix.beta[a] / root
    prefix.L[k, k] = root
    T[k, k] = 1.0 / root
    for a in range(k + 1):
        for b in range(a + 1):
            M[a, b] += T[k, a] * T[k, b]
    prefix.columns[k] = v
    prefix.count[0] = k + 1


@kernel
def make_regression(d):
    """Return room for a regression on d columns."""
    return Regression(np.empty(d, np.int64), np.empty(d), np.empty((d, d)))


@kernel
def drop_column(full, k, a):
    """Take column a out of a regression on k columns: O(k²).

    It changes places with the last one, and the rest of M and beta become conditional
    on its absence (a Schur complement).
    """
    last, M, beta, columns = k - 1, full.M, full.beta, full.columns
    columns[a], columns[last] = columns[last], columns[a]
    beta[a], beta[last] = beta[last], beta[a]
    for j in range(a):
        M[a, j], M[last, j] = M[last, j], M[a, j]
    for i in range(a + 1, last):
        M[i, a], M[last, i] = M[last, i], M[i, a]
    M[a, a], M[last, last] = M[last, last], M[a, a]
    for i in range(last):
        share = M[last, i] / M[last, last]
        beta[i] -= share * beta[last]
        for j in range(i + 1):
            M[i, j] -= share * M[last, j]


@kernel
def load_regression(prefix, full, usable, variance):
    """Regress on the usable part of the prefix; return its size and the variance."""
    k = prefix.count[0]
    for a in range(k):
        full.columns[a] = prefix.columns[a]
        full.beta[a] = prefix.beta[a]
        for b in range(a + 1):
            full.M[a, b] = prefix.M[a, b]
    for a in range(k - 1, -1, -1):
        if not usable[full.columns[a]]:
            variance += full.beta[a] * full.beta[a] / full.M[a, a]
            drop_column(full, k, a)
            k -= 1
    return k, variance


@kernel
def shrink_regression(full, k, variance, required, cost, cap):
    """Drop the least useful column while that helps or there are more than cap."""
    while True:
        best, smallest = -1, np.inf
        for a in range(k):
            loss = full.beta[a] * full.beta[a] / full.M[a, a]
            if loss < smallest and not required[full.columns[a]]:
                best, smallest = a, loss
        helps = smallest < np.expm1(cost) * max(variance, COLLINEAR)
        if best < 0 or (not helps and k <= cap):
            return k
        variance += smallest
        drop_column(full, k, best)
        k -= 1


@kernel
def survivors(C, prefix, full, v, usable, required, cost, cap):
    """Shrink the regression of v on its predecessors; return how many columns stay.

    The prefix then goes on to include v.
    """
    variance = regress_on_prefix(C, prefix, v)
    k, usable_variance = load_regression(prefix, full, usable, variance)
    extend_prefix(prefix, v, variance)
    return shrink_regression(full, k, usable_variance, required, cost, cap)


# Parents of all nodes ----------------------------------------------------------------


@kernel
def most_true(mask):
    """Return the largest number of True in a row."""
    most = 0
    for v in range(mask.shape[0]):
        count = 0
        for j in range(mask.shape[1]):
            count += mask[v, j]
        most = max(most, count)
    return most


@kernel
def node_view(node, v):
    """Return the node v, which keeps the columns up to v, in the same memory."""
    return Node(
        v,
        0,
        v + 1,
        node.parents,
        node.factors,
        node.given,
        node.scratch,
    )


@kernel
def sparse_parents(C, usable, required, cost, cap, backward):
    """Choose the parents of every node among the columns before it.

    Two searches a node: forward grows from the required parents; backward, if asked
    for, starts from all usable columns, drops what does not pay, and goes on from
    there. The one with the lower local score stays.

    Returns
    -------
    support : bool ndarray of shape (d, d)
        ``support[v, j]``: j is a parent of v.
    capped : bool ndarray of shape (d,)
        Whether another parent would have lowered the score but for the cap.
    """
    d = C.shape[0]
    support = np.zeros((d, d), np.bool_)
    capped = np.zeros(d, np.bool_)
    start = np.empty(d, np.bool_)
    room = make_node(0, d, min(cap + most_true(required), d))
    prefix = make_prefix(d if backward else 0)
    full = make_regression(d if backward else 0)
    for v in range(d):
        node, lowest = node_view(room, v), np.inf
        for j in range(d):
            start[j] = required[v, j]
        for attempt in range(2 if backward else 1):
            if attempt == 1:
                k = survivors(C, prefix, full, v, usable[v], required[v], cost, cap)
                for a in range(k):
                    start[full.columns[a]] = True
            set_parents(C, node, start)
            over = grow_shrink(C, node, usable[v], required, cost, cap)
            score = local_score(node, cost)
            if score < lowest - TIE:
                lowest, capped[v] = score, over
                for j in range(d):
                    support[v, j] = required[v, j]
                for a in range(node.parents[0, COUNT]):
                    support[v, node.parents[0, a]] = True
    return support, capped


# Adaptive lasso ----------------------------------------------------------------------


@kernel
def initial_regression(C, prefix, full, node, usable, n_samples, s_v):
    """Regress on all usable columns, or on as many as the rows allow.

    With k + 1 >= n there is no least-squares fit to speak of; then the columns are the
    n / log n first ones of a greedy forward selection.
    """
    k, variance = load_regression(prefix, full, usable, s_v)
    if k + 1 < n_samples:
        return k, variance
    clear_node(C, node)
    most = min(n_samples - 2.0, n_samples / np.log(n_samples))
    while node.parents[0, COUNT] + 1 <= most:
        w = best_addition(node, usable)[0]
        if w < 0 or node.given[0, S, node.v] <= COLLINEAR:
            break
        add_parent(C, node, w)
    k = node.parents[0, COUNT]
    for a in range(k):
        full.columns[a], full.beta[a] = node.parents[0, a], node.factors[0, BETA, a]
    return k, node.given[0, S, node.v]


class Path(NamedTuple):
    """Where the path of the adaptive lasso stands.

    The coefficients b minimise |v - C b|² / 2 + lam * sum(|b| / scale) in the metric of
    C. ``active`` lists the columns inside, ``L`` is their Cholesky factor,
    ``u = sign(b) / scale`` and ``delta = inv(C) u`` belong to them; ``c`` is the
    covariance of all columns with the residual and ``g`` its slope: with lam lower by
    t, b grows by t * delta and c falls by t * g.
    """

    active: np.ndarray
    count: np.ndarray
    inside: np.ndarray
    L: np.ndarray
    u: np.ndarray
    delta: np.ndarray
    b: np.ndarray
    c: np.ndarray
    g: np.ndarray


@kernel
def make_path(d):
    """Return room for the path of a node with up to d columns."""
    return Path(
        np.empty(d, np.int64),
        np.zeros(1, np.int64),
        np.empty(d, np.bool_),
        np.empty((d, d)),
        np.empty(d),
        np.empty(d),
        np.empty(d),
        np.empty(d),
        np.empty(d),
    )


@kernel
def join_path(C, path, scale, j):
    """Let column j in, unless it is a combination of those inside."""
    k, L, x = path.count[0], path.L, path.delta
    for a in range(k):
        x[a] = C[j, path.active[a]]
    solve_lower(L, k, x, 0)
    pivot = C[j, j]
    for a in range(k):
        L[k, a] = x[a]
        pivot -= x[a] * x[a]
    if pivot <= COLLINEAR:
        scale[j] = 0.0
        return
    L[k, k] = np.sqrt(pivot)
    path.active[k] = j
    path.inside[j] = True
    path.u[k] = np.sign(path.c[j]) / scale[j]
    path.count[0] = k + 1


@kernel
def leave_path(path, a):
    """Let the a-th column inside out."""
    k, j = path.count[0], path.active[a]
    delete_row(path.L, k, a)
    for i in range(a, k - 1):
        path.active[i] = path.active[i + 1]
        path.u[i] = path.u[i + 1]
    path.inside[j] = False
    path.b[j] = 0.0
    path.count[0] = k - 1


@kernel
def aim_path(C, path, m):
    """Compute the direction delta and the slopes g of the m columns."""
    k, delta, g = path.count[0], path.delta, path.g
    for a in range(k):
        delta[a] = path.u[a]
    solve_lower(path.L, k, delta, 0)
    solve_upper(path.L, k, delta)
    set_zero(g, m)
    for a in range(k):
        C_a = C[path.active[a]]
        for j in range(m):
            g[j] += delta[a] * C_a[j]


@kernel
def next_event(path, scale, m, lam, left):
    """Return the length of the straight piece and who joins or leaves at its end.

    Column j joins when scale[j] * |c[j]| reaches lam, a column inside leaves when its
    coefficient returns to zero; -1 is nobody. ``left``, which has just left, stands on
    the threshold and must not be seen to join there.
    """
    step, joins, leaves = lam, -1, -1
    for j in range(m):
        if path.inside[j] or scale[j] == 0.0:
            continue
        for sign in (1.0, -1.0):
            gap = lam - sign * scale[j] * path.c[j]
            closing = 1.0 - sign * scale[j] * path.g[j]
            if closing <= 0.0 or (j == left and sign * path.c[j] > 0.0):
                continue
            time = max(gap, 0.0) / closing
            if time < step:
                step, joins = time, j
    for a in range(path.count[0]):
        time = -path.b[path.active[a]] / path.delta[a]
        if 0.0 < time < step:
            step, joins, leaves = time, -1, a
    return step, joins, leaves


@kernel
def advance_path(path, m, step):
    """Walk the straight piece; return delta · u, the curvature of the fit."""
    curvature = 0.0
    for a in range(path.count[0]):
        path.b[path.active[a]] += step * path.delta[a]
        curvature += path.delta[a] * path.u[a]
    for j in range(m):
        path.c[j] -= step * path.g[j]
    return curvature


@kernel
def lasso_bic(C, path, scale, v, k, variance, n_samples, best):
    """Write the kink of the adaptive lasso path with the lowest BIC to best.

    BIC = RSS / noise + log(n) * (number of coefficients), where the noise variance is
    that of the regression on all k columns, which leaves ``variance``. The RSS never
    falls below that regression's, so the path may end where the price of its columns
    alone exceeds the best BIC.
    """
    m, log_n = v, np.log(n_samples)
    freedom = n_samples - k - 1.0
    price = freedom / max(variance, COLLINEAR)
    path.count[0] = 0
    joins, leaves, left, lam = -1, -1, -1, 0.0
    for j in range(m):
        path.inside[j] = False
        path.b[j], path.c[j], best[j] = 0.0, C[v, j], 0.0
        if scale[j] * abs(path.c[j]) > lam:
            joins, lam = j, scale[j] * abs(path.c[j])
    rss = C[v, v]
    lowest = price * rss
    for _ in range(8 * m):
        if joins >= 0:
            join_path(C, path, scale, joins)
        aim_path(C, path, m)
        step, joins, leaves = next_event(path, scale, m, lam, left)
        rss -= advance_path(path, m, step) * step * (2.0 * lam - step)
        lam -= step
        left = -1
        if leaves >= 0:
            left = path.active[leaves]
            leave_path(path, leaves)
        size = 0
        for j in range(m):
            size += path.b[j] != 0.0
        bic = price * rss + log_n * size
        if bic < lowest:
            lowest = bic
            for j in range(m):
                best[j] = path.b[j]
        if joins < 0 and leaves < 0:
            return
        if freedom + log_n * (size - LASSO_SLACK) > lowest:
            return


@kernel
def adaptive_lasso(C, usable, n_samples):
    """Fit the adaptive lasso with BIC of every node on the columns before it.

    Returns
    -------
    ndarray of shape (d, d)
        Coefficients of node v in row v, for variables of variance one.
    """
    d = C.shape[0]
    B = np.zeros((d, d))
    scale = np.empty(d)
    node, path = make_node(0, d, d), make_path(d)
    prefix, full = make_prefix(d), make_regression(d)
    for v in range(d):
        s_v = regress_on_prefix(C, prefix, v)
        k, variance = initial_regression(
            C, prefix, full, node_view(node, v), usable[v], n_samples, s_v
        )
        set_zero(scale, v)
        for a in range(k):
            scale[full.columns[a]] = abs(full.beta[a])
        lasso_bic(C, path, scale, v, k, variance, n_samples, B[v])
        extend_prefix(prefix, v, s_v)
    return B


# Least squares -----------------------------------------------------------------------


@kernel
def least_squares(C, support):
    """Regress every node on its parents, for any graph.

    Returns
    -------
    B : ndarray of shape (d, d)
        Coefficients of node v in row v.
    solved : bool ndarray of shape (d,)
        False where the parents are collinear; that row is zero.
    """
    d = C.shape[0]
    B = np.zeros((d, d))
    solved = np.ones(d, np.bool_)
    widest = most_true(support)
    parents = np.empty(widest, np.int64)
    L, x = np.empty((widest, widest)), np.empty(widest)
    for v in range(d):
        k = 0
        for j in range(d):
            if support[v, j]:
                parents[k] = j
                k += 1
        for a in range(k):
            for b in range(a):
                L[a, b] = C[parents[a], parents[b]]
            pivot = C[parents[a], parents[a]]
            solve_lower(L, a, L[a], 0)
            for b in range(a):
                pivot -= L[a, b] * L[a, b]
            solved[v] &= pivot > COLLINEAR
            L[a, a] = np.sqrt(max(pivot, COLLINEAR))
            x[a] = C[v, parents[a]]
        if solved[v]:
            solve_lower(L, k, x, 0)
            solve_upper(L, k, x)
            for a in range(k):
                B[v, parents[a]] = x[a]
    return B, solved
