# SPDX-License-Identifier: BSD-3-Clause
"""The ascent that conservative surrogates are trained against: fewer, larger steps."""

from skpapers.offline_optimization._searches._gradient import search as climb

N_STEPS, STEP_SIZE = 50, 0.05


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

    Parameters and result are those of `skpapers.offline_optimization._searches.\
_gradient.search`, with 50 steps of size 0.05 by default.
    """
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
