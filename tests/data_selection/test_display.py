"""The pictures of scores: what is drawn, and from what."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression, SGDClassifier

from skpapers.data_selection import (
    EL2NScorer,
    InfluenceDisplay,
    InfluenceSampler,
    NoisyLabelDetector,
    PrunedClassifier,
    ScoreBank,
    pruning_curve,
)

plt = pytest.importorskip("matplotlib.pyplot")
pytestmark = pytest.mark.filterwarnings("ignore::skpapers.utils.DataConditionWarning")
MODEL = LogisticRegression(max_iter=500)
SCORER = EL2NScorer(MODEL, epochs=None, n_runs=1)
T = student.ppf(0.975, 2) / np.sqrt(3)
CURVE = {
    "policy": np.array(["all"] * 3 + ["random"] * 6 + ["hardest"] * 3),
    "keep": np.array([1.0] * 3 + [0.5] * 9),
    "fold": np.array([0, 1, 2, 0, 0, 1, 1, 2, 2, 0, 1, 2]),
    "score": np.array([0.9, 0.8, 0.7, 0.5, 0.7, 0.6, 0.6, 0.4, 0.8, 0.9, 0.7, 0.8]),
}


@pytest.fixture(autouse=True)
def _close():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def table():
    return make_classification(150, 6, n_informative=4, random_state=0)


def test_histogram_counts_and_cuts(table):
    X, y = table
    rule = {"keep": 0.4, "policy": "window", "offset": 0.2, "min_per_class": 0}
    sampler = InfluenceSampler(SCORER, **rule).fit(X, y)
    display = InfluenceDisplay.from_estimator(sampler)
    heights = [sum(bar.get_height() for bar in c) for c in display.ax_.containers]
    assert heights == [60, 90]
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["kept (60)", "dropped (90)"]
    cuts = sorted(line.get_xdata()[0] for line in display.ax_.lines)
    between = (sampler.scores_ > cuts[0]) & (sampler.scores_ < cuts[1])
    np.testing.assert_array_equal(between, sampler.support_)
    edges = {bar.get_x() for bar in display.ax_.patches}
    assert min(abs(cuts[0] - edge) for edge in edges) < 1e-9
    assert display.ax_.get_xlabel() == "EL2N score"
    display.figure_.canvas.draw()


def test_one_cut_and_none(table):
    X, y = table
    pruned = PrunedClassifier(MODEL, SCORER, keep=0.4, min_per_class=0).fit(X, y)
    (line,) = InfluenceDisplay.from_estimator(pruned).ax_.lines
    np.testing.assert_array_equal(pruned.scores_ > line.get_xdata()[0], pruned.support_)
    sampler = InfluenceSampler(SCORER, policy="linear", random_state=0).fit(X, y)
    assert not InfluenceDisplay.from_estimator(sampler).ax_.lines
    plain = InfluenceDisplay(scores=[1.0, 2.0, np.inf]).plot()
    assert sum(bar.get_height() for bar in plain.ax_.patches) == 2
    assert plain.ax_.get_legend() is None


def test_map_of_runs_and_of_epochs(table):
    X, y = table
    model = SGDClassifier(loss="log_loss")
    scorer = EL2NScorer(model, epochs=3, n_runs=2, random_state=0).fit(X, y)
    display = InfluenceDisplay.from_estimator(scorer)
    expected = 1 - scorer.scores_ / np.sqrt(2)
    np.testing.assert_allclose(display.confidence, expected, atol=1e-12)
    expected = scorer.scores_std_ / np.sqrt(2)
    np.testing.assert_allclose(display.variability, expected, atol=1e-12)
    drawn = display.ax_.collections[0].get_offsets()
    np.testing.assert_allclose(
        drawn, np.column_stack([display.variability, display.confidence])
    )
    scorer.set_params(score_path=True, n_runs=1).fit(X, y)
    display = InfluenceDisplay.from_estimator(scorer, groups=y)
    np.testing.assert_allclose(
        1 - display.confidence, scorer.score_path_.mean(axis=0) / np.sqrt(2), atol=1e-12
    )
    assert len(display.ax_.collections) == 2
    with pytest.raises(ValueError, match="score_path=True, or with n_runs > 1"):
        InfluenceDisplay.from_estimator(
            clone(scorer).set_params(score_path=False).fit(X, y)
        )


def test_detector(table):
    X, y = table
    detector = NoisyLabelDetector(MODEL, contamination=0.1, random_state=0).fit(X, y)
    _, ax = plt.subplots()
    display = InfluenceDisplay.from_estimator(detector, ax=ax)
    assert display.ax_ is ax
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["looks right (135)", "suspect (15)"]
    assert ax.get_xlabel() == "probability that the label is wrong"


def test_curve_with_its_interval():
    display = InfluenceDisplay.from_curve(CURVE)
    assert list(display.summary_) == ["random", "hardest"]
    random = display.summary_["random"]
    np.testing.assert_array_equal(random["keep"], [0.5, 1.0])
    np.testing.assert_allclose(random["mean"], [0.6, 0.8])
    # draws of a fold are averaged first: the folds have 0.6 each
    width = random["high"] - random["low"]
    np.testing.assert_allclose(width, [0, 2 * 0.1 * T], atol=1e-12)
    hardest = display.summary_["hardest"]
    np.testing.assert_allclose(hardest["high"] - hardest["mean"], [0.1 * T] * 2)
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["all rows (0.800)", "random", "hardest"]
    frame = InfluenceDisplay.from_curve(pd.DataFrame(CURVE))
    np.testing.assert_allclose(frame.summary_["random"]["mean"], random["mean"])


def test_curve_of_a_comparison(table):
    curve = pruning_curve(MODEL, SCORER, *table, keeps=[0.3, 0.6], cv=3, random_state=0)
    display = InfluenceDisplay.from_curve(curve)
    assert set(display.summary_) == {"random", "hardest"}
    np.testing.assert_array_equal(display.summary_["hardest"]["keep"], [0.3, 0.6, 1.0])
    for name in display.summary_.values():
        assert (name["low"] <= name["mean"]).all()
    display.figure_.canvas.draw()


def test_bad_input(table):
    with pytest.raises(ValueError, match="kind must be one of"):
        InfluenceDisplay(scores=[1.0]).plot(kind="pie")
    with pytest.raises(ValueError, match="needs confidence and variability"):
        InfluenceDisplay(scores=[1.0]).plot(kind="map")
    with pytest.raises(ValueError, match="needs curve"):
        InfluenceDisplay(scores=[1.0]).plot(kind="curve")
    with pytest.raises(ValueError, match="inconsistent"):
        InfluenceDisplay(scores=[1.0, 2.0], support=[True])
    with pytest.raises(ValueError, match="boolean"):
        InfluenceDisplay(scores=[1.0, 2.0], support=[0, 1])
    bank = ScoreBank([("one", SCORER), ("two", SCORER)]).fit(*table)
    with pytest.raises(ValueError, match="one score a row"):
        InfluenceDisplay.from_estimator(bank)
