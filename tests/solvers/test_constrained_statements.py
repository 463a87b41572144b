# SPDX-License-Identifier: BSD-3-Clause
"""Minimisation under equations: how a problem is stated, and bad input."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import LinearConstraint, NonlinearConstraint, minimize

from skpapers.solvers import minimize_constrained, sketched_newton

EXACT = ("auto", "ldl", "schur", "nullspace", "sparse")
SOLVERS = (*EXACT, "minres", "gmres", "sketch")


# --- how a problem is stated --------------------------------------------------------
def test_method_of_scipy(Sphere, global_random_seed):
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


def test_options_by_the_names_of_scipy(Sphere, capsys):
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


def test_statements_of_the_same_constraints(Quadratic, global_random_seed):
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


def test_inputs_are_left_alone(Quadratic, global_random_seed):
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
