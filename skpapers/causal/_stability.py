# SPDX-License-Identifier: BSD-3-Clause
r"""How sure is an edge: graphs of resampled rows.

A learner is refitted to B resamples (see `skpapers.causal._resampling`), which gives B
graphs over the same d columns. Of them come

    P[i, j]   probability of i -> j: the share of graphs with this edge. If the learner
              says by ``cpdag_`` that an edge of a graph could point either way, that
              graph counts one half for each direction;
    P + Pᵀ    probability that i and j are connected at all;
    A[i, j]   share of the graphs in which directed edges lead from i to j.

These are frequencies under resampling, not posterior probabilities: how well they are
calibrated is a matter of the learner and of the data.

References
----------
N. Friedman, M. Goldszmidt, A. Wyner, "Data analysis with Bayesian networks: a bootstrap
approach", UAI 1999. N. Meinshausen, P. Bühlmann, "Stability selection", JRSS B 72
(2010) 417-473.
"""

import warnings
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.utils import Bunch, check_array, check_random_state

from skpapers.causal._base import BaseLinearDAG, LearnedDAG, residual_variances
from skpapers.causal._calibration import DRAWS, calibrate
from skpapers.causal._edge_classes import allowed_edges, edges_of, reachable
from skpapers.causal._resampling import (
    Moments,
    Refit,
    Rows,
    chooses_by_tails,
    map_draws,
    named,
    needed_names,
    seeded,
    takes_covariance,
)
from skpapers.causal._sparsify import refit_ols
from skpapers.causal._topological_swap import TopologicalSwap
from skpapers.utils._array_api import like, to_numpy
from skpapers.utils._callbacks import with_callbacks
from skpapers.utils._estimator import all_or_nothing
from skpapers.utils._graph import is_dag, topological_order
from skpapers.utils._sklearn import (
    HasMethods,
    Interval,
    check_sample_weight,
    fit_context,
    get_feature_names,
    validate_params,
)

MATRICES = (
    "edge_probabilities",
    "edge_frequencies",
    "ancestor_probabilities",
    "calibrated_probabilities",
)
LEARNER = [HasMethods(["fit", "get_params"])]
N_BOOTSTRAPS = [Interval(Integral, 1, None, closed="left")]
SUBSAMPLE = [Interval(Real, 0, 1, closed="neither"), None]
N_CALIBRATIONS = [Interval(Integral, 0, None, closed="left")]


@dataclass
class DrawEdges:
    """The edges of the graph of one resample."""

    refit: Refit

    def __call__(self, seed):
        """Return what `edges_of` does."""
        return self.refit(seed)[0]

    def batch(self, seeds):
        """Return the edges of some resamples."""
        return [edges for edges, _ in self.refit.batch(seeds)]


def edge_statistics(fitted, draws, n_draws):
    """Summarise the graphs of resamples.

    Parameters
    ----------
    fitted : estimator
        The learner, fitted to the whole table.
    draws : iterable
        Results of `DrawEdges`.
    n_draws : int
        Their number.

    Returns
    -------
    Bunch
        The statistics, as `bootstrap_edges` documents them.
    """
    d, allowed = fitted.n_features_in_, allowed_edges(fitted)
    graph, directed, _ = edges_of(fitted, d, allowed)
    known = reachable(directed)
    counts = np.zeros((4, *graph.shape))
    agreements = np.empty(n_draws)
    for b, (drawn, compelled, free) in enumerate(draws):
        ancestors = reachable(compelled)
        counts += drawn, compelled, free, ancestors
        kept, turned = (known & ancestors).sum(), (known & ancestors.T).sum()
        agreements[b] = (1 + (kept - turned) / max(known.sum(), 1)) / 2
    frequencies, compelled, free, ancestors = counts / n_draws
    probabilities = compelled + free / 2
    return Bunch(
        edge_probabilities=probabilities,
        skeleton_probabilities=probabilities + probabilities.T,
        edge_frequencies=frequencies,
        undirected_frequencies=free,
        ancestor_probabilities=ancestors,
        order_agreement=float(agreements.mean()) if known.any() else np.nan,
        order_agreements=agreements if known.any() else np.full(n_draws, np.nan),
    )


