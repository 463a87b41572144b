# SPDX-License-Identifier: BSD-3-Clause
"""Where to draw the nodes and edges of a directed acyclic graph.

Layered drawing after Sugiyama et al. [1]_: a node stands in the layer right below the
lowest of its parents, so that every edge points downwards and the first layer holds
the nodes without causes. An edge that skips layers passes one *bend* in each of them,
and bends take part in the layout as small nodes: that keeps long edges away from the
nodes. The order within the layers comes from sweeps of the barycentre heuristic, the
horizontal positions from repeated isotonic regressions (each layer follows its
neighbours as closely as the order and the distances allow).

References
----------
.. [1] K. Sugiyama, S. Tagawa, M. Toda, "Methods for visual understanding of
   hierarchical system structures", IEEE Transactions on Systems, Man, and Cybernetics
   11 (1981) 109-125.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from sklearn.isotonic import isotonic_regression

NODE_WIDTH = 1.0
BEND_WIDTH = 0.3  # less where many edges pass
N_SWEEPS = 30


@dataclass
class Layout:
    """A drawing of a graph.

    Attributes
    ----------
    positions : ndarray of shape (d, 2)
        Places of the nodes; layers are one unit apart and go downwards from 0.
    layers : ndarray of shape (d,), dtype int64
        Layer of each node; isolated nodes stand in the layers below the others.
    routes : dict
        For each edge (i, j) the points that it passes, ndarray of shape (k, 2) with
        both ends.
    """

    positions: np.ndarray
    layers: np.ndarray
    routes: dict


def longest_path_layers(edges):
    """Return the length of the longest path from a root to each node of a DAG.

    Parameters
    ----------
    edges : ndarray of shape (d, d), dtype bool
        Entry (i, j) is the edge i -> j.

    Returns
    -------
    ndarray of shape (d,), dtype int64
        The layers.
    """
    layers = np.zeros(len(edges), dtype=np.int64)
    reached = edges.any(axis=0)  # nodes at the end of a path of `length` edges
    length = 1
    while reached.any():
        layers[reached] = length
        reached = edges[reached].any(axis=0)
        length += 1
    return layers


def count_crossings(links):
    """Return how many edges cross between two layers.

    Parameters
    ----------
    links : ndarray of shape (n_upper, n_lower), dtype bool
        The edges, rows and columns from left to right.

    Returns
    -------
    int
        The number of crossing pairs.
    """
    # left_below[i, j] counts the edges that start right of i and end left of j
    sums = np.cumsum(np.cumsum(links[::-1], axis=0)[::-1], axis=1)
    return int((links[:-1, 1:] * sums[1:, :-1]).sum())


def layered_layout(edges):
    """Place the nodes of a DAG in layers and route its edges around them.

    Parameters
    ----------
    edges : ndarray of shape (d, d), dtype bool
        Entry (i, j) is the edge i -> j; acyclic.

    Returns
    -------
    Layout
        The drawing. It depends on nothing but the graph.

    Notes
    -----
    O(sweeps * layers * width²), where the width counts the nodes and bends of a layer.
    """
    d = len(edges)
    layers = longest_path_layers(edges)
    isolated = ~(edges.any(axis=0) | edges.any(axis=1))
    chains, n_points = _subdivide(edges, layers)
    linked = np.flatnonzero(~isolated)
    level = np.zeros(n_points, dtype=np.int64)
    level[:d] = layers
    for chain in chains:
        level[chain[1:-1]] = layers[chain[0]] + np.arange(1, len(chain) - 1)
    points = np.zeros((n_points, 2))
    points[:, 1] = -level
    if len(linked):
        drawn = np.concatenate([linked, np.arange(d, n_points)])
        rows = _order_rows(_initial_rows(drawn, level, chains), chains)
        points[:, 0] = _horizontal_positions(rows, chains, d, n_points)
    _place_isolated(np.flatnonzero(isolated), points, layers, linked)
    routes = {(chain[0], chain[-1]): _route(points[chain]) for chain in chains}
    return Layout(points[:d], layers, routes)


def _route(points):
    """Return the corners of an edge: steep at its ends and where it passes a layer.

    So it does not touch the boxes to the left and right in any layer.
    """
    corners = [points[0], _steep_end(points[0], points[1])]
    for before, point, after in zip(points, points[1:-1], points[2:], strict=False):
        lean = np.clip((after[0] - before[0]) / 4, -0.35, 0.35)
        half = 0.22 * np.array([lean, np.sign(after[1] - before[1])])
        corners += [point - half, point + half]
    return np.array([*corners, _steep_end(points[-1], points[-2]), points[-1]])


def _steep_end(end, towards):
    """Return a corner that makes an edge leave a node upwards or downwards."""
    across, along = towards - end
    return end + np.array([np.clip(0.3 * across, -0.3, 0.3), 0.3 * np.sign(along)])


def _subdivide(edges, layers):
    """Return the points that each edge passes, and the number of nodes and bends."""
    bend = len(edges)
    chains = []
    for i, j in zip(*np.nonzero(edges), strict=True):
        n_bends = int(layers[j] - layers[i]) - 1
        chains.append([int(i), *range(bend, bend + n_bends), int(j)])
        bend += n_bends
    return chains, bend


def _initial_rows(drawn, level, chains):
    """Return the points of each layer, connected ones near each other."""
    neighbours = {int(point): [] for point in drawn}
    for chain in chains:
        for a, b in pairwise(chain):
            neighbours[a].append(b)
            neighbours[b].append(a)
    seen, rows = set(), [[] for _ in range(level[drawn].max() + 1)]
    for root in sorted(neighbours, key=lambda point: level[point]):
        stack = [root]
        while stack:
            point = stack.pop()
            if point in seen:
                continue
            seen.add(point)
            rows[level[point]].append(point)
            stack.extend(reversed(neighbours[point]))
    return [np.array(row) for row in rows]


def _link_matrices(rows, chains):
    """Return the links between neighbouring layers as boolean matrices."""
    place = {int(point): k for row in rows for k, point in enumerate(row)}
    level = {int(point): k for k, row in enumerate(rows) for point in row}
    links = [np.zeros((len(a), len(b)), dtype=bool) for a, b in pairwise(rows)]
    for chain in chains:
        for a, b in pairwise(chain):
            links[level[a]][place[a], place[b]] = True
    return links


def _order_rows(rows, chains):
    """Reorder the points within the layers to lower the number of crossings."""
    links = _link_matrices(rows, chains)
    orders = [np.arange(len(row)) for row in rows]

    def crossings():
        return sum(
            count_crossings(link[np.ix_(orders[k], orders[k + 1])])
            for k, link in enumerate(links)
        )

    best, best_orders = crossings(), list(orders)
    for sweep in range(N_SWEEPS):
        if best == 0:
            break
        down = sweep % 2 == 0
        for k in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            link = links[k - 1].T if down else links[k]
            reference = orders[k - 1] if down else orders[k + 1]
            orders[k] = _sort_by_barycentre(link, orders[k], reference)
        for k in range(len(rows)):
            orders[k] = _exchange_neighbours(k, orders, links)
        now = crossings()
        if now < best:
            best, best_orders = now, list(orders)
    return [row[order] for row, order in zip(rows, best_orders, strict=True)]


def _sort_by_barycentre(link, order, reference):
    """Sort a layer by the mean place of the neighbours in the reference layer."""
    place = np.empty(len(reference))
    place[reference] = np.arange(len(reference))
    degree = link.sum(axis=1)
    own = np.empty(len(order))
    own[order] = np.linspace(0, max(len(reference) - 1, 0), len(order))
    barycentre = np.where(degree > 0, link @ place / np.maximum(degree, 1), own)
    return order[np.argsort(barycentre[order], kind="stable")]


def _exchange_neighbours(k, orders, links):
    """Exchange points next to each other in layer k where that removes crossings."""
    order = orders[k].copy()
    sides = []
    if k > 0:
        sides.append(links[k - 1].T[:, orders[k - 1]])
    if k < len(links):
        sides.append(links[k][:, orders[k + 1]])
    # cost[a, b]: crossings between the links of a and b if a stands left of b
    cost = np.zeros((len(order), len(order)))
    for side in sides:
        side = side.astype(np.float64)
        left = np.cumsum(side, axis=1) - side  # links that end strictly further left
        cost += side @ left.T
    for k in range(len(order) - 1):
        a, b = order[k], order[k + 1]
        if cost[b, a] < cost[a, b]:
            order[k], order[k + 1] = b, a
    return order


def _horizontal_positions(rows, chains, d, n_points):
    """Return x such that points stand near their neighbours and keep their distance."""
    width = np.full(n_points, BEND_WIDTH / max(1.0, n_points / (8 * d)))
    width[:d] = NODE_WIDTH
    weights = _link_weights(rows, chains, d)
    x = np.zeros(n_points)
    offsets = []
    for row in rows:
        gaps = (width[row[:-1]] + width[row[1:]]) / 2
        gaps += 0.15 * ((row[:-1] < d) != (row[1:] < d))  # a node and a passing edge
        offset = np.concatenate([[0.0], np.cumsum(gaps)])
        offsets.append(offset)
        x[row] = offset - offset[-1] / 2
    for sweep in range(N_SWEEPS):
        down = sweep % 2 == 0
        both = sweep >= N_SWEEPS - 6
        for k in range(len(rows)) if down else range(len(rows) - 1, -1, -1):
            pull = np.zeros(len(rows[k]))
            strength = np.full(len(rows[k]), 1e-6)
            if k > 0 and (down or both):
                pull += weights[k - 1].T @ x[rows[k - 1]]
                strength += weights[k - 1].sum(axis=0)
            if k < len(rows) - 1 and (not down or both):
                pull += weights[k] @ x[rows[k + 1]]
                strength += weights[k].sum(axis=1)
            wanted = (pull + 1e-6 * x[rows[k]]) / strength
            # x is increasing with given distances: isotonic once these are taken off
            fitted = isotonic_regression(wanted - offsets[k], sample_weight=strength)
            x[rows[k]] = fitted + offsets[k]
    return x


def _link_weights(rows, chains, d):
    """Return the pull of the links: straight long edges matter more than short ones."""
    weights = [link.astype(np.float64) for link in _link_matrices(rows, chains)]
    for k, weight in enumerate(weights):
        bends = (rows[k] >= d)[:, None].astype(int) + (rows[k + 1] >= d)[None, :]
        weight *= np.array([1.0, 2.0, 8.0])[bends]
    return weights


def _place_isolated(isolated, points, layers, linked):
    """Put nodes without edges in rows below the graph, at most as wide as it."""
    if len(isolated) == 0:
        return
    x = points[linked, 0] if len(linked) else np.zeros(1)
    n_layers = layers[linked].max() + 1 if len(linked) else 0
    per_row = max(int(np.ptp(x)) + 1, 6)
    for k, start in enumerate(range(0, len(isolated), per_row)):
        row = isolated[start : start + per_row]
        centre = (x.min() + x.max()) / 2
        points[row, 0] = centre + np.arange(len(row)) - (len(row) - 1) / 2
        points[row, 1] = -(n_layers + k)
        layers[row] = n_layers + k


def direct_routes(positions, edges, clearance=0.35):
    """Route edges between given places, bent where a straight line hits a node.

    Parameters
    ----------
    positions : ndarray of shape (d, 2)
        Places of the nodes.
    edges : ndarray of shape (d, d), dtype bool
        Entry (i, j) is the edge i -> j.
    clearance : float, default=0.35
        Distance to keep from other nodes, as a part of the smallest distance between
        two nodes.

    Returns
    -------
    dict
        For each edge (i, j) an ndarray of shape (k, 2), from i to j.
    """
    gaps = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    off_diagonal = gaps[~np.eye(len(gaps), dtype=bool)]
    distance = clearance * off_diagonal.min() if len(off_diagonal) else 0.0
    steps = np.linspace(0, 1, 33)[:, None]
    routes = {}
    for i, j in zip(*np.nonzero(edges), strict=True):
        start, end = positions[i], positions[j]
        normal = np.array([start[1] - end[1], end[0] - start[0]])
        others = np.delete(positions, [i, j], axis=0)
        for bend in (0.0, 0.15, -0.15, 0.3, -0.3, 0.5, -0.5):
            middle = (start + end) / 2 + bend * normal
            curve = (
                (1 - steps) ** 2 * start
                + 2 * steps * (1 - steps) * middle
                + steps**2 * end
            )
            to_others = np.linalg.norm(curve[:, None] - others[None], axis=-1)
            if not (to_others < distance).any():
                break
        else:
            middle = (start + end) / 2
        straight = np.array([start, end])
        routes[int(i), int(j)] = (
            straight if bend == 0 else np.array([start, middle, end])
        )
    return routes


def smooth(route, n_rounds=4):
    """Cut the corners of a polyline until it looks smooth; the ends stay.

    Parameters
    ----------
    route : ndarray of shape (k, 2)
        The polyline.
    n_rounds : int, default=4
        How often (Chaikin's algorithm; the limit is a quadratic B-spline).

    Returns
    -------
    ndarray of shape (m, 2)
        The smooth polyline.
    """
    for _ in range(n_rounds):
        if len(route) < 3:
            return route
        a, b = route[:-1], route[1:]
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], axis=1)
        route = np.concatenate([route[:1], cut.reshape(-1, 2)[1:-1], route[-1:]])
    return route
