# SPDX-License-Identifier: BSD-3-Clause
"""Gradient ascent from the best designs, all at once.

x <- x + alpha sqrt(D) grad score(x), in coordinates with standard deviation 1, after
which x is moved into the box of the space.
"""

import numpy as np

from skpapers.offline_optimization._searches._box import check_numbers

N_STEPS, STEP_SIZE = 200, 0.01


def ascend(objective, space, points, n_steps, step_size):
    """Return points after steps along the gradient of the score, within the box.

    Parameters
    ----------
    objective : Objective
        A differentiable one.
    space : DesignSpace
        Its box.
    points : ndarray of shape (m, D)
        Where to start.
    n_steps : int
        Number of steps.
    step_size : float
        Length of a step along a unit gradient, divided by the root of D.

    Returns
    -------
    ndarray of shape (m, D)
        The points after the last step; one whose gradient is not finite stays put.
    """
    points = space.project(points)
    step = step_size * np.sqrt(space.n_coordinates)
    for _ in range(n_steps):
        _, gradients = objective.value_and_grad(points)
        is_finite = np.isfinite(gradients).all(axis=1, keepdims=True)
        moves = step * np.where(is_finite, gradients, 0.0)
        points = space.project(points + moves)
    return points


def search(
    objective,
    space,
    starts,
    n_candidates,
    rng,
    *,
    n_steps=N_STEPS,
    step_size=STEP_SIZE,
    reduction="mean",
):
    """Return where gradient ascent from the best designs ends.

    Parameters
    ----------
    objective : Objective
        A differentiable one.
    space : DesignSpace
        The designs that are allowed.
    starts : ndarray of shape (n_starts, D)
        The best designs, best first.
    n_candidates : int
        How many of them to start from.
    rng : RandomState
        Not used: nothing is drawn.
    n_steps : int, default=200
        Number of steps.
    step_size : float, default=0.01
        Length of a step along a unit gradient, divided by the root of D.
    reduction : {"mean", "min"}, default="mean"
        What of the members' predictions is climbed.

    Returns
    -------
    ndarray of shape (min(n_starts, n_candidates), D)
        Points.
    """
    check_numbers(
        "gradient", n_steps=(n_steps, int, 0), step_size=(step_size, float, 0)
    )
    objective = objective.with_reduction(reduction)
    return ascend(objective, space, starts[:n_candidates], n_steps, step_size)
