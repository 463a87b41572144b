# SPDX-License-Identifier: BSD-3-Clause
"""Causal graphs by moving nodes of a causal order.

The model is x = x W + z with an acyclic weighted adjacency W (W[i, j] != 0 means
i -> j) and independent noise z. Given a causal order, the best W regresses every node
on all its predecessors; what is left to minimise is the score of the order,

    Q = sum_j phi(v_j),    phi(x) = x / 2 ("squared")  or  sqrt(x) ("sum_std"),

v_j the residual variances. TOPO (Deng et al., ICML 2023) exchanges pairs of nodes while
Q falls; here every insertion and exchange is scored exactly from the Cholesky factor of
the covariance, without a regression (`skpapers.causal._order_search`). A sparse graph
that agrees with the order found is chosen at the end (`skpapers.causal._sparsify`).
Where the noise variances differ, the BIC of the sparse graph itself takes the place of
Q (`skpapers.causal._bic_search`), and where the covariance is not enough, a regression
for each node (`skpapers.causal._general_losses`).

The estimator is in `_estimator`; where its searches start, in `_starts`; what it does
with a covariance, and how "auto" decides, in `_linear`; what it does with the rows, in
`_rows`.

References
----------
C. Deng, K. Bello, B. Aragam, P. Ravikumar, "Optimizing NOTEARS objectives via
topological swaps", ICML 2023, PMLR 202, 7563-7595.
"""

from skpapers.causal._topological_swap._estimator import TopologicalSwap
from skpapers.causal._topological_swap._polish import polish_dag

__all__ = ["TopologicalSwap", "polish_dag"]
