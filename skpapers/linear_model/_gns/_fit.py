# SPDX-License-Identifier: BSD-3-Clause
"""Gradient-normalised Newton fits of linear models: curvature, metric, search.

The problem is a `GLMObjective` f with slopes and intercepts w; the solver is
`skpapers.solvers.gns_minimize`'s search. Here are the models of the Hessian by name,
and the rule that chooses one.
"""

import numpy as np

from skpapers.solvers._gns._models import (
    BlockModel,
    DenseModel,
    DiagonalMetric,
    DiagonalModel,
    LowRankModel,
    MatrixMetric,
    OperatorModel,
)
from skpapers.solvers._gns._search import Search

__all__ = ["HESSIANS", "METRICS", "OPTIONS", "choose_hessian", "start_search"]

HESSIANS = ("auto", "exact", "fisher", "block", "wgn", "diag", "lowrank", "cg")
METRICS = ("diag", "gram", "identity")
OPTIONS = {
    "rank": 20,  # columns of the low-rank model
    "cg_rtol": None,  # accuracy of conjugate gradients; None: by the radius
    "cg_max_iter": 500,
    "refresh": 4,  # iterations between two preconditioners
    "max_trials": 40,
}

# Parameters up to which "auto" may form the Hessian.
MAX_EXACT = 4000
# Columns up to which a preconditioner has blocks and not only a diagonal.
MAX_BLOCK = 1500
# Rows of which those blocks are made, for each column.
ROWS_A_COLUMN = 50


def _costs(objective):
    """Return nanoseconds, roughly, of an exact Newton system and of a product."""
    n, q = objective.design.shape
    K = objective.n_outputs
    pairs = 1 if len(objective.shape) == 1 else K * (K - 1) // 2
    if objective.design.is_sparse:
        nonzeros = objective.design.X.nnz
        gram = 1.5 * nonzeros * (nonzeros / max(n, 1) + 2)
        product = 4 * nonzeros * K
    else:
        gram = n * (0.05 * q**2 + q)
        product = 2 * n * q if pairs == 1 else n * K * (0.4 * q + 3)
    system = pairs * gram + (K * q) ** 3 / 30 + 2e5
    return system, product + 0.4 * K * q**2 * (len(objective.shape) > 1) + 6e4


def choose_hessian(objective):
    """Return the model of the Hessian to begin with, and when to leave it.

    Parameters
    ----------
    objective : GLMObjective
        The problem.

    Returns
    -------
    hess : {"exact", "expected", "cg"}
        The choice.
    max_products : float
        So many products in one solve cost more than an exact system.
    """
    exact = "exact" if objective.loss.convex else "expected"
    system, product = _costs(objective)
    ratio = system / product
    several = len(objective.shape) > 1
    if objective.n_params > MAX_EXACT:
        return "cg", np.inf
    # a diagonal preconditioner is worth less than one of blocks
    if ratio <= (6 if several else 40):
        return exact, np.inf
    return "cg", ratio


# --- metrics ------------------------------------------------------------------------
class GramMetric(MatrixMetric):
    """The second moments G of the columns, once for each output.

    Parameters
    ----------
    G : ndarray of shape (q, q)
        Positive definite.
    n_outputs : int
        Number of outputs.
    """

    def __init__(self, G, n_outputs):
        super().__init__(G)
        self.G, self.n_outputs = G, n_outputs
        self.solve_one = self.solve
        self.solve = self._solve

    def _columns(self, v):
        """Return flat parameters (n,) or (n, r) as columns (q, outputs * r)."""
        V = v.reshape(self.n_outputs, len(self.G), -1)
        return np.moveaxis(V, 1, 0).reshape(len(self.G), -1)

    def _flat(self, V, shape):
        V = V.reshape(len(self.G), self.n_outputs, -1)
        return np.moveaxis(V, 0, 1).reshape(shape)

    def _solve(self, v):
        return self._flat(self.solve_one(self._columns(v)), v.shape)

    def times(self, v):
        """Return B v."""
        return self._flat(self.G @ self._columns(v), v.shape)

    def norm(self, h):
        """Return the norm of a step."""
        return float(np.sqrt(max(h @ self.times(h), 0)))

    def added(self, H, lam):
        """Return the dense matrix H + lam B, a new one."""
        return H + lam * np.kron(np.eye(self.n_outputs), self.G)

    def eigh(self, H):
        """Return mu, V with H V = B V diag(mu) and V'B V = I."""
        return MatrixMetric(np.kron(np.eye(self.n_outputs), self.G)).eigh(H)


