# SPDX-License-Identifier: BSD-3-Clause
"""What all learners of causal graphs share.

The linear model of d variables is x = mean + (x - mean) W + z with a weighted adjacency
W of an acyclic graph (W[i, j] != 0 means i -> j, so rows are causes) and independent
noise z. All that a learner needs of an (n, d) table is its covariance C = XᵀX / n after
centring; everything that a user does with the fitted graph needs W, the mean and the
noise. So `BaseDAG` turns tables into C, hands C to `_learn` and keeps what comes back,
and `BaseLinearDAG` offers predictions, residuals, likelihoods, samples, interventions
and streams for it. Models that are not linear get the rows as well.
"""

from skpapers.causal._base._dag import (
    BaseDAG,
    LearnedDAG,
    dependent_columns,
    residual_variances,
)
from skpapers.causal._base._linear import BaseLinearDAG

__all__ = [
    "BaseDAG",
    "BaseLinearDAG",
    "LearnedDAG",
    "dependent_columns",
    "residual_variances",
]
