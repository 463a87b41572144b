"""Derivatives of edge weights: finite differences, exact deletion, planted rows."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from skpapers.causal import TopologicalSwap, edge_influence
from skpapers.causal._moments import moments
from skpapers.causal._sparsify import refit_ols
from skpapers.datasets import make_linear_sem


@pytest.fixture
def fitted(global_random_seed):
    data = make_linear_sem(80, 5, n_edges=8, random_state=global_random_seed)
    X = data.X + np.array([0, 5, -3, 100, 1e3])
    return TopologicalSwap(loss="squared").fit(X), X


def _weights(learner, X, weight):
    return refit_ols(moments(X, weight)[2], learner.adjacency_ != 0)


@pytest.mark.parametrize("weighted", [False, True])
def test_finite_differences(fitted, global_random_seed, weighted):
    learner, X = fitted
    rng = np.random.default_rng(global_random_seed)
    weight = rng.uniform(0.5, 2, len(X)) if weighted else np.ones(len(X))
    for i, j in np.argwhere(learner.adjacency_):
        found = edge_influence(learner, X, i, j, sample_weight=weight)
        assert abs(weight @ found) < 1e-8 * np.abs(found).max() * len(X)
        deleted = edge_influence(
            learner, X, i, j, sample_weight=weight, change="deletion"
        )
        for r in rng.choice(len(X), 4, replace=False):
            step = 1e-4 * (np.arange(len(X)) == r)
            up = _weights(learner, X, weight + step)[i, j]
            down = _weights(learner, X, weight - step)[i, j]
            scale = np.abs(found).max()
            np.testing.assert_allclose(
                found[r], (up - down) / 2e-4, rtol=1e-4, atol=1e-6 * scale
            )
            without = weight * (np.arange(len(X)) != r)
            change = (
                _weights(learner, X, weight)[i, j] - _weights(learner, X, without)[i, j]
            )
            np.testing.assert_allclose(deleted[r], change, rtol=1e-6, atol=1e-9 * scale)


def test_finds_planted_rows(global_random_seed):
    data = make_linear_sem(500, 6, n_edges=8, random_state=global_random_seed)
    X = data.X.copy()
    i, j = np.argwhere(data.W)[0]
    learner = TopologicalSwap(init=data.W, loss="squared").fit(X)
    assert learner.adjacency_[i, j] != 0
    planted = np.random.default_rng(global_random_seed).choice(500, 10, replace=False)
    X[planted, i] = 4 * X[:, i].std() * np.where(np.arange(10) % 2, 1, -1)
    X[planted, j] = -np.sign(data.W[i, j] * X[planted, i]) * 4 * X[:, j].std()
    influence = edge_influence(learner, X, i, j, change="deletion")
    worst = np.argsort(-np.abs(influence))[:10]
    assert len(np.intersect1d(worst, planted)) >= 8


def test_bad_input(fitted):
    learner, X = fitted
    i, j = np.argwhere(learner.adjacency_)[0]
    with pytest.raises(ValueError, match="no edge"):
        edge_influence(learner, X, j, i)
    with pytest.raises(ValueError, match="source='z' is no column"):
        edge_influence(learner, X, "z", j)
    with pytest.raises(ValueError, match="target=5 is no column"):
        edge_influence(learner, X, i, 5)
    with pytest.raises(ValueError, match="5 columns"):
        edge_influence(learner, X[:, :4], i, j)
    with pytest.raises(NotFittedError):
        edge_influence(TopologicalSwap(), X, i, j)
    with pytest.raises(ValueError, match="change"):
        edge_influence(learner, X, i, j, change="none")
    same = X.copy()
    same[:, i] = 1.0
    with pytest.raises(ValueError, match="linearly dependent"):
        edge_influence(learner, same, i, j)
