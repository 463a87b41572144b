# SPDX-License-Identifier: BSD-3-Clause
"""Solvers with the calling convention of `scipy.optimize.minimize`."""

from skpapers.solvers._constrained import minimize_constrained, sketched_newton
from skpapers.solvers._display import ConvergenceDisplay
from skpapers.solvers._gns import GNSLeastSquares, gns, gns_minimize
from skpapers.solvers._recorder import ConvergenceRecorder
from skpapers.solvers._target_surrogate import minimize_target_surrogate

__all__ = [
    "ConvergenceDisplay",
    "ConvergenceRecorder",
    "GNSLeastSquares",
    "gns",
    "gns_minimize",
    "minimize_constrained",
    "minimize_target_surrogate",
    "sketched_newton",
]
