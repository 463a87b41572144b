# SPDX-License-Identifier: BSD-3-Clause
r"""The path of CoLiDE for one covariance, in compiled stages.

The symbols and the problem are those of `skpapers.causal._colide`; the algebra of the
stages is in `skpapers.causal._kernels.colide`. Beside the path from the empty graph
there are two ways by a causal order, along which the problem is convex (h_s is zero for
all W that agree with the order):

- an order search gives a start (`search_start`): for alpha = 0 the best score of an
  order is, for one noise level, the root of d times the sum of the residual variances
  and, for one a variable, the sum of the residual standard deviations, both of which
  `skpapers.causal._order_search` minimises;
- a last stage whose graph has settled may end early; the weights then come from the
  convex problem along its order (`solve_order`).
"""

from dataclasses import dataclass, replace

import numpy as np

from skpapers.causal._bic_search import agreeing_order, precedence
from skpapers.causal._kernels import colide as kernels
from skpapers.causal._order_search import make_search
from skpapers.causal._sparsify import refit_ols, sparsify
from skpapers.utils._graph import order_to_mask, threshold_to_dag, topological_order

LEARNING_RATE = 1e-3
# What Adam walks in a warm stage, in the last one, and between two checkpoints, in
# units of the learning rate: 20000, 70000 and 1000 iterations at the paper's 3e-4.
WARM_WAY, LAST_WAY, CHECKPOINT_WAY = 6.0, 21.0, 0.3
LAZY = 10  # Adam's iterations from one inverse to the next
NEWTON_WARM_ITER, NEWTON_LAST_ITER = 200, 500
S_STEP = 0.1  # added to s when a stage leaves the domain of h_s
ORDER_TOL, ORDER_ITER = 1e-10, 500  # of the convex problem along an order
SEARCH_TOL, SEARCH_ITER = 1e-10, 1000
BITS = 32  # of a covariance that Adam sees
# Added to the variances that score orders, relative to them: the first that makes the
# covariance definite. Rounding to 32 bits alone can take 2e-10 per column.
JITTERS = 1e-10, 1e-8, 1e-6


@dataclass(frozen=True)
class Score:
    """The score of a covariance, in the layout that the kernels take.

    Attributes
    ----------
    C : ndarray of shape (d, d)
        Covariance.
    equal : bool
        Whether all variables share one noise level.
    floor : ndarray of shape (d,)
        Lower bounds of the noise levels.
    price : ndarray of shape (d, d)
        Weight of each ``|W[i, j]|``.
    free : ndarray of shape (d, d)
        1.0 where W may differ from zero, else 0.0.
    """

    C: np.ndarray
    equal: bool
    floor: np.ndarray
    price: np.ndarray
    free: np.ndarray

    def evaluate(self, W, s):
        """Return S at the closed-form sigma, ``h_s(W)`` and sigma."""
        fit, penalty, h, sigma = kernels.evaluate(
            self.C, W, self.floor, self.equal, self.price, s
        )
        return fit + penalty, h, sigma

    def in_type(self, dtype):
        """Return the arrays as the kernels take them, in a floating point type."""
        floor, price, free = (
            array.astype(dtype, copy=False)
            for array in (self.floor, self.price, self.free)
        )
        return self.C.astype(dtype, copy=False), (floor, self.equal, price, free)


