# SPDX-License-Identifier: BSD-3-Clause
"""TopologicalSwap on poor tables, its options, and the graphs that it finds."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from skpapers.causal import (
    TopologicalSwap,
    _order_search,
    best_order_exact,
    bic_score,
    order_score,
    polish_dag,
)
from skpapers.causal._order_search import search_order
from skpapers.datasets import load_sachs, make_linear_sem
from skpapers.metrics import (
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


def unequal_draw(seed, d=10):
    return make_linear_sem(
        2000, d, weight_range=(0.5, 1.5), noise_variance=(0.5, 10), random_state=seed
    )


def covariance(X):
    return np.cov(X.T, bias=True)


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
