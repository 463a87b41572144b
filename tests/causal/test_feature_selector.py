"""Selection of the parents and the Markov blanket of a target."""

import pickle
from numbers import Real

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from skpapers.causal import TopologicalSwap
from skpapers.causal._base import BaseLinearDAG, LearnedDAG, residual_variances
from skpapers.causal._feature_selector import (
    CausalFeatureSelector,
    encode_target,
    neighbours_of,
)
from skpapers.utils._sklearn import Interval

# 0 -> 4 -> 2 <- 1, and 3 apart: a target (4) with a cause, a consequence and the
# consequence's other cause.
NAMES = ["cause", "partner", "consequence", "apart"]
PARENTS = [True, False, False, False]
BLANKET = [True, True, True, False]


class VarianceOrder(BaseLinearDAG):
    """Regress each column on those of smaller variance and cut the weak weights."""

    _parameter_constraints = {"alpha": [Interval(Real, 0, None, closed="left")]}

    def __init__(self, alpha=0.3):
        self.alpha = alpha

    def _learn(self, C, n_samples, columns):
        order = np.argsort(np.diag(C), kind="stable")
        raw = np.zeros_like(C)
        for k, j in enumerate(order[1:], start=1):
            raw[order[:k], j] = np.linalg.lstsq(
                C[np.ix_(order[:k], order[:k])], C[order[:k], j]
            )[0]
        W = np.where(np.abs(raw) > self.alpha, raw, 0.0)
        return LearnedDAG(W, raw, order, np.sqrt(residual_variances(C, W)))


class FixedGraph(BaseEstimator):
    """Return a given graph whatever the table."""

    def __init__(self, adjacency=None):
        self.adjacency = adjacency

    def fit(self, X, y=None):
        if self.adjacency is not None:
            self.adjacency_ = self.adjacency
        return self


def make_table(seed, n=2000):
    rng = np.random.default_rng(seed)
    cause, partner, apart = rng.standard_normal((3, n)) * [[1.0], [1.1], [1.2]]
    y = 2 * cause + rng.standard_normal(n)
    consequence = 1.5 * y - partner + rng.standard_normal(n)
    return np.column_stack([cause, partner, consequence, apart]), y


@parametrize_with_checks(
    [
        CausalFeatureSelector(),
        CausalFeatureSelector(VarianceOrder(alpha=0.0)),
        CausalFeatureSelector(VarianceOrder(alpha=0.0), kind="markov_blanket"),
        CausalFeatureSelector(VarianceOrder(), target=0),
    ],
    xfail_strict=True,
)
@pytest.mark.filterwarnings(
    "ignore:No features were selected:UserWarning",
    "ignore::skpapers.utils.DataConditionWarning",
)
def test_sklearn_contract(estimator, check):
    check(estimator)


def test_parents_and_markov_blanket(global_random_seed):
    X, y = make_table(global_random_seed)
    selector = CausalFeatureSelector(VarianceOrder()).fit(X, y)
    np.testing.assert_array_equal(selector.get_support(), PARENTS)
    np.testing.assert_array_equal(selector.transform(X), X[:, PARENTS])
    selector.set_params(kind="markov_blanket").fit(X, y)
    np.testing.assert_array_equal(selector.get_support(), BLANKET)
    np.testing.assert_array_equal(selector.transform(X), X[:, BLANKET])
    np.testing.assert_array_equal(selector.get_support(indices=True), [0, 1, 2])
    back = selector.inverse_transform(X[:, BLANKET])
    np.testing.assert_array_equal(back, X * BLANKET)


