# SPDX-License-Identifier: BSD-3-Clause
"""The ascent that conservative surrogates are trained against: fewer, larger steps."""

from skpapers.offline_optimization._searches._box import check_numbers
from skpapers.offline_optimization._searches._gradient import search as climb

STEP_SIZE, STEP_SIZE_OF_LOGITS = 0.05, 2.0


def search(
    objective,
    space,
    starts,
    n_candidates,
    rng,
    *,
    n_steps=50,
    step_size=None,
    reduction="mean",
):
    """Return where the ascent from the best designs ends.

    Parameters
    ----------
    objective, space, starts, n_candidates, rng, n_steps, reduction
        As of `skpapers.offline_optimization._searches._gradient.search`, but for a
        default of 50 steps.
    step_size : float, default=None
        Length of a step along a unit gradient, divided by the root of D; None is 0.05,
        and 2 where all coordinates are logits of categories.

    Returns
    -------
    ndarray of shape (min(n_starts, n_candidates), D)
        Points.
    """
    if step_size is None:
        step_size = STEP_SIZE_OF_LOGITS if space.is_discrete else STEP_SIZE
    check_numbers("coms", n_steps=(n_steps, int, 0), step_size=(step_size, float, 0))
    return climb(
        objective,
        space,
        starts,
        n_candidates,
        rng,
        n_steps=n_steps,
        step_size=step_size,
        reduction=reduction,
    )
