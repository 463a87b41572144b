# SPDX-License-Identifier: BSD-3-Clause
"""Losses of linear models: finite differences, closed forms, scikit-learn, extremes."""

import array_api_strict
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.metrics import log_loss

from skpapers.linear_model._glm_design import Design
from skpapers.linear_model._glm_losses import FAMILIES, GLMObjective, make_loss

LOSSES = [
    *[(family, {"n_classes": 4}) for family in FAMILIES],
    ("tweedie", {"power": 0}),
    ("tweedie", {"power": -1.5}),
    ("tweedie", {"power": 2.5}),
]
each_loss = pytest.mark.parametrize(("family", "options"), LOSSES)


def draw(family, seed, n=60, p=5):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * (rng.random((n, p)) < 0.6)
    if family == "multinomial":
        y = rng.integers(0, 4, n)
    elif family == "binomial":
        y = rng.integers(0, 2, n).astype(float)
    else:
        y = rng.gamma(2.0, 1.0, n) + 0.1
    weight = rng.random(n) * (rng.random(n) < 0.8)
    return X, y, weight, rng


def objective(family, options, seed, kind="dense", intercept=True, offset=False):
    X, y, weight, rng = draw(family, seed)
    shape = (4, len(y)) if family == "multinomial" else len(y)
    shift = 0.3 * rng.standard_normal(shape) if offset else None
    X = sp.csr_array(X) if kind == "sparse" else X
    l2 = rng.random(X.shape[1])
    f = GLMObjective(X, y, make_loss(family, **options), weight, l2, intercept, shift)
    return f, 0.3 * rng.standard_normal(f.n_params), rng


def numeric(function, w, step=1e-6):
    """Central differences, one row a parameter."""
    rows = []
    for j in range(len(w)):
        e = np.zeros(len(w))
        e[j] = step
        rows.append((function(w + e) - function(w - e)) / (2 * step))
    return np.array(rows)


@pytest.mark.kernels
@each_loss
@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("offset", [True, False])
def test_derivatives(family, options, kind, intercept, offset, global_random_seed):
    f, w, rng = objective(family, options, global_random_seed, kind, intercept, offset)
    g = f.gradient(w)
    np.testing.assert_allclose(g, numeric(f.value, w), rtol=1e-6, atol=2e-8)
    H = f.hessian(w)
    noise = 2e-8 + 2 * np.finfo(float).eps * np.abs(g).max() / 1e-6  # of differences
    np.testing.assert_allclose(H, numeric(f.gradient, w), rtol=1e-6, atol=noise)
    np.testing.assert_allclose(H, H.T, atol=1e-15)
    v = rng.standard_normal(len(w))
    np.testing.assert_allclose(f.hessp(w, v), H @ v, atol=1e-12)
    point = f.at(w)
    np.testing.assert_allclose(point.hessian_diagonal(), np.diag(H), atol=1e-12)
    q = f.shape[-1]
    for k, block in enumerate(point.blocks()):
        own = slice(k * q, (k + 1) * q)
        np.testing.assert_allclose(block, H[own, own], atol=1e-12)


@pytest.mark.parametrize("n_paired", [0, 160])
def test_hessian_does_not_depend_on_the_way(n_paired, monkeypatch, global_random_seed):
    f, w, _ = objective("multinomial", {"n_classes": 4}, global_random_seed)
    expected = f.hessian(w)
    monkeypatch.setattr("skpapers.linear_model._glm_design.N_PAIRED", n_paired)
    monkeypatch.setattr("skpapers.linear_model._glm_design.CACHED", 700)
    np.testing.assert_allclose(f.at(w).hessian(), expected, atol=1e-14)


@each_loss
def test_models_of_the_hessian_are_semidefinite(family, options, global_random_seed):
    f, w, _ = objective(family, options, global_random_seed)
    kinds = ["expected", "fisher", "wgn"]
    kinds += ["exact", "block"] if f.loss.convex else []
    for kind in kinds:
        H = f.hessian(w, kind)
        assert np.linalg.eigvalsh(H).min() > -1e-12, kind
    if f.loss.name in ("binomial", "multinomial"):
        above = f.hessian(w, "wgn") - f.hessian(w)
        assert np.linalg.eigvalsh(above).min() > -1e-12


@each_loss
def test_empirical_fisher_is_the_sum_of_outer_products(
    family, options, global_random_seed
):
    X, y, weight, rng = draw(family, global_random_seed, n=30)
    f = GLMObjective(X, y, make_loss(family, **options), weight)
    w = 0.3 * rng.standard_normal(f.n_params)
    total = np.zeros((f.n_params, f.n_params))
    for i in range(len(y)):
        if weight[i]:
            row = GLMObjective(X[i : i + 1], y[i : i + 1], f.loss).gradient(w)
            total += weight[i] * np.outer(row, row)
    np.testing.assert_allclose(f.hessian(w, "fisher"), total / weight.sum(), atol=1e-12)


