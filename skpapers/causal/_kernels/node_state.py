# SPDX-License-Identifier: BSD-3-Clause
r"""Compiled regression of one variable on a changing set of parents.

Symbols, all of the correlation matrix of d variables:

============= =================================================================
``C``         correlation matrix, (d, d)
``P, k``      parents of a node v and their number
``L``         unit lower triangular: ``C[P, P] = L D Lᵀ`` with a diagonal D; the order
              inside P is free
``precision`` diagonal of the inverse of D
``s[j]``      variance of j given P; ``s[v]`` is the residual variance of v
``r[j]``      covariance of v and j given P; s and r are exactly 0 for j in P
``beta``      coefficients of the regression of v on P
``omega``     diagonal of the inverse of ``C[P, P]``
``cost``      price of a parent, ``penalty * log(n) / n``
``cap``       largest number of parents
============= =================================================================

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
an updated inverse of C[P, P] would not. No step takes a root, and few divide: with few
parents, a division for each of them would take longer than all the rest.
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
inlined = partial(kernel, forceinline=True)

COLLINEAR = 1e-11
TIE = 1e-9  # relative: what helps by less is rounding, and could make steps cycle


class Node(NamedTuple):
    """The regression of v on its parents; only the arrays' contents change.

    Each array holds one regression a slot. They are few, and no views of them are made,
    because numba counts the references to every array that is handed on, which takes
    longer than the arithmetic of a step with few parents.
    """

    v: int
    slot: int
    m: int  # leading columns of s and r that are kept up to date
    parents: np.ndarray  # (slots, capacity + 1), the last entry is their number k
    factors: np.ndarray  # (slots, capacity + 3, capacity): L, then three rows
    given: np.ndarray  # (slots, 2, d): rows s and r
    scratch: np.ndarray  # (2, d)


COUNT = -1  # in ``parents``
PRECISION, BETA, OMEGA = -3, -2, -1  # rows of ``factors``, below L
S, R = 0, 1  # rows of ``given``
ROW, X = 0, 1  # rows of ``scratch``


# State of a node ---------------------------------------------------------------------


@kernel
def make_node(v, m, capacity):
    """Return an empty node that keeps m columns and has room for so many parents."""
    return Node(
        v,
        0,
        m,
        np.zeros((1, capacity + 1), np.int64),
        np.empty((1, capacity + 3, capacity)),
        np.empty((1, 2, m)),
        np.empty((2, max(m, capacity))),
    )


@kernel
def clear_node(C, node):
    """Take all parents away."""
    slot = node.slot
    node.parents[slot, COUNT] = 0
    for j in range(node.m):
        node.given[slot, S, j] = C[j, j]
        node.given[slot, R, j] = C[node.v, j]


@inlined
def shift_state(node, factor):
    """Add factor * row rowᵀ to the conditional covariances; parents' stay 0."""
    slot = node.slot
    factor_v = factor * node.scratch[ROW, node.v]
    for j in range(node.m):
        node.given[slot, S, j] += factor * node.scratch[ROW, j] * node.scratch[ROW, j]
        node.given[slot, R, j] += factor_v * node.scratch[ROW, j]
    for a in range(node.parents[slot, COUNT]):
        node.given[slot, S, node.parents[slot, a]] = 0.0
        node.given[slot, R, node.parents[slot, a]] = 0.0


@inlined
def add_rows(C, node, k):
    """Add x[a] times the row of the a-th of k parents to row (both in scratch)."""
    slot = node.slot
    for a in range(0, k - 1, 2):  # in pairs: half as many passes over row
        p, q = node.parents[slot, a], node.parents[slot, a + 1]
        x_p, x_q = node.scratch[X, a], node.scratch[X, a + 1]
        for j in range(node.m):
            node.scratch[ROW, j] += x_p * C[p, j] + x_q * C[q, j]
    if k % 2:
        p, x_p = node.parents[slot, k - 1], node.scratch[X, k - 1]
        for j in range(node.m):
            node.scratch[ROW, j] += x_p * C[p, j]


