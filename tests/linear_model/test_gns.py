# SPDX-License-Identifier: BSD-3-Clause
"""Logistic and generalised linear models by gradient-normalised Newton steps."""

import os
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    make_classification,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    TweedieRegressor,
)
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skpapers.linear_model import GNSGLMRegressor, GNSLogisticRegression
from skpapers.linear_model._glm_losses import GLMObjective, make_loss
from skpapers.linear_model._gns._fit import HESSIANS, METRICS

needs_dispatch = pytest.mark.skipif(
    os.environ.get("SCIPY_ARRAY_API") != "1",
    reason="set SCIPY_ARRAY_API=1 before scipy is imported",
)
TIGHT = {"tol": 1e-10, "max_iter": 2000}


def classes(seed, n=150, p=5, n_classes=3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    eta = X @ rng.standard_normal((p, n_classes)) + rng.gumbel(size=(n, n_classes))
    return X, eta.argmax(axis=1), rng.random(n) + 0.1


def reference(**options):
    return LogisticRegression(
        solver="newton-cholesky", tol=1e-12, max_iter=1000, **options
    )


def assert_same_model(ours, theirs, atol=1e-7):
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=atol)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=atol)


# --- the same optimum as scikit-learn -----------------------------------------------
@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, sp.csc_array])
def test_agrees_with_scikit_learn(
    n_classes, C, fit_intercept, kind, global_random_seed
):
    X, y, weight = classes(global_random_seed, n_classes=n_classes)
    options = {"C": C, "fit_intercept": fit_intercept}
    ours = GNSLogisticRegression(**options, **TIGHT).fit(kind(X), y, weight)
    theirs = reference(**options).fit(X, y, weight)
    assert_same_model(ours, theirs)
    np.testing.assert_allclose(
        ours.predict_proba(kind(X)), theirs.predict_proba(X), atol=1e-7
    )
    np.testing.assert_allclose(
        ours.decision_function(kind(X)), theirs.decision_function(X), atol=1e-6
    )
    np.testing.assert_array_equal(ours.predict(kind(X)), theirs.predict(X))
    assert np.isclose(ours.score(X, y, weight), theirs.score(X, y, weight))
    assert ours.converged_
    assert ours.n_solves_ >= ours.n_iter_ >= 1
    assert len(ours.history_["objective"]) == ours.n_iter_ + 1


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 3.0, 2: 0.5}])
def test_class_weights(class_weight, global_random_seed):
    X, y, weight = classes(global_random_seed)
    for sample_weight in (None, weight):
        ours = GNSLogisticRegression(class_weight=class_weight, **TIGHT)
        theirs = reference(class_weight=class_weight)
        assert_same_model(
            ours.fit(X, y, sample_weight), theirs.fit(X, y, sample_weight)
        )


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("hess", HESSIANS)
def test_every_model_of_the_hessian_finds_the_optimum(
    hess, metric, n_classes, global_random_seed
):
    X, y, _ = classes(global_random_seed, n_classes=n_classes)
    X = X * [1, 2, 0.5, 1, 3]
    options = {"hess": hess, "metric": metric, "C": 0.1}
    ours = GNSLogisticRegression(**options, random_state=0, tol=1e-7, max_iter=5000)
    assert_same_model(ours.fit(X, y), reference(C=0.1).fit(X, y), atol=1e-4)
    assert ours.hess_ == ("exact" if hess == "auto" else hess)
    assert_rules_hold(ours.history_)


def assert_rules_hold(history, scale=0.0):
    """The acceptance test and a monotone objective; scale as of its summands."""
    f, norm, gamma = (
        np.array(history[key]) for key in ("objective", "gradient_norm", "gamma")
    )
    slack = 4 * np.finfo(float).eps * np.maximum(np.abs(f[:-1]), scale)
    gain = norm[1:] ** 2 * gamma[1:] / (8 * norm[:-1])
    decrease = f[:-1] - f[1:]
    hidden = decrease <= 10 * slack
    assert (hidden | (decrease >= gain - 2 * slack)).all()
    assert (decrease >= -slack).all()