def test_neighbours_against_their_definition(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    for d in (1, 2, 5, 9):
        W = np.triu(rng.standard_normal((d, d)) * (rng.random((d, d)) < 0.4), 1)
        shuffled = rng.permutation(d)
        W = W[np.ix_(shuffled, shuffled)]
        for target in range(d):
            parents = {i for i in range(d) if W[i, target]}
            children = {j for j in range(d) if W[target, j]}
            partners = {i for j in children for i in range(d) if W[i, j]}
            blanket = (parents | children | partners) - {target}
            got = neighbours_of(W, target, "parents")
            assert set(np.flatnonzero(got)) == parents
            got = neighbours_of(W, target, "markov_blanket")
            assert set(np.flatnonzero(got)) == blanket


def test_the_blanket_makes_the_target_independent_of_the_rest(global_random_seed):
    """The property that the docstring promises, from the model's exact covariance."""
    rng = np.random.default_rng(global_random_seed)
    d = 8
    W = np.triu(rng.uniform(0.5, 2, (d, d)) * (rng.random((d, d)) < 0.4), 1)
    effects = np.linalg.inv(np.eye(d) - W)
    precision = np.linalg.inv(effects.T @ effects)
    for target in range(d):
        outside = ~neighbours_of(W, target, "markov_blanket")
        outside[target] = False
        # a zero of the precision matrix is independence given everything else
        np.testing.assert_allclose(precision[target, outside], 0, atol=1e-8)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_frames_keep_names(make):
    X, y = make_table(0)
    frame = make(dict(zip(NAMES, X.T, strict=True)))
    selector = CausalFeatureSelector(VarianceOrder(), kind="markov_blanket")
    library = "pandas" if make is pd.DataFrame else "polars"
    out = selector.set_output(transform=library).fit(frame, y).transform(frame)
    assert type(out) is make
    assert list(out.columns) == NAMES[:3] == list(selector.get_feature_names_out())
    np.testing.assert_array_equal(out.to_numpy(), X[:, :3])
    assert list(selector.feature_names_in_) == NAMES
    assert list(selector.learner_.feature_names_in_) == [*NAMES, "y"]
    assert (selector.target_name_, selector.target_index_) == ("y", 4)


@pytest.mark.parametrize("series", [pd.Series, pl.Series])
def test_the_target_has_the_name_of_the_series(series):
    X, y = make_table(0)
    frame = pd.DataFrame(X, columns=NAMES)
    named = series(y, name="z") if series is pd.Series else series("z", y)
    selector = CausalFeatureSelector(VarianceOrder()).fit(frame, named)
    assert selector.target_name_ == selector.learner_.feature_names_in_[-1] == "z"
    taken = frame.rename(columns={"apart": "y", "partner": "z"})
    assert selector.fit(taken, y).target_name_ == "y_"
    assert selector.fit(taken, named).target_name_ == "z_"
    # without column names there are none in the learner either
    assert selector.fit(X, named).target_name_ == "z"
    assert not hasattr(selector.learner_, "feature_names_in_")


def test_target_among_the_columns():
    X, y = make_table(0)
    table = np.column_stack([X[:, :2], y, X[:, 2:]])
    names = [*NAMES[:2], "goal", *NAMES[2:]]
    frame = pd.DataFrame(table, columns=names)
    by_index = CausalFeatureSelector(VarianceOrder(), target=2, kind="markov_blanket")
    assert not get_tags(by_index).target_tags.required
    assert get_tags(CausalFeatureSelector()).target_tags.required
    np.testing.assert_array_equal(by_index.fit(table).support_, [1, 1, 0, 1, 0])
    assert (by_index.target_index_, by_index.target_name_) == (2, "x2")
    by_index.set_params(target=-3).fit(table)
    np.testing.assert_array_equal(by_index.support_, [1, 1, 0, 1, 0])
    assert by_index.target_index_ == 2
    by_name = CausalFeatureSelector(VarianceOrder(), target="goal").fit(frame)
    np.testing.assert_array_equal(by_name.support_, [1, 0, 0, 0, 0])
    assert (by_name.target_index_, by_name.target_name_) == (2, "goal")
    # y is ignored
    again = by_name.fit(frame, np.arange(len(frame)) % 7).support_
    np.testing.assert_array_equal(again, [1, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("target", "match"),
    [
        ("goal", "is a name, but X has no column names"),
        (4, r"target=4 is no index of the 4 column"),
        (-5, "no index"),
    ],
)
def test_unknown_target(target, match):
    X, _ = make_table(0, n=20)
    with pytest.raises(ValueError, match=match):
        CausalFeatureSelector(VarianceOrder(), target=target).fit(X)


def test_unknown_target_name():
    X, _ = make_table(0, n=20)
    frame = pd.DataFrame(X, columns=NAMES)
    with pytest.raises(ValueError, match="'goal' is no column; known: .*partner"):
        CausalFeatureSelector(VarianceOrder(), target="goal").fit(frame)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["a", "b"]),
        np.array(["a", "b"], dtype=object),
        np.array([False, True]),
        np.array([0, 1], dtype=object),
        pd.Series(["a", "b"], dtype="category"),
    ],
)
def test_two_classes_are_zero_and_one(labels):
    X, y = make_table(0)
    codes = (y > 0).astype(int)
    if isinstance(labels, pd.Series):
        given = labels.iloc[codes].reset_index(drop=True)
    else:
        given = labels[codes]
    kept = CausalFeatureSelector(VarianceOrder(0.05), kind="markov_blanket")
    as_labels = kept.fit(X, given).learner_.adjacency_
    as_numbers = kept.fit(X, codes).learner_.adjacency_
    np.testing.assert_array_equal(as_labels, as_numbers)
    assert as_numbers[:, -1].any() or as_numbers[-1].any()


