# SPDX-License-Identifier: BSD-3-Clause
"""Constrained linear models against scikit-learn, SLSQP and their own equations."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.optimize import (
    LinearConstraint,
    NonlinearConstraint,
    approx_fprime,
    minimize,
)
from scipy.sparse import csr_array
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.metrics import accuracy_score, log_loss, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from skpapers.linear_model import ConstrainedGLMRegressor, ConstrainedLogisticRegression
from skpapers.linear_model._constrained._groups import (
    SmoothMeans,
    groups_of,
    named_means,
)
from skpapers.linear_model._glm_losses import GLMObjective, make_loss
from skpapers.utils import DataConditionWarning


def applicants(rng, n=600, n_classes=2):
    """Draw a feature that differs between two groups, another, and a label."""
    group = np.where(rng.random(n) < 0.4, "b", "a")
    X = rng.standard_normal((n, 3)) - (group == "b")[:, None] * [0.8, 0.0, 0.3]
    score = X @ [1.0, 1.0, 0.0] + rng.standard_normal(n)
    edges = np.quantile(score, np.arange(1, n_classes) / n_classes)
    return X, np.searchsorted(edges, score), group


def gap(values, group, rows=slice(None)):
    values, group = values[rows], group[rows]
    return values[group == "a"].mean() - values[group == "b"].mean()


# --- without constraints: the same minimum as scikit-learn ---------------------------
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_equals_logistic_regression(
    n_classes, sparse, fit_intercept, global_random_seed
):
    rng = np.random.default_rng(global_random_seed)
    X, y, _ = applicants(rng, 200, n_classes)
    weight = rng.random(200)
    options = {"C": 0.3, "fit_intercept": fit_intercept, "class_weight": "balanced"}
    ours = ConstrainedLogisticRegression(**options)
    ours.fit(csr_array(X) if sparse else X, y, sample_weight=weight)
    peer = LogisticRegression(**options, tol=1e-12, solver="newton-cholesky")
    peer.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(ours.coef_, peer.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.predict_proba(X), peer.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(
        ours.predict_log_proba(X), np.log(ours.predict_proba(X)), atol=1e-9
    )


@pytest.mark.parametrize(
    ("family", "peer"),
    [
        ("gaussian", Ridge(alpha=200 * 0.1)),
        ("poisson", PoissonRegressor(alpha=0.1, tol=1e-10, solver="newton-cholesky")),
        ("gamma", GammaRegressor(alpha=0.1, tol=1e-10, solver="newton-cholesky")),
        (
            "inverse_gaussian",
            TweedieRegressor(power=3, alpha=0.1, link="log", tol=1e-9, max_iter=10_000),
        ),
    ],
)
def test_equals_glms(family, peer, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((200, 3))
    mean = np.exp(X @ [0.3, -0.2, 0.1])
    y = rng.poisson(mean) if family == "poisson" else rng.gamma(3, mean / 3)
    ours = ConstrainedGLMRegressor(family, alpha=0.1).fit(X, y)
    peer.fit(X, y)
    np.testing.assert_allclose(ours.coef_, peer.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.predict(X), peer.predict(X), rtol=1e-5)


# --- equations between coefficients ---------------------------------------------------
@pytest.mark.parametrize("solver", ["auto", "ldl", "schur", "nullspace"])
def test_equals_slsqp(solver, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, y, _ = applicants(rng, 150)
    A, b = rng.standard_normal((2, 3)), rng.standard_normal(2)
    ours = ConstrainedLogisticRegression(A=A, b=b, C=2.0, solver=solver).fit(X, y)
    np.testing.assert_allclose(A @ ours.coef_[0], b, atol=1e-8)
    assert ours.constraint_violation_ < 1e-8

    def objective(w):
        p = 1 / (1 + np.exp(-(X @ w[:3] + w[3])))
        return log_loss(y, p) + 0.5 * w[:3] @ w[:3] / (2.0 * 150)

    peer = minimize(
        objective,
        np.zeros(4),
        method="SLSQP",
        constraints={"type": "eq", "fun": lambda w: A @ w[:3] - b},
        options={"ftol": 1e-13},
    )
    np.testing.assert_allclose(np.r_[ours.coef_[0], ours.intercept_], peer.x, atol=1e-4)
    assert ours.objective_ <= peer.fun + 1e-8


def test_fulfilled_constraint_changes_nothing(global_random_seed):
    X, y, _ = applicants(np.random.default_rng(global_random_seed))
    free = ConstrainedLogisticRegression().fit(X, y)
    A = np.array([[1.0, 2.0, -1.0, 0.5]])
    b = A @ np.r_[free.coef_[0], free.intercept_]
    tied = ConstrainedLogisticRegression(A=A, b=b).fit(X, y)
    np.testing.assert_allclose(tied.coef_, free.coef_, atol=1e-6)
    np.testing.assert_allclose(tied.multipliers_, 0, atol=1e-6)


def test_multipliers_are_prices(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, y, _ = applicants(rng, 200)
    A, b, step = rng.standard_normal((2, 3)), rng.standard_normal(2), 1e-4
    at_b = ConstrainedLogisticRegression(A=A, b=b).fit(X, y)
    for r in range(2):
        shift = step * np.eye(2)[r]
        up, down = (
            ConstrainedLogisticRegression(A=A, b=b + sign * shift).fit(X, y).objective_
            for sign in (1, -1)
        )
        slope = (up - down) / (2 * step)
        assert slope == pytest.approx(-at_b.multipliers_[r], abs=1e-5)


def test_multinomial_coefficients_in_flat_order(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, y, _ = applicants(rng, 300, 3)
    A = rng.standard_normal((2, 9))
    model = ConstrainedLogisticRegression(A=A, b=[0.5, -0.5]).fit(X, y)
    np.testing.assert_allclose(A @ model.coef_.ravel(), [0.5, -0.5], atol=1e-8)
    A = rng.standard_normal((1, 12))
    model = ConstrainedLogisticRegression(A=A, b=[1.0]).fit(X, y)
    flat = np.c_[model.coef_, model.intercept_].ravel()
    np.testing.assert_allclose(A @ flat, [1.0], atol=1e-8)


def test_constraints_of_scipy(global_random_seed):
    X, y, _ = applicants(np.random.default_rng(global_random_seed))
    sphere = NonlinearConstraint(
        lambda w: w[:3] @ w[:3],
        4.0,
        4.0,
        jac=lambda w: np.r_[2 * w[:3], 0.0],
        hess=lambda w, v: np.diag(v[0] * np.r_[2.0, 2.0, 2.0, 0.0]),
    )
    line = LinearConstraint([[1.0, -1.0, 0.0, 0.0]], 0.0, 0.0)
    model = ConstrainedLogisticRegression(constraints=[line, sphere]).fit(X, y)
    assert np.linalg.norm(model.coef_) == pytest.approx(2)
    assert model.coef_[0, 0] == pytest.approx(model.coef_[0, 1])
    assert model.constraint_names_ == ["equation 0", "equation 1"]
    assert model.multipliers_.shape == (2,)


def test_rows_twice_are_rows_with_weight_two(global_random_seed):
    X, y, group = applicants(np.random.default_rng(global_random_seed), 200)
    once = ConstrainedLogisticRegression(constraints="calibration")
    once.fit(X, y, sensitive_features=group)
    twice = ConstrainedLogisticRegression(constraints="calibration").fit(
        np.r_[X, X],
        np.r_[y, y],
        sample_weight=np.full(400, 0.5),
        sensitive_features=np.r_[group, group],
    )
    np.testing.assert_allclose(twice.coef_, once.coef_, atol=1e-6)


# --- groups ---------------------------------------------------------------------------
@pytest.mark.parametrize("family", ["binomial", "multinomial", "gaussian", "gamma"])
def test_derivatives_of_group_means(family, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    K = 3 if family == "multinomial" else 1
    X, y, group = applicants(rng, 60, 3 if K == 3 else 2)
    target = y if K == 3 else y + 1.0 * (family == "gamma")
    objective = GLMObjective(X, target, make_loss(family, n_classes=K))
    features = groups_of(group, ["group"], np.ones(60))
    for name in ("parity", "calibration"):
        means = named_means(name, features, y, rng.random(60) + 0.1, K)
        smooth = SmoothMeans(objective, means)
        w = 0.5 * rng.standard_normal(objective.n_params)
        v = rng.standard_normal(len(means.a))
        slopes = np.atleast_2d(approx_fprime(w, smooth.value, 1e-7))
        np.testing.assert_allclose(smooth.jacobian(w), slopes, atol=1e-5)

        def slope(w, smooth=smooth, v=v):
            return v @ smooth.jacobian(w)

        curvature = approx_fprime(w, slope, 1e-7)
        np.testing.assert_allclose(smooth.hessian(w, v), curvature, atol=1e-5)


@pytest.mark.parametrize("measure", ["decision", "probability", "rate"])
def test_parity(measure, global_random_seed):
    X, y, group = applicants(np.random.default_rng(global_random_seed))
    free = ConstrainedLogisticRegression().fit(X, y)
    model = ConstrainedLogisticRegression(constraints="parity", measure=measure)
    model.fit(X, y, sensitive_features=group)
    value = {
        "decision": lambda m: m.decision_function(X),
        "probability": lambda m: m.predict_proba(X)[:, 1],
        "rate": lambda m: m.predict(X).astype(float),
    }[measure]
    tolerance = 1 / 200 if measure == "rate" else 1e-7  # a row of the smaller group
    assert abs(gap(value(free), group)) > 0.1
    assert abs(gap(value(model), group)) <= tolerance
    assert model.score(X, y) > 0.6


def test_equal_opportunity_and_odds(global_random_seed):
    X, y, group = applicants(np.random.default_rng(global_random_seed), 2000)
    model = ConstrainedLogisticRegression(constraints="equal_opportunity")
    positive = model.fit(X, y, sensitive_features=group).predict(X).astype(float)
    assert abs(gap(positive, group, y == 1)) <= 0.01
    model.set_params(constraints="equalized_odds", measure="probability")
    probability = model.fit(X, y, sensitive_features=group).predict_proba(X)[:, 1]
    assert abs(gap(probability, group, y == 1)) <= 1e-7
    assert abs(gap(probability, group, y == 0)) <= 1e-7
    assert model.constraint_names_ == [
        "group=b = group=a among positives",
        "group=b = group=a among negatives",
    ]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_calibration(n_classes, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, y, group = applicants(rng, n_classes=n_classes)
    weight = rng.random(len(y)) + 0.1
    model = ConstrainedLogisticRegression(C=0.01, constraints="calibration")
    model.fit(X, y, sample_weight=weight, sensitive_features=group)
    p = model.predict_proba(X)
    for label in ("a", "b"):
        rows = group == label
        for k in range(n_classes):
            mean = np.average(p[rows, k], weights=weight[rows])
            assert mean == pytest.approx(np.average(y[rows] == k, weights=weight[rows]))


def test_strength_removes_a_share_of_the_gap(global_random_seed):
    X, y, group = applicants(np.random.default_rng(global_random_seed), 3000)
    for measure, tolerance in (
        ("decision", 1e-6),
        ("probability", 1e-6),
        ("rate", 5e-3),
    ):
        gaps = []
        for strength in (0.0, 0.5, 1.0):
            model = ConstrainedLogisticRegression(
                constraints="parity", measure=measure, strength=strength
            ).fit(X, y, sensitive_features=group)
            values = {
                "decision": model.decision_function(X),
                "probability": model.predict_proba(X)[:, 1],
                "rate": model.predict(X) * 1.0,
            }[measure]
            gaps.append(gap(values, group))
        assert gaps[1] == pytest.approx(gaps[0] / 2, abs=tolerance)
        assert gaps[2] == pytest.approx(0, abs=tolerance)


def test_several_sensitive_features_and_columns_of_the_table(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, y, group = applicants(rng, 1000)
    frame = pd.DataFrame(X, columns=["income", "skill", "noise"])
    frame["b"] = (group == "b") * 1.0
    frame["old"] = (rng.random(1000) < 0.5) * 1.0
    by_column = ConstrainedLogisticRegression(
        constraints="parity", measure="probability", sensitive_columns=["b", "old"]
    ).fit(frame, y)
    p = by_column.predict_proba(frame)[:, 1]
    assert abs(gap(p, group)) < 1e-7
    assert abs(p[frame["old"] == 1].mean() - p[frame["old"] == 0].mean()) < 1e-7
    by_argument = ConstrainedLogisticRegression(
        constraints="parity", measure="probability"
    ).fit(frame, y, sensitive_features=frame[["b", "old"]])
    np.testing.assert_array_equal(by_argument.coef_, by_column.coef_)
    by_index = ConstrainedLogisticRegression(
        constraints="parity", measure="probability", sensitive_columns=[3, -1]
    ).fit(csr_array(frame.to_numpy()), y)
    np.testing.assert_allclose(by_index.coef_, by_column.coef_, atol=1e-6)


def test_regressor_keeps_totals_and_parity(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, _, group = applicants(rng, 400)
    y = rng.poisson(np.exp(0.5 * X[:, 0] + 0.7 * (group == "b")))
    model = ConstrainedGLMRegressor("poisson", constraints="calibration")
    expected = model.fit(X, y, sensitive_features=group).predict(X)
    for label in ("a", "b"):
        rows = group == label
        assert expected[rows].sum() == pytest.approx(y[rows].sum(), rel=1e-6)
    for measure, transform in (("mean", np.asarray), ("linear_predictor", np.log)):
        model = ConstrainedGLMRegressor(
            "poisson", constraints="parity", measure=measure
        ).fit(X, y, sensitive_features=group)
        assert abs(gap(transform(model.predict(X)), group)) < 1e-7
    A = [[1.0, 1.0, 1.0]]
    model = ConstrainedGLMRegressor("gaussian", A=A, b=[1.0], alpha=0).fit(X, y)
    # the closed form: y - x3 on differences of columns
    Z = np.c_[np.ones(400), X[:, :2] - X[:, [2]]]
    beta = np.linalg.lstsq(Z, y - X[:, 2], rcond=None)[0]
    np.testing.assert_allclose(model.coef_[:2], beta[1:], atol=1e-7)


# --- inside scikit-learn --------------------------------------------------------------
def rate_gap(y_true, y_pred, sensitive_features):
    """Return the difference of the rates of two groups."""
    return abs(gap(np.asarray(y_pred) * 1.0, np.asarray(sensitive_features)))


@pytest.mark.parametrize("frame", [False, True])
def test_grid_search_routes_groups(frame, global_random_seed):
    """Groups reach the fits and the scorer, each with the rows of its fold."""
    X, y, group = applicants(np.random.default_rng(global_random_seed), 1200)
    if frame:
        X, group = pd.DataFrame(X, columns=["x", "y", "z"]), pd.Series(group)
    with sklearn.config_context(enable_metadata_routing=True):
        model = ConstrainedLogisticRegression(constraints="parity")
        model.set_fit_request(sensitive_features=True)
        fair = make_scorer(rate_gap, greater_is_better=False)
        fair.set_score_request(sensitive_features=True)
        name = "constrainedlogisticregression__strength"
        search = GridSearchCV(
            make_pipeline(StandardScaler(), model),
            {name: [0.0, 0.5, 1.0]},
            scoring={"accuracy": make_scorer(accuracy_score), "gap": fair},
            refit="gap",
            cv=3,
        ).fit(X, y, sensitive_features=group)
    gaps = -search.cv_results_["mean_test_gap"]
    assert gaps[0] > gaps[1] > gaps[2]
    assert search.best_params_[name] == 1
    assert search.cv_results_["mean_test_accuracy"].argmax() < 2
    assert rate_gap(y, search.predict(X), group) < 0.01  # refitted with the groups


def test_groups_without_a_request_are_not_routed():
    X, y, group = applicants(np.random.default_rng(0), 100)
    with sklearn.config_context(enable_metadata_routing=True):
        model = ConstrainedLogisticRegression(constraints="parity")
        search = GridSearchCV(model, {"strength": [0.0, 1.0]}, cv=2)
        with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError):
            search.fit(X, y, sensitive_features=group)


def test_warm_start_begins_where_it_ended(global_random_seed):
    X, y, _ = applicants(np.random.default_rng(global_random_seed))
    model = ConstrainedLogisticRegression(warm_start=True).fit(X, y)
    first = model.n_iter_
    coef = model.coef_.copy()
    assert model.fit(X, y).n_iter_ == 1 < first
    np.testing.assert_allclose(model.coef_, coef, atol=1e-7)


def test_real_tables():
    X, y = load_breast_cancer(return_X_y=True)
    A, b = np.ones((1, 30)), [0.0]
    model = ConstrainedLogisticRegression(A=A, b=b).fit(scale(X), y)
    assert model.coef_.sum() == pytest.approx(0, abs=1e-8)
    assert model.score(scale(X), y) > 0.95
    X, y = load_iris(return_X_y=True)
    names = load_iris().target_names[y]
    assert ConstrainedLogisticRegression().fit(X, names).score(X, names) > 0.95


# --- what is refused ------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"A": [[1.0, 1.0]], "b": [0.0]},
            r"A has 2 columns; expected 3 \(slopes\) or 4",
        ),
        ({"A": [[1.0, 1.0, 1.0]], "b": [0.0, 1.0]}, "b has 2 entries, A has 1 rows"),
        ({"A": [[1.0, 1.0, 1.0]]}, "A and b must be given together"),
        ({"A": [[1.0, np.nan, 1.0]], "b": [0.0]}, "A contains NaN"),
        ({"A": [[1.0, 0.0, 1.0]], "b": [np.inf]}, "b contains infinity"),
        ({"constraints": ["fairness"]}, "'fairness' is unknown; names are parity"),
        ({"constraints": [3]}, "must be names or LinearConstraint"),
        ({"constraints": "parity"}, "give their labels as sensitive_features to fit"),
        ({"sensitive_columns": "sex"}, "X has no column 'sex'"),
        ({"sensitive_columns": 7}, "none with index 7"),
        ({"A": np.eye(3)[[0, 0]], "b": [0.0, 1.0]}, "row"),
    ],
)
def test_refuses(options, message):
    X, y, _ = applicants(np.random.default_rng(0), 50)
    with pytest.raises(ValueError, match=message):
        ConstrainedLogisticRegression(**options).fit(X, y)


def test_refuses_groups():
    X, y, group = applicants(np.random.default_rng(0), 80)
    parity = ConstrainedLogisticRegression(constraints="parity")
    with pytest.raises(ValueError, match="group has one group only, 'a'"):
        parity.fit(X, y, sensitive_features=np.full(80, "a"))
    with pytest.raises(ValueError, match="has 80 groups in 80 rows"):
        parity.fit(X, y, sensitive_features=X[:, 0])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        parity.fit(X, y, sensitive_features=group[:50])
    with pytest.raises(ValueError, match="said once"):
        ConstrainedLogisticRegression(constraints="parity", sensitive_columns=0).fit(
            X, y, sensitive_features=group
        )
    odds = ConstrainedLogisticRegression(constraints="equal_opportunity")
    with pytest.raises(ValueError, match="Group group=b has no row"):
        odds.fit(X, (group == "a") & (y == 1), sensitive_features=group)
    with pytest.raises(ValueError, match="equalized_odds is about classes"):
        ConstrainedGLMRegressor(constraints="equalized_odds").fit(X, y)
    with pytest.raises(ValueError, match="targets are positive"):
        ConstrainedGLMRegressor("gamma").fit(X, y)
    with pytest.raises(ValueError, match="only one class"):
        ConstrainedLogisticRegression().fit(X, np.ones(80))


def test_contradicting_groups_are_told(global_random_seed):
    """Groups cannot keep their own shares and have the same mean probability."""
    X, y, group = applicants(np.random.default_rng(global_random_seed), 200)
    model = ConstrainedLogisticRegression(
        constraints=["calibration", "parity"], measure="probability", max_iter=50
    )
    with pytest.warns(ConvergenceWarning, match="may contradict each other"):
        model.fit(X, y, sensitive_features=group)


def test_redundant_equations_are_told(global_random_seed):
    X, y, _ = applicants(np.random.default_rng(global_random_seed), 100)
    A = np.array([[1.0, 1.0, 0.0], [2.0, 2.0, 0.0]])
    with pytest.warns(DataConditionWarning, match="Redundant linear constraints"):
        model = ConstrainedLogisticRegression(A=A, b=[1.0, 2.0]).fit(X, y)
    assert model.coef_[0, :2].sum() == pytest.approx(1)
