# SPDX-License-Identifier: BSD-3-Clause
"""Graphs and effects of causes from tables."""

__all__: list[str] = []