@inlined
def join(C, node, p, precision):
    """Make p a parent, given x = inv(L) C[P, p] and the inverse variance of p."""
    slot = node.slot
    k = node.parents[slot, COUNT]
    for a in range(k):
        node.scratch[X, a] *= node.factors[slot, PRECISION, a]
        node.factors[slot, k, a] = node.scratch[X, a]
        node.scratch[X, a] = -node.scratch[X, a]
    for a in range(k - 1, 0, -1):
        x_a = node.scratch[X, a]
        for b in range(a):
            node.scratch[X, b] -= node.factors[slot, a, b] * x_a
    for j in range(node.m):
        node.scratch[ROW, j] = C[p, j]
    add_rows(C, node, k)
    beta_p = node.scratch[ROW, node.v] * precision
    for a in range(k):
        node.factors[slot, BETA, a] += node.scratch[X, a] * beta_p
        node.factors[slot, OMEGA, a] += node.scratch[X, a] ** 2 * precision
    node.parents[slot, k], node.factors[slot, PRECISION, k] = p, precision
    node.factors[slot, BETA, k], node.factors[slot, OMEGA, k] = beta_p, precision
    node.parents[slot, COUNT] = k + 1
    shift_state(node, -precision)


@inlined
def add_parent(C, node, p):
    """Let p join the parents, unless it is collinear with them: O(k d)."""
    slot = node.slot
    k = node.parents[slot, COUNT]
    delta = C[p, p]
    for a in range(k):
        total = C[p, node.parents[slot, a]]
        for b in range(a):
            total -= node.factors[slot, a, b] * node.scratch[X, b]
        node.scratch[X, a] = total
        delta -= total * total * node.factors[slot, PRECISION, a]
    if delta <= COLLINEAR:
        node.given[slot, S, p], node.given[slot, R, p] = 0.0, 0.0
    else:  # no early return: with one exit, numba drops all counting of references
        join(C, node, p, 1.0 / delta)


@inlined
def delete_factor(node, k, a):
    """Take parent a out of the factors of k: what it explained goes to the later ones.

    A rank-one update of the trailing factors (Gill, Golub, Murray and Saunders 1974),
    its vector in column a of L.
    """
    slot = node.slot
    alpha = 1.0 / node.factors[slot, PRECISION, a]
    for j in range(a + 1, k):
        p, old = node.factors[slot, j, a], node.factors[slot, PRECISION, j]
        kept = 1.0 / (1.0 + alpha * p * p * old)
        beta = alpha * p * old * kept
        alpha *= kept
        node.factors[slot, PRECISION, j - 1] = old * kept
        for i in range(j + 1, k):
            rest = node.factors[slot, i, a] - p * node.factors[slot, i, j]
            node.factors[slot, i, a] = rest
            node.factors[slot, i, j] += beta * rest
    for i in range(a + 1, k):
        for j in range(a):
            node.factors[slot, i - 1, j] = node.factors[slot, i, j]
        for j in range(a + 1, i):
            node.factors[slot, i - 1, j - 1] = node.factors[slot, i, j]


@inlined
def remove_parent(C, node, a):
    """Let the a-th parent leave: O(k d)."""
    slot = node.slot
    k, p = node.parents[slot, COUNT], node.parents[slot, a]
    for b in range(a):
        node.scratch[X, b] = 0.0
    node.scratch[X, a] = 1.0
    for i in range(a + 1, k):
        total = -node.factors[slot, i, a]
        for b in range(a + 1, i):
            total -= node.factors[slot, i, b] * node.scratch[X, b]
        node.scratch[X, i] = total
    for i in range(a, k):
        node.scratch[X, i] *= node.factors[slot, PRECISION, i]
    for i in range(k - 1, 0, -1):
        x_i = node.scratch[X, i]
        for b in range(i):
            node.scratch[X, b] -= node.factors[slot, i, b] * x_i
    for j in range(node.m):
        node.scratch[ROW, j] = 0.0
    add_rows(C, node, k)
    delete_factor(node, k, a)
    variance = 1.0 / node.scratch[X, a]
    share = node.factors[slot, BETA, a] * variance
    for b in range(k):
        node.factors[slot, BETA, b] -= node.scratch[X, b] * share
        node.factors[slot, OMEGA, b] -= node.scratch[X, b] ** 2 * variance
    for b in range(a, k - 1):
        node.parents[slot, b] = node.parents[slot, b + 1]
        node.factors[slot, BETA, b] = node.factors[slot, BETA, b + 1]
        node.factors[slot, OMEGA, b] = node.factors[slot, OMEGA, b + 1]
    node.parents[slot, COUNT] = k - 1
    row_v = node.scratch[ROW, node.v]
    shift_state(node, variance)
    node.given[slot, S, p] = variance
    node.given[slot, R, p] = row_v * variance


