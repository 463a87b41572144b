# SPDX-License-Identifier: BSD-3-Clause
"""Spreads of gradients on a common scale, by class or over all rows."""

import numpy as np

SAME = 1e-10  # a relative spread below this is rounding


def group_moments(spreads, groups, n_groups):
    """Return mean and population standard deviation of the rows of each group."""
    counts = np.maximum(np.bincount(groups, minlength=n_groups), 1)
    mean = np.bincount(groups, spreads, n_groups) / counts
    squares = np.bincount(groups, (spreads - mean[groups]) ** 2, n_groups)
    return mean, np.sqrt(squares / counts)


def standardise(spreads, groups, mean, std):
    """Return spreads at mean 0 and standard deviation 1; 0 where a group has none."""
    centre, scale = mean[groups], std[groups]
    varies = scale > SAME * np.abs(centre)
    return np.where(varies, (spreads - centre) / np.where(varies, scale, 1.0), 0.0)


def refuse_equal_spreads(mean, std, groups):
    """Raise if the rows of each class have the same spread, and it is not zero."""
    several = np.bincount(groups, minlength=len(mean)) > 1
    same = (std <= SAME * mean) & (mean > 0)
    if several.any() and same[several].all():
        raise ValueError(
            "The gradients of all rows of a class have the same spread, as those of "
            "the logits of a linear model, so that normalize='class' would divide 0 by "
            "0. Take gradients of the probabilities (output='proba'), or "
            "normalize='dataset' or None."
        )
