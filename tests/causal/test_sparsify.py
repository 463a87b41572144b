# SPDX-License-Identifier: BSD-3-Clause
"""Sparsification: node states and lasso paths against fresh solves and brute force."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoLarsIC, LinearRegression

from skpapers.causal import _sparsify
from skpapers.causal._kernels import node_state
from skpapers.causal._kernels import sparsify as kernels
from skpapers.causal._sparsify import correlations, refit_ols, sparsify


def reference_draw(d, seed, n=1000, edges_per_node=4):
    """Return X, W and the true order of a linear SEM with equal noise variances."""
    rng = np.random.default_rng(seed)
    i, j = np.triu_indices(d, k=1)
    size = min(edges_per_node * d, len(i))
    chosen = rng.choice(len(i), size=size, replace=False)
    order = rng.permutation(d)
    mask = np.zeros((d, d))
    mask[order[i[chosen]], order[j[chosen]]] = 1
    W = mask * rng.uniform(0.5, 2, (d, d)) * rng.choice([-1, 1], (d, d))
    return rng.standard_normal((n, d)) @ np.linalg.inv(np.eye(d) - W), W, order


def covariance(X):
    X = X - X.mean(axis=0)
    return X.T @ X / len(X)


def shd(A, B):
    A, B = A != 0, B != 0
    return np.triu((A != B) | (A.T != B.T)).sum()


def ill_conditioned_correlations(rng, d, condition):
    Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    spectrum = np.geomspace(1, 1 / condition, d)
    return correlations(Q * spectrum @ Q.T)[0]


def fresh_state(C, v, P):
    """Conditional variances and covariances with v given P, by LAPACK."""
    P = list(P)
    gain = np.linalg.solve(C[np.ix_(P, P)], C[P]) if P else np.zeros((0, len(C)))
    conditional = C - C[:, P] @ gain
    conditional[P] = conditional[:, P] = 0
    return np.diag(conditional), conditional[v]


def local_score(C, v, P, cost):
    return np.log(fresh_state(C, v, P)[0][v]) + cost * len(P)


def backward_only(C, usable, required, cost):
    """Shrink from all usable predecessors with a fresh solve a step."""
    d = len(C)
    kept = []
    for v in range(d):
        P = list(np.flatnonzero(usable[v]))
        while True:
            best = local_score(C, v, P, cost)
            shorter = [[p for p in P if p != q] for q in P if not required[v, q]]
            scores = [local_score(C, v, Q, cost) for Q in shorter]
            if not scores or min(scores) >= best:
                break
            P = shorter[int(np.argmin(scores))]
        kept.append(sorted(P))
    return kept


def no_mask(d):
    return np.tri(d, k=-1, dtype=bool), np.zeros((d, d), dtype=bool)


@pytest.mark.kernels
@pytest.mark.parametrize("condition", [10.0, 1e7])
def test_node_state_survives_any_chain_of_steps(condition, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    d = 40
    C = ill_conditioned_correlations(rng, d, condition)
    v = 7
    node = node_state.make_node(v, d, 31)
    node_state.clear_node(C, node)
    P = []
    for _ in range(400):
        leave = len(P) == 30 or (P and rng.random() < 0.45)
        if leave:
            a = int(rng.integers(len(P)))
            node_state.remove_parent(C, node, a)
            del P[a]
        else:
            p = int(rng.choice([j for j in range(d) if j != v and j not in P]))
            node_state.add_parent(C, node, p)
            P.append(p)
        k = len(P)
        assert list(node.parents[0, : node.parents[0, node_state.COUNT]]) == P
        assert (np.delete(node.given[0, node_state.S], P) > 0).all()
    s, r = fresh_state(C, v, P)
    np.testing.assert_allclose(node.given[0, node_state.S], s, rtol=1e-8)
    tol = 1e-8 * s.max() * s[v] ** 0.5
    np.testing.assert_allclose(node.given[0, node_state.R], r, atol=tol, rtol=1e-8)
    precision, fitted_beta, omega = node.factors[0, -3:, :k]
    L = np.tril(node.factors[0, :k, :k], -1) + np.eye(k)
    np.testing.assert_allclose(L / precision @ L.T, C[np.ix_(P, P)], atol=1e-12)
    inverse = np.linalg.inv(C[np.ix_(P, P)])
    beta, size = inverse @ C[P, v], np.sqrt(np.diag(inverse) * s[v])
    np.testing.assert_allclose(omega, np.diag(inverse), rtol=1e-7)
    np.testing.assert_allclose(fitted_beta, beta, rtol=1e-7, atol=1e-7 * size.max())


@pytest.mark.kernels
def test_constant_time_tests_equal_score_differences(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    d, v, cost = 12, 4, 0.03
    C = ill_conditioned_correlations(rng, d, 1e3)
    P = [9, 2, 7, 0, 11]
    node = node_state.make_node(v, d, d)
    node_state.clear_node(C, node)
    for p in P:
        node_state.add_parent(C, node, p)
    assert node_state.local_score(node, cost) == pytest.approx(
        local_score(C, v, P, cost)
    )
    usable = np.arange(d) != v
    gains = {
        w: np.exp(local_score(C, v, P, 0)) - np.exp(local_score(C, v, [*P, w], 0))
        for w in np.flatnonzero(usable)
        if w not in P
    }
    w, gain = node_state.best_addition(node, usable)
    assert w == max(gains, key=gains.get)
    assert gain == pytest.approx(gains[w], rel=1e-8)
    before = node_state.local_score(node, cost)
    assert before + np.log1p(
        -gain / node.given[0, node_state.S, v]
    ) + cost == pytest.approx(local_score(C, v, [*P, w], cost))
    required = np.zeros((d, d), dtype=bool)
    required[v, 2] = True
    losses = {
        a: np.exp(local_score(C, v, P[:a] + P[a + 1 :], 0))
        - node.given[0, node_state.S, v]
        for a in (0, 2, 3, 4)
    }
    a, loss = node_state.best_removal(node, required)
    assert a == min(losses, key=losses.get)
    assert loss == pytest.approx(losses[a], rel=1e-8)


@pytest.mark.kernels
@pytest.mark.parametrize("backward", [False, True])
def test_result_is_a_local_minimum(backward, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    d, cost = 14, 2 * np.log(200) / 200
    X = rng.standard_normal((200, d)) @ (np.eye(d) + np.triu(rng.normal(size=(d, d))))
    C = correlations(covariance(X))[0]
    usable, required = no_mask(d)
    support, capped = kernels.sparse_parents(C, usable, required, cost, d, backward)
    assert not capped.any()
    for v in range(d):
        P = list(np.flatnonzero(support[v]))
        score = local_score(C, v, P, cost)
        for w in range(v):
            Q = [p for p in P if p != w] if w in P else [*P, w]
            assert score <= local_score(C, v, Q, cost) + 1e-8


@pytest.mark.kernels
def test_score_falls_in_each_round(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    d, v = 25, 24
    C = ill_conditioned_correlations(rng, d, 1e4)
    usable, required = no_mask(d)
    node = node_state.make_node(v, d, d)
    node_state.set_parents(C, node, rng.random(d) < 0.4 * usable[v])
    cost = 0.05
    scores = [node_state.local_score(node, cost)]
    shrunk = True
    while shrunk:
        node_state.grow(C, node, usable[v], node_state.useful_share(cost), d)
        scores.append(node_state.local_score(node, cost))
        shrunk = node_state.shrink(C, node, required, cost)
        if shrunk:
            scores.append(node_state.local_score(node, cost))
    assert len(scores) > 2
    assert scores[-1] <= scores[-2]  # growing may have found nothing in the last round
    assert (np.diff(scores)[1:-1] < 0).all()


@pytest.mark.kernels
def test_backward_equals_fresh_solves(global_random_seed):
    X, _, order = reference_draw(16, global_random_seed, n=300)
    d = X.shape[1]
    C = np.ascontiguousarray(correlations(covariance(X))[0][np.ix_(order, order)])
    rng = np.random.default_rng(global_random_seed)
    usable, required = no_mask(d)
    usable &= rng.random((d, d)) < 0.8
    required = usable & (rng.random((d, d)) < 0.05)
    cost = 2 * np.log(300) / 300
    prefix, full = kernels.make_prefix(d), kernels.make_regression(d)
    for v, kept in enumerate(backward_only(C, usable, required, cost)):
        k = kernels.survivors(C, prefix, full, v, usable[v], required[v], cost, d)
        P = full.columns[:k]
        assert sorted(P) == kept
        inverse = np.linalg.inv(C[np.ix_(P, P)])
        np.testing.assert_allclose(np.tril(full.M[:k, :k]), np.tril(inverse), rtol=1e-7)
        np.testing.assert_allclose(full.beta[:k], inverse @ C[P, v], rtol=1e-7)


def test_backward_respects_its_cap():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 12))
    X[:, 11] = X.sum(axis=1)  # eleven parents, each of which pays
    X += 0.01 * rng.standard_normal(X.shape)
    with pytest.warns(ConvergenceWarning, match="1 nodes reached 4 parents"):
        W = sparsify(covariance(X), 500, np.arange(12), max_parents=4)
    assert (W[:, 11] != 0).sum() == 4
    assert (sparsify(covariance(X), 500, np.arange(12))[:, 11] != 0).sum() == 11


def test_forward_search_has_no_limit_of_its_own():
    d = 302  # too wide to go backward
    C = np.eye(d)  # of independent columns, and a sum of 60 of them with noise
    C[:60, -1] = C[-1, :60] = 1.0
    C[-1, -1] = 60.01
    W = sparsify(C, 2000, np.arange(d))
    np.testing.assert_allclose(W[:60, -1], 1.0)
    assert np.count_nonzero(W) == 60


@pytest.mark.kernels
def test_seldom_worse_than_the_best_subset(global_random_seed):
    """Greedy in both directions finds the best subset of 7 columns nearly always."""
    cost, missed, nodes = 2 * np.log(150) / 150, 0, 0
    for seed in range(5):
        X, _, order = reference_draw(8, 100 * global_random_seed + seed, n=150)
        C = covariance(X)
        W = sparsify(C, 150, order)
        R = correlations(C)[0]
        for position, v in enumerate(order):
            before = order[:position]
            subsets = [
                list(P)
                for k in range(position + 1)
                for P in combinations(before, min(k, len(before)))
            ]
            best = min(local_score(R, v, P, cost) for P in subsets)
            found = local_score(R, v, list(np.flatnonzero(W[:, v])), cost)
            assert found >= best - 1e-9
            missed += found > best + 1e-9
            nodes += 1
    assert missed <= 0.1 * nodes


def test_recovers_reference_graphs(global_random_seed):
    X, W, order = reference_draw(50, global_random_seed)
    assert shd(sparsify(covariance(X), len(X), order), W) <= 1
    lasso = sparsify(covariance(X), len(X), order, "adaptive_lasso")
    assert shd(np.where(abs(lasso) > 0.3, lasso, 0), W) <= 1


def test_forward_only_above_the_limit(monkeypatch, global_random_seed):
    """Both searches together are never worse than the forward one alone."""
    X, _, order = reference_draw(40, global_random_seed)
    C, n = covariance(X), len(X)
    cost, R = 2 * np.log(n) / n, correlations(covariance(X))[0]

    def total(W):
        return sum(
            local_score(R, v, list(np.flatnonzero(W[:, v])), cost) for v in range(40)
        )

    both = total(sparsify(C, n, order))
    monkeypatch.setattr(_sparsify, "BACKWARD_MAX_FEATURES", 39)
    assert both <= total(sparsify(C, n, order)) + 1e-9


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    d=st.integers(1, 9),
    n=st.integers(2, 30),
    method=st.sampled_from(["bic_l0", "adaptive_lasso"]),
)
def test_masks_and_order_are_respected(seed, d, n, method):
    rng = np.random.default_rng(seed)
    C = covariance(rng.standard_normal((n, d)) @ rng.standard_normal((d, d)))
    order = rng.permutation(d)
    position = np.argsort(order)
    earlier = position[:, None] < position[None, :]
    allowed = rng.random((d, d)) < 0.6
    required = earlier & allowed & (rng.random((d, d)) < 0.15)
    W = sparsify(C, n, order, method, allowed=allowed, required=required)
    assert np.isfinite(W).all()
    assert not (W[~(earlier & allowed)] != 0).any()
    assert (W[required] != 0).all()
    free = (W != 0).sum(axis=0) - required.sum(axis=0)
    assert (free <= max(0, n - 2)).all()


@pytest.mark.parametrize("method", ["bic_l0", "adaptive_lasso"])
def test_forbidding_all_but_the_true_edges(method, global_random_seed):
    X, W, order = reference_draw(15, global_random_seed)
    allowed = W != 0
    found = sparsify(covariance(X), len(X), order, method, allowed=allowed)
    assert not (found[~allowed] != 0).any()
    np.testing.assert_allclose(found, W, atol=0.35)


@pytest.mark.parametrize("method", ["bic_l0", "adaptive_lasso"])
@pytest.mark.parametrize("noise", [0.0, 1e-9, 1e-4])
def test_duplicate_columns(method, noise, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, _, order = reference_draw(10, global_random_seed)
    X = np.hstack([X, X[:, :4] + noise * rng.standard_normal((len(X), 4))])
    order = np.concatenate([order, np.arange(10, 14)])
    C = covariance(X)
    W = sparsify(C, len(X), order, method)
    assert np.isfinite(W).all()
    # Nothing can be worse than the graph of the originals with 0..3 -> duplicates.
    residual = np.eye(14) - W
    variances = np.diag(residual.T @ C @ residual)
    assert (variances <= np.diag(C) * (1 + 1e-9)).all()
    assert (variances[10:] <= 1e-6 * np.diag(C)[10:]).all()


def test_collinear_parents_share_the_effect():
    C = np.array([[1.0, 1.0, 0.8], [1.0, 1.0, 0.8], [0.8, 0.8, 1.0]])
    support = np.zeros((3, 3), dtype=bool)
    support[:2, 2] = True
    W = refit_ols(C, support)
    np.testing.assert_allclose(W[:, 2], [0.4, 0.4, 0.0])


@pytest.mark.parametrize("method", ["bic_l0", "adaptive_lasso"])
@pytest.mark.parametrize("n", [2, 3, 10, 20, 21])
def test_few_rows(method, n, global_random_seed):
    X, _, order = reference_draw(20, global_random_seed, n=n)
    W = sparsify(covariance(X), n, order, method)
    assert np.isfinite(W).all()
    assert ((W != 0).sum(axis=0) <= max(0, n - 2)).all()


@pytest.mark.kernels
@pytest.mark.parametrize("n", [40, 500])
def test_adaptive_lasso_equals_scikit_learn(n, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    for kind in ("sem", "noise"):
        if kind == "sem":
            X, _, order = reference_draw(12, global_random_seed, n=n)
        else:
            X, order = rng.standard_normal((n, 12)) + rng.standard_normal((n, 1)), None
        order = np.arange(12) if order is None else order
        W = sparsify(covariance(X), n, order, "adaptive_lasso")
        for position in range(1, 12):
            P, v = order[:position], order[position]
            weights = np.abs(LinearRegression().fit(X[:, P], X[:, v]).coef_)
            peer = LassoLarsIC(criterion="bic").fit(X[:, P] * weights, X[:, v])
            np.testing.assert_allclose(
                W[P, v], peer.coef_ * weights, atol=1e-7 * np.abs(W).max(), rtol=1e-6
            )


def test_adaptive_lasso_with_many_correlated_columns(global_random_seed):
    """Long paths, on which columns also leave, still agree with scikit-learn."""
    rng = np.random.default_rng(global_random_seed)
    d, n = 40, 300
    X = rng.standard_normal((n, d)) @ np.linalg.cholesky(
        ill_conditioned_correlations(rng, d, 1e3)
    )
    W = sparsify(covariance(X), n, np.arange(d), "adaptive_lasso")
    for v in range(30, d):
        weights = np.abs(LinearRegression().fit(X[:, :v], X[:, v]).coef_)
        peer = LassoLarsIC(criterion="bic").fit(X[:, :v] * weights, X[:, v])
        np.testing.assert_allclose(W[:v, v], peer.coef_ * weights, atol=1e-6)


def test_refit_equals_least_squares(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((100, 8)) @ rng.standard_normal((8, 8)) + 5
    support = rng.random((8, 8)) < 0.4
    np.fill_diagonal(support, False)
    W = refit_ols(covariance(X), support)
    centred = X - X.mean(axis=0)
    for v in range(8):
        P = np.flatnonzero(support[:, v])
        expected = np.zeros(8)
        expected[P] = np.linalg.lstsq(centred[:, P], centred[:, v], rcond=None)[0]
        np.testing.assert_allclose(W[:, v], expected, atol=1e-9 * np.abs(W).max())


@pytest.mark.parametrize("method", ["bic_l0", "adaptive_lasso"])
def test_units_change_only_the_units(method, global_random_seed):
    X, _, order = reference_draw(15, global_random_seed)
    C = covariance(X)
    rng = np.random.default_rng(global_random_seed)
    W = sparsify(C, 1000, order, method)
    power = 2.0 ** rng.integers(-250, 250, 15)
    scaled = sparsify(C * power * power[:, None], 1000, order, method)
    np.testing.assert_array_equal(scaled, W * power / power[:, None])
    units = rng.uniform(0.1, 10, 15)
    scaled = sparsify(C * units * units[:, None], 1000, order, method)
    np.testing.assert_allclose(scaled, W * units / units[:, None], rtol=1e-6)


def test_penalty_prices_edges():
    rng = np.random.default_rng(0)
    C = covariance(rng.standard_normal((100, 15)))
    sizes = [
        np.count_nonzero(sparsify(C, 100, np.arange(15), penalty=penalty))
        for penalty in (0.0, 0.5, 1.0, 4.0)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 15 * 14 // 2
    assert sizes[-1] == 0


def test_constant_columns_get_no_edges():
    C = np.diag([1.0, 0.0, 1.0])
    C[0, 2] = C[2, 0] = 0.9
    for method in ("bic_l0", "adaptive_lasso"):
        W = sparsify(C, 100, [0, 1, 2], method)
        assert list(map(tuple, np.argwhere(W))) == [(0, 2)]


def test_inputs_stay_as_they_are(global_random_seed):
    X, _, order = reference_draw(6, global_random_seed)
    C = covariance(X)
    kept = C.copy(), order.copy()
    C.setflags(write=False)
    order.setflags(write=False)
    sparsify(C, 1000, order)
    sparsify(C, 1000, order, "adaptive_lasso")
    np.testing.assert_array_equal(C, kept[0])
    np.testing.assert_array_equal(order, kept[1])


def test_bad_input():
    C = np.eye(3)
    with pytest.raises(ValueError, match=r"order must be a permutation of 0\.\.2"):
        sparsify(C, 10, [0, 1, 1])
    mask = np.zeros((3, 3), dtype=bool)
    mask[2, 0] = True
    with pytest.raises(ValueError, match="required edge 2 -> 0"):
        sparsify(C, 10, [0, 1, 2], required=mask)
    with pytest.raises(ValueError, match="required edge 2 -> 0"):
        sparsify(C, 10, [2, 1, 0], required=mask, allowed=~mask)
    with pytest.raises(ValueError, match=r"shape \(3, 3\)"):
        sparsify(C, 10, [2, 1, 0], allowed=np.ones((2, 2)))
