"""Target surrogates: majorisation, monotone descent, closed forms, counts, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, minimize
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression, Ridge

from skpapers.solvers import minimize_target_surrogate
from skpapers.solvers._target_surrogate import _inner as inner_module
from skpapers.solvers._target_surrogate._inner import ExactStep
from skpapers.solvers._target_surrogate._losses import (
    HuberLoss,
    LogLoss,
    PairwiseLoss,
    SoftmaxLoss,
    SquaredLoss,
)
from skpapers.solvers._target_surrogate._models import CallableModel

ALL = slice(None)
N, D = 40, 5


def make_loss(name, rng, n=N, sample_weight=None):
    """Return a loss of n targets and the shape of z."""
    y = rng.standard_normal(n) * 3
    labels = np.arange(n) % 3
    rng.shuffle(labels)
    return {
        "log": lambda: (LogLoss((labels > 0) * 1.0, sample_weight), (n,)),
        "softmax": lambda: (SoftmaxLoss(labels, sample_weight), (n, 3)),
        "squared": lambda: (SquaredLoss(y, sample_weight), (n,)),
        "squared, two": lambda: (
            SquaredLoss(np.c_[y, y**2], sample_weight),
            (n, 2),
        ),
        "huber": lambda: (HuberLoss(y, sample_weight, delta=1.0), (n,)),
        "pairwise": lambda: (PairwiseLoss((labels > 0) * 1, sample_weight), (n,)),
    }[name]()


each_loss = pytest.mark.parametrize(
    "name", ["log", "softmax", "squared", "squared, two", "huber", "pairwise"]
)


def unit_weights(rng, n=N):
    weight = rng.uniform(0.2, 3, n)
    return weight / weight.mean()


def q_of(loss, z, new, eta):
    """Return the surrogate around z at the targets ``new``, written out."""
    value, gradient = loss(z, ALL)
    h = loss.metric(ALL)
    h = np.ones(len(z)) if h is None else h
    square = (new - z) ** 2
    square = square if square.ndim == 1 else square.sum(axis=1)
    return value + np.sum(gradient * (new - z)) + np.mean(h * square) / (2 * eta)


@each_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_surrogate_lies_above_the_loss(name, weighted, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, shape = make_loss(
        name, rng, sample_weight=unit_weights(rng) if weighted else None
    )
    for scale in np.repeat([0.1, 1.0, 5.0, 30.0], 10):
        z, new = scale * rng.standard_normal((2, *shape))
        bound = q_of(loss, z, new, 1 / loss.smoothness)
        assert loss(new, ALL)[0] <= bound + 1e-12 * max(1, abs(bound))


@each_loss
def test_smoothness_is_not_idle(name, global_random_seed):
    """With a third of the curvature the surrogate no longer lies above the loss."""
    rng = np.random.default_rng(global_random_seed)
    loss, shape = make_loss(name, rng)
    center = loss.y if name.startswith(("squared", "huber")) else np.zeros(shape)
    assert any(
        loss(center + 0.1 * move, ALL)[0]
        > q_of(loss, center, center + 0.1 * move, 3 / loss.smoothness)
        for move in rng.standard_normal((50, *shape))
    )


@each_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_by_finite_differences(name, weighted, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, shape = make_loss(
        name, rng, sample_weight=unit_weights(rng) if weighted else None
    )
    z = rng.standard_normal(shape)
    rows = rng.permutation(N)[:17]

    def value(flat):
        return loss.value(flat.reshape(z[rows].shape), rows)

    numeric = approx_fprime(z[rows].ravel(), value, 1e-7)
    _, gradient = loss(z[rows], rows)
    np.testing.assert_allclose(gradient.ravel(), numeric, atol=1e-6)


def test_pairwise_loss_is_the_mean_over_pairs(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    y, z, w = rng.integers(0, 2, 30), 5 * rng.standard_normal(30), unit_weights(rng, 30)
    pairs = [
        (w[i] * w[j], np.logaddexp(0, z[j] - z[i]))
        for i in range(30)
        for j in range(30)
        if y[i] > y[j]
    ]
    weight, value = np.array(pairs).T
    expected = weight @ value / weight.sum()
    assert PairwiseLoss(y, w)(z, ALL)[0] == pytest.approx(expected, rel=1e-12)


def test_pairwise_loss_is_summed_in_blocks(monkeypatch, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, _ = make_loss("pairwise", rng)
    z = rng.standard_normal(N)
    value, gradient = loss(z, ALL)
    monkeypatch.setattr("skpapers.solvers._target_surrogate._losses.BLOCK", 40)
    in_blocks = loss(z, ALL)
    assert in_blocks[0] == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(in_blocks[1], gradient, rtol=1e-12)


def test_pairwise_loss_of_one_class_is_nothing():
    value, gradient = PairwiseLoss(np.array([1, 1, 0]))(
        np.arange(2.0), np.array([0, 1])
    )
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def start_for(shape, rng):
    return 0.3 * rng.standard_normal((D,) if len(shape) == 1 else (D, shape[1]))


@each_loss
@pytest.mark.parametrize("inner", ["exact", "armijo", "lbfgs", "adam"])
@pytest.mark.parametrize("n_inner", [1, 4])
def test_loss_never_rises(name, inner, n_inner, global_random_seed):
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


def two_layers(rng, n_hidden=4):
    """Return a network with tanh units as callables, its start and its table."""
    X = rng.standard_normal((N, 3))
    shapes = [(3, n_hidden), (n_hidden,)]

    def unpack(x):
        cut = 3 * n_hidden
        return x[:cut].reshape(shapes[0]), x[cut:]

    def predict(x, rows):
        W, v = unpack(x)
        return np.tanh(X[rows] @ W) @ v

    def jac_vec(x, u, rows):
        W, v = unpack(x)
        hidden = np.tanh(X[rows] @ W)
        inside = u[:, None] * v * (1 - hidden**2)
        return np.concatenate([(X[rows].T @ inside).ravel(), hidden.T @ u])

    return predict, jac_vec, rng.standard_normal(4 * n_hidden), X


@pytest.mark.parametrize("inner", ["armijo", "lbfgs", "adam"])
@pytest.mark.parametrize("n_inner", [1, 7])
def test_loss_never_rises_for_a_network(inner, n_inner, global_random_seed):
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
def test_exact_is_the_limit_of_many_inner_steps(weighted, global_random_seed):
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
def test_first_inner_gradient_is_that_of_the_loss(eta, global_random_seed):
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


@each_loss
@pytest.mark.parametrize("power", [-20, 3, 20])
def test_line_search_does_not_know_the_unit_of_the_loss(
    name, power, global_random_seed
):
    rng = np.random.default_rng(global_random_seed)
    loss, shape = make_loss(name, rng)
    X, x0 = rng.standard_normal((N, D)), start_for(shape, rng)
    unit = 2.0**power  # exact in floating point

    def scaled(z, rows):
        value, gradient = loss(z, rows)
        return unit * value, unit * gradient

    plain = minimize_target_surrogate(X, loss, x0, eta="armijo", max_iter=8, tol=0)
    other = minimize_target_surrogate(X, scaled, x0, eta="armijo", max_iter=8, tol=0)
    np.testing.assert_allclose(other.eta_path * unit, plain.eta_path, rtol=1e-12)
    np.testing.assert_allclose(other.x, plain.x, rtol=1e-9, atol=1e-12)


@each_loss
def test_line_search_satisfies_armijo(name, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, shape = make_loss(name, rng)
    X, x0 = rng.standard_normal((N, D)), start_for(shape, rng)
    points = []
    result = minimize_target_surrogate(
        X, loss, x0, eta="armijo", max_iter=6, tol=0,
        callback=lambda intermediate_result: points.append(intermediate_result.x),
    )  # fmt: skip
    for x, eta in zip(points, result.eta_path, strict=True):
        z = X @ x
        value, gradient = loss(z, ALL)
        g = N * gradient
        promised = 0.5 * eta * np.sum(g * g) / N
        assert loss.value(z - eta * g, ALL) <= value - promised + 1e-12
    assert result.n_value_calls > 0
    assert "line search" in result.message


@each_loss
@pytest.mark.parametrize("power", [-20, 20])
def test_adaptive_steps_never_keep_a_rise(name, power, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, shape = make_loss(name, rng)
    X, x0 = rng.standard_normal((N, D)), start_for(shape, rng)
    kept = []

    def scaled(z, rows):
        value, gradient = loss(z, rows)
        return 2.0**power * value, 2.0**power * gradient

    def run(function, **options):
        return minimize_target_surrogate(X, function, x0, tol=0, **options)

    for function in (loss, scaled):
        kept.append([])
        result = run(
            function,
            max_iter=40,
            eta="adaptive",
            callback=lambda intermediate_result: kept[-1].append(
                intermediate_result.fun
            ),
        )
        assert (np.diff(kept[-1]) <= 1e-13 * kept[-1][0]).all()
        assert result.fun == kept[-1][-1]
        np.testing.assert_allclose(result.fun, min(result.fun_path), rtol=1e-12)
        assert len(result.fun_path) == result.n_oracle_calls == 40
    slow = run(loss, max_iter=40)
    assert kept[0][-1] <= slow.fun + 1e-9 * abs(slow.fun)
    unknown = run(scaled, max_iter=40)  # one line search, then no more values
    np.testing.assert_allclose(unknown.fun, kept[1][-1])
    assert "adapted" in unknown.message


def test_adaptive_step_recovers_from_a_bad_start(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, _ = make_loss("log", rng)
    X = rng.standard_normal((N, D))

    def too_optimistic(z, rows):
        return loss(z, rows)

    too_optimistic.smoothness = 1e-4
    result = minimize_target_surrogate(
        X, too_optimistic, eta="adaptive", l2=0.01, tol=1e-7
    )
    assert result.success
    assert result.eta_path.max() == 1e4
    assert result.eta_path[-1] < 1e3


def test_unknown_smoothness_is_told():
    result = minimize_target_surrogate(
        np.eye(3), lambda z, rows: (z @ z, 2 * z), np.ones(3), max_iter=2
    )
    assert "smoothness L is not known" in result.message


def test_cheap_values_serve_the_line_search(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, _ = make_loss("log", rng)
    X, calls = rng.standard_normal((N, D)), []

    def counted(z, rows):
        calls.append(len(z))
        return loss(z, rows)

    result = minimize_target_surrogate(X, counted, loss=loss.value, max_iter=7, tol=0)
    assert len(calls) == result.n_oracle_calls == 7
    assert result.n_value_calls > 7


@pytest.mark.parametrize("n_inner", [1, 30])
@pytest.mark.parametrize("inner", ["armijo", "lbfgs", "adam"])
def test_inner_steps_do_not_call_the_loss(inner, n_inner, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    predict, jac_vec, x0, _ = two_layers(rng)
    loss, _ = make_loss("log", rng)
    calls = []

    def counted(z, rows):
        calls.append(rows)
        return loss(z, rows)

    result = minimize_target_surrogate(
        predict, counted, x0, jac_vec=jac_vec, model="callable", eta=4.0,
        inner=inner, n_inner=n_inner, max_iter=9, tol=0,
    )  # fmt: skip
    assert len(calls) == result.n_oracle_calls == result.nit == 9
    assert result.n_value_calls == 0
    assert len(result.fun_path) == len(result.eta_path) == 9
    assert result.n_model_evals >= 9 + n_inner


@pytest.mark.parametrize("multinomial", [False, True])
def test_converges_to_logistic_regression(multinomial, global_random_seed):
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
def test_schedules(schedule, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, _ = make_loss("log", rng)
    X, t = rng.standard_normal((N, D)), np.arange(1, 9)
    result = minimize_target_surrogate(
        X, loss, eta=2.0, eta_schedule=schedule, max_iter=8, tol=0
    )
    factor = {"constant": t**0.0, "stochastic": t**-0.5, "exponential": 8.0 ** (-t / 8)}
    np.testing.assert_allclose(result.eta_path, 2 * factor[schedule])


def test_batches_cover_the_table(global_random_seed):
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


def test_network_learns_what_lbfgs_learns(global_random_seed):
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


def test_sparse_and_dense_agree(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = np.where(rng.uniform(size=(N, D)) < 0.5, rng.standard_normal((N, D)), 0)
    loss, _ = make_loss("log", rng)
    runs = [
        minimize_target_surrogate(table, loss, max_iter=5, tol=0, metric=unit_weights(
            np.random.default_rng(0)
        ))
        for table in (X, csr_array(X))
    ]  # fmt: skip
    np.testing.assert_allclose(runs[0].x, runs[1].x, rtol=1e-8, atol=1e-10)


def test_many_columns_are_solved_without_their_square(global_random_seed):
    """Wide and sparse: the iterative solver meets the dense one."""
    rng = np.random.default_rng(global_random_seed)
    X = np.where(rng.uniform(size=(30, 600)) < 0.05, 1.0, 0)
    loss, _ = make_loss("log", rng, n=30)
    for l2 in (0.0, 0.1):
        dense, sparse = (
            minimize_target_surrogate(table, loss, max_iter=4, tol=0, l2=l2)
            for table in (X, csr_array(X))
        )
        np.testing.assert_allclose(dense.x, sparse.x, atol=1e-7)


def test_float32_tables_stay_float32(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((N, D)).astype(np.float32)
    loss, _ = make_loss("log", rng)
    single = minimize_target_surrogate(X, loss, l2=0.1, max_iter=20, tol=0)
    double = minimize_target_surrogate(X * 1.0, loss, l2=0.1, max_iter=20, tol=0)
    np.testing.assert_allclose(single.x, double.x, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([-150, -8, 0, 8, 120]))
def test_any_scale_of_columns(seed, power):
    """Without a penalty the predictions do not depend on the units of the columns."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((20, 3)), rng.integers(0, 2, 20)
    units = np.array([1.0, 10.0**power, 3.0])
    plain, scaled = (
        minimize_target_surrogate(table, LogLoss(y), max_iter=4, tol=0).x
        for table in (X, X * units)
    )
    np.testing.assert_allclose(scaled * units, plain, rtol=1e-7, atol=1e-9)