@pytest.mark.parametrize("labels", [["a", "b", "c"], ["a"]])
def test_other_numbers_of_classes_are_refused(labels):
    X, _ = make_table(0, n=30)
    y = np.resize(labels, 30)
    with pytest.raises(ValueError, match=r"label\(s\) a.*exactly two classes"):
        CausalFeatureSelector(VarianceOrder()).fit(X, y)


def test_targets_that_are_neither_numbers_nor_labels():
    with pytest.raises(ValueError, match="y must hold numbers or class labels"):
        encode_target(np.arange(4).astype("datetime64[D]"))
    with pytest.raises(ValueError, match="y must hold numbers"):
        encode_target(np.arange(4) * 1j)


def test_missing_y_and_several_targets():
    X, y = make_table(0, n=30)
    selector = CausalFeatureSelector(VarianceOrder())
    with pytest.raises(ValueError, match="requires y to be passed"):
        selector.fit(X)
    with pytest.raises(ValueError, match="1d array"):
        selector.fit(X, np.column_stack([y, y]))
    with pytest.raises(NotFittedError):
        selector.get_support()


def test_learner_without_a_graph():
    X, y = make_table(0, n=30)
    with pytest.raises(ValueError, match=r"\(5, 5\).*FixedGraph has no adjacency_"):
        CausalFeatureSelector(FixedGraph()).fit(X, y)
    with pytest.raises(ValueError, match=r"FixedGraph has \(4, 4\)"):
        CausalFeatureSelector(FixedGraph(np.eye(4))).fit(X, y)


def test_failed_fit_changes_nothing():
    X, y = make_table(0)
    selector = CausalFeatureSelector(VarianceOrder()).fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        selector.fit(np.full((5, 2), np.nan), np.arange(5))
    np.testing.assert_array_equal(selector.transform(X), X[:, PARENTS])


def test_no_feature_selected_warns():
    X, y = make_table(0)
    selector = CausalFeatureSelector(FixedGraph(np.zeros((5, 5)))).fit(X, y)
    assert not selector.get_support().any()
    with pytest.warns(UserWarning, match="No features were selected"):
        nothing = selector.transform(X)
    assert nothing.shape == (len(X), 0)
    np.testing.assert_array_equal(selector.inverse_transform(nothing), 0 * X)
    with pytest.raises(ValueError, match="different shape"):
        selector.inverse_transform(X)


def test_learner_is_cloned_and_input_untouched():
    X, y = make_table(0)
    X.flags.writeable = y.flags.writeable = False
    learner = VarianceOrder()
    selector = CausalFeatureSelector(learner).fit(X, y)
    assert not hasattr(learner, "adjacency_")
    assert selector.learner_ is not learner
    again = pickle.loads(pickle.dumps(selector))
    np.testing.assert_array_equal(again.transform(X), selector.transform(X))


def test_float32_reaches_the_learner():
    X, y = make_table(0)
    X = X.astype(np.float32)
    selector = CausalFeatureSelector(VarianceOrder()).fit(X, y)
    assert selector.learner_.adjacency_.dtype == np.float32
    assert selector.transform(X).dtype == np.float32


def test_grid_search_over_a_pipeline():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    selector = CausalFeatureSelector(VarianceOrder())
    pipeline = make_pipeline(StandardScaler(), selector, LinearRegression())
    grid = {
        "causalfeatureselector__kind": ["parents", "markov_blanket"],
        "causalfeatureselector__learner__alpha": [0.5, 2.0, 8.0],
    }
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert 0.3 < search.best_score_ < 0.6
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    n_kept = search.best_estimator_[1].get_support().sum()
    assert 0 < n_kept < X.shape[1]


def test_classification_with_labels():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    labels = np.where(y, "benign", "malignant")
    selector = CausalFeatureSelector(VarianceOrder(0.01), kind="markov_blanket")
    pipeline = make_pipeline(selector, StandardScaler(), Ridge())
    pipeline.fit(X, y)
    assert len(pipeline[0].get_feature_names_out()) > 0
    np.testing.assert_array_equal(
        selector.fit(X, labels).get_feature_names_out(),
        selector.fit(X, 1 - y).get_feature_names_out(),
    )


def test_default_learner_and_documentation_link():
    X, y = make_table(0)
    selector = CausalFeatureSelector().fit(X, y)
    assert isinstance(selector.learner_, TopologicalSwap)
    html = selector._repr_html_()
    assert "skpapers.causal.CausalFeatureSelector.html" in html
