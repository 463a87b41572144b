# SPDX-License-Identifier: BSD-3-Clause
"""Minimisation under equations: closed forms, and structure that is used."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import BFGS, SR1, LinearConstraint, NonlinearConstraint
from scipy.sparse.linalg import LinearOperator

from skpapers.solvers import minimize_constrained

EXACT = ("auto", "ldl", "schur", "nullspace", "sparse")
SOLVERS = (*EXACT, "minres", "gmres", "sketch")


# --- closed forms -------------------------------------------------------------------
@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_agree_with_the_closed_form(Quadratic, solver, global_random_seed):
    problem = Quadratic(np.random.default_rng(global_random_seed), 6, 2)
    result = problem.solve(solver=solver, random_state=global_random_seed)
    problem.assert_solved(result)
    assert result.solver == ("ldl" if solver == "auto" else solver)
    assert result.nit == 1 or solver not in EXACT
    assert result.fun == pytest.approx(problem.fun(problem.x))


def identity_blocks(rng, N, s):
    return np.eye(N)[:, rng.permutation(N)[:s]]


@pytest.mark.kernels
@pytest.mark.parametrize("scaling", ["equilibrate", "preconditioner", "none"])
@pytest.mark.parametrize(
    ("sketch", "block_size"),
    [
        ("kaczmarz", None),
        ("kaczmarz", 3),
        ("kaczmarz_norm", None),
        ("subsample", None),
        ("subsample", 3),
        ("gaussian", 1),
        ("gaussian", 3),
        ("countsketch", 1),
        ("countsketch", 3),
        (identity_blocks, 3),
        (lambda rng, N, s: rng.standard_normal(N), None),
        (lambda rng, N, s: sp.csr_matrix(identity_blocks(rng, N, s)), 3),
    ],
)
def test_sketches_solve(Quadratic, sketch, block_size, scaling, global_random_seed):
    problem = Quadratic(np.random.default_rng(global_random_seed), 5, 2)
    options = {"sketch": sketch, "block_size": block_size, "sketch_scaling": scaling}
    result = problem.solve(
        solver="sketch", random_state=global_random_seed, tol=1e-6, **options
    )
    problem.assert_solved(result, 1e-5)
    assert result.n_inner > 0


@pytest.mark.parametrize("accuracy", ["practical", "paper"])
@pytest.mark.parametrize("theta", ["adaptive", 1.0, 0.1])
@pytest.mark.parametrize("solver", ["minres", "gmres", "sketch"])
def test_rules_for_inexact_steps(
    Quadratic, solver, theta, accuracy, global_random_seed
):
    problem = Quadratic(np.random.default_rng(global_random_seed), 4, 1)
    result = problem.solve(
        solver=solver, theta=theta, accuracy=accuracy, random_state=0, tol=1e-6
    )
    problem.assert_solved(result, 1e-5)


@pytest.mark.parametrize("modification", ["shift", "norm"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_curved_constraints(Sphere, solver, modification, global_random_seed):
    problem = Sphere(np.random.default_rng(global_random_seed), 5)
    result = problem.solve(
        solver=solver, hess_modification=modification, random_state=0, tol=1e-6
    )
    assert result.success, result.message
    assert problem.kkt(result) <= 1e-6
    assert problem.kkt(result) == pytest.approx(result.kkt, abs=1e-12)
    gradient = problem.jac(result.x) + problem.jacobian(result.x).T @ result.lam
    assert result.optimality == pytest.approx(np.abs(gradient).max(), abs=1e-12)
    violation = np.abs(problem.equations(result.x)).max()
    assert result.constr_violation == pytest.approx(violation, abs=1e-12)


def test_multipliers_are_derivatives(Quadratic, global_random_seed):
    problem = Quadratic(np.random.default_rng(global_random_seed))
    result, step = problem.solve(), 1e-5
    for i in range(4):
        b = problem.b.copy()
        b[i] += step
        moved = problem.solve(constraints=LinearConstraint(problem.A, b, b))
        slope = (moved.fun - result.fun) / step
        assert slope == pytest.approx(-result.lam[i], abs=1e-3)


def test_square_systems_are_solved_as_by_newton(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    A, b = rng.standard_normal((4, 4)) + 3 * np.eye(4), rng.standard_normal(4)
    x = np.linalg.solve(A, b)
    for solver in EXACT:
        result = minimize_constrained(
            lambda x: 0.0,
            np.zeros(4),
            jac=lambda x: np.zeros(4),
            hess=lambda x: np.zeros((4, 4)),
            constraints=LinearConstraint(A, b, b),
            solver=solver,
        )
        assert result.success, (solver, result.message)
        assert result.nit == 1
        np.testing.assert_allclose(result.x, x, atol=1e-8)
    curved = minimize_constrained(
        lambda x: 0.0,
        [1.5, 0.5],
        jac=lambda x: np.zeros(2),
        hess=lambda x: np.zeros((2, 2)),
        constraints=NonlinearConstraint(
            lambda x: [x[0] ** 2 + x[1] ** 2 - 2, x[0] - x[1]],
            0,
            0,
            jac=lambda x: [[2 * x[0], 2 * x[1]], [1, -1]],
            hess=lambda x, v: 2 * v[0] * np.eye(2),
        ),
        tol=1e-10,
    )
    assert curved.success
    np.testing.assert_allclose(curved.x, 1, atol=1e-9)


def test_no_constraints(Quadratic, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    problem = Quadratic(rng)
    for solver in SOLVERS[:-1]:
        result = problem.solve(solver=solver, constraints=())
        expected = -np.linalg.solve(problem.Q, problem.q)
        np.testing.assert_allclose(result.x, expected, atol=1e-6)
        assert result.lam.shape == (0,)
        assert result.v == []


def test_nothing_to_do(Quadratic):
    problem = Quadratic(np.random.default_rng(0))
    problem.x0 = problem.x
    result = problem.solve(lam0=problem.lam, tol=1e-6)
    assert (result.nit, result.nfev, result.success) == (0, 1, True)
    np.testing.assert_array_equal(result.x, problem.x)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 9),
    m=st.integers(0, 4),
    flat=st.booleans(),
    solver=st.sampled_from(EXACT),
)
def test_convex_problems_end_at_a_kkt_point(seed, n, m, flat, solver):
    """A soft maximum and a (perhaps flat) quadratic under feasible equations."""
    rng = np.random.default_rng(seed)
    m = min(m, n)
    A, B = rng.standard_normal((m, n)), rng.standard_normal((n + 3, n))
    b, ridge = A @ rng.standard_normal(n), 0.0 if flat else 0.1

    def soft(x):
        t = np.r_[B @ x, -B @ x]
        e = np.exp(t - t.max())
        return e / e.sum(), t.max() + np.log(e.sum())

    def jac(x):
        return np.r_[B, -B].T @ soft(x)[0] + ridge * x

    def hess(x):
        p, C = soft(x)[0], np.r_[B, -B]
        mean = C.T @ p
        return C.T @ (p[:, None] * C) - np.outer(mean, mean) + ridge * np.eye(n)

    result = minimize_constrained(
        lambda x: soft(x)[1] + ridge * x @ x / 2,
        rng.standard_normal(n),
        jac=jac,
        hess=hess,
        constraints=LinearConstraint(A, b, b) if m else (),
        solver=solver,
        tol=1e-6,
    )
    assert result.success, result.message
    gradient = jac(result.x) + A.T @ result.lam
    assert np.linalg.norm(np.r_[gradient, A @ result.x - b]) <= 1.01e-6


# --- structure ----------------------------------------------------------------------
def operator(H):
    return LinearOperator(H.shape, matvec=lambda v: H @ v, dtype=float)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("rows", [np.asarray, sp.csr_array, sp.coo_matrix])
@pytest.mark.parametrize(
    "form",
    [np.diag, np.asarray, sp.csr_matrix, sp.dia_array, operator, np.float32],
)
def test_forms_of_hessians_and_jacobians(
    Quadratic, form, rows, solver, global_random_seed
):
    rng = np.random.default_rng(global_random_seed)
    problem = Quadratic(rng, 7, 3)
    h = np.float32(rng.uniform(0.5, 2, 7)).astype(float)
    x = np.linalg.solve(
        np.block([[np.diag(h), problem.A.T], [problem.A, np.zeros((3, 3))]]),
        np.r_[-problem.q, problem.b],
    )[:7]
    result = minimize_constrained(
        lambda x: 0.5 * x @ (h * x) + problem.q @ x,
        np.zeros(7),
        jac=lambda x: h * x + problem.q,
        hess=lambda x: form(np.diag(h)),
        constraints=LinearConstraint(rows(problem.A), problem.b, problem.b),
        solver=solver,
        sketch="subsample",
        block_size=5,
        random_state=0,
        tol=1e-6,
    )
    assert result.success, result.message
    np.testing.assert_allclose(result.x, x, atol=1e-5)


@pytest.mark.parametrize(
    ("n", "m", "form", "rows", "expected"),
    [
        (200, 5, np.diag, np.asarray, "schur"),
        (200, 5, np.asarray, np.asarray, "schur"),
        (80, 5, np.asarray, np.asarray, "ldl"),
        (200, 150, np.asarray, np.asarray, "nullspace"),
        (200, 5, sp.csr_array, np.asarray, "schur"),  # only a diagonal is in there
        (200, 5, operator, np.asarray, "minres"),
    ],
)
def test_auto_goes_by_structure(n, m, form, rows, expected, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    A, h = rng.standard_normal((m, n)), rng.uniform(0.5, 2, n)
    result = minimize_constrained(
        lambda x: 0.5 * x @ (h * x),
        np.ones(n),
        jac=lambda x: h * x,
        hess=lambda x: form(np.diag(h)),
        constraints=LinearConstraint(rows(A), 1, 1),
    )
    assert result.solver == expected
    lam = np.linalg.solve(A / h @ A.T, -np.ones(m))
    np.testing.assert_allclose(result.x, -(A.T @ lam) / h, atol=1e-6)


@pytest.mark.parametrize("solver", ["auto", "sparse", "minres"])
def test_sparse_control_of_a_heat_plate(solver):
    """A control problem on a grid, with a minimum that is known to ten digits."""
    N = 8
    scale, k = (2 / (N + 1)) ** 2, N * N
    T = sp.diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(N, N))
    L = (sp.kron(sp.eye_array(N), T) + sp.kron(T, sp.eye_array(N))) / scale
    i = 0.1 / np.sqrt(15) * (np.arange(1, N + 1) - (N + 1) / 2)
    goal = (np.sin(4 + i)[:, None] + np.cos(3 + i)[None]).ravel(order="F")
    d = np.r_[np.ones(k), np.full(k, 0.1)]
    result = minimize_constrained(
        lambda x: 0.5 * np.sum((x[:k] - goal) ** 2) + 0.05 * x[k:] @ x[k:],
        np.ones(2 * k),
        jac=lambda x: np.r_[x[:k] - goal, 0.1 * x[k:]],
        hess=lambda x: sp.diags_array(d),
        constraints=LinearConstraint(sp.hstack([L, sp.eye_array(k)]), 0, 0),
        lam0=np.ones(k),
        solver=solver,
        tol=1e-8,
    )
    assert result.fun == pytest.approx(74.093022328324, abs=1e-8)
    assert result.nit == 1 or solver == "minres"


def test_flat_directions_need_no_large_shift(global_random_seed):
    """Where the reduced Hessian is singular but not indefinite, steps stay Newton's."""
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((60, 8))
    X = np.c_[X, X[:, :3]]  # three columns twice
    y = rng.random(60) < 0.5
    A, b = rng.standard_normal((2, 11)), rng.standard_normal(2)

    def jac(w):
        return X.T @ (1 / (1 + np.exp(-X @ w)) - y) / 60

    def hess(w):
        p = 1 / (1 + np.exp(-X @ w))
        return X.T @ ((p * (1 - p))[:, None] * X) / 60

    for solver in EXACT:
        result = minimize_constrained(
            lambda w: np.mean(np.logaddexp(0, X @ w) - y * (X @ w)),
            np.zeros(11),
            jac=jac,
            hess=hess,
            constraints=LinearConstraint(A, b, b),
            solver=solver,
            tol=1e-9,
            max_iter=20,
            return_history=True,
        )
        assert result.success, (solver, result.message)
        shifts = [record["tau"] for record in result.history[1:]]
        assert max(shifts) < 1e-6


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("solver", ["auto", "sparse", "minres"])
def test_first_multipliers_of_zero(solver, scale, global_random_seed):
    """A flat loss on a sphere: without multipliers, H tells nothing of the sphere."""
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((200, 12)) + 1.0
    y = rng.random(200) < 0.5
    A, b = rng.standard_normal((3, 12)), 0.2 * rng.standard_normal(3)

    def rate(w):
        return 0.5 * (1 + np.tanh(X @ w / 2))

    sphere = NonlinearConstraint(
        lambda w: w @ w,
        1,
        1,
        jac=lambda w: 2 * w,
        hess=lambda w, v: np.full(12, 2 * v[0]),
    )
    result = minimize_constrained(
        lambda w: np.mean(np.logaddexp(0, X @ w) - y * (X @ w)),
        np.full(12, 3.0),
        jac=lambda w: X.T @ (rate(w) - y) / 200,
        hess=lambda w: X.T @ ((rate(w) * (1 - rate(w)))[:, None] * X) / 200,
        constraints=[LinearConstraint(A, b, b), sphere],
        lam0=np.zeros(4),
        solver=solver,
        scale=scale,
        max_iter=100,
    )
    assert result.success, result.message


@pytest.mark.parametrize("hess", [None, "bfgs", "sr1", BFGS(), SR1(), "2-point"])
def test_hessians_that_are_learnt(Sphere, hess, global_random_seed):
    problem = Sphere(np.random.default_rng(global_random_seed), 5)
    for second in (problem.curvature, "3-point", BFGS(), "sr1"):
        constraint = NonlinearConstraint(
            problem.equations, 0, 0, jac=problem.jacobian, hess=second
        )
        result = problem.solve(hess=hess, constraints=constraint, tol=1e-5)
        assert result.success, result.message
        assert problem.kkt(result) <= 1.01e-5


@pytest.mark.parametrize("jac", [None, "2-point", "3-point"])
def test_gradients_by_differences(Sphere, jac, global_random_seed):
    problem = Sphere(np.random.default_rng(global_random_seed), 5)
    constraint = {"type": "eq", "fun": problem.equations}
    result = problem.solve(jac=jac, hess=None, constraints=constraint, tol=1e-4)
    assert result.success, result.message
    assert problem.kkt(result) <= 1.5e-4
