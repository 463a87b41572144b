# SPDX-License-Identifier: BSD-3-Clause
"""`TopologicalSwap` under prior knowledge, with every loss."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skpapers.causal import TopologicalSwap
from skpapers.causal._general_losses import covariance_fits
from skpapers.datasets import make_linear_sem

SPARSIFIERS = ["bic_l0", "adaptive_lasso", "threshold", None]


def least_squares(P, x):
    """A callable loss that equals the built-in one."""
    w = np.linalg.lstsq(P, x, rcond=None)[0]
    return float(((x - P @ w) ** 2).mean() / 2), w


def lowest_score(C, allowed, required):
    """Return the lowest sum of residual variances over all orders that agree."""
    best = np.inf
    for order in permutations(range(len(C))):
        place = np.argsort(order)
        if any(place[i] > place[j] for i, j in np.argwhere(required)):
            continue
        total = 0.0
        for p, v in enumerate(order):
            P = [u for u in order[:p] if allowed[u, v]]
            w = np.linalg.solve(C[np.ix_(P, P)], C[P, v])
            total += (C[v, v] - C[P, v] @ w) / 2
        best = min(best, total)
    return best


@pytest.mark.parametrize("loss", ["squared", least_squares])
def test_best_order_under_knowledge(loss, global_random_seed):
    X = make_linear_sem(200, 5, 7, random_state=global_random_seed).X
    forbidden, required = np.zeros((5, 5), dtype=bool), np.zeros((5, 5), dtype=bool)
    forbidden[0, [1, 2]] = required[3, 1] = True
    allowed = ~forbidden & ~required.T
    C = np.cov(X.T, bias=True)
    learner = TopologicalSwap(
        loss,
        forbidden_edges=forbidden,
        required_edges=required,
        n_init=20,  # a move at a time may stop short of the best order
        random_state=global_random_seed,
    ).fit(X)
    np.testing.assert_allclose(
        learner.objective_, lowest_score(C, allowed, required), rtol=1e-9
    )


@pytest.mark.parametrize("sparsifier", SPARSIFIERS)
@pytest.mark.parametrize("loss", ["squared", "sum_std", "bic", "auto", least_squares])
def test_graph_fulfils_knowledge(loss, sparsifier, global_random_seed):
    X = make_linear_sem(300, 6, 9, random_state=global_random_seed).X
    learner = TopologicalSwap(
        loss,
        sparsifier=sparsifier,
        forbidden_edges=[(0, 1), (1, 0), (2, 3)],
        required_edges=[(1, 4), (4, 5)],
        tiers=[[1, 4], [0, 5]],
        random_state=0,
    ).fit(X)
    present = learner.adjacency_ != 0
    assert not present[[0, 1, 2], [1, 0, 3]].any()
    assert present[[1, 4], [4, 5]].all()
    assert not present[np.ix_([0, 5], [1, 4])].any()
    place = np.argsort(learner.causal_order_)
    causes, effects = np.nonzero(present)
    assert (place[causes] < place[effects]).all()


@pytest.mark.parametrize("sparsifier", ["bic_l0", "threshold", None])
def test_logistic_graph_fulfils_knowledge(sparsifier, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.normal(size=(400, 4))
    X[:, 1] += 2 * X[:, 0]
    X[:, 2] += 2 * X[:, 1]
    learner = TopologicalSwap(
        "logistic",
        alpha=1e-3,
        sparsifier=sparsifier,
        forbidden_edges=[(0, 1), (1, 0)],
        required_edges=[(3, 0)],
    ).fit((X > 0).astype(float))
    present = learner.adjacency_ != 0
    assert not present[[0, 1], [1, 0]].any()
    assert present[3, 0]


@pytest.mark.parametrize("loss", ["squared", "sum_std"])
def test_knowledge_that_says_nothing_changes_nothing(loss, global_random_seed):
    X = make_linear_sem(500, 8, 16, random_state=global_random_seed).X
    plain = TopologicalSwap(loss).fit(X)
    told = TopologicalSwap(loss, forbidden_edges=[]).fit(X)
    np.testing.assert_allclose(told.adjacency_, plain.adjacency_, atol=1e-10)
    np.testing.assert_allclose(told.objective_, plain.objective_, rtol=1e-10)
    np.testing.assert_allclose(told.raw_adjacency_, plain.raw_adjacency_, atol=1e-10)


def test_true_knowledge_does_no_harm_and_false_one_costs(global_random_seed):
    sem = make_linear_sem(2000, 10, 20, random_state=global_random_seed)
    i, j = np.argwhere(sem.W)[0]
    right = TopologicalSwap("squared", required_edges=[(i, j)]).fit(sem.X)
    wrong = TopologicalSwap("squared", required_edges=[(j, i)]).fit(sem.X)
    plain = TopologicalSwap("squared").fit(sem.X)
    assert right.objective_ <= plain.objective_ * (1 + 1e-9)
    assert wrong.objective_ > plain.objective_


def test_auto_compares_both_losses_under_knowledge(global_random_seed):
    sem = make_linear_sem(1000, 10, 20, random_state=global_random_seed)
    edges = np.argwhere(sem.W)[:3].tolist()
    learner = TopologicalSwap("auto", required_edges=edges, random_state=0).fit(sem.X)
    assert learner.loss_ == "squared"  # equal variances
    assert {"squared", "bic"} <= set(learner.loss_choice_)
    assert (learner.adjacency_[tuple(np.transpose(edges))] != 0).all()


def test_required_edges_are_not_cut(global_random_seed):
    X = np.random.default_rng(global_random_seed).normal(size=(200, 4))
    for loss in ("squared", "bic"):
        learner = TopologicalSwap(
            loss, required_edges=[(0, 1)], w_threshold=10.0, random_state=0
        ).fit(X)
        np.testing.assert_array_equal(np.argwhere(learner.adjacency_), [[0, 1]])


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_fits_of_a_covariance_are_regressions(seed):
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 7))
    X = rng.normal(size=(40, d)) @ rng.normal(size=(d, d))
    X -= X.mean(axis=0)
    C = X.T @ X / len(X)
    allowed = rng.random((d, d)) < 0.6
    np.fill_diagonal(allowed, False)
    fits = covariance_fits(C, lambda v: v / 2, allowed)
    order = rng.permutation(d).tolist()
    losses = fits.order_losses(order)
    for p, v in enumerate(order):
        P = [u for u in order[:p] if allowed[u, v]]
        value, _ = least_squares(X[:, P], X[:, v])
        np.testing.assert_allclose(losses[p], value, rtol=1e-6, atol=1e-12)


def test_memory_of_fits_is_bounded(monkeypatch):
    monkeypatch.setattr("skpapers.causal._general_losses.MAX_KNOWN", 5)
    X = make_linear_sem(300, 8, 16, random_state=0).X
    few = TopologicalSwap("squared", forbidden_edges=[(0, 1)]).fit(X)
    monkeypatch.undo()
    many = TopologicalSwap("squared", forbidden_edges=[(0, 1)]).fit(X)
    np.testing.assert_allclose(few.adjacency_, many.adjacency_, atol=1e-12)
