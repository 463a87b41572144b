# SPDX-License-Identifier: BSD-3-Clause
"""The estimator: parameters, what they mean, and which search they call."""

from numbers import Integral, Real

from skpapers.causal._base import BaseLinearDAG
from skpapers.causal._bic_search import KICKS
from skpapers.causal._order_search import ACYCLICITY, LOSSES, SWEEPS
from skpapers.causal._topological_swap._linear import (
    learn_by_bic,
    learn_by_evidence,
    learn_by_order,
)
from skpapers.causal._topological_swap._rows import RowLossMixin
from skpapers.metrics import dag_to_cpdag
from skpapers.utils._array_api import to_numpy
from skpapers.utils._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    check_sample_weight,
)

_SIZE = [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})]


class TopologicalSwap(RowLossMixin, BaseLinearDAG):
    r"""Causal graph by a local search over causal orders.

    By default two linear models are fitted and the one that the data speak for is kept:
    one whose noise variances are equal, and one whose noise variances are free.

    The first looks for the causal order in which regressions of each variable on all
    its predecessors leave the smallest residual variances,

    .. math:: \min_{\pi} \min_{W \text{ agrees with } \pi}
              \tfrac{1}{2n} \lVert X - XW \rVert_F^2,

    and then for the sparse graph that agrees with it. This is the problem of NOTEARS,
    solved by moves of single nodes in the order (TOPO [1]_) instead of gradients. Every
    move is scored exactly from a Cholesky factor, so that 1000 variables take about a
    second. Its score identifies the graph if all noise terms have about the same
    variance *in the given units*; on standardised columns, or if the noise variances
    differ much, it is no better than a guess.

    The second looks for the sparse graph of lowest BIC, again over orders. It does not
    depend on units, but says no more than the Markov equivalence class of the graph.

    Columns are never rescaled here.

    Parameters
    ----------
    loss : str or callable, default="auto"
        What the search minimises; "auto", "squared", "sum_std", "bic", "logistic" or a
        callable:

        - "auto": both "squared" and "bic"; of the two graphs the one with the lower
          BIC, in which equal variances count as a single parameter. How much sample
          variances differ by chance is taken from the kurtosis of the residuals; it is
          not known in `partial_fit` and `fit_covariance`, where that of normal noise
          takes its place. `loss_choice_` tells why.
        - "squared": half the sum of the residual variances of all-predecessor
          regressions. Right if the noise variances are equal in the given units.
        - "sum_std": the sum of the residual standard deviations, CoLiDE's profiled
          noise score; it weighs small noise terms more, but its optimum need not be the
          true order.
        - "bic": the BIC of the sparse graph itself, n log(residual variance) summed
          over the variables, plus ``penalty`` log(n) an edge. It does not depend on the
          units, and identifies the graph up to Markov equivalence: see `cpdag_`.
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

        The last two need the rows of the table (no `partial_fit` or `fit_covariance`)
        and insert nodes, whatever the ``neighborhood``, as "squared" and "sum_std" do
        under prior knowledge. With the default ``init`` they start from a linear
        search: "logistic" with "bic_l0" from the order of "bic", the others from that
        of "squared".

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
        Largest number of parents in "bic_l0" and in ``loss="bic"``. None sets no limit,
        but that "bic" holds at most 1 GB of regressions, which is room for 204 parents
        with 1000 columns, and more with fewer; it tells if this was too little.

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
        `n_features_in_`), or (cause, effect) pairs of column names or indices.

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

    loss_choice_ : dict
        Why "auto" chose as it did: a sentence, ``"reason"``, the two BICs that were
        compared, ``"squared"`` and ``"bic"``, and the mean ``"kurtosis"`` of the
        residuals of the former's graph (not where there was no choice). Only with
        ``loss="auto"``.

    equal_variance_pvalue_ : float
        Of the likelihood ratio test of equal noise variances on the graph of "squared"
        or "sum_std", divided by what the kurtosis of the residuals makes of it (Satorra
        and Bentler); small values speak against them. With "auto" it is that of the
        graph of "squared", whichever is chosen; nan for the other losses, since any
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
    is singular. Then 1e-10 of each variance is added to it, or 1e-6 for "bic", with a
    warning; "auto" is then "bic".

    References
    ----------
    .. [1] C. Deng, K. Bello, B. Aragam, P. Ravikumar, "Optimizing NOTEARS objectives
       via topological swaps", ICML 2023, PMLR 202, 7563-7595.

    Examples
    --------
    >>> from skpapers.causal import TopologicalSwap
    >>> from skpapers.datasets import make_linear_sem
    >>> data = make_linear_sem(1000, n_features=5, n_edges=6, random_state=0)
    >>> learner = TopologicalSwap(random_state=0).fit(data.X)
    >>> bool(((learner.adjacency_ != 0) == (data.W != 0)).all())
    True
    >>> learner.loss_  # the noise variances of these data are equal
    'squared'
    >>> print(learner.loss_choice_["reason"][:41])
    'squared': the BIC speaks for equal noise
    """

    _parameter_constraints = {
        "loss": [StrOptions({*LOSSES, "bic", "auto", "logistic"}), callable],
        "neighborhood": [StrOptions({*SWEEPS, "paper"})],
        "init": [
            StrOptions({"variance", "random"}),
            "array-like",
            HasMethods("get_params"),
        ],
        "size_small": _SIZE,
        "size_large": _SIZE,
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
        loss="auto",
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

    def _learn_from(self, moments, reference, rows=None):
        for name in ("intercept_", "loss_choice_"):
            vars(self).pop(name, None)  # of a fit with another loss
        self._rows = None  # only moments are known
        if rows is not None:
            X, weight = rows
            weight = None if weight is None else check_sample_weight(weight, X)
            self._rows = X, weight, moments[1]
        super()._learn_from(moments, reference, rows)
        del self._rows

    def _learn(self, C, n_samples, columns):
        if self.loss == "auto":
            return learn_by_evidence(self, C, n_samples, columns)
        if self.loss == "bic":
            return learn_by_bic(self, C, n_samples, columns)
        return learn_by_order(self, C, n_samples, columns, self.loss)[0]
