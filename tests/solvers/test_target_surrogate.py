# SPDX-License-Identifier: BSD-3-Clause
"""Target surrogates: monotone descent, closed forms, where they converge."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression

from skpapers.solvers import minimize_target_surrogate
from skpapers.solvers._target_surrogate import _inner as inner_module
from skpapers.solvers._target_surrogate._losses import LogLoss, SquaredLoss
from skpapers.solvers._target_surrogate._models import CallableModel

ALL = slice(None)
N, D = 40, 5

each_loss = pytest.mark.parametrize(
    "name", ["log", "softmax", "squared", "squared, two", "huber", "pairwise"]
)


def unit_weights(rng, n=N):
    weight = rng.uniform(0.2, 3, n)
    return weight / weight.mean()


def start_for(shape, rng):
    return 0.3 * rng.standard_normal((D,) if len(shape) == 1 else (D, shape[1]))


@each_loss
@pytest.mark.parametrize("inner", ["exact", "armijo", "lbfgs", "adam"])
@pytest.mark.parametrize("n_inner", [1, 4])
def test_loss_never_rises(make_loss, name, inner, n_inner, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, shape = make_loss(name, rng)
    X = rng.standard_normal((N, D)) * [1, 10, 0.1, 1, 3]
    result = minimize_target_surrogate(
        X,
        loss,
        start_for(shape, rng),
        metric=lambda z, g, rows: loss.metric(rows),
        inner=inner,
        n_inner=n_inner,
        max_iter=25,
        l2=0.01,
        tol=0,
    )
    drops = -np.diff(result.fun_path)
    assert (drops >= -1e-13 * (1 + result.fun_path[0])).all()
    assert result.fun < result.fun_path[0]


@pytest.mark.parametrize("inner", ["armijo", "lbfgs", "adam"])
@pytest.mark.parametrize("n_inner", [1, 7])
def test_loss_never_rises_for_a_network(
    make_loss, two_layers, inner, n_inner, global_random_seed
):
    rng = np.random.default_rng(global_random_seed)
    predict, jac_vec, x0, _ = two_layers(rng)
    loss, _ = make_loss("log", rng)
    result = minimize_target_surrogate(
        predict,
        loss,
        x0,
        jac_vec=jac_vec,
        model="callable",
        inner=inner,
        n_inner=n_inner,
        max_iter=20,
        tol=0,
    )
    assert (np.diff(result.fun_path) <= 1e-13).all()
    assert result.fun < result.fun_path[0]


@pytest.mark.parametrize("kind", ["full rank", "dependent", "wide", "zero column"])
def test_squared_loss_takes_one_step(kind, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((N, D if kind != "wide" else 2 * N))
    if kind == "dependent":
        X[:, 4] = X[:, 0] - 2 * X[:, 1]
    elif kind == "zero column":
        X[:, 2] = 0
    y = rng.standard_normal(N)
    result = minimize_target_surrogate(X, SquaredLoss(y), max_iter=3, tol=1e-9)
    assert result.success
    assert result.n_oracle_calls == 2
    np.testing.assert_allclose(result.x, np.linalg.lstsq(X, y)[0], atol=1e-9)


def test_shortest_move_from_any_start(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((N, D))
    X[:, 4] = X[:, 0]
    y, x0 = rng.standard_normal(N), rng.standard_normal(D)
    result = minimize_target_surrogate(X, SquaredLoss(y), x0, max_iter=1)
    expected = x0 + np.linalg.lstsq(X, y - X @ x0)[0]
    np.testing.assert_allclose(result.x, expected, atol=1e-9)


@pytest.mark.parametrize(
    "way", ["cholesky", "sparse", "iterative", "wide", "dependent"]
)
@pytest.mark.parametrize("n_outputs", [None, 2])
def test_ridge_in_one_step(way, n_outputs, monkeypatch, global_random_seed):
    """Every way to solve the inner problem meets the normal equations."""
    rng = np.random.default_rng(global_random_seed)
    d = 2 * N if way == "wide" else D
    X = rng.standard_normal((N, d))
    if way == "dependent":
        X[:, 1] = X[:, 0]
    y = rng.standard_normal(N if n_outputs is None else (N, n_outputs))
    x0 = rng.standard_normal((d, *y.shape[1:]))
    table = csr_array(X) if way == "sparse" else X
    if way == "iterative":
        monkeypatch.setattr(inner_module, "MAX_DENSE", 2)
    l2 = np.r_[0.0 if way != "dependent" else 0.3, np.full(d - 1, 0.3)]
    if way == "wide":
        l2[0] = 0.1
    result = minimize_target_surrogate(table, SquaredLoss(y), x0, l2=l2, max_iter=1)
    expected = np.linalg.solve(X.T @ X / N + np.diag(l2), X.T @ y / N)
    np.testing.assert_allclose(result.x, expected, atol=1e-9)


@pytest.mark.parametrize("way", ["cholesky", "iterative", "wide"])
def test_proximal_weight(way, monkeypatch, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    d = 2 * N if way == "wide" else D
    X, y = rng.standard_normal((N, d)), rng.standard_normal(N)
    x0, l2, rho, eta = rng.standard_normal(d), 0.2, 0.7, 0.5
    if way == "iterative":
        monkeypatch.setattr(inner_module, "MAX_DENSE", 2)
    result = minimize_target_surrogate(
        X, SquaredLoss(y), x0, l2=l2, proximal=rho, eta=eta, max_iter=1
    )
    gradient = X.T @ (X @ x0 - y) / N + l2 * x0
    move = -np.linalg.solve(X.T @ X / N / eta + (l2 + rho) * np.eye(d), gradient)
    np.testing.assert_allclose(result.x, x0 + move, atol=1e-9)


def test_each_target_may_have_its_own_penalty_and_weights(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, y = rng.standard_normal((N, D)), rng.standard_normal((N, 2))
    h, l2 = rng.uniform(0.5, 2, (N, 2)), rng.uniform(0.1, 1, (D, 2))
    x0 = rng.standard_normal((D, 2))
    both = minimize_target_surrogate(
        X, SquaredLoss(y), x0, l2=l2, metric=lambda z, g, rows: h, eta=1.0, max_iter=1
    )
    for k in range(2):
        G = X.T @ (X @ x0[:, k] - y[:, k]) / N + l2[:, k] * x0[:, k]
        A = (X.T * h[:, k]) @ X / N + np.diag(l2[:, k])
        expected = x0[:, k] - np.linalg.solve(A, G)
        np.testing.assert_allclose(both.x[:, k], expected, atol=1e-10)
    many = minimize_target_surrogate(
        X, SquaredLoss(y), x0, l2=l2, metric=lambda z, g, rows: h, eta=1.0, max_iter=1,
        inner="lbfgs", n_inner=500,
    )  # fmt: skip
    np.testing.assert_allclose(many.x, both.x, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_exact_is_the_limit_of_many_inner_steps(
    make_loss, weighted, global_random_seed
):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((N, D))
    loss, _ = make_loss("log", rng)
    options = {"metric": unit_weights(rng)} if weighted else {}
    runs = [
        minimize_target_surrogate(X, loss, inner=how, n_inner=m, max_iter=4, **options)
        for how, m in [("exact", 1), ("armijo", 5000), ("lbfgs", 200)]
    ]
    np.testing.assert_allclose(runs[1].x, runs[0].x, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(runs[2].x, runs[0].x, rtol=1e-4, atol=1e-6)


def test_logistic_step_is_the_fixed_bound_on_the_hessian(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, y = rng.standard_normal((N, D)), rng.integers(0, 2, N)
    x = minimize_target_surrogate(X, LogLoss(y), max_iter=3, tol=0).x
    expected = np.zeros(D)
    for _ in range(3):
        p = 1 / (1 + np.exp(-X @ expected))
        expected -= np.linalg.solve(X.T @ X / 4, X.T @ (p - y))
    np.testing.assert_allclose(x, expected, rtol=1e-9)


@pytest.mark.parametrize("eta", [0.1, 4.0])
def test_first_inner_gradient_is_that_of_the_loss(
    make_loss, two_layers, eta, global_random_seed
):
    rng = np.random.default_rng(global_random_seed)
    predict, jac_vec, x0, _ = two_layers(rng)
    loss, _ = make_loss("log", rng)
    seen = []
    minimize_target_surrogate(
        predict, loss, x0, jac_vec=jac_vec, model="callable", eta=eta, l2=0.3,
        n_inner=1, max_iter=2, tol=0,
        callback=lambda intermediate_result: seen.append(intermediate_result),
    )  # fmt: skip

    def objective(x):
        return loss.value(predict(x, ALL), ALL) + 0.15 * x @ x

    numeric = approx_fprime(x0, objective, 1e-7)
    np.testing.assert_allclose(seen[0].grad, numeric, atol=1e-5)
    # one inner step goes along it
    move = seen[1].x - x0
    cosine = -move @ numeric / np.linalg.norm(move) / np.linalg.norm(numeric)
    assert cosine == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("multinomial", [False, True])
def test_converges_to_logistic_regression(make_loss, multinomial, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, shape = make_loss("softmax" if multinomial else "log", rng)
    X, alpha = rng.standard_normal((N, D)), 0.05
    x0 = np.zeros((D, *shape[1:]))
    result = minimize_target_surrogate(X, loss, x0, l2=alpha, max_iter=2000, tol=1e-9)
    peer = LogisticRegression(C=1 / (N * alpha), fit_intercept=False, tol=1e-10)
    peer.set_params(max_iter=5000).fit(X, loss.y)
    assert result.success
    expected = peer.coef_.T if multinomial else peer.coef_[0]
    np.testing.assert_allclose(result.x, expected, atol=1e-5)


@pytest.mark.parametrize("inner", ["exact", "armijo"])
def test_row_weights_are_repetitions(inner, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, y = rng.standard_normal((N, D)), rng.integers(0, 2, N)
    copies = rng.integers(1, 4, N)
    weight = copies / copies.mean()
    weighted = LogLoss(y, weight)
    once = minimize_target_surrogate(
        X, weighted, metric=weight, inner=inner, max_iter=5
    )
    again = minimize_target_surrogate(
        X.repeat(copies, axis=0), LogLoss(y.repeat(copies)), inner=inner, max_iter=5
    )
    np.testing.assert_allclose(once.x, again.x, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "stochastic", "exponential"])
def test_schedules(make_loss, schedule, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, _ = make_loss("log", rng)
    X, t = rng.standard_normal((N, D)), np.arange(1, 9)
    result = minimize_target_surrogate(
        X, loss, eta=2.0, eta_schedule=schedule, max_iter=8, tol=0
    )
    factor = {"constant": t**0.0, "stochastic": t**-0.5, "exponential": 8.0 ** (-t / 8)}
    np.testing.assert_allclose(result.eta_path, 2 * factor[schedule])


def test_batches_cover_the_table(make_loss, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, _ = make_loss("log", rng)
    X, seen = rng.standard_normal((N, D)), []

    def recorded(z, rows):
        seen.append(rows)
        return loss(z, rows)

    options = {"batch_size": 12, "eta": 4.0, "eta_schedule": "stochastic"}
    first, second = (
        minimize_target_surrogate(
            X, recorded, max_iter=8, random_state=global_random_seed, **options
        )
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.x, second.x)
    assert first.success
    assert [len(rows) for rows in seen[:4]] == [12, 12, 12, 4]
    for epoch in (seen[:4], seen[4:8]):
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(N))


@pytest.mark.parametrize("inner", ["armijo", "exact", "lbfgs"])
def test_batches_approach_the_solution_where_it_interpolates(inner, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, x_true = rng.standard_normal((N, D)), rng.standard_normal(D)
    result = minimize_target_surrogate(
        X, SquaredLoss(X @ x_true), batch_size=8, inner=inner, max_iter=200,
        random_state=global_random_seed,
    )  # fmt: skip
    np.testing.assert_allclose(result.x, x_true, atol=1e-4)


def test_adagrad_metric_written_out(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, y = rng.standard_normal((N, D)), rng.standard_normal(N)
    result = minimize_target_surrogate(
        X, SquaredLoss(y), metric="adagrad", eta=0.5, max_iter=3, tol=0
    )
    x, squares = np.zeros(D), np.zeros(N)
    for _ in range(3):
        g = X @ x - y
        squares += g**2
        h = np.clip(np.sqrt(squares), 1e-5, 1e5)
        x = x - 0.5 * np.linalg.solve((X.T * h) @ X, X.T @ g)
    np.testing.assert_allclose(result.x, x, rtol=1e-8, atol=1e-10)


def softmax_model(X):
    """Return the probabilities of a linear model as callables."""

    def predict(x, rows):
        logits = X[rows] @ x
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def jac_vec(x, v, rows):
        p = predict(x, rows)
        return X[rows].T @ (p * (v - (p * v).sum(axis=1, keepdims=True)))

    return predict, jac_vec


def test_mirror_descent_step(global_random_seed):
    """Where the model can say anything the new targets are z exp(-eta g)."""
    rng = np.random.default_rng(global_random_seed)
    predict, jac_vec = softmax_model(np.eye(6))
    cost = rng.standard_normal((6, 3))
    x0 = rng.standard_normal((6, 3))
    result = minimize_target_surrogate(
        predict,
        lambda p, rows: (np.mean(np.sum(cost[rows] * p, axis=1)), cost[rows] / len(p)),
        x0,
        jac_vec=jac_vec,
        model="callable",
        metric="kl",
        eta=0.5,
        inner="lbfgs",
        n_inner=500,
        max_iter=1,
    )
    half = predict(x0, ALL) * np.exp(-0.5 * cost)
    expected = half / half.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predict(result.x, ALL), expected, atol=1e-5)


def test_kl_gradient_by_finite_differences(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((N, D))
    predict, jac_vec = softmax_model(X)
    x0 = rng.standard_normal((D, 3))
    f = CallableModel(predict, jac_vec, x0)
    problem = inner_module.GeneralProblem(
        f, x0, ALL, predict(x0, ALL), rng.standard_normal((N, 3)), None, 0.7,
        np.full((D, 1), 0.2), 0.4, True,
    )  # fmt: skip
    x = x0 + rng.standard_normal((D, 3))
    numeric = approx_fprime(x.ravel(), lambda v: problem.value(v.reshape(D, 3)), 1e-7)
    np.testing.assert_allclose(problem.gradient(x).ravel(), numeric, atol=1e-5)


def test_network_learns_what_lbfgs_learns(two_layers, global_random_seed):
    """Many inner steps end where ordinary training of the same network ends."""
    rng = np.random.default_rng(global_random_seed)
    predict, jac_vec, x0, X = two_layers(rng)
    y = (X[:, 0] * X[:, 1] > 0) * 1.0
    loss = LogLoss(y)

    def both(x):
        value, gradient = loss(predict(x, ALL), ALL)
        return value + 0.005 * x @ x, jac_vec(x, gradient, ALL) + 0.01 * x

    peer = minimize(both, x0, jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    result = minimize_target_surrogate(
        predict, loss, x0, jac_vec=jac_vec, model="callable", l2=0.01, inner="lbfgs",
        max_iter=400, tol=1e-5,
    )  # fmt: skip
    assert abs(result.jac).max() <= 1e-3
    assert result.fun <= peer.fun + 0.15  # another local minimum is possible
