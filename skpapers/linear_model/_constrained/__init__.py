# SPDX-License-Identifier: BSD-3-Clause
"""Linear models that fulfil equations exactly."""

from skpapers.linear_model._constrained._display import TradeoffDisplay
from skpapers.linear_model._constrained._glm import ConstrainedGLMRegressor
from skpapers.linear_model._constrained._logistic import ConstrainedLogisticRegression

__all__ = [
    "ConstrainedGLMRegressor",
    "ConstrainedLogisticRegression",
    "TradeoffDisplay",
]
