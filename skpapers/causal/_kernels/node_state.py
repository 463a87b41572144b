# SPDX-License-Identifier: BSD-3-Clause
r"""Compiled regression of one variable on a changing set of parents.

Symbols, all of the correlation matrix of d variables:

============ ==================================================================
``C``        correlation matrix, (d, d)
``P, k``     parents of a node v and their number
``L``        lower Cholesky factor of ``C[P, P]``; the order inside P is free
``s[j]``     variance of j given P; ``s[v]`` is the residual variance of v
``r[j]``     covariance of v and j given P; s and r are exactly 0 for j in P
``beta``     coefficients of the regression of v on P
``omega``    diagonal of the inverse of ``C[P, P]``
``cost``     price of a parent, ``penalty * log(n) / n``
``cap``      largest number of parents
============ ==================================================================

The local score of v, divided by the number n of rows, is ``log s[v] + cost * k``. With
all this known, every question about it takes O(1): the parent w takes
``r[w]**2 / s[w]`` off the residual variance, and the a-th parent, when it leaves, adds
``beta[a]**2 / omega[a]``. A variance below ``COLLINEAR`` is rounding noise: such a
column is a combination of the parents and is never added to them.

A new parent p has the coefficients b = inv(C[P, P]) C[P, p] on the old ones and the
variance delta = s[p] given them. It changes, with row = C[p] - b C[P],

    s by -row² / delta,  r by -row row[v] / delta,
    beta by -b beta[p] with beta[p] = row[v] / delta,  omega by b² / delta.

If the a-th parent leaves, let w be the a-th column of inv(C[P, P]) and row = w C[P]:

    s changes by row² / omega[a],  r by row row[v] / omega[a],
    beta by -w beta[a] / omega[a],  omega by -w² / omega[a].

Both b and w come from L, which keeps its digits when the parents are nearly collinear;
an updated inverse of C[P, P] would not.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from numba import njit

kernel = partial(
    njit,
    cache=True,
    nogil=True,
    fastmath={"reassoc", "contract", "nsz"},
    error_model="numpy",
)

COLLINEAR = 1e-11
TIE = 1e-9  # relative: what helps by less is rounding, and could make steps cycle


class Node(NamedTuple):
    """The regression of v on its parents; only the arrays' contents change.

    The length of ``s``, ``r`` and ``row`` says how many leading columns are kept up to
    date; ``row`` and ``x`` are scratch.
    """

    v: int
    parents: np.ndarray
    count: np.ndarray  # one entry, the number k of parents
    L: np.ndarray
    beta: np.ndarray
    omega: np.ndarray
    s: np.ndarray
    r: np.ndarray
    row: np.ndarray
    x: np.ndarray


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


# State of a node ---------------------------------------------------------------------


@kernel
def make_node(v, m, capacity):
    """Return an empty node that keeps m columns and has room for so many parents."""
    return Node(
        v,
        np.empty(capacity, np.int64),
        np.zeros(1, np.int64),
        np.empty((capacity, capacity)),
        np.empty(capacity),
        np.empty(capacity),
        np.empty(m),
        np.empty(m),
        np.empty(m),
        np.empty(capacity),
    )


@kernel
def clear_node(C, node):
    """Take all parents away."""
    node.count[0] = 0
    for j in range(node.s.shape[0]):
        node.s[j] = C[j, j]
        node.r[j] = C[node.v, j]


@kernel
def shift_state(node, factor):
    """Add factor * row rowᵀ to the conditional covariances; parents' stay 0."""
    s, r, row = node.s, node.r, node.row
    row_v = row[node.v]
    for j in range(s.shape[0]):
        s[j] += factor * row[j] * row[j]
        r[j] += factor * row[j] * row_v
    for a in range(node.count[0]):
        s[node.parents[a]] = 0.0
        r[node.parents[a]] = 0.0


@kernel
def add_rows(C, node, k, weights):
    """Add weights[a] times the row of the a-th of k parents to ``row``."""
    row, parents, m = node.row, node.parents, node.row.shape[0]
    for a in range(0, k - 1, 2):  # in pairs: half as many passes over row
        C_a, C_b = C[parents[a]], C[parents[a + 1]]
        for j in range(m):
            row[j] += weights[a] * C_a[j] + weights[a + 1] * C_b[j]
    if k % 2:
        C_a = C[parents[k - 1]]
        for j in range(m):
            row[j] += weights[k - 1] * C_a[j]


