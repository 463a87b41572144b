"""The pictures of designs: what is drawn, and from what."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

from skpapers.offline_optimization import (
    DesignDisplay,
    QuantileShiftSplit,
    spearman_scorer,
    top_k_mean_scorer,
)

plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


class Suggested(BaseEstimator):
    """What the display reads of an optimizer that has made suggestions."""

    def __init__(self, maximize=True):
        self.maximize = maximize

    def fit(self):
        self.start_designs_ = np.zeros((4, 2))
        return self

    def suggest(self):
        self.candidates_ = np.arange(8.0).reshape(4, 2)
        self.candidate_scores_ = np.array([4.0, 3.0, 2.5, 2.0])
        self.distance_to_data_ = np.array([0.5, 1.0, 0.25, 2.0])
        return self


class Shrunk(Ridge):
    """Ridge whose penalty is called a multiplier."""

    def __init__(self, multiplier=1.0, slope=1.0):
        super().__init__()
        self.multiplier, self.slope = multiplier, slope

    def fit(self, X, y):
        self.alpha = self.multiplier
        return super().fit(X, y)

    def predict(self, X):
        return self.slope * super().predict(X)


@pytest.fixture(scope="module")
def search():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 10))
    y = X[:, 0] + rng.standard_normal(80)
    return GridSearchCV(
        Shrunk(),
        {"multiplier": [100.0, 0.0, 1.0], "slope": [-1.0, 1.0]},
        cv=QuantileShiftSplit(3),
        scoring={"order": spearman_scorer, "top": top_k_mean_scorer(5)},
        refit=False,
    ).fit(X, y)


def test_truth_against_promise(global_random_seed):
    predicted, actual = np.random.default_rng(global_random_seed).normal(size=(2, 30))
    display = DesignDisplay.from_designs(predicted, actual=actual, best_known=0.3)
    (points,) = display.ax_.collections
    np.testing.assert_array_equal(points.get_offsets(), np.c_[predicted, actual])
    diagonal, best = display.ax_.lines
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    assert set(best.get_ydata()) == {0.3}
    assert display.summary_ == pytest.approx(
        {
            "over_optimism": np.mean(predicted - actual),
            "rank_correlation": spearmanr(predicted, actual).statistic,
            "share_better": np.mean(actual > 0.3),
        }
    )
    assert display.figure_ is display.ax_.figure


def test_constant_promises_have_no_order():
    display = DesignDisplay.from_designs([1.0, 1.0], actual=[0.0, 2.0])
    assert display.summary_["rank_correlation"] == 0.0
    assert "share_better" not in display.summary_


def test_from_an_optimizer():
    optimizer = Suggested().fit().suggest()
    display = DesignDisplay.from_estimator(optimizer)
    (points,) = display.ax_.collections
    np.testing.assert_array_equal(
        points.get_offsets(),
        np.c_[optimizer.distance_to_data_, optimizer.candidate_scores_],
    )
    assert display.ax_.get_xlim()[0] <= 0
    actual = np.array([1.0, 2.0, 3.0, 0.0])
    display = DesignDisplay.from_estimator(optimizer, actual=actual, best_known=1.5)
    assert display.summary_["share_better"] == 0.5
    low = DesignDisplay.from_estimator(
        Suggested(maximize=False).fit().suggest(), actual=actual, best_known=0.5
    )
    assert low.summary_["share_better"] == 0.25


def test_truth_colours_the_distances():
    optimizer = Suggested().fit().suggest()
    actual = np.array([1.0, 2.0, 3.0, 0.0])
    _, ax = plt.subplots()
    display = DesignDisplay.from_estimator(
        optimizer, actual=actual, kind="distance", best_known=2.2, ax=ax
    )
    assert display.ax_ is ax
    np.testing.assert_array_equal(ax.collections[0].get_array(), actual)
    assert len(display.figure_.axes) == 2  # and the bar of colours
    (best,) = ax.lines
    assert set(best.get_ydata()) == {2.2}


def test_without_suggestions():
    with pytest.raises(ValueError, match="call suggest first"):
        DesignDisplay.from_estimator(Suggested().fit())


def test_tradeoff_from_lists():
    multipliers = [1.0, 0.0, 0.01, 0.1]
    scores = [[0.7, 0.9], [0.1, 0.3], [0.4, 0.4], [0.6, np.nan]]
    sharpness = [1.0, 4.0, 3.0, 2.0]
    display = DesignDisplay.from_multipliers(
        multipliers, {"true_score": scores, "sharpness": sharpness}, chosen=0.1
    )
    first, second = display.axes_
    line, *_ = first.lines
    np.testing.assert_allclose(line.get_xdata(), [-3, -2, -1, 0])  # zero: a step left
    np.testing.assert_allclose(line.get_ydata(), [0.2, 0.4, 0.6, 0.8])
    np.testing.assert_allclose(second.lines[0].get_ydata(), [4, 3, 2, 1])
    assert first.get_ylabel() == "true score"
    labels = [label.get_text() for label in second.get_xticklabels()]
    assert labels == ["0", "0.01", "0.1", "1"]
    dotted = first.lines[-1]
    assert set(dotted.get_xdata()) == {-1.0}
    # standard errors: half the difference of two, none where there is one repeat
    (bars,) = first.collections
    spread = [np.ptp(segment[:, 1]) for segment in bars.get_segments()]
    np.testing.assert_allclose(spread, [0.2, 0.0, 0.0, 0.2], atol=1e-12)


def test_tradeoff_with_no_strength_at_all():
    display = DesignDisplay.from_multipliers([0.0], {"score": [1.0]})
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["0"]


def test_tradeoff_from_a_search(search):
    display = DesignDisplay.from_cv_results(search)
    results = search.cv_results_
    # the right sign of the slope is the better one at each multiplier
    rows = [
        next(
            k
            for k, setting in enumerate(results["params"])
            if setting == {"multiplier": value, "slope": 1.0}
        )
        for value in [0.0, 1.0, 100.0]
    ]
    for ax, name in zip(display.axes_, ["order", "top"], strict=True):
        expected = results[f"mean_test_{name}"][rows]
        np.testing.assert_allclose(ax.lines[0].get_ydata(), expected)
        assert ax.get_ylabel() == name
    best = [0.0, 1.0, 100.0][np.argmax(results["mean_test_order"][rows])]
    assert display.chosen == best
    assert display.axes_[-1].get_xlabel() == "multiplier"
    one = DesignDisplay.from_cv_results(
        results, param="multiplier", metrics=["top"], ax=plt.figure().gca()
    )
    assert len(one.axes_) == 1


def test_search_with_failures():
    results = {
        "param_model__multiplier": np.ma.array([0.1, 1.0]),
        "mean_test_score": np.array([np.nan, 0.5]),
        "split0_test_score": np.array([np.nan, 0.5]),
    }
    display = DesignDisplay.from_cv_results(SimpleNamespace(cv_results_=results))
    assert display.chosen == 1.0
    np.testing.assert_array_equal(display.ax_.lines[0].get_ydata(), [np.nan, 0.5])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"param": "alpha"}, "has not varied 'alpha'"),
        ({"metrics": ["r2"]}, "metrics must be some of"),
        ({"metrics": []}, "metrics must be some of"),
        ({"ax": []}, "needs 2 axes, got 0"),
    ],
)
def test_bad_questions_to_a_search(search, arguments, match):
    with pytest.raises(ValueError, match=match):
        DesignDisplay.from_cv_results(search, **arguments)


def test_one_metric_by_its_name(search):
    display = DesignDisplay.from_cv_results(search, metrics="top")
    assert [ax.get_ylabel() for ax in display.axes_] == ["top"]


def test_grids_without_the_multiplier_are_left_out():
    X = np.random.default_rng(0).standard_normal((30, 3))
    search = GridSearchCV(
        Shrunk(), [{"slope": [0.5, 2.0]}, {"multiplier": [1.0, 0.1]}], cv=3
    ).fit(X, X[:, 0])
    display = DesignDisplay.from_cv_results(search)
    np.testing.assert_array_equal(display.multipliers, [0.1, 1.0])
    expected = search.cv_results_["mean_test_score"][[3, 2]]
    np.testing.assert_allclose(display.ax_.lines[0].get_ydata(), expected)
    results = {
        "param_multiplier": np.ma.array([1.0], mask=[True]),
        "mean_test_score": [0.0],
    }
    with pytest.raises(ValueError, match="no value of multiplier"):
        DesignDisplay.from_cv_results(results)


def test_what_is_no_result_of_a_search():
    search = GridSearchCV(Shrunk(), {"multiplier": [1.0]})
    with pytest.raises(NotFittedError, match="GridSearchCV instance is not fitted"):
        DesignDisplay.from_cv_results(search)
    with pytest.raises(TypeError, match="fitted search or its cv_results_"):
        DesignDisplay.from_cv_results([1.0])


def drawn_boxes(ax):
    """Return the boxes of the labels of the horizontal axis, from left to right."""
    ax.figure.canvas.draw()
    labels = [label for label in ax.get_xticklabels() if label.get_text()]
    return [label.get_window_extent() for label in labels]


@pytest.mark.parametrize("kind", ["random", "even", "near", "narrow"])
def test_labels_do_not_touch(kind):
    multipliers = {
        "random": np.random.default_rng(0).uniform(0.01, 1, 20),
        "even": np.logspace(-5, 3, 25),
        "near": np.array([0.0495016, 0.151655, 0.155993, 0.257664, 0.725701]),
        "narrow": np.logspace(-6, 6, 13),
    }[kind]
    ax = plt.subplots(figsize=(2.5, 2))[1] if kind == "narrow" else None
    display = DesignDisplay.from_multipliers(
        multipliers, {"score": np.zeros(len(multipliers))}, ax=ax
    )
    boxes = drawn_boxes(display.ax_)
    assert len(boxes) > 2
    for left, right in itertools.pairwise(boxes):
        assert left.x1 < right.x0
    texts = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert max(map(len, texts)) <= 8


def test_legend_of_the_chosen_is_above_the_axes():
    display = DesignDisplay.from_multipliers([0.1, 1.0], {"a": np.eye(2)}, chosen=1.0)
    display.figure_.canvas.draw()
    box, axes = display.ax_.get_legend().get_window_extent(), display.ax_.bbox
    assert box.y0 >= axes.y1 - 1
    assert box.y1 <= display.figure_.bbox.y1


def test_costs_are_worse_where_they_are_higher():
    predicted, actual = [1.0, 2.0], [3.0, 2.5]
    display = DesignDisplay.from_designs(
        predicted, actual=actual, best_known=2.7, maximize=False
    )
    assert display.summary_["over_optimism"] == 1.25
    assert display.summary_["share_better"] == 0.5
    assert "actual minus predicted: 1.25" in display.ax_.get_title()
    optimizer = Suggested(maximize=False).fit().suggest()
    actual = optimizer.candidate_scores_ + 2.0
    low = DesignDisplay.from_estimator(optimizer, actual=actual)
    assert low.summary_["over_optimism"] == 2.0


def test_bad_results():
    results = {"param_a": [1], "param_b": [2], "mean_test_score": [0.0]}
    with pytest.raises(ValueError, match=r"Say which parameter.*'a', 'b'"):
        DesignDisplay.from_cv_results(results)
    results = {"param_multiplier": [None, 0.1], "mean_test_score": [0.0, 1.0]}
    with pytest.raises(ValueError, match="multiplier has to be a number, got None"):
        DesignDisplay.from_cv_results(results)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"predicted": [1.0, 2.0], "actual": [1.0]}, "inconsistent"),
        ({"predicted": [], "actual": []}, "predicted must not be empty"),
        ({"multipliers": [], "criteria": {"a": []}}, "multipliers must not be empty"),
        ({"predicted": [1.0, np.nan]}, "predicted contains NaN"),
        ({"multipliers": [-1.0], "criteria": {"a": [1.0]}}, "negative"),
        ({"multipliers": [1.0], "criteria": {"a": [1.0, 2.0]}}, "inconsistent"),
        ({"multipliers": [1.0], "criteria": {}}, "empty"),
        ({"multipliers": [1.0], "criteria": {"a": [1.0]}, "chosen": 2.0}, "not among"),
    ],
)
def test_bad_numbers(arguments, match):
    with pytest.raises(ValueError, match=match):
        DesignDisplay(**arguments)


def test_pictures_need_what_they_show():
    display = DesignDisplay(predicted=[1.0])
    with pytest.raises(ValueError, match="kind='truth' needs actual"):
        display.plot()
    with pytest.raises(ValueError, match="needs multipliers and criteria"):
        display.plot(kind="tradeoff")
    with pytest.raises(ValueError, match="kind must be one of"):
        display.plot(kind="map")
