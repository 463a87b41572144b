# SPDX-License-Identifier: BSD-3-Clause
"""Target surrogates: tables of all kinds, callbacks, bad input, kept factors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.linear_model import Ridge

from skpapers.solvers import minimize_target_surrogate
from skpapers.solvers._target_surrogate._inner import ExactStep
from skpapers.solvers._target_surrogate._losses import LogLoss, SquaredLoss

N, D = 40, 5


def unit_weights(rng, n=N):
    weight = rng.uniform(0.2, 3, n)
    return weight / weight.mean()


def test_sparse_and_dense_agree(make_loss, global_random_seed):
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


def test_many_columns_are_solved_without_their_square(make_loss, global_random_seed):
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


def test_float32_tables_stay_float32(make_loss, global_random_seed):
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


def test_does_not_change_its_inputs(make_loss, global_random_seed):
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


def test_callback_stops(make_loss, global_random_seed):
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


def test_budget_is_told(make_loss, global_random_seed):
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


def test_exact_step_keeps_its_factor(make_loss, monkeypatch, global_random_seed):
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
