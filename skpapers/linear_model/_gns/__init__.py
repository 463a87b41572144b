# SPDX-License-Identifier: BSD-3-Clause
"""Linear models by gradient-normalised Newton steps."""

from skpapers.linear_model._gns._logistic import GNSLogisticRegression
from skpapers.linear_model._gns._regressor import GNSGLMRegressor

__all__ = ["GNSGLMRegressor", "GNSLogisticRegression"]
