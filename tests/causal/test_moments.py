"""Moments of tables, whole, weighted and in parts."""

import array_api_strict
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from skpapers.causal._moments import merge_moments, moments


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
