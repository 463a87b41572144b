# SPDX-License-Identifier: BSD-3-Clause
"""Test functions of global optimisation, with the sign turned: score = -f, maximised.

Each is defined on a stated box, and its optimum there is known in closed form (for
Hartmann's function, by the root of its gradient to all digits). The boxes of Ackley's
and Levy's functions are mapped to the unit cube; Griewank's and Ackley's are placed so
that the optimum is not in the centre of the box, where a search without any knowledge
would look first.
"""

from functools import partial
from numbers import Integral

import numpy as np

from skpapers.datasets._design_tasks._base import DesignTask
from skpapers.utils._sklearn import Interval, validate_params

HARTMANN_WEIGHT = np.array([1.0, 1.2, 3.0, 3.2])
HARTMANN_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
HARTMANN_P = np.array(
    [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ]
)
HARTMANN_START = np.array([0.2017, 0.15, 0.4769, 0.2753, 0.3117, 0.6573])

BRANIN_B = 5.1 / (4 * np.pi**2)
BRANIN_C = 5 / np.pi
BRANIN_T = 1 / (8 * np.pi)


def branin(X):
    """Return minus Branin's function, on [-5, 10] x [0, 15]."""
    x, y = X.T
    valley = y - BRANIN_B * x**2 + BRANIN_C * x - 6
    return -(valley**2) - 10 * (1 - BRANIN_T) * np.cos(x) - 10


def _hartmann_terms(X):
    move = X[:, None, :] - HARTMANN_P
    return move, HARTMANN_WEIGHT * np.exp(-(HARTMANN_A * move**2).sum(axis=2))


def hartmann6(X):
    """Return minus Hartmann's function of six variables, on the unit cube."""
    return _hartmann_terms(X)[1].sum(axis=1)


def _hartmann_maximiser():
    """Return the root of the gradient next to the known maximiser, by Newton."""
    x = HARTMANN_START.copy()
    for _ in range(6):
        move, term = _hartmann_terms(x[None])
        slope = -2 * HARTMANN_A * move[0]
        gradient = term[0] @ slope
        hessian = (slope.T * term[0]) @ slope - 2 * np.diag(term[0] @ HARTMANN_A)
        x -= np.linalg.solve(hessian, gradient)
    return x


def ackley(X):
    """Return minus Ackley's function of ``z = 10 (x - 0.5) - 1``, on the unit cube."""
    z = 10 * (X - 0.5) - 1
    radius = np.sqrt(np.mean(z**2, axis=1))
    ripple = np.mean(np.cos(2 * np.pi * z), axis=1)
    return 20 * np.expm1(-0.2 * radius) + np.e * np.expm1(ripple - 1)


def levy(X):
    """Return minus Levy's function of ``z = 20 (x - 0.5)``, on the unit cube."""
    w = 1 + (20 * (X - 0.5) - 1) / 4
    first = np.sin(np.pi * w[:, 0]) ** 2
    body = (w[:, :-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:, :-1] + 1) ** 2)
    last = (w[:, -1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[:, -1]) ** 2)
    return -(first + body.sum(axis=1) + last)


def rosenbrock(X):
    """Return minus Rosenbrock's function, on [-5, 10]^d."""
    valley = 100 * (X[:, 1:] - X[:, :-1] ** 2) ** 2
    return -(valley + (1 - X[:, :-1]) ** 2).sum(axis=1)


def styblinski_tang(X):
    """Return minus the function of Styblinski and Tang, on [-5, 5]^d."""
    return -((X**2 - 16) * X**2 + 5 * X).sum(axis=1) / 2


def griewank(X):
    """Return minus Griewank's function, on [-300, 600]^d."""
    waves = np.cos(X / np.sqrt(np.arange(1, X.shape[1] + 1)))
    return -((X**2).sum(axis=1) / 4000 - waves.prod(axis=1) + 1)


def branin_task():
    """Return Branin's function as a task."""
    x = np.pi * np.array([-1.0, 1.0, 3.0])
    return DesignTask(
        branin,
        [(-5, 10), (0, 15)],
        name="branin",
        optimum=-10 * BRANIN_T,
        optimum_designs=np.column_stack([x, BRANIN_B * x**2 - BRANIN_C * x + 6]),
    )


def hartmann6_task():
    """Return Hartmann's function of six variables as a task."""
    best = _hartmann_maximiser()[None]
    return DesignTask(
        hartmann6,
        [(0, 1)] * 6,
        name="hartmann6",
        optimum=float(hartmann6(best)[0]),
        optimum_designs=best,
    )


def _styblinski_tang_minimiser():
    """Return the smallest root of the derivative ``2 z³ - 16 z + 5/2``."""
    return float(np.roots([2, 0, -16, 2.5]).real.min())


SCALABLE = {  # function, box, maximiser (the same in each direction), fewest features
    "ackley": (ackley, (0, 1), lambda: 0.6, 1),
    "griewank": (griewank, (-300, 600), lambda: 0.0, 1),
    "levy": (levy, (0, 1), lambda: 0.55, 1),
    "rosenbrock": (rosenbrock, (-5, 10), lambda: 1.0, 2),
    "styblinski_tang": (styblinski_tang, (-5, 5), _styblinski_tang_minimiser, 1),
}


@validate_params(
    {"n_features": [Interval(Integral, 1, None, closed="left")]},
    prefer_skip_nested_validation=True,
)
def scalable_task(n_features=10, *, name):
    """Return a function of any number of variables as a task."""
    function, box, maximiser, fewest = SCALABLE[name]
    if n_features < fewest:
        raise ValueError(f"n_features={n_features}: {name} needs at least {fewest}.")
    best = np.full((1, n_features), maximiser())
    is_zero = name != "styblinski_tang"
    return DesignTask(
        function,
        [box] * n_features,
        name=f"{name}{n_features}",
        optimum=0.0 if is_zero else float(function(best)[0]),
        optimum_designs=best,
    )


BUILDERS = {"branin": branin_task, "hartmann6": hartmann6_task} | {
    name: partial(scalable_task, name=name) for name in SCALABLE
}
