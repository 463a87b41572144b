# SPDX-License-Identifier: BSD-3-Clause
"""Edge scores: worked examples, conventions, invariants, bad input."""

import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skpapers.metrics import (
    adjacency_error,
    cpdag_structural_hamming_distance,
    dag_metrics,
    dag_to_cpdag,
    noise_error,
    structural_hamming_distance,
    structural_intervention_distance,
)


def edges(d, *pairs):
    A = np.zeros((d, d), dtype=np.int8)
    for i, j in pairs:
        A[i, j] = 1
    return A


def random_dag(d, density, rng):
    A = np.triu(rng.random((d, d)) < density, 1)
    labels = rng.permutation(d)
    return A[np.ix_(labels, labels)].astype(np.int8)


chain = edges(3, (0, 1), (1, 2))
collider = edges(3, (0, 1), (2, 1))
diamond = edges(4, (0, 1), (1, 2), (0, 3), (2, 3))
peters = edges(5, (0, 1), *itertools.product([0, 1], [2, 3, 4]))
# true, estimate, SHD, SHD-C
WORKED = [
    (edges(2, (0, 1)), edges(2), 1, 1),
    (edges(2, (0, 1)), edges(2, (1, 0)), 1, 0),
    (edges(2), edges(2, (0, 1)), 1, 1),
    (chain, edges(3), 2, 2),
    (chain, chain.T, 2, 0),
    # Both classes are undirected throughout, and differ in the edge 0 - 2 only.
    (chain, edges(3, (0, 1), (1, 2), (0, 2)), 1, 1),
    (chain, collider, 1, 2),
    (collider, chain, 1, 2),
    (edges(3, (1, 0), (1, 2)), chain, 1, 0),
    (edges(3, (0, 2), (1, 2)), edges(3, (0, 2), (2, 1)), 1, 2),
    (diamond, edges(4, (1, 0), (1, 2), (0, 3), (2, 3)), 1, 0),
    (diamond, diamond + edges(4, (0, 2)), 1, 3),
    (diamond, diamond - edges(4, (2, 3)), 1, 2),
    (diamond, edges(4), 4, 4),
    (peters, peters + edges(5, (2, 3)), 1, None),
    (peters, peters - edges(5, (0, 1)) + edges(5, (1, 0)), 1, 0),
]


@pytest.mark.kernels
@pytest.mark.parametrize(("true", "est", "shd", "shd_cpdag"), WORKED)
def test_worked_examples(true, est, shd, shd_cpdag):
    for first, second in [(true, est), (est, true)]:
        distance = structural_hamming_distance(first, second)
        assert distance == shd
        assert isinstance(distance, int)
        if shd_cpdag is not None:
            assert cpdag_structural_hamming_distance(first, second) == shd_cpdag


def test_distances_between_cpdags():
    line = dag_to_cpdag(chain)
    assert structural_hamming_distance(line, line) == 0
    assert structural_hamming_distance(chain, line) == 2
    assert structural_hamming_distance(line, collider) == 2
    assert structural_hamming_distance(line, edges(3, (0, 2))) == 3
    assert cpdag_structural_hamming_distance(chain, line) == 0
    assert cpdag_structural_hamming_distance(line, collider) == 2
    # 0 -> 1 - 2 has the only extension 0 -> 1 -> 2.
    pdag = edges(3, (0, 1), (1, 2), (2, 1))
    assert cpdag_structural_hamming_distance(chain, pdag) == 0


def test_conventions_of_the_edge_scores():
    # Hits 0->1, 2->3; 1->2 reversed; 0->3 missing; 1->3 false: d = 4, 6 pairs.
    est = edges(4, (0, 1), (2, 1), (2, 3), (1, 3))
    scores = dag_metrics(diamond, est)
    expected = {
        "shd": 3,
        "shd_cpdag": cpdag_structural_hamming_distance(diamond, est),
        "sid": structural_intervention_distance(diamond, est),
        "tpr": 2 / 4,
        "fdr": (1 + 1) / 4,
        "fpr": (1 + 1) / (6 - 4),
        "precision": 2 / 4,
        "recall": 2 / 4,
        "f1": 4 / 8,
        "n_edges": 4,
    }
    assert list(scores) == list(expected)
    assert scores == expected
    assert {type(value) for value in scores.values()} == {int, float}


