# SPDX-License-Identifier: BSD-3-Clause
"""Target surrogates: many cheap steps for every call of an expensive loss."""

from skpapers.solvers._target_surrogate._api import minimize_target_surrogate

__all__ = ["minimize_target_surrogate"]
