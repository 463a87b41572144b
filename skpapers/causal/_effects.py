# SPDX-License-Identifier: BSD-3-Clause
"""Intervals for causal effects, by resampled rows.

On a graph with weights W the direct effect of i on j is W[i, j] and the total effect
[(I - W)⁻¹][i, j]. In each resample the weights are fitted anew by least squares, either
on one graph, or on the graph that the learner finds in the resample; the interval
reaches from one quantile of the resulting effects to another (percentile bootstrap).
"""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.utils import Bunch, check_random_state

from skpapers.causal._influence import find_column, graph_of
from skpapers.causal._moments import moments
from skpapers.causal._resampling import (
    Refit,
    Rows,
    map_draws,
)
from skpapers.causal._sparsify import refit_ols
from skpapers.causal._stability import (
    LEARNER,
    N_BOOTSTRAPS,
    SUBSAMPLE,
    fit_learner,
    read_table,
)
from skpapers.utils._graph import topological_order
from skpapers.utils._sklearn import Interval, StrOptions, validate_params


def effects_of(C, support, kind):
    """Return the effects of all pairs on a graph fitted to a covariance.

    Parameters
    ----------
    C : ndarray of shape (d, d)
        Covariance.
    support : bool ndarray of shape (d, d)
        Acyclic graph.
    kind : {"total", "direct"}
        Which effects.

    Returns
    -------
    ndarray of shape (d, d)
        Entry (i, j) is the effect of i on j.
    """
    W = refit_ols(C, support)
    if kind == "direct":
        return W
    order = topological_order(support)
    block = np.ix_(order, order)
    effects = np.empty_like(W)
    effects[block] = solve_triangular(
        np.eye(len(W)) - W[block], np.eye(len(W)), unit_diagonal=True
    )
    return effects


@dataclass
class DrawEffects:
    """The chosen effects in one resample.

    Attributes
    ----------
    refit : Refit
        Source of resamples, and the learner.
    support : bool ndarray of shape (d, d) or None
        Graph; None learns it in each resample.
    kind : {"total", "direct"}
        Which effects.
    pairs : tuple
        Indices of sources and targets.
    """

    refit: Refit
    support: np.ndarray | None
    kind: str
    pairs: tuple

    def __call__(self, seed):
        """Return the effects."""
        return self.batch([seed])[0]

    def batch(self, seeds):
        """Return the effects in some resamples."""
        if self.support is None:
            drawn = [(edges[0], C) for edges, C in self.refit.batch(seeds)]
        else:
            rngs = map(np.random.RandomState, seeds)
            source = self.refit.source
            drawn = [(self.support, source.covariance(rng)[0]) for rng in rngs]
        return [effects_of(C, graph, self.kind)[self.pairs] for graph, C in drawn]