@pytest.mark.parametrize("lazy", [1, 3])
@pytest.mark.parametrize("sample_hessian", [0.05, 0.5])
@pytest.mark.parametrize("hess", ["exact", "cg"])
def test_stale_and_sampled_hessians(lazy, sample_hessian, hess, global_random_seed):
    X, y, _ = classes(global_random_seed, n=400)
    ours = GNSLogisticRegression(
        lazy=lazy,
        sample_hessian=sample_hessian,
        hess=hess,
        random_state=global_random_seed,
        **TIGHT,
    )
    assert_same_model(ours.fit(X, y), reference().fit(X, y), atol=1e-6)
    assert_rules_hold(ours.history_)


def test_preconditioner_from_a_sample_of_the_rows(global_random_seed):
    X, y, _ = classes(global_random_seed, n=3000, p=4)
    ours = GNSLogisticRegression(hess="cg", random_state=0, **TIGHT).fit(X, y)
    assert_same_model(ours, reference().fit(X, y), atol=1e-6)


@pytest.mark.parametrize(
    ("load", "alpha", "objective"),
    [
        (load_breast_cancer, 1e-4, 0.075769145),
        (load_digits, 1e-3, 0.01387919),
        (load_iris, 1e-3, 0.09573000),
    ],
)
def test_known_objectives_on_raw_tables(load, alpha, objective):
    X, y = load(return_X_y=True)
    model = GNSLogisticRegression(C=1 / (alpha * len(y))).fit(X, y)
    assert abs(model.objective_ - objective) < 1e-7
    assert model.n_iter_ <= 20
    assert_rules_hold(model.history_)


def test_known_objective_of_a_standardised_table():
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    model = GNSLogisticRegression(C=1 / (1e-4 * len(y))).fit(X, y)
    assert abs(model.objective_ - 0.042619373) < 1e-7
    assert model.n_iter_ <= 20


# --- penalties, scales, gauge -------------------------------------------------------
@pytest.mark.parametrize("n_classes", [2, 3])
def test_penalty_weights_are_a_change_of_units(n_classes, global_random_seed):
    X, y, _ = classes(global_random_seed, n_classes=n_classes)
    factors = np.array([0.1, 1.0, 10.0, 4.0, 0.5])
    ours = GNSLogisticRegression(alpha_weights=factors, **TIGHT).fit(X, y)
    theirs = reference().fit(X / np.sqrt(factors), y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_ / np.sqrt(factors), atol=1e-7)


def test_features_without_penalty(global_random_seed):
    """Their derivative of the mean loss vanishes."""
    X, y, _ = classes(global_random_seed, n_classes=2)
    model = GNSLogisticRegression(C=0.01, alpha_weights=[1, 0, 1, 0, 1], **TIGHT)
    residual = model.fit(X, y).predict_proba(X)[:, 1] - y
    slopes = X.T @ residual / len(y)
    np.testing.assert_allclose(slopes[[1, 3]], 0, atol=1e-9)
    assert (np.abs(slopes[[0, 2, 4]]) > 1e-4).all()


@pytest.mark.parametrize("hess", ["exact", "cg", "fisher"])
def test_units_do_not_matter(hess, global_random_seed):
    X, y, _ = classes(global_random_seed)
    units = 10.0 ** np.array([-3, -1, 0, 2, 4])
    options = {"hess": hess, "random_state": 0, "tol": 1e-5}
    plain = GNSLogisticRegression(alpha_weights=np.ones(5), **options).fit(X, y)
    scaled = GNSLogisticRegression(alpha_weights=units**2, **options)
    scaled.fit(X * units, y)
    assert plain.n_iter_ == scaled.n_iter_
    np.testing.assert_allclose(
        plain.predict_proba(X), scaled.predict_proba(X * units), atol=1e-8
    )