def resample_edges(learner, fitted, source, names, sizes, rng, n_jobs, place=None):
    """Learn the graphs of resamples and summarise them.

    Parameters
    ----------
    learner : estimator
        Unfitted learner.
    fitted : estimator
        The same, fitted to all rows.
    source : Rows or Moments
        Where resamples come from.
    names : ndarray of shape (d,) or None
        Column names.
    sizes : tuple of int
        Number of resamples, and of tables simulated for the calibration.
    rng : RandomState
        Source of the random numbers.
    n_jobs : int or None
        Number of workers.
    place : array or None
        Of the library and on the device where batches are learnt.

    Returns
    -------
    Bunch
        As of `edge_statistics`, with calibrated probabilities if asked for.
    """
    n_bootstraps, n_calibrations = sizes
    if n_calibrations and getattr(learner, "loss", None) == "logistic":
        raise ValueError(
            "n_calibrations must be 0 with loss='logistic': it simulates linear "
            "models, whose tables are not of zeros and ones."
        )
    refit = Refit.of(fitted, source, names, place)
    draws = map_draws(DrawEdges(refit), n_bootstraps, rng, n_jobs)
    statistics = edge_statistics(fitted, draws, n_bootstraps)
    if n_calibrations:
        n_draws = min(n_bootstraps, DRAWS)
        calibration = calibrate(learner, refit, rng, n_calibrations, n_draws, n_jobs)
        statistics.calibrated_probabilities = calibration(statistics.edge_probabilities)
    return statistics


def stable_support(statistics, threshold, order):
    """Choose an acyclic graph by how often its edges are found.

    An edge is a candidate if more than ``threshold`` of the graphs have it or leave its
    direction open. Of two directions of a pair the more probable one stays, at a tie
    that of ``order``. Cycles are broken by leaving out the least probable edges.

    Parameters
    ----------
    statistics : Bunch
        Result of `edge_statistics`.
    threshold : float
        The bar.
    order : ndarray of shape (d,)
        Causal order of the graph of the whole table.

    Returns
    -------
    bool ndarray of shape (d, d)
        The graph.
    """
    P = statistics.edge_probabilities
    support = P + statistics.undirected_frequencies / 2 > threshold
    position = np.argsort(order)
    forward = position[:, None] < position
    less = (P < P.T) | ((P == P.T) & ~forward)
    support &= ~(support.T & less)
    if is_dag(support):
        return support
    edges = np.argwhere(support)
    edges = edges[np.argsort(-P[support], kind="stable")]
    support, reach = np.zeros_like(support), np.eye(len(P), dtype=bool)
    for i, j in edges:
        if not reach[j, i]:
            support[i, j] = True
            reach |= np.outer(reach[:, i], reach[j])
    return support


def read_table(X, sample_weight):
    """Return a table in NumPy, its weights and its column names."""
    names = get_feature_names(X)
    X = check_array(X, dtype=np.float64, ensure_min_samples=2, input_name="X")
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, X)
    return X, sample_weight, names


def fit_learner(learner, X, sample_weight, names, rng):
    """Return a learner fitted to the whole table."""
    learner = seeded(clone(learner), rng, only_missing=True)
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    return learner.fit(named(X, names), **weights)


