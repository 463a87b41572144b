"""Classes of graphs under prior knowledge, against a list of all their members."""

from itertools import product

import numpy as np
import pytest

from skpapers.causal import TopologicalSwap
from skpapers.causal._edge_classes import allowed_edges, edges_of, orient, reachable
from skpapers.causal._knowledge import edge_knowledge
from skpapers.datasets import make_linear_sem, random_dag
from skpapers.metrics import dag_to_cpdag, is_dag


def members(cpdag):
    """Return all graphs of a class, by trying every direction of its open edges."""
    free = np.argwhere(np.triu((cpdag != 0) & (cpdag != 0).T))
    found = []
    for turns in product([False, True], repeat=len(free)):
        graph = (cpdag != 0) & ~(cpdag != 0).T
        for (i, j), turned in zip(free, turns, strict=True):
            graph[(j, i) if turned else (i, j)] = True
        if is_dag(graph) and np.array_equal(dag_to_cpdag(graph), cpdag):
            found.append(graph)
    return np.array(found)


def test_all_that_follows_is_directed(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    n_directed = 0
    for d, n_edges in ((4, 5), (5, 6), (5, 9), (6, 8)) * 12:
        seed = int(rng.integers(2**31))
        graph = random_dag(d, n_edges, random_state=seed) != 0
        cpdag = dag_to_cpdag(graph)
        forbidden = (rng.random((d, d)) < 0.25) & ~graph
        allowed, _ = edge_knowledge(range(d), forbidden_edges=forbidden)
        possible = [g for g in members(cpdag) if not (g & ~allowed).any()]
        both = (cpdag != 0) & (cpdag != 0).T
        directed, undirected = orient((cpdag != 0) & ~both, both, allowed)
        np.testing.assert_array_equal(directed, np.all(possible, axis=0))
        np.testing.assert_array_equal(
            directed | undirected | undirected.T, np.any(possible, axis=0)
        )
        n_directed += int((directed & both).sum())
    assert n_directed > 10


def test_no_knowledge_changes_nothing():
    cpdag = dag_to_cpdag(np.eye(4, k=1))
    everything = np.ones((4, 4), dtype=bool)
    directed, undirected = orient(cpdag == 2, cpdag != 0, everything)
    assert not directed.any()
    np.testing.assert_array_equal(undirected, cpdag != 0)


def test_knowledge_of_a_learner():
    X = make_linear_sem(300, 3, n_edges=3, random_state=0).X  # complete: all open
    free = TopologicalSwap("bic", random_state=0).fit(X)
    assert allowed_edges(free) is None
    assert edges_of(free, 3)[2].sum() == 6
    learner = TopologicalSwap("bic", tiers=[[2], [0, 1]], random_state=0).fit(X)
    _, directed, undirected = edges_of(learner, 3, allowed_edges(learner))
    np.testing.assert_array_equal(np.argwhere(directed), [[2, 0], [2, 1]])
    np.testing.assert_array_equal(np.argwhere(undirected), [[0, 1], [1, 0]])


@pytest.mark.parametrize("d", [1, 9])
def test_reachable(d):
    chain = np.eye(d, k=1, dtype=bool)
    np.testing.assert_array_equal(reachable(chain), np.triu(np.ones((d, d)), 1) > 0)


def test_no_graph_has_no_edges():
    assert not any(part.any() for part in edges_of(None, 3))
