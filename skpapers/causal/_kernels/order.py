# SPDX-License-Identifier: BSD-3-Clause
"""Compiled loops of the search over causal orders.

Let C be the covariance of d nodes and ``order`` a causal order, causes first. If every
node is regressed on all its predecessors, the residual variances v_0, ..., v_{d-1}, by
position, are the squared diagonal of the Cholesky factor of C in that order. A search
looks for the order with the smallest score

    Q = sum_k phi(v_k),    phi(x) = x / 2 ("squared")  or  sqrt(x) ("sum_std").

**State.** Two d x d matrices whose *rows are nodes* and whose *columns are positions*,

    C = R Rᵀ,    R[order] lower triangular with a positive diagonal,
    U = R⁻ᵀ,     U[order] upper triangular,

so that v_k = R[order[k], k]². With L = R[order] and T = L⁻¹ this is L[i, k] =
R[order[i], k] and T[k, i] = U[order[i], k]: whatever is known of a node stands in one
contiguous row. A change of the order leaves the rows where they are and multiplies R
and U by the same orthogonal matrix from the right.

**Insertion.** Take the node a from its position s to the position q, and let the nodes
between close the gap. With the running sums

    leftwards (q < s):   h_k = R[a, k]² + ... + R[a, s]²,
    rightwards (q > s):  h_k = U[a, s]² + ... + U[a, k]²,

a node at the position k that a passes changes its variance to

    leftwards:   v_k h_{k+1} / h_k    (it gains the predecessor a),
    rightwards:  v_k h_k / h_{k-1}    (it loses the predecessor a),

and a itself arrives with the variance h_q or 1 / h_q. So all positions of one node are
scored in O(d), all d (d - 1) insertions in O(d²).

**Exchange.** Let a at position p and b at position q > p change places. With

    t = R[b, k]² + ... + R[b, q]²      (variance of b given the nodes before k),
    w = U[a, p]² + ... + U[a, k-1]²    (1 / variance of a given the others before k),
    g = R[b, p] U[a, p] + ... + R[b, k-1] U[a, k-1]

and D_k = t w + g², the node at position k between them changes its variance to
v_k D_{k+1} / D_k; b arrives with t at k = p, a with 1 / w at k = q + 1.

Nothing here is validated: ``order`` is int64, matrices are C-contiguous float64, and
all of the state is changed in place.
"""

from functools import partial

import numpy as np
from numba import njit
from scipy.linalg import cholesky
from scipy.linalg.lapack import dtrtri

kernel = partial(
    njit,
    cache=True,
    nogil=True,
    fastmath={"reassoc", "contract", "nsz"},
    error_model="numpy",
)

SQUARED, SUM_STD = 0, 1


def factor(C, order):
    """Return the state (R, U, variances) of an order from scratch, in O(d³).

    Raises
    ------
    numpy.linalg.LinAlgError
        If C is not positive definite to working precision.
    """
    L = cholesky(C[np.ix_(order, order)], lower=True, check_finite=False)
    T, _ = dtrtri(L, lower=1)
    R, U = np.empty_like(C), np.empty_like(C)
    R[order], U[order] = L, T.T
    return R, U, np.diag(L) ** 2


@kernel
def phi(variance, loss):
    """Return what a node with this residual variance adds to the score."""
    return np.sqrt(variance) if loss == SUM_STD else 0.5 * variance


@kernel
def insertion_changes(R, U, variances, a, s, loss, changes):
    """Write the change of Q if node ``a`` moves from position s to q to changes[q]."""
    changes[s] = 0.0
    passed = -phi(variances[s], loss)
    h = variances[s]
    for q in range(s - 1, -1, -1):
        longer = h + R[a, q] ** 2
        passed += phi(variances[q] * (h / longer), loss) - phi(variances[q], loss)
        h = longer
        changes[q] = passed + phi(h, loss)
    passed = -phi(variances[s], loss)
    h = U[a, s] ** 2
    for q in range(s + 1, len(variances)):
        longer = h + U[a, q] ** 2
        passed += phi(variances[q] * (longer / h), loss) - phi(variances[q], loss)
        h = longer
        changes[q] = passed + phi(1.0 / h, loss)


@kernel
def exchange_change(R, U, variances, a, b, p, q, loss):
    """Return the change of Q if ``a`` at p and ``b`` at q > p change places."""
    t = 0.0
    for k in range(p, q + 1):
        t += R[b, k] ** 2
    change = phi(t, loss) - phi(variances[p], loss) - phi(variances[q], loss)
    t -= R[b, p] ** 2
    w = U[a, p] ** 2
    g = R[b, p] * U[a, p]
    D = t * w + g * g
    for k in range(p + 1, q):
        t -= R[b, k] ** 2
        w += U[a, k] ** 2
        g += R[b, k] * U[a, k]
        D_next = t * w + g * g
        change += phi(variances[k] * (D_next / D), loss) - phi(variances[k], loss)
        D = D_next
    return change + phi(1.0 / (w + U[a, q] ** 2), loss)


@kernel
def exchange_changes(order, R, U, variances, pairs, loss, changes):
    """Write the change of Q for every pair (p, q), p < q, of positions."""
    for m in range(len(pairs)):
        p, q = pairs[m, 0], pairs[m, 1]
        a, b = order[p], order[q]
        changes[m] = exchange_change(R, U, variances, a, b, p, q, loss)


