# SPDX-License-Identifier: BSD-3-Clause
"""TopologicalSwap against least squares, enumeration and a plain twin of TOPO."""

from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import expm
from scipy.stats import chi2
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso
from sklearn.model_selection import GridSearchCV

from skpapers.causal import (
    TopologicalSwap,
    _order_search,
    best_order_exact,
    bic_score,
    order_score,
    polish_dag,
)
from skpapers.causal._order_search import (
    candidate_sizes,
    disjoint_moves,
    search_order,
    walk_weights,
    weakest_pairs,
)
from skpapers.datasets import load_sachs, make_linear_sem
from skpapers.metrics import (
    dag_to_cpdag,
    is_dag,
    structural_hamming_distance,
    structural_intervention_distance,
)
from skpapers.utils import DataConditionWarning

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


@pytest.mark.parametrize("neighborhood", NEIGHBORHOODS)
def test_one_and_two_columns(neighborhood, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((200, 1))
    learner = TopologicalSwap(loss="squared", neighborhood=neighborhood).fit(X)
    assert_array_equal(learner.adjacency_, [[0]])
    assert_allclose(learner.objective_, X.var() / 2)
    assert learner.n_moves_ == 0
    assert learner.n_iter_ >= 1
    X = np.hstack([2 * X + rng.standard_normal((200, 1)), X])
    learner = TopologicalSwap(
        loss="squared", neighborhood=neighborhood, init=[0, 1]
    ).fit(X)
    assert_array_equal(learner.causal_order_, [1, 0])
    assert_allclose(learner.adjacency_[1, 0], np.polyfit(X[:, 1], X[:, 0], 1)[0])


def test_duplicate_columns_warn(global_random_seed):
    X = weak_data(global_random_seed, 5)
    X = pd.DataFrame(np.column_stack([X, X[:, 2]]), columns=list("abcdef"))
    with pytest.warns(DataConditionWarning, match=r"\['[cf]'\] depend linearly"):
        learner = TopologicalSwap(loss="squared").fit(X)
    assert is_dag(learner.adjacency_)
    assert np.isfinite(learner.raw_adjacency_).all()
    assert (np.diff(learner.history_) < 0).all()


def test_fewer_rows_than_columns_warn(global_random_seed):
    X = weak_data(global_random_seed, 10, n=8)
    with pytest.warns(DataConditionWarning, match="8 rows are too few for 10 columns"):
        learner = TopologicalSwap(loss="squared").fit(X)
    assert is_dag(learner.adjacency_)


def test_constant_columns_do_not_disturb(global_random_seed):
    X = weak_data(global_random_seed, 5)
    order = np.random.default_rng(global_random_seed).permutation(6)
    with_constant = np.insert(X, 2, 7.0, axis=1)
    with pytest.warns(DataConditionWarning, match="Constant columns"):
        learner = TopologicalSwap(loss="squared", init=order).fit(with_constant)
    varying = [0, 1, 3, 4, 5]
    start = np.searchsorted(varying, order[order != 2])
    plain = TopologicalSwap(loss="squared", init=start).fit(X)
    assert learner.history_ == plain.history_
    assert_array_equal(learner.causal_order_[-1], 2)
    assert_allclose(learner.adjacency_[np.ix_(varying, varying)], plain.adjacency_)
    assert not learner.adjacency_[2].any()
    assert not learner.adjacency_[:, 2].any()


def test_indefinite_covariance_is_refused():
    C = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    assert np.linalg.eigvalsh(C)[0] < 0
    with (
        pytest.warns(DataConditionWarning),
        pytest.raises(ValueError, match="not positive definite"),
    ):
        TopologicalSwap(loss="squared").fit_covariance(C, 100)


def test_table_is_not_changed(global_random_seed):
    X = weak_data(global_random_seed, 6)
    before = X.copy()
    TopologicalSwap(loss="squared", neighborhood="both", n_init=2, random_state=0).fit(
        X
    )
    assert_array_equal(X, before)


def test_restarts(global_random_seed):
    X = weak_data(global_random_seed, 15, n=60)
    params = {"neighborhood": "paper", "random_state": global_random_seed}
    one = TopologicalSwap(loss="squared", **params).fit(X)
    many = TopologicalSwap(loss="squared", n_init=6, **params).fit(X)
    threads = TopologicalSwap(loss="squared", n_init=6, n_jobs=3, **params).fit(X)
    assert many.objective_ <= one.objective_
    assert many.start_objective_ == threads.start_objective_ == one.start_objective_
    assert many.history_ == threads.history_
    assert_array_equal(many.adjacency_, threads.adjacency_)


def test_sparsifiers(global_random_seed):
    data = ev_data(global_random_seed, 10, n_edges=15)

    def fit(**params):
        return TopologicalSwap(loss="squared", **params).fit(data.X)

    dense = fit(sparsifier=None)
    assert (dense.adjacency_ != 0).sum() == 45
    for params, cut in (({}, 0.3), ({"w_threshold": 0.6}, 0.6)):
        W = fit(sparsifier="threshold", **params).adjacency_
        raw = dense.raw_adjacency_
        assert_array_equal(W, np.where(np.abs(raw) < cut, 0, raw))
    W = fit(sparsifier=None, w_threshold=0.6).adjacency_
    assert_array_equal(W, np.where(np.abs(raw) < 0.6, 0, raw))
    for sparsifier in ("bic_l0", "adaptive_lasso"):
        learner = fit(sparsifier=sparsifier)
        assert structural_hamming_distance(data.W != 0, learner.adjacency_ != 0) <= 1
        assert_array_equal(learner.causal_order_, dense.causal_order_)
    sparse = fit(penalty=1e6).adjacency_
    assert not sparse.any()
    with pytest.warns(ConvergenceWarning, match="raise max_parents"):
        single = fit(max_parents=1)
    assert ((single.adjacency_ != 0).sum(axis=0) <= 1).all()


@pytest.mark.parametrize("neighborhood", ["insertion", "paper"])
def test_max_iter_warns(neighborhood):
    X = ev_data(1, 20).X
    learner = TopologicalSwap(
        loss="squared",
        neighborhood=neighborhood,
        init="random",
        random_state=0,
        max_iter=1,
    )
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        learner.fit(X)
    assert learner.n_iter_ == 1
    assert_allclose(
        learner.objective_, order_score(covariance(X), learner.causal_order_)
    )


def test_large_tolerance_accepts_less(global_random_seed):
    X = weak_data(global_random_seed, 15)
    params = {"init": "random", "random_state": 0}
    fine = TopologicalSwap(loss="squared", **params).fit(X)
    coarse = TopologicalSwap(loss="squared", tol=0.01, **params).fit(X)
    assert coarse.n_moves_ < fine.n_moves_
    history = np.array(coarse.history_)
    assert (-np.diff(history) > 0.01 * history[:-1]).all()


def test_drift_is_repaired(monkeypatch, global_random_seed):
    C = covariance(weak_data(global_random_seed, 12))
    params = {"loss": 0, "sweeps": _order_search.SWEEPS["both"], "tol": 1e-10}
    plain = search_order(C, np.arange(12), max_iter=100, **params)
    monkeypatch.setattr(_order_search, "MAX_DRIFT", -1.0)  # every sweep
    often = search_order(C, np.arange(12), max_iter=100, **params)
    assert_array_equal(often.state.order, plain.state.order)
    assert_allclose(often.history, plain.history)
    assert often.n_iter <= plain.n_iter  # no sweep to confirm a fresh state


def test_drift_is_seen(global_random_seed):
    C = covariance(weak_data(global_random_seed, 6))
    state = _order_search.OrderState(C, np.arange(6))
    assert not state.has_drifted
    for which in (0, 1):  # R, U
        state.arrays[which][3, 2:4] += 1e-6
        assert state.has_drifted
        state.refresh()


def test_verbose(capsys):
    X = weak_data(0, 5)
    TopologicalSwap(loss="squared", verbose=1, n_init=2, random_state=0).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("[TopologicalSwap] start 2/2: score ")
    TopologicalSwap(loss="squared").fit(X)
    assert capsys.readouterr().out == ""


def test_polish_dag(global_random_seed):
    data = ev_data(global_random_seed, 12)
    C = covariance(data.X)
    rng = np.random.default_rng(global_random_seed)
    wrong = np.where(rng.uniform(size=(12, 12)) < 0.5, data.W, data.W.T)
    wrong += 1e-3 * rng.uniform(size=(12, 12))
    result = polish_dag(data.X, wrong, loss="squared")
    assert result.score_after <= result.score_before
    assert_allclose(result.score_after, order_score(C, result.order))
    assert structural_hamming_distance(data.W != 0, result.adjacency != 0) <= 2
    again = polish_dag(data.X, result.adjacency, loss="squared", n_init=2)
    assert again.score_after <= again.score_before * (1 + 1e-12)
    assert again.n_moves >= 0
    assert_array_equal(again.estimator.raw_adjacency_, again.raw_adjacency)


def test_polish_dag_by_bic(global_random_seed):
    """The scores are BICs of the two graphs, also when "auto" chooses it."""
    data = unequal_draw(global_random_seed)
    X = np.column_stack([data.X, np.ones(len(data.X))])
    wrong = np.zeros((11, 11))
    wrong[:10, :10] = data.W.T
    for loss in ("bic", "auto"):
        with pytest.warns(DataConditionWarning, match="Constant"):
            result = polish_dag(X, wrong, loss=loss, random_state=0)
        assert result.estimator.loss_ == "bic"
        assert_allclose(result.score_before, bic_score(data.X, data.W.T))
        after = bic_score(data.X, result.adjacency[:10, :10])
        assert_allclose(result.score_after, after)
        assert after < result.score_before


def test_polish_dag_refuses():
    X = np.random.default_rng(0).standard_normal((20, 3))
    with pytest.raises(ValueError, match="takes no init"):
        polish_dag(X, np.zeros((3, 3)), init="random", loss="squared")
    with pytest.raises(ValueError, match="must have the same nodes"):
        polish_dag(X, np.zeros((2, 2)), loss="squared")


@pytest.mark.parametrize(
    ("C", "message"),
    [
        (np.ones((2, 3)), "square"),
        ([[1, 0.5], [0.2, 1]], "symmetric"),
        ([[1, np.nan], [np.nan, 1]], "finite"),
    ],
)
def test_bad_covariances(C, message):
    with pytest.raises(ValueError, match=message):
        order_score(C, [0, 1])
    with pytest.raises(ValueError, match=message):
        best_order_exact(C)


def test_functions_refuse():
    with pytest.raises(ValueError, match="not positive definite"):
        order_score(np.ones((2, 2)), [0, 1])
    with pytest.raises(ValueError, match="order must list each of the 2 columns"):
        order_score(np.eye(2), [0, 2])
    with pytest.raises(ValueError, match="too many for the exact search"):
        best_order_exact(np.eye(21))


@pytest.mark.parametrize("init", ["variance", "random"])
def test_finds_the_graph_of_50_variables(init, global_random_seed):
    data = ev_data(global_random_seed, 50)
    learner = TopologicalSwap("squared", init=init, random_state=0).fit(data.X)
    assert structural_hamming_distance(data.W != 0, learner.adjacency_ != 0) <= 2


def test_paper_mode_finds_the_insertion_optimum():
    distances, agree = [], 0
    for seed in range(1, 6):
        data = ev_data(seed, 20)
        params = {"loss": "squared", "sparsifier": "threshold", "random_state": seed}
        paper = TopologicalSwap(neighborhood="paper", init="random", **params)
        paper.fit(data.X)
        insertion = TopologicalSwap(**params).fit(data.X)
        agree += abs(paper.objective_ / insertion.objective_ - 1) < 1e-3
        distances.append(
            structural_hamming_distance(data.W != 0, paper.adjacency_ != 0)
        )
    assert np.mean(distances) <= 2
    assert agree >= 4


@pytest.mark.parametrize("neighborhood", ["insertion", "exchange", "both"])
def test_sachs(neighborhood):
    sachs = load_sachs()
    learner = TopologicalSwap(
        "squared", neighborhood=neighborhood, sparsifier="threshold", w_threshold=0.3
    ).fit(sachs.data)
    found = learner.adjacency_ != 0
    assert structural_hamming_distance(sachs.graph, found) <= 11
    assert structural_intervention_distance(sachs.graph, found) <= 44


@pytest.mark.slow
def test_finds_the_graph_of_200_variables(global_random_seed):
    data = ev_data(global_random_seed, 200)
    learner = TopologicalSwap("squared").fit(data.X)
    assert structural_hamming_distance(data.W != 0, learner.adjacency_ != 0) <= 8


@pytest.mark.slow
def test_finds_the_graph_of_1000_variables():
    data = ev_data(1, 1000, n=4000)
    learner = TopologicalSwap("squared", sparsifier="threshold", w_threshold=0.3)
    learner.fit(data.X)
    assert structural_hamming_distance(data.W != 0, learner.adjacency_ != 0) <= 20


# --- loss="bic" and "auto" ------------------------------------------------------------
def unequal_draw(seed, d=10):
    return make_linear_sem(
        2000, d, weight_range=(0.5, 1.5), noise_variance=(0.5, 10), random_state=seed
    )


def test_bic_does_not_see_the_units(global_random_seed):
    X = unequal_draw(global_random_seed).X
    raw = TopologicalSwap(loss="bic", random_state=0).fit(X)
    scaled = TopologicalSwap(loss="bic", random_state=0).fit(X * 2.0 ** np.arange(10))
    np.testing.assert_array_equal(raw.adjacency_ != 0, scaled.adjacency_ != 0)
    assert raw.loss_ == "bic"
    assert raw.bic_ == pytest.approx(bic_score(X, raw.adjacency_), abs=1e-5)
    assert raw.objective_ == pytest.approx(raw.bic_, abs=1e-5)
    assert (np.diff(raw.history_) <= 0).all()
    assert raw.n_iter_ == len(raw.history_) == 101
    np.testing.assert_array_equal(raw.cpdag_, dag_to_cpdag(raw.adjacency_ != 0))


@pytest.mark.parametrize("standardise", [False, True])
def test_auto_chooses_by_evidence(standardise, global_random_seed):
    equal = make_linear_sem(1000, 10, 20, random_state=global_random_seed).X
    unequal = unequal_draw(global_random_seed).X
    for X, loss in ((equal, "bic" if standardise else "squared"), (unequal, "bic")):
        X = X / X.std(axis=0) if standardise else X
        auto = TopologicalSwap(loss="auto", random_state=0).fit(X)
        assert auto.loss_ == loss
        chosen = TopologicalSwap(loss=loss, random_state=0).fit(X)
        np.testing.assert_array_equal(auto.adjacency_, chosen.adjacency_)
        assert (auto.equal_variance_pvalue_ > 1e-4) == (loss == "squared")
        choice = auto.loss_choice_
        assert choice[loss] == min(choice["squared"], choice["bic"])
        assert choice["reason"].startswith(f"{loss!r}: ")
        assert f"p = {auto.equal_variance_pvalue_:.3g}" in choice["reason"]
        d, n = X.shape[1], len(X)
        other = TopologicalSwap(loss="bic", random_state=0).fit(X)
        assert_allclose(choice["bic"], other.bic_ + d * np.log(n))
        ordered = TopologicalSwap(loss="squared").fit(X)
        assert ordered.equal_variance_pvalue_ == auto.equal_variance_pvalue_
        Z = ordered.transform(X)
        kurtosis = ((Z**4).mean(axis=0) / (Z**2).mean(axis=0) ** 2).mean()
        assert choice["kurtosis"] == pytest.approx(kurtosis)
        logs = np.log((Z**2).mean(axis=0))
        ratio = n * (d * np.log((Z**2).mean()) - logs.sum()) / ((kurtosis - 1) / 2)
        assert auto.equal_variance_pvalue_ == pytest.approx(chi2.sf(ratio, d - 1))
        n_parameters = 2 * np.count_nonzero(ordered.adjacency_) + 1
        expected = n * logs.sum() + ratio + n_parameters * np.log(n)
        assert_allclose(choice["squared"], expected)
        assert not hasattr(auto.set_params(loss=loss).fit(X), "loss_choice_")


@pytest.mark.parametrize("noise", ["exponential", "uniform"])
def test_tails_do_not_mislead_the_test_of_equal_variances(noise, global_random_seed):
    """If it were normal, exponential noise would have p-values of about 1e-8."""
    pvalues, first = [], 100 * global_random_seed
    for seed in range(first, first + 20):
        X = make_linear_sem(1000, 20, 40, noise=noise, random_state=seed).X
        pvalues.append(TopologicalSwap(loss="squared").fit(X).equal_variance_pvalue_)
    assert np.min(pvalues) > 1e-5
    assert 0.2 < np.mean(pvalues) < 0.8


def test_auto_is_not_misled_by_tails():
    """Noise of equal variances, t with five degrees of freedom."""
    for seed in (326, 337):
        data = make_linear_sem(1000, 20, random_state=seed)
        Z = np.random.default_rng(seed).standard_t(5, (1000, 20))
        X = np.linalg.solve(np.eye(20) - data.W.T, Z.T).T
        learner = TopologicalSwap(n_restarts=20, random_state=0).fit(X)
        assert learner.loss_ == "squared"
        assert learner.loss_choice_["kurtosis"] > 4


def test_tails_of_weighted_rows_and_of_covariances(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = make_linear_sem(
        200, 6, 9, noise="exponential", random_state=global_random_seed
    ).X
    weight = rng.integers(0, 4, 200)
    options = {"n_restarts": 5, "random_state": 0}
    weighted = TopologicalSwap(**options).fit(X, sample_weight=weight)
    repeated = TopologicalSwap(**options).fit(np.repeat(X, weight, axis=0))
    kurtosis = weighted.loss_choice_["kurtosis"]
    assert kurtosis == pytest.approx(repeated.loss_choice_["kurtosis"])
    assert kurtosis > 4
    with_constant = np.insert(X, 2, 7.0, axis=1)
    with pytest.warns(DataConditionWarning, match="Constant"):
        inserted = TopologicalSwap(**options).fit(with_constant, sample_weight=weight)
    assert inserted.loss_choice_["kurtosis"] == pytest.approx(kurtosis)
    C = np.cov(X.T, bias=True)
    known = TopologicalSwap(**options).fit_covariance(C, 200)
    assert known.loss_choice_["kurtosis"] == 3.0


def test_auto_has_no_choice_on_a_singular_covariance(global_random_seed):
    X = unequal_draw(global_random_seed, 5).X
    for table, match in ((X[:5], "too few"), (np.column_stack([X, X[:, 0]]), "depend")):
        learner = TopologicalSwap(random_state=0)
        with pytest.warns(DataConditionWarning, match=match) as told:
            learner.fit(table)
        assert len(told) == 1
        assert learner.loss_ == "bic"
        assert "singular" in learner.loss_choice_["reason"]
        assert np.isfinite(learner.bic_)


def test_bic_respects_knowledge_by_name(global_random_seed):
    X = pd.DataFrame(unequal_draw(global_random_seed, 5).X, columns=list("abcde"))
    X["constant"] = 1.0
    learner = TopologicalSwap(
        loss="auto",
        forbidden_edges=[("a", "b"), ("b", "a")],
        required_edges=[("c", "e")],
        tiers=[["c", "d"], ["a"]],
        n_restarts=10,
        random_state=0,
    )
    with pytest.warns(DataConditionWarning, match="constant"):
        learner.fit(X)
    A = learner.adjacency_ != 0
    assert learner.loss_ == "bic"
    assert A[2, 4]
    assert not A[0, 1]
    assert not A[1, 0]
    assert not A[0, [2, 3]].any()


def test_bic_is_deterministic_and_starts_where_told(global_random_seed):
    X = unequal_draw(global_random_seed).X
    options = {"loss": "bic", "n_init": 3, "n_restarts": 5, "random_state": 1}
    one, two = (TopologicalSwap(n_jobs=n, **options).fit(X) for n in (1, 2))
    np.testing.assert_array_equal(one.adjacency_, two.adjacency_)
    warm = TopologicalSwap(loss="bic", init=one, n_restarts=20, random_state=1).fit(X)
    assert warm.objective_ <= warm.start_objective_


def test_bic_warns_when_capped(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((300, 6))
    X[:, 0] += 3 * X[:, 1:].sum(axis=1)
    learner = TopologicalSwap(
        loss="bic", max_parents=1, tiers=[[1, 2, 3, 4, 5], [0]], n_restarts=3
    )
    with pytest.warns(ConvergenceWarning, match="max_parents=1"):
        learner.fit(X)


@pytest.mark.parametrize("sparsifier", ["bic_l0", "adaptive_lasso", "threshold", None])
def test_required_edges_stay_where_a_loss_cuts_them(sparsifier, global_random_seed):
    """A lasso of noise columns, all of whose weights are zero."""

    def lasso(P, x):
        if not P.shape[1]:
            return float(x @ x) / len(x) / 2, np.zeros(0)
        model = Lasso(alpha=0.5, fit_intercept=False).fit(P, x)
        rest = x - P @ model.coef_
        score = rest @ rest / len(x) / 2 + 0.5 * np.abs(model.coef_).sum()
        return float(score), model.coef_

    X = np.random.default_rng(global_random_seed).standard_normal((300, 4))
    required = np.zeros((4, 4), dtype=bool)
    required[3, [0, 1]] = True
    learner = TopologicalSwap(lasso, sparsifier=sparsifier, required_edges=required)
    learner.fit(X)
    assert (learner.adjacency_[required] != 0).all()
    np.testing.assert_allclose(learner.adjacency_, 0, atol=1e-30)
