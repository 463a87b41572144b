# SPDX-License-Identifier: BSD-3-Clause
"""Order agreement by definition, variances and coefficients of determination."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from skpapers.metrics import order_agreement, r2_sortability, variance_sortability
from skpapers.metrics._sortability import _unexplained_fractions

chain = np.eye(3, k=1)


def random_dag(d, density, rng):
    A = np.triu(rng.random((d, d)) < density, 1)
    labels = rng.permutation(d)
    return A[np.ix_(labels, labels)]


def agreement_by_definition(scores, A, tol):
    """Walk through the powers of the matrix."""
    d = len(A)
    walks, right, total = np.eye(d, dtype=bool), 0.0, 0
    for _ in range(d - 1):
        walks = (walks.astype(int) @ A.astype(int)) > 0
        for i, j in np.argwhere(walks):
            a, b = scores[i], scores[j]
            total += 1
            if abs(a - b) <= tol * max(abs(a), abs(b)):
                right += 0.5
            elif a < b:
                right += 1
    return right / total if total else np.nan


@pytest.mark.kernels
def test_worked_example():
    assert order_agreement([1, 2, 1.5], chain) == pytest.approx(2 / 3)
    assert order_agreement([1, 2, 3], chain) == 1
    assert order_agreement([3, 2, 1], chain) == 0
    assert order_agreement([2, 2, 2], chain) == 0.5
    # 0 -> 2 counts twice: walks of one and of two edges.
    assert order_agreement([1, 3, 2], np.triu(np.ones((3, 3)), 1)) == 3 / 4


@pytest.mark.kernels
def test_agreement_by_definition(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    for _ in range(60):
        A = random_dag(rng.integers(1, 10), rng.random(), rng)
        scores = rng.choice([-1.0, 0.0, 1.0, 1.005, 2.0], size=len(A))
        for tol in (0.0, 0.01):
            np.testing.assert_allclose(
                order_agreement(scores, A * 0.5, tol),
                agreement_by_definition(scores, A, tol),
                rtol=1e-12,
            )


@pytest.mark.kernels
@pytest.mark.parametrize("d", [64, 65, 130])
def test_lengths_beyond_one_word_of_bits(d):
    # In a chain with one shortcut every pair across it has two lengths.
    A = np.eye(d, k=1)
    A[0, 2] = 1
    scores = np.zeros(d)
    scores[0] = -1
    n_pairs = d * (d - 1) // 2
    n_double = d - 2
    right = (d - 1) + n_double + 0.5 * (n_pairs - (d - 1))
    expected = right / (n_pairs + n_double)
    assert order_agreement(scores, A) == pytest.approx(expected, rel=1e-12)


@pytest.mark.kernels
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(2, 9), density=st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_invariants(seed, d, density):
    rng = np.random.default_rng(seed)
    A = random_dag(d, density, rng)
    X = rng.normal(size=(30, d)) @ rng.normal(size=(d, d))
    scores = rng.normal(size=d)
    value = order_agreement(scores, A)
    if not A.any():
        assert np.isnan(value)
        return
    labels = rng.permutation(d)
    moved = A[np.ix_(labels, labels)]
    assert order_agreement(scores[labels], moved) == pytest.approx(value)
    assert order_agreement(-scores, A) == pytest.approx(1 - value)
    assert order_agreement(scores, A.T) == pytest.approx(1 - value)
    variance = variance_sortability(X, A)
    assert variance_sortability(X[:, labels], moved) == pytest.approx(variance)
    assert variance == order_agreement(X.var(axis=0), A)
    r2 = r2_sortability(X, A)
    assert r2_sortability(X[:, labels], moved) == pytest.approx(r2)
    assert r2_sortability(X * np.exp(rng.normal(size=d)) + 3, A) == pytest.approx(r2)


def test_scales(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.normal(size=(200, 3)) @ np.triu(np.ones((3, 3)))
    variance, r2 = variance_sortability(X, chain), r2_sortability(X, chain)
    for scale in (1e-300, 1e-150, 1e150, 1e300):
        assert variance_sortability(scale * X, chain) == variance
        assert r2_sortability(scale * X, chain) == r2
    assert r2_sortability(X * [1e-150, 1.0, 1e150], chain) == r2


def test_standardised_columns_tell_nothing(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    A = random_dag(20, 0.3, rng)
    X = rng.normal(size=(1000, 20)) @ rng.normal(size=(20, 20)) + 5
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    assert variance_sortability(Z, A) == 0.5
    assert variance_sortability(Z.astype(np.float32), A) == 0.5
    assert variance_sortability(X, A, tol=0) != 0.5


def test_simulated_data_is_sortable(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    W = np.triu(rng.uniform(0.5, 2, (10, 10)) * rng.choice([-1, 1], (10, 10)), 1)
    X = rng.normal(size=(2000, 10)) @ np.linalg.inv(np.eye(10) - W)
    assert variance_sortability(X, W) > 0.9
    assert variance_sortability(X, W.T) < 0.1


def test_unexplained_fractions_agree_with_regression(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)) + rng.normal(size=5)
    expected = []
    for j in range(5):
        others = np.delete(X, j, axis=1)
        model = LinearRegression().fit(others, X[:, j])
        expected.append(1 - model.score(others, X[:, j]))
    np.testing.assert_allclose(_unexplained_fractions(X), expected, rtol=1e-8)


def test_unexplained_fractions_of_degenerate_columns(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    a, b, c, noise = rng.normal(size=(4, 50))
    # a + b is a combination, c and its noisy copy are not; the last is constant.
    X = np.column_stack([a, b, a + b, c, c + noise, np.full(50, 0.1)])
    fractions = _unexplained_fractions(X)
    assert (fractions[:3] == 0).all()
    assert fractions[5] == 1
    alone = _unexplained_fractions(X[:, [0, 1, 3, 4]])
    np.testing.assert_allclose(fractions[3:5], alone[2:], rtol=1e-8)
    assert (_unexplained_fractions(np.ones((4, 3))) == 1).all()


def test_no_more_rows_than_columns(global_random_seed):
    X = np.random.default_rng(global_random_seed).normal(size=(4, 6))
    assert r2_sortability(X, np.eye(6, k=1)) == 0.5
    assert r2_sortability(X[:2], np.eye(6, k=1)) == 0.5


def test_empty_graph_is_nan_without_a_warning():
    X = np.arange(12.0).reshape(4, 3)
    empty = np.zeros((3, 3))
    for value in (
        order_agreement([1, 2, 3], empty),
        variance_sortability(X, empty),
        r2_sortability(X, empty),
        variance_sortability(X[:, :1], [[0]]),
    ):
        assert np.isnan(value)


def test_constant_table():
    X = np.zeros((5, 3))
    assert variance_sortability(X, chain) == 0.5
    assert r2_sortability(X, chain) == 0.5


def test_frames():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3)) * [1, 3, 2]
    names = list("abc")
    W = pd.DataFrame(chain, index=names, columns=names)
    for frame in (pd.DataFrame(X, columns=names), pl.DataFrame(X, schema=names)):
        assert variance_sortability(frame, W) == variance_sortability(X, chain)
        assert r2_sortability(frame, W) == r2_sortability(X, chain)
    with pytest.raises(ValueError, match="X and W must have the same column names"):
        variance_sortability(pd.DataFrame(X, columns=list("bac")), W)


@pytest.mark.parametrize("sortability", [variance_sortability, r2_sortability])
@pytest.mark.parametrize(
    ("X", "W", "match"),
    [
        (np.zeros((5, 4)), chain, "X and W must have the same nodes, got 4 and 3"),
        (np.zeros((5, 3)), chain + chain.T, "W must be acyclic"),
        (np.zeros((1, 3)), chain, "minimum of 2 is required"),
        (np.full((5, 3), np.nan), chain, "X contains NaN"),
        (np.zeros(5), chain, "Expected 2D array"),
    ],
)
def test_bad_input(sortability, X, W, match):
    with pytest.raises(ValueError, match=match):
        sortability(X, W)


@pytest.mark.parametrize(
    ("scores", "match"),
    [
        ([1, 2], r"scores must have shape \(3,\).*\(2,\)"),
        (chain, r"scores must have shape \(3,\)"),
        ([1, np.nan, 2], "scores contains NaN"),
    ],
)
def test_bad_scores(scores, match):
    with pytest.raises(ValueError, match=match):
        order_agreement(scores, chain)


@pytest.mark.parametrize("function", [order_agreement, variance_sortability])
def test_bad_tol(function):
    with pytest.raises(ValueError, match="tol must be >= 0"):
        function(np.zeros((3, 3)), chain, tol=-1)
    with pytest.raises(TypeError, match="tol must be a number"):
        function(np.zeros((3, 3)), chain, tol=None)
