# SPDX-License-Identifier: BSD-3-Clause
"""TopologicalSwap against least squares, enumeration and a plain twin of TOPO."""

from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import expm
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skpapers.causal import (
    TopologicalSwap,
    best_order_exact,
    order_score,
    polish_dag,
)
from skpapers.causal._order_search import (
    candidate_sizes,
    disjoint_moves,
    walk_weights,
    weakest_pairs,
)
from skpapers.datasets import make_linear_sem
from skpapers.metrics import is_dag

NEIGHBORHOODS = ["insertion", "exchange", "both", "paper"]


def ev_data(seed, d, n=1000, n_edges=None):
    """Equal noise variances, by default four edges a node."""
    n_edges = min(4 * d, d * (d - 1) // 2) if n_edges is None else n_edges
    return make_linear_sem(n, n_features=d, n_edges=n_edges, random_state=seed)


def weak_data(seed, d, n=300):
    """Weak effects, so that the order is hard to find and searches make many moves."""
    return make_linear_sem(
        n, n_features=d, n_edges=2 * d, weight_range=(0.1, 0.6), random_state=seed
    ).X


def covariance(X):
    return np.cov(X.T, bias=True)


def least_squares(X, order):
    """Weights and loss of all regressions on predecessors, by numpy's lstsq."""
    X = X - X.mean(axis=0)
    W = np.zeros((X.shape[1],) * 2)
    for k, j in enumerate(order):
        W[order[:k], j] = np.linalg.lstsq(X[:, order[:k]], X[:, j])[0]
    return W, ((X - X @ W) ** 2).sum() / (2 * len(X))


def inserted(order, s, q):
    return np.insert(np.delete(order, s), q, order[s])


def exchanged(order, p, q):
    order = order.copy()
    order[[p, q]] = order[[q, p]]
    return order


def neighbours(order, neighborhood):
    d = len(order)
    if neighborhood in ("insertion", "both"):
        yield from (inserted(order, s, q) for s in range(d) for q in range(d))
    if neighborhood in ("exchange", "both"):
        yield from (exchanged(order, *pair) for pair in combinations(range(d), 2))


def plain_topo(X, order, size_small, size_large, n_large):
    """The algorithm of TOPO with one set of regressions a pair."""
    order, d, n_used = list(order), X.shape[1], 0
    history = [least_squares(X, order)[1]]
    while True:
        W, Q = least_squares(X, order)
        walks = np.linalg.inv(np.eye(d) - np.abs(W))
        pairs = list(combinations(range(d), 2))
        values = {pq: walks[order[pq[0]], order[pq[1]]] for pq in pairs}

        def improving(candidates, order=order, Q=Q):
            scores = {}
            for p, q in candidates:
                swapped = list(order)
                swapped[p], swapped[q] = order[q], order[p]
                scores[p, q] = least_squares(X, swapped)[1]
            return {pq: S - Q for pq, S in scores.items() if S < Q * (1 - 1e-10)}

        cut_small, cut_large = np.sort(list(values.values()))[
            [size_small - 1, size_large - 1]
        ]
        moves = improving(pq for pq in pairs if values[pq] <= cut_small)
        if not moves and n_used < n_large:
            moves = improving(pq for pq in pairs if cut_small < values[pq] <= cut_large)
            n_used += bool(moves)
        if not moves:
            return np.array(order), history, n_used
        taken = set()
        for p, q in sorted(moves, key=moves.get):
            if taken.isdisjoint(range(p, q + 1)):
                taken.update(range(p, q + 1))
                order[p], order[q] = order[q], order[p]
                history.append(history[-1] + moves[p, q])


@pytest.mark.kernels
@pytest.mark.parametrize("neighborhood", NEIGHBORHOODS)
def test_weights_and_objective_are_least_squares(neighborhood, global_random_seed):
    X = weak_data(global_random_seed, 7) + 5
    learner = TopologicalSwap("squared", neighborhood=neighborhood, sparsifier=None)
    learner.fit(X)
    W, Q = least_squares(X, learner.causal_order_)
    assert_allclose(learner.raw_adjacency_, W, atol=1e-10)
    assert_allclose(learner.adjacency_, W, atol=1e-10)
    assert_allclose(learner.objective_, Q)
    assert_allclose(learner.noise_std_, (learner.transform(X)).std(axis=0))
    assert learner.kkt_violation_ < 1e-12 * learner.covariance_.max()


def test_sum_std_objective(global_random_seed):
    X = weak_data(global_random_seed, 7)
    learner = TopologicalSwap("sum_std", sparsifier=None).fit(X)
    assert_allclose(learner.objective_, learner.noise_std_.sum())
    assert_allclose(
        learner.objective_,
        order_score(covariance(X), learner.causal_order_, "sum_std"),
    )


def test_ridge_enters_the_inner_problem(global_random_seed):
    X = weak_data(global_random_seed, 5)
    learner = TopologicalSwap("squared", alpha=0.3, sparsifier=None).fit(X)
    C, order = covariance(X), learner.causal_order_
    for k in range(1, 5):
        before, j = order[:k], order[k]
        ridge = np.linalg.solve(
            C[np.ix_(before, before)] + 0.3 * np.eye(k), C[before, j]
        )
        assert_allclose(learner.raw_adjacency_[before, j], ridge)
    assert learner.kkt_violation_ < 1e-12
    # rows fewer than columns are no reason to warn then
    TopologicalSwap("squared", alpha=0.3).fit(X[:4])


@pytest.mark.kernels
@pytest.mark.parametrize("loss", ["squared", "sum_std"])
@pytest.mark.parametrize("neighborhood", ["insertion", "exchange", "both"])
def test_result_is_a_local_minimum(neighborhood, loss, global_random_seed):
    X = weak_data(global_random_seed, 8)
    learner = TopologicalSwap(
        loss, neighborhood=neighborhood, init="random", random_state=global_random_seed
    ).fit(X)
    C = covariance(X)
    scores = [
        order_score(C, order, loss)
        for order in neighbours(learner.causal_order_, neighborhood)
    ]
    assert min(scores) >= learner.objective_ * (1 - 1e-9)
    assert best_order_exact(C, loss)[1] <= learner.objective_ * (1 + 1e-12)


@pytest.mark.parametrize("neighborhood", NEIGHBORHOODS)
def test_history_falls_to_the_objective(neighborhood, global_random_seed):
    X = weak_data(global_random_seed, 12)
    learner = TopologicalSwap(
        loss="squared",
        neighborhood=neighborhood,
        init="random",
        random_state=global_random_seed,
    ).fit(X)
    assert (np.diff(learner.history_) < 0).all()
    assert learner.n_moves_ == len(learner.history_) - 1 > 0
    assert learner.n_iter_ >= 1
    assert learner.history_[0] == learner.start_objective_
    assert learner.history_[-1] == learner.objective_
    assert_allclose(
        learner.objective_, order_score(covariance(X), learner.causal_order_)
    )


@pytest.mark.kernels
def test_population_optimum_is_the_true_order(global_random_seed):
    d, variance = 8, 2.5
    data = make_linear_sem(
        "population",
        n_features=d,
        n_edges=14,
        noise_variance=variance,
        random_state=global_random_seed,
    )
    C = data.covariance
    order, score = best_order_exact(C)
    assert_allclose(score, d * variance / 2)
    position = np.argsort(order)
    causes, effects = np.nonzero(data.W)
    assert (position[causes] < position[effects]).all()


def test_two_variables_by_hand():
    w = 0.7
    C = np.array([[1, w], [w, 1 + w**2]])
    assert_allclose(order_score(C, [0, 1]), 1)
    assert_allclose(order_score(C, [1, 0]), (1 + w**2 + 1 / (1 + w**2)) / 2)
    order, score = best_order_exact(C)
    assert_array_equal(order, [0, 1])
    assert_allclose(score, 1)
    learner = TopologicalSwap(loss="squared", init=[1, 0], sparsifier=None)
    learner.fit_covariance(C, 1000)
    assert_array_equal(learner.causal_order_, [0, 1])
    assert_allclose(learner.adjacency_, [[0, w], [0, 0]], atol=1e-12)
    assert_allclose(learner.history_, [order_score(C, [1, 0]), 1])


def test_exact_order_equals_enumeration(global_random_seed):
    C = covariance(weak_data(global_random_seed, 6))
    order, score = best_order_exact(C)
    assert_allclose(score, min(order_score(C, p) for p in permutations(range(6))))
    assert_allclose(score, order_score(C, order))


def test_walks_of_a_chain_by_hand():
    a, b = -0.5, 0.8  # 2 -> 0 -> 1
    W = np.zeros((3, 3))
    W[2, 0], W[0, 1] = a, b
    walks = walk_weights(W, np.array([2, 0, 1]))
    assert_allclose(walks, [[1, 0.5, 0.4], [0, 1, 0.8], [0, 0, 1]])
    assert_array_equal(np.argwhere(weakest_pairs(walks, 1)), [[0, 2]])
    assert_array_equal(np.argwhere(weakest_pairs(walks, 2)), [[0, 1], [0, 2]])


def test_weakest_pairs_include_ties():
    walks = np.triu(np.array([[1, 0.5, 0.2], [0, 1, 0.2], [0, 0, 1]]))
    assert weakest_pairs(walks, 1).sum() == 2


@pytest.mark.parametrize("acyclicity", ["logdet", "expm", "binomial"])
def test_walks_are_the_gradient_of_the_acyclicity(acyclicity, global_random_seed):
    d = 5
    rng = np.random.default_rng(global_random_seed)
    order = rng.permutation(d)
    W = np.zeros((d, d))
    W[np.ix_(order, order)] = np.triu(rng.uniform(-2, 2, (d, d)), k=1)
    h = {
        "logdet": lambda A: -np.log(np.linalg.det(np.eye(d) - A)),
        "expm": lambda A: np.trace(expm(A)),
        "binomial": lambda A: np.trace(np.linalg.matrix_power(np.eye(d) + A / d, d)),
    }[acyclicity]
    walks = walk_weights(W, order, acyclicity)
    step = 1e-6
    for p in range(d):
        for q in range(d):
            back = np.zeros((d, d))
            back[order[q], order[p]] = step
            A = np.abs(W)
            slope = (h(A + back) - h(A - back)) / (2 * step)
            assert_allclose(walks[p, q], slope, rtol=1e-5, atol=1e-6)


def test_walks_too_long_for_floats_are_infinite():
    d = 400
    walks = walk_weights(np.triu(np.full((d, d), 1e3), k=1), np.arange(d))
    assert not np.isnan(walks).any()
    assert np.isinf(walks[0, -1])


def test_disjoint_moves_add_up(global_random_seed):
    X = weak_data(global_random_seed, 12)
    order = np.random.default_rng(global_random_seed).permutation(12)
    Q = least_squares(X, order)[1]
    pairs = np.array(list(combinations(range(12), 2)))
    changes = np.array([least_squares(X, exchanged(order, *pq))[1] - Q for pq in pairs])
    pairs, changes = pairs[changes < 0], changes[changes < 0]
    accepted = disjoint_moves(pairs, changes)
    assert accepted[0] == np.argmin(changes)
    places = np.concatenate([np.arange(p, q + 1) for p, q in pairs[accepted]])
    assert len(places) == len(set(places))
    for m in set(range(len(pairs))) - set(accepted):  # every other one is in the way
        assert set(range(pairs[m, 0], pairs[m, 1] + 1)) & set(places)
    for pq in pairs[accepted]:
        order = exchanged(order, *pq)
    assert_allclose(Q + changes[accepted].sum(), least_squares(X, order)[1])


@pytest.mark.parametrize("sizes", [(3, 10, 2), (10, 30, 1), (1, 45, 5), (45, 45, 0)])
def test_paper_mode_equals_its_plain_twin(sizes, global_random_seed):
    X = weak_data(global_random_seed, 10, n=100)
    start = np.random.default_rng(global_random_seed).permutation(10)
    order, history, n_used = plain_topo(X, start, *sizes)
    size_small, size_large, n_large = sizes
    learner = TopologicalSwap(
        loss="squared",
        neighborhood="paper",
        init=start,
        size_small=size_small,
        size_large=size_large,
        n_large=n_large,
    ).fit(X)
    assert_array_equal(learner.causal_order_, order)
    assert_allclose(learner.history_, history)
    assert learner.n_large_used_ == n_used


@pytest.mark.parametrize(
    ("d", "sizes"),
    [
        (2, (1, 1, 0)),
        (3, (1, 3, 0)),
        (20, (30, 110, 1)),
        (50, (75, 588, 1)),
        (100, (150, 1980, 1)),
    ],
)
def test_automatic_sizes(d, sizes):
    assert candidate_sizes(d) == sizes


@pytest.mark.parametrize("neighborhood", NEIGHBORHOODS)
def test_follows_a_permutation_of_the_columns(neighborhood, global_random_seed):
    X = weak_data(global_random_seed, 10)
    permutation = np.random.default_rng(global_random_seed).permutation(10)
    plain = TopologicalSwap(loss="squared", neighborhood=neighborhood).fit(X)
    permuted = TopologicalSwap(loss="squared", neighborhood=neighborhood).fit(
        X[:, permutation]
    )
    assert_array_equal(permutation[permuted.causal_order_], plain.causal_order_)
    assert_allclose(
        permuted.adjacency_,
        plain.adjacency_[np.ix_(permutation, permutation)],
        atol=1e-12,
    )


@pytest.mark.parametrize("scale", [1e-140, 2.0**-9, 3e140])
def test_follows_the_unit_of_the_table(scale, global_random_seed):
    X = weak_data(global_random_seed, 8)
    for loss, power in (("squared", 2), ("sum_std", 1)):
        plain = TopologicalSwap(loss, neighborhood="both").fit(X)
        scaled = TopologicalSwap(loss, neighborhood="both").fit(scale * X)
        assert_array_equal(scaled.causal_order_, plain.causal_order_)
        assert_allclose(scaled.adjacency_, plain.adjacency_, rtol=1e-9)
        assert_allclose(np.array(scaled.history_) / scale**power, plain.history_)


def test_start_orders(global_random_seed):
    data = ev_data(global_random_seed, 6)
    X, seed = data.X, global_random_seed
    C = covariance(X)

    def start(init, **params):
        learner = TopologicalSwap(
            loss="squared", init=init, random_state=seed, **params
        ).fit(X)
        assert_allclose(learner.causal_order_, best.causal_order_)
        return learner.history_[0]

    best = TopologicalSwap(loss="squared", neighborhood="both").fit(X)
    assert_allclose(
        start("variance", neighborhood="both"), order_score(C, np.argsort(np.diag(C)))
    )
    order = np.random.default_rng(seed).permutation(6)
    for given in (order, list(order), order.astype(float)):
        learner = TopologicalSwap(loss="squared", init=given, max_iter=50).fit(X)
        assert_allclose(learner.history_[0], order_score(C, order))
    assert_allclose(start(best), best.objective_)
    assert_allclose(start(best.raw_adjacency_), best.objective_)
    assert_allclose(start(clone(best)), best.objective_)  # is fitted again
    random = [
        TopologicalSwap(loss="squared", init="random", random_state=s).fit(X)
        for s in (1, 1, 2)
    ]
    assert random[0].history_ == random[1].history_ != random[2].history_


def test_an_adjacency_start_with_cycles_is_cut(global_random_seed):
    data = ev_data(global_random_seed, 6)
    W = data.W + 0.01 * np.random.default_rng(0).uniform(size=(6, 6))
    assert not is_dag(W)
    learner = TopologicalSwap(loss="squared", init=W).fit(data.X)
    assert_allclose(
        learner.start_objective_,
        order_score(covariance(data.X), data.order),
        rtol=1e-2,  # the order of some true nodes is free
    )


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ([0, 1], "each of the 3 columns once"),
        ([0, 1, 1], "each of the 3 columns once"),
        ([0, 1, 2.5], "each of the 3 columns once"),
        (np.zeros((2, 2)), "init has 2 nodes, but X has 3 columns"),
        (np.zeros((3, 2)), "init must be a square matrix"),
        (np.full((3, 3), np.nan), "NaN"),
        (GridSearchCV(TopologicalSwap(loss="squared"), {}), "neither fitted"),
        ("magic", "'init' parameter"),
    ],
)
def test_bad_starts(init, message):
    X = np.random.default_rng(0).standard_normal((20, 3))
    with pytest.raises(ValueError, match=message):
        TopologicalSwap(loss="squared", init=init).fit(X)


def test_a_start_with_other_column_names():
    X = pd.DataFrame(
        np.random.default_rng(0).standard_normal((20, 2)), columns=["a", "b"]
    )
    init = pd.DataFrame(np.zeros((2, 2)), columns=["b", "a"], index=["b", "a"])
    with pytest.raises(ValueError, match="init has the columns"):
        TopologicalSwap(loss="squared", init=init).fit(X)
    with pytest.raises(ValueError, match="must have the same column names"):
        polish_dag(X, init, loss="squared")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"size_small": 7}, "size_small=7 exceeds the 6 pairs"),
        ({"size_large": 7}, "size_large=7 exceeds the 6 pairs"),
        ({"size_small": 3, "size_large": 2}, "size_small=3 exceeds size_large=2"),
        ({"size_small": 0}, "'size_small' parameter"),
    ],
)
def test_bad_sizes(sizes, message):
    X = np.random.default_rng(0).standard_normal((20, 4))
    with pytest.raises(ValueError, match=message):
        TopologicalSwap(loss="squared", neighborhood="paper", **sizes).fit(X)