def test_single_row_and_column():
    result = minimize_target_surrogate([[2.0]], SquaredLoss(np.array([3.0])))
    assert result.x == pytest.approx([1.5])


def test_does_not_change_its_inputs(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, x0 = rng.standard_normal((N, D)), rng.standard_normal(D)
    loss, _ = make_loss("log", rng)
    before = X.copy(), x0.copy()

    def rude(z, rows):
        value, gradient = loss(z, rows)
        z[:] = np.nan
        return value, gradient

    result = minimize_target_surrogate(X, rude, x0, eta=4.0, max_iter=3)
    assert np.isfinite(result.x).all()
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(x0, before[1])


def test_callback_stops(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, _ = make_loss("log", rng)

    def callback(intermediate_result):
        if intermediate_result.n_oracle_calls == 3:
            raise StopIteration

    X = rng.standard_normal((N, D))
    result = minimize_target_surrogate(X, loss, tol=0, callback=callback)
    assert result.status == 99
    assert not result.success
    assert result.n_oracle_calls == 3


def test_budget_is_told(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    loss, _ = make_loss("log", rng)
    result = minimize_target_surrogate(
        rng.standard_normal((N, D)), loss, max_iter=2, tol=0
    )
    assert not result.success
    assert "budget of 2 calls" in result.message


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (lambda z: (1.0, z[:-1]), r"shape of z, \(3,\), got \(2,\)"),
        (lambda z: (1.0, z[:, None]), r"shape of z, \(3,\), got \(3, 1\)"),
        (lambda z: (1.0, 1.0), r"shape of z, \(3,\), got \(\)"),
        (lambda z: (np.nan, z), "value that is not finite in call 1"),
        (lambda z: (np.inf, z), "value that is not finite"),
        (lambda z: (1.0, z + np.nan), "gradient that is not finite"),
        (lambda z: (z, z), "must be a number"),
        (lambda z: ("much", z), "must be a number"),
        (lambda z: 1.0, "pair"),
        (lambda z: (1.0, z, z), "pair"),
        (lambda z: None, "pair"),
    ],
)
def test_bad_losses(answer, match):
    with pytest.raises(ValueError, match=match):
        minimize_target_surrogate(np.eye(3), lambda z, rows: answer(z))


def test_bad_values_in_the_line_search():
    """A loss that is not finite far away shortens the step, and no more."""

    def loss_and_grad(z, rows):
        with np.errstate(invalid="ignore", divide="ignore"):
            return -np.log(1 - z @ z), 2 * z / (1 - z @ z)

    result = minimize_target_surrogate(
        np.eye(2), loss_and_grad, np.array([0.99, 0.0]), eta="armijo", max_iter=50,
        tol=1e-8,
    )  # fmt: skip
    np.testing.assert_allclose(result.x, 0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"eta": "newton"}, "eta must be"),
        ({"eta": -1.0}, "eta must be"),
        ({"eta": np.nan}, "eta must be"),
        ({"eta_schedule": "cosine"}, "eta_schedule"),
        ({"inner": "sgd"}, "inner must be"),
        ({"n_inner": 0}, "n_inner"),
        ({"max_iter": 0}, "max_iter"),
        ({"tol": -1}, "tol"),
        ({"proximal": np.inf}, "proximal"),
        ({"l2": -1}, "l2 must be"),
        ({"l2": np.ones(4)}, "l2 must broadcast"),
        ({"metric": "manhattan"}, "metric must be"),
        ({"metric": np.ones(4)}, "shape"),
        ({"metric": np.zeros(3)}, "positive"),
        ({"metric": lambda z, g, rows: z[:-1]}, "shape"),
        ({"metric": "kl"}, "probabilities"),
        ({"metric": "kl", "inner": "exact"}, "linear model"),
        ({"model": "tree"}, "model must be"),
        ({"model": "callable"}, "jac_vec"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2, "eta": "adaptive"}, "needs all rows"),
        ({"x0": np.ones(4)}, "x0 must have shape"),
    ],
)
def test_bad_arguments(options, match):
    with pytest.raises((ValueError, TypeError), match=match):
        minimize_target_surrogate(np.eye(3), SquaredLoss(np.ones(3)), **options)


