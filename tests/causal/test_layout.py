"""Layered drawings of graphs: what a reader relies on, and the parts by brute force."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skpapers.causal._layout import (
    count_crossings,
    direct_routes,
    layered_layout,
    longest_path_layers,
    smooth,
)


def random_edges(seed, d, density):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((d, d)) < density, 1)
    shuffled = rng.permutation(d)
    return upper[np.ix_(shuffled, shuffled)]


def longest_path_to(edges, node):
    parents = np.flatnonzero(edges[:, node])
    return max((1 + longest_path_to(edges, p) for p in parents), default=0)


def test_layers_are_longest_paths(global_random_seed):
    for density in (0.0, 0.2, 0.5):
        edges = random_edges(global_random_seed, 9, density)
        expected = [longest_path_to(edges, node) for node in range(9)]
        np.testing.assert_array_equal(longest_path_layers(edges), expected)


@given(hnp.arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_crossings_by_pairs(links):
    pairs = np.argwhere(links)
    expected = sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in combinations(pairs, 2))
    assert count_crossings(links) == expected


@pytest.mark.parametrize("density", [0.05, 0.15, 0.4])
@pytest.mark.parametrize("d", [1, 2, 12, 30])
def test_edges_point_downwards_and_nodes_keep_apart(d, density, global_random_seed):
    edges = random_edges(global_random_seed, d, density)
    drawing = layered_layout(edges)
    assert set(drawing.routes) == {tuple(pair) for pair in np.argwhere(edges).tolist()}
    np.testing.assert_array_equal(drawing.positions[:, 1], -drawing.layers)
    for (i, j), route in drawing.routes.items():
        np.testing.assert_allclose(route[[0, -1]], drawing.positions[[i, j]])
        assert (np.diff(route[:, 1]) < 0).all()
    for layer in range(drawing.layers.max() + 1):
        x = np.sort(drawing.positions[drawing.layers == layer, 0])
        assert (np.diff(x) > 1 - 1e-9).all()


@pytest.mark.parametrize("density", [0.1, 0.3])
def test_edges_keep_away_from_other_nodes(density, global_random_seed):
    edges = random_edges(global_random_seed, 15, density)
    drawing = layered_layout(edges)
    for pair, route in drawing.routes.items():
        others = np.delete(drawing.positions, pair, axis=0)
        curve = smooth(route)
        curve = np.concatenate([curve, (curve[:-1] + curve[1:]) / 2])
        off = np.abs(curve[:, None] - others[None])
        assert not ((off[..., 0] < 0.35) & (off[..., 1] < 0.15)).any()


def test_isolated_nodes_stand_below():
    edges = np.zeros((20, 20), dtype=bool)
    edges[3, 4] = edges[4, 7] = True
    drawing = layered_layout(edges)
    np.testing.assert_array_equal(drawing.layers[[3, 4, 7]], [0, 1, 2])
    alone = np.delete(np.arange(20), [3, 4, 7])
    assert drawing.layers[alone].min() == 3
    places = {tuple(place) for place in drawing.positions.tolist()}
    assert len(places) == 20


def test_order_removes_the_crossings_of_a_tree():
    # a tree can be drawn without crossings, whatever the numbers of its nodes
    d = 31
    place = np.random.default_rng(0).permutation(d)
    edges = np.zeros((d, d), dtype=bool)
    for node in range(1, d):
        edges[place[(node - 1) // 2], place[node]] = True
    drawing = layered_layout(edges)
    ends = [drawing.positions[list(pair), 0] for pair in drawing.routes]
    tops = [drawing.layers[i] for i, _ in drawing.routes]
    for (a, top_a), (b, top_b) in combinations(zip(ends, tops, strict=True), 2):
        if top_a == top_b:
            assert (a[0] - b[0]) * (a[1] - b[1]) >= -1e-9


def test_smooth_keeps_the_ends_and_stays_in_the_hull():
    route = np.array([[0.0, 0], [1, -1], [1, -2], [0, -3]])
    curve = smooth(route)
    np.testing.assert_array_equal(curve[[0, -1]], route[[0, -1]])
    assert (curve.min(axis=0) >= [0, -3]).all()
    assert (curve.max(axis=0) <= [1, 0]).all()
    steps = np.diff(curve, axis=0)
    angles = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    assert np.abs(np.diff(angles)).max() < np.radians(15)  # 45 in the polyline
    np.testing.assert_array_equal(smooth(route[:2]), route[:2])


def test_direct_routes_bend_around_nodes():
    positions = np.array([[0.0, 0], [1, 0], [2, 0], [2, 1]])
    edges = np.zeros((4, 4), dtype=bool)
    edges[0, 2] = edges[3, 2] = True
    routes = direct_routes(positions, edges)
    assert len(routes[3, 2]) == 2
    around = smooth(routes[0, 2])
    assert np.linalg.norm(around - positions[1], axis=1).min() > 0.1
