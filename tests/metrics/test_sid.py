# SPDX-License-Identifier: BSD-3-Clause
"""Structural intervention distance: definition, brute force, gadjid, bounds."""

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skpapers.metrics import (
    cpdag_to_dag,
    dag_to_cpdag,
    is_dag,
    structural_intervention_distance,
)
from skpapers.metrics._sid import orientations


def edges(d, *pairs):
    A = np.zeros((d, d), dtype=np.int8)
    for i, j in pairs:
        A[i, j] = 1
    return A


def random_dag(d, density, rng):
    A = np.triu(rng.random((d, d)) < density, 1)
    labels = rng.permutation(d)
    return A[np.ix_(labels, labels)].astype(np.int8)


def all_dags(d):
    off_diagonal = ~np.eye(d, dtype=bool)
    for entries in itertools.product([0, 1], repeat=d * (d - 1)):
        A = np.zeros((d, d), dtype=np.int8)
        A[off_diagonal] = entries
        if is_dag(A):
            yield A


def distance_by_definition(true, est):
    """Check every ordered pair against the wording of the definition."""
    d = len(true)
    graph = nx.from_numpy_array(true, create_using=nx.DiGraph)
    below = {v: nx.descendants(graph, v) for v in range(d)}
    wrong = 0
    for i, j in itertools.permutations(range(d), 2):
        P = set(np.flatnonzero(est[:, i]).tolist())
        if j in P:
            wrong += j in below[i]
            continue
        causal = {v for v in range(d) if v in below[i] and (v == j or j in below[v])}
        forbidden = causal.union(*(below[v] for v in causal))
        proper = graph.copy()
        proper.remove_edges_from([(i, v) for v in causal])
        wrong += bool(P & forbidden) or not nx.is_d_separator(proper, {i}, {j}, P)
    return wrong


chain = edges(3, (0, 1), (1, 2))
diamond = edges(4, (0, 1), (1, 2), (0, 3), (2, 3))
peters = edges(5, (0, 1), *itertools.product([0, 1], [2, 3, 4]))
WORKED = [
    (edges(2, (0, 1)), edges(2), 1),
    (edges(2, (0, 1)), edges(2, (1, 0)), 2),
    (edges(2), edges(2, (0, 1)), 0),
    (chain, edges(3), 3),
    (chain, chain.T, 6),
    (chain, edges(3, (0, 1), (1, 2), (0, 2)), 0),
    (chain, edges(3, (0, 1), (2, 1)), 3),
    (edges(3, (0, 1), (2, 1)), chain, 3),
    (edges(3, (1, 0), (1, 2)), chain, 3),
    (edges(3, (0, 2), (1, 2)), edges(3, (0, 2), (2, 1)), 3),
    (diamond, edges(4, (1, 0), (1, 2), (0, 3), (2, 3)), 5),
    (diamond, diamond + edges(4, (0, 2)), 0),
    (diamond + edges(4, (0, 2)), diamond, 2),
    (diamond, diamond - edges(4, (2, 3)), 2),
    (diamond - edges(4, (2, 3)), diamond, 0),
    (diamond, edges(4), 8),
    (edges(4), diamond, 0),
    (peters, peters + edges(5, (2, 3)), 0),
    (peters, peters - edges(5, (0, 1)) + edges(5, (1, 0)), 8),
]


@pytest.mark.kernels
@pytest.mark.parametrize(("true", "est", "expected"), WORKED)
def test_worked_examples(true, est, expected):
    distance = structural_intervention_distance(true, est)
    assert distance == expected
    assert isinstance(distance, int)
    assert distance_by_definition(true, est) == expected


@pytest.mark.kernels
def test_all_pairs_of_three_nodes_by_definition():
    dags = list(all_dags(3))
    for true, est in itertools.product(dags, dags):
        expected = distance_by_definition(true, est)
        assert structural_intervention_distance(true, est) == expected


@pytest.mark.kernels
def test_pairs_of_four_and_six_nodes_by_definition(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    dags = list(all_dags(4))
    for _ in range(300):
        true, est = (dags[k] for k in rng.integers(len(dags), size=2))
        expected = distance_by_definition(true, est)
        assert structural_intervention_distance(true, est) == expected
    for _ in range(30):
        true, est = random_dag(6, rng.random(), rng), random_dag(6, rng.random(), rng)
        expected = distance_by_definition(true, est)
        assert structural_intervention_distance(true, est) == expected


@pytest.mark.parametrize(("d", "n_pairs"), [(None, 1000), (40, 30), (100, 3)])
def test_agrees_with_gadjid(d, n_pairs, global_random_seed):
    gadjid = pytest.importorskip("gadjid")
    rng = np.random.default_rng([global_random_seed, d or 0])
    for _ in range(n_pairs):
        n_nodes = d or int(rng.integers(2, 16))
        # Dense and sparse graphs, and estimates that share much with the truth.
        true = random_dag(n_nodes, rng.random() ** 2, rng)
        est = random_dag(n_nodes, rng.random() ** 2, rng)
        if rng.random() < 0.5:
            est = np.where(rng.random(true.shape) < 0.8, true, 0).astype(np.int8)
        share, count = gadjid.sid(true, est, edge_direction="from row to column")
        assert structural_intervention_distance(true, est) == count
        assert count == round(share * n_nodes * (n_nodes - 1))


@pytest.mark.kernels
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 9), density=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_invariants(seed, d, density):
    rng = np.random.default_rng(seed)
    true, est = random_dag(d, density, rng), random_dag(d, rng.random(), rng)
    distance = structural_intervention_distance(true, est)
    assert 0 <= distance <= d * (d - 1)
    assert structural_intervention_distance(true, true) == 0
    # More edges along the same order cannot hurt.
    rank = np.argsort(list(nx.topological_sort(nx.DiGraph(true))))
    room = rank[:, None] < rank[None, :]
    larger = true | (room & (rng.random((d, d)) < 0.5))
    assert structural_intervention_distance(true, larger) == 0
    labels = rng.permutation(d)
    relabelled = (A[np.ix_(labels, labels)] for A in (true, est))
    assert structural_intervention_distance(*relabelled) == distance