def test_bad_units_where_lbfgs_fails():
    X, y = make_classification(2000, 100, n_informative=30, random_state=0)
    X = X * np.logspace(-2, 2, 100)
    C = 1 / (1e-4 * len(y))
    ours = GNSLogisticRegression(C=C).fit(X, y)
    assert ours.n_iter_ <= 10
    objective = GLMObjective(X, y.astype(float), make_loss("binomial"), l2=1e-4)
    best = objective.value(np.append(ours.coef_, ours.intercept_))
    with pytest.warns(ConvergenceWarning):
        lbfgs = LogisticRegression(C=C, max_iter=500).fit(X, y)
    reached = objective.value(np.append(lbfgs.coef_, lbfgs.intercept_))
    assert reached > best * (1 + 1e-3)


def test_gauge(global_random_seed):
    X, y, _ = classes(global_random_seed, n_classes=4)
    for hess in ("exact", "cg", "fisher"):
        model = GNSLogisticRegression(hess=hess).fit(X, y)
        np.testing.assert_allclose(model.coef_.sum(axis=0), 0, atol=1e-9)
        assert np.isclose(model.intercept_.sum(), 0)


# --- degenerate data ----------------------------------------------------------------
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("C", [1.0, np.inf])
@pytest.mark.parametrize("hess", ["exact", "cg"])
def test_constant_duplicate_and_empty_columns(n_classes, C, hess, global_random_seed):
    X, y, _ = classes(global_random_seed, n_classes=n_classes)
    more = np.column_stack([X, np.ones(len(X)), X[:, 0], np.zeros(len(X))])
    ours = GNSLogisticRegression(C=C, hess=hess, tol=1e-8).fit(more, y)
    assert ours.converged_
    assert np.isfinite(ours.coef_).all()
    assert (ours.coef_[:, -1] == 0).all()
    if np.isinf(C):
        plain = GNSLogisticRegression(C=C, tol=1e-8).fit(X, y)
        np.testing.assert_allclose(
            ours.predict_proba(more), plain.predict_proba(X), atol=1e-6
        )


def test_nothing_to_learn_from():
    y = np.array([0, 0, 1])
    model = GNSLogisticRegression().fit(np.zeros((3, 2)), y)
    np.testing.assert_allclose(model.predict_proba(np.zeros((1, 2))), [[2 / 3, 1 / 3]])
    assert model.n_iter_ == 1


def test_one_row_a_class():
    X = np.arange(6.0).reshape(3, 2)
    model = GNSLogisticRegression().fit(X, ["c", "a", "b"])
    assert list(model.classes_) == ["a", "b", "c"]
    assert np.isfinite(model.coef_).all()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("hess", ["exact", "cg", "fisher"])
@pytest.mark.parametrize("tol", [1e-6, 0.0])
def test_separable_classes_without_penalty(n_classes, hess, tol):
    rng = np.random.default_rng(0)
    y = np.arange(60) % n_classes
    X = rng.standard_normal((60, 2)) + 20.0 * np.column_stack([y, y**2])
    model = GNSLogisticRegression(C=np.inf, hess=hess, tol=tol, max_iter=60)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    assert {w.category for w in caught} <= {ConvergenceWarning}
    if tol == 0:
        assert caught
    assert np.isfinite(model.coef_).all()
    assert model.score(X, y) == 1.0
    assert np.isfinite(model.predict_proba(X)).all()
    assert np.isfinite(model.predict_log_proba(1e3 * X)).all()


def test_separated_perfectly_is_told():
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    with pytest.warns(ConvergenceWarning, match="separated perfectly"):
        GNSLogisticRegression(C=np.inf, tol=0).fit(X, [0, 0, 1, 1])


