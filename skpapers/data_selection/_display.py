# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of scores: the map of the data, the cut, and what pruning costs."""

import numpy as np
from scipy.stats import t as student
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import check_is_fitted

from skpapers.data_selection._scorers import EL2NScorer
from skpapers.utils._optional import import_optional

# Okabe and Ito's colours, told apart with every kind of colour vision
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#8C8C8C"
KINDS = ("map", "histogram", "curve")
MAX_POINTS = 20_000  # of the map; more of them only darken it
LEVEL = 0.95  # of the interval


class InfluenceDisplay:
    """Pictures of the scores of rows and of what pruning by them costs.

    Make one with `from_estimator` or `from_curve`; `plot` draws again.

    Parameters
    ----------
    scores : array-like of shape (n_samples,), default=None
        Scores, for the histogram.
    support : array-like of bool, shape (n_samples,), default=None
        True for rows that are kept, or not suspect.
    confidence : array-like of shape (n_samples,), default=None
        How well the label suits the row, for the map.
    variability : array-like of shape (n_samples,), default=None
        Standard deviation of the confidence, for the map.
    groups : array-like of shape (n_samples,), default=None
        Groups with colours of their own in the map, for example known wrong labels.
    curve : dict of str to array-like, default=None
        As of `pruning_curve`.
    score_name : str, default="score"
        Name of the scores.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the picture.
    figure_ : matplotlib.figure.Figure
        Figure with the axes.
    summary_ : dict of str to dict of str to ndarray
        What the curve shows of each policy: "keep", "mean", "low" and "high".

    See Also
    --------
    pruning_curve : Accuracy against the share of kept rows.
    EL2NScorer : Scores; with ``score_path=True`` the map shows their way.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from skpapers.data_selection import InfluenceDisplay
    >>> curve = {
    ...     "policy": ["all", "all", "random", "random", "hardest", "hardest"],
    ...     "keep": [1.0, 1.0, 0.5, 0.5, 0.5, 0.5],
    ...     "fold": [0, 1, 0, 1, 0, 1],
    ...     "score": [0.96, 0.98, 0.90, 0.92, 0.95, 0.97],
    ... }
    >>> display = InfluenceDisplay.from_curve(curve)
    >>> display.summary_["random"]["mean"].round(2)
    array([0.91, 0.97])
    """

    def __init__(
        self,
        *,
        scores=None,
        support=None,
        confidence=None,
        variability=None,
        groups=None,
        curve=None,
        score_name="score",
    ):
        self.scores = _column(scores)
        self.support = _column(support)
        self.confidence = _column(confidence)
        self.variability = _column(variability)
        self.groups = _column(groups)
        self.curve = curve
        self.score_name = score_name
        self._names, self._is_suspicion = ("kept", "dropped"), False
        given = (self.scores, self.support, self.confidence, self.variability, groups)
        check_consistent_length(*(x for x in given if x is not None))
        if self.support is not None and self.support.dtype != bool:
            raise ValueError("support has to be boolean.")

    @classmethod
    def from_estimator(cls, estimator, *, groups=None, kind=None, ax=None):
        """Draw the scores of a fitted estimator.

        Parameters
        ----------
        estimator : scorer, InfluenceSampler, PrunedClassifier or NoisyLabelDetector
            Fitted.
        groups : array-like of shape (n_samples,), default=None
            Groups of the rows of ``fit`` with colours of their own in the map.
        kind : {"map", "histogram"}, default=None
            Which picture; None draws the map of a scorer, and the histogram with the
            cut of what chooses rows.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a figure.

        Returns
        -------
        InfluenceDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the scores are several in a row, or if the map has only one run and one
            checkpoint to show.
        """
        check_is_fitted(estimator)
        scorer = getattr(estimator, "scorer_", None) or estimator
        support = getattr(estimator, "support_", None)
        if support is None and hasattr(estimator, "labels_"):
            support = estimator.labels_ == 1
        if np.ndim(estimator.scores_) != 1:
            raise ValueError("The display shows one score a row: take one scorer.")
        display = cls(
            scores=estimator.scores_,
            support=support,
            groups=groups,
            score_name=type(scorer).__name__.replace("Scorer", "") + " score",
        )
        if hasattr(estimator, "suspect_indices_"):
            display._names, display._is_suspicion = ("looks right", "suspect"), True
        if scorer is estimator and support is not None:
            display.score_name = "probability that the label is wrong"
        kind = kind or ("map" if support is None else "histogram")
        if kind == "map":
            display.confidence, display.variability = _confidence(scorer)
        return display.plot(kind=kind, ax=ax)

    @classmethod
    def from_curve(cls, curve, *, ax=None):
        """Draw what `pruning_curve` has found.

        Parameters
        ----------
        curve : dict of str to array-like
            With "policy", "keep", "fold" and "score"; a data frame will do.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a figure.

        Returns
        -------
        InfluenceDisplay
            The display, drawn.
        """
        return cls(curve=curve).plot(kind="curve", ax=ax)

    def plot(self, *, kind="histogram", ax=None):
        """Draw a picture.

        Parameters
        ----------
        kind : {"map", "histogram", "curve"}, default="histogram"
            "map": confidence against variability; easy rows are at the top left,
            ambiguous ones at the right, hard and wrongly labelled ones at the bottom
            left. "histogram": the scores, with kept and dropped rows apart.
            "curve": mean score against the share of kept rows, with a 95 % interval
            over the folds, the random choice in grey and all rows dashed.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a figure.

        Returns
        -------
        InfluenceDisplay
            Itself.

        Raises
        ------
        ValueError
            If ``kind`` is unknown, or if what it shows was not given.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {kind!r}.")
        needed = {
            "map": ("confidence", "variability"),
            "histogram": ("scores",),
            "curve": ("curve",),
        }[kind]
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"kind={kind!r} needs {' and '.join(missing)}.")
        if ax is None:
            pyplot = import_optional(
                "matplotlib.pyplot", extra="plot", needed_by="InfluenceDisplay"
            )
            _, ax = pyplot.subplots(figsize=(6.0, 4.2), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        {
            "map": self._plot_map,
            "histogram": self._plot_histogram,
            "curve": self._plot_curve,
        }[kind](ax)
        ax.spines[["top", "right"]].set_visible(False)
        return self

    # -------------------------------------------------------------------- the pictures

    def _plot_map(self, ax):
        rows = np.arange(len(self.confidence))
        if len(rows) > MAX_POINTS:
            rows = np.random.RandomState(0).permutation(rows)[:MAX_POINTS]
        names, of_group = self._map_groups()
        size = np.clip(4e4 / len(rows), 4, 30)
        frequent_first = np.argsort(-np.bincount(of_group), kind="stable")
        for place, group in enumerate(frequent_first):  # rare groups lie on top
            shown = rows[of_group[rows] == group]
            ax.scatter(
                self.variability[shown],
                self.confidence[shown],
                s=size,
                color=COLOURS[place % len(COLOURS)],
                alpha=0.5,
                linewidths=0,
                label=f"{names[group]} ({(of_group == group).sum()})",
            )
        ax.set(xlabel="variability", ylabel="confidence in the given label")
        if len(names) > 1:
            legend = ax.legend(frameon=False, fontsize="small")
            for handle in legend.legend_handles:
                handle.set(alpha=1, sizes=[30])

    def _map_groups(self):
        if self.groups is not None:
            return np.unique(self.groups, return_inverse=True)
        if self.support is not None:
            return np.array(self._names[::-1]), self.support.astype(int)
        return np.array(["rows"]), np.zeros(len(self.confidence), dtype=int)

    def _plot_histogram(self, ax):
        finite = np.isfinite(self.scores)
        support = np.ones(len(finite), bool) if self.support is None else self.support
        parts = [self.scores[finite & support], self.scores[finite & ~support]]
        kept, dropped = self._names
        labels = [f"{kept} ({support.sum()})", f"{dropped} ({(~support).sum()})"]
        colours = [COLOURS[0], COLOURS[1] if self._is_suspicion else "#B8B8B8"]
        if self.support is None:
            parts, labels, colours = parts[:1], ["rows"], colours[:1]
        cuts = self._cuts(parts)
        bins = _bins(self.scores[finite], cuts)
        ax.hist(parts, bins=bins, stacked=True, color=colours, label=labels)
        if self._is_suspicion:  # nearly all rows are at one end
            ax.set_yscale("log")
        for cut in cuts:
            ax.axvline(cut, color="black", linewidth=1, linestyle="--")
        ax.set(xlabel=self.score_name, ylabel="rows")
        if self.support is not None:
            ax.legend(frameon=False, fontsize="small")

    def _cuts(self, parts):
        """Return where kept and dropped rows part, if they do."""
        if len(parts) < 2 or not all(len(part) for part in parts):
            return []
        kept, dropped = parts
        cuts = []
        below, above = dropped[dropped < kept.min()], dropped[dropped > kept.max()]
        if len(below) + len(above) < 0.98 * len(dropped):
            return []  # rows were drawn, or by class: no cut in the scores
        if len(below):
            cuts.append((below.max() + kept.min()) / 2)
        if len(above):
            cuts.append((above.min() + kept.max()) / 2)
        return cuts

    def _plot_curve(self, ax):
        policy, keep, fold, score = (
            np.asarray(self.curve[name]) for name in ("policy", "keep", "fold", "score")
        )
        self.summary_, reference = {}, None
        if (policy == "all").any():
            reference = _over_folds(fold[policy == "all"], score[policy == "all"])
            label = f"all rows ({reference[0]:.3f})"
            ax.axhline(reference[0], color="black", lw=1, ls="--", label=label)
        names = [name for name in dict.fromkeys(policy.tolist()) if name != "all"]
        names.sort(key=lambda name: name != "random")
        for place, name in enumerate(names):
            found = {
                share: _over_folds(fold[rows], score[rows])
                for share in np.unique(keep[policy == name])
                for rows in [(policy == name) & (keep == share)]
            }
            if reference is not None:
                found[1.0] = reference
            shares = np.array(sorted(found))
            mean, low, high = np.array([found[share] for share in shares]).T
            self.summary_[name] = {
                "keep": shares,
                "mean": mean,
                "low": low,
                "high": high,
            }
            colour = GREY if name == "random" else COLOURS[(place - 1) % len(COLOURS)]
            ax.plot(shares, mean, marker="o", ms=4, color=colour, label=name)
            ax.fill_between(shares, low, high, color=colour, alpha=0.15, lw=0)
        ax.set(xlabel="share of the rows that is kept", ylabel="score on test rows")
        ax.legend(frameon=False, fontsize="small", loc="lower right")


def _column(x):
    return None if x is None else column_or_1d(x)


def _bins(scores, cuts):
    """Return edges of bins; a cut is one of them."""
    edges = np.histogram_bin_edges(scores, bins=40)
    if not cuts:
        return edges
    width = edges[1] - edges[0]
    first = np.floor((cuts[0] - edges[0]) / width + 1)
    return cuts[0] + width * (np.arange(43) - first)


def _confidence(scorer):
    """Return confidence and its variability from what a scorer has kept."""
    states = getattr(scorer, "score_path_", None)
    if states is None or len(states) < 2:
        states = getattr(scorer, "scores_per_run_", None)
    if states is None or len(states) < 2:
        raise ValueError(
            "The map needs several states of each score: fit the scorer with "
            "score_path=True, or with n_runs > 1."
        )
    if not getattr(scorer, "higher_is_harder", True):
        states = -states
    if isinstance(scorer, EL2NScorer):
        scaled = states / 2 ** (1 / scorer.norm)
    else:  # no probability behind it: on the scale of its own range
        low, high = states.min(), states.max()
        scaled = (states - low) / (high - low if high > low else 1.0)
    return 1 - scaled.mean(axis=0), scaled.std(axis=0)


def _over_folds(fold, score):
    """Return the mean over the folds and its interval by Student's t."""
    by_fold = [score[fold == k].mean() for k in np.unique(fold)]
    mean, n = np.mean(by_fold), len(by_fold)
    if n < 2:
        return mean, mean, mean
    half = student.ppf((1 + LEVEL) / 2, n - 1) * np.std(by_fold, ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half