@pytest.mark.kernels
@pytest.mark.parametrize("d", [3, 4])
def test_bounds_over_the_class_by_enumeration(d, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    classes = {}
    for dag in all_dags(d):
        classes.setdefault(dag_to_cpdag(dag).tobytes(), []).append(dag)
    truths = [members[0] for members in classes.values()]
    for key, members in classes.items():
        est = np.frombuffer(key, dtype=np.int8).reshape(d, d)
        true = truths[rng.integers(len(truths))]
        all_of_them = [structural_intervention_distance(true, m) for m in members]
        result = structural_intervention_distance(true, est)
        if len(members) == 1:
            assert result == all_of_them[0]
        else:
            assert result == (min(all_of_them), max(all_of_them))


def test_bounds_of_several_parts(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    # Two chains and a settled collider: 3 * 4 members.
    est = edges(10, (0, 1), (1, 2), (3, 4), (4, 5), (5, 6))
    est = est + est.T + edges(10, (7, 8), (9, 8))
    members = []
    for first, second in itertools.product(range(3), range(3, 7)):
        tree = nx.DiGraph()
        tree.add_nodes_from(range(10))
        graph = nx.Graph(est[:7, :7])
        for root in (first, second):
            tree.add_edges_from(nx.bfs_edges(graph, root))
        tree.add_edges_from([(7, 8), (9, 8)])
        members.append(nx.to_numpy_array(tree, nodelist=range(10), dtype=np.int8))
    for member in members:
        np.testing.assert_array_equal(dag_to_cpdag(member), est)
    for _ in range(5):
        true = random_dag(10, 0.3, rng)
        distances = [structural_intervention_distance(true, m) for m in members]
        bounds = structural_intervention_distance(true, est)
        assert bounds == (min(distances), max(distances))


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_number_of_orientations_of_complete_graphs_and_stars(k):
    complete = [(2**k - 1) & ~(1 << v) for v in range(k)]
    found = orientations(complete, 1000)
    assert len(found) == len(set(found)) == [1, 2, 6, 24, 120][k - 1]
    star = [2 ** (k + 1) - 2] + [1] * k
    found = orientations(star, 1000)
    assert len(found) == len(set(found)) == k + 1  # one for each root


def test_too_many_members():
    est = 1 - np.eye(9)
    with pytest.raises(ValueError, match="max_members=10000 .*9 nodes"):
        structural_intervention_distance(np.zeros((9, 9)), est)
    with pytest.raises(ValueError, match="max_members=5 "):
        structural_intervention_distance(chain, 1 - np.eye(3), max_members=5)
    # A complete estimate in any order contains some DAG: best 0, and at worst
    # the reversal.
    reversal = np.tril(np.ones((3, 3)), -1)
    worst = structural_intervention_distance(chain, reversal)
    bounds = structural_intervention_distance(chain, 1 - np.eye(3), max_members=6)
    assert bounds == (0, worst)


def test_incomplete_estimate_must_be_completed():
    pdag = edges(3, (0, 1), (1, 2), (2, 1))  # 0 -> 1 - 2: Meek's first rule applies
    with pytest.raises(ValueError, match="Complete it"):
        structural_intervention_distance(chain, pdag)
    completed = dag_to_cpdag(cpdag_to_dag(pdag))
    assert structural_intervention_distance(chain, completed) == (0, 6)


@pytest.mark.parametrize(
    ("true", "est", "match"),
    [
        (chain + chain.T, chain, "true must be acyclic.*0 -> 1 -> 0"),
        (chain, np.roll(np.eye(3), 1, axis=1), "edges of est must be acyclic"),
        (chain, np.eye(3), "est has a self loop at node 0"),
        (chain, np.zeros((4, 4)), "true and est must have the same nodes, got 3 and 4"),
        (chain, np.zeros((3, 2)), "est must be a square"),
        (np.full((3, 3), np.nan), chain, "true contains NaN"),
        (chain, chain.T - chain, "est holds the entry -1"),
        (chain, 2 * (chain + chain.T), "est holds the entry 2"),
    ],
)
def test_bad_graphs(true, est, match):
    with pytest.raises(ValueError, match=match):
        structural_intervention_distance(true, est)


def test_bad_max_members():
    with pytest.raises(TypeError, match="max_members"):
        structural_intervention_distance(chain, chain, max_members=1.5)
    with pytest.raises(ValueError, match="max_members"):
        structural_intervention_distance(chain, chain, max_members=0)
