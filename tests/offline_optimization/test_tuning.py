"""Splits by the score, and scorers of the order of designs."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skpapers.offline_optimization import (
    QuantileShiftSplit,
    spearman_scorer,
    top_k_mean_scorer,
)


class Given(RegressorMixin, BaseEstimator):
    """Predicts the first column."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.asarray(X)[:, 0]


SCORES = arrays(float, st.integers(12, 40), elements=st.integers(-6, 6))


@settings(deadline=None, max_examples=100)
@given(
    y=SCORES,
    n_splits=st.integers(1, 4),
    quantile=st.floats(0.3, 0.8),
    maximize=st.booleans(),
)
def test_split_keeps_better_designs_apart(y, n_splits, quantile, maximize):
    cv = QuantileShiftSplit(n_splits, train_quantile=quantile, maximize=maximize)
    value = y if maximize else -y
    above = value > np.quantile(value, quantile)
    if not above.any() or (~above).sum() < n_splits:
        with pytest.raises(ValueError, match="No design is better|too few"):
            list(cv.split(y, y))
        return
    splits = list(cv.split(y, y))
    assert len(splits) == cv.get_n_splits() == n_splits
    tests = {tuple(test) for _, test in splits}
    assert len(tests) == 1
    for train, test in splits:
        assert value[train].max() < value[test].min()
        assert len(set(train)) == len(train)
        assert list(train) == sorted(train)
        assert list(test) == sorted(test)
    # each lower design is left out once, unless there is one split
    rest = np.delete(np.arange(len(y)), splits[0][1])
    times = sum(np.bincount(train, minlength=len(y)) for train, _ in splits)[rest]
    assert set(times) == {max(1, n_splits - 1)}
    # the shares are even
    sizes = [len(train) for train, _ in splits]
    assert max(sizes) - min(sizes) <= 1


def test_groups_reach_over_the_same_range(global_random_seed):
    y = np.random.default_rng(global_random_seed).standard_normal(400)
    lower = y[y <= np.quantile(y, 0.8)]
    for train, _ in QuantileShiftSplit(5).split(y, y):
        left_out = np.setdiff1d(lower, y[train])
        gaps = np.searchsorted(np.sort(lower), np.sort(left_out))
        assert set(np.diff(gaps)) == {5}


def test_share_that_trains(global_random_seed):
    y = np.random.default_rng(global_random_seed).standard_normal(1000)
    ((train, test),) = QuantileShiftSplit(1, train_quantile=0.8).split(y, y)
    assert len(train) == 800
    assert len(test) == 200
    ((train, test),) = QuantileShiftSplit(1, train_quantile=0.8, maximize=False).split(
        y, y
    )
    assert y[train].min() > y[test].max()


def test_split_is_the_same_each_time_and_for_any_container():
    y = np.random.default_rng(0).standard_normal(50)
    cv = QuantileShiftSplit(3)
    first = list(cv.split(np.zeros((50, 2)), y))
    for X, scores in [
        (pd.DataFrame({"a": y}), pd.Series(y, index=np.arange(50)[::-1])),
        (y.tolist(), y.tolist()),
        (np.zeros((50, 2)), y[:, None].ravel()),
    ]:
        for one, other in zip(first, cv.split(X, scores), strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])
    assert repr(cv) == (
        "QuantileShiftSplit(maximize=True, n_splits=3, train_quantile=0.8)"
    )


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"n_splits": 0}, "n_splits"),
        ({"n_splits": 2.0}, "n_splits"),
        ({"train_quantile": 0.0}, "train_quantile"),
        ({"train_quantile": 1.0}, "train_quantile"),
        ({"train_quantile": "half"}, "train_quantile"),
        ({"maximize": "yes"}, "maximize"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        QuantileShiftSplit(**arguments)


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (None, "y is needed"),
        (np.ones(20), "No design is better"),
        (np.arange(5.0), "too few for n_splits=5"),
        (np.r_[np.arange(19.0), np.nan], "NaN"),
        (np.r_[np.arange(19.0), np.inf], "infinity"),
        (np.zeros((20, 2)), "1d array"),
        (np.arange(21.0), "inconsistent"),
        (["good"] * 20, "could not convert"),
    ],
    ids=["none", "constant", "few", "nan", "inf", "2d", "length", "text"],
)
def test_bad_scores(y, match):
    X = np.zeros((20 if y is None or len(y) != 5 else 5, 1))
    with pytest.raises(ValueError, match=match):
        list(QuantileShiftSplit(5).split(X, y))


# ------------------------------------------------------------------------ the scorers


@settings(deadline=None, max_examples=100)
@given(y=SCORES, seed=st.integers(0, 10))
def test_spearman_is_scipys(y, seed):
    predicted = np.random.default_rng(seed).integers(0, 5, len(y)).astype(float)
    found = spearman_scorer(Given(), predicted[:, None], y)
    if len(set(y)) == 1 or len(set(predicted)) == 1:
        assert found == 0.0
    else:
        assert type(found) is float
        np.testing.assert_allclose(found, spearmanr(predicted, y).statistic, atol=1e-12)


