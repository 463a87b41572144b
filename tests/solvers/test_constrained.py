# SPDX-License-Identifier: BSD-3-Clause
"""Minimisation under equations: closed forms, structure, statements, bad input."""

import re

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import (
    BFGS,
    SR1,
    LinearConstraint,
    NonlinearConstraint,
    minimize,
)
from scipy.sparse.linalg import LinearOperator

from skpapers.solvers import minimize_constrained, sketched_newton
from skpapers.utils import DataConditionWarning

EXACT = ("auto", "ldl", "schur", "nullspace", "sparse")
SOLVERS = (*EXACT, "minres", "gmres", "sketch")


class Quadratic:
    """The convex program 0.5 x'Qx + q'x under A x = b, with its solution."""

    def __init__(self, rng, n=12, m=4, rank=None):
        root = rng.standard_normal((n, rank or n))
        self.Q = root @ root.T / n + (0 if rank else np.eye(n))
        self.q, self.x0 = rng.standard_normal(n), rng.standard_normal(n)
        self.A, self.b = rng.standard_normal((m, n)), rng.standard_normal(m)
        zero = np.zeros((m, m))
        K = np.block([[self.Q, self.A.T], [self.A, zero]])
        self.x, self.lam = np.split(np.linalg.solve(K, np.r_[-self.q, self.b]), [n])

    def fun(self, x):
        return 0.5 * x @ self.Q @ x + self.q @ x

    def jac(self, x):
        return self.Q @ x + self.q

    def hess(self, x):
        return self.Q

    @property
    def constraint(self):
        return LinearConstraint(self.A, self.b, self.b)

    def solve(self, **options):
        options = {"jac": self.jac, "hess": self.hess, "tol": 1e-9} | options
        options.setdefault("constraints", self.constraint)
        return minimize_constrained(self.fun, self.x0, **options)

    def assert_solved(self, result, atol=1e-7):
        assert result.success, result.message
        np.testing.assert_allclose(result.x, self.x, atol=atol)
        np.testing.assert_allclose(result.lam, self.lam, atol=atol)


class Sphere:
    """A curved problem: x'Dx + exp terms on a sphere cut by a plane."""

    def __init__(self, rng, n=8):
        self.n, self.D = n, rng.uniform(0.5, 2, n)
        self.q = rng.standard_normal(n)
        self.a = np.ones(n) / np.sqrt(n)
        self.x0 = self.a + 0.3 * rng.standard_normal(n)

    def fun(self, x):
        return 0.5 * x @ (self.D * x) + self.q @ x + np.exp(0.3 * x).sum()

    def jac(self, x):
        return self.D * x + self.q + 0.3 * np.exp(0.3 * x)

    def hess(self, x):
        return np.diag(self.D + 0.09 * np.exp(0.3 * x))

    def equations(self, x):
        return np.array([x @ x - 4.0, self.a @ x - 1.0])

    def jacobian(self, x):
        return np.array([2 * x, self.a])

    def curvature(self, x, v):
        return 2 * v[0] * np.eye(self.n)

    @property
    def constraint(self):
        return NonlinearConstraint(
            self.equations, 0, 0, jac=self.jacobian, hess=self.curvature
        )

    def solve(self, **options):
        options = {"jac": self.jac, "hess": self.hess, "tol": 1e-8} | options
        options.setdefault("constraints", self.constraint)
        return minimize_constrained(self.fun, self.x0, **options)

    def kkt(self, result):
        """Norm of the residual from the functions themselves."""
        gradient = self.jac(result.x) + self.jacobian(result.x).T @ result.lam
        return np.linalg.norm(np.r_[gradient, self.equations(result.x)])


# --- closed forms -------------------------------------------------------------------
@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_agree_with_the_closed_form(solver, global_random_seed):
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
def test_sketches_solve(sketch, block_size, scaling, global_random_seed):
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
def test_rules_for_inexact_steps(solver, theta, accuracy, global_random_seed):
    problem = Quadratic(np.random.default_rng(global_random_seed), 4, 1)
    result = problem.solve(
        solver=solver, theta=theta, accuracy=accuracy, random_state=0, tol=1e-6
    )
    problem.assert_solved(result, 1e-5)


