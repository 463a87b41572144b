# SPDX-License-Identifier: BSD-3-Clause
r"""Compiled search for the causal order, and the parents, of lowest BIC.

The score of a DAG over d variables is the sum of the local scores of its nodes (see
`skpapers.causal._kernels.node_state` for them, and for C, s, r, L, cost and cap). An
order stands for the DAG that grow-and-shrink steps have found along it:

============ ==================================================================
``order``    variables, causes first; ``place`` is its inverse
``kept``     the order of the best DAG so far
``usable``   ``usable[v, j]``: j may be a parent of v
``required`` ``required[v, j]``: j must be a parent of v
============ ==================================================================

Regressions stand in slots: slot v holds that of the node v in the present DAG, slot
d + v what a move would make of it, slot 2 d + v that in the best DAG, and slot 3 d
what the best move so far would make of the node that is being moved.

**One step.** Let u stand just before w in the order. If they change places, w may no
longer have u as a parent, and u may have w. Nothing happens unless u is a parent of w,
or w would pay as a parent of u: two tests in O(1), from s and r. So taking a node v
through *all* places of the order costs O(d), and O(k d) for each of the few real
changes; the changes of the score add up to the exact change for every place.

**Local search.** Nodes wait in a queue. Each in turn goes to its best place; among
places of equal score one is drawn, since many orders stand for one DAG and a drift
among them opens new ways down. A move that improves the score queues the nodes whose
parents changed, with their old and new parents.

**Restarts.** A few random forced moves away from the best DAG, then a local search
from there, with all regressions still in hand. The result is kept if it is no worse;
else the nodes that changed are copied back.

Nothing is validated here, and nothing is allocated.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from skpapers.causal._kernels.node_state import (
    BETA,
    COLLINEAR,
    COUNT,
    OMEGA,
    PRECISION,
    Node,
    R,
    S,
    add_parent,
    grow_shrink,
    kernel,
    local_score,
    remove_parent,
    set_parents,
)

# numba compiles a function together with all that it calls, and so the innermost ones
# once for each level above them, unless the levels between are put into one
step = partial(kernel, inline="always")

SWAP, EDGE = 0, 1
LEFT, RIGHT = -1, 1
WAITING, TOUCHED, DIRTY = 0, 1, 2
MAX_ROUNDS = 1000  # of the first search; a guard against rounding errors that cycle


class Pick(NamedTuple):
    """The best place that was found for a node, in arrays of one entry.

    Among ``ties`` places of the same score, ``place`` is one at random.
    """

    place: np.ndarray
    change: np.ndarray
    ties: np.ndarray


class Lists(NamedTuple):
    """Queues of different nodes in rings; ``ends`` holds their heads and lengths.

    ``WAITING`` are the nodes to reinsert, ``TOUCHED`` those whose slot d + v is in use,
    ``DIRTY`` those whose regression differs from that in the best DAG.
    """

    nodes: np.ndarray
    ends: np.ndarray
    inside: np.ndarray


class Search(NamedTuple):
    """All that a search knows; only the arrays' contents change."""

    C: np.ndarray
    usable: np.ndarray
    required: np.ndarray
    cost: float
    share: float  # of a residual variance that a parent must explain to pay
    cap: int
    tol: float
    order: np.ndarray
    place: np.ndarray
    kept: np.ndarray
    parents: np.ndarray  # regressions, one a slot, as in `Node`
    factors: np.ndarray
    given: np.ndarray
    score: np.ndarray  # local scores, one a slot
    lowest: np.ndarray  # score of the best DAG so far, one entry
    pick: Pick
    lists: Lists
    candidates: np.ndarray
    random: np.ndarray
    scratch: np.ndarray


# Random numbers ----------------------------------------------------------------------