@kernel
def add_parent(C, node, p):
    """Let p join the parents, unless it is collinear with them: O(k d)."""
    k, L, x, row = node.count[0], node.L, node.x, node.row
    for a in range(k):
        x[a] = C[p, node.parents[a]]
    solve_lower(L, k, x, 0)
    delta = C[p, p]
    for a in range(k):
        delta -= x[a] * x[a]
    if delta <= COLLINEAR:
        node.s[p], node.r[p] = 0.0, 0.0
        return
    for a in range(k):
        L[k, a] = x[a]
    L[k, k] = np.sqrt(delta)
    solve_upper(L, k, x)
    for a in range(k):
        x[a] = -x[a]
    for j in range(row.shape[0]):
        row[j] = C[p, j]
    add_rows(C, node, k, x)
    beta_p = row[node.v] / delta
    for a in range(k):
        node.beta[a] += x[a] * beta_p
        node.omega[a] += x[a] * x[a] / delta
    node.parents[k], node.beta[k], node.omega[k] = p, beta_p, 1.0 / delta
    node.count[0] = k + 1
    shift_state(node, -1.0 / delta)


@kernel
def remove_parent(C, node, a):
    """Let the a-th parent leave: O(k d)."""
    k, x, row, p = node.count[0], node.x, node.row, node.parents[a]
    set_zero(x, k)
    x[a] = 1.0
    solve_lower(node.L, k, x, a)
    solve_upper(node.L, k, x)
    set_zero(row, row.shape[0])
    add_rows(C, node, k, x)
    delete_row(node.L, k, a)
    omega_a, share = x[a], node.beta[a] / x[a]
    for b in range(k):
        node.beta[b] -= x[b] * share
        node.omega[b] -= x[b] * x[b] / omega_a
    for b in range(a, k - 1):
        node.parents[b] = node.parents[b + 1]
        node.beta[b] = node.beta[b + 1]
        node.omega[b] = node.omega[b + 1]
    node.count[0] = k - 1
    row_v = row[node.v]
    shift_state(node, 1.0 / omega_a)
    node.s[p] = 1.0 / omega_a
    node.r[p] = row_v / omega_a


@kernel
def set_parents(C, node, chosen):
    """Build the state afresh from the chosen parents, the collinear ones left out."""
    clear_node(C, node)
    for p in range(node.s.shape[0]):
        if chosen[p] and node.s[p] > COLLINEAR:
            add_parent(C, node, p)


@kernel
def residual_variance(node):
    """Return the variance of v given its parents, not below rounding noise."""
    return max(node.s[node.v], COLLINEAR)


@kernel
def local_score(node, cost):
    """Return log s[v] + cost * k."""
    return np.log(residual_variance(node)) + cost * node.count[0]


# Grow and shrink ---------------------------------------------------------------------


@kernel
def useful_share(cost):
    """Return the share of s[v] that a parent must take away to pay for itself."""
    return -np.expm1(-cost) * (1.0 + TIE)


@kernel
def any_addition(node, usable, share):
    """Tell whether a usable column pays for itself; compiles to vector code."""
    s, r, helpful = node.s, node.r, 0
    least = share * s[node.v]
    for j in range(s.shape[0]):
        helpful += usable[j] & (s[j] > COLLINEAR) & (r[j] * r[j] > least * s[j])
    return helpful > 0


@kernel
def best_addition(node, usable):
    """Return the usable column that lowers s[v] most (or -1) and by how much."""
    best, largest = -1, 0.0
    for j in range(node.s.shape[0]):
        if usable[j] and node.s[j] > COLLINEAR:
            gain = node.r[j] * node.r[j] / node.s[j]
            if gain > largest:
                best, largest = j, gain
    return best, largest


@kernel
def best_removal(node, required):
    """Return the index in P whose removal raises s[v] least (or -1) and by how much."""
    best, smallest = -1, np.inf
    for a in range(node.count[0]):
        loss = node.beta[a] * node.beta[a] / node.omega[a]
        if loss < smallest and not required[node.parents[a]]:
            best, smallest = a, loss
    return best, smallest


@kernel
def grow(C, node, usable, cost, cap):
    """Add the best parent while that helps; True if only the cap stopped it."""
    share = useful_share(cost)
    while node.s[node.v] > COLLINEAR and any_addition(node, usable, share):
        if node.count[0] >= cap:
            return True
        w, _ = best_addition(node, usable)
        add_parent(C, node, w)
    return False


@kernel
def shrink(C, node, required, cost):
    """Remove the least useful parent while that helps; True if one left."""
    shrunk = False
    while True:
        a, loss = best_removal(node, required)
        if a < 0 or loss >= np.expm1(cost) * residual_variance(node):
            return shrunk
        remove_parent(C, node, a)
        shrunk = True


@kernel
def grow_shrink(C, node, usable, required, cost, cap):
    """Alternate both until no single step helps; True if only the cap forbids one."""
    score = np.inf
    while True:
        capped = grow(C, node, usable, cost, cap)
        shrunk = shrink(C, node, required, cost)
        before, score = score, local_score(node, cost)
        if not shrunk or score >= before:
            return capped