def test_nearly_separable_classes(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((300, 4))
    y = X @ rng.standard_normal(4) + 0.01 * rng.standard_normal(300) > 0
    model = GNSLogisticRegression(C=1e6).fit(X, y)
    assert model.converged_
    objective = GLMObjective(
        X, y.astype(float), make_loss("binomial"), l2=1 / (1e6 * len(y))
    )
    gradient = objective.gradient(np.append(model.coef_, model.intercept_))
    assert np.abs(gradient).max() < 1e-5


@pytest.mark.parametrize("n_classes", [2, 3])
def test_rows_of_weight_zero_do_not_count(n_classes, global_random_seed):
    X, y, _ = classes(global_random_seed, n_classes=n_classes)
    weight = np.ones(len(y))
    weight[::3] = 0
    junk = np.where(weight[:, None] == 0, 1e3 * X, X)
    ours = GNSLogisticRegression(metric="identity", **TIGHT).fit(junk, y, weight)
    kept = weight > 0
    plain = GNSLogisticRegression(metric="identity", **TIGHT).fit(X[kept], y[kept])
    assert_same_model(ours, plain, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1e8, 1e150])
def test_huge_and_tiny_scales(scale):
    X, y, _ = classes(0, n_classes=2)
    plain = GNSLogisticRegression(C=np.inf).fit(X, y)
    scaled = GNSLogisticRegression(C=np.inf).fit(X * scale, y)
    np.testing.assert_allclose(
        plain.predict_proba(X), scaled.predict_proba(X * scale), atol=1e-6
    )


# --- the estimator's manners --------------------------------------------------------
@pytest.mark.parametrize("n_classes", [2, 3])
def test_warm_start(n_classes):
    X, y, _ = classes(0, n_classes=n_classes)
    model = GNSLogisticRegression(warm_start=True, hess="exact").fit(X, y)
    first = model.coef_
    again = model.fit(X, y)
    assert again.n_iter_ == 1
    assert again.n_solves_ <= 1
    np.testing.assert_allclose(again.coef_, first, atol=1e-6)
    model.set_params(fit_intercept=False).fit(X[:, :2], y)  # another shape: from zero
    assert model.coef_.shape[1] == 2


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_float32_stays(n_classes, kind):
    X, y, _ = classes(0, n_classes=n_classes)
    ours = GNSLogisticRegression().fit(kind(X.astype(np.float32)), y)
    assert ours.coef_.dtype == ours.intercept_.dtype == np.float32
    assert ours.predict_proba(X.astype(np.float32)).dtype == np.float32
    assert_same_model(ours, GNSLogisticRegression().fit(X, y), atol=1e-3)
    assert ours.converged_


@needs_dispatch
@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("hess", ["exact", "cg"])
def test_other_array_libraries(library, n_classes, hess):
    xp = pytest.importorskip(library)
    X, y, weight = classes(0, n_classes=n_classes)
    options = {"hess": hess, "class_weight": "balanced", "random_state": 0}
    here = GNSLogisticRegression(**options, **TIGHT).fit(X, y, weight)
    Z, t, w = xp.asarray(X), xp.asarray(y), xp.asarray(weight)
    with sklearn.config_context(array_api_dispatch=True):
        there = GNSLogisticRegression(**options, **TIGHT).fit(Z, t, w)
        assert type(there.coef_) is type(there.classes_) is type(Z)
        assert type(there.predict(Z)) is type(Z)
        proba = np.asarray(there.predict_proba(Z))
        assert np.isclose(there.score(Z, t), here.score(X, y))
        with pytest.raises(ValueError, match="same namespace"):
            there.predict(X)
    np.testing.assert_allclose(proba, here.predict_proba(X), atol=1e-9)


def test_labels_of_any_kind():
    X, y, _ = classes(0, n_classes=2)
    for labels in (["no", "yes"], [False, True], [-1, 1], [3.0, 7.0]):
        names = np.array(labels)[y]
        model = GNSLogisticRegression().fit(X, names)
        assert model.predict(X).dtype == names.dtype
        assert set(model.predict(X)) == set(labels)