def test_bad_models():
    loss = SquaredLoss(np.ones(3))
    with pytest.raises(TypeError, match="callable as loss_and_grad"):
        minimize_target_surrogate(np.eye(3), "loss")
    with pytest.raises(ValueError, match="matrix X"):
        minimize_target_surrogate(np.ones(3), loss)
    model = {"model": "callable", "jac_vec": lambda x, v, rows: v[:-1]}
    with pytest.raises(ValueError, match="jac_vec must return"):
        minimize_target_surrogate(lambda x, rows: x, loss, np.zeros(3), **model)
    with pytest.raises(ValueError, match="starting point"):
        minimize_target_surrogate(lambda x, rows: x, loss, **model)
    with pytest.raises(ValueError, match="predict must return z"):
        minimize_target_surrogate(
            lambda x, rows: np.ones((3, 1, 1)), loss, np.zeros(3), **model
        )
    model["jac_vec"] = lambda x, v, rows: v
    with pytest.raises(ValueError, match="exact"):
        minimize_target_surrogate(
            lambda x, rows: x, loss, np.zeros(3), inner="exact", **model
        )


def test_diverging_step_is_an_error():
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(ValueError, match="not finite"),
    ):
        minimize_target_surrogate(
            np.eye(2),
            lambda z, rows: (0.0, np.exp(np.abs(z)) * z),
            np.ones(2),
            eta=50.0,
        )


