# SPDX-License-Identifier: BSD-3-Clause
"""Resampled covariances, and one fit for each of them.

All that a learner needs of a resampled table is its covariance, and that takes n d²
operations and no copy of the learner's other work. Two sources of resamples:

`Rows`
    A table. A resample draws as many rows as there are with replacement, or a fraction
    of them without. The rows are put into an order of their own and equal ones are
    merged, so that a resample does not depend on the order of the rows, and a weight of
    two is the same as a row that stands twice.
`Moments`
    Only n and a covariance C. A resample is a covariance from the Wishart distribution
    of rows that are normal (parametric bootstrap).

Every resample has a seed of its own, so results do not depend on how they are spread
over workers.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from skpapers.causal._base import residual_variances
from skpapers.causal._bic_search import bic_order_search
from skpapers.causal._edge_classes import KNOWLEDGE, allowed_edges, edges_of
from skpapers.causal._knowledge import edge_knowledge, restrict_knowledge
from skpapers.causal._topological_swap import TopologicalSwap
from skpapers.metrics import dag_to_cpdag
from skpapers.utils._array_api import like, to_numpy
from skpapers.utils._optional import import_optional
from skpapers.utils._threads import single_thread

BATCHES_PER_JOB = 4
# Restarts of a search by BIC that begins at the order of all rows. Many small steps
# away from it serve better here than few large ones.
WARM_KICK, WARM_KICKS, WARM_RESTARTS = "edge", 2, 4
RESTARTS_PER_COLUMN = 0.2
SEED_MAX = np.iinfo(np.int32).max


def covariance(X, weight):
    """Return the covariance of rows whose weights sum to one.

    Columns that do not vary get exact zeros.
    """
    constant = np.ptp(X, axis=0) == 0
    X = X - weight @ X
    C = (X * weight[:, None]).T @ X
    C[constant] = C[:, constant] = 0.0
    return (C + C.T) / 2


class Rows:
    """Resamples of the rows of a table.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        The table.
    sample_weight : ndarray of shape (n,), default=None
        Weights, which count as numbers of rows; None stands for ones.
    subsample : float, default=None
        Fraction of the rows to draw without replacement; None draws all with
        replacement.
    """

    def __init__(self, X, sample_weight=None, subsample=None):
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        X = np.ascontiguousarray(X, dtype=np.float64) + 0.0  # no negative zeros
        X, weight = X[weight > 0], weight[weight > 0].astype(np.float64)
        order = np.argsort(X.view(f"V{X.itemsize * X.shape[1]}").ravel(), kind="stable")
        X = X[order]
        is_new = np.append(True, (X[1:] != X[:-1]).any(axis=1))
        self.X = X[is_new]
        self.weight = np.add.reduceat(weight[order], np.flatnonzero(is_new))
        self.upper = np.cumsum(self.weight)
        self.n_rows = round(self.upper[-1])
        self.subsample = subsample
        self.n_drawn = self.n_rows
        if subsample is not None:
            self.n_drawn = round(subsample * self.n_rows)
        if self.n_drawn < 2:
            raise ValueError(
                f"A resample would have {self.n_drawn} row(s): sample_weight counts "
                f"rows, and its sum times subsample={subsample} must be at least 2."
            )

    def counts(self, rng):
        """Return how often each merged row is drawn."""
        if self.subsample is None:
            at = rng.random_sample(self.n_drawn)
        else:
            at = (rng.permutation(self.n_rows)[: self.n_drawn] + 0.5) / self.n_rows
        drawn = np.searchsorted(self.upper, at * self.upper[-1], side="right")
        drawn = np.minimum(drawn, len(self.X) - 1)
        return np.bincount(drawn, minlength=len(self.X))

    def table(self, rng):
        """Return the rows of a resample."""
        return np.repeat(self.X, self.counts(rng), axis=0)

    def covariance(self, rng):
        """Return the covariance of a resample and its number of rows."""
        counts = self.counts(rng)
        drawn = counts > 0
        return covariance(self.X[drawn], counts[drawn] / self.n_drawn), self.n_drawn

    def whole(self):
        """Return all rows; weights are rounded to numbers of rows."""
        return np.repeat(self.X, np.maximum(np.rint(self.weight), 1).astype(int), 0)

    def moments(self):
        """Return the covariance of all rows and their number."""
        return covariance(self.X, self.weight / self.upper[-1]), self.n_rows

    def held_out(self, seed):
        """Return the covariance of the rows that a resample has not drawn.

        If these are too few for a regression on all columns, that of all rows.
        """
        rest = self.counts(np.random.RandomState(seed)) == 0
        if rest.sum() < self.X.shape[1] + 2:
            rest[:] = True
        weight = self.weight[rest]
        return covariance(self.X[rest], weight / weight.sum())

    def simulate(self, W, rng):
        """Return rows of a linear model, with residuals drawn column by column."""
        d = len(W)
        centred = self.X - self.weight @ self.X / self.upper[-1]
        at = rng.random_sample((self.n_rows, d)) * self.upper[-1]
        drawn = np.minimum(np.searchsorted(self.upper, at, "right"), len(self.X) - 1)
        Z = np.take_along_axis(centred - centred @ W, drawn, axis=0)
        return Rows(np.linalg.solve((np.eye(d) - W).T, Z.T).T, None, self.subsample)


class Moments:
    """Covariances of resamples of normal rows of which only the moments are known.

    A subsample without replacement varies less around the whole than one of fresh
    rows; the degrees of freedom are chosen such that the variances agree.

    Parameters
    ----------
    C : ndarray of shape (d, d)
        Covariance.
    n_rows : float
        Number of rows behind it.
    subsample : float, default=None
        As for `Rows`.
    """

    def __init__(self, C, n_rows, subsample=None):
        std = np.sqrt(np.diag(C))
        unit = np.where(std > 0, std, 1.0)
        values, vectors = np.linalg.eigh(C / unit / unit[:, None])
        self.root = vectors * np.sqrt(np.maximum(values, 0)) * unit[:, None]
        self.root[std == 0] = 0.0
        self.n_drawn = n_rows if subsample is None else subsample * n_rows
        if self.n_drawn < 2:
            raise ValueError(
                f"A resample would have {self.n_drawn:g} rows: raise subsample."
            )
        self.C, self.n_rows, self.subsample = C, n_rows, subsample
        self.freedom = n_rows - 1.0
        if subsample is not None:
            self.freedom = 1.0 / (1.0 / self.n_drawn - 1.0 / n_rows)

    def covariance(self, rng):
        """Return the covariance of a resample and its number of rows."""
        d = len(self.root)
        if self.freedom < d + 1:
            Z = rng.standard_normal((max(1, round(self.freedom)), d))
            S = Z.T @ Z / len(Z)
        else:  # Bartlett's decomposition
            T = np.tril(rng.standard_normal((d, d)), -1)
            np.fill_diagonal(T, np.sqrt(rng.chisquare(self.freedom - np.arange(d))))
            S = T @ T.T / self.freedom
        C = self.root @ S @ self.root.T
        return (C + C.T) / 2, self.n_drawn

    def moments(self):
        """Return the covariance of all rows and their number."""
        return self.C, self.n_rows

    def held_out(self, seed):
        """Return a covariance whose error is independent of that of a resample.

        The resample is C + E; C - E goes with it as the rest of the rows does with the
        drawn ones. If it is not positive definite, C itself.
        """
        drawn, _ = self.covariance(np.random.RandomState(seed))
        rest = 2 * self.C - drawn
        unit = np.sqrt(np.diag(self.C))
        unit[unit == 0] = 1.0
        definite = np.linalg.eigvalsh(rest / unit / unit[:, None])[0] > 0
        return rest if definite else self.C

    def simulate(self, W, rng):
        """Return moments that rows of a linear model would have."""
        inverse = np.linalg.inv(np.eye(len(W)) - W)
        C = (inverse.T * residual_variances(self.C, W)) @ inverse
        drawn, _ = Moments(C, self.n_rows).covariance(rng)
        return Moments(drawn, self.n_rows, self.subsample)


@dataclass
class Found:
    """What was learnt from a resample, under the names of a fitted learner."""

    adjacency_: np.ndarray
    cpdag_: np.ndarray | None = None


@dataclass
class WarmSearch:
    """Search for the graph of lowest BIC, from the order that all rows have led to.

    This is what `TopologicalSwap` does with ``loss="bic"``, without the rest of a fit,
    which would take about as long.

    Attributes
    ----------
    learner : TopologicalSwap
        Fitted to all rows.
    n_restarts : int
        Number of restarts.
    """

    learner: TopologicalSwap
    n_restarts: int

    def __post_init__(self):
        self.names = self.learner.get_feature_names_out()
        known = [getattr(self.learner, name) for name in KNOWLEDGE]
        self.knowledge = edge_knowledge(self.names, *known)
        self.order = to_numpy(self.learner.causal_order_)

    def search(self, C, n_samples, rng):
        """Return what is `Found` in the covariance of a resample."""
        columns = np.flatnonzero(np.diag(C) > 0)
        block = np.ix_(columns, columns)
        allowed, required = self.knowledge
        required = among_varying(required, C)
        allowed, required = restrict_knowledge(allowed, required, columns, self.names)
        result = bic_order_search(
            C[block],
            n_samples,
            penalty=self.learner.penalty,
            n_restarts=self.n_restarts,
            kick=WARM_KICK,
            n_kicks=WARM_KICKS,
            max_parents=self.learner.max_parents,
            order=np.searchsorted(columns, self.order[np.isin(self.order, columns)]),
            allowed=allowed,
            required=required,
            seeds=[int(rng.randint(SEED_MAX))],
            n_jobs=1,
        )
        parents = np.zeros(C.shape, dtype=bool)
        parents[block] = result.parents
        return Found(parents, dag_to_cpdag(parents))


@dataclass
class Refit:
    """Learn the edges of a resample.

    Attributes
    ----------
    learner : estimator or WarmSearch
        Unfitted learner, of which a clone with new random states is fitted, or a
        search.
    source : Rows or Moments
        Where resamples come from.
    names : ndarray of shape (d,) or None
        Column names, if the learner needs them.
    allowed : bool ndarray of shape (d, d) or None
        Edges that the graph may have; None stands for all.
    place : array or None
        An array of the library, and on the device, that learns batches; None stands
        for NumPy.
    """

    learner: object
    source: Rows | Moments
    names: np.ndarray | None = None
    allowed: np.ndarray | None = None
    place: object = None

    @classmethod
    def of(cls, fitted, source, names, place=None):
        """Return the task for a learner fitted to all rows."""
        needed, allowed = needed_names(fitted, names), allowed_edges(fitted)
        return cls(warm_learner(fitted), source, needed, allowed, place)

    def __call__(self, seed):
        """Return the edges as `edges_of` does, and the covariance."""
        rng = np.random.RandomState(seed)
        C, n = self.source.covariance(rng)
        learner = None  # if all columns are constant
        if np.diag(C).any():
            learner = self.learn(C, n, rng, seed)
        return edges_of(learner, len(C), self.allowed), C

    def batch(self, seeds):
        """Return the results of some seeds, learnt together if the learner can."""
        if not hasattr(self.learner, "learn_batch"):
            return [self(seed) for seed in seeds]
        drawn = [self.source.covariance(np.random.RandomState(seed)) for seed in seeds]
        C = np.stack([covariance for covariance, _ in drawn])
        here = C if self.place is None else like(C, self.place)
        n_samples = drawn[0][1]  # the same in all
        graphs = self.learner.learn_batch(here, n_samples, feature_names=self.names)
        d = C.shape[1]
        return [
            (edges_of(Found(graph), d, self.allowed), covariance)
            for graph, covariance in zip(to_numpy(graphs), C, strict=True)
        ]

    def learn(self, C, n_samples, rng, seed):
        """Return what is learnt from a resample."""
        if isinstance(self.learner, WarmSearch):
            return self.learner.search(C, n_samples, rng)
        learner = seeded(clone(self.learner), rng)
        edges = getattr(learner, "required_edges", None)
        if edges is not None and not np.diag(C).all():
            unnamed = [f"x{j}" for j in range(len(C))]
            names = unnamed if self.names is None else self.names
            _, required = edge_knowledge(names, required_edges=edges)
            learner.set_params(required_edges=among_varying(required, C))
        if takes_covariance(learner):
            return learner.fit_covariance(named(C, self.names), n_samples)
        X = self.source.table(np.random.RandomState(seed))  # the same rows
        return learner.fit(named(X, self.names))


def among_varying(required, C):
    """Return the required edges between columns that are not constant in a resample.

    Of the others it tells nothing, and learners refuse them.
    """
    varies = np.diag(C) > 0
    return required & varies & varies[:, None]


def named(table, names):
    """Return a table as a data frame if it has column names."""
    if names is None:
        return table
    try:
        return import_optional("pandas", extra="frames", needed_by="").DataFrame(
            table, columns=names
        )
    except ImportError:  # the names came from another library of frames
        polars = import_optional("polars", extra="frames", needed_by="Column names")
        return polars.DataFrame(table, schema=list(names))


def needed_names(learner, names):
    """Return the names if parameters of the learner may speak of columns by name."""
    params = learner.get_params(deep=True)
    speaks = any(
        key.rpartition("__")[2] in KNOWLEDGE and value is not None
        for key, value in params.items()
    )
    return names if speaks else None


def seeded(learner, rng, only_missing=False):
    """Set the random states of a learner from ``rng``; return the learner."""
    for key, value in sorted(learner.get_params(deep=True).items()):
        if key.rpartition("__")[2] == "random_state":
            seed = int(rng.randint(SEED_MAX))
            if value is None or not only_missing:
                learner.set_params(**{key: seed})
    return learner


def takes_covariance(learner):
    """Tell whether a covariance is all that a learner needs to know of a table."""
    needs_rows = getattr(learner, "_needs_rows", lambda: False)
    return hasattr(learner, "fit_covariance") and not needs_rows()


def chooses_by_tails(learner):
    """Tell whether a learner looks at more of the rows than their covariance."""
    return isinstance(learner, TopologicalSwap) and learner.loss == "auto"


def warm_learner(fitted):
    """Return what learns from resamples of what a learner was fitted to.

    `TopologicalSwap` starts from the order that it has found for all rows. Its search
    by BIC then needs few restarts, but some: without them the graphs of resamples would
    be more alike than those of fits from scratch. Other learners start anew.

    With "auto" the loss is that chosen for all rows. The variances of a resample differ
    from equal ones by twice as much as those of the table: by its errors and by their
    own. Evidence from a resample would speak against "squared" too often.
    """
    learner = clone(fitted)
    if chooses_by_tails(fitted):
        learner.set_params(loss=fitted.loss_)
    if not isinstance(fitted, TopologicalSwap) or learner.loss != "bic":
        return learner  # a search from scratch takes less than the rest of a fit
    enough = max(WARM_RESTARTS, round(RESTARTS_PER_COLUMN * fitted.n_features_in_))
    n_restarts = min(fitted.n_restarts, enough)
    if fitted.w_threshold in ("auto", 0):
        return WarmSearch(fitted, n_restarts)
    return learner.set_params(
        init=to_numpy(fitted.causal_order_),
        n_init=1,
        n_restarts=n_restarts,
        kick=WARM_KICK,
        time_budget=None,
    )


def map_draws(function, n_draws, random_state, n_jobs):
    """Call a function with the seed of each draw.

    Parameters
    ----------
    function : callable
        Takes a seed; has to be pickled for workers in other processes. A method
        ``batch`` takes several and returns as many results.
    n_draws : int
        Number of draws.
    random_state : int, RandomState instance or None
        Source of the seeds.
    n_jobs : int or None
        Number of workers, as for joblib.

    Yields
    ------
    result
        The results, in the order of the draws. After the last one, all that the draws
        warned of is said once.
    """
    seeds = check_random_state(random_state).randint(SEED_MAX, size=n_draws)
    n_batches = min(n_draws, BATCHES_PER_JOB * effective_n_jobs(n_jobs))
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    batches = parallel(
        delayed(_run_batch)(function, batch)
        for batch in np.array_split(seeds, n_batches)
    )
    heard = {}
    for results, told in batches:
        yield from results
        for category, text in told:
            heard.setdefault(category, []).append(text)
    for category, texts in heard.items():
        warnings.warn(
            f"{len(texts)} warning(s) in {n_draws} resamples, the first: {texts[0]}",
            category,
            stacklevel=3,
        )


def _run_batch(function, seeds):
    """Return the results of some seeds, and what they warned of."""
    with warnings.catch_warnings(record=True) as told, single_thread():
        warnings.simplefilter("always")
        if hasattr(function, "batch"):
            results = function.batch(seeds)
        else:
            results = [function(seed) for seed in seeds]
    return results, [(warning.category, str(warning.message)) for warning in told]