@dataclass(frozen=True)
class Plan:
    """What is to be done with any covariance of the same columns.

    Attributes
    ----------
    equal : bool
        Whether all variables share one noise level.
    noise_floor : float
        Lower bound of the noise levels, in parts of the standard deviations.
    common_unit : bool
        Whether columns are divided by the smallest standard deviation.
    allowed, required : bool ndarray of shape (d, d)
        Edges that the graph may and must have.
    self_loops : bool
        Whether the diagonal of W is free.
    stages : list of Stage
        The path.
    learning_rate : float or None
        Learning rate of Adam; None takes proximal Newton steps.
    tol : float
        Relative change of the objective that ends a stage.
    cut : float
        Weight up to which an edge is cut.
    refit : {"ols", "bic"} or None
        What replaces the weights at the end.
    init : ndarray of shape (d, d), "order" or None
        Where the path starts.
    """

    equal: bool
    noise_floor: float
    common_unit: bool
    allowed: np.ndarray
    required: np.ndarray
    self_loops: bool
    stages: list
    learning_rate: float | None
    tol: float
    cut: float
    refit: str | None
    init: np.ndarray | str | None

    @property
    def free(self):
        """Entries of W that may differ from zero, a bool ndarray of shape (d, d)."""
        if self.self_loops:
            return self.allowed | np.eye(len(self.allowed), dtype=bool)
        return self.allowed

    def restrict(self, columns):
        """Return the plan for some of the columns."""
        block = np.ix_(columns, columns)
        init = self.init[block] if isinstance(self.init, np.ndarray) else self.init
        return replace(
            self,
            allowed=np.ascontiguousarray(self.allowed[block]),
            required=np.ascontiguousarray(self.required[block]),
            init=init,
        )

    def start(self, score):
        """Return the W to start from."""
        if self.init is None:
            return np.zeros_like(score.C)
        if isinstance(self.init, str):
            return search_start(score, self.required)
        return self.init * score.free


@dataclass(frozen=True)
class Stage:
    """One stage of a path.

    Attributes
    ----------
    mu, s : float
        Weight of the score and level of the acyclicity term.
    max_iter : int
        Most iterations.
    single : bool
        Whether Adam runs in float32.
    early_exit : int
        Checkpoints or steps without a change of the graph that end the stage; 0 stands
        for no such end.
    """

    mu: float
    s: float
    max_iter: int
    single: bool = False
    early_exit: int = 0


def steady(C, xp=np):
    """Round covariances, so that sums in another order lead to the same path.

    Adam jumps to and fro across the kinks of the absolute values, so a difference in
    the last bit grows to the size of its steps and, now and then, to another local
    minimum. Entries are rounded to 32 bits below the standard deviations.

    Parameters
    ----------
    C : array of shape (..., d, d)
        Covariances.
    xp : module, default=numpy
        Their array namespace.

    Returns
    -------
    array of shape (..., d, d)
        Rounded covariances.
    """
    std = xp.sqrt(xp.linalg.diagonal(C))
    std = xp.where(std > 0, std, xp.ones_like(std))
    level = 2.0 ** xp.floor(xp.log2(std))
    grid = level[..., :, None] * level[..., None, :] * 2.0**-BITS
    return grid * xp.round(C / grid)


def noise_floor_of(std, equal, noise_floor):
    """Return the lower bounds of the noise levels from the standard deviations."""
    return noise_floor * (np.full_like(std, std.min()) if equal else std)


def make_score(C, equal, alpha, noise_floor, allowed, required):
    """Return the `Score`; edges that must be there cost nothing."""
    floor = noise_floor_of(np.sqrt(np.diag(C)), equal, noise_floor)
    price = np.where(required, 0.0, float(alpha))
    return Score(C, equal, floor, price, allowed.astype(np.float64))


def make_stages(
    n_stages,
    mu_init,
    mu_factor,
    s,
    warm_iter,
    max_iter,
    float32_stages=0,
    early_exit=None,
):
    """Return the stages of the path; the last s serves for all stages after it."""
    last = n_stages - 1
    return [
        Stage(
            mu=float(mu_init * mu_factor**k),
            s=float(s[min(k, len(s) - 1)]),
            max_iter=int(max_iter if k == last else warm_iter),
            single=k < float32_stages,
            early_exit=int(early_exit or 0) if k == last else 0,
        )
        for k in range(n_stages)
    ]


def adam_budgets(learning_rate):
    """Return the iterations of a warm stage and of the last one."""
    return tuple(max(1, round(way / learning_rate)) for way in (WARM_WAY, LAST_WAY))


