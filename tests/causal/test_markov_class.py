# SPDX-License-Identifier: BSD-3-Clause
"""BIC of a DAG, exact optimum, equivalent DAGs: closed forms and brute force."""

from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest

from skpapers.causal._base import residual_variances
from skpapers.causal._markov_class import (
    best_bic_dag_exact,
    bic_score,
    covered_edges,
    orient_equal_variance,
    reverse_edge,
)
from skpapers.causal._sparsify import refit_ols
from skpapers.datasets import make_linear_sem
from skpapers.metrics import dag_to_cpdag, is_dag


def table(d, seed, n=200, n_edges=None, **options):
    return make_linear_sem(n, d, n_edges, random_state=seed, **options)


def covariance(X):
    X = X - X.mean(axis=0)
    return X.T @ X / len(X)


def all_dags(d):
    pairs = [(i, j) for i in range(d) for j in range(i)]
    for states in product(range(3), repeat=len(pairs)):
        A = np.zeros((d, d), dtype=int)
        for (i, j), state in zip(pairs, states, strict=True):
            A[i, j], A[j, i] = state == 1, state == 2
        if is_dag(A):
            yield A


def residual_sums(X, A):
    X = X - X.mean(axis=0)
    sums = []
    for v in range(X.shape[1]):
        P = np.flatnonzero(A[:, v])
        coefficients = np.linalg.lstsq(X[:, P], X[:, v], rcond=None)[0]
        sums.append(((X[:, v] - X[:, P] @ coefficients) ** 2).sum())
    return np.array(sums)


def test_score_is_the_formula(global_random_seed):
    sem = table(6, global_random_seed, n_edges=8)
    n = len(sem.X)
    expected = n * np.log(residual_sums(sem.X, sem.W) / n).sum() + 3 * np.log(n) * 8
    assert bic_score(sem.X, sem.W, penalty=3.0) == pytest.approx(expected, rel=1e-12)
    C = covariance(sem.X)
    from_covariance = bic_score(C, sem.W, n_samples=n, penalty=3.0)
    assert from_covariance == pytest.approx(expected, rel=1e-12)


