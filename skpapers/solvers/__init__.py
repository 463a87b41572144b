# SPDX-License-Identifier: BSD-3-Clause
"""Solvers with the calling convention of `scipy.optimize.minimize`."""

__all__: list[str] = []