def test_in_pipelines_and_searches():
    X, y, weight = classes(0)
    model = make_pipeline(StandardScaler(), GNSLogisticRegression())
    assert cross_val_score(model, X, y).mean() > 0.5
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            GNSLogisticRegression()
            .set_fit_request(sample_weight=True)
            .set_score_request(sample_weight=True),
            {"C": [0.1, 1.0]},
        ).fit(X, y, sample_weight=weight)
    assert search.best_score_ > 0.5


def test_verbose(capsys):
    X, y, _ = classes(0)
    model = GNSLogisticRegression(verbose=1).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_iter_
    assert "gradient" in lines[0]


class ThreeIterations:
    """A callback that asks to stop at the end of the third iteration."""

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **kwargs):
        pass

    def on_fit_task_end(self, estimator, context, **kwargs):
        return context.task_name == "iteration" and context.task_id == 2


def test_callbacks_see_the_iterations_and_may_stop():
    pytest.importorskip("sklearn.callback")  # scikit-learn 1.9
    X, y, _ = classes(0)
    model = GNSLogisticRegression().set_callbacks(ThreeIterations()).fit(X, y)
    assert model.n_iter_ == 3
    assert not model.converged_


def test_too_few_iterations_are_told():
    X, y, _ = classes(0)
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        model = GNSLogisticRegression(max_iter=1).fit(X, y)
    assert not model.converged_


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha_weights": [1.0, 2.0]}, "one weight a feature"),
        ({"alpha_weights": [1.0, 1, 1, 1, -1]}, "not negative"),
        ({"alpha_weights": [1.0, 1, 1, 1, np.nan]}, "finite"),
        ({"solver_options": {"ranks": 3}}, r"unknown keys \['ranks'\]"),
        ({"C": 0}, "C"),
        ({"hess": "newton"}, "hess"),
        ({"metric": "l2"}, "metric"),
        ({"sample_hessian": 0}, "sample_hessian"),
    ],
)
def test_bad_parameters(options, words):
    X, y, _ = classes(0)
    with pytest.raises(ValueError, match=words):
        GNSLogisticRegression(**options).fit(X, y)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="only one class"):
        GNSLogisticRegression().fit(np.ones((3, 1)), [1, 1, 1])


def test_failed_fit_leaves_the_old_one():
    X, y, _ = classes(0)
    model = GNSLogisticRegression().fit(X, y)
    before = model.coef_
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.full((4, 5), np.nan), [0, 1, 0, 1])
    assert model.coef_ is before


def test_auto_takes_products_where_the_matrix_is_large():
    X, y = classes(0, n=2000, p=60, n_classes=30)[:2]
    assert GNSLogisticRegression().fit(X, y).hess_ == "cg"
    wide = sp.random(50, 5000, density=0.01, random_state=0)
    labels = np.arange(50) % 2
    assert GNSLogisticRegression().fit(wide.tocsr(), labels).hess_ == "cg"


# --- generalised linear models ------------------------------------------------------
def counts(seed, n=200, p=4):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    mean = np.exp(0.4 * X @ rng.standard_normal(p) + 0.5)
    return X, rng.gamma(2.0, mean / 2) + 1e-3, rng.random(n) + 0.1


PEERS = [
    ("poisson", {}, PoissonRegressor, {}),
    ("gamma", {}, GammaRegressor, {}),
    ("tweedie", {"power": 1.5}, TweedieRegressor, {"power": 1.5}),
    ("tweedie", {"power": 0}, TweedieRegressor, {"power": 0, "link": "log"}),
    ("inverse_gaussian", {}, TweedieRegressor, {"power": 3}),
]