@validate_params(
    {
        "learner": LEARNER,
        "X": ["array-like"],
        "kind": [StrOptions({"total", "direct"})],
        "relearn": ["boolean"],
        "n_bootstraps": N_BOOTSTRAPS,
        "level": [Interval(Real, 0, 1, closed="neither")],
        "sample_weight": ["array-like", None],
        "subsample": SUBSAMPLE,
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    },
    prefer_skip_nested_validation=True,
)
def effect_intervals(
    learner,
    X,
    *,
    source=None,
    target=None,
    kind="total",
    relearn=False,
    n_bootstraps=1000,
    level=0.95,
    sample_weight=None,
    subsample=None,
    random_state=None,
    n_jobs=None,
):
    """Estimate causal effects with bootstrap intervals.

    What the interval covers depends on ``relearn``:

    - False: the graph is held fixed and its weights are fitted to each resample. The
      interval then has its nominal level if the graph is right and was not chosen on
      the same rows. Chosen on the same rows, it is too narrow, because the choice
      itself could have come out otherwise; learn the graph on one half of the rows and
      pass the fitted learner with the other half.
    - True: the graph is learnt anew in each resample, and an effect without a path is
      zero. The interval then shows how the whole procedure varies, and often reaches
      from zero to a clear effect if the direction of an edge is in doubt. It has no
      guaranteed level either: effects of a selected graph are not smooth in the data.

    Neither covers a wrong model, such as a hidden common cause.

    Parameters
    ----------
    learner : estimator
        Learner of causal graphs. If it is fitted, its graph is taken, else a clone of
        it is fitted to X.
    X : array-like of shape (n_samples, n_features)
        The table: numeric, finite, at least two rows.
    source, target : int or str, default=None
        The pair, by column names or indices; None stands for all columns.
    kind : {"total", "direct"}, default="total"
        "total": change of the target when the source is set one unit higher. "direct":
        the same with all other parents of the target held fixed, the weight of the
        edge.
    relearn : bool, default=False
        Whether to learn the graph anew in each resample.
    n_bootstraps : int, default=1000
        Number of resamples.
    level : float, default=0.95
        Nominal level of the intervals.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights; a weight of two counts as a row that stands twice.
    subsample : float, default=None
        None draws as many rows as there are, with replacement; a fraction in (0, 1)
        draws so many of them without replacement. At 0.5 the intervals are about as
        wide as with replacement; other fractions change the width.
    random_state : int, RandomState instance or None, default=None
        Source of the random numbers. The result for a given seed does not depend on
        ``n_jobs``.
    n_jobs : int, default=None
        Number of resamples at the same time, as in `bootstrap_edges`.

    Returns
    -------
    result : `sklearn.utils.Bunch`
        With the keys

        estimate : float or ndarray
            Effects on all rows; a number for one source and one target, of shape
            (n_features,) if one of them is None, of shape (n_features, n_features),
            sources in rows, if both are. In units of the target per unit of the source.
        low, high : float or ndarray
            Ends of the intervals.
        draws : ndarray of shape (n_bootstraps, ...)
            Effects in the resamples.
        learner : estimator
            The fitted learner.

    Raises
    ------
    ValueError
        If X, the weights or a column is not valid.

    See Also
    --------
    bootstrap_edges : How often the edges are found again.

    Notes
    -----
    O(n d² + d³) a resample on a fixed graph; one more fit of the learner if the graph
    is learnt anew. All draws are kept, 8 bytes for each effect.

    References
    ----------
    .. [1] B. Efron, R. J. Tibshirani, "An introduction to the bootstrap", Chapman and
       Hall 1993.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.causal import TopologicalSwap, effect_intervals
    >>> rng = np.random.default_rng(0)
    >>> cause = rng.standard_normal(500)
    >>> X = np.column_stack([cause, 2 * cause + rng.standard_normal(500)])
    >>> found = effect_intervals(
    ...     TopologicalSwap(loss="squared"), X, source=0, target=1, random_state=0
    ... )
    >>> bool(found.low < 2 < found.high)
    True
    """
    table, sample_weight, names = read_table(X, sample_weight)
    rng = check_random_state(random_state)
    rows = Rows(table, sample_weight, subsample)
    fitted = learner
    if not hasattr(learner, "adjacency_"):
        fitted = fit_learner(learner, table, sample_weight, names, rng)
    d = table.shape[1]
    support = graph_of(fitted, d)
    pairs = tuple(
        slice(None) if end is None else find_column(end, fitted, name)
        for end, name in ((source, "source"), (target, "target"))
    )
    refit = Refit.of(fitted, rows, names) if relearn else Refit(None, rows)
    task = DrawEffects(refit, None if relearn else support, kind, pairs)
    draws = np.array(list(map_draws(task, n_bootstraps, rng, n_jobs)))
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    _, _, C = moments(table, sample_weight)
    estimate = effects_of(C, support, kind)[pairs]
    return Bunch(estimate=estimate, low=low, high=high, draws=draws, learner=fitted)
