# SPDX-License-Identifier: BSD-3-Clause
"""The compiled order search against refactoring, least squares and enumeration."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skpapers.causal._kernels import order as kernels

pytestmark = pytest.mark.kernels

LOSSES = [kernels.SQUARED, kernels.SUM_STD]


def draw_covariance(seed, d):
    """Return a random covariance with columns of different scales."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((d, d + 3)) * rng.uniform(0.3, 3, d + 3)
    scale = rng.uniform(0.5, 2, d)
    return (root @ root.T) * np.outer(scale, scale)


def draw_case(seed, d):
    order = np.random.default_rng(seed + 1).permutation(d)
    return draw_covariance(seed, d), order


def brute_variances(C, order):
    """Residual variances by position, one numpy solve a node."""
    variances = []
    for k, j in enumerate(order):
        before = order[:k]
        slopes = np.linalg.solve(C[np.ix_(before, before)], C[before, j])
        variances.append(C[j, j] - C[before, j] @ slopes)
    return np.array(variances)


def brute_score(C, order, loss):
    variances = brute_variances(C, order)
    return np.sqrt(variances).sum() if loss == kernels.SUM_STD else variances.sum() / 2


def inserted(order, s, q):
    rest = np.delete(order, s)
    return np.insert(rest, q, order[s])


def exchanged(order, p, q):
    order = order.copy()
    order[[p, q]] = order[[q, p]]
    return order


def assert_state(C, order, state):
    """The state equals a fresh one, triangles and diagonal included."""
    R, U, variances = state
    for array, fresh in zip(state, kernels.factor(C, order), strict=True):
        assert_allclose(array, fresh, rtol=1e-9, atol=1e-9 * np.abs(fresh).max())
    assert_array_equal(R[order], np.tril(R[order]))
    assert_array_equal(U[order], np.triu(U[order]))
    assert (np.diag(R[order]) > 0).all()
    assert_allclose(variances, np.diag(R[order]) ** 2)


@pytest.mark.parametrize("loss", LOSSES)
@given(seed=st.integers(0, 10**6), d=st.integers(2, 15))
@settings(max_examples=15, deadline=None)
def test_insertion_changes_equal_refactoring(loss, seed, d):
    C, order = draw_case(seed, d)
    state = kernels.factor(C, order)
    before = brute_score(C, order, loss)
    changes = np.empty(d)
    for s in range(d):
        kernels.insertion_changes(*state, order[s], s, loss, changes)
        after = [brute_score(C, inserted(order, s, q), loss) for q in range(d)]
        assert_allclose(before + changes, after, rtol=1e-10)


@pytest.mark.parametrize("loss", LOSSES)
@given(seed=st.integers(0, 10**6), d=st.integers(2, 15))
@settings(max_examples=15, deadline=None)
def test_exchange_changes_equal_refactoring(loss, seed, d):
    C, order = draw_case(seed, d)
    state = kernels.factor(C, order)
    pairs = np.array(list(combinations(range(d), 2)))
    changes = np.empty(len(pairs))
    kernels.exchange_changes(order, *state, pairs, loss, changes)
    after = [brute_score(C, exchanged(order, p, q), loss) for p, q in pairs]
    assert_allclose(brute_score(C, order, loss) + changes, after, rtol=1e-10)


@given(seed=st.integers(0, 10**6), d=st.integers(2, 12))
@settings(max_examples=25, deadline=None)
def test_state_after_a_chain_of_moves_equals_a_fresh_one(seed, d):
    C, order = draw_case(seed, d)
    state = kernels.factor(C, order)
    rng = np.random.default_rng(seed)
    expected = order.copy()
    for _ in range(20):
        s, q = rng.choice(d, 2, replace=False)
        if rng.random() < 0.5:
            kernels.insert(order, *state, s, q)
            expected = inserted(expected, s, q)
        else:
            kernels.exchange(order, *state, min(s, q), max(s, q))
            expected = exchanged(expected, s, q)
        assert_array_equal(order, expected)
    assert_state(C, order, state)


