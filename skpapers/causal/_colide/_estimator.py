# SPDX-License-Identifier: BSD-3-Clause
"""The estimator, on the paths of `_path` and `_arrays`."""

from numbers import Integral, Real
from warnings import warn

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skpapers.causal._base import BaseLinearDAG, LearnedDAG
from skpapers.causal._colide._arrays import ArrayPath
from skpapers.causal._colide._path import (
    LEARNING_RATE,
    NEWTON_LAST_ITER,
    NEWTON_WARM_ITER,
    CompiledPath,
    Plan,
    adam_budgets,
    make_stages,
    sparse_graph,
)
from skpapers.causal._colide._solve import (
    in_host_memory,
    solve_batch,
    warn_unfinished,
)
from skpapers.causal._knowledge import edge_knowledge, restrict_knowledge
from skpapers.utils._array_api import array_namespace, like, to_numpy
from skpapers.utils._callbacks import reported
from skpapers.utils._graph import check_adjacency, node_names
from skpapers.utils._sklearn import Interval, StrOptions
from skpapers.utils._threads import single_thread


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

    init : "order" or array-like of shape (n_features, n_features), default=None
        Weighted adjacency of a DAG to start from, None for the empty graph. Its
        forbidden edges are ignored. "order" searches a causal order first and starts
        from the graph of lowest score along it; of the stages only the last one
        follows.

    early_exit : int, default=None
        End the last stage when its graph, cut at ``w_threshold``, has been the same and
        without a cycle for so many checkpoints of "adam" or steps of "prox_newton". The
        weights are then those of lowest score along the causal order of that moment.
        None waits for ``tol``.

    float32_stages : int, default=0
        How many of the first stages "adam" runs in float32, which takes about two
        thirds of the time; "prox_newton" ignores it. Whatever comes after them, in
        float64, mends the rounding.

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
        objective (mu times score plus h), change, converged and settled (whether it
        ended by ``early_exit``).

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
    colide_batch : Many covariances or penalties at once, on any device.
    TopologicalSwap : Search over causal orders; the first choice for equal noise.
    skpapers.causal.sortability_report : How much of a result is due to units.

    Notes
    -----
    After one pass over the rows for the covariance, O(n d²), the number of rows no
    longer matters. A step of "prox_newton" costs O(d³) at worst and less where W is
    sparse, and 100 to 300 steps are usual; an iteration of "adam" costs one product of
    d x d matrices, O(d³), and there are 15000 to 40000. Both need some ten d x d
    matrices of memory. Up to a few hundred columns are practical.

    For equal noise levels ``init="order"`` finds lower scores and better graphs than
    the path from the empty graph, in a fraction of the time, and ``refit="bic"`` then
    does better still. For unequal noise levels the graphs are *worse*, even where the
    score is lower: the true order is not that of the lowest score.

    With array API dispatch enabled (`sklearn.set_config`), "adam" runs on the device of
    the table. Tables in host memory, those of PyTorch on the processor too, are left to
    the compiled kernels, which give the same result there and are faster. The other
    solver takes arrays of all libraries too, but of these only the covariance is formed
    on their device.

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
        "init": ["array-like", StrOptions({"order"}), None],
        "early_exit": [Interval(Integral, 1, None, closed="left"), None],
        "float32_stages": [Interval(Integral, 0, None, closed="left")],
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
        early_exit=None,
        float32_stages=0,
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
        self.early_exit = early_exit
        self.float32_stages = float32_stages
        self.forbidden_edges = forbidden_edges
        self.required_edges = required_edges
        self.tiers = tiers
        self.refit = refit
        self.scale = scale
        self.self_loops = self_loops
        self.noise_floor = noise_floor
        self.verbose = verbose

    def learn_batch(self, covariances, n_samples, *, feature_names=None, n_jobs=None):
        """Learn the graphs of many covariances with these parameters.

        For resamples, where only the graphs count: nothing is stored in the estimator,
        and nothing is said of singular covariances.

        Parameters
        ----------
        covariances : array of shape (n_problems, n_features, n_features)
            Covariances of the same columns, valid as from a fit. Columns of variance
            zero are left without edges.
        n_samples : float
            Number of rows behind each of them.
        feature_names : sequence of str, default=None
            Column names, if parameters speak of columns by name.
        n_jobs : int, default=None
            Number of threads, for arrays in host memory.

        Returns
        -------
        array of shape (n_problems, n_features, n_features)
            Weights of the acyclic graphs, in the library, place and type of
            ``covariances``.

        Warns
        -----
        ConvergenceWarning
            If problems ended before the change of their objective fell to ``tol``.

        See Also
        --------
        colide_batch : Checks its input and returns all results.
        """
        B, d = covariances.shape[:2]
        names = [f"x{j}" for j in range(d)] if feature_names is None else feature_names
        plan = self._plan(list(names), np.arange(d))
        compiled = plan.learning_rate is None or in_host_memory(covariances)
        alpha, n = np.full(B, float(self.alpha)), np.full(B, float(n_samples))
        with single_thread():
            found = solve_batch(plan, covariances, alpha, n, compiled, n_jobs)
        warn_unfinished(found["converged"], self.tol)
        return like(found["adjacency"], covariances, dtype=covariances.dtype)

    def _learn_from(self, moments, reference, rows=None):
        """Remember where the table lives while learning."""
        self._reference = reference
        super()._learn_from(moments, reference, rows)
        del self._reference

    def _learn(self, C, n_samples, columns):
        plan = self._plan(list(self.get_feature_names_out()), columns)
        self._warn_if_singular(
            C,
            n_samples,
            columns,
            "the covariance is singular and noise levels may fall to noise_floor. "
            "Collect more rows, drop columns, or raise alpha.",
        )
        W, sigma, history = self._follow_path(plan, C)
        adjacency, order, cut = sparse_graph(plan, C, n_samples, W)
        return LearnedDAG(
            adjacency=adjacency,
            raw_adjacency=W,
            order=order,
            noise_std=sigma,
            attributes={
                "objective": history[-1]["score"],
                "h_value": history[-1]["h"],
                "n_iter": sum(record["n_iter"] for record in history),
                "converged": history[-1]["converged"],
                "threshold": cut,
                "history": history,
            },
        )

    def _follow_path(self, plan, C):
        """Solve one stage after the other; return W, sigma and the records."""
        reference = self._reference
        on_host = plan.learning_rate is None or in_host_memory(reference)
        if on_host:
            path = CompiledPath(plan, C, self.alpha)
        else:
            path = ArrayPath(plan, *_batch_of_one(C, self.alpha, plan, reference))
        history = []
        for stage in reported(self, plan.stages, "stage"):
            record = path.run(stage)
            if not on_host:
                record = {key: value[0].item() for key, value in record.items()}
            history.append(record)
            if self.verbose:
                numbers = ", ".join(f"{k}={v:.6g}" for k, v in record.items())
                print(f"[CoLiDE] stage {len(history)} of {len(plan.stages)}: {numbers}")
        if not record["converged"]:
            warn(
                f"The last stage ended after {record['n_iter']} iterations at a "
                f"relative change of {record['change']:.1e} > tol={self.tol:.1e} "
                f"(objective {record['objective']:.6g}): raise max_iter or tol.",
                ConvergenceWarning,
                stacklevel=2,
            )
        if on_host:
            return path.W, path.sigma, history
        W, sigma = (to_numpy(x)[0].astype(np.float64) for x in (path.W, path.sigma))
        return W, sigma, history

    def _plan(self, names, columns):
        """Return what is to be done with a covariance of some of the named columns."""
        allowed, required = restrict_knowledge(
            *edge_knowledge(
                names, self.forbidden_edges, self.required_edges, self.tiers
            ),
            columns,
            names,
        )
        learning_rate, stages = self._stages()
        init = self._start(names, columns)
        return Plan(
            equal=self.noise == "equal",
            noise_floor=float(self.noise_floor),
            common_unit=self.scale == "common",
            allowed=allowed,
            required=required,
            self_loops=self.self_loops,
            stages=stages[-1:] if isinstance(init, str) else stages,
            learning_rate=learning_rate,
            tol=float(self.tol),
            cut=float(self.w_threshold),
            refit=self.refit,
            init=init,
        )

    def _stages(self):
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
            budgets = adam_budgets(learning_rate)
        else:
            learning_rate, budgets = None, (NEWTON_WARM_ITER, NEWTON_LAST_ITER)
        given = self.warm_iter, self.max_iter
        budgets = [b if g is None else g for g, b in zip(given, budgets, strict=True)]
        path = self.n_stages, self.mu_init, self.mu_factor, s
        options = self.float32_stages, self.early_exit
        return learning_rate, make_stages(*path, *budgets, *options)

    def _start(self, names, columns):
        """Return the W to start from, or how to find it."""
        if self.init is None or isinstance(self.init, str):
            return self.init
        d = len(names)
        init = check_adjacency(self.init, name="init", acyclic=True)
        if init.shape != (d, d):
            raise ValueError(f"init must have shape ({d}, {d}), got {init.shape}.")
        given = node_names(self.init)
        if given is not None and given != names:
            raise ValueError(
                f"init must have the columns of the data, in their order, got {given}."
            )
        return init[np.ix_(columns, columns)].astype(np.float64)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = self.solver == "adam"
        return tags


def _batch_of_one(C, alpha, plan, reference):
    """Return a covariance and its alpha as a batch where the reference lives."""
    xp = array_namespace(reference)
    single = all(stage.single for stage in plan.stages)
    kind = xp.float32 if single else xp.float64
    return (
        like(C[None], reference, dtype=kind),
        like(np.array([float(alpha)]), reference, dtype=kind),
    )