@pytest.mark.parametrize("family", ["binomial", "multinomial", "poisson"])
def test_fisher_is_the_hessian_in_expectation(family, global_random_seed):
    """Over targets drawn from the model itself."""
    rng = np.random.default_rng(global_random_seed)
    n = 200_000
    X = rng.standard_normal((n, 2))
    loss = make_loss(family, n_classes=3)
    shape = (3, 3) if family == "multinomial" else (3,)
    w = 0.4 * rng.standard_normal(shape).ravel()
    mean = GLMObjective(X, np.zeros(n, dtype=int), loss).at(w).mean
    if family == "multinomial":
        y = (rng.random(n) > np.cumsum(mean, axis=0)).sum(axis=0)
    elif family == "binomial":
        y = (rng.random(n) < mean).astype(float)
    else:
        y = rng.poisson(mean).astype(float)
    f = GLMObjective(X, y, loss)
    np.testing.assert_allclose(f.hessian(w, "fisher"), f.hessian(w), atol=0.06)


def test_expected_curvature_is_the_mean_of_the_exact_one():
    """The exact curvature is affine in y, so its mean is taken at y = mean."""
    eta = np.linspace(-2, 2, 9)
    for power in (0, 1, 1.5, 2, 3):
        loss = make_loss("tweedie", power=power)
        mean = np.exp(eta)
        _, state = loss.rows(mean, eta)
        np.testing.assert_allclose(
            loss.curvature(mean, state), loss.curvature(mean, state, "expected")
        )


def test_two_classes_agree_with_one_output(global_random_seed):
    X, y, weight, rng = draw("binomial", global_random_seed)
    one = GLMObjective(X, y, make_loss("binomial"), weight, l2=0.3)
    two = GLMObjective(
        X, y.astype(int), make_loss("multinomial", n_classes=2), weight, l2=0.6
    )
    u = rng.standard_normal(one.n_params)
    both = np.concatenate([-u / 2, u / 2])
    assert np.isclose(one.value(u), two.value(both))
    T = np.vstack([-np.eye(len(u)), np.eye(len(u))]) / 2
    np.testing.assert_allclose(T.T @ two.gradient(both), one.gradient(u), atol=1e-14)
    np.testing.assert_allclose(T.T @ two.hessian(both) @ T, one.hessian(u), atol=1e-14)
    for kind in ("block", "wgn"):
        halves = T.T @ two.hessian(both, kind) @ T
        scale = 2 if kind == "block" else 1
        data = one.hessian(u, kind) - np.diag(one.penalty)
        np.testing.assert_allclose(
            scale * (halves - np.diag(one.penalty)), data, atol=1e-14
        )


def test_weights_count_rows(global_random_seed):
    X, y, _, rng = draw("multinomial", global_random_seed)
    count = rng.integers(0, 4, len(y))
    loss = make_loss("multinomial", n_classes=4)
    weighted = GLMObjective(X, y, loss, count.astype(float), 0.2)
    repeated = GLMObjective(np.repeat(X, count, 0), np.repeat(y, count), loss, l2=0.2)
    w = rng.standard_normal(weighted.n_params)
    assert np.isclose(weighted.value(w), repeated.value(w))
    np.testing.assert_allclose(weighted.gradient(w), repeated.gradient(w), atol=1e-14)
    np.testing.assert_allclose(weighted.hessian(w), repeated.hessian(w), atol=1e-14)


def test_values_are_those_of_scikit_learn(global_random_seed):
    X, y, _, rng = draw("multinomial", global_random_seed)
    f = GLMObjective(X, y, make_loss("multinomial", n_classes=4))
    w = rng.standard_normal(f.n_params)
    assert np.isclose(f.value(w), log_loss(y, f.at(w).mean.T))


@pytest.mark.parametrize("family", ["binomial", "multinomial", "poisson"])
def test_gradient_vanishes_at_the_fit_of_scikit_learn(family, global_random_seed):
    X, y, _, _ = draw(family, global_random_seed)
    if family == "poisson":
        model = PoissonRegressor(alpha=0.1, solver="newton-cholesky", tol=1e-10)
        l2 = 0.1
    else:
        model = LogisticRegression(solver="newton-cholesky", tol=1e-10)
        l2 = 1 / len(y)
    model.fit(X, y)
    f = GLMObjective(X, y, make_loss(family, n_classes=4), l2=l2)
    W = np.column_stack([np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)])
    np.testing.assert_allclose(f.gradient(W.ravel()), 0, atol=1e-9)


def test_start_is_the_model_without_features(global_random_seed):
    for family in FAMILIES:
        X, y, weight, _ = draw(family, global_random_seed)
        f = GLMObjective(X, y, make_loss(family, n_classes=4), weight)
        gradient = f.gradient(f.start()).reshape(f.shape)
        np.testing.assert_allclose(gradient[..., -1], 0, atol=1e-12)
        assert not f.unpack(f.start())[0].any()


