# SPDX-License-Identifier: BSD-3-Clause
"""Units of columns: their mean and standard deviation, for numbers of any size."""

import numpy as np

__all__ = ["mean_and_scale"]

TINY = np.finfo(np.float64).tiny
ROUNDING = 4 * np.finfo(np.float64).eps  # relative; what differs by less is equal


def mean_and_scale(values, weight=None):
    """Return mean and standard deviation of columns, 1 for the scale of constant ones.

    Parameters
    ----------
    values : ndarray of shape (n,) or (n, d)
        Finite numbers.
    weight : ndarray of shape (n,), default=None
        Positive weights of the rows.

    Returns
    -------
    mean, scale : ndarray of shape () or (d,)
        Of each column, float64.
    """
    values = np.asarray(values, dtype=np.float64)
    largest = np.max(np.abs(values), axis=0)
    unit = np.where(largest > TINY, largest, 1.0)  # squares must not overflow
    scaled = values / unit
    mean = np.average(scaled, axis=0, weights=weight)
    scale = np.sqrt(np.average((scaled - mean) ** 2, axis=0, weights=weight)) * unit
    spread = np.max(scaled, axis=0) - np.min(scaled, axis=0)
    is_constant = spread <= ROUNDING * np.abs(mean)
    mean = np.where(is_constant, values[0], mean * unit)
    return mean, np.where(is_constant | (scale == 0), 1.0, scale)
