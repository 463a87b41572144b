"""Moments of tables, whole, weighted and in parts."""

import pickle
from itertools import pairwise

import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone

from skpapers.causal import CoLiDE, SortRegress, StabilityDAG, TopologicalSwap
from skpapers.causal._moments import mean_kurtosis, merge_moments, moments
from skpapers.datasets import make_linear_sem


@pytest.fixture(params=[1 << 22, 5])
def chunks(request, monkeypatch):
    monkeypatch.setattr("skpapers.causal._moments._CHUNK_ENTRIES", request.param)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("xp", [np, array_api_strict])
def test_equal_numpy(global_random_seed, xp):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((23, 3)) * [1, 1e5, 1e-5] + [0, 1, 7]
    weight = rng.uniform(0, 2, 23)
    n, mean, C = moments(xp.asarray(X))
    assert n == 23
    np.testing.assert_allclose(mean, X.mean(axis=0))
    np.testing.assert_allclose(C, np.cov(X.T, bias=True), rtol=1e-9, atol=1e-13)
    n, mean, C = moments(xp.asarray(X), xp.asarray(weight))
    assert n == pytest.approx(weight.sum())
    np.testing.assert_allclose(mean, np.average(X, axis=0, weights=weight))
    expected = np.cov(X.T, bias=True, aweights=weight)
    np.testing.assert_allclose(C, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("xp", [np, array_api_strict])
def test_kurtosis_of_residuals(global_random_seed, xp):
    rng = np.random.default_rng(global_random_seed)
    Z = rng.exponential(size=(30, 3)) ** 2 * [1, 1e2, 1e-2]
    W = np.triu(np.full((3, 3), 2.0), 1)
    X = 5.0 + Z @ np.linalg.inv(np.eye(3) - W)
    weight = rng.integers(1, 4, 30).astype(float)
    for w in (None, weight):
        mean = np.average(X, axis=0, weights=w)
        left = (X - mean) @ (np.eye(3) - W)
        std = np.sqrt(np.average(left**2, axis=0, weights=w))
        expected = np.average((left / std) ** 4, axis=0, weights=w).mean()
        given_w = None if w is None else xp.asarray(w)
        found = mean_kurtosis(xp.asarray(X), given_w, mean, W, std)
        assert found == pytest.approx(expected)


@given(
    X=arrays(np.float64, (12, 2), elements=st.floats(-1e3, 1e3)),
    cut=st.integers(1, 11),
)
def test_parts_together(X, cut):
    n, mean, C = merge_moments(moments(X[:cut]), moments(X[cut:]))
    whole = moments(X)
    assert n == whole[0]
    np.testing.assert_allclose(mean, whole[1], rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(C, whole[2], rtol=1e-10, atol=1e-6)


LEARNERS = [
    CoLiDE("equal"),
    CoLiDE("nonequal"),
    TopologicalSwap("bic", random_state=0),
    TopologicalSwap("squared"),
    SortRegress(),
    StabilityDAG(TopologicalSwap("squared"), n_bootstraps=3, random_state=0),
]


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_streams_give_the_graph_of_one_fit(learner, global_random_seed):
    data = make_linear_sem(1200, 6, n_edges=8, random_state=global_random_seed)
    rng = np.random.default_rng(global_random_seed)
    X, weight = data.X + 3.0, rng.integers(1, 4, 1200).astype(float)
    whole = clone(learner).fit(X, sample_weight=weight)
    parts = clone(learner)
    ends = [0, *np.sort(rng.choice(np.arange(2, 1199), 5, replace=False)), 1200]
    for start, end in pairwise(ends):
        parts.partial_fit(
            X[start:end], sample_weight=weight[start:end], learn=end == 1200
        )
    assert parts.n_samples_seen_ == whole.n_samples_seen_ == weight.sum()
    np.testing.assert_allclose(parts.covariance_, whole.covariance_, rtol=1e-9)
    np.testing.assert_allclose(parts.mean_, whole.mean_, rtol=1e-9)
    if not isinstance(learner, StabilityDAG):  # which resamples rows where it has them
        np.testing.assert_allclose(parts.adjacency_, whole.adjacency_, atol=1e-6)


def test_streams_keep_no_rows():
    """What is kept grows with the columns only."""
    X = np.random.default_rng(0).standard_normal((2000, 4))
    learner = TopologicalSwap("bic", random_state=0)
    sizes = [
        len(pickle.dumps(learner.partial_fit(part))) for part in (X[:50], X, X, X, X)
    ]
    assert max(sizes) - min(sizes) < 200
