# SPDX-License-Identifier: BSD-3-Clause
"""What the scale of the columns decides in a learned graph.

Many learners prefer orders along which the variance grows. That is right where the
noise variances are equal in the given units, and an artefact where the units are
arbitrary. Without the true graph one can only look at symptoms: whether the learned
order is that of the variances, and whether the graph is another one on standardised
columns.
"""

from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from scipy.stats import kendalltau
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from skpapers.causal._sort_regress import round_scores
from skpapers.metrics import structural_hamming_distance, variance_sortability
from skpapers.utils._array_api import to_numpy

SORTED = 0.8  # Kendall's tau, or agreement of the edges, of an order by variance
CHANGED = 0.25  # a graph with a larger share of other edges is another graph


@dataclass(frozen=True, repr=False)
class SortabilityReport:
    """How much a learned graph depends on the scale of the columns.

    `sortability_report` makes it; shown or printed, it tells all in words.

    Attributes
    ----------
    kendall_tau : float
        Kendall's tau between the learned order and that of the variances: 1 if they are
        the same, 0 if they are unrelated. NaN if all variances are equal.
    edge_agreement : float
        Share of the learned edges and paths that lead to the larger variance
        (`skpapers.metrics.variance_sortability` of the *learned* graph): 1 if all do,
        1/2 if the variances tell nothing. NaN for a graph without edges.
    n_edges : int
        Number of edges learned in the given units.
    n_edges_standardized : int
        Number of edges learned from standardised columns.
    shd : int
        Structural Hamming distance of the two graphs.
    change : float
        ``shd`` as a share of the pairs that are connected in either graph: 0 if both
        are the same, 1 if they have nothing in common.
    lost, added, reversed : list of (str, str)
        What standardising does to the edges (source, target) of the given units; the
        reversed ones are named in their direction before.
    follows_variance : bool
        Whether the learned graph nearly sorts the columns by their variance.
    depends_on_scale : bool
        Whether ``change`` is more than a quarter.
    warning : str
        What follows from this; empty if the graph depends little on the scale.

    See Also
    --------
    sortability_report : Makes it.

    Examples
    --------
    >>> from skpapers.causal import SortRegress, sortability_report
    >>> from skpapers.datasets import make_linear_sem
    >>> X = make_linear_sem(1000, 4, 4, random_state=1).X
    >>> sortability_report(X, SortRegress())
    Order of the learned graph against the order of the variances:
      Kendall's tau            1.00
      edges to larger variance 1.00
    Graph in the given units against graph of standardised columns:
      edges                    4 and 5
      differing pairs (SHD)    3 (60%)
      lost                     0
      added                    1: x0 -> x3
      reversed                 2: x3 -> x1, x3 -> x2
    Warning: the graph sorts the columns by their variance and becomes another one
    on standardised columns. Trust its directions only if the units are meaningful
    and the noise variances about equal in them.
    """

    kendall_tau: float
    edge_agreement: float
    n_edges: int
    n_edges_standardized: int
    shd: int
    change: float
    lost: list
    added: list
    reversed: list
    follows_variance: bool
    depends_on_scale: bool
    warning: str

    def __repr__(self):
        edges = f"{self.n_edges} and {self.n_edges_standardized}"
        lines = [
            "Order of the learned graph against the order of the variances:",
            f"  Kendall's tau            {self.kendall_tau:.2f}",
            f"  edges to larger variance {self.edge_agreement:.2f}",
            "Graph in the given units against graph of standardised columns:",
            f"  edges                    {edges}",
            f"  differing pairs (SHD)    {self.shd} ({self.change:.0%})",
            _list_edges("lost", self.lost),
            _list_edges("added", self.added),
            _list_edges("reversed", self.reversed),
        ]
        verdict = self.warning or "The scale decides little here."
        return "\n".join([*lines, *wrap(verdict, 79)])


