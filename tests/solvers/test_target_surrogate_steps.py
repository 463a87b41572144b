# SPDX-License-Identifier: BSD-3-Clause
"""Target surrogates: line search, adaptive and learnt steps, counted calls."""

import numpy as np
import pytest
from scipy.optimize import minimize

from skpapers.solvers import minimize_target_surrogate
from skpapers.solvers._target_surrogate._losses import (
    HuberLoss,
    LogLoss,
    PairwiseLoss,
    SquaredLoss,
)

ALL = slice(None)
N, D = 40, 5

each_loss = pytest.mark.parametrize(
    "name", ["log", "softmax", "squared", "squared, two", "huber", "pairwise"]
)


def start_for(shape, rng):
    return 0.3 * rng.standard_normal((D,) if len(shape) == 1 else (D, shape[1]))


@each_loss
@pytest.mark.parametrize("power", [-20, 3, 20])
def test_line_search_does_not_know_the_unit_of_the_loss(
    make_loss, name, power, global_random_seed
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
def test_line_search_satisfies_armijo(make_loss, name, global_random_seed):
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
def test_adaptive_steps_never_keep_a_rise(make_loss, name, power, global_random_seed):
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


def test_adaptive_step_recovers_from_a_bad_start(make_loss, global_random_seed):
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


def test_cheap_values_serve_the_line_search(make_loss, global_random_seed):
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
def test_inner_steps_do_not_call_the_loss(
    make_loss, two_layers, inner, n_inner, global_random_seed
):
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