def test_factor_state_is_what_it_says(global_random_seed):
    C, order = draw_case(global_random_seed, 9)
    R, U, variances = kernels.factor(C, order)
    assert_allclose(R @ R.T, C, atol=1e-12 * C.max())
    assert_allclose(R @ U.T, np.eye(9), atol=1e-12)
    assert_allclose(variances, brute_variances(C, order))
    assert_allclose(variances.prod(), np.linalg.det(C))


def test_product_of_variances_is_invariant(global_random_seed):
    C, order = draw_case(global_random_seed, 8)
    R, U, variances = kernels.factor(C, order)
    determinant = variances.prod()
    rng = np.random.default_rng(global_random_seed)
    for _ in range(30):
        s, q = rng.choice(8, 2, replace=False)
        kernels.insert(order, R, U, variances, s, q)
        assert_allclose(variances.prod(), determinant)


def test_adjacent_swap_has_the_closed_form(global_random_seed):
    C, order = draw_case(global_random_seed, 7)
    for k in range(6):
        R, U, variances = kernels.factor(C, order)
        above = variances.copy()
        swapped = order.copy()
        x = variances[k + 1] + R[order[k + 1], k] ** 2
        kernels.insert(swapped, R, U, variances, k, k + 1)
        above[k : k + 2] = x, above[k] * above[k + 1] / x
        assert_allclose(variances, above)


def test_two_nodes_by_hand():
    # 0 -> 1 with weight 2 and unit noise: C = [[1, 2], [2, 5]]
    C, order = np.array([[1.0, 2], [2, 5]]), np.array([0, 1])
    state = kernels.factor(C, order)
    changes = np.empty(2)
    kernels.insertion_changes(*state, 0, 0, kernels.SQUARED, changes)
    # order (1, 0) has variances 5 and 1/5
    assert_allclose(changes, [0, (5 + 1 / 5) / 2 - 1])
    kernels.insertion_changes(*state, 1, 1, kernels.SUM_STD, changes)
    assert_allclose(changes, [5**0.5 + 5**-0.5 - 2, 0])
    kernels.insert(order, *state, 0, 1)
    assert_array_equal(order, [1, 0])
    assert_allclose(state[2], [5, 1 / 5])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("sweep", [kernels.insertion_sweep, kernels.exchange_sweep])
def test_sweeps_lower_the_score_as_they_say(sweep, loss, global_random_seed):
    C, order = draw_case(global_random_seed, 9)
    state = kernels.factor(C, order)
    score = brute_score(C, order, loss)
    scores = np.empty(9)
    for _ in range(50):
        n_moves = sweep(order, *state, loss, score, 1e-10, scores)
        if n_moves == 0:
            break
        assert (np.diff([score, *scores[:n_moves]]) < 0).all()
        score = scores[n_moves - 1]
        assert_allclose(score, brute_score(C, order, loss))
    assert n_moves == 0
    assert_state(C, order, state)
    if sweep is kernels.insertion_sweep:
        neighbours = [inserted(order, s, q) for s in range(9) for q in range(9)]
    else:
        neighbours = [exchanged(order, *pair) for pair in combinations(range(9), 2)]
    best = min(brute_score(C, neighbour, loss) for neighbour in neighbours)
    assert best >= score * (1 - 1e-9)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_exact_order_equals_enumeration(d, loss, global_random_seed):
    C = draw_covariance(global_random_seed, d)
    order, score = kernels.exact_order(C, loss, 1e-12 * np.diag(C))
    scores = {p: brute_score(C, list(p), loss) for p in permutations(range(d))}
    assert_allclose(score, min(scores.values()))
    assert_allclose(scores[tuple(order)], score)


def test_exact_order_survives_a_duplicate_column():
    C = draw_covariance(0, 4)[np.ix_([0, 1, 2, 3, 1], [0, 1, 2, 3, 1])]
    order, score = kernels.exact_order(C, kernels.SQUARED, 1e-12 * np.diag(C))
    _, without = kernels.exact_order(
        np.ascontiguousarray(C[:4, :4]), kernels.SQUARED, 1e-12 * np.diag(C)
    )
    assert_array_equal(np.sort(order), np.arange(5))
    assert_allclose(score, without)  # the copy adds no variance
