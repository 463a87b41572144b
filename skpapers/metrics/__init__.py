# SPDX-License-Identifier: BSD-3-Clause
"""Scores that scikit-learn lacks: how close a learned graph is to the true one."""

from skpapers.metrics._cpdag import cpdag_to_dag, dag_to_cpdag
from skpapers.metrics._dag import (
    adjacency_error,
    cpdag_structural_hamming_distance,
    dag_metrics,
    noise_error,
    structural_hamming_distance,
)
from skpapers.metrics._sid import structural_intervention_distance
from skpapers.metrics._sortability import (
    order_agreement,
    r2_sortability,
    variance_sortability,
)
from skpapers.utils._graph import is_dag, threshold_to_dag, topological_order

__all__ = [
    "adjacency_error",
    "cpdag_structural_hamming_distance",
    "cpdag_to_dag",
    "dag_metrics",
    "dag_to_cpdag",
    "is_dag",
    "noise_error",
    "order_agreement",
    "r2_sortability",
    "structural_hamming_distance",
    "structural_intervention_distance",
    "threshold_to_dag",
    "topological_order",
    "variance_sortability",
]