def sortability_report(X, estimator):
    """Tell how much a learned graph depends on the scale of the columns.

    Fits a clone of the learner in the given units and another one on standardised
    columns, and compares the first graph with the order of the variances and with the
    second graph. Nothing else is standardised: the data and the learner that are given
    stay as they are.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        The table, in the units that the learner would see.
    estimator : estimator
        A learner with ``adjacency_`` and ``causal_order_`` after ``fit``, for example
        `TopologicalSwap`; fitted or not, it is cloned.

    Returns
    -------
    SortabilityReport
        The figures as attributes, the whole story when it is shown or printed.

    Raises
    ------
    TypeError
        If the fitted learner has no ``adjacency_`` or ``causal_order_``.

    See Also
    --------
    SortRegress : The graph that sorting alone gives.
    skpapers.metrics.variance_sortability : The same question for a known graph.

    Notes
    -----
    Two fits of the learner, and little more for the comparison. A graph that changes
    with the scale is not wrong: where all noise variances are equal *in the given
    units*, the scale carries the information. Where units are arbitrary it is an
    artefact. A threshold on the weights, too, means another thing on standardised
    columns. Learners of random nature change between any two fits unless their
    ``random_state`` is a number.

    References
    ----------
    .. [1] A. G. Reisach, C. Seiler, S. Weichwald, "Beware of the simulated DAG! Causal
       discovery benchmarks may be easy to game", NeurIPS 2021.

    Examples
    --------
    >>> from skpapers.causal import TopologicalSwap, sortability_report
    >>> from skpapers.datasets import make_linear_sem
    >>> X = make_linear_sem(1000, 10, 20, random_state=0).X
    >>> report = sortability_report(X, TopologicalSwap(loss="squared"))
    >>> report.n_edges, report.n_edges_standardized, report.depends_on_scale
    (20, 32, True)
    """
    names, order, W = _learn(X, estimator)
    _, _, W_standardized = _learn(_standardize(X), estimator)
    tau = _tau(order, np.asarray(X, dtype=np.float64).var(axis=0))
    agreement = variance_sortability(X, W)
    shd = structural_hamming_distance(W, W_standardized)
    before, after = W != 0, W_standardized != 0
    n_pairs = np.triu(before | before.T | after | after.T).sum()
    change = shd / max(n_pairs, 1)
    follows = tau >= SORTED or agreement >= SORTED  # nan is neither
    depends = change > CHANGED
    return SortabilityReport(
        kendall_tau=float(tau),
        edge_agreement=float(agreement),
        n_edges=int(before.sum()),
        n_edges_standardized=int(after.sum()),
        shd=int(shd),
        change=float(change),
        lost=_named_edges(before & ~after & ~after.T, names),
        added=_named_edges(after & ~before & ~before.T, names),
        reversed=_named_edges(before & ~after & after.T, names),
        follows_variance=bool(follows),
        depends_on_scale=bool(depends),
        warning=_warning(np.isnan(tau), follows, depends),
    )


def _learn(X, estimator):
    """Return column names, order and adjacency of a fitted clone."""
    learner = clone(estimator).fit(X)
    check_is_fitted(learner)
    missing = [a for a in ("adjacency_", "causal_order_") if not hasattr(learner, a)]
    if missing:
        raise TypeError(
            f"estimator must learn a graph: a fitted {type(learner).__name__} has no "
            f"{' and no '.join(missing)}."
        )
    names = getattr(learner, "feature_names_in_", None)
    if names is None:
        names = [f"x{j}" for j in range(len(learner.adjacency_))]
    W = to_numpy(learner.adjacency_)
    return list(names), to_numpy(learner.causal_order_), W


def _tau(order, variances):
    """Return Kendall's tau; variances that are equal up to rounding errors tie."""
    variances = round_scores(variances)
    if (variances == variances[0]).all():
        return np.nan
    return kendalltau(np.argsort(order), variances).statistic


def _standardize(X):
    """Return standardised columns as the same kind of table, names included."""
    library = type(X).__module__.split(".")[0]
    frame = library if library in ("pandas", "polars") else "default"
    return StandardScaler().set_output(transform=frame).fit_transform(X)


def _named_edges(mask, names):
    return [(str(names[i]), str(names[j])) for i, j in np.argwhere(mask)]


def _list_edges(what, edges, most=8):
    """Return one line of the report; long lists are cut."""
    shown = ", ".join(f"{source} -> {target}" for source, target in edges[:most])
    dots = ", ..." if len(edges) > most else ""
    return f"  {what:<25}{len(edges)}" + (f": {shown}{dots}" if edges else "")


def _warning(equal, follows, depends):
    if equal:
        return (
            "Warning: all columns have the same variance, so there is no scale left to "
            "learn from. A learner that relies on it does no better than a guess here."
        )
    if depends and follows:
        return (
            "Warning: the graph sorts the columns by their variance and becomes "
            "another one on standardised columns. Trust its directions only if the "
            "units are meaningful and the noise variances about equal in them."
        )
    if depends:
        return (
            "Warning: the graph becomes another one on standardised columns. Trust it "
            "only if the units are meaningful, or use a method that is free of scale."
        )
    if follows:
        return (
            "Warning: the graph sorts the columns by their variance, although it "
            "hardly changes on standardised columns. Compare it with SortRegress."
        )
    return ""
