# SPDX-License-Identifier: BSD-3-Clause
"""Scores that scikit-learn lacks: how close a learned graph is to the true one."""

from skpapers.utils._graph import is_dag, threshold_to_dag, topological_order

__all__ = [
    "is_dag",
    "threshold_to_dag",
    "topological_order",
]
