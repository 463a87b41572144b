# SPDX-License-Identifier: BSD-3-Clause
"""Gradient-normalised Newton steps: limits, models, metrics, recipes, bad input."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import (
    BFGS,
    OptimizeWarning,
    least_squares,
    minimize,
    rosen,
    rosen_der,
    rosen_hess,
)
from scipy.sparse.linalg import LinearOperator

from skpapers.solvers import GNSLeastSquares, gns, gns_minimize
from skpapers.solvers._gns._models import (
    MANY,
    BlockModel,
    DenseModel,
    LowRankModel,
    OperatorModel,
    SparseModel,
    make_metric,
    make_model,
)

ROUNDING = 4 * np.finfo(float).eps


def semidefinite(rng, n, rank=None):
    A = rng.standard_normal((n, rank or n))
    return A @ A.T


def model_of(H, metric, n):
    return make_model(H, metric, n, lambda g, lam: 1e-14, 10 * n)


def quadratic(rng, n):
    H, b = semidefinite(rng, n) + 0.1 * np.eye(n), rng.standard_normal(n)
    return (lambda x: 0.5 * x @ H @ x - b @ x), (lambda x: H @ x - b), H, b


def log_sum_exp(rng, n, m):
    """A soft maximum of m affine functions whose optimum is at zero."""
    A, b = rng.random((n, m)) * 2 - 1, rng.random(m) * 2 - 1
    A = A.T
    metric = A.T @ A

    def soft(x):
        t = A @ x - b
        e = np.exp(t - t.max())
        return e / e.sum(), t.max() + np.log(e.sum())

    A = A - soft(np.zeros(n))[0] @ A

    def weighted(x):
        return A.T @ (soft(x)[0][:, None] * A)

    def exact(x):
        mean = A.T @ soft(x)[0]
        return weighted(x) - np.outer(mean, mean)

    return (
        lambda x: soft(x)[1],
        lambda x: A.T @ soft(x)[0],
        {"exact": exact, "weighted": weighted},
        metric,
    )


def chebyshev(n, power=4):
    """The chain of Chebyshev polynomials, hard by its curved valley."""

    def residual(x):
        return np.concatenate([[(1 - x[0]) / 2], x[1:] - 2 * x[:-1] ** 2 + 1])

    def jacobian(x):
        J = np.eye(n)
        J[0, 0] = -0.5
        J[np.arange(1, n), np.arange(n - 1)] = -4 * x[:-1]
        return J

    return GNSLeastSquares(residual, jacobian, power=power)


def assert_rules_hold(history, *, rounding=ROUNDING):
    """The acceptance inequality at every step, and a monotone objective."""
    f, norm, gamma = (
        np.array(history[key]) for key in ("objective", "gradient_norm", "gamma")
    )
    # gamma of a line is the radius with which its step was taken
    lam = norm[:-1] / gamma[1:]
    slack = rounding * np.abs(f[:-1])
    hidden = f[:-1] - f[1:] <= 10 * slack
    gain = norm[1:] ** 2 / (8 * lam)
    assert (hidden | (f[:-1] - f[1:] >= gain - 2 * slack)).all()
    assert (f[1:] <= f[:-1] + slack).all()


# --- the step -----------------------------------------------------------------------
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 8), exponent=st.floats(-6, 6))
def test_step_is_never_longer_than_the_radius(seed, n, exponent):
    rng = np.random.default_rng(seed)
    H, g = semidefinite(rng, n, rng.integers(1, n + 1)), rng.standard_normal(n)
    for B in (None, rng.random(n) + 0.1, semidefinite(rng, n) + np.eye(n)):
        metric, gamma = make_metric(B, n), 10**exponent
        d = model_of(H, metric, n).step(g, metric.dual_norm(g) / gamma)
        assert metric.norm(d) <= gamma * (1 + 1e-9)
        assert g @ d < 0


def test_limits_of_the_radius(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    n = 6
    H, g = semidefinite(rng, n) + np.eye(n), rng.standard_normal(n)
    B = semidefinite(rng, n) + np.eye(n)
    metric = make_metric(B, n)
    norm = metric.dual_norm(g)
    assert np.isclose(norm, np.sqrt(g @ np.linalg.solve(B, g)))
    newton = model_of(H, metric, n).step(g, norm / 1e14)
    np.testing.assert_allclose(newton, -np.linalg.solve(H, g), rtol=1e-9)
    gamma = 1e-9
    steepest = model_of(H, metric, n).step(g, norm / gamma)
    expected = -gamma * np.linalg.solve(B, g) / norm
    np.testing.assert_allclose(steepest, expected, rtol=1e-5)
    assert np.isclose(metric.norm(steepest), gamma, rtol=1e-5)


@pytest.mark.parametrize("kind", ["identity", "diagonal", "dense", "sparse"])
def test_models_agree(kind, global_random_seed):
    """Dense, sparse, low rank, operator, blocks: one step."""
    rng = np.random.default_rng(global_random_seed)
    n, r = 12, 3
    B = {
        "identity": None,
        "diagonal": rng.random(n) + 0.5,
        "dense": semidefinite(rng, n) + np.eye(n),
        "sparse": sp.diags_array(rng.random(n) + 0.5, format="csr"),
    }[kind]
    metric, g = make_metric(B, n), rng.standard_normal(n)
    d, U = rng.random(n), rng.standard_normal((n, r))
    full = np.diag(d) + U @ U.T
    as_matrix = np.eye(n) if B is None else B
    as_matrix = np.diag(as_matrix) if as_matrix.ndim == 1 else as_matrix
    as_matrix = as_matrix.toarray() if sp.issparse(as_matrix) else as_matrix
    for lam in (1e-3, 1.0, 1e3):
        expected = -np.linalg.solve(full + lam * as_matrix, g)
        for H in (
            full,
            sp.csr_matrix(full),
            (d, U),
            LinearOperator((n, n), matvec=lambda v: full @ v, dtype=float),
        ):
            step = model_of(H, metric, n).step(g, lam)
            np.testing.assert_allclose(step, expected, rtol=1e-8, atol=1e-12)
        rank_one = model_of((0.0, U[:, 0]), metric, n).step(g, lam)
        expected = np.outer(U[:, 0], U[:, 0]) + lam * as_matrix
        expected = -np.linalg.solve(expected, g)
        np.testing.assert_allclose(rank_one, expected, rtol=1e-8)
        diagonal = model_of(d, metric, n).step(g, lam)
        expected = -np.linalg.solve(np.diag(d) + lam * as_matrix, g)
        np.testing.assert_allclose(diagonal, expected, rtol=1e-8)
    assert np.isclose(metric.norm(g), np.sqrt(g @ as_matrix @ g))
    np.testing.assert_allclose(metric.times(g), as_matrix @ g)


def test_blocks_and_many_solves(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    blocks = np.stack([semidefinite(rng, 3) for _ in range(4)])
    b, g = rng.random(12) + 0.5, rng.standard_normal(12)
    full = np.zeros((12, 12))
    for k in range(4):
        full[3 * k : 3 * k + 3, 3 * k : 3 * k + 3] = blocks[k]
    metric = make_metric(b, 12)
    block_model, dense_model = BlockModel(blocks, metric), DenseModel(full, metric)
    matrix_model = DenseModel(full, make_metric(np.diag(b), 12))
    for lam in np.logspace(2, -3, MANY + 3):
        expected = -np.linalg.solve(full + lam * np.diag(b), g)
        for model in (block_model, dense_model, matrix_model):
            np.testing.assert_allclose(model.step(g, lam), expected, rtol=1e-7)
    assert dense_model.spectrum is not None


def test_indefinite_curvature_is_told():
    g, metric = np.array([1.0, 1.0, 1.0]), make_metric(None, 3)
    H = np.diag([1.0, 2.0, -1.0])
    dense = DenseModel(H, metric)
    for _ in range(MANY + 2):
        assert dense.step(g, 0.5) is None
    assert np.allclose(dense.step(g, 2.0), -g / [3, 4, 1])
    assert SparseModel(sp.csr_array(H), metric).step(g, 0.5) is None
    assert SparseModel(sp.csr_array(H), metric).step(g, 1.0) is None  # singular
    assert LowRankModel(np.diag(H), np.zeros((3, 1)), metric).step(g, 0.5) is None
    assert model_of(np.diag(H), metric, 3).step(g, 0.5) is None
    assert BlockModel(H[None], metric).step(g, 0.5) is None
    assert (
        OperatorModel(lambda v: H @ v, metric, lambda g, lam: 0, 9).step(g, 0.5) is None
    )


# --- the search ---------------------------------------------------------------------
def test_quadratic_is_accepted_at_first_trial(global_random_seed):
    f, grad, H, b = quadratic(np.random.default_rng(global_random_seed), 10)
    # below this gradient rounding hides what a step brings to f, which is near -30
    result = gns_minimize(f, np.zeros(10), grad, H, gtol=1e-7)
    error = np.linalg.norm(result.x - np.linalg.solve(H, b))
    assert error <= 1e-7 / np.linalg.eigvalsh(H)[0]
    assert result.success
    accepted = np.array(result.history["gamma"][1:])
    assert result.n_solves <= result.nit + 1
    np.testing.assert_allclose(accepted[1:-1] / accepted[:-2], 2)
    ratio = np.array(result.history["gradient_norm"])
    ratio = ratio[1:] / ratio[:-1]
    assert ratio[-1] < 0.1 * ratio[0]  # faster than linear
    assert_rules_hold(result.history)


@pytest.mark.parametrize(
    ("n", "kind", "n_iter"),
    [
        (100, "exact", 14),
        (100, "weighted", 21),
        (200, "exact", 18),
        (200, "weighted", 30),
    ],
)
def test_published_soft_maxima(n, kind, n_iter):
    """Iterations of the authors' program, measured."""
    f, grad, models, metric = log_sum_exp(np.random.RandomState(3124), n, n)
    result = gns_minimize(
        f,
        np.ones(n),
        grad,
        models[kind],
        metric,
        f_min=f(np.zeros(n)),
        f_tol=1e-8,
        gtol=0,
    )
    assert abs(result.nit - n_iter) <= 2
    assert_rules_hold(result.history)


