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

References
----------
C. Deng, K. Bello, B. Aragam, P. Ravikumar, "Optimizing NOTEARS objectives via
topological swaps", ICML 2023, PMLR 202, 7563-7595.
"""

from numbers import Integral, Real
from warnings import warn

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import chi2
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch, check_random_state

from skpapers.causal._base import BaseLinearDAG, LearnedDAG, residual_variances
from skpapers.causal._bic_search import KICKS, bic_order_search
from skpapers.causal._general_losses import GeneralLossMixin
from skpapers.causal._knowledge import edge_knowledge, restrict_knowledge
from skpapers.causal._markov_class import bic
from skpapers.causal._order_search import (
    ACYCLICITY,
    LOSSES,
    SWEEPS,
    check_order,
    make_search,
)
from skpapers.causal._sparsify import refit_ols, sparsify
from skpapers.metrics import dag_to_cpdag
from skpapers.utils._array_api import to_numpy
from skpapers.utils._callbacks import reported
from skpapers.utils._graph import (
    check_adjacency,
    check_same_nodes,
    node_names,
    threshold_to_dag,
    topological_order,
)
from skpapers.utils._sklearn import HasMethods, Interval, StrOptions

JITTER = 1e-10  # added to the variances of a singular covariance, relative to them
_SIZE = [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})]


def power_of_four(C):
    """Return the largest variance, rounded to a power of four.

    Dividing C by it is exact and keeps squares of the inverse factor in range.
    """
    return 4.0 ** np.round(np.log2(np.diag(C).max()) / 2)


def largest_gradient(C, W, order):
    """Return max |dQ/dW| of the least squares loss over the edges the order allows."""
    gradient = C @ W - C
    return float(np.abs(np.triu(gradient[np.ix_(order, order)], k=1)).max(initial=0.0))


def equal_variance_bic(C, n_samples, W, penalty):
    """Return the BIC of a graph whose noise variances are equal."""
    mean_variance = residual_variances(C, W).mean()
    n_edges = np.count_nonzero(W)
    fit = n_samples * len(C) * np.log(mean_variance)
    return float(fit + (penalty * n_edges + 1) * np.log(n_samples))


def equal_variance_pvalue(C, n_samples, W):
    """Return the p-value of the likelihood ratio test of equal noise variances."""
    variances = residual_variances(C, W)
    d = len(variances)
    ratio = n_samples * (d * np.log(variances.mean()) - np.log(variances).sum())
    return float(chi2.sf(max(ratio, 0.0), d - 1)) if d > 1 else 1.0


class TopologicalSwap(GeneralLossMixin, BaseLinearDAG):
    r"""Linear causal graph by an exact local search over causal orders.

    Looks for the causal order in which regressions of each variable on all its
    predecessors leave the smallest residual variances,

    .. math:: \min_{\pi} \min_{W \text{ agrees with } \pi}
              \tfrac{1}{2n} \lVert X - XW \rVert_F^2,

    and then for the sparse graph that agrees with it. This is the problem of NOTEARS,
    solved by moves of single nodes in the order (TOPO [1]_) instead of gradients. Every
    move is scored exactly from a Cholesky factor, so that 1000 variables take about a
    second.

    The least squares score identifies the graph if all noise terms have about the same
    variance *in the given units*. On standardised columns, or if the noise variances
    differ much, it is no better than a guess; columns are never rescaled here.

    Parameters
    ----------
    loss : {"squared", "sum_std", "bic", "auto", "logistic"} or callable, \
            default="squared"
        What the search minimises:

        - "squared": half the sum of the residual variances of all-predecessor
          regressions. Right if the noise variances are equal in the given units.
        - "sum_std": the sum of the residual standard deviations, CoLiDE's profiled
          noise score; it weighs small noise terms more, but its optimum need not be the
          true order.
        - "bic": the BIC of the sparse graph itself, n log(residual variance) summed
          over the variables, plus ``penalty`` log(n) an edge. It does not depend on the
          units, and identifies the graph up to Markov equivalence: see `cpdag_`.
        - "auto": both "squared" and "bic"; of the two graphs the one with the lower
          BIC, in which equal variances count as a single parameter. With prior
          knowledge it is "bic".
        - "logistic", for columns of zeros and ones: the mean negative log-likelihood of
          l1-logistic regressions with strength ``alpha``. With ``sparsifier="bic_l0"``
          every order is scored by its best sparse graph, an edge at the price
          ``penalty`` log(n) / (2n): complete graphs of different orders hardly differ
          on such data. The weights are log-odds.
        - callable: ``loss(P, x) -> (score, weights)`` regresses the centred column x of
          shape (n_samples,) on its centred predecessors P of shape (n_samples, k), k
          may be 0; the score of an order is the sum over its columns. With "bic_l0" and
          "adaptive_lasso" the final parents are chosen by least squares and their
          weights refitted by the callable.

        The last two need the rows of the table (no `partial_fit`, `fit_covariance` or
        prior knowledge) and insert nodes, whatever the ``neighborhood``. With the
        default ``init`` they start from a linear search: "logistic" with "bic_l0" from
        the order of "bic", the others from that of "squared".

    neighborhood : {"insertion", "exchange", "both", "paper"}, default="insertion"
        Moves of the search. "insertion" takes each node to its best position, O(d²)
        for all moves; "exchange" lets pairs change places, O(d³); "both" ends in an
        order that is optimal for either. "paper" is the published algorithm: it
        exchanges only pairs of candidate sets, and needs a good deal more time.

    init : {"variance", "random"}, array-like or estimator, default="variance"
        Where the search starts:

        - "variance": columns by rising variance,
        - "random": a random order,
        - array-like of shape (`n_features_in_`,): column indices, causes first,
        - array-like of shape (`n_features_in_`, `n_features_in_`): a weighted
          adjacency; cycles are cut at their weakest edges,
        - a fitted estimator with `causal_order_` or `adjacency_`: its graph. An
          unfitted learner of this family (also one that `sklearn.base.clone` has
          reset) is fitted to the data first.

    size_small : int or "auto", default="auto"
        Size of the candidate set that "paper" tries first. "auto" is 1.5 d for most
        numbers d of columns.

    size_large : int or "auto", default="auto"
        Size of the candidate set that "paper" tries when the small one does not help.
        "auto" is sqrt(d) (d - 1) log10(d), at least 1.5 d.

    n_large : int or "auto", default="auto"
        How often "paper" may use the large set. "auto" is 1, and 0 below 10 columns.

    acyclicity : {"logdet", "expm", "binomial"}, default="logdet"
        Acyclicity function whose gradient ranks the candidates of "paper".

    sparsifier : {"bic_l0", "adaptive_lasso", "threshold"} or None, default="bic_l0"
        How the final graph is chosen from the dense one of the order. "bic_l0" searches
        the parents of each variable by BIC, "adaptive_lasso" by an adaptive lasso with
        BIC, "threshold" only cuts small weights, None keeps all edges of the order.

    penalty : float, default=2.0
        Price of an edge in "bic_l0" and in ``loss="bic"``, in units of log(n_samples);
        1 is the textbook BIC.

    max_parents : int, default=None
        Largest number of parents in "bic_l0" and in ``loss="bic"``. None stands for 48,
        but for "bic_l0" with up to 300 columns sets no limit.

    n_restarts : int, default=100
        Number of restarts of "bic", each from near the best graph so far.

    kick : {"swap", "edge"}, default="swap"
        How a restart of "bic" disturbs the order: random variables change places, or
        random edges are turned around, which is faster and about as good.

    time_budget : float, default=None
        Seconds after which "bic" begins no restart; ``n_restarts`` then does not count,
        and the result depends on the speed of the machine.

    forbidden_edges : bool array or pairs, default=None
        Edges that the graph may not have: a boolean mask of shape (`n_features_in_`,
        `n_features_in_`), or (cause, effect) pairs of column names or indices. Needs
        ``loss="bic"`` or "auto", as do the next two.

    required_edges : bool array or pairs, default=None
        Edges that the graph must have, in the same formats.

    tiers : sequence of sequences, default=None
        Groups of columns (names or indices), causes first: no edge leads from a later
        group to an earlier one.

    w_threshold : float or "auto", default="auto"
        Weights smaller than this in absolute value are cut at the end. "auto" is 0.3
        for "adaptive_lasso" and "threshold", else 0.

    alpha : float, default=0.0
        Ridge penalty of the regressions that score an order, added to the diagonal of
        the covariance (in squared units of the data). It does not enter the final
        sparse regressions.

    n_init : int, default=1
        Number of starts. The first is ``init``, the others are random orders; the
        result of smallest score is kept.

    max_iter : int, default=10000
        Largest number of sweeps over all nodes (rounds of "paper") per start.

    tol : float, default=1e-10
        A move must lower the score by more than this fraction.

    random_state : int, RandomState instance or None, default=None
        Source of the random orders. The result for a given seed does not depend on
        ``n_jobs``.

    n_jobs : int, default=None
        Number of starts searched at the same time. None means 1 unless in a
        `joblib.parallel_config` context.

    verbose : int, default=0
        Whether to print a line a start.

    Attributes
    ----------
    adjacency_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        Weights of the sparse graph; ``adjacency_[i, j] != 0`` means i -> j.

    raw_adjacency_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        Weights of the regressions on all predecessors.

    causal_order_ : ndarray of shape (`n_features_in_`,)
        Columns, causes first. Constant columns are put last.

    noise_std_ : ndarray of shape (`n_features_in_`,)
        Standard deviation of the noise of the sparse graph.

    loss_ : str
        The loss of the graph: what "auto" has chosen, else ``loss``.

    equal_variance_pvalue_ : float
        Of the likelihood ratio test of equal noise variances on the graph of "squared"
        or "sum_std"; small values speak against them. nan for ``loss="bic"``, since any
        wrong direction would make it small.

    bic_ : float
        BIC of the graph with a noise variance for each variable, see `bic_score`.

    objective_ : float
        Score of the order, or BIC of the graph for "bic".

    start_objective_ : float
        Score of the order of the first start.

    history_ : list of float
        Score at the start and after each accepted move of the best start; it falls. For
        "bic" the lowest score so far, after the first descent and each restart.

    n_moves_ : int
        Number of accepted moves of the best start; for "bic", of restarts that lowered
        the score.

    n_iter_ : int
        Number of sweeps, or rounds of "paper", of the best start; for "bic", 1 plus
        the number of restarts.

    n_large_used_ : int
        How often the large candidate set of "paper" helped.

    kkt_violation_ : float
        Largest absolute derivative of the least squares loss (with the ridge) at
        ``raw_adjacency_``, over all edges that the order allows; nan for "bic".

    residual_std_ : ndarray of shape (`n_features_in_`,)
        Standard deviation of what the parents leave over.

    intercept_ : ndarray of shape (`n_features_in_`,)
        Log-odds of each variable when its parents are 0, nan for constant columns. Only
        with ``loss="logistic"``.

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

    See Also
    --------
    polish_dag : Improve the graph of another method.
    best_order_exact : Exhaustive search for a few variables.

    Notes
    -----
    A sweep of "insertion" costs O(d²) and each move O(m d) for a distance of m
    positions; about ten sweeps suffice. The covariance costs n d², the final "bic_l0"
    at most O(d⁴ / 24). Memory: a few d x d matrices.

    The losses that need the rows fit at most 2 d (d - 1) regressions a sweep on all
    predecessors; "logistic" with "bic_l0" fits about k d for each of them to choose k
    parents, so a graph of 20 columns takes seconds.

    With no more rows than columns, or with linearly dependent columns, the covariance
    is singular. Then 1e-10 of each variance is added to it, with a warning.

    References
    ----------
    .. [1] C. Deng, K. Bello, B. Aragam, P. Ravikumar, "Optimizing NOTEARS objectives
       via topological swaps", ICML 2023, PMLR 202, 7563-7595.

    Examples
    --------
    >>> from skpapers.causal import TopologicalSwap
    >>> from skpapers.datasets import make_linear_sem
    >>> data = make_linear_sem(1000, n_features=5, n_edges=6, random_state=0)
    >>> learner = TopologicalSwap(loss="squared").fit(data.X)
    >>> bool(((learner.adjacency_ != 0) == (data.W != 0)).all())
    True
    """

    _parameter_constraints = {
        "loss": [StrOptions({*LOSSES, "bic", "auto", "logistic"}), callable],
        "neighborhood": [StrOptions({*SWEEPS, "paper"})],
        "init": [
            StrOptions({"variance", "random"}),
            "array-like",
            HasMethods("get_params"),
        ],
        "size_small": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "size_large": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "n_large": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "acyclicity": [StrOptions(set(ACYCLICITY))],
        "sparsifier": [StrOptions({"bic_l0", "adaptive_lasso", "threshold"}), None],
        "penalty": [Interval(Real, 0, None, closed="left")],
        "max_parents": [Interval(Integral, 1, None, closed="left"), None],
        "n_restarts": [Interval(Integral, 0, None, closed="left")],
        "kick": [StrOptions(set(KICKS))],
        "time_budget": [Interval(Real, 0, None, closed="left"), None],
        "forbidden_edges": ["array-like", None],
        "required_edges": ["array-like", None],
        "tiers": ["array-like", list, tuple, None],
        "w_threshold": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, 1, closed="left")],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        loss="squared",
        *,
        neighborhood="insertion",
        init="variance",
        size_small="auto",
        size_large="auto",
        n_large="auto",
        acyclicity="logdet",
        sparsifier="bic_l0",
        penalty=2.0,
        max_parents=None,
        n_restarts=100,
        kick="swap",
        time_budget=None,
        forbidden_edges=None,
        required_edges=None,
        tiers=None,
        w_threshold="auto",
        alpha=0.0,
        n_init=1,
        max_iter=10000,
        tol=1e-10,
        random_state=None,
        n_jobs=None,
        verbose=0,
    ):
        self.loss = loss
        self.neighborhood = neighborhood
        self.init = init
        self.size_small = size_small
        self.size_large = size_large
        self.n_large = n_large
        self.acyclicity = acyclicity
        self.sparsifier = sparsifier
        self.penalty = penalty
        self.max_parents = max_parents
        self.n_restarts = n_restarts
        self.kick = kick
        self.time_budget = time_budget
        self.forbidden_edges = forbidden_edges
        self.required_edges = required_edges
        self.tiers = tiers
        self.w_threshold = w_threshold
        self.alpha = alpha
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @property
    def cpdag_(self):
        """Markov equivalence class of the graph, as of `skpapers.metrics.dag_to_cpdag`.

        ``cpdag_[i, j] = 1`` and ``cpdag_[j, i] = 0`` is an edge i -> j of all members;
        1 in both is an edge that has either direction.
        """
        return dag_to_cpdag(to_numpy(self.adjacency_) != 0)

    def _learn(self, C, n_samples, columns):
        knowledge = (self.forbidden_edges, self.required_edges, self.tiers)
        informed = any(item is not None for item in knowledge)
        if self.loss in LOSSES:
            if informed:
                raise ValueError(
                    f"loss={self.loss!r} takes no forbidden_edges, required_edges or "
                    "tiers: set loss='bic'."
                )
            return self._learn_order(C, n_samples, columns, self.loss)
        graph = self._learn_bic(C, n_samples, columns)
        if self.loss == "bic" or informed:
            return graph
        ordered = self._learn_order(C, n_samples, columns, "squared")
        attributes = ordered.attributes
        equal = equal_variance_bic(C, n_samples, ordered.adjacency, self.penalty)
        unequal = graph.attributes["bic"] + len(C) * np.log(n_samples)
        if equal < unequal:
            return ordered
        graph.attributes["equal_variance_pvalue"] = attributes["equal_variance_pvalue"]
        return graph

    def _learn_bic(self, C, n_samples, columns):
        """Search for the graph of lowest BIC."""
        allowed, required = restrict_knowledge(
            *edge_knowledge(
                self.get_feature_names_out(),
                self.forbidden_edges,
                self.required_edges,
                self.tiers,
            ),
            columns,
            self.get_feature_names_out(),
        )
        start = None
        if not (isinstance(self.init, str) and self.init == "variance"):
            start = self._starts(C, n_samples, columns)[0]
        rng = check_random_state(self.random_state)
        result = bic_order_search(
            C,
            n_samples,
            penalty=self.penalty,
            n_restarts=self.n_restarts,
            kick=self.kick,
            max_parents=self.max_parents,
            order=start,
            time_budget=self.time_budget,
            allowed=allowed,
            required=required,
            seeds=rng.randint(np.iinfo(np.int32).max, size=self.n_init).tolist(),
            n_jobs=self.n_jobs,
        )
        if len(result.capped) and result.parents.sum(axis=0).max() < n_samples - 2:
            warn(
                f"{len(result.capped)} variables have as many parents as max_parents="
                f"{self.max_parents} allows although more would lower the BIC: raise "
                f"max_parents or penalty={self.penalty}.",
                ConvergenceWarning,
                stacklevel=2,
            )
        if self.verbose:
            print(
                f"[TopologicalSwap] BIC {result.path[0]:.6g} after the first descent, "
                f"{result.score:.6g} after {len(result.path) - 1} restarts."
            )
        raw = refit_ols(C, result.parents)
        adjacency = self._cut(raw)
        return LearnedDAG(
            adjacency=adjacency,
            raw_adjacency=raw,
            order=result.order,
            noise_std=np.sqrt(residual_variances(C, adjacency)),
            attributes={
                "loss": "bic",
                "equal_variance_pvalue": np.nan,
                "bic": bic(C, n_samples, adjacency != 0, self.penalty),
                "objective": result.score,
                "start_objective": float(result.path[0]),
                "history": result.path.tolist(),
                "n_moves": int(np.count_nonzero(np.diff(result.path) < 0)),
                "n_iter": len(result.path),
                "n_large_used": 0,
                "kkt_violation": np.nan,
            },
        )

    def _learn_order(self, C, n_samples, columns, loss):
        """Search for the best order, then for the sparse graph."""
        unit = power_of_four(C)
        inner = self._inner_covariance(C / unit, self.alpha / unit, n_samples, columns)
        starts = self._starts(C, n_samples, columns)
        best, start_score = self._search(inner, starts, loss)
        order, raw = best.state.order, best.state.weights()
        history = np.array(best.history)
        score_unit = unit if loss == "squared" else np.sqrt(unit)
        adjacency = self._sparse_weights(C, n_samples, order, raw)
        return LearnedDAG(
            adjacency=adjacency,
            raw_adjacency=raw,
            order=order,
            noise_std=np.sqrt(residual_variances(C, adjacency)),
            attributes={
                "loss": loss,
                "equal_variance_pvalue": equal_variance_pvalue(C, n_samples, adjacency),
                "bic": bic(C, n_samples, adjacency != 0, self.penalty),
                "objective": float(history[-1] * score_unit),
                "start_objective": float(start_score * score_unit),
                "history": (history * score_unit).tolist(),
                "n_moves": len(history) - 1,
                "n_iter": best.n_iter,
                "n_large_used": best.n_large_used,
                "kkt_violation": largest_gradient(inner, raw, order) * unit,
            },
        )

    def _inner_covariance(self, C, alpha, n_samples, columns):
        """Return the positive definite covariance that scores orders."""
        if alpha > 0:
            return C + alpha * np.eye(len(C))
        singular = self._warn_if_singular(
            C,
            n_samples,
            columns,
            f"{JITTER} of each variance was added to the singular covariance. Collect "
            "more rows, drop columns, or set alpha > 0.",
        )
        if not singular:
            return C
        return C + JITTER * np.diag(np.diag(C))

    def _starts(self, C, n_samples, columns):
        """Return the start orders, each random one from a seed of its own."""
        rng = check_random_state(self.random_state)
        seeds = rng.randint(np.iinfo(np.int32).max, size=self.n_init)
        starts = [np.random.RandomState(seed).permutation(len(C)) for seed in seeds]
        if isinstance(self.init, str):
            if self.init == "variance":
                starts[0] = np.argsort(np.diag(C), kind="stable")
        elif hasattr(self.init, "get_params"):
            starts[0] = self._order_of_estimator(C, n_samples, columns)
        else:
            starts[0] = self._among(columns, self._order_of_array(self.init, "init"))
        return starts

    @staticmethod
    def _among(columns, order):
        """Restrict an order of all columns to these, numbered by their place."""
        return np.searchsorted(columns, order[np.isin(order, columns)])

    def _order_of_estimator(self, C, n_samples, columns):
        """Return the order of a fitted learner, or fit it to these columns."""
        learner = self.init
        if hasattr(learner, "causal_order_"):
            order = to_numpy(learner.causal_order_)
            order = check_order(order, self.n_features_in_, "init.causal_order_")
        elif hasattr(learner, "adjacency_"):
            W = to_numpy(learner.adjacency_)
            order = self._order_of_array(W, "init.adjacency_")
        elif hasattr(learner, "fit_covariance"):
            return clone(learner).fit_covariance(C, n_samples).causal_order_
        else:
            raise ValueError(
                f"init={learner!r} is neither fitted (no causal_order_ or adjacency_) "
                "nor has it a method fit_covariance. Fit it first."
            )
        return self._among(columns, order)

    def _order_of_array(self, init, name):
        """Return the order of all columns that an order or adjacency stands for."""
        d = self.n_features_in_
        if np.ndim(init) < 2:
            return check_order(init, d, name)
        names = node_names(init)
        known = getattr(self, "feature_names_in_", None)
        if names is not None and known is not None and names != list(known):
            raise ValueError(f"{name} has the columns {names}, X has {list(known)}.")
        W = check_adjacency(init, name=name)
        if len(W) != d:
            raise ValueError(f"{name} has {len(W)} nodes, but X has {d} columns.")
        return topological_order(threshold_to_dag(W, threshold=0.0)[0])

    def _search(self, C, starts, loss):
        """Return the best search of all starts and the score of the first order."""
        search = make_search(
            self.neighborhood,
            loss,
            len(C),
            tol=self.tol,
            max_iter=self.max_iter,
            acyclicity=self.acyclicity,
            size_small=self.size_small,
            size_large=self.size_large,
            n_large=self.n_large,
        )
        # Threads: the kernels release the interpreter
        parallel = Parallel(self.n_jobs, prefer="threads", return_as="generator")
        results = parallel(delayed(search)(C, start) for start in starts)
        best = start_score = None
        for r in reported(self, range(len(starts)), "start"):
            try:
                result = next(results)
            except np.linalg.LinAlgError:
                raise ValueError(
                    "The covariance is not positive definite: its columns differ too "
                    f"much in scale, or alpha={self.alpha} is too small."
                ) from None
            if r == 0:
                start_score = result.history[0]
            if self.verbose:
                print(
                    f"[TopologicalSwap] start {r + 1}/{len(starts)}: score "
                    f"{result.history[-1]:.6g} after {len(result.history) - 1} moves."
                )
            if best is None or result.history[-1] < best.history[-1]:
                best = result
        if not best.converged:
            warn(
                f"The search stopped after max_iter={self.max_iter} sweeps with score "
                f"{best.history[-1]:.6g}: raise max_iter.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return best, start_score

    def _sparse_weights(self, C, n_samples, order, raw):
        W = raw
        if self.sparsifier in ("bic_l0", "adaptive_lasso"):
            W = sparsify(
                C,
                n_samples,
                order,
                self.sparsifier,
                penalty=self.penalty,
                max_parents=self.max_parents,
            )
        wide = self.sparsifier in ("adaptive_lasso", "threshold")
        return self._cut(W, automatic=0.3 if wide else 0.0)

    def _cut(self, W, automatic=0.0):
        """Cut small weights."""
        cut = automatic if self.w_threshold == "auto" else self.w_threshold
        return np.where(np.abs(W) < cut, 0.0, W)


def polish_dag(X, adjacency, **params):
    """Improve the causal graph of another method by a local search over orders.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The table.
    adjacency : array-like of shape (n_features, n_features)
        Weighted adjacency to start from, ``adjacency[i, j] != 0`` means i -> j. If it
        has cycles, its weakest edges are cut until it has none.
    **params
        Parameters of `TopologicalSwap`, except for ``init``.

    Returns
    -------
    result : `sklearn.utils.Bunch`
        With the keys

        order : ndarray of shape (n_features,)
            Causal order, causes first.
        adjacency : ndarray of shape (n_features, n_features)
            Weights of the sparse graph.
        raw_adjacency : ndarray of shape (n_features, n_features)
            Weights of the regressions on all predecessors.
        score_before, score_after : float
            Score of the order of ``adjacency`` and of the result, both with regressions
            on all predecessors; `score_after` is never larger.
        n_moves : int
            Number of accepted moves.
        estimator : TopologicalSwap
            The fitted estimator, for predictions, interventions and the like.

    Raises
    ------
    ValueError
        If the adjacency does not fit the columns of X, or for bad parameters.

    See Also
    --------
    TopologicalSwap : The search.

    Notes
    -----
    The cost is that of `TopologicalSwap`, O(n d²) plus the search.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.causal import polish_dag
    >>> from skpapers.datasets import make_linear_sem
    >>> data = make_linear_sem(1000, n_features=5, n_edges=6, random_state=0)
    >>> reversed_graph = data.W.T
    >>> result = polish_dag(data.X, reversed_graph, loss="squared")
    >>> result.score_after < result.score_before
    True
    >>> bool(((result.adjacency != 0) == (data.W != 0)).all())
    True
    """
    if "init" in params:
        raise ValueError("polish_dag starts from adjacency: it takes no init.")
    check_same_nodes(X, adjacency, "X", "adjacency")
    adjacency = check_adjacency(adjacency, name="adjacency")
    estimator = TopologicalSwap(init=adjacency, **params).fit(X)
    return Bunch(
        order=estimator.causal_order_,
        adjacency=estimator.adjacency_,
        raw_adjacency=estimator.raw_adjacency_,
        score_before=estimator.start_objective_,
        score_after=estimator.objective_,
        n_moves=estimator.n_moves_,
        estimator=estimator,
    )
