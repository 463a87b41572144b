# SPDX-License-Identifier: BSD-3-Clause
"""Compiled loops of the graph metrics; arguments are not checked.

Graphs arrive as boolean matrices, or as lists of neighbours in compressed form:
the parents (or children) of node v are ``index[start[v]:start[v + 1]]``.
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

# How a walk from the intervened node came to the node where it stands now.
CAUSAL = 0  # along arrows only
DOWN = 1  # through the head of an arrow, after a step against an arrow
UP = 2  # through the tail of an arrow


@kernel
def _flood(stack, n_stack, start, index, seen):
    """Mark all that is reachable from the marked nodes on the stack."""
    while n_stack > 0:
        n_stack -= 1
        v = stack[n_stack]
        for k in range(start[v], start[v + 1]):
            u = index[k]
            if not seen[u]:
                seen[u] = True
                stack[n_stack] = u
                n_stack += 1


@kernel
def _walk(i, adjusted, above, up_start, up_index, down_start, down_index, stack, came):
    """Mark in ``came[v, how]`` the nodes that open walks from i reach.

    The nodes in `adjusted` are conditioned on and `above` marks them and their
    ancestors, where a collider is open. A walk must not come back to i: what
    follows would be a walk of its own from i.
    """
    n_stack = 0
    for k in range(down_start[i], down_start[i + 1]):
        came[down_index[k], CAUSAL] = True
        stack[n_stack] = 3 * down_index[k] + CAUSAL
        n_stack += 1
    for k in range(up_start[i], up_start[i + 1]):
        came[up_index[k], UP] = True
        stack[n_stack] = 3 * up_index[k] + UP
        n_stack += 1
    while n_stack > 0:
        n_stack -= 1
        v = stack[n_stack] // 3
        how = stack[n_stack] % 3
        if not adjusted[v]:
            goes = DOWN if how == UP else how
            for k in range(down_start[v], down_start[v + 1]):
                u = down_index[k]
                if u != i and not came[u, goes]:
                    came[u, goes] = True
                    stack[n_stack] = 3 * u + goes
                    n_stack += 1
        if (how == UP and not adjusted[v]) or (how != UP and above[v]):
            for k in range(up_start[v], up_start[v + 1]):
                u = up_index[k]
                if u != i and not came[u, UP]:
                    came[u, UP] = True
                    stack[n_stack] = 3 * u + UP
                    n_stack += 1


@kernel
def count_wrong_effects(
    up_start, up_index, down_start, down_index, query, query_start, query_index
):
    """Count the effects of node i that adjusting for a set P gets wrong.

    Query q asks for node ``i = query[q]`` and the set
    ``P = query_index[query_start[q]:query_start[q + 1]]``; `up_*` and `down_*`
    are the parents and children of the true graph.

    One search over the states of `_walk` answers for all j at once. For j
    outside P the set fails if and only if (a) a child of i that is, or is an
    ancestor of, a member of P is also j or an ancestor of j, or (b) an open
    walk from i to j is not a directed path. Condition (b) needs no graph
    without the first edges i -> w of the causal paths to j: such a walk
    through w has an open collider below w, so that (a) holds for j.
    """
    d = up_start.shape[0] - 1
    n_queries = query.shape[0]
    counts = np.zeros(n_queries, dtype=np.int64)
    adjusted = np.empty(d, dtype=np.bool_)
    above = np.empty(d, dtype=np.bool_)
    effect = np.empty(d, dtype=np.bool_)
    forbidden = np.empty(d, dtype=np.bool_)
    came = np.empty((d, 3), dtype=np.bool_)
    stack = np.empty(3 * d, dtype=np.int64)
    for q in range(n_queries):
        i = query[q]
        adjusted[:] = False
        above[:] = False
        effect[:] = False
        forbidden[:] = False
        came[:] = False

        n_stack = 0
        for k in range(query_start[q], query_start[q + 1]):
            v = query_index[k]
            adjusted[v] = True
            above[v] = True
            stack[n_stack] = v
            n_stack += 1
        _flood(stack, n_stack, up_start, up_index, above)

        stack[0] = i
        _flood(stack, 1, down_start, down_index, effect)

        n_stack = 0
        for k in range(down_start[i], down_start[i + 1]):
            v = down_index[k]
            if above[v]:
                forbidden[v] = True
                stack[n_stack] = v
                n_stack += 1
        _flood(stack, n_stack, down_start, down_index, forbidden)

        _walk(
            i, adjusted, above, up_start, up_index, down_start, down_index, stack, came
        )
        for j in range(d):
            if adjusted[j]:  # the estimate says that i does not act on j
                counts[q] += effect[j]
            elif j != i:
                counts[q] += forbidden[j] or came[j, DOWN] or came[j, UP]
    return counts


@kernel
def label_compelled(dag, order):
    """Return the edges of a DAG that all Markov-equivalent DAGs share.

    Chickering's labelling: targets in topological order and, for each, its
    parents from the last one back, so that all edges into a parent are labelled
    before the edge that leaves it.
    """
    d = order.shape[0]
    start = np.zeros(d + 1, dtype=np.int64)
    for x in range(d):
        for y in range(d):
            start[y + 1] += dag[x, y]
    for v in range(d):
        start[v + 1] += start[v]
    fill = start.copy()
    parents = np.empty(start[d], dtype=np.int64)  # each list in topological order
    for x in order:
        for y in range(d):
            if dag[x, y]:
                parents[fill[y]] = x
                fill[y] += 1

    compelled = np.zeros((d, d), dtype=np.bool_)
    known = np.zeros((d, d), dtype=np.bool_)
    for y in order:
        for e in range(start[y + 1] - 1, start[y] - 1, -1):
            x = parents[e]
            if known[x, y]:
                continue
            all_compelled = False
            for k in range(start[x], start[x + 1]):
                w = parents[k]
                if compelled[w, x]:
                    if not dag[w, y]:
                        all_compelled = True
                        break
                    compelled[w, y] = True
                    known[w, y] = True
            if all_compelled:
                for k in range(start[y], start[y + 1]):
                    compelled[parents[k], y] = True
                    known[parents[k], y] = True
                continue
            collider = False
            for k in range(start[y], start[y + 1]):
                z = parents[k]
                if z != x and not dag[z, x]:
                    collider = True
                    break
            for k in range(start[y], start[y + 1]):
                if not known[parents[k], y]:
                    compelled[parents[k], y] = collider
                    known[parents[k], y] = True
    return compelled


@kernel
def _is_removable(x, alive, undirected, near, start, index):
    """Tell whether all edges of x may point at x without a new collider."""
    for k in range(start[x], start[x + 1]):
        y = index[k]
        if not alive[y] or not undirected[x, y]:
            continue
        for m in range(start[x], start[x + 1]):
            z = index[m]
            if alive[z] and z != y and not near[y, z]:
                return False
    return True


@kernel
def extend_to_dag(directed, undirected):
    """Orient the undirected edges without a cycle or a new unshielded collider.

    Returns the matrix and the number of nodes that found a place: less than all
    of them if there is no such orientation (Dor and Tarsi).
    """
    d = directed.shape[0]
    near = directed | directed.T | undirected
    start = np.zeros(d + 1, dtype=np.int64)
    n_out = np.zeros(d, dtype=np.int64)
    for x in range(d):
        start[x + 1] = start[x]
        for y in range(d):
            start[x + 1] += near[x, y]
            n_out[x] += directed[x, y]
    index = np.empty(start[d], dtype=np.int64)
    k = 0
    for x in range(d):
        for y in range(d):
            if near[x, y]:
                index[k] = y
                k += 1

    dag = directed.copy()
    alive = np.ones(d, dtype=np.bool_)
    n_done = 0
    x = 0  # no node below it can be removed
    while x < d:
        if (
            not alive[x]
            or n_out[x] > 0
            or not _is_removable(x, alive, undirected, near, start, index)
        ):
            x += 1
            continue
        alive[x] = False
        n_done += 1
        smallest = x + 1
        for k in range(start[x], start[x + 1]):
            y = index[k]
            if alive[y]:
                if undirected[x, y]:
                    dag[y, x] = True
                else:
                    n_out[y] -= 1
                smallest = min(smallest, y)
        x = smallest
    return dag, n_done


@kernel
def count_walk_lengths(order, up_start, up_index):
    """Count for each pair (i, j) the lengths of the directed walks from i to j.

    The set of lengths is a row of bits: that of j is the union over its
    parents, moved by one. `order` is topological, `up_*` are the parents.
    """
    one = np.uint64(1)
    top = np.uint64(63)
    zero = np.uint64(0)
    d = order.shape[0]
    depth = np.zeros(d, dtype=np.int64)  # longest walk that ends in a node
    for v in order:
        for k in range(up_start[v], up_start[v + 1]):
            depth[v] = max(depth[v], depth[up_index[k]] + 1)
    n_words = depth.max() // 64 + 1
    counts = np.zeros((d, d), dtype=np.int64)
    lengths = np.empty((d, n_words), dtype=np.uint64)
    reached = np.empty(d, dtype=np.bool_)
    for first in range(d):
        i = order[first]
        reached[:] = False
        reached[i] = True
        lengths[i] = zero
        lengths[i, 0] = one
        for at in range(first + 1, d):
            j = order[at]
            for k in range(up_start[j], up_start[j + 1]):
                p = up_index[k]
                if not reached[p]:
                    continue
                if not reached[j]:
                    reached[j] = True
                    lengths[j] = zero
                carry = zero
                for w in range(n_words):
                    word = lengths[p, w]
                    lengths[j, w] |= (word << one) | carry
                    carry = word >> top
            if reached[j]:
                for w in range(n_words):
                    word = lengths[j, w]
                    while word != zero:
                        word &= word - one
                        counts[i, j] += 1
    return counts