@validate_params(
    {
        "learner": LEARNER,
        "X": ["array-like"],
        "n_bootstraps": N_BOOTSTRAPS,
        "sample_weight": ["array-like", None],
        "subsample": SUBSAMPLE,
        "n_calibrations": N_CALIBRATIONS,
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    },
    prefer_skip_nested_validation=True,
)
def bootstrap_edges(
    learner,
    X,
    n_bootstraps=100,
    *,
    sample_weight=None,
    subsample=None,
    n_calibrations=0,
    random_state=None,
    n_jobs=None,
):
    """Refit a learner of causal graphs to resampled rows and count the edges.

    A high frequency says that an edge does not hang on a few rows. It does not say that
    the model is right: what follows from hidden common causes, from unsuitable units or
    from a non-linear relation is found in every resample alike.

    Parameters
    ----------
    learner : estimator
        Learner of causal graphs, for example `TopologicalSwap`. It is cloned.
    X : array-like of shape (n_samples, n_features)
        The table: numeric, finite, at least two rows.
    n_bootstraps : int, default=100
        Number of resamples.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights; a weight of two counts as a row that stands twice.
    subsample : float, default=None
        None draws as many rows as there are, with replacement. A fraction in (0, 1)
        draws so many of them without replacement, so that no row stands twice; the
        learner is told the smaller number of rows. At 0.5 the graphs vary about as much
        as with replacement.
    n_calibrations : int, default=0
        Number of tables to simulate from graphs of resamples in order to find out what
        a frequency is worth, see ``calibrated_probabilities``; 5 to 20 are useful. Each
        takes a fit of the learner and up to 100 resamples.
    random_state : int, RandomState instance or None, default=None
        Source of the random numbers. The result for a given seed does not depend on
        ``n_jobs``.
    n_jobs : int, default=None
        Number of resamples fitted at the same time. None means 1 unless in a
        `joblib.parallel_config` context, which may also name a cluster, for example
        ``joblib.parallel_config(backend="dask")``.

    Returns
    -------
    result : `sklearn.utils.Bunch`
        With the keys

        edge_probabilities : ndarray of shape (n_features, n_features)
            Entry (i, j): share of the graphs with i -> j. If the learner has the
            attribute ``cpdag_`` (and no ``loss_`` but "bic"), a graph whose class
            leaves the direction open counts one half.
        skeleton_probabilities : ndarray of shape (n_features, n_features)
            Share of the graphs in which i and j are connected; symmetric.
        edge_frequencies : ndarray of shape (n_features, n_features)
            Share of the graphs whose ``adjacency_`` has i -> j, whether or not their
            class leaves the direction open.
        undirected_frequencies : ndarray of shape (n_features, n_features)
            Share of the graphs that leave the direction open; symmetric.
        ancestor_probabilities : ndarray of shape (n_features, n_features)
            Share of the graphs in which directed edges lead from i to j.
        order_agreement : float
            Mean of ``order_agreements``; NaN if the graph of all rows has no edge
            whose direction is known.
        order_agreements : ndarray of shape (n_bootstraps,)
            How far each graph agrees about the order with that of all rows: over the
            pairs (i, j) with i before j in the latter, the mean of 1 if so in the
            resample, 0 if j is before i, and 1/2 if neither.
        calibrated_probabilities : ndarray of shape (n_features, n_features)
            Probabilities of the edges: ``edge_probabilities``, corrected by how often
            edges of such a frequency were real in simulated tables. The correction
            trusts the linear model and the learner's loss, and does not repair a loss
            that does not suit the data. Only with ``n_calibrations > 0``.
        learner : estimator
            The learner, fitted to all rows.

    Raises
    ------
    ValueError
        If X or the weights are not valid, or if a resample has less than two rows.

    See Also
    --------
    StabilityDAG : The graph of the frequent edges, as an estimator.
    EdgeStabilityDisplay : Picture of the probabilities.
    effect_intervals : The same for the size of effects.

    Notes
    -----
    A resample costs O(n d²) for its covariance plus one fit to it. A learner with a
    method ``learn_batch``, as `CoLiDE`, learns many resamples in one call; one that can
    start from its former result does, and ``TopologicalSwap(loss="auto")`` keeps to the
    loss that it has chosen for all rows. Memory: a sorted copy of X, and d² numbers for
    each resample that is under way.

    A column of rare events is constant in some resamples. These have none of its edges,
    not even required ones.

    Warnings of the resamples are collected, and the first of each kind is shown with
    their number.

    References
    ----------
    .. [1] N. Friedman, M. Goldszmidt, A. Wyner, "Data analysis with Bayesian networks:
       a bootstrap approach", UAI 1999.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.causal import TopologicalSwap, bootstrap_edges
    >>> rng = np.random.default_rng(0)
    >>> cause = rng.standard_normal(500)
    >>> effect = 2 * cause + rng.standard_normal(500)
    >>> X = np.column_stack([cause, effect, rng.standard_normal(500)])
    >>> learner = TopologicalSwap(loss="squared")
    >>> bootstrap_edges(learner, X, 50, random_state=0).edge_probabilities[0, 1]
    np.float64(1.0)
    """
    table, sample_weight, names = read_table(X, sample_weight)
    rng = check_random_state(random_state)
    source = Rows(table, sample_weight, subsample)
    fitted = fit_learner(learner, table, sample_weight, names, rng)
    sizes = n_bootstraps, n_calibrations
    statistics = resample_edges(learner, fitted, source, names, sizes, rng, n_jobs)
    return Bunch(**statistics, learner=fitted)