def test_spearman_of_nothing_is_zero():
    X = np.zeros((5, 1))
    assert spearman_scorer(Given(), X, np.arange(5.0)) == 0.0
    assert spearman_scorer(Given(), np.arange(5.0)[:, None], np.zeros(5)) == 0.0


@settings(deadline=None, max_examples=100)
@given(y=SCORES, seed=st.integers(0, 10), data=st.data(), maximize=st.booleans())
def test_top_k_is_the_mean_over_all_orders_of_ties(y, seed, data, maximize):
    k = data.draw(st.integers(1, len(y)))
    rng = np.random.default_rng(seed)
    predicted = rng.integers(0, 4, len(y)).astype(float)
    found = top_k_mean_scorer(k, maximize=maximize)(Given(), predicted[:, None], y)
    rank = predicted if maximize else -predicted
    # the chance of each design to be among the first k
    chance = [
        np.clip((k - (rank > r).sum()) / (rank == r).sum(), 0.0, 1.0) for r in rank
    ]
    expected = np.dot(chance, y) / k
    np.testing.assert_allclose(found, expected if maximize else -expected, atol=1e-12)
    order = rng.permutation(len(y))
    again = top_k_mean_scorer(k, maximize=maximize)(
        Given(), predicted[order][:, None], y[order]
    )
    np.testing.assert_allclose(again, found, atol=1e-12)


def test_top_k_without_ties(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    y, predicted = rng.standard_normal((2, 60))
    best = np.argsort(-predicted)[:7]
    scorer = top_k_mean_scorer(7)
    np.testing.assert_allclose(scorer(Given(), predicted[:, None], y), y[best].mean())
    copy = pickle.loads(pickle.dumps(clone(scorer, safe=False)))
    np.testing.assert_allclose(copy(Given(), predicted[:, None], y), y[best].mean())
    worst = np.argsort(predicted)[:7]
    found = top_k_mean_scorer(7, maximize=False)(Given(), predicted[:, None], y)
    np.testing.assert_allclose(found, -y[worst].mean())


@pytest.mark.parametrize("k", [0, -1, 2.0, True, "many"])
def test_bad_k(k):
    with pytest.raises(ValueError, match="k must be"):
        top_k_mean_scorer(k)


def test_bad_input_of_scorers():
    X, y = np.arange(4.0)[:, None], np.arange(4.0)
    with pytest.raises(ValueError, match="maximize"):
        top_k_mean_scorer(3, maximize="no")
    with pytest.raises(ValueError, match="only 4 designs"):
        top_k_mean_scorer(5)(Given(), X, y)
    with pytest.raises(ValueError, match="at least two"):
        spearman_scorer(Given(), X[:1], y[:1])
    with pytest.raises(ValueError, match="prediction contains"):
        spearman_scorer(Given(), np.full((4, 1), np.inf), y)
    with pytest.raises(ValueError, match="NaN"):
        top_k_mean_scorer(2)(Given(), X, np.full(4, np.nan))


# ------------------------------------------------------------------- both in a search


def test_in_grid_search_and_cross_validate(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.uniform(-1, 1, (200, 3))
    y = X @ [2.0, -1.0, 0.5] + 0.1 * rng.standard_normal(200)
    scoring = {"order": spearman_scorer, "top": top_k_mean_scorer(10)}
    search = GridSearchCV(
        Ridge(),
        {"alpha": [1e-3, 1e3]},
        cv=QuantileShiftSplit(3),
        scoring=scoring,
        refit="order",
    ).fit(X, y)
    assert search.n_splits_ == 3
    assert search.best_score_ > 0.9
    found = cross_validate(
        Ridge(), X, y, cv=QuantileShiftSplit(4), scoring=spearman_scorer
    )
    assert len(found["test_score"]) == 4


def test_sees_what_k_folds_do_not(global_random_seed):
    """Neighbours are better within the table, the line is beyond it."""
    rng = np.random.default_rng(global_random_seed)
    X = rng.uniform(0, 1, (300, 2))
    y = X.sum(axis=1) + 0.3 * np.sin(12 * X[:, 0]) + 0.02 * rng.standard_normal(300)
    models = {
        "line": make_pipeline(StandardScaler(), PolynomialFeatures(1), Ridge(1e-3)),
        "neighbours": KNeighborsRegressor(5),
    }

    def best(cv, scoring):
        found = {
            name: cross_validate(model, X, y, cv=cv, scoring=scoring)["test_score"]
            for name, model in models.items()
        }
        return max(found, key=lambda name: found[name].mean())

    assert best(KFold(5, shuffle=True, random_state=0), "r2") == "neighbours"
    shifted = QuantileShiftSplit(5, train_quantile=0.5)
    assert best(shifted, spearman_scorer) == "line"
    assert best(shifted, top_k_mean_scorer(10)) == "line"
