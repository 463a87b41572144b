# SPDX-License-Identifier: BSD-3-Clause
"""Histories of SciPy's solvers, and pictures of several solvers together."""

import matplotlib
import numpy as np
import pytest
from scipy.optimize import LinearConstraint, NonlinearConstraint, minimize

from skpapers.solvers import (
    ConvergenceDisplay,
    ConvergenceRecorder,
    minimize_constrained,
)

matplotlib.use("agg")
from matplotlib import pyplot as plt


def problem(rng):
    q, A = rng.standard_normal(5), rng.standard_normal((2, 5))
    functions = {
        "fun": lambda x: float(np.exp(0.3 * x).sum() + q @ x + x @ x),
        "x0": rng.standard_normal(5),
        "jac": lambda x: 0.3 * np.exp(0.3 * x) + q + 2 * x,
    }
    return functions, LinearConstraint(A, 1, 1), A


@pytest.mark.parametrize("method", ["SLSQP", "trust-constr"])
def test_histories_of_scipy(method, global_random_seed):
    functions, plane, A = problem(np.random.default_rng(global_random_seed))
    recorder = ConvergenceRecorder(**functions, constraints=plane)
    result = minimize(
        **functions, constraints=plane, method=method, callback=recorder, hess=None
    )
    history = recorder.history
    assert abs(len(history) - 1 - result.nit) <= 1
    first, last = history[0], history[-1]
    g = functions["jac"](functions["x0"])
    gradient = g - A.T @ np.linalg.solve(A @ A.T, A @ g)
    gap = A @ functions["x0"] - 1
    assert first["kkt"] == pytest.approx(np.linalg.norm(np.r_[gradient, gap]))
    assert first["constr_violation"] == pytest.approx(np.abs(gap).max())
    assert last["fun"] == pytest.approx(result.fun)
    assert last["kkt"] < 1e-2 * first["kkt"]
    seconds = [entry["seconds"] for entry in history]
    assert (np.diff(seconds) >= 0).all()
    assert seconds[0] >= 0


def test_picture_of_several_solvers(global_random_seed):
    functions, plane, _ = problem(np.random.default_rng(global_random_seed))
    recorder = ConvergenceRecorder(**functions, constraints=plane)
    minimize(**functions, constraints=plane, method="SLSQP", callback=recorder)
    ours = minimize_constrained(**functions, constraints=plane, return_history=True)
    display = ConvergenceDisplay.from_results(
        {"ours": ours, "SLSQP": recorder}, y=("gap", "kkt")
    )
    assert {name: len(lines) for name, lines in display.lines_.items()} == {
        "ours": 4,
        "SLSQP": 4,
    }
    kkt = display.lines_["ours"][2].get_ydata()
    np.testing.assert_array_equal(kkt, [entry["kkt"] for entry in ours.history])
    plt.close("all")


def test_what_is_not_finite_is_a_gap():
    recorder = ConvergenceRecorder(lambda x: float(x @ x), [1.0], jac=lambda x: 2 * x)
    assert recorder.history[0]["kkt"] == 2
    recorder(np.array([np.nan]))
    assert np.isnan(recorder.history[1]["fun"])


def test_bad_input():
    ball = NonlinearConstraint(lambda x: x @ x, -np.inf, 1)
    with pytest.raises(ValueError, match="is an inequality"):
        ConvergenceRecorder(lambda x: x @ x, [1.0], constraints=ball)
    with pytest.raises(ValueError, match="fun is NaN"):
        ConvergenceRecorder(lambda x: np.nan, [1.0], jac=lambda x: x)