def test_empty_and_complete_graphs():
    empty, full = edges(3), np.triu(np.ones((3, 3), dtype=np.int8), 1)
    scores = dag_metrics(empty, empty)
    assert all(value == 0 for value in scores.values())
    scores = dag_metrics(full, empty)
    assert scores["precision"] == scores["f1"] == scores["fdr"] == scores["tpr"] == 0
    scores = dag_metrics(full, full.T)  # no pair is free: the denominator is 1
    assert (scores["fpr"], scores["fdr"], scores["shd"]) == (3.0, 1.0, 3)
    scores = dag_metrics(empty, full)
    assert (scores["tpr"], scores["fpr"], scores["fdr"]) == (0.0, 1.0, 1.0)
    assert dag_metrics([[0]], [[0]])["sid"] == 0


def test_undirected_edges_of_the_estimate():
    scores = dag_metrics(chain, dag_to_cpdag(chain))
    assert (scores["tpr"], scores["fdr"], scores["f1"]) == (1.0, 0.0, 1.0)
    assert scores["n_edges"] == 2
    assert (scores["shd"], scores["shd_cpdag"], scores["sid"]) == (2, 0, (0, 6))
    # 0 - 2 joins nodes that are not adjacent: a false edge, not a reversal.
    scores = dag_metrics(chain, edges(3, (0, 2), (2, 0)))
    assert (scores["tpr"], scores["fdr"], scores["fpr"]) == (0.0, 1.0, 1.0)


def test_threshold_of_the_estimate():
    est = np.array([[0, 0.9, -0.1], [0, 0, -0.3], [0.05, 0, 0]])
    assert dag_metrics(chain, est, threshold=0.2)["shd"] == 0
    assert dag_metrics(chain, est, threshold=0.3)["n_edges"] == 1
    with pytest.raises(ValueError, match="est"):
        dag_metrics(chain, est)


@pytest.mark.kernels
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 8), density=st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_invariants(seed, d, density):
    rng = np.random.default_rng(seed)
    true, est = random_dag(d, density, rng), random_dag(d, rng.random(), rng)
    scores = dag_metrics(true, est)
    labels = np.ix_(*[rng.permutation(d)] * 2)
    assert dag_metrics(true[labels], est[labels]) == scores
    weights = est * rng.choice([-1, 1], (d, d)) * rng.uniform(0.5, 2, (d, d))
    assert dag_metrics(true * 0.25, weights) == scores
    assert dag_metrics(true.astype(bool), est.tolist()) == scores

    for distance in (structural_hamming_distance, cpdag_structural_hamming_distance):
        assert distance(true, est) == distance(est, true)
        assert distance(true, true) == 0
    assert (scores["shd"] == 0) == bool((true == est).all())
    same_class = bool((dag_to_cpdag(true) == dag_to_cpdag(est)).all())
    assert (scores["shd_cpdag"] == 0) == same_class
    # Every pair that differs is missing, false or reversed.
    n_hits = round(scores["recall"] * max(true.sum(), 1))
    skeleton = ((true | true.T) & (est | est.T)).sum() // 2
    n_true, n_edges = true.sum(), scores["n_edges"]
    assert scores["shd"] == n_true + n_edges - skeleton - n_hits


def test_frames():
    names = list("abc")
    true = pd.DataFrame(chain, columns=names, index=names)
    est = pl.DataFrame(chain.T, schema=names, orient="row")
    assert dag_metrics(true, est) == dag_metrics(chain, chain.T)
    assert structural_hamming_distance(true, chain) == 0
    other = pd.DataFrame(chain, columns=["b", "a", "c"])
    for metric in (
        structural_hamming_distance,
        cpdag_structural_hamming_distance,
        structural_intervention_distance,
        dag_metrics,
    ):
        with pytest.raises(ValueError, match="same column names in the same order"):
            metric(true, other)