@kernel
def rotate(row, s, q, step, direction, keep, mix):
    """Multiply a row by the rotation that gathers ``direction`` in the column q.

    The columns between s and q shift by one place against ``step``, each less its
    share of what the direction has gathered so far. This is a chain of Givens
    rotations of neighbouring columns, carried out in one pass.
    """
    gathered = 0.0
    for k in range(s, q, step):
        gathered += row[k] * direction[k]
        row[k] = keep[k] * row[k + step] - mix[k] * gathered
    row[q] = (gathered + row[q] * direction[q]) * mix[q]


@kernel
def insert(order, R, U, variances, s, q):
    """Move the node at position s to the position q != s, in O(|s - q| d).

    Leftwards the rotation makes the row of the node in R (rightwards: in U) zero but
    for its new diagonal entry.
    """
    a = order[s]
    step = 1 if q > s else -1
    first, last = min(s, q), max(s, q)
    emptied, filled = (U, R) if q > s else (R, U)
    direction = emptied[a].copy()
    keep, mix = np.empty(len(order)), np.empty(len(order))
    h = direction[s] ** 2
    for k in range(s, q, step):
        longer = h + direction[k + step] ** 2
        keep[k] = np.sqrt(h / longer)
        mix[k] = direction[k + step] / np.sqrt(h * longer)
        h = longer
    mix[q] = 1.0 / np.sqrt(h)
    for k in range(first, len(order)):
        if k != s:
            rotate(R[order[k]], s, q, step, direction, keep, mix)
    for k in range(last + 1):
        if k != s:
            rotate(U[order[k]], s, q, step, direction, keep, mix)
    for k in range(s, q, step):
        order[k] = order[k + step]
        emptied[a, k], filled[a, k] = 0.0, -mix[k]
    order[q] = a
    emptied[a, q], filled[a, q] = np.sqrt(h), mix[q]
    for k in range(first, last + 1):  # rounding must not fill the triangles
        R[order[k], k + 1 : last + 1] = 0.0
        U[order[k], first:k] = 0.0
        variances[k] = R[order[k], k] ** 2


@kernel
def exchange(order, R, U, variances, p, q):
    """Let the nodes at the positions p < q change places, in O((q - p) d)."""
    insert(order, R, U, variances, p, q)
    if q - p > 1:
        insert(order, R, U, variances, q - 1, p)


@kernel
def place(order, a):
    """Return the position of the node ``a``."""
    k = 0
    while order[k] != a:
        k += 1
    return k


@kernel
def insertion_sweep(order, R, U, variances, loss, score, tol, scores):
    """Move each node, in the present order, to its best position.

    Moves must lower the score by more than tol * score. The scores after the moves are
    written to ``scores``; their number is returned.
    """
    changes = np.empty(len(order))
    n_moves = 0
    for a in order.copy():
        s = place(order, a)
        insertion_changes(R, U, variances, a, s, loss, changes)
        q = np.argmin(changes)
        if changes[q] < -tol * score:
            insert(order, R, U, variances, s, q)
            score += changes[q]
            scores[n_moves] = score
            n_moves += 1
    return n_moves


@kernel
def exchange_sweep(order, R, U, variances, loss, score, tol, scores):
    """Exchange each node, in the present order, with its best predecessor, if any.

    Conventions as in `insertion_sweep`. O(d³), since d² / 2 pairs are scored.
    """
    n_moves = 0
    for b in order.copy():
        q = place(order, b)
        best, partner = 0.0, q
        for p in range(q):
            change = exchange_change(R, U, variances, order[p], b, p, q, loss)
            if change < best:
                best, partner = change, p
        if best < -tol * score:
            exchange(order, R, U, variances, partner, q)
            score += best
            scores[n_moves] = score
            n_moves += 1
    return n_moves


@kernel
def condition(C, b, floor, given):
    """Write the covariance given the node ``b`` to ``given``; O(d²)."""
    for i in range(len(C)):
        slope = C[i, b] / C[b, b] if C[b, b] > floor else 0.0
        for j in range(len(C)):
            given[i, j] = C[i, j] - slope * C[b, j]


@kernel
def exact_order(C, loss, floors):
    """Return the best order and its score by dynamic programming over subsets.

    best[S] is the smallest score of an order of the nodes in S (a bit mask), and
    best[S + j] = min over j of best[S] + phi(variance of j given S). Counting S upwards
    changes its low bits most often, so the covariances given the high bits of S are
    kept on a stack, and each S costs one conditioning: O(2^d d²) in all. A node whose
    variance is at its floor depends linearly on the others and explains nothing.
    """
    d = len(C)
    best = np.full(1 << d, np.inf)
    last = np.empty(1 << d, np.int64)
    given = np.empty((d + 1, d, d))
    condition(C, 0, np.inf, given[0])  # on nothing: given[0] = C compiles slowly
    best[0] = 0.0
    for S in range(1 << d):
        depth, lowest = 0, -1
        for j in range(d - 1, -1, -1):
            if S >> j & 1:
                depth, lowest = depth + 1, j
        if depth:
            condition(given[depth - 1], lowest, floors[lowest], given[depth])
        for j in range(d):
            if not S >> j & 1:
                score = best[S] + phi(max(given[depth, j, j], 0.0), loss)
                if score < best[S | 1 << j]:
                    best[S | 1 << j] = score
                    last[S | 1 << j] = j
    order = np.empty(d, np.int64)
    S = (1 << d) - 1
    score = best[S]
    for k in range(d - 1, -1, -1):
        order[k] = last[S]
        S ^= 1 << last[S]
    return order, score
