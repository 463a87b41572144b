# SPDX-License-Identifier: BSD-3-Clause
"""Linear models that rest on the solvers of this library."""

__all__: list[str] = []