def test_read_only_and_object_input():
    true = chain.astype(object)
    est = chain.astype(np.float32)
    est.flags.writeable = False
    assert dag_metrics(true, est)["shd"] == 0


BAD = [
    (chain, np.zeros((4, 4)), "same nodes, got 3 and 4"),
    (chain, np.zeros((3, 2)), "est must be a square"),
    (np.zeros((3, 2)), chain, "true must be a square"),
    (chain, np.where(chain, np.nan, 0), "est contains NaN"),
    (chain, np.where(chain, np.inf, 0), "est contains infinity"),
    (np.roll(np.eye(3), 1, axis=1), chain, "true must be acyclic.*0 -> 1 -> 2 -> 0"),
    (chain, np.roll(np.eye(3), 1, axis=1), "est must be acyclic.*0 -> 1 -> 2 -> 0"),
    (chain, np.eye(3), "est has a self loop"),
    (chain, chain.T - chain, "est holds the entry -1"),
    (chain, 0.4 * chain + 0.2 * chain.T, "est holds the entry 0.4"),
]


@pytest.mark.parametrize(("true", "est", "match"), BAD)
@pytest.mark.parametrize(
    "metric",
    [structural_hamming_distance, cpdag_structural_hamming_distance, dag_metrics],
)
def test_bad_graphs(metric, true, est, match):
    with pytest.raises(ValueError, match=match):
        metric(true, est)


def test_class_without_members():
    square = np.roll(np.eye(4), 1, axis=1)
    square = square + square.T
    with pytest.raises(ValueError, match="undirected edges of est cannot be directed"):
        cpdag_structural_hamming_distance(diamond, square)
    assert structural_hamming_distance(diamond, square) == 4


@pytest.mark.parametrize("threshold", [-1, np.nan])
def test_bad_threshold(threshold):
    with pytest.raises(ValueError, match="threshold must be >= 0"):
        dag_metrics(chain, chain, threshold=threshold)
    with pytest.raises(TypeError, match="threshold must be a number"):
        dag_metrics(chain, chain, threshold="0")


def test_adjacency_error(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    W, V = rng.normal(size=(2, 6, 6))
    expected = ((W - V) ** 2).sum() / (W**2).sum()
    assert adjacency_error(W, V) == pytest.approx(expected)
    assert adjacency_error(W, W) == 0
    assert adjacency_error(W, np.zeros_like(W)) == pytest.approx(1)
    for scale in (1e-200, 1e200):  # squares would under- or overflow
        assert adjacency_error(scale * W, scale * V) == pytest.approx(expected)
    assert adjacency_error(0 * W, 0 * W) == 0
    assert adjacency_error(0 * W, W) == np.inf
    with pytest.raises(ValueError, match="W_true and W_est must have the same nodes"):
        adjacency_error(W, V[:5, :5])
    with pytest.raises(ValueError, match="W_est contains NaN"):
        adjacency_error(W, np.full_like(W, np.nan))


def test_noise_error(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    sigma, other = rng.uniform(0.5, 2, (2, 7))
    expected = np.linalg.norm(other - sigma) / np.linalg.norm(sigma)
    assert noise_error(sigma, other) == pytest.approx(expected)
    assert noise_error(sigma.tolist(), pd.Series(sigma)) == 0
    assert noise_error(2.0, 3.0) == pytest.approx(0.5)
    assert noise_error(np.full(4, 2.0), 3.0) == pytest.approx(0.5)
    assert noise_error(2, np.full(4, 3)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("sigma_true", "sigma_est", "match"),
    [
        ([1, 2], [1, 2, 3], "same length, got 2 and 3"),
        ([1, -2], [1, 2], "sigma_true must be >= 0, got -2"),
        ([1, 2], [1, np.nan], "sigma_est contains NaN"),
        ([[1, 2]], [1, 2], r"sigma_true must be a number or one-dimensional.*\(1, 2\)"),
        ([0, 0], [1, 2], "positive entry"),
        ([], [], "0 sample"),
    ],
)
def test_bad_noise(sigma_true, sigma_est, match):
    with pytest.raises(ValueError, match=match):
        noise_error(sigma_true, sigma_est)
