# SPDX-License-Identifier: BSD-3-Clause
r"""CoLiDE: linear causal graphs with the noise levels estimated along.

With the covariance C of d centred columns, an adjacency W (W[i, j] != 0 means i -> j)
and noise levels sigma (standard deviations), the score is the concomitant lasso

    S(W, sigma) = sum_j (e_j - w_j)' C (e_j - w_j) / (2 sigma_j) + sigma_j / 2
                  + alpha sum_ij |W_ij|,

with one free sigma_j a variable, or the same for all. It is jointly convex; what is not
convex is acyclicity, which enters through

    h_s(W) = d log s - log det(sI - W * W)    (0 for a DAG, else positive).

Along a path of stages, mu S + h_s is minimised with falling mu and s, each from where
the last one ended. Sigma always has its closed form, the root of the residual variance
(EV: of their mean), at least a floor. The compiled stages, and the algebra of their two
solvers, are in `skpapers.causal._kernels.colide`.

References
----------
S. S. Saboksayr, G. Mateos, M. Tepper, "CoLiDE: Concomitant linear DAG estimation",
ICLR 2024, arXiv:2310.02895.
"""

from skpapers.causal._colide._batch import colide_batch
from skpapers.causal._colide._estimator import CoLiDE

__all__ = ["CoLiDE", "colide_batch"]
