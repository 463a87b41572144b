# SPDX-License-Identifier: BSD-3-Clause
"""The picture of the trade-off shows what cross-validation by hand finds."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedKFold

from skpapers.linear_model import ConstrainedLogisticRegression, TradeoffDisplay

mpl.use("agg")


@pytest.fixture(autouse=True)
def closed_figures():
    """Leave no figure open."""
    yield
    plt.close("all")


@pytest.fixture
def table(global_random_seed):
    """Draw two groups, one of them with lower features."""
    rng = np.random.default_rng(global_random_seed)
    group = np.where(rng.random(400) < 0.5, "a", "b")
    X = rng.standard_normal((400, 2)) - (group == "b")[:, None] * [1.0, 0.0]
    y = np.where(X[:, 0] + X[:, 1] + rng.standard_normal(400) > 0, "yes", "no")
    return X, y, group


def test_equals_cross_validation_by_hand(table):
    X, y, group = table
    model = ConstrainedLogisticRegression(constraints="parity")
    cv = StratifiedKFold(3)
    display = TradeoffDisplay.from_estimator(
        model,
        pd.DataFrame(X),
        y,
        sensitive_features=pd.Series(group),
        strengths=[0, 1],
        cv=cv,
    )
    for row, strength in enumerate((0.0, 1.0)):
        for fold, (train, test) in enumerate(cv.split(X, y)):
            fitted = ConstrainedLogisticRegression(
                constraints="parity", strength=strength
            ).fit(X[train], y[train], sensitive_features=group[train])
            yes = fitted.predict(X[test]) == "yes"
            rates = [yes[group[test] == g].mean() for g in ("a", "b")]
            assert display.gaps[row, fold] == pytest.approx(abs(rates[0] - rates[1]))
            assert display.scores[row, fold] == fitted.score(X[test], y[test])
    assert display.gaps[1].mean() < display.gaps[0].mean()
    np.testing.assert_allclose(display.line_.get_xdata(), display.gaps.mean(axis=1))
    np.testing.assert_allclose(display.line_.get_ydata(), display.scores.mean(axis=1))


def test_opportunity_is_compared_among_positives(table):
    X, y, group = table
    model = ConstrainedLogisticRegression(
        constraints=["calibration", "equal_opportunity"], measure="probability"
    )
    _, ax = plt.subplots()
    display = TradeoffDisplay.from_estimator(
        model,
        X.tolist(),
        y,
        sensitive_features=group,
        strengths=[0.0],
        cv=2,
        scoring="roc_auc",
        ax=ax,
    )
    assert display.ax_ is ax
    assert ax.get_ylabel() == "roc auc"
    folds = StratifiedKFold(2).split(X, y)
    model = ConstrainedLogisticRegression(constraints="calibration")
    for fold, (train, test) in enumerate(folds):
        model.fit(X[train], y[train], sensitive_features=group[train])
        yes, own = model.predict(X[test]) == "yes", y[test] == "yes"
        rates = [yes[own & (group[test] == g)].mean() for g in ("a", "b")]
        assert display.gaps[0, fold] == pytest.approx(abs(rates[0] - rates[1]))


def test_refuses(table):
    X, y, group = table
    with pytest.raises(ValueError, match="compares no groups"):
        TradeoffDisplay.from_estimator(
            ConstrainedLogisticRegression(), X, y, sensitive_features=group
        )
    with pytest.raises(ValueError, match="two classes only"):
        TradeoffDisplay.from_estimator(
            ConstrainedLogisticRegression(constraints="parity"),
            X,
            np.arange(400) % 3,
            sensitive_features=group,
        )
