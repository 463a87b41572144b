# SPDX-License-Identifier: BSD-3-Clause
"""Linear models that rest on the solvers of this library."""

from skpapers.linear_model._constrained import (
    ConstrainedGLMRegressor,
    ConstrainedLogisticRegression,
    TradeoffDisplay,
)
from skpapers.linear_model._gns import GNSGLMRegressor, GNSLogisticRegression
from skpapers.linear_model._target_surrogate import (
    TargetSurrogateClassifier,
    TargetSurrogateRegressor,
)

__all__ = [
    "ConstrainedGLMRegressor",
    "ConstrainedLogisticRegression",
    "GNSGLMRegressor",
    "GNSLogisticRegression",
    "TargetSurrogateClassifier",
    "TargetSurrogateRegressor",
    "TradeoffDisplay",
]
