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

from typing import NamedTuple

import numpy as np

from skpapers.causal._kernels.node_state import (
    COLLINEAR,
    Node,
    add_parent,
    grow_shrink,
    kernel,
    local_score,
    remove_parent,
    set_parents,
)

SWAP, EDGE = 0, 1
LEFT, RIGHT = -1, 1
WAITING, TOUCHED, DIRTY = 0, 1, 2
MAX_ROUNDS = 1000  # of the first search; a guard against rounding errors that cycle


class States(NamedTuple):
    """Regressions on parents, one a slot; the fields are those of `Node`."""

    parents: np.ndarray
    count: np.ndarray
    L: np.ndarray
    beta: np.ndarray
    omega: np.ndarray
    s: np.ndarray
    r: np.ndarray
    score: np.ndarray  # local scores


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
    states: States
    lowest: np.ndarray  # score of the best DAG so far, one entry
    pick: Pick
    lists: Lists
    candidates: np.ndarray
    random: np.ndarray
    row: np.ndarray
    x: np.ndarray


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
    states = search.states
    return Node(
        v,
        states.parents[slot],
        states.count[slot : slot + 1],
        states.L[slot],
        states.beta[slot],
        states.omega[slot],
        states.s[slot],
        states.r[slot],
        search.row,
        search.x,
    )


@kernel
def copy_state(states, source, target):
    """Copy one slot to another."""
    k = states.count[source]
    states.count[target] = k
    states.score[target] = states.score[source]
    for a in range(k):
        states.parents[target, a] = states.parents[source, a]
        states.beta[target, a] = states.beta[source, a]
        states.omega[target, a] = states.omega[source, a]
        for b in range(a + 1):
            states.L[target, a, b] = states.L[source, a, b]
    for j in range(states.s.shape[1]):
        states.s[target, j] = states.s[source, j]
        states.r[target, j] = states.r[source, j]


@kernel
def same_parents(states, slot, other):
    """Tell whether two slots list the same parents."""
    if states.count[slot] != states.count[other]:
        return False
    for a in range(states.count[slot]):
        if states.parents[slot, a] != states.parents[other, a]:
            return False
    return True


@kernel
def parent_index(states, slot, j):
    """Return where j stands among the parents, or -1."""
    if states.s[slot, j] == 0.0:
        for a in range(states.count[slot]):
            if states.parents[slot, a] == j:
                return a
    return -1


@kernel
def pays(search, v, slot, j):
    """Tell whether j would pay as a parent of v, whose regression is in a slot."""
    states = search.states
    s_j, s_v, r_j = states.s[slot, j], states.s[slot, v], states.r[slot, j]
    return (
        r_j * r_j > search.share * s_j * s_v
        and min(s_j, s_v) > COLLINEAR
        and search.usable[v, j]
        and states.count[slot] < search.cap
    )


@kernel
def admit(search, v, limit):
    """Make candidates of what may be a parent of v and stands before a place."""
    for j in range(search.order.shape[0]):
        search.candidates[j] = search.usable[v, j] & (search.place[j] < limit)


@kernel
def settle(search, v, slot):
    """Grow and shrink among the candidates, then note the local score."""
    node, required = node_of(search, v, slot), search.required[v]
    grow_shrink(search.C, node, search.candidates, required, search.cost, search.cap)
    search.states.score[slot] = local_score(node, search.cost)


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
        copy_state(search.states, d + v, 3 * d)


@kernel
def trade(search, v, slot, j):
    """Take j from the parents of v, or make it one; then settle."""
    node, a = node_of(search, v, slot), parent_index(search.states, slot, j)
    if a >= 0:
        remove_parent(search.C, node, a)
    else:
        add_parent(search.C, node, j)
    settle(search, v, slot)


@kernel
def walk(search, v, target):
    """Take v towards the target, as far as required edges allow, offering each place.

    Returns the place that was reached; the regression of v there is in slot d + v.
    """
    states, required, d = search.states, search.required, search.order.shape[0]
    start = search.place[v]
    left = target < start
    step = LEFT if left else RIGHT
    first, others = start + step, 0.0
    copy_state(states, v, d + v)
    for p in range(first, target + step, step):
        z = search.order[p]
        if required[v, z] if left else required[z, v]:
            target = p - step
            break
        if left:
            v_trades = parent_index(states, d + v, z) >= 0
            z_trades = pays(search, z, z, v)
        else:
            v_trades = pays(search, v, d + v, z)
            z_trades = parent_index(states, z, v) >= 0
        if not (v_trades or z_trades):
            continue
        if p != first:
            change = others + states.score[d + v] - states.score[v]
            offer(search, v, first, p - step, change)
        first = p
        if v_trades:
            admit(search, v, p if left else p + 1)
            trade(search, v, d + v, z)
        if z_trades:
            push(search.lists, TOUCHED, z)
            copy_state(states, z, d + z)
            admit(search, z, p)
            search.candidates[v] = left & search.usable[z, v]
            trade(search, z, d + z, v)
            others += states.score[d + z] - states.score[z]
    if (target - first) * step >= 0:
        change = others + states.score[d + v] - states.score[v]
        offer(search, v, first, target, change)
    return target


