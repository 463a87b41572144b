# SPDX-License-Identifier: BSD-3-Clause
"""Minimisation under equations: dependent constraints, ends of all kinds, trust."""

import re

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import LinearConstraint, NonlinearConstraint

from skpapers.solvers import minimize_constrained
from skpapers.utils import DataConditionWarning

EXACT = ("auto", "ldl", "schur", "nullspace", "sparse")
SOLVERS = (*EXACT, "minres", "gmres", "sketch")


# --- constraints that depend on each other ------------------------------------------
def test_redundant_rows_are_named_and_left_out(Quadratic, global_random_seed):
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
def test_contradictions_are_named(Quadratic, rows, global_random_seed):
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


def test_limits_and_callbacks(Sphere, global_random_seed, capsys):
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
def test_rules_of_the_history(Sphere, solver, global_random_seed):
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
def test_same_seed_same_result(Quadratic, global_random_seed):
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
def test_units_do_not_matter(Quadratic, unit, global_random_seed):
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