class StabilityDAG(MetaEstimatorMixin, BaseLinearDAG):
    """Causal graph of the edges that a learner finds again in most resamples.

    The learner is refitted to resampled rows. An edge is kept if it is found in more
    than ``threshold`` of the resulting graphs; a learner that says by ``cpdag_`` that
    an edge could point either way is taken to find both. If the kept edges have cycles,
    the least frequent edges of these are left out. The weights are least squares
    coefficients of each variable on its parents.

    Parameters
    ----------
    learner : estimator, default=None
        Learner of causal graphs; it is cloned. None stands for `TopologicalSwap` with
        its default parameters; to tune the learner's parameters (``learner__...``),
        pass one.

    n_bootstraps : int, default=100
        Number of resamples.

    subsample : float, default=None
        None draws as many rows as there are, with replacement; a fraction in (0, 1)
        draws so many of them without replacement.

    n_calibrations : int, default=0
        Number of tables to simulate for ``calibrated_probabilities_``, as in
        `bootstrap_edges`.

    threshold : float, default=0.5
        Share of the graphs in which an edge has to be found, in [0, 1).

    random_state : int, RandomState instance or None, default=None
        Source of the random numbers. The result for a given seed does not depend on
        ``n_jobs``, nor on the order of the rows.

    n_jobs : int, default=None
        Number of resamples fitted at the same time. None means 1 unless in a
        `joblib.parallel_config` context, which may also name a cluster.

    Attributes
    ----------
    adjacency_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        Weights of the graph; ``adjacency_[i, j] != 0`` means i -> j.

    edge_probabilities_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        Share of the graphs with i -> j; a graph whose class leaves the direction open
        counts one half.

    edge_frequencies_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        Share of the graphs whose ``adjacency_`` has i -> j.

    ancestor_probabilities_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        Share of the graphs in which directed edges lead from i to j.

    calibrated_probabilities_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        The probabilities, corrected by how often edges of such a frequency were real in
        simulated tables; only with ``n_calibrations > 0``.

    order_agreement_ : float
        How far the graphs agree about the order with that of all rows, between 0 and 1;
        see `bootstrap_edges`.

    learner_ : estimator
        The learner, fitted to all rows or to their covariance.

    raw_adjacency_ : ndarray of shape (`n_features_in_`, `n_features_in_`)
        Weights that ``learner_`` found.

    causal_order_ : ndarray of shape (`n_features_in_`,)
        Columns, causes first.

    noise_std_, residual_std_ : ndarray of shape (`n_features_in_`,)
        Standard deviation of what the parents leave over.

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
    bootstrap_edges : The same numbers as a function, for other learners too.
    EdgeStabilityDisplay : Picture of the probabilities.

    Notes
    -----
    A resample costs O(n d²) for its covariance plus one fit to it. `partial_fit` and
    `fit_covariance` keep no rows: there the covariances of resamples are drawn from the
    Wishart distribution, O(d³) each, as if the rows were normal.

    References
    ----------
    .. [1] N. Friedman, M. Goldszmidt, A. Wyner, "Data analysis with Bayesian networks:
       a bootstrap approach", UAI 1999.
    .. [2] N. Meinshausen, P. Bühlmann, "Stability selection", Journal of the Royal
       Statistical Society B 72 (2010) 417-473.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.causal import StabilityDAG, TopologicalSwap
    >>> from skpapers.datasets import make_linear_sem
    >>> data = make_linear_sem(500, n_features=5, n_edges=6, random_state=0)
    >>> learner = TopologicalSwap(loss="squared")
    >>> stable = StabilityDAG(learner, n_bootstraps=50, random_state=0).fit(data.X)
    >>> bool((stable.edge_probabilities_[data.W != 0] > 0.9).all())
    True
    """

    _parameter_constraints = {
        "learner": [HasMethods(["fit_covariance", "get_params"]), None],
        "n_bootstraps": N_BOOTSTRAPS,
        "subsample": SUBSAMPLE,
        "n_calibrations": N_CALIBRATIONS,
        "threshold": [Interval(Real, 0, 1, closed="left")],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        learner=None,
        *,
        n_bootstraps=100,
        subsample=None,
        n_calibrations=0,
        threshold=0.5,
        random_state=None,
        n_jobs=None,
    ):
        self.learner = learner
        self.n_bootstraps = n_bootstraps
        self.subsample = subsample
        self.n_calibrations = n_calibrations
        self.threshold = threshold
        self.random_state = random_state
        self.n_jobs = n_jobs

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    @with_callbacks
    def fit(self, X, y=None, sample_weight=None):
        """Learn the causal graph of the columns of a table and how sure its edges are.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The table: numeric, finite, at least two rows. It is never changed.
        y : None
            Ignored, present for API consistency.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; a weight of two counts as a row that stands twice.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X is not numeric and finite, if all its columns are constant, if a weight
            is negative, or if a resample has less than two rows.
        """
        moments, X = self._read(X, sample_weight, reset=True)
        if sample_weight is not None:
            sample_weight = to_numpy(check_sample_weight(sample_weight, X))
        rows = Rows(to_numpy(X), sample_weight, self.subsample)
        self._learn_from(moments, X, rows)
        return self

    def _learn_from(self, moments, reference, rows=None):
        """Count the edges of resamples, then learn as the base does."""
        n, mean, C = moments
        if not np.isfinite(C).all() or not np.diag(C).any():
            super()._learn_from(moments, reference)  # which says what is wrong
        names = getattr(self, "feature_names_in_", None)
        rng = check_random_state(self.random_state)
        source = Moments(C, n, self.subsample) if rows is None else rows
        learner = clone(TopologicalSwap() if self.learner is None else self.learner)
        if not takes_covariance(learner):
            raise ValueError(
                f"{learner!r} needs all rows at once, and the stable graph is one of "
                "least squares: use bootstrap_edges, or another loss."
            )
        frame_names = needed_names(learner, names)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            fitted = seeded(learner, rng, only_missing=True)
            if rows is not None and chooses_by_tails(fitted):
                fitted.fit(named(rows.X, frame_names), sample_weight=rows.weight)
            else:
                fitted.fit_covariance(named(C, frame_names), n, mean=mean)
        sizes = self.n_bootstraps, self.n_calibrations
        place = reference[:0, :]  # which goes to other processes, so without its rows
        statistics = resample_edges(
            learner, fitted, source, names, sizes, rng, self.n_jobs, place
        )
        self.learner_, self._statistics = fitted, statistics
        super()._learn_from(moments, reference)
        del self._statistics
        for warning in told:
            if not str(warning.message).startswith("Constant columns"):  # said above
                warnings.warn(warning.message, warning.category, stacklevel=2)
        vars(self).pop("calibrated_probabilities_", None)
        for name in MATRICES:
            if name not in statistics:
                continue
            value = like(statistics[name], reference, dtype=reference.dtype)
            setattr(self, f"{name}_", value)
        self.order_agreement_ = statistics.order_agreement

    def _learn(self, C, n_samples, columns):
        order = to_numpy(self.learner_.causal_order_)
        block = np.ix_(columns, columns)
        support = stable_support(self._statistics, self.threshold, order)[block]
        adjacency = refit_ols(C, support)
        return LearnedDAG(
            adjacency=adjacency,
            raw_adjacency=to_numpy(self.learner_.adjacency_)[block],
            order=topological_order(support),
            noise_std=np.sqrt(residual_variances(C, adjacency)),
        )
