# SPDX-License-Identifier: BSD-3-Clause
"""Graphs and effects of causes from tables."""

from skpapers.causal._balancing import (
    BalanceDisplay,
    EntropyBalancing,
    balance_weights,
)
from skpapers.causal._colide import CoLiDE, colide_batch
from skpapers.causal._display import DAGDisplay
from skpapers.causal._effects import effect_intervals
from skpapers.causal._feature_selector import CausalFeatureSelector
from skpapers.causal._influence import edge_influence
from skpapers.causal._markov_class import (
    best_bic_dag_exact,
    bic_score,
    orient_equal_variance,
)
from skpapers.causal._order_search import best_order_exact, order_score
from skpapers.causal._sort_regress import SortRegress
from skpapers.causal._sortability import SortabilityReport, sortability_report
from skpapers.causal._stability import StabilityDAG, bootstrap_edges
from skpapers.causal._stability_display import EdgeStabilityDisplay
from skpapers.causal._topological_swap import TopologicalSwap, polish_dag
from skpapers.causal._topological_swap_mlp import TopologicalSwapMLP

__all__ = [
    "BalanceDisplay",
    "CausalFeatureSelector",
    "CoLiDE",
    "DAGDisplay",
    "EdgeStabilityDisplay",
    "EntropyBalancing",
    "SortRegress",
    "SortabilityReport",
    "StabilityDAG",
    "TopologicalSwap",
    "TopologicalSwapMLP",
    "balance_weights",
    "best_bic_dag_exact",
    "best_order_exact",
    "bic_score",
    "bootstrap_edges",
    "colide_batch",
    "edge_influence",
    "effect_intervals",
    "order_score",
    "orient_equal_variance",
    "polish_dag",
    "sortability_report",
]