def make_glm_metric(objective, name):
    """Return the metric of a name.

    Parameters
    ----------
    objective : GLMObjective
        The problem.
    name : {"diag", "gram", "identity"}
        Second moments of the columns, their whole matrix, or ones.

    Returns
    -------
    metric
        Positive definite.
    """
    if name == "identity":
        return DiagonalMetric(np.ones(objective.n_params))
    moments = objective.moments()
    diagonal = np.broadcast_to(moments, objective.shape) + objective.penalty
    # a column of zeros has no scale
    diagonal = np.where(diagonal > 0, diagonal, 1.0).ravel()
    if name == "diag":
        return DiagonalMetric(diagonal)
    q = objective.shape[-1]
    G = objective.design.gram(objective.weight)
    # dependent columns: a small ridge keeps it positive definite
    scale = np.where(moments > 0, moments, 1.0)
    G[np.diag_indices(q)] += 1e-8 * scale
    G[np.diag_indices(q)] += np.atleast_2d(objective.penalty).mean(axis=0)
    return GramMetric(G, objective.n_params // q)


# --- curvature ----------------------------------------------------------------------
class GLMCurvature:
    """Models of the Hessian, renewed lazily and from growing samples of the rows.

    Parameters
    ----------
    objective : GLMObjective
        The problem.
    metric : metric
        B.
    hess : str
        A name of `HESSIANS` but "auto", or "expected".
    lazy : int
        Iterations between two models.
    sample : float
        Fraction of the rows of the first model; a rejected trial doubles it.
    options : dict
        As `OPTIONS`.
    rng : RandomState
        For samples and low-rank models.
    max_products : float, default=inf
        Leave "cg" for the matrix after a solve with more products.
    """

    def __init__(
        self, objective, metric, hess, lazy, sample, options, rng, max_products=np.inf
    ):
        self.max_products = max_products
        self.current = None
        self.objective, self.metric, self.hess = objective, metric, hess
        self.lazy, self.sample, self.options, self.rng = lazy, sample, options, rng
        self.rows = None if sample == 1 else self._draw()
        self.born = None
        self.fresh = False
        self.blocks = None
        self.few = None
        self.n_products = 0
        self.n_iter = 0

    def _draw(self):
        """Return the objective on a random sample of the rows."""
        n = self.objective.design.shape[0]
        size = max(1, round(self.sample * n))
        return self.objective.take(
            np.sort(self.rng.choice(n, size=size, replace=False))
        )

    def model(self, point, n_iter):
        """Return the model at a point."""
        self.n_iter = n_iter
        if self.born is None or n_iter - self.born >= self.lazy:
            self._renew(point)
        else:
            self.fresh = False
        return self.current

    def improve(self, point):
        """Return a better model than the rejected one, or None."""
        if self.sample < 1:
            self.sample = min(1.0, 2 * self.sample)
            self.rows = None if self.sample == 1 else self._draw()
        elif self.fresh:
            return None
        self._renew(point)
        return self.current

    def _renew(self, point):
        if self.rows is not None:
            point = self.rows.at(point.w)
        self.current = self._build(point)
        self.born, self.fresh = self.n_iter, True

    def _build(self, point):
        hess, metric = self.hess, self.metric
        several = len(self.objective.shape) > 1
        if hess == "diag":
            diagonal = point.hessian_diagonal()
            if isinstance(metric, DiagonalMetric):
                return DiagonalModel(diagonal, metric)
            return DenseModel(np.diag(diagonal), metric)
        if hess == "lowrank":
            d, U = point.low_rank(self.options["rank"], self.rng)
            if isinstance(metric, DiagonalMetric):
                return LowRankModel(d, U, metric)
            return DenseModel(np.diag(d) + U @ U.T, metric)
        if hess == "cg" and self._is_dear():
            hess = self.hess = "exact" if self.objective.loss.convex else "expected"
        if hess == "cg":
            return self._conjugate_gradients(point)
        if hess in ("block", "wgn") and several and isinstance(metric, DiagonalMetric):
            return BlockModel(point.blocks(hess), metric)
        return DenseModel(point.hessian(hess), metric)

    def _is_dear(self):
        """Whether the last solve took more products than a matrix is worth."""
        return (
            isinstance(self.current, OperatorModel)
            and self.current.n_products > self.max_products * self.current.n_steps
        )

    def _conjugate_gradients(self, point):
        q = self.objective.shape[-1]
        model = OperatorModel(
            point.hessp, self.metric, self._rtol, self.options["cg_max_iter"]
        )
        if isinstance(self.metric, DiagonalMetric):
            if q <= MAX_BLOCK and len(self.objective.shape) > 1:
                age = None if self.blocks is None else self.n_iter - self.blocks[0]
                if age is None or age >= self.options["refresh"]:
                    self.blocks = self.n_iter, self._sampled_blocks(point)
                model.preconditioner = self.blocks[1].factor
            else:
                diagonal = point.hessian_diagonal()
                model.preconditioner = lambda lam: (
                    DiagonalMetric(diagonal + lam * self.metric.b).solve
                )
        return model

    def _sampled_blocks(self, point):
        """Return the blocks of a preconditioner; a part of the rows suffices."""
        n, q = self.objective.design.shape
        size = ROWS_A_COLUMN * q
        if n > 2 * size:
            if self.few is None:
                rows = np.sort(self.rng.choice(n, size=size, replace=False))
                self.few = self.objective.take(rows)
            point = self.few.at(point.w)
        return BlockModel(point.blocks(), self.metric)

    def _rtol(self, g, lam):
        """Return an accuracy at which an inexact step still passes the test."""
        if self.options["cg_rtol"] is not None:
            return self.options["cg_rtol"]
        return min(0.1, max(2 * np.sqrt(lam), 1e-6))


def start_search(
    objective,
    x0,
    *,
    hess,
    metric,
    gamma0,
    gtol,
    max_iter,
    lazy,
    sample,
    options,
    rng,
    max_products=np.inf,
    target=None,
):
    """Return the search for the minimum of an objective, to be advanced.

    Parameters
    ----------
    objective : GLMObjective
        The problem.
    x0 : ndarray of shape (n_params,)
        Start.
    hess, metric, lazy, sample, options, rng, max_products
        As for `GLMCurvature`.
    gamma0, gtol, max_iter
        As for `gns_minimize`.
    target : callable, default=None
        From a point to True where it is good enough.

    Returns
    -------
    Search
        At its start.
    """
    B = make_glm_metric(objective, metric)
    curvature = GLMCurvature(
        objective, B, hess, lazy, sample, options, rng, max_products
    )
    eps = np.finfo(np.float64).eps
    if objective.design.is_numpy:
        eps = np.finfo(objective.design.dtype).eps
    elif "32" in str(objective.design.dtype):
        eps = np.finfo(np.float32).eps
    return Search(
        objective.at,
        x0,
        curvature,
        B,
        gamma0=gamma0,
        gtol=gtol,
        max_iter=max_iter,
        max_trials=options["max_trials"],
        rounding=4 * eps,
        patient=True,
        target=target,
    )
