# SPDX-License-Identifier: BSD-3-Clause
"""Newton steps with gradient regularisation, for approximate Hessians."""

from skpapers.solvers._gns._api import gns, gns_minimize
from skpapers.solvers._gns._least_squares import GNSLeastSquares

__all__ = ["GNSLeastSquares", "gns", "gns_minimize"]