@each_loss
def test_low_rank_plus_diagonal(family, options, global_random_seed):
    f, w, rng = objective(family, options, global_random_seed)
    if not f.loss.convex:
        return
    exact = f.hessian(w)
    d, U = f.at(w).low_rank(f.n_params, rng)
    np.testing.assert_allclose(np.diag(d) + U @ U.T, exact, atol=1e-9)
    d, U = f.at(w).low_rank(2, rng)
    assert U.shape == (f.n_params, 2)
    assert (d >= 0).all()
    np.testing.assert_allclose(d + (U**2).sum(axis=1), np.diag(exact), atol=1e-12)
    left = exact - np.diag(f.penalty.ravel()) - U @ U.T
    assert np.linalg.eigvalsh(left).min() > -1e-10  # Nystrom stays below


def test_extreme_predictors_are_safe():
    X = np.array([[1e4], [-1e4], [1e4], [-1e4]])
    y = np.array([1.0, 0.0, 1.0, 0.0])
    right = GLMObjective(X, y, make_loss("binomial"), fit_intercept=False)
    assert right.value(np.ones(1)) == 0
    assert np.isclose(right.value(-np.ones(1)), 1e4)
    assert right.gradient(-np.ones(1)) == -1e4
    small = GLMObjective(X / 1e4, y, make_loss("binomial"), fit_intercept=False)
    tail = np.array([60.0])
    assert np.isclose(small.value(tail), np.exp(-60), rtol=1e-12)  # no cancellation
    assert np.isclose(small.gradient(tail), -np.exp(-60), rtol=1e-12)
    assert np.isclose(small.hessian(tail), np.exp(-60), rtol=1e-12)
    soft = GLMObjective(X, y.astype(int), make_loss("multinomial", n_classes=2))
    for sign in (1, -1):
        point = soft.at(sign * np.array([-1.0, 0, 1.0, 0]))
        assert np.isfinite(point.value)
        assert np.isfinite(point.gradient).all()
        assert np.isfinite(point.hessian()).all()
    count = GLMObjective(X, y, make_loss("poisson"))
    assert not np.isfinite(count.value(np.array([1.0, 0])))  # and no warning


def test_targets_out_of_range():
    X = np.ones((3, 1))
    for family, y, words in [
        ("binomial", [0.0, 1, 2], r"\[0, 1\]"),
        ("poisson", [0.0, 1, -1], "not negative"),
        ("gamma", [0.0, 1, 1], "positive"),
        ("inverse_gaussian", [0.0, 1, 1], "positive"),
        ("multinomial", [0, 1, 3], "codes"),
    ]:
        loss = make_loss(family, n_classes=3)
        with pytest.raises(ValueError, match=words):
            GLMObjective(X, np.array(y), loss)
    with pytest.raises(ValueError, match="between 0 and 1"):
        make_loss("tweedie", power=0.5)
    with pytest.raises(ValueError, match="none of"):
        make_loss("beta")


@each_loss
@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
def test_other_libraries_agree(family, options, library, global_random_seed):
    xp = pytest.importorskip(library)
    X, y, weight, rng = draw(family, global_random_seed)
    loss = make_loss(family, **options)
    there = GLMObjective(xp.asarray(X), xp.asarray(y), loss, xp.asarray(weight), l2=0.1)
    here = GLMObjective(X, y, loss, weight, l2=0.1)
    w = 0.3 * rng.standard_normal(here.n_params)
    np.testing.assert_allclose(there.start(), here.start(), atol=1e-14)
    assert np.isclose(there.value(w), here.value(w), rtol=1e-13)
    np.testing.assert_allclose(there.gradient(w), here.gradient(w), atol=1e-13)
    for kind in ("exact", "block", "fisher", "wgn"):
        expected = here.hessian(w, kind)
        np.testing.assert_allclose(there.hessian(w, kind), expected, atol=1e-13)
    np.testing.assert_allclose(there.hessp(w, w), here.hessp(w, w), atol=1e-13)
    rows = np.arange(0, 60, 3)
    assert np.isclose(there.take(rows).value(w), here.take(rows).value(w))


def test_float32_stays_float32():
    X, y, weight, _ = draw("multinomial", 0)
    f = GLMObjective(
        X.astype(np.float32),
        y,
        make_loss("multinomial", n_classes=4),
        weight.astype(np.float32),
    )
    point = f.at(f.start())
    assert point.eta.dtype == point.mean.dtype == np.float32
    assert point.gradient.dtype == point.hessian().dtype == np.float64
    exact = GLMObjective(X, y, f.loss, weight)
    expected = exact.hessian(f.start())
    np.testing.assert_allclose(point.hessian(), expected, atol=1e-6)


@pytest.mark.kernels
def test_sparse_designs_that_are_not_canonical():
    rows, columns = np.array([0, 0, 1, 1]), np.array([1, 1, 1, 0])
    X = sp.csr_matrix((np.ones(4), columns, np.array([0, 2, 4])), shape=(2, 2))
    dense = np.zeros((2, 2))
    np.add.at(dense, (rows, columns), 1)
    weight = np.array([0.5, 2.0])
    np.testing.assert_allclose(
        Design(X).gram(weight), Design(dense).gram(weight), atol=1e-15
    )
    assert X.nnz == 4  # the input is left alone


def test_strict_namespace_is_the_strict_one():
    """The array library under test refuses what the standard lacks."""
    assert not hasattr(array_api_strict, "einsum")
