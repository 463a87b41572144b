import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from skpapers.utils._units import mean_and_scale


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=30, deadline=None)
def test_units_are_those_of_scikit_learn(seed, is_weighted):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((20, 3)) * 10.0 ** rng.integers(-3, 4, 3) + 5
    weight = rng.integers(1, 4, 20).astype(float) if is_weighted else None
    mean, scale = mean_and_scale(X, weight)
    scaler = StandardScaler().fit(X, sample_weight=weight)
    np.testing.assert_allclose(mean, scaler.mean_, rtol=1e-9)
    np.testing.assert_allclose(scale, scaler.scale_, rtol=1e-9)


@pytest.mark.parametrize("factor", [1e-200, 1e150, 1e300])
def test_numbers_of_any_size(factor):
    X = np.array([[1.0, 3.0], [2.0, 3.0], [3.0, 3.0]]) * factor
    mean, scale = mean_and_scale(X)
    np.testing.assert_allclose(mean, [2 * factor, 3 * factor])
    np.testing.assert_allclose(scale, [np.sqrt(2 / 3) * factor, 1.0])


def test_rounding_is_no_spread():
    X = np.array([[0.3, 1.0], [0.1 * 3, 2.0], [0.3, 3.0]])
    assert X[0, 0] != X[1, 0]
    mean, scale = mean_and_scale(X)
    np.testing.assert_allclose(scale, StandardScaler().fit(X).scale_)
    assert scale[0] == 1.0
    np.testing.assert_allclose(mean, [0.3, 2.0])