def test_exact_step_keeps_its_factor(monkeypatch, global_random_seed):
    """With a constant step the matrix is factored once for all outer steps."""
    rng = np.random.default_rng(global_random_seed)
    factored = []
    plain = ExactStep._factor

    def counted(self, eta):
        factored.append(eta)
        return plain(self, eta)

    monkeypatch.setattr(ExactStep, "_factor", counted)
    loss, _ = make_loss("log", rng)
    X = rng.standard_normal((N, D))
    for options, times in [
        ({}, 1),
        ({"l2": 0.1}, 1),
        ({"eta": "armijo"}, 1),
        ({"eta_schedule": "stochastic"}, 1),
        ({"eta_schedule": "stochastic", "l2": 0.1}, 6),
    ]:
        factored.clear()
        minimize_target_surrogate(X, loss, max_iter=6, tol=0, **options)
        assert len(factored) == times, options


def test_ridge_path_equals_scikit_learn(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X, y = rng.standard_normal((N, D)), rng.standard_normal((N, 3))
    result = minimize_target_surrogate(
        X, SquaredLoss(y), np.zeros((D, 3)), l2=2.0 / N, max_iter=1
    )
    peer = Ridge(alpha=2.0, fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(result.x, peer.coef_.T, rtol=1e-9)


# --- learnt row weights ---------------------------------------------------------------
def nearly_separable(rng, n=400, d=6):
    X = rng.standard_normal((n, d))
    y = (X.sum(axis=1) + 0.3 * rng.standard_normal(n) > 0).astype(float)
    return X * np.logspace(-1, 1, d), y


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", ["log", "huber", "pairs"])
def test_secant_reaches_the_minimum_in_few_calls(name, known, global_random_seed):
    X, y = nearly_separable(np.random.default_rng(global_random_seed))
    loss = {
        "log": LogLoss(y),
        "huber": HuberLoss(10 * y, delta=2.0),
        "pairs": PairwiseLoss(y),
    }[name]
    l2 = 1e-4 * np.mean(X**2, axis=0)

    def objective(x):
        value, slope = loss(X @ x, slice(None))
        return value + 0.5 * l2 @ x**2, X.T @ slope + l2 * x

    options = {"gtol": 1e-9, "ftol": 0, "maxiter": 5000, "maxfun": 20_000}
    start = np.zeros(X.shape[1])
    peer = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    used = loss if known else (lambda z, rows: loss(z, rows))
    ours = minimize_target_surrogate(
        X, used, metric="secant", l2=l2, max_iter=80, tol=1e-6 * X.std(axis=0)
    )
    assert ours.success
    assert ours.fun <= peer.fun + 1e-7
    # what is returned was the best, and no call is left out of the count
    assert ours.fun <= ours.fun_path.min() + 1e-12
    assert len(ours.fun_path) == ours.n_oracle_calls


def test_secant_beats_the_bound_on_the_curvature(global_random_seed):
    X, y = nearly_separable(np.random.default_rng(global_random_seed))
    how = {"eta": "adaptive", "l2": 1e-4, "tol": 1e-5, "max_iter": 400}
    learnt = minimize_target_surrogate(X, LogLoss(y), metric="secant", **how)
    bound = minimize_target_surrogate(X, LogLoss(y), **how)
    assert 3 * learnt.n_oracle_calls <= bound.n_oracle_calls


def test_secant_is_newton_for_a_quadratic(global_random_seed):
    """With curvatures that differ from row to row the second step is exact."""
    rng = np.random.default_rng(global_random_seed)
    X, y, c = rng.standard_normal((50, 4)), rng.standard_normal(50), rng.random(50) + 1

    class Weighted:
        smoothness = 2.0

        def __call__(self, z, rows):
            return float(np.mean(c * (z - y) ** 2) / 2), c * (z - y) / len(y)

    result = minimize_target_surrogate(X, Weighted(), metric="secant", tol=1e-9)
    assert result.n_oracle_calls <= 5  # the step may have been doubled once
    best = np.linalg.lstsq(np.sqrt(c)[:, None] * X, np.sqrt(c) * y, rcond=None)[0]
    np.testing.assert_allclose(result.x, best, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"eta": 1.0}, "needs eta='adaptive'"),
        ({"eta": "armijo"}, "needs eta='adaptive'"),
        ({"batch_size": 2}, "needs all rows"),
    ],
)
def test_secant_needs_an_adaptive_step_on_all_rows(options, match):
    with pytest.raises(ValueError, match=match):
        minimize_target_surrogate(
            np.eye(3), SquaredLoss(np.ones(3)), metric="secant", **options
        )