@kernel
def queue_family(search, v):
    """Queue v and its parents."""
    push(search.lists, WAITING, v)
    for a in range(search.states.count[v]):
        push(search.lists, WAITING, search.states.parents[v, a])


@kernel
def adopt(search, v, slot, improves):
    """Make the regression in a slot that of v; queue old and new family if told to."""
    if improves:
        queue_family(search, v)
    copy_state(search.states, slot, v)
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
    if not same_parents(search.states, v, slot):
        adopt(search, v, slot, improves)
    shift(search, v, target)


@kernel
def reinsert(search, v):
    """Move v to its best place; True if that lowers the score."""
    pick, d = search.pick, search.order.shape[0]
    pick.place[0], pick.change[0], pick.ties[0] = search.place[v], 0.0, 1
    for end in (0, d - 1):
        walk(search, v, end)
    move(search, v, pick.place[0], 3 * d)
    return pick.change[0] < -search.tol


@kernel
def force(search, v, target):
    """Move v to the target, or as far as required edges allow."""
    search.pick.change[0] = -np.inf  # no place is better
    target = walk(search, v, target)
    move(search, v, target, search.order.shape[0] + v)


# Local search and restarts -----------------------------------------------------------


@kernel
def total_score(search):
    """Return the score of the present DAG."""
    total = 0.0
    for v in range(search.order.shape[0]):
        total += search.states.score[v]
    return total


@kernel
def descend(search):
    """Reinsert the waiting nodes until none is left; True if that lowered the score."""
    lowered = False
    while has_nodes(search.lists, WAITING):
        lowered |= reinsert(search, pop(search.lists, WAITING))
    return lowered


@kernel
def build(search, v):
    """Build the regression of v on the candidates from scratch."""
    node = node_of(search, v, v)
    set_parents(search.C, node, search.candidates)
    search.states.score[v] = local_score(node, search.cost)


@kernel
def rebuild_dirty(search):
    """Remove the rounding errors from the regressions of all dirty nodes."""
    lists, states, d = search.lists, search.states, search.order.shape[0]
    for i in range(lists.ends[DIRTY, 1]):
        v = lists.nodes[DIRTY, (lists.ends[DIRTY, 0] + i) % d]
        for j in range(d):
            search.candidates[j] = False
        for a in range(states.count[v]):
            search.candidates[states.parents[v, a]] = True
        build(search, v)


@kernel
def keep(search):
    """Make the present DAG the best one."""
    d = search.order.shape[0]
    for p in range(d):
        search.kept[p] = search.order[p]
    while has_nodes(search.lists, DIRTY):
        v = pop(search.lists, DIRTY)
        copy_state(search.states, v, 2 * d + v)


@kernel
def go_back(search):
    """Return to the best DAG."""
    d = search.order.shape[0]
    for p in range(d):
        search.order[p] = search.kept[p]
        search.place[search.order[p]] = p
    while has_nodes(search.lists, DIRTY):
        v = pop(search.lists, DIRTY)
        copy_state(search.states, 2 * d + v, v)


@kernel
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


@kernel
def choose_parents(search):
    """Choose the parents of all nodes along the order."""
    d = search.order.shape[0]
    for p in range(d):
        search.place[search.order[p]] = p
    for v in range(d):
        for j in range(d):
            search.candidates[j] = search.required[v, j]
        build(search, v)
        admit(search, v, search.place[v])
        settle(search, v, v)
        push(search.lists, DIRTY, v)


@kernel
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


@kernel
def random_edge(search):
    """Return a parent and its child, drawn from all edges, or (-1, -1)."""
    states, d, n_edges = search.states, search.order.shape[0], 0
    for v in range(d):
        n_edges += states.count[v]
    a = below(search.random, n_edges)
    for v in range(d):
        if a < states.count[v]:
            return states.parents[v, a], v
        a -= states.count[v]
    return -1, -1


@kernel
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