@pytest.mark.parametrize("modification", ["shift", "norm"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_curved_constraints(solver, modification, global_random_seed):
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


def test_multipliers_are_derivatives(global_random_seed):
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


def test_no_constraints(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    problem = Quadratic(rng)
    for solver in SOLVERS[:-1]:
        result = problem.solve(solver=solver, constraints=())
        expected = -np.linalg.solve(problem.Q, problem.q)
        np.testing.assert_allclose(result.x, expected, atol=1e-6)
        assert result.lam.shape == (0,)
        assert result.v == []


def test_nothing_to_do():
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
def test_forms_of_hessians_and_jacobians(form, rows, solver, global_random_seed):
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
def test_hessians_that_are_learnt(hess, global_random_seed):
    problem = Sphere(np.random.default_rng(global_random_seed), 5)
    for second in (problem.curvature, "3-point", BFGS(), "sr1"):
        constraint = NonlinearConstraint(
            problem.equations, 0, 0, jac=problem.jacobian, hess=second
        )
        result = problem.solve(hess=hess, constraints=constraint, tol=1e-5)
        assert result.success, result.message
        assert problem.kkt(result) <= 1.01e-5


@pytest.mark.parametrize("jac", [None, "2-point", "3-point"])
def test_gradients_by_differences(jac, global_random_seed):
    problem = Sphere(np.random.default_rng(global_random_seed), 5)
    constraint = {"type": "eq", "fun": problem.equations}
    result = problem.solve(jac=jac, hess=None, constraints=constraint, tol=1e-4)
    assert result.success, result.message
    assert problem.kkt(result) <= 1.5e-4


# --- how a problem is stated --------------------------------------------------------
def test_method_of_scipy(global_random_seed):
    problem = Sphere(np.random.default_rng(global_random_seed))
    expected = problem.solve(tol=1e-8)
    ways = {
        "functions": (problem.fun, {"jac": problem.jac, "hess": problem.hess}),
        "pair": (
            lambda x: (problem.fun(x), problem.jac(x)),
            {"jac": True, "hess": problem.hess},
        ),
        "products": (
            problem.fun,
            {"jac": problem.jac, "hessp": lambda x, p: problem.hess(x) @ p},
        ),
    }
    for fun, derivatives in ways.values():
        result = minimize(
            fun,
            problem.x0,
            method=sketched_newton,
            constraints=[problem.constraint],
            tol=1e-8,
            bounds=[(None, None)] * 8,
            options={"max_iter": 50},
            **derivatives,
        )
        assert result.success
        np.testing.assert_allclose(result.x, expected.x, atol=1e-7)


def test_options_by_the_names_of_scipy(capsys):
    problem = Sphere(np.random.default_rng(0))
    start = {"x0": problem.x0, "jac": problem.jac, "hess": problem.hess}
    start |= {"constraints": [problem.constraint], "method": sketched_newton}
    short = minimize(problem.fun, options={"maxiter": 1}, **start)
    assert (short.nit, short.status) == (1, 1)
    rough = minimize(problem.fun, options={"gtol": 0.1, "disp": True}, **start)
    assert rough.success
    assert "tol=1.0e-01" in capsys.readouterr().out
    with pytest.raises(TypeError, match=r"no option 'ftol'.*'max_iter'.*'maxiter'"):
        minimize(problem.fun, options={"ftol": 0.1}, **start)
    with pytest.raises(TypeError, match="'max_iter' is given twice"):
        minimize(problem.fun, options={"maxiter": 1, "max_iter": 2}, **start)


def test_arguments_of_the_callbacks():
    result = minimize_constrained(
        lambda x, a, b: a * (x[0] - b) ** 2 + x[1] ** 2,
        [0.0, 0.0],
        args=(2.0, 3.0),
        jac=lambda x, a, b: [2 * a * (x[0] - b), 2 * x[1]],
        hess=lambda x, a, b: [2 * a, 2],
        constraints={
            "type": "eq",
            "fun": lambda x, c: x[0] + x[1] - c,
            "jac": lambda x, c: [1.0, 1.0],
            "args": (3.0,),
        },
    )
    np.testing.assert_allclose(result.x, [3, 0], atol=1e-7)


def test_statements_of_the_same_constraints(global_random_seed):
    problem = Quadratic(np.random.default_rng(global_random_seed))
    A, b = problem.A, problem.b
    ways = [
        [LinearConstraint(A[:1], b[:1], b[:1]), LinearConstraint(A[1:], b[1:], b[1:])],
        NonlinearConstraint(lambda x: A @ x, b, b, jac=lambda x: A),
        {"type": "eq", "fun": lambda x: A @ x - b, "jac": lambda x: A},
        [
            {"type": "EQ", "fun": lambda x: float(A[0] @ x - b[0])},
            LinearConstraint(sp.csr_array(A[1:]), b[1:], b[1:]),
        ],
    ]
    for way in ways:
        result = problem.solve(constraints=way, tol=1e-6)
        problem.assert_solved(result, 1e-5)
        np.testing.assert_array_equal(np.concatenate(result.v), result.lam)
        assert len(result.v) == (len(way) if isinstance(way, list) else 1)


@pytest.mark.parametrize("hess", ["given", "bfgs"])
@pytest.mark.parametrize("solver", EXACT)
def test_callbacks_may_use_their_arrays_again(solver, hess, global_random_seed):
    """One array for all answers, and x taken as scratch space."""
    rng = np.random.default_rng(global_random_seed)
    Q, start = rng.standard_normal((8, 8)), rng.standard_normal(8)
    diagonals = rng.uniform(0.5, 2, (3, 8))
    answers = {}

    def answer(name, value, reuse):
        if not reuse:
            return value
        answers.setdefault(name, np.empty_like(value))[...] = value
        return answers[name]

    def solve(reuse):
        def callback(name, function):
            def call(x, *more):
                value = answer(name, function(x, *more), reuse)
                if reuse:
                    x[:] = 7
                return value

            return call

        curves = NonlinearConstraint(
            callback("c", lambda x: diagonals @ x**2 - 1),
            0,
            0,
            jac=callback("J", lambda x: 2 * diagonals * x),
            hess=callback("K", lambda x, v: np.diag(2 * v @ diagonals)),
        )
        return minimize_constrained(
            callback("f", lambda x: np.sum((Q @ x) ** 2) / 2 + x.sum()),
            start,
            jac=callback("g", lambda x: Q.T @ (Q @ x) + 1),
            hess=callback("H", lambda x: Q.T @ Q) if hess == "given" else hess,
            constraints=curves,
            solver=solver,
        )

    plain, again = solve(False), solve(True)
    assert again.status == plain.status
    np.testing.assert_array_equal(again.x, plain.x)
    assert again.nit == plain.nit


def test_inputs_are_left_alone(global_random_seed):
    problem = Quadratic(np.random.default_rng(global_random_seed))
    for array in (problem.A, problem.b, problem.Q, problem.q, problem.x0):
        array.setflags(write=False)
    for solver in SOLVERS[:-1]:
        problem.assert_solved(problem.solve(solver=solver))
    problem.assert_solved(problem.solve(constraints=problem.constraint))
    problem.x0 = np.ones(12, dtype=np.float32)
    problem.assert_solved(problem.solve())
    problem.x0 = np.ones(12, dtype=int)
    problem.assert_solved(problem.solve())
    problem.x0 = [1] * 12
    problem.assert_solved(problem.solve())


def test_one_variable():
    result = minimize_constrained(
        lambda x: float(x[0] ** 2),
        3.0,
        jac=lambda x: 2 * x,
        hess=lambda x: 2.0,
        constraints={"type": "eq", "fun": lambda x: x[0] - 1, "jac": lambda x: 1.0},
    )
    np.testing.assert_allclose(result.x, [1.0])
    np.testing.assert_allclose(result.lam, [-2.0])


# --- constraints that depend on each other ------------------------------------------
def test_redundant_rows_are_named_and_left_out(global_random_seed):
    problem = Quadratic(np.random.default_rng(global_random_seed))
    A = np.vstack([problem.A, problem.A[0] + 2 * problem.A[2], np.zeros(12)])
    b = np.r_[problem.b, problem.b[0] + 2 * problem.b[2], 0]
    for rows in (A, sp.csr_array(A)):
        with pytest.warns(
            DataConditionWarning, match="row 4 .* follows from rows 0, 2"
        ):
            result = problem.solve(constraints=LinearConstraint(rows, b, b))
        np.testing.assert_allclose(result.x, problem.x, atol=1e-7)
        np.testing.assert_allclose(result.lam, np.r_[problem.lam, 0, 0], atol=1e-7)


@pytest.mark.parametrize("rows", [np.asarray, sp.csr_array])
def test_contradictions_are_named(rows, global_random_seed):
    problem = Quadratic(np.random.default_rng(global_random_seed))
    A = np.vstack([problem.A, problem.A[0] + problem.A[3]])
    b = np.r_[problem.b, problem.b[0] + problem.b[3] + 1]
    with pytest.raises(ValueError, match=r"rows 0, 3, 4 of constraints\[0\]"):
        problem.solve(constraints=LinearConstraint(rows(A), b, b))
    first, last = LinearConstraint(A[:4], b[:4], b[:4]), LinearConstraint(A[4:], 9, 9)
    with pytest.raises(ValueError, match=r"constraints\[0\].*and row 0 of constr.*\[1"):
        problem.solve(constraints=[first, last])
    zero = LinearConstraint(rows(np.zeros((1, 12))), 1, 1)
    with pytest.raises(ValueError, match="only zero coefficients"):
        problem.solve(constraints=zero)


def test_curved_contradictions_are_told():
    circles = NonlinearConstraint(
        lambda x: [x @ x - 1, x @ x - 4],
        0,
        0,
        jac=lambda x: np.array([2 * x, 2 * x]),
        hess=lambda x, v: 2 * v.sum() * np.eye(3),
    )
    result = minimize_constrained(
        lambda x: x[0], np.ones(3), jac=lambda x: np.eye(3)[0], constraints=circles
    )
    assert not result.success
    assert result.status == 5
    assert "violated: row(s) 0, 1 of constraints[0]" in result.message


@pytest.mark.parametrize("lam0", [None, [0.0, 0.0]])
@pytest.mark.parametrize(
    ("target", "line", "violated", "rows"),
    [(-1, 0, 1, "0 of"), (-100, 0, 100, "0 of"), (1, 4, 2, "0 of.* and row.* 0 of")],
)
def test_points_that_no_curve_has(target, line, violated, rows, lam0):
    """A squared length below zero; a circle that a line misses."""
    circle = NonlinearConstraint(
        lambda x: x @ x,
        target,
        target,
        jac=lambda x: 2 * x,
        hess=lambda x, v: 2 * v[0] * np.eye(2),
    )
    result = minimize_constrained(
        lambda x: x @ x / 2 + x[0],
        [1.0, 2.0],
        jac=lambda x: x + np.eye(2)[0],
        hess=lambda x: np.ones(2),
        constraints=[circle, LinearConstraint([[1, 1]], line, line)],
        lam0=lam0,
    )
    assert (result.success, result.status) == (False, 5), result.message
    assert re.search(rf"violated: row\(s\) {rows}", result.message), result.message
    assert result.constr_violation == pytest.approx(violated, rel=0.01)


@pytest.mark.parametrize("solver", EXACT)
def test_dependent_gradients_at_the_solution(solver, global_random_seed):
    """The same circle twice: multipliers are not unique, the point is."""
    rng = np.random.default_rng(global_random_seed)
    q = rng.standard_normal(3)
    twice = NonlinearConstraint(
        lambda x: [x @ x - 1, 2 * (x @ x - 1)],
        0,
        0,
        jac=lambda x: np.array([2 * x, 4 * x]),
        hess=lambda x, v: 2 * (v[0] + 2 * v[1]) * np.eye(3),
    )
    result = minimize_constrained(
        lambda x: q @ x,
        -q / np.linalg.norm(q) + 0.3 * rng.standard_normal(3),
        jac=lambda x: q,
        hess=lambda x: np.zeros((3, 3)),
        constraints=twice,
        solver=solver,
        tol=1e-7,
    )
    assert result.success, result.message
    np.testing.assert_allclose(result.x, -q / np.linalg.norm(q), atol=1e-6)


# --- ends that are no solution ------------------------------------------------------
def test_unbounded_objectives():
    plane = LinearConstraint([[0, 1]], 1, 1)
    result = minimize_constrained(
        lambda x: x[0] + x[1] ** 2,
        [1.0, 1.0],
        jac=lambda x: [1.0, 2 * x[1]],
        hess=lambda x: [0.0, 2.0],
        constraints=plane,
    )
    assert (result.status, result.success) == (4, False)
    assert "unbounded below" in result.message
    assert np.isfinite(result.x).all()
    result = minimize_constrained(
        lambda x: -(x[0] ** 3) + x[1] ** 2,
        [1.0, 1.0],
        jac=lambda x: [-3 * x[0] ** 2, 2 * x[1]],
        hess=lambda x: [-6 * x[0], 2],
        constraints=plane,
    )
    assert not result.success  # the gradient grows as well: no descent of the merit
    assert result.fun < -1e6
    assert np.isfinite(result.x).all()


def test_indefinite_hessians_lead_to_a_minimum(global_random_seed):
    """A saddle on the way: from next to it, down to one of two minima."""
    rng = np.random.default_rng(global_random_seed)
    for solver in (*EXACT, "minres"):
        result = minimize_constrained(
            lambda x: x[0] ** 4 - 2 * x[0] ** 2 + x[1] ** 2 + x[2] ** 2,
            [0.1 * rng.uniform(0.1, 1), 0.5, 0.2],
            jac=lambda x: [4 * x[0] ** 3 - 4 * x[0], 2 * x[1], 2 * x[2]],
            hess=lambda x: np.diag([12 * x[0] ** 2 - 4, 2, 2]),
            constraints=LinearConstraint([[0, 1, 1]], 1, 1),
            solver=solver,
            tol=1e-8,
        )
        assert result.success, (solver, result.message)
        np.testing.assert_allclose(np.abs(result.x), [1, 0.5, 0.5], atol=1e-6)


def test_limits_and_callbacks(global_random_seed, capsys):
    problem = Sphere(np.random.default_rng(global_random_seed))
    result = problem.solve(max_iter=1)
    assert (result.status, result.nit, result.success) == (1, 1, False)
    assert "max_iter=1" in result.message
    assert problem.solve(max_iter=0).nit == 0
    seen = []

    def stop(x):
        seen.append(x.copy())
        return len(seen) == 2

    result = problem.solve(callback=stop)
    assert (result.status, result.nit, len(seen)) == (2, 2, 2)
    np.testing.assert_array_equal(result.x, seen[-1])
    states = []

    def whole(intermediate_result):
        states.append(intermediate_result)
        if len(states) == 2:
            raise StopIteration

    result = problem.solve(callback=whole, verbose=2)
    assert (result.status, states[-1].nit) == (2, 2)
    np.testing.assert_array_equal(states[-1].x, result.x)
    assert states[-1].kkt == result.kkt
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4  # the start, two steps, the last word
    assert "Stopped by the callback" in printed[-1]


def test_steps_into_the_undefined_are_shortened():
    """The logarithm is not defined where the first full step ends."""
    outside = []

    def fun(x):
        outside.append(x[0] <= 0)
        return x[0] - 0.01 * np.log(x[0]) + x[1] ** 2

    result = minimize_constrained(
        fun,
        [1.0, 0.0],
        jac=lambda x: [1 - 0.01 / x[0], 2 * x[1]],
        hess=lambda x: [0.01 / x[0] ** 2, 2.0],
        constraints=LinearConstraint([[0, 1]], 0, 0),
        tol=1e-8,
    )
    assert any(outside)
    assert result.success
    np.testing.assert_allclose(result.x, [0.01, 0], atol=1e-8)


# --- runs that can be trusted -------------------------------------------------------
@pytest.mark.parametrize("solver", SOLVERS)
def test_rules_of_the_history(solver, global_random_seed):
    problem = Sphere(np.random.default_rng(global_random_seed), 5)
    result = problem.solve(solver=solver, random_state=0, return_history=True, tol=1e-6)
    history = result.history
    assert len(history) == result.nit + 1
    assert history[-1]["kkt"] == result.kkt
    assert sum(record.get("n_inner", 0) for record in history) == result.n_inner
    eta1, eta2, seconds = (
        [record[key] for record in history] for key in ("eta1", "eta2", "seconds")
    )
    assert (np.diff(eta1) >= 0).all()
    assert (np.diff(eta2) <= 0).all()
    assert (np.diff(seconds) >= 0).all()
    for record in history[1:]:
        assert record["slope"] <= -0.5 * record["eta2"] * record["size"]
        gain = -0.1 * record["alpha"] * record["slope"]
        rounding = 1e-13 * abs(record["merit_before"])
        assert record["merit_before"] - record["merit"] >= gain - rounding
    assert "history" not in problem.solve()


@pytest.mark.kernels
def test_same_seed_same_result(global_random_seed):
    problem = Quadratic(np.random.default_rng(global_random_seed), 4, 1)
    for sketch in ("kaczmarz", "gaussian", "countsketch"):
        options = {"solver": "sketch", "sketch": sketch, "tol": 1e-4}
        one = problem.solve(random_state=global_random_seed, **options)
        two = problem.solve(random_state=global_random_seed, **options)
        np.testing.assert_array_equal(one.x, two.x)
        assert one.n_inner == two.n_inner
        other = problem.solve(random_state=global_random_seed + 1, **options)
        assert (one.x != other.x).any()
    state = np.random.RandomState(3)
    assert problem.solve(solver="sketch", random_state=state, tol=1e-4).success


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_units_do_not_matter(unit, global_random_seed):
    problem = Quadratic(np.random.default_rng(global_random_seed))
    result = minimize_constrained(
        lambda x: unit * problem.fun(x),
        problem.x0,
        jac=lambda x: unit * problem.jac(x),
        hess=lambda x: unit * problem.Q,
        constraints=LinearConstraint(
            problem.A / unit, problem.b / unit, problem.b / unit
        ),
        tol=1e-9 * max(unit, 1 / unit),
    )
    assert result.success, result.message
    assert result.nit <= 2
    np.testing.assert_allclose(result.x, problem.x, atol=1e-5)


# --- bad input ----------------------------------------------------------------------
def good(**changes):
    options = {
        "fun": lambda x: x @ x,
        "x0": np.ones(3),
        "jac": lambda x: 2 * x,
        "hess": lambda x: 2 * np.eye(3),
        "constraints": LinearConstraint(np.ones((1, 3)), 1, 1),
    } | changes
    return minimize_constrained(options.pop("fun"), options.pop("x0"), **options)


NAN_ROW = [[1.0, 1, 1], [np.nan, 1, 1]]
BAD = {
    "inequality": (
        {"constraints": LinearConstraint(np.eye(3), [0, 0, 0], [0, 1, 0])},
        r"constraints\[0\].*inequality.*rows \[1\].*trust-constr",
    ),
    "inequality of a dict": (
        {"constraints": {"type": "ineq", "fun": lambda x: x}},
        "type 'ineq'.*trust-constr",
    ),
    "curved inequality": (
        {"constraints": [NonlinearConstraint(lambda x: x, 0, np.inf)]},
        r"constraints\[0\] \(NonlinearConstraint\) is an inequality",
    ),
    "no function": ({"constraints": {"type": "eq"}}, "no function"),
    "m > n": (
        {"constraints": {"type": "eq", "fun": lambda x: np.r_[x, x]}},
        r"more constraints \(6\) than variables \(3\)",
    ),
    "NaN in A": (
        {"constraints": LinearConstraint(NAN_ROW, 0, 0)},
        r"A of constraints\[0\].*NaN or infinite entries \(rows \[1\]\)",
    ),
    "NaN in a sparse A": (
        {"constraints": LinearConstraint(sp.csr_array(NAN_ROW), 0, 0)},
        r"rows \[1\]",
    ),
    "NaN in b": (
        {"constraints": LinearConstraint(np.eye(3), [0, np.nan, 0], [0, np.nan, 0])},
        r"NaN in its bounds \(rows \[1\]\)",
    ),
    "infinite b": (
        {"constraints": LinearConstraint(np.eye(3), np.inf, np.inf)},
        "infinite bounds",
    ),
    "columns of A": (
        {"constraints": LinearConstraint(np.eye(2), 0, 0)},
        r"shape \(2, 2\); expected \(m, 3\)",
    ),
    "NaN in x0": ({"x0": [1, np.nan, 1]}, "x0 has NaN"),
    "shape of x0": ({"x0": np.ones((2, 2))}, "x0 must be a vector"),
    "words in x0": ({"x0": ["a", "b", "c"]}, "x0 is no array of numbers"),
    "complex x0": ({"x0": [1j, 0, 0]}, "x0 is complex"),
    "fun NaN at x0": ({"fun": lambda x: np.nan}, "fun is NaN or infinite at the st"),
    "fun a vector": ({"fun": lambda x: x}, r"one real number; got shape \(3,\)"),
    "fun None": ({"fun": lambda x: None}, "fun is NaN|one real number"),
    "gradient NaN": ({"jac": lambda x: x * np.nan}, r"gradient \(jac\) is NaN"),
    "gradient's shape": ({"jac": lambda x: x[:2]}, r"shape \(2,\); expected \(3,\)"),
    "Hessian's shape": ({"hess": lambda x: np.eye(2)}, r"Hessian .*\(2, 2\); exp"),
    "Hessian unsymmetric": (
        {"hess": lambda x: np.array([[2.0, 1, 0], [0, 2, 0], [0, 0, 2]])},
        "not symmetric",
    ),
    "pair": ({"jac": True}, "must return the pair"),
    "word for jac": ({"jac": "cs"}, "jac is 'cs'"),
    "word for hess": ({"hess": "cs"}, "hess is 'cs'"),
    "constraint NaN": (
        {"constraints": {"type": "eq", "fun": lambda x: [np.nan]}},
        r"value of constraints\[0\] \(dict\) is NaN",
    ),
    "Jacobian NaN": (
        {
            "constraints": {
                "type": "eq",
                "fun": lambda x: x[0],
                "jac": lambda x: np.full(3, np.nan),
            }
        },
        r"Jacobian of constraints\[0\] \(dict\) is NaN",
    ),
    "Jacobian's shape": (
        {
            "constraints": {
                "type": "eq",
                "fun": lambda x: x[0],
                "jac": lambda x: np.ones((1, 2)),
            }
        },
        r"Jacobian of constraints\[0\] \(dict\) has shape \(1, 2\)",
    ),
    "curvature's word": (
        {"constraints": NonlinearConstraint(lambda x: x[0], 0, 0, hess="cs")},
        "hess of constraints",
    ),
    "Jacobian's word": (
        {"constraints": NonlinearConstraint(lambda x: x[0], 0, 0, jac="cs")},
        "jac of constraints",
    ),
    "lam0's shape": ({"lam0": np.ones(2)}, r"lam0 has shape \(2,\); expected \(1,\)"),
    "lam0 NaN": ({"lam0": [np.nan]}, "lam0 has NaN"),
    "solver": ({"solver": "lu"}, "solver is 'lu'"),
    "sketch": ({"sketch": "srht"}, "sketch is 'srht'"),
    "sketch_scaling": ({"sketch_scaling": "row"}, "sketch_scaling is 'row'"),
    "accuracy": ({"accuracy": "low"}, "accuracy is 'low'"),
    "hess_modification": ({"hess_modification": 1}, "hess_modification is 1"),
    "tol": ({"tol": 0}, "tol must be a positive"),
    "beta": ({"beta": 0.5}, "beta must be below 0.5"),
    "nu": ({"nu": 1.0}, "nu must be above 1"),
    "eta1": ({"eta1": -1.0}, "eta1 must be a positive"),
    "max_iter": ({"max_iter": 1.5}, "max_iter must be an integer"),
    "theta": ({"theta": 0}, "theta must be"),
    "block_size": ({"block_size": 0}, "block_size must be None or an integer"),
    "inner_max_iter": ({"inner_max_iter": 0.5}, "inner_max_iter must be None"),
    "sketch's shape": (
        {"solver": "sketch", "sketch": lambda rng, N, s: np.eye(2)},
        r"sketch returned shape \(2, 2\); expected \(4, s\)",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    changes, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        good(**changes)


def test_bad_types():
    with pytest.raises(TypeError, match="fun must be a function"):
        minimize_constrained(3, [1.0])
    with pytest.raises(TypeError, match=r"constraints\[0\] \(int\) is no"):
        good(constraints=[3])
    with pytest.raises(ValueError, match=r"bounds: variables \[1\] are bounded"):
        sketched_newton(
            lambda x: x @ x, np.ones(3), bounds=[(None, None), (0, 1), (None, None)]
        )


def test_rows_must_not_change_in_number():
    sizes = iter([1, 2, 1, 1])
    constraint = {
        "type": "eq",
        "fun": lambda x: np.zeros(next(sizes)) + x[0] - 5,
        "jac": lambda x: np.eye(3)[:1],
    }
    with pytest.raises(ValueError, match=r"shape \(2,\); expected \(1,\)"):
        good(constraints=constraint)


def test_hessian_with_nan_ends_the_run():
    result = good(hess=lambda x: np.full((3, 3), np.nan))
    assert (result.status, result.success) == (6, False)
    assert "Hessian has NaN" in result.message
    assert np.isfinite(result.x).all()
