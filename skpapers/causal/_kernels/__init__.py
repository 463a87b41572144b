# SPDX-License-Identifier: BSD-3-Clause
"""Compiled loops of the causal estimators, on plain arrays."""
