# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest
from scipy.optimize import check_grad, minimize, rosen

from skpapers.datasets import make_design_task, make_offline_design
from skpapers.datasets._design_tasks import _functions

OPTIMA = {  # as the literature prints them
    "ackley10": 0.0,
    "branin": -0.397887,
    "griewank10": 0.0,
    "hartmann6": 3.32237,
    "levy10": 0.0,
    "rosenbrock10": 0.0,
    "styblinski_tang10": 391.6617,
}


@pytest.mark.parametrize("name", OPTIMA)
def test_optimum(name):
    task = make_design_task(name)
    lower, upper = task.bounds.T
    assert task.optimum == pytest.approx(OPTIMA[name], rel=2e-6, abs=1e-12)
    best = task.optimum_designs
    assert ((best >= lower) & (best <= upper)).all()
    np.testing.assert_allclose(task.evaluate(best), task.optimum, atol=1e-12)
    assert task.maximize
    assert not task.is_approximate


@pytest.mark.parametrize("name", OPTIMA)
def test_no_search_beats_the_optimum(name, global_random_seed):
    task = make_design_task(name)
    X, y = task.sample(2000, random_state=global_random_seed)
    assert y.max() < task.optimum
    starts = [X[np.argmax(y)], *task.optimum_designs]
    for start in starts:
        found = minimize(
            lambda x: -task.evaluate(x[None])[0],
            start,
            method="L-BFGS-B",
            bounds=task.bounds,
        )
        assert -found.fun <= task.optimum + 1e-12


def test_branins_optima_are_all_there_are(global_random_seed):
    task = make_design_task("branin")
    assert len(task.optimum_designs) == 3
    X, y = task.sample(400, random_state=global_random_seed)
    found = [
        minimize(lambda x: -task.evaluate(x[None])[0], x, bounds=task.bounds).x
        for x in X[np.argsort(y)[-60:]]
    ]
    score = task.evaluate(found)
    best = np.array(found)[score > task.optimum - 1e-6]
    gap = abs(best[:, None] - task.optimum_designs).max(axis=2)
    assert (gap.min(axis=1) < 1e-2).all()
    assert (gap.min(axis=0) < 1e-2).all()


def test_hartmanns_maximiser_is_a_root_of_the_gradient():
    best = make_design_task("hartmann6").optimum_designs[0]
    np.testing.assert_allclose(
        best, [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573], atol=1e-6
    )

    def gradient(x):
        move, term = _functions._hartmann_terms(x[None])
        return term[0] @ (-2 * _functions.HARTMANN_A * move[0])

    def score(x):
        return _functions.hartmann6(x[None])[0]

    assert check_grad(score, gradient, np.full(6, 0.4)) < 1e-5
    np.testing.assert_allclose(gradient(best), 0, atol=1e-12)


def test_rosenbrock_agrees_with_scipy(global_random_seed):
    X, y = make_design_task("rosenbrock5").sample(50, random_state=global_random_seed)
    np.testing.assert_allclose(y, -rosen(X.T), rtol=1e-12)


def test_formulas_term_by_term(global_random_seed):
    """The textbook sums, written out with plain loops."""
    rng = np.random.default_rng(global_random_seed)

    def ackley(x):
        z = [10 * (t - 0.5) - 1 for t in x]
        root = np.sqrt(sum(t * t for t in z) / len(z))
        wave = sum(np.cos(2 * np.pi * t) for t in z) / len(z)
        return -20 * np.exp(-0.2 * root) - np.exp(wave) + 20 + np.e

    def levy(x):
        w = [1 + (20 * (t - 0.5) - 1) / 4 for t in x]
        total = np.sin(np.pi * w[0]) ** 2
        for t in w[:-1]:
            total += (t - 1) ** 2 * (1 + 10 * np.sin(np.pi * t + 1) ** 2)
        return total + (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)

    def griewank(x):
        wave = 1.0
        for i, t in enumerate(x, start=1):
            wave *= np.cos(t / np.sqrt(i))
        return sum(t * t for t in x) / 4000 - wave + 1

    def styblinski_tang(x):
        return sum(t**4 - 16 * t**2 + 5 * t for t in x) / 2

    def branin(x):
        inner = x[1] - 5.1 / (4 * np.pi**2) * x[0] ** 2 + 5 / np.pi * x[0] - 6
        return inner**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x[0]) + 10

    formulas = {
        "ackley4": ackley,
        "branin": branin,
        "griewank4": griewank,
        "levy4": levy,
        "styblinski_tang4": styblinski_tang,
    }
    for name, formula in formulas.items():
        X, y = make_design_task(name).sample(20, random_state=rng)
        np.testing.assert_allclose(
            y, [-formula(x) for x in X], rtol=1e-10, err_msg=name
        )


def test_ackley_is_as_in_the_reference_problem():
    task = make_design_task("ackley10")
    np.testing.assert_array_equal(task.bounds, [[0, 1]] * 10)
    best = [make_best(task, seed) for seed in range(6)]
    assert np.mean(best) == pytest.approx(0.389, abs=0.03)


def make_best(task, seed):
    """Return the best normalised score of a training table."""
    X, _, _ = make_offline_design(task, 3000, random_state=seed)
    return task.normalized_score(X).max()


def test_scores_far_away():
    for name in OPTIMA:
        task = make_design_task(name)
        y = task.evaluate(np.full((1, task.n_features), 1e100))
        assert not np.isnan(y).any(), name
