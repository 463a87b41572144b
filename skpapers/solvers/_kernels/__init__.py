# SPDX-License-Identifier: BSD-3-Clause
"""Compiled loops of the solvers, on plain arrays."""
