# SPDX-License-Identifier: BSD-3-Clause
"""SortRegress: the order, the peer's regression written out, and published quality."""

import numpy as np
import pytest
from sklearn.linear_model import LassoLarsIC, LinearRegression

from skpapers.causal._sort_regress import SortRegress, unexplained_shares
from skpapers.datasets import make_linear_sem
from skpapers.metrics import structural_hamming_distance
from skpapers.utils import DataConditionWarning


def table(seed, d=20):
    n_edges = min(4 * d, d * (d - 1) // 2)
    return make_linear_sem(1000, d, n_edges, random_state=seed)


def sorted_regressions(X, order):
    """Regress column by column with scikit-learn, as in the definition."""
    W = np.zeros((X.shape[1], X.shape[1]))
    for k in range(1, len(order)):
        P, v = order[:k], order[k]
        weights = np.abs(LinearRegression().fit(X[:, P], X[:, v]).coef_)
        lasso = LassoLarsIC(criterion="bic").fit(X[:, P] * weights, X[:, v])
        W[P, v] = lasso.coef_ * weights
    return W


@pytest.mark.parametrize("criterion", ["variance", "r2", "random"])
def test_definition(criterion, global_random_seed):
    X = table(global_random_seed, d=12).X
    learner = SortRegress(criterion, w_threshold=0.0, random_state=3).fit(X)
    order = learner.causal_order_
    if criterion == "variance":
        variances = X.var(axis=0)[order]
        assert (np.diff(variances) >= -1e-9 * variances[1:]).all()
    elif criterion == "r2":
        shares = [
            LinearRegression()
            .fit(np.delete(X, j, axis=1), X[:, j])
            .score(np.delete(X, j, axis=1), X[:, j])
            for j in order
        ]
        assert (np.diff(shares) >= -1e-9).all()
    expected = sorted_regressions(X, order)
    np.testing.assert_allclose(learner.adjacency_, expected, rtol=1e-6, atol=1e-7)


def test_unexplained_shares(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    A = rng.standard_normal((6, 6))
    C = A @ A.T
    expected = 1 / (np.diag(np.linalg.inv(C)) * np.diag(C))
    np.testing.assert_allclose(unexplained_shares(C), expected, rtol=1e-8)
    doubled = np.pad(C, (0, 1), mode="wrap")  # the first column once more
    shares = unexplained_shares(doubled)
    assert shares[0] == shares[6] == 0
    np.testing.assert_allclose(shares[1:6], expected[1:], rtol=1e-8)


def test_quality_of_the_baseline():
    """The known picture: variance sorts raw simulated data, nothing standardised."""
    distances = {}
    for seed in range(1, 6):
        data = table(seed)
        Z = (data.X - data.X.mean(axis=0)) / data.X.std(axis=0)
        for name, X in (("raw", data.X), ("standardised", Z)):
            for criterion in ("variance", "r2", "random"):
                learner = SortRegress(criterion, random_state=seed).fit(X)
                distances.setdefault((name, criterion), []).append(
                    structural_hamming_distance(data.W, learner.adjacency_)
                )
    mean = {key: np.mean(values) for key, values in distances.items()}
    assert mean["raw", "variance"] == pytest.approx(25, abs=1)
    assert mean["raw", "r2"] == pytest.approx(56, abs=1)
    assert mean["raw", "random"] > 80
    assert mean["standardised", "variance"] > 100
    assert mean["standardised", "r2"] == pytest.approx(68, abs=1)


def test_bic_and_threshold(global_random_seed):
    X = table(global_random_seed).X
    learner = SortRegress(sparsifier="bic_l0").fit(X)
    np.testing.assert_array_equal(learner.adjacency_, learner.raw_adjacency_)
    weights = np.abs(
        SortRegress(sparsifier="bic_l0", w_threshold=0.5).fit(X).adjacency_
    )
    assert weights[weights > 0].min() > 0.5
    dense = SortRegress(sparsifier="bic_l0", penalty=0.5).fit(X)
    sparse = SortRegress(sparsifier="bic_l0", penalty=8.0).fit(X)
    assert np.count_nonzero(sparse.adjacency_) < np.count_nonzero(dense.adjacency_)
    lasso = SortRegress().fit(X)
    cut = np.abs(lasso.raw_adjacency_) > 0.3
    np.testing.assert_array_equal(lasso.adjacency_, lasso.raw_adjacency_ * cut)


def test_standardised_columns_keep_their_order(global_random_seed):
    """Equal variances must not be sorted by their rounding errors."""
    X = table(global_random_seed).X
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    assert (SortRegress().fit(Z).causal_order_ == np.arange(20)).all()
    assert (SortRegress().fit(Z + 100).causal_order_ == np.arange(20)).all()


def test_random_order_depends_on_the_seed_only(global_random_seed):
    X = table(global_random_seed).X
    first = SortRegress("random", random_state=1).fit(X)
    again = SortRegress("random", random_state=1).fit(X[:, ::-1])
    other = SortRegress("random", random_state=2).fit(X)
    np.testing.assert_array_equal(first.causal_order_, again.causal_order_)
    assert (first.causal_order_ != other.causal_order_).any()


@pytest.mark.parametrize("criterion", ["variance", "r2"])
def test_difficult_tables(criterion, global_random_seed):
    X = table(global_random_seed, d=8).X
    with pytest.warns(DataConditionWarning, match="8 rows are too few for 8"):
        learner = SortRegress(criterion).fit(X[:8])
    assert np.isfinite(learner.adjacency_).all()
    with pytest.warns(DataConditionWarning, match="depend linearly on others"):
        doubled = SortRegress(criterion).fit(np.hstack([X, X[:, :2]]))
    assert np.isfinite(doubled.adjacency_).all()
    with pytest.warns(DataConditionWarning, match="Constant"):
        learner = SortRegress(criterion).fit(np.hstack([X, np.ones((len(X), 1))]))
    assert learner.causal_order_[-1] == 8
    single = SortRegress(criterion).fit(X[:, :1])
    assert single.adjacency_.shape == (1, 1)


def test_units_and_weights(global_random_seed):
    X = table(global_random_seed, d=8).X
    learner = SortRegress("r2", w_threshold=0.0).fit(X)
    units = 2.0 ** np.arange(8)
    scaled = SortRegress("r2", w_threshold=0.0).fit(X * units)
    np.testing.assert_allclose(
        scaled.adjacency_, learner.adjacency_ * units / units[:, None], rtol=1e-8
    )
    weights = np.random.default_rng(global_random_seed).integers(1, 3, len(X))
    weighted = SortRegress().fit(X, sample_weight=weights)
    repeated = SortRegress().fit(np.repeat(X, weights, axis=0))
    np.testing.assert_allclose(weighted.adjacency_, repeated.adjacency_, atol=1e-8)


def test_bad_parameters():
    X = np.random.default_rng(0).standard_normal((20, 3))
    with pytest.raises(ValueError, match="criterion"):
        SortRegress("mean").fit(X)
    with pytest.raises(ValueError, match="w_threshold"):
        SortRegress(w_threshold=-1.0).fit(X)
