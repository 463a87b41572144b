# SPDX-License-Identifier: BSD-3-Clause
"""Minimisation under equality constraints."""

from skpapers.solvers._constrained._api import minimize_constrained
from skpapers.solvers._constrained._method import sketched_newton

__all__ = ["minimize_constrained", "sketched_newton"]
