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

from dataclasses import dataclass
from numbers import Integral, Real
from warnings import warn

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skpapers.causal._base import BaseLinearDAG, LearnedDAG
from skpapers.causal._kernels import colide as kernels
from skpapers.causal._knowledge import edge_knowledge, restrict_knowledge
from skpapers.causal._sparsify import refit_ols, sparsify
from skpapers.utils._callbacks import reported
from skpapers.utils._graph import (
    check_adjacency,
    node_names,
    threshold_to_dag,
    topological_order,
)
from skpapers.utils._sklearn import Interval, StrOptions

LEARNING_RATE = 1e-3
# What Adam walks in a warm stage, in the last one, and between two checkpoints, in
# units of the learning rate: 20000, 70000 and 1000 iterations at the paper's 3e-4.
WARM_WAY, LAST_WAY, CHECKPOINT_WAY = 6.0, 21.0, 0.3
LAZY = 10  # Adam's iterations from one inverse to the next
NEWTON_WARM_ITER, NEWTON_LAST_ITER = 200, 500
S_STEP = 0.1  # added to s when a stage leaves the domain of h_s


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


@dataclass(frozen=True)
class Stage:
    """Weight of the score, level of the acyclicity term and most iterations."""

    mu: float
    s: float
    max_iter: int


def make_score(C, equal, alpha, noise_floor, allowed, required):
    """Return the `Score`; edges that must be there cost nothing."""
    std = np.sqrt(np.diag(C))
    floor = noise_floor * (np.full_like(std, std.min()) if equal else std)
    price = np.where(required, 0.0, float(alpha))
    return Score(C, equal, floor, price, allowed.astype(np.float64))


def make_stages(n_stages, mu_init, mu_factor, s, warm_iter, max_iter):
    """Return the stages of the path; the last s serves for all stages after it."""
    return [
        Stage(
            mu=float(mu_init * mu_factor**k),
            s=float(s[min(k, len(s) - 1)]),
            max_iter=int(max_iter if k == n_stages - 1 else warm_iter),
        )
        for k in range(n_stages)
    ]