@kernel
def set_parents(C, node, chosen):
    """Build the state afresh from the chosen parents, the collinear ones left out."""
    clear_node(C, node)
    for p in range(node.m):
        if chosen[p] and node.given[node.slot, S, p] > COLLINEAR:
            add_parent(C, node, p)


@kernel
def residual_variance(node):
    """Return the variance of v given its parents, not below rounding noise."""
    return max(node.given[node.slot, S, node.v], COLLINEAR)


@kernel
def local_score(node, cost):
    """Return log s[v] + cost * k."""
    return np.log(residual_variance(node)) + cost * node.parents[node.slot, COUNT]


# Grow and shrink ---------------------------------------------------------------------


@kernel
def useful_share(cost):
    """Return the share of s[v] that a parent must take away to pay for itself."""
    return -np.expm1(-cost) * (1.0 + TIE)


@kernel
def any_addition(node, usable, share):
    """Tell whether a usable column pays for itself; compiles to vector code."""
    slot, helpful = node.slot, 0
    least = share * node.given[slot, S, node.v]
    for j in range(node.m):
        s, r = node.given[slot, S, j], node.given[slot, R, j]
        helpful += usable[j] & (s > COLLINEAR) & (r * r > least * s)
    return (helpful > 0) & (node.given[slot, S, node.v] > COLLINEAR)


@kernel
def best_addition(node, usable):
    """Return the usable column that lowers s[v] most (or -1) and by how much."""
    best, largest = -1, 0.0
    for j in range(node.m):
        s, r = node.given[node.slot, S, j], node.given[node.slot, R, j]
        if usable[j] and s > COLLINEAR and r * r > largest * s:
            best, largest = j, r * r / s
    return best, largest


@kernel
def best_removal(node, required):
    """Return the index in P whose removal raises s[v] least (or -1) and by how much."""
    best, smallest = -1, np.inf
    for a in range(node.parents[node.slot, COUNT]):
        beta = node.factors[node.slot, BETA, a]
        loss = beta * beta / node.factors[node.slot, OMEGA, a]
        if loss < smallest and not required[node.v, node.parents[node.slot, a]]:
            best, smallest = a, loss
    return best, smallest


@kernel
def grow(C, node, usable, share, cap):
    """Add the best parent while that helps; True if only the cap stopped it."""
    helps = any_addition(node, usable, share)
    while helps and node.parents[node.slot, COUNT] < cap:
        w, _ = best_addition(node, usable)
        add_parent(C, node, w)
        helps = any_addition(node, usable, share)
    return helps


@kernel
def shrink(C, node, required, cost):
    """Remove the least useful parent while that helps; True if one left."""
    before, least = node.parents[node.slot, COUNT], np.expm1(cost)
    a, loss = best_removal(node, required)
    while a >= 0 and loss < least * residual_variance(node):
        remove_parent(C, node, a)
        a, loss = best_removal(node, required)
    return node.parents[node.slot, COUNT] < before


@kernel
def grow_shrink(C, node, usable, required, cost, cap):
    """Alternate both until no single step helps; True if only the cap forbids one."""
    share, score = useful_share(cost), np.inf
    capped, goes_on = False, True
    while goes_on:
        capped = grow(C, node, usable, share, cap)
        goes_on = shrink(C, node, required, cost)
        if goes_on:
            before, score = score, local_score(node, cost)
            goes_on = score < before
    return capped
