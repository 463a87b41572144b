# SPDX-License-Identifier: BSD-3-Clause
"""First derivatives by finite differences, dense, one column a variable."""

import numpy as np

DIFFERENCES = ("2-point", "3-point")
STEPS = {"2-point": 2**-26, "3-point": 2**-17.3}  # roots of the precision


def jacobian_by_differences(function, x, scheme):
    """Return the m x n matrix of derivatives of a vector function.

    Parameters
    ----------
    function : callable
        From (n,) to (m,).
    x : ndarray of shape (n,)
        Where.
    scheme : {"2-point", "3-point"}
        Forward or central steps of 1.5e-8 or 6e-6 times max(1, ``|x|``).
    """
    h = STEPS[scheme] * np.maximum(1.0, np.abs(x))
    h = (x + h) - x  # a step that can be represented
    here = function(x) if scheme == "2-point" else None
    columns = []
    for j, step in enumerate(h):
        z = x.copy()
        z[j] = x[j] + step
        above = function(z)
        if scheme == "2-point":
            columns.append((above - here) / step)
        else:
            z[j] = x[j] - step
            columns.append((above - function(z)) / (2 * step))
    return np.column_stack(columns)