def test_members_of_a_class_have_one_score(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    sem = table(12, global_random_seed, n_edges=24)
    A = sem.W != 0
    cpdag, score = dag_to_cpdag(A), bic_score(sem.X, A)
    reversals = 0
    for _ in range(60):
        edges = covered_edges(A)
        if len(edges) == 0:
            break
        A = reverse_edge(A, *rng.choice(edges))
        reversals += 1
        np.testing.assert_array_equal(dag_to_cpdag(A), cpdag)
        assert bic_score(sem.X, A) == pytest.approx(score, rel=1e-9)
    assert reversals in (0, 60)


def test_covered_edges_by_definition(global_random_seed):
    A = table(8, global_random_seed, n_edges=14).W != 0
    expected = [
        (x, y)
        for x, y in np.argwhere(A)
        if set(np.flatnonzero(A[:, y])) == set(np.flatnonzero(A[:, x])) | {x}
    ]
    np.testing.assert_array_equal(
        covered_edges(A), np.array(expected, int).reshape(-1, 2)
    )
    complete = np.triu(np.ones((5, 5), bool), 1)
    np.testing.assert_array_equal(
        covered_edges(complete), [[i, i + 1] for i in range(4)]
    )


@pytest.mark.parametrize("penalty", [0.1, 2.0])
def test_exact_equals_enumeration(penalty, global_random_seed):
    sem = table(4, global_random_seed, n=40, n_edges=4)
    C = covariance(sem.X)
    dag, score = best_bic_dag_exact(C, 40, penalty=penalty)
    lowest = min(bic_score(C, A, n_samples=40, penalty=penalty) for A in all_dags(4))
    assert score == pytest.approx(lowest, abs=1e-9)
    assert bic_score(C, dag, n_samples=40, penalty=penalty) == score
    assert dag.dtype == np.int64


def test_exact_on_known_graphs():
    collider = np.array([[1.0, 0, 1], [0, 1, 1], [1, 1, 3]])
    dag, _ = best_bic_dag_exact(collider, 1000)
    np.testing.assert_array_equal(dag, [[0, 0, 1], [0, 0, 1], [0, 0, 0]])
    dag, score = best_bic_dag_exact(np.eye(12), 1000)
    assert dag.sum() == 0
    assert score == pytest.approx(0)
    dag, _ = best_bic_dag_exact([[2.0]], 10)
    np.testing.assert_array_equal(dag, [[0]])


def test_exact_with_dependent_columns_and_few_rows(global_random_seed):
    X = np.random.default_rng(global_random_seed).standard_normal((30, 5))
    X[:, 4] = X[:, 0]
    X[:, 3] = X[:, 1] - X[:, 2]
    dag, score = best_bic_dag_exact(covariance(X), 30)
    assert is_dag(dag)
    assert np.isfinite(score)
    dag, _ = best_bic_dag_exact(covariance(X[:3]), 3)
    assert dag.sum(axis=0).max() <= 1


def test_exact_is_equivariant(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    C = covariance(table(7, global_random_seed, n_edges=9).X)
    _, score = best_bic_dag_exact(C, 200)
    perm, scale = rng.permutation(7), np.exp(rng.standard_normal(7))
    _, permuted = best_bic_dag_exact(C[np.ix_(perm, perm)], 200)
    _, scaled = best_bic_dag_exact(C * scale * scale[:, None], 200)
    assert permuted == pytest.approx(score, abs=1e-8)
    assert scaled == pytest.approx(score + 400 * np.log(scale).sum(), abs=1e-8)


def test_equal_variances_keep_the_truth(global_random_seed):
    """With the population covariance the true DAG has the smallest sum, d."""
    W = table(15, global_random_seed, n_edges=30).W
    effects = np.linalg.inv(np.eye(15) - W)
    C = effects.T @ effects
    rng = np.random.default_rng(global_random_seed)
    np.testing.assert_array_equal(orient_equal_variance(C, W, n_samples=100), W != 0)
    A = W != 0
    for _ in range(3):
        edges = covered_edges(A)
        if len(edges):
            A = reverse_edge(A, *rng.choice(edges))
    oriented = orient_equal_variance(C, A, n_samples=100)
    assert residual_variances(C, refit_ols(C, oriented != 0)).sum() >= 15 - 1e-9


def test_orientation_stays_in_the_class_and_lowers_the_sum(global_random_seed):
    sem = table(10, global_random_seed, 100, 20, noise_variance=(0.2, 5.0))
    A = (sem.W != 0).astype(int)
    oriented = orient_equal_variance(sem.X, A)
    np.testing.assert_array_equal(dag_to_cpdag(oriented), dag_to_cpdag(A))
    before, after = (residual_sums(sem.X, graph).sum() for graph in (A, oriented))
    assert after <= before * (1 + 1e-12)
    edges = covered_edges(oriented != 0)
    for x, y in edges:
        other = reverse_edge(oriented != 0, x, y)
        assert residual_sums(sem.X, other).sum() >= after * (1 - 1e-8)
    from_covariance = orient_equal_variance(covariance(sem.X), A, n_samples=100)
    np.testing.assert_array_equal(from_covariance, oriented)


def test_chain_is_oriented_from_every_member():
    C = np.array([[1.0, 1, 1], [1, 2, 2], [1, 2, 3]])  # 0 -> 1 -> 2
    for order in permutations(range(3)):
        if order[2] == 1:  # a collider at 1, another class
            continue
        A = np.zeros((3, 3), int)
        place = np.argsort(order)
        for i, j in ((0, 1), (1, 2)):
            A[(i, j) if place[i] < place[j] else (j, i)] = 1
        oriented = orient_equal_variance(C, A, n_samples=10)
        np.testing.assert_array_equal(oriented, [[0, 1, 0], [0, 0, 1], [0, 0, 0]])


def test_frames():
    sem = table(4, 0, n_edges=4)
    names = list("abcd")
    X = pd.DataFrame(sem.X, columns=names)
    A = pd.DataFrame((sem.W != 0).astype(int), index=names, columns=names)
    oriented = orient_equal_variance(X, A)
    assert list(oriented.columns) == names
    assert bic_score(X, A) == pytest.approx(bic_score(sem.X, sem.W), rel=1e-12)
    with pytest.raises(ValueError, match="same column names"):
        bic_score(X[list("abdc")], A)


def test_bad_input():
    C, A = np.eye(3), np.zeros((3, 3))
    cycle = np.roll(np.eye(3), 1, axis=1)
    with pytest.raises(ValueError, match="cycle|acyclic"):
        bic_score(C, cycle, n_samples=10)
    with pytest.raises(ValueError, match="same nodes"):
        bic_score(C, np.zeros((2, 2)), n_samples=10)
    with pytest.raises(ValueError, match="symmetric"):
        bic_score(np.triu(np.ones((3, 3))), A, n_samples=10)
    with pytest.raises(ValueError, match=r"columns \[1\] are constant"):
        orient_equal_variance(np.diag([1.0, 0, 1]), A, n_samples=10)
    with pytest.raises(ValueError, match="n_samples"):
        bic_score(C, A, n_samples=1)
    with pytest.raises(ValueError, match="penalty"):
        best_bic_dag_exact(C, 10, penalty=-1)
    with pytest.raises(ValueError, match="too many"):
        best_bic_dag_exact(np.eye(13), 10)
