# SPDX-License-Identifier: BSD-3-Clause
"""Classifier and regressor that are trained by target surrogates.

The model f is linear or a small network, the loss a function of its outputs z, which
may be expensive: one evaluation builds a surrogate in the space of outputs, on which
the model takes many cheap steps (a linear one the exact step, in closed form). See
`skpapers.solvers.minimize_target_surrogate` for the mathematics.

Reference: J. W. Lavington, S. Vaswani, R. Babanezhad, M. Schmidt, N. Le Roux,
"Target-based surrogates for stochastic optimization", ICML 2023.
"""

from skpapers.linear_model._target_surrogate._classifier import (
    TargetSurrogateClassifier,
)
from skpapers.linear_model._target_surrogate._regressor import TargetSurrogateRegressor

__all__ = ["TargetSurrogateClassifier", "TargetSurrogateRegressor"]