def checkpoint_of(learning_rate):
    """Return the number of iterations of Adam between two checkpoints."""
    return max(1, round(CHECKPOINT_WAY / learning_rate))


def solve_stage(score, stage, W, sigma, tol, learning_rate=None, cut=0.3):
    """Minimise ``mu S + h_s`` from W; where this leaves the domain, with larger s.

    Parameters
    ----------
    score : Score
        The score.
    stage : Stage
        Its mu, s and budget.
    W, sigma : ndarray of shape (d, d) and (d,)
        Where to start; not changed.
    tol : float
        Relative change of the objective that ends the stage.
    learning_rate : float, default=None
        Learning rate of Adam; None takes proximal Newton steps.
    cut : float, default=0.3
        Weight above which an edge counts for an early exit.

    Returns
    -------
    W, sigma : ndarray of shape (d, d) and (d,)
        Where the stage ended.
    record : dict of str to number
        What happened.
    """
    dtype = np.float32 if stage.single and learning_rate is not None else np.float64
    C, problem = score.in_type(dtype)
    s, rate, n_iter, succeeded = stage.s, learning_rate, 0, False
    while not succeeded:
        W_new, sigma_new = W.astype(dtype), sigma.astype(dtype)
        limits = float(tol), stage.max_iter, float(cut), stage.early_exit
        arguments = (C, W_new, sigma_new, *problem, stage.mu, s, *limits)
        if rate is None:
            n, change, succeeded, settled = kernels.newton_stage(*arguments)
        else:
            n, change, succeeded, settled = kernels.adam_stage(
                *arguments, rate, checkpoint_of(learning_rate), LAZY
            )
        n_iter += n
        if not succeeded:
            s, rate = s + S_STEP, None if rate is None else rate / 2
    W_new, sigma_new = W_new.astype(np.float64), sigma_new.astype(np.float64)
    value, h, _ = score.evaluate(W_new, s)
    record = {
        "mu": stage.mu,
        "s": s,
        "n_iter": n_iter,
        "score": float(value),
        "h": float(h),
        "objective": float(stage.mu * value + h),
        "change": float(change),
        "converged": bool(change <= tol or settled),
        "settled": bool(settled),
    }
    return W_new, sigma_new, record


def solve_order(score, order, W):
    """Minimise the score, a convex problem, over the graphs that agree with an order.

    Parameters
    ----------
    score : Score
        The score.
    order : ndarray of shape (d,)
        Columns, causes first.
    W : ndarray of shape (d, d)
        Where to start.

    Returns
    -------
    W, sigma : ndarray of shape (d, d) and (d,)
        The minimiser and its noise levels.
    n_iter : int
        Number of proximal Newton steps.
    """
    along = replace(score, free=score.free * order_to_mask(order))
    stage = Stage(mu=1.0, s=1.0, max_iter=ORDER_ITER)
    W = W * along.free
    start = along.evaluate(W, 1.0)[2]
    W, sigma, record = solve_stage(along, stage, W, start, ORDER_TOL)
    return W, sigma, record["n_iter"]


def settle(score, W, record, required):
    """Replace the weights of a stage that ended early by those along its order.

    The order is that of all edges down to the weakest cut that leaves no cycle.

    Returns
    -------
    W, sigma : ndarray of shape (d, d) and (d,)
        The weights and the noise levels.
    record : dict
        The record of the stage with what the weights change in it.
    """
    order = topological_order(cut_to_dag(W, 0.0, required)[1])
    W, sigma, n_iter = solve_order(score, order, W)
    value, h, _ = score.evaluate(W, record["s"])
    changed = {
        "n_iter": record["n_iter"] + n_iter,
        "score": float(value),
        "h": float(h),
        "objective": float(record["mu"] * value + h),
    }
    return W, sigma, record | changed