@pytest.mark.parametrize(("family", "options", "peer", "peer_options"), PEERS)
@pytest.mark.parametrize("kind", [np.asarray, sp.csr_array])
def test_glm_agrees_with_scikit_learn(
    family, options, peer, peer_options, kind, global_random_seed
):
    X, y, weight = counts(global_random_seed)
    ours = GNSGLMRegressor(family, alpha=0.1, **options, **TIGHT)
    ours.fit(kind(X), y, weight)
    theirs = peer(alpha=0.1, tol=1e-9, max_iter=10_000, **peer_options)
    theirs.fit(X, y, weight)
    assert_same_model(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(ours.predict(kind(X)), theirs.predict(X), rtol=1e-4)
    assert np.isclose(ours.score(X, y), theirs.score(X, y), atol=1e-5)


@pytest.mark.parametrize("hess", HESSIANS)
@pytest.mark.parametrize("family", ["poisson", "inverse_gaussian"])
def test_glm_models_of_the_hessian(hess, family, global_random_seed):
    X, y, _ = counts(global_random_seed)
    best = GNSGLMRegressor(family, alpha=0.1, **TIGHT).fit(X, y)
    ours = GNSGLMRegressor(
        family, alpha=0.1, hess=hess, random_state=0, max_iter=3000
    ).fit(X, y)
    assert_same_model(ours, best, atol=1e-4)
    assert_rules_hold(ours.history_, scale=np.abs(y).max())


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_glm_does_not_depend_on_the_unit_of_the_target(scale):
    X, y, _ = counts(0)
    for family in ("poisson", "gamma"):
        plain = GNSGLMRegressor(family, alpha=0).fit(X, y)
        scaled = GNSGLMRegressor(family, alpha=0).fit(X, scale * y)
        np.testing.assert_allclose(scaled.coef_, plain.coef_, atol=1e-5)
        assert np.isclose(scaled.intercept_, plain.intercept_ + np.log(scale))


def test_glm_of_zeros_and_wide_tables():
    X, _, _ = counts(0, n=10, p=30)
    model = GNSGLMRegressor("poisson").fit(X, np.zeros(10))
    assert (model.predict(X) < 1e-3).all()
    assert GNSGLMRegressor("poisson").fit(X, np.arange(10.0)).converged_


def test_glm_objective_near_zero(global_random_seed):
    """There its value says nothing of its rounding error."""
    X, _, _ = counts(global_random_seed)
    rng = np.random.default_rng(global_random_seed)
    y = 1 + 1e-4 * rng.standard_normal(len(X))
    y *= np.e / y.mean()
    model = GNSGLMRegressor("poisson", alpha=1e-3, tol=1e-13).fit(X, y)
    assert abs(model.objective_) < 1e-6
    assert model.converged_


@needs_dispatch
@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
def test_glm_other_array_libraries(library):
    xp = pytest.importorskip(library)
    X, y, weight = counts(0)
    here = GNSGLMRegressor(alpha=0.1, **TIGHT).fit(X, y, weight)
    Z = xp.asarray(X)
    with sklearn.config_context(array_api_dispatch=True):
        there = GNSGLMRegressor(alpha=0.1, **TIGHT)
        there.fit(Z, xp.asarray(y), xp.asarray(weight))
        predicted = np.asarray(there.predict(Z))
        assert np.isclose(there.score(Z, xp.asarray(y)), here.score(X, y))
    np.testing.assert_allclose(predicted, here.predict(X), rtol=1e-8)


def test_glm_bad_targets():
    X, y, _ = counts(0)
    for family, words in (("poisson", "not negative"), ("gamma", "positive")):
        with pytest.raises(ValueError, match=words):
            GNSGLMRegressor(family).fit(X, y - y.max())
    with pytest.raises(ValueError, match="power"):
        GNSGLMRegressor("tweedie", power=0.5).fit(X, y)
    assert (
        not GNSGLMRegressor("tweedie", power=0)
        .__sklearn_tags__()
        .target_tags.positive_only
    )
