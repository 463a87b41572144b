# SPDX-License-Identifier: BSD-3-Clause
"""Equivalence classes: enumeration, Meek's rules, extensions."""

import itertools

import networkx as nx
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skpapers.metrics import cpdag_to_dag, dag_to_cpdag, is_dag


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


def colliders(dag):
    """Set of unshielded colliders i -> k <- j, i < j."""
    d = len(dag)
    return frozenset(
        (i, k, j)
        for k in range(d)
        for i, j in itertools.combinations(np.flatnonzero(dag[:, k]).tolist(), 2)
        if not dag[i, j] and not dag[j, i]
    )


def meek_closure(dag):
    """CPDAG from the unshielded colliders by Meek's rules 1 to 3."""
    d = len(dag)
    P = dag | dag.T
    near = P.astype(bool)
    for i, k, j in colliders(dag):
        P[k, i] = P[k, j] = 0

    def arrow(a, b):
        return P[a, b] and not P[b, a]

    def line(a, b):
        return P[a, b] and P[b, a]

    def is_forced(a, b):
        others = [c for c in range(d) if c not in (a, b)]
        return (
            any(arrow(c, a) and not near[c, b] for c in others)
            or any(arrow(a, c) and arrow(c, b) for c in others)
            or any(
                line(a, c) and line(a, e) and arrow(c, b) and arrow(e, b)
                for c, e in itertools.combinations(others, 2)
                if not near[c, e]
            )
        )

    changed = True
    while changed:
        changed = False
        for a, b in itertools.permutations(range(d), 2):
            if line(a, b) and is_forced(a, b):
                P[b, a] = 0
                changed = True
    return P


@pytest.mark.kernels
@pytest.mark.parametrize(
    ("d", "n_dags", "n_classes"), [(1, 1, 1), (2, 3, 2), (3, 25, 11), (4, 543, 185)]
)
def test_enumerated_classes(d, n_dags, n_classes):
    # Equivalence by its criterion: same adjacencies, same unshielded colliders.
    members = {}
    for dag in all_dags(d):
        members.setdefault(((dag | dag.T).tobytes(), colliders(dag)), []).append(dag)
    assert sum(map(len, members.values())) == n_dags
    assert len(members) == n_classes
    for group in members.values():
        union = np.any(group, axis=0).astype(np.int8)  # both ways if they disagree
        for dag in group:
            P = dag_to_cpdag(dag)
            assert P.dtype == np.int8
            np.testing.assert_array_equal(P, union)
        member = cpdag_to_dag(union)
        assert any((member == dag).all() for dag in group)


@pytest.mark.kernels
def test_cpdag_agrees_with_meek_closure(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    for _ in range(60):
        dag = random_dag(rng.integers(1, 10), rng.random(), rng)
        np.testing.assert_array_equal(dag_to_cpdag(dag), meek_closure(dag))


@pytest.mark.kernels
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 15), density=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_round_trip_and_relabelling(seed, d, density):
    rng = np.random.default_rng(seed)
    dag = random_dag(d, density, rng)
    P = dag_to_cpdag(dag)
    member = cpdag_to_dag(P)
    assert is_dag(member)
    np.testing.assert_array_equal(member | member.T, dag | dag.T)
    assert colliders(member) == colliders(dag)
    np.testing.assert_array_equal(dag_to_cpdag(member), P)
    labels = rng.permutation(d)
    relabelled = dag_to_cpdag(dag[np.ix_(labels, labels)])
    np.testing.assert_array_equal(relabelled, P[np.ix_(labels, labels)])


@pytest.mark.kernels
def test_extension_of_partly_directed_graphs_by_enumeration(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    n_without = 0
    for _ in range(150):
        d = rng.integers(2, 6)
        P = random_dag(d, rng.random(), rng)
        P |= P.T * (rng.random((d, d)) < 0.6)
        lines = [(i, j) for i, j in zip(*np.nonzero(P & P.T), strict=True) if i < j]
        fixed = P & ~P.T & 1
        possible = set()
        for forward in itertools.product([True, False], repeat=len(lines)):
            dag = fixed.copy()
            for (i, j), keep in zip(lines, forward, strict=True):
                dag[(i, j) if keep else (j, i)] = 1
            # Unshielded colliders must have both arrows from the start.
            if is_dag(dag) and all(
                fixed[i, k] and fixed[j, k] for i, k, j in colliders(dag)
            ):
                possible.add(dag.tobytes())
        if possible:
            assert cpdag_to_dag(P).tobytes() in possible
        else:
            n_without += 1
            with pytest.raises(ValueError, match="undirected edges of P cannot"):
                cpdag_to_dag(P)
    assert 0 < n_without < 150


def test_large_graph_keeps_skeleton_and_colliders(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    dag = random_dag(150, 8 / 150, rng)
    P = dag_to_cpdag(dag)
    member = cpdag_to_dag(P)
    assert colliders(member) == colliders(dag)
    np.testing.assert_array_equal(dag_to_cpdag(member), P)


def test_undirected_trees_and_cycles():
    tree = nx.to_numpy_array(nx.balanced_tree(2, 5), dtype=np.int8)
    dag = cpdag_to_dag(tree)
    assert is_dag(dag)
    assert dag.sum(axis=0).max() == 1  # one parent at most: no collider
    np.testing.assert_array_equal(dag_to_cpdag(dag), tree)
    square = nx.to_numpy_array(nx.cycle_graph(4))
    with pytest.raises(ValueError, match="stands for no Markov equivalence class"):
        cpdag_to_dag(square)


def test_weights_and_frames():
    names = ["a", "b", "c"]
    W = np.array([[0, -0.5, 0], [0, 0, 2.0], [0, 0, 0]])
    line = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    np.testing.assert_array_equal(dag_to_cpdag(W), line)
    P = dag_to_cpdag(pd.DataFrame(W, index=names, columns=names))
    pd.testing.assert_frame_equal(
        P, pd.DataFrame(line, index=names, columns=names, dtype=np.int8)
    )
    assert list(cpdag_to_dag(P).columns) == names
    P = dag_to_cpdag(pl.DataFrame(W, schema=names, orient="row"))
    assert P.columns == names
    assert P.to_numpy().tolist() == line
    np.testing.assert_array_equal(cpdag_to_dag(np.triu(np.ones((3, 3), bool), 1)), [
        [0, 1, 1],
        [0, 0, 1],
        [0, 0, 0],
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("P", "match"),
    [
        ([[0, -1], [0, 0]], "P holds the entry -1"),
        ([[0, -1], [1, 0]], "P holds the entry -1"),
        ([[0, 2], [2, 0]], "P holds the entry 2"),
        ([[0, 0.5], [0, 0]], "P holds the entry 0.5"),
        ([[1, 0], [0, 0]], "P has a self loop at node 0"),
        ([[0, np.nan], [0, 0]], "P contains NaN"),
        (np.roll(np.eye(3), 1, axis=1), "directed edges of P must be acyclic"),
        (np.zeros((2, 3)), "P must be a square"),
    ],
)
def test_bad_cpdag(P, match):
    with pytest.raises(ValueError, match=match):
        cpdag_to_dag(P)


@pytest.mark.parametrize(
    ("A", "match"),
    [
        ([[0, 1], [1, 0]], "A must be acyclic.*0 -> 1 -> 0"),
        ([[0, np.nan], [0, 0]], "A contains NaN"),
        (np.zeros((2, 3)), "A must be a square"),
    ],
)
def test_bad_dag(A, match):
    with pytest.raises(ValueError, match=match):
        dag_to_cpdag(A)