@kernel
def uniform(random):
    """Return a number from [0, 1) (xorshift)."""
    x = random[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    random[0] = x
    return np.float64(x >> np.uint64(11)) * 2.0**-53


@kernel
def below(random, n):
    """Return a random integer from 0 to n - 1."""
    return np.int64(uniform(random) * n)


@kernel
def shuffle(random, items):
    """Permute items at random."""
    for i in range(len(items) - 1, 0, -1):
        j = below(random, i + 1)
        items[i], items[j] = items[j], items[i]


# Lists of nodes ----------------------------------------------------------------------


@kernel
def push(lists, which, v):
    """Append v to a list, unless it is there already."""
    if not lists.inside[which, v]:
        lists.inside[which, v] = True
        end = lists.ends[which, 0] + lists.ends[which, 1]
        lists.nodes[which, end % lists.nodes.shape[1]] = v
        lists.ends[which, 1] += 1


@kernel
def has_nodes(lists, which):
    """Tell whether a list is not empty."""
    return lists.ends[which, 1] > 0


@kernel
def pop(lists, which):
    """Take the first node away from a list and return it."""
    head = lists.ends[which, 0]
    v = lists.nodes[which, head]
    lists.ends[which, 0] = (head + 1) % lists.nodes.shape[1]
    lists.ends[which, 1] -= 1
    lists.inside[which, v] = False
    return v


# States ------------------------------------------------------------------------------


@kernel
def node_of(search, v, slot):
    """Return the regression of v that stands in a slot."""
    return Node(
        v,
        slot,
        search.order.shape[0],
        search.parents,
        search.factors,
        search.given,
        search.scratch,
    )


@kernel
def copy_state(search, source, target):
    """Copy one slot to another."""
    k = search.parents[source, COUNT]
    search.parents[target, COUNT] = k
    search.score[target] = search.score[source]
    for a in range(k):
        search.parents[target, a] = search.parents[source, a]
        for row in (PRECISION, BETA, OMEGA):
            search.factors[target, row, a] = search.factors[source, row, a]
        for b in range(a):
            search.factors[target, a, b] = search.factors[source, a, b]
    for j in range(search.given.shape[2]):
        search.given[target, S, j] = search.given[source, S, j]
        search.given[target, R, j] = search.given[source, R, j]


@kernel
def same_parents(search, slot, other):
    """Tell whether two slots list the same parents."""
    k = search.parents[slot, COUNT]
    same = search.parents[other, COUNT] == k
    if same:
        for a in range(k):
            same &= search.parents[slot, a] == search.parents[other, a]
    return same


@kernel
def parent_index(parents, slot, j):
    """Return where j stands among the parents, or -1."""
    index = -1
    for a in range(parents[slot, COUNT]):
        if parents[slot, a] == j:
            index = a
    return index


@kernel
def pays(given, share, v, slot, j):
    """Tell whether j would pay as a parent of v, whose regression is in a slot."""
    s_j, s_v, r_j = given[slot, S, j], given[slot, S, v], given[slot, R, j]
    return (r_j * r_j > share * s_j * s_v) & (min(s_j, s_v) > COLLINEAR)


@kernel
def admit(candidates, usable, place, v, limit):
    """Make candidates of what may be a parent of v and stands before a place."""
    for j in range(place.shape[0]):
        candidates[j] = usable[v, j] & (place[j] < limit)


@step
def settle(search, v, slot):
    """Grow and shrink among the candidates, then note the local score."""
    node, required = node_of(search, v, slot), search.required
    grow_shrink(search.C, node, search.candidates, required, search.cost, search.cap)
    search.score[slot] = local_score(node, search.cost)


# Reinsertion of one node -------------------------------------------------------------


@kernel
def offer(search, v, first, last, change):
    """Consider the places first..last for v, where the score changes alike."""
    pick, d = search.pick, search.order.shape[0]
    n = abs(last - first) + 1
    if change > pick.change[0] + search.tol:
        return
    if change < pick.change[0] - search.tol:
        pick.change[0], pick.ties[0] = change, 0
    pick.ties[0] += n
    if uniform(search.random) * pick.ties[0] < n:
        pick.place[0] = min(first, last) + below(search.random, n)
        copy_state(search, d + v, 3 * d)


@kernel
def trade(C, node, j, candidates, required, cost, cap):
    """Take j from the parents of v, or make it one; settle; return the local score."""
    a = parent_index(node.parents, node.slot, j)
    if a >= 0:
        remove_parent(C, node, a)
    else:
        add_parent(C, node, j)
    grow_shrink(C, node, candidates, required, cost, cap)
    return local_score(node, cost)


@kernel
def walk(search, v, target):
    """Take v towards the target, as far as required edges allow, offering each place.

    Returns the place that was reached; the regression of v there is in slot d + v.
    """
    required, usable, candidates = search.required, search.usable, search.candidates
    parents, given, score = search.parents, search.given, search.score
    order, place, d = search.order, search.place, search.order.shape[0]
    left = target < place[v]
    step = LEFT if left else RIGHT
    first, others = place[v] + step, 0.0
    copy_state(search, v, d + v)
    for p in range(first, target + step, step):
        z = order[p]
        if required[v, z] if left else required[z, v]:
            target = p - step
            break
        # if v and z change places, one may no longer have the other as a parent ...
        child, slot, parent = (v, d + v, z) if left else (z, z, v)
        loses = given[slot, S, parent] == 0.0  # in O(1), mostly
        loses = loses and parent_index(parents, slot, parent) >= 0
        # ... and the other may now have it
        child, slot, parent = (z, z, v) if left else (v, d + v, z)
        gains = (
            usable[child, parent]
            and pays(given, search.share, child, slot, parent)
            and parents[slot, COUNT] < search.cap
        )
        if not (loses or gains):
            continue
        if p != first:
            offer(search, v, first, p - step, others + score[d + v] - score[v])
        first = p
        if loses if left else gains:
            node = node_of(search, v, d + v)
            admit(candidates, usable, place, v, p if left else p + 1)
            score[d + v] = trade(
                search.C, node, z, candidates, required, search.cost, search.cap
            )
        if gains if left else loses:
            node = node_of(search, z, d + z)
            push(search.lists, TOUCHED, z)
            copy_state(search, z, d + z)
            admit(candidates, usable, place, z, p)
            candidates[v] = left & usable[z, v]
            score[d + z] = trade(
                search.C, node, v, candidates, required, search.cost, search.cap
            )
            others += score[d + z] - score[z]
    if (target - first) * step >= 0:
        offer(search, v, first, target, others + score[d + v] - score[v])
    return target


@kernel
def queue_family(search, v):
    """Queue v and its parents."""
    push(search.lists, WAITING, v)
    for a in range(search.parents[v, COUNT]):
        push(search.lists, WAITING, search.parents[v, a])


@kernel
def adopt(search, v, slot, improves):
    """Make the regression in a slot that of v; queue old and new family if told to."""
    if improves:
        queue_family(search, v)
    copy_state(search, slot, v)
    push(search.lists, DIRTY, v)
    if improves:
        queue_family(search, v)


@kernel
def shift(search, v, target):
    """Take v to the target; the nodes between close the gap."""
    order, place = search.order, search.place
    start = place[v]
    step = LEFT if target < start else RIGHT
    for p in range(start, target, step):
        order[p] = order[p + step]
        place[order[p]] = p
    order[target], place[v] = v, target


@kernel
def move(search, v, target, slot):
    """Make true what the walk found for v and the nodes up to the target."""
    start, d = search.place[v], search.order.shape[0]
    improves = search.pick.change[0] < -search.tol
    while has_nodes(search.lists, TOUCHED):
        z = pop(search.lists, TOUCHED)
        if min(start, target) <= search.place[z] <= max(start, target):
            adopt(search, z, d + z, improves)
    if target == start:
        return
    if improves:
        queue_family(search, v)
    if not same_parents(search, v, slot):
        adopt(search, v, slot, improves)
    shift(search, v, target)


@step
def reinsert(search, v):
    """Move v to its best place; True if that lowers the score."""
    pick, d = search.pick, search.order.shape[0]
    pick.place[0], pick.change[0], pick.ties[0] = search.place[v], 0.0, 1
    for end in (0, d - 1):
        walk(search, v, end)
    move(search, v, pick.place[0], 3 * d)
    return pick.change[0] < -search.tol


@step
def force(search, v, target):
    """Move v to the target, or as far as required edges allow."""
    search.pick.change[0] = -np.inf  # no place is better
    target = walk(search, v, target)
    move(search, v, target, search.order.shape[0] + v)


# Local search and restarts -----------------------------------------------------------


@step
def total_score(search):
    """Return the score of the present DAG."""
    total = 0.0
    for v in range(search.order.shape[0]):
        total += search.score[v]
    return total


@step
def descend(search):
    """Reinsert the waiting nodes until none is left; True if that lowered the score."""
    lowered = False
    while has_nodes(search.lists, WAITING):
        lowered |= reinsert(search, pop(search.lists, WAITING))
    return lowered


@step
def build(search, v):
    """Build the regression of v on the candidates from scratch."""
    node = node_of(search, v, v)
    set_parents(search.C, node, search.candidates)
    search.score[v] = local_score(node, search.cost)


@step
def rebuild_dirty(search):
    """Remove the rounding errors from the regressions of all dirty nodes."""
    lists, d = search.lists, search.order.shape[0]
    for i in range(lists.ends[DIRTY, 1]):
        v = lists.nodes[DIRTY, (lists.ends[DIRTY, 0] + i) % d]
        for j in range(d):
            search.candidates[j] = False
        for a in range(search.parents[v, COUNT]):
            search.candidates[search.parents[v, a]] = True
        build(search, v)


@step
def keep(search):
    """Make the present DAG the best one."""
    d = search.order.shape[0]
    for p in range(d):
        search.kept[p] = search.order[p]
    while has_nodes(search.lists, DIRTY):
        v = pop(search.lists, DIRTY)
        copy_state(search, v, 2 * d + v)


@step
def go_back(search):
    """Return to the best DAG."""
    d = search.order.shape[0]
    for p in range(d):
        search.order[p] = search.kept[p]
        search.place[search.order[p]] = p
    while has_nodes(search.lists, DIRTY):
        v = pop(search.lists, DIRTY)
        copy_state(search, 2 * d + v, v)


@step
def keep_if_no_worse(search):
    """Keep the present DAG or go back to the best one; return the lowest score."""
    limit = search.lowest[0] + search.tol
    if total_score(search) <= limit:
        rebuild_dirty(search)
    score = total_score(search)
    if score <= limit:
        keep(search)
        search.lowest[0] = min(search.lowest[0], score)
    else:
        go_back(search)
    return search.lowest[0]


@step
def choose_parents(search):
    """Choose the parents of all nodes along the order."""
    d = search.order.shape[0]
    for p in range(d):
        search.place[search.order[p]] = p
    for v in range(d):
        for j in range(d):
            search.candidates[j] = search.required[v, j]
        build(search, v)
        admit(search.candidates, search.usable, search.place, v, search.place[v])
        settle(search, v, v)
        push(search.lists, DIRTY, v)


@step
def begin(search):
    """Descend along the given order, in random rounds, until a round is in vain."""
    lists = search.lists
    choose_parents(search)
    for _ in range(MAX_ROUNDS):
        for v in range(search.order.shape[0]):
            push(lists, WAITING, v)
        shuffle(search.random, lists.nodes[WAITING])
        if not descend(search):
            return


@step
def random_edge(search):
    """Return a parent and its child, drawn from all edges, or (-1, -1)."""
    d, n_edges = search.order.shape[0], 0
    for v in range(d):
        n_edges += search.parents[v, COUNT]
    a = below(search.random, n_edges)
    for v in range(d):
        if a < search.parents[v, COUNT]:
            return search.parents[v, a], v
        a -= search.parents[v, COUNT]
    return -1, -1


@step
def kick(search, kind):
    """Disturb the present DAG by forced moves.

    "Swap" exchanges two random nodes; "edge" takes the end of an edge just before its
    start, or the start just after its end.
    """
    d, order, place = search.order.shape[0], search.order, search.place
    if kind == SWAP:
        p, q = below(search.random, d), below(search.random, d)
        a, b = order[p], order[q]
        force(search, a, q)
    else:
        a, b = random_edge(search)
        if a < 0:
            return
        p = place[a]
        if uniform(search.random) < 0.5:
            a, b, p = b, a, place[b]
    force(search, b, p)


@kernel
def improve(search, n_kicks, kind, path):
    """Descend from the given order, then again and again from near the best DAG.

    What is no worse than the best DAG is kept. The lowest scores so far are written to
    path, the first of all being that of the descent from the given order.
    """
    for i in range(path.shape[0]):
        if search.lowest[0] == np.inf:
            begin(search)
        else:
            for _ in range(n_kicks):
                kick(search, kind)
            descend(search)
        path[i] = keep_if_no_worse(search)