def search_order_of(C, equal, allowed, required):
    """Return the causal order that an order search finds, by the noise model.

    A covariance that is far from definite leaves the order of the variances.

    Where prior knowledge asks for one of two columns to come first, it does.
    """
    C = C / 4.0 ** np.round(np.log2(np.diag(C).max()) / 2)  # exact, and in range
    loss = "squared" if equal else "sum_std"
    search = make_search(
        "both", loss, len(C), tol=SEARCH_TOL, max_iter=SEARCH_ITER, acyclicity="logdet"
    )
    start = np.argsort(np.diag(C), kind="stable")
    for jitter in JITTERS:
        try:
            order = search(C + jitter * np.diag(np.diag(C)), start).state.order
        except np.linalg.LinAlgError:  # singular
            order = start
        else:
            break
    return agreeing_order(order, precedence(allowed, required))


def search_start(score, required):
    """Return the minimiser of the score along the order that a search finds."""
    allowed = score.free.astype(bool)
    order = search_order_of(score.C, score.equal, allowed, required)
    return solve_order(score, order, np.zeros_like(score.C))[0]


class CompiledPath:
    """The path of one covariance.

    Parameters
    ----------
    plan : Plan
        What is to be done.
    C : ndarray of shape (d, d)
        Covariance of columns that all vary.
    alpha : float
        Price of a unit of absolute weight.

    Attributes
    ----------
    W, sigma : ndarray of shape (d, d) and (d,)
        Where the last stage ended, sigma in the units of ``C``.
    history : list of dict
        One record a stage.
    """

    def __init__(self, plan, C, alpha):
        self.plan = plan
        if plan.learning_rate is not None:
            C = steady(C)
        self.unit = np.sqrt(np.diag(C).min()) if plan.common_unit else 1.0
        self.score = make_score(
            C / self.unit**2,
            plan.equal,
            alpha,
            plan.noise_floor,
            plan.free,
            plan.required,
        )
        self.W = plan.start(self.score)
        self._sigma = self.score.floor / plan.noise_floor  # 100 floors, as published
        self.history = []

    @property
    def sigma(self):
        return self._sigma * self.unit

    def run(self, stage):
        """Solve the next stage; return its record."""
        plan = self.plan
        self.W, self._sigma, record = solve_stage(
            self.score,
            stage,
            self.W,
            self._sigma,
            plan.tol,
            plan.learning_rate,
            plan.cut,
        )
        if record["settled"]:
            self.W, self._sigma, record = settle(
                self.score, self.W, record, plan.required
            )
        self.history.append(record)
        return record


def sparse_graph(plan, C, n_samples, W):
    """Cut the weights at the end of a path to a graph, and refit it.

    Returns
    -------
    adjacency : ndarray of shape (d, d)
        Weights of the acyclic graph.
    order : ndarray of shape (d,)
        Columns, causes first.
    cut : float
        The cut that was needed.
    """
    adjacency, support, cut = cut_to_dag(W, plan.cut, plan.required)
    order = topological_order(support)
    if plan.refit == "ols":
        adjacency = refit_ols(C, support)
    elif plan.refit == "bic":
        adjacency = sparsify(
            C,
            n_samples,
            order,
            "bic_l0",
            allowed=plan.allowed,
            required=plan.required,
        )
    return adjacency, order, float(cut)


def cut_to_dag(W, threshold, required):
    """Cut weak weights until the graph is acyclic, required edges last of all.

    Returns
    -------
    adjacency : ndarray of shape (d, d)
        Remaining weights.
    support : bool ndarray of shape (d, d)
        Remaining edges: acyclic, and with all required ones, whatever their weight.
    cut : float
        The cut that was needed.
    """
    strongest = 1.0 + max(threshold, np.abs(W).max())
    kept, cut = threshold_to_dag(np.where(required, strongest, W), threshold)
    return np.where(kept != 0, W, 0.0), kept != 0, cut