def test_weighted_model_lies_above_the_hessian(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    f, grad, models, _ = log_sum_exp(rng, 5, 9)
    x, e = rng.standard_normal(5), 1e-6
    numeric = [(grad(x + e * u) - grad(x - e * u)) / (2 * e) for u in np.eye(5)]
    np.testing.assert_allclose(models["exact"](x), numeric, atol=1e-8)
    gap = models["weighted"](x) - models["exact"](x)
    assert np.linalg.eigvalsh(gap).min() > -1e-12
    slopes = [(f(x + e * u) - f(x - e * u)) / (2 * e) for u in np.eye(5)]
    np.testing.assert_allclose(grad(x), slopes, atol=1e-8)


def test_affine_invariance(global_random_seed):
    """With the metric transformed along, iterates are the same points."""
    rng = np.random.default_rng(global_random_seed)
    f, grad, models, B = log_sum_exp(rng, 6, 20)
    T = rng.standard_normal((6, 6)) + 3 * np.eye(6)
    x0 = np.ones(6)
    plain = gns_minimize(f, x0, grad, models["exact"], B, max_iter=6, gtol=0)
    there = gns_minimize(
        lambda z: f(T @ z),
        np.linalg.solve(T, x0),
        lambda z: T.T @ grad(T @ z),
        lambda z: T.T @ models["exact"](T @ z) @ T,
        T.T @ B @ T,
        max_iter=6,
        gtol=0,
    )
    np.testing.assert_allclose(T @ there.x, plain.x, atol=1e-8)
    np.testing.assert_allclose(
        there.history["gradient_norm"], plain.history["gradient_norm"], rtol=1e-6
    )


def test_kinds_of_curvature_give_the_same_iterates(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    n = 8
    A, b = rng.standard_normal((20, n)), rng.standard_normal(20)
    f = lambda x: np.sum(np.log(np.cosh(A @ x - b)))  # noqa: E731
    grad = lambda x: A.T @ np.tanh(A @ x - b)  # noqa: E731
    factor = lambda x: A.T / np.cosh(A @ x - b)  # noqa: E731
    results = [
        gns_minimize(f, np.zeros(n), grad, hess, cg_rtol=1e-14, max_iter=5, gtol=0)
        for hess in (
            lambda x: factor(x) @ factor(x).T,
            lambda x: sp.csr_array(factor(x) @ factor(x).T),
            lambda x: (0, factor(x)),
            lambda x: LinearOperator(
                (n, n), matvec=lambda v: factor(x) @ (factor(x).T @ v), dtype=float
            ),
        )
    ]
    for result in results[1:]:
        np.testing.assert_allclose(result.x, results[0].x, atol=1e-8)
        np.testing.assert_allclose(result.history["gamma"], results[0].history["gamma"])


@pytest.mark.parametrize("x0", [[-1.2, 1.0], [-30.0, 40.0], [3.0, -3.0, 3.0, -3.0]])
def test_indefinite_hessians_are_safe(x0):
    result = gns_minimize(rosen, x0, rosen_der, rosen_hess, max_iter=2000)
    assert result.success
    np.testing.assert_allclose(np.abs(result.x[1:]), 1, atol=1e-5)
    assert_rules_hold(result.history)


def test_exact_hessian_of_the_chebyshev_chain_is_safe():
    """Where the published loop ends in nan: the exact Hessian is indefinite."""
    problem, n = chebyshev(6), 6
    x0 = np.random.default_rng(0).random(n)

    def exact(x):
        u, J = problem.residual(x), problem.jacobian(x)
        curved = np.zeros((n, n))
        curved[np.arange(n - 1), np.arange(n - 1)] = -4 * u[1:]
        v = J.T @ u
        return u @ u * (J.T @ J + curved) + 2 * np.outer(v, v)

    eigenvalues = np.linalg.eigvalsh(exact(x0))
    assert eigenvalues[0] < 0
    result = gns_minimize(problem.fun, x0, problem.jac, exact, gtol=1e-12)
    assert np.isfinite(result.x).all()
    assert_rules_hold(result.history)
    assert result.fun < 1e-6 * problem.fun(x0)


def test_chebyshev_chain_with_the_semidefinite_model():
    # (from other starts it may end in a stationary point with larger residuals)
    problem, x0 = chebyshev(100), np.random.default_rng(1).random(100)
    result = problem.minimize(x0, f_min=0.0, f_tol=1e-8, gtol=0)
    assert result.success
    assert abs(result.nit - 21) <= 2  # what the authors' program takes
    assert_rules_hold(result.history)


def test_quasi_newton_formulas_serve():
    result = gns_minimize(rosen, np.full(5, 2.0), rosen_der, BFGS(), lazy=4)
    assert result.success
    np.testing.assert_allclose(result.x, 1, atol=1e-5)


def test_no_curvature_is_the_normalised_gradient_method():
    f, grad, H, b = quadratic(np.random.default_rng(0), 3)
    result = gns_minimize(f, np.ones(3), grad, None, max_iter=5000, gtol=1e-5)
    np.testing.assert_allclose(result.x, np.linalg.solve(H, b), atol=1e-3)
    assert_rules_hold(result.history)


def test_lazy_models_are_renewed_after_a_rejection():
    made = []

    def hess(x):
        made.append(x)
        return rosen_hess(x)

    result = gns_minimize(rosen, [-1.2, 1.0], rosen_der, hess, lazy=3)
    assert result.success
    assert result.nhev == len(made)
    assert result.nit / 3 <= len(made) <= result.n_solves


def test_gradients_by_differences_and_pairs():
    two = gns_minimize(rosen, [1.2, 1.2], None, rosen_hess, gtol=1e-3)
    np.testing.assert_allclose(two.x, 1, atol=1e-2)
    pair = gns_minimize(
        lambda x: (rosen(x), rosen_der(x)), [1.2, 1.2], True, rosen_hess
    )
    plain = gns_minimize(rosen, [1.2, 1.2], rosen_der, rosen_hess)
    np.testing.assert_array_equal(pair.x, plain.x)


def test_as_a_method_of_scipy():
    options = {"maxiter": 3, "gamma0": 2.0}
    ours = minimize(
        rosen, [2.0, 2.0], method=gns, jac=rosen_der, hess=rosen_hess, options=options
    )
    assert ours.nit == 3
    assert ours.history["gamma"][0] == 2.0
    product = minimize(
        lambda x, a: a * rosen(x),
        [2.0, 2.0],
        args=(2.0,),
        method=gns,
        jac=lambda x, a: a * rosen_der(x),
        hessp=lambda x, v, a: a * rosen_hess(x) @ v,
        tol=1e-8,
    )
    assert product.success
    np.testing.assert_allclose(product.x, 1, atol=1e-6)
    for extra in ({"bounds": [(0, 1)] * 2}, {"constraints": [{"type": "eq"}]}):
        with pytest.raises(ValueError, match="neither bounds nor constraints"):
            gns(rosen, np.ones(2), jac=rosen_der, **extra)


def test_callbacks():
    seen = []
    gns_minimize(rosen, [2.0, 2.0], rosen_der, rosen_hess, callback=seen.append)
    assert len(seen) > 3

    def full(intermediate_result):
        seen.append(intermediate_result.fun)
        return len(seen) >= 2

    seen.clear()
    result = gns_minimize(rosen, [2.0, 2.0], rosen_der, rosen_hess, callback=full)
    assert result.nit == 2
    assert not result.success
    assert seen[-1] == result.fun

    def stop(x):
        raise StopIteration

    result = gns_minimize(rosen, [2.0, 2.0], rosen_der, rosen_hess, callback=stop)
    assert result.nit == 1


def test_optimal_start_and_rounding():
    result = gns_minimize(rosen, np.ones(3), rosen_der, rosen_hess)
    assert result.success
    assert result.nit == 0
    # far below what rounding lets one reach: it ends, and says so
    f, grad, H, b = quadratic(np.random.default_rng(1), 6)
    result = gns_minimize(lambda x: 1e6 + f(x), np.ones(6), grad, H, gtol=1e-30)
    assert "Rounding" in result.message
    np.testing.assert_allclose(result.x, np.linalg.solve(H, b), rtol=1e-5)
    assert result.nit < 100


def test_disp(capsys):
    gns_minimize(rosen, np.ones(2), rosen_der, rosen_hess, disp=True)
    assert "gtol" in capsys.readouterr().out


def test_rejected_trials_end_with_a_warning():
    with pytest.warns(OptimizeWarning, match="rejected"):
        result = gns_minimize(
            lambda x: float(x @ x), np.ones(2), lambda x: -2 * x, np.eye(2)
        )
    assert not result.success
    np.testing.assert_array_equal(result.x, 1)
    assert result.n_solves == 40


def test_infinite_trials_are_rejected():
    """A barrier: outside the unit interval there is no value."""

    def f(x):
        return float("nan") if abs(x[0]) >= 1 else float(x[0] - np.log(1 - x[0] ** 2))

    result = gns_minimize(
        f,
        [0.9],
        lambda x: np.array([1 + 2 * x[0] / (1 - x[0] ** 2)]),
        lambda x: np.array([2 * (1 + x[0] ** 2) / (1 - x[0] ** 2) ** 2]),
        gamma0=100.0,
    )
    np.testing.assert_allclose(result.x, 1 - np.sqrt(2), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x0": np.ones((2, 2))}, "vector"),
        ({"x0": [1.0, np.nan]}, "x0 has infinite"),
        ({"gamma0": 0}, "gamma0=0"),
        ({"fun": lambda x: np.ones(3)}, "fun must return a number"),
        ({"fun": lambda x: np.nan}, "not finite at the start"),
        ({"jac": lambda x: np.ones(3)}, "jac must return shape"),
        ({"jac": lambda x: np.full(2, np.inf)}, "not finite at the start"),
        ({"hess_approx": lambda x: np.ones((3, 3))}, "curvature has shape"),
        ({"hess_approx": lambda x: np.full((2, 2), np.nan)}, "curvature has infinite"),
        ({"hess_approx": lambda x: (np.ones(2),)}, "not two"),
        ({"hess_approx": lambda x: (0, np.ones((3, 1)))}, "U has shape"),
        ({"metric": [1.0, -1.0]}, "not positive definite"),
        ({"metric": np.diag([1.0, -1.0])}, "not positive definite"),
        ({"metric": sp.diags_array([1.0, -1.0])}, "not positive definite"),
        ({"metric": np.ones(3)}, "metric has shape"),
        ({"metric": [1.0, np.nan]}, "metric has infinite"),
    ],
)
def test_bad_input(change, words):
    good = {
        "fun": rosen,
        "x0": [2.0, 2.0],
        "jac": rosen_der,
        "hess_approx": rosen_hess,
    }
    with pytest.raises(ValueError, match=words):
        gns_minimize(**(good | change))


# --- powers of residual norms -------------------------------------------------------
@pytest.mark.parametrize("power", [2, 3, 4, 5])
def test_least_squares_derivatives(power, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    A, b = rng.standard_normal((7, 4)), rng.standard_normal(7)
    linear = GNSLeastSquares(lambda x: A @ x - b, lambda x: A, power=power)
    x, e = rng.standard_normal(4), 1e-6
    slopes = [
        (linear.fun(x + e * u) - linear.fun(x - e * u)) / (2 * e) for u in np.eye(4)
    ]
    np.testing.assert_allclose(linear.jac(x), slopes, rtol=1e-6)
    H = [(linear.jac(x + e * u) - linear.jac(x - e * u)) / (2 * e) for u in np.eye(4)]
    # no curvature of u is left out where u is linear
    np.testing.assert_allclose(linear.hess_approx(x), H, rtol=1e-5)
    sparse = GNSLeastSquares(
        lambda x: A @ x - b, lambda x: sp.csr_array(A), power=power
    )
    np.testing.assert_allclose(
        np.asarray(sparse.hess_approx(x).todense())
        if sp.issparse(sparse.hess_approx(x))
        else sparse.hess_approx(x),
        linear.hess_approx(x),
    )
    ours, theirs = (
        p.minimize(np.zeros(4), max_iter=4, gtol=0) for p in (linear, sparse)
    )
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-9)


def test_fisher_term_alone_in_the_metric_of_the_data(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    A, b = rng.uniform(-1, 1, (100, 200)), rng.uniform(-1, 1, 100)
    problem = GNSLeastSquares(
        lambda x: A @ x - b, lambda x: A, power=4, curvature="fisher"
    )
    d, U = problem.hess_approx(np.ones(200))
    assert U.shape == (200, 1)
    assert not d.any()
    metric = A.T @ A + 1e-8 * np.eye(200)
    result = problem.minimize(np.ones(200), metric=metric, gtol=0, max_iter=60)
    assert result.fun < 1e-6 * problem.fun(np.ones(200))
    assert_rules_hold(result.history)


def test_least_squares_agrees_with_scipy(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    t = np.linspace(0, 3, 40)
    y = 2 * np.exp(-0.7 * t) + 0.05 * rng.standard_normal(40)

    def residual(x):
        return x[0] * np.exp(-x[1] * t) - y

    def jacobian(x):
        e = np.exp(-x[1] * t)
        return np.column_stack([e, -x[0] * t * e])

    tight = {"xtol": 1e-12, "ftol": 1e-15, "gtol": 1e-12}
    theirs = least_squares(residual, [1.0, 1.0], jacobian, **tight)
    ours = GNSLeastSquares(residual, jacobian).minimize([1.0, 1.0], gtol=1e-9)
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-7)


def test_zero_residuals_are_the_end():
    for power in (2, 3, 4):
        problem = GNSLeastSquares(lambda x: x, lambda x: np.eye(2), power=power)
        assert problem.minimize(np.zeros(2)).success
        assert not np.isnan(problem.hess_approx(np.zeros(2))).any()


def test_least_squares_bad_input():
    with pytest.raises(ValueError, match="power=1"):
        GNSLeastSquares(None, None, power=1)
    with pytest.raises(ValueError, match="none of"):
        GNSLeastSquares(None, None, curvature="newton")
    wrong = GNSLeastSquares(lambda x: x, lambda x: np.eye(3))
    with pytest.raises(ValueError, match="jacobian must return"):
        wrong.minimize(np.ones(2))
    wrong = GNSLeastSquares(lambda x: np.eye(2), lambda x: np.eye(2))
    with pytest.raises(ValueError, match="residual must return"):
        wrong.minimize(np.ones(2))