def solve_stage(score, stage, W, sigma, tol, learning_rate=None):
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

    Returns
    -------
    W, sigma : ndarray of shape (d, d) and (d,)
        Where the stage ended.
    record : dict of str to number
        What happened.
    """
    problem = score.floor, score.equal, score.price, score.free
    s, rate, n_iter, succeeded = stage.s, learning_rate, 0, False
    while not succeeded:
        W_new, sigma_new = W.copy(), sigma.copy()
        arguments = (score.C, W_new, sigma_new, *problem, stage.mu, s, tol)
        if rate is None:
            n, change, succeeded = kernels.newton_stage(*arguments, stage.max_iter)
        else:
            checkpoint = max(1, round(CHECKPOINT_WAY / learning_rate))
            n, change, succeeded = kernels.adam_stage(
                *arguments, stage.max_iter, rate, checkpoint, LAZY
            )
        n_iter += n
        if not succeeded:
            s, rate = s + S_STEP, None if rate is None else rate / 2
    value, h, _ = score.evaluate(W_new, s)
    record = {
        "mu": stage.mu,
        "s": s,
        "n_iter": n_iter,
        "score": float(value),
        "h": float(h),
        "objective": float(stage.mu * value + h),
        "change": float(change),
        "converged": bool(change <= tol),
    }
    return W_new, sigma_new, record


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


class CoLiDE(BaseLinearDAG):
    r"""Linear causal graph by concomitant estimation of weights and noise levels.

    Minimises a lasso score over the weighted adjacency W of an acyclic graph and over
    the noise standard deviations :math:`\sigma` at once [1]_,

    .. math:: \sum_j \frac{\lVert x_j - X w_j \rVert^2}{2 n \sigma_j}
              + \frac{\sigma_j}{2} + \alpha \sum_{ij} |W_{ij}|
              \quad \text{subject to W acyclic},

    by a path of continuous problems in which acyclicity gains weight. With the noise
    levels in the score, a suitable ``alpha`` depends less on the noise than that of a
    least squares score. It still depends on the number of columns and on the data:
    search it with `sklearn.model_selection.GridSearchCV`.

    The result depends on the units of the columns. What points from cause to effect in
    this score is how residual variances compare *in the given units*; on standardised
    columns it cannot be relied on, so columns are never rescaled here, and
    they should come in units in which their noise is comparable. For unequal noise
    levels the minimiser of the score is not the true graph, even with infinite data:
    good results owe something to the path on which it is approached. For equal noise
    levels `TopologicalSwap` is faster and more accurate.

    Parameters
    ----------
    noise : {"equal", "nonequal"}, default="equal"
        Whether all variables share one noise level (EV) or each has its own (NV).

    alpha : float, default=0.05
        Price of a unit of absolute weight; larger is sparser.

    solver : {"auto", "prox_newton", "adam"}, default="auto"
        Solver of a stage. "prox_newton" takes proximal Newton steps; "adam" takes the
        gradient steps of the paper. They end in different local minima of about the
        same objective. "auto" is "prox_newton", which was several times faster at an
        objective that was lower on average, for either kind of noise.

    n_stages : int, default=4
        Number of stages.

    mu_init : float, default=1.0
        Weight of the score against the acyclicity term in the first stage.

    mu_factor : float, default=0.1
        What this weight is multiplied by from stage to stage, in (0, 1].

    s : sequence of float, default=(1.0, 0.9, 0.8, 0.7)
        Level of the acyclicity term in each stage: positive, not increasing; the last
        one is repeated if there are more stages.

    max_iter : int, default=None
        Largest number of iterations of the last stage. None is 500 for "prox_newton"
        and 21 / learning_rate for "adam".

    warm_iter : int, default=None
        Largest number of iterations of each other stage. None is 200 for "prox_newton"
        and 6 / learning_rate for "adam".

    learning_rate : float or "auto", default="auto"
        Learning rate of "adam". "auto" is 1e-3; 3e-4 gives the paper's settings.

    tol : float, default=1e-6
        A stage ends when the relative change of its objective, between checkpoints of
        "adam" or in three steps of "prox_newton", is no larger.

    w_threshold : float, default=0.3
        Weights up to this in absolute value are cut at the end, and further weak ones
        until the graph is acyclic. It is a weight in the units of the data: lower it if
        effects per unit are small.

    init : array-like of shape (`n_features_in_`, `n_features_in_`), default=None
        Weighted adjacency of a DAG to start from, None for the empty graph. Its
        forbidden edges are ignored.

    forbidden_edges : bool array or pairs, default=None
        Edges that the graph may not have: a boolean mask of shape (`n_features_in_`,
        `n_features_in_`), or (cause, effect) pairs of column names or indices.

    required_edges : bool array or pairs, default=None
        Edges that the graph must have, in the same formats. They are not penalised and
        never cut, so their weight, which the data decide, may be small.

    tiers : sequence of sequences, default=None
        Groups of columns (names or indices), causes first: no edge leads from a later
        group to an earlier one.

    refit : {"ols", "bic"} or None, default=None
        What replaces the weights at the end, which the penalty has shrunk. "ols" fits
        each variable on its parents by least squares; "bic" keeps only the causal order
        and chooses the parents anew by BIC.

    scale : {"common"} or None, default=None
        "common" divides all columns by the smallest standard deviation among them. The
        relative scales stay, and the graph becomes independent of a unit that all
        columns share.

    self_loops : bool, default=False
        Whether the diagonal of W is free before the final cut, as in the published
        code, where a self-loop that survives w_threshold raises the cut.

    noise_floor : float, default=1e-2
        Lower bound of the noise levels, in parts of the standard deviation of the
        column (EV: of the smallest one). It keeps a variable that others explain
        perfectly from dividing by zero.

    verbose : int, default=0
        Whether to print a line a stage.

    Attributes
    ----------
    adjacency_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        Weights of the acyclic graph; ``adjacency_[i, j] != 0`` means i -> j.

    raw_adjacency_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        Weights at the end of the path, before the cut.

    causal_order_ : ndarray of shape (`n_features_in_`,)
        Columns, causes first. Constant columns are put last.

    noise_std_ : ndarray of shape (`n_features_in_`,)
        Noise levels that belong to ``raw_adjacency_``; all the same for EV. Constant
        columns have 0.

    residual_std_ : ndarray of shape (`n_features_in_`,)
        Standard deviations of what the parents in ``adjacency_`` leave over.

    objective_ : float
        Score at ``raw_adjacency_``, of the scaled data if ``scale`` is given.

    h_value_ : float
        Acyclicity term of the last stage at ``raw_adjacency_``.

    n_iter_ : int
        Number of iterations over all stages.

    converged_ : bool
        Whether the last stage met ``tol``.

    threshold_ : float
        The cut that made the graph acyclic, at least ``w_threshold``.

    history_ : list of dict
        One record a stage: mu, s (after a repair, if one was needed), n_iter, score, h,
        objective (mu times score plus h), change and converged.

    mean_ : ndarray of shape (`n_features_in_`,)
        Column means.

    covariance_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        Covariance of the columns.

    n_samples_seen_ : int
        Number of rows.

    n_features_in_ : int
        Number of columns.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, if X had any.

    Warns
    -----
    ConvergenceWarning
        If the last stage ended before the change of its objective fell to ``tol``.
    DataConditionWarning
        If there are fewer rows than columns, or constant columns.

    See Also
    --------
    TopologicalSwap : Search over causal orders; the first choice for equal noise.
    skpapers.causal.sortability_report : How much of a result is due to units.

    Notes
    -----
    After one pass over the rows for the covariance, O(n d²), the number of rows no
    longer matters. A step of "prox_newton" costs O(d³) at worst and less where W is
    sparse, and 100 to 300 steps are usual; an iteration of "adam" costs one product of
    d x d matrices, O(d³), and there are 15000 to 40000. Both need some ten d x d
    matrices of memory. Up to a few hundred columns are practical.

    For equal noise levels the path may also start where an order search ends:
    ``CoLiDE(init=TopologicalSwap().fit(X).adjacency_, n_stages=1, mu_init=1e-3,
    s=(0.7,))`` found lower scores and better graphs than the whole path from zero.

    Rescaling all columns by c has the same effect as dividing ``alpha`` by c, after
    ``mu_init`` is adapted: the published default is not free of units. ``scale`` is.

    References
    ----------
    .. [1] S. S. Saboksayr, G. Mateos, M. Tepper, "CoLiDE: Concomitant linear DAG
       estimation", ICLR 2024, arXiv:2310.02895.
    .. [2] K. Bello, B. Aragam, P. Ravikumar, "DAGMA: Learning DAGs via M-matrices and
       a log-determinant acyclicity characterization", NeurIPS 2022, arXiv:2209.08037.

    Examples
    --------
    >>> from skpapers.causal import CoLiDE
    >>> from skpapers.datasets import make_linear_sem
    >>> data = make_linear_sem(1000, n_features=5, n_edges=6, random_state=0)
    >>> learner = CoLiDE(noise="equal", alpha=0.05).fit(data.X)
    >>> bool(((learner.adjacency_ != 0) == (data.W != 0)).all())
    True
    >>> learner.noise_std_.round(1)
    array([1., 1., 1., 1., 1.])
    """

    _parameter_constraints = {
        "noise": [StrOptions({"equal", "nonequal"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "solver": [StrOptions({"auto", "prox_newton", "adam"})],
        "n_stages": [Interval(Integral, 1, None, closed="left")],
        "mu_init": [Interval(Real, 0, None, closed="neither")],
        "mu_factor": [Interval(Real, 0, 1, closed="right")],
        "s": ["array-like"],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "warm_iter": [Interval(Integral, 1, None, closed="left"), None],
        "learning_rate": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
        ],
        "tol": [Interval(Real, 0, None, closed="left")],
        "w_threshold": [Interval(Real, 0, None, closed="left")],
        "init": ["array-like", None],
        "forbidden_edges": ["array-like", None],
        "required_edges": ["array-like", None],
        "tiers": ["array-like", None],
        "refit": [StrOptions({"ols", "bic"}), None],
        "scale": [StrOptions({"common"}), None],
        "self_loops": ["boolean"],
        "noise_floor": [Interval(Real, 0, None, closed="neither")],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        noise="equal",
        alpha=0.05,
        *,
        solver="auto",
        n_stages=4,
        mu_init=1.0,
        mu_factor=0.1,
        s=(1.0, 0.9, 0.8, 0.7),
        max_iter=None,
        warm_iter=None,
        learning_rate="auto",
        tol=1e-6,
        w_threshold=0.3,
        init=None,
        forbidden_edges=None,
        required_edges=None,
        tiers=None,
        refit=None,
        scale=None,
        self_loops=False,
        noise_floor=1e-2,
        verbose=0,
    ):
        self.noise = noise
        self.alpha = alpha
        self.solver = solver
        self.n_stages = n_stages
        self.mu_init = mu_init
        self.mu_factor = mu_factor
        self.s = s
        self.max_iter = max_iter
        self.warm_iter = warm_iter
        self.learning_rate = learning_rate
        self.tol = tol
        self.w_threshold = w_threshold
        self.init = init
        self.forbidden_edges = forbidden_edges
        self.required_edges = required_edges
        self.tiers = tiers
        self.refit = refit
        self.scale = scale
        self.self_loops = self_loops
        self.noise_floor = noise_floor
        self.verbose = verbose

    def _learn(self, C, n_samples, columns):
        allowed, required = self._knowledge(columns)
        learning_rate, stages = self._plan()
        W = self._start(columns)
        self._warn_if_singular(
            C,
            n_samples,
            columns,
            "the covariance is singular and noise levels may fall to noise_floor. "
            "Collect more rows, drop columns, or raise alpha.",
        )
        unit = np.sqrt(np.diag(C).min()) if self.scale == "common" else 1.0
        free = allowed | np.eye(len(C), dtype=bool) if self.self_loops else allowed
        score = make_score(
            C / unit**2,
            self.noise == "equal",
            self.alpha,
            self.noise_floor,
            free,
            required,
        )
        W, sigma, history = self._follow_path(score, stages, W, learning_rate)
        adjacency, support, cut = cut_to_dag(W, self.w_threshold, required)
        order = topological_order(support)
        if self.refit == "ols":
            adjacency = refit_ols(C, support)
        elif self.refit == "bic":
            adjacency = sparsify(
                C, n_samples, order, "bic_l0", allowed=allowed, required=required
            )
        return LearnedDAG(
            adjacency=adjacency,
            raw_adjacency=W,
            order=order,
            noise_std=sigma * unit,
            attributes={
                "objective": history[-1]["score"],
                "h_value": history[-1]["h"],
                "n_iter": sum(record["n_iter"] for record in history),
                "converged": history[-1]["converged"],
                "threshold": float(cut),
                "history": history,
            },
        )

    def _follow_path(self, score, stages, W, learning_rate):
        """Solve one stage after the other; return W, sigma and the records."""
        W = W * score.free
        sigma = score.floor / self.noise_floor  # the paper starts at 100 floors
        history = []
        for stage in reported(self, stages, "stage"):
            W, sigma, record = solve_stage(
                score, stage, W, sigma, self.tol, learning_rate
            )
            history.append(record)
            if self.verbose:
                numbers = ", ".join(f"{k}={v:.6g}" for k, v in record.items())
                print(f"[CoLiDE] stage {len(history)} of {len(stages)}: {numbers}")
        if not record["converged"]:
            warn(
                f"The last stage ended after {record['n_iter']} iterations at a "
                f"relative change of {record['change']:.1e} > tol={self.tol:.1e} "
                f"(objective {record['objective']:.6g}): raise max_iter or tol.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return W, sigma, history

    def _knowledge(self, columns):
        """Return the masks of allowed and of required edges among these columns."""
        names = self.get_feature_names_out()
        masks = edge_knowledge(
            names, self.forbidden_edges, self.required_edges, self.tiers
        )
        return restrict_knowledge(*masks, columns, names)

    def _plan(self):
        """Return the learning rate, None for proximal Newton steps, and the stages."""
        s = np.asarray(self.s, dtype=np.float64)
        if s.ndim != 1 or len(s) == 0 or not (s > 0).all() or (np.diff(s) > 0).any():
            raise ValueError(
                f"s must be a sequence of positive numbers that do not increase, got "
                f"{self.s!r}."
            )
        if self.solver == "adam":
            auto = self.learning_rate == "auto"
            learning_rate = LEARNING_RATE if auto else float(self.learning_rate)
            ways = WARM_WAY, LAST_WAY
            budgets = [max(1, round(way / learning_rate)) for way in ways]
        else:
            learning_rate, budgets = None, (NEWTON_WARM_ITER, NEWTON_LAST_ITER)
        given = self.warm_iter, self.max_iter
        budgets = [b if g is None else g for g, b in zip(given, budgets, strict=True)]
        path = self.n_stages, self.mu_init, self.mu_factor, s
        return learning_rate, make_stages(*path, *budgets)

    def _start(self, columns):
        """Return the W to start from."""
        if self.init is None:
            return np.zeros((len(columns), len(columns)))
        d = self.n_features_in_
        init = check_adjacency(self.init, name="init", acyclic=True)
        if init.shape != (d, d):
            raise ValueError(f"init must have shape ({d}, {d}), got {init.shape}.")
        names = node_names(self.init)
        if names is not None and names != list(self.get_feature_names_out()):
            raise ValueError(
                f"init must have the columns of the data, in their order, got {names}."
            )
        return init[np.ix_(columns, columns)].astype(np.float64)
