# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of suggested designs: can they be believed, and what regularising costs."""

import numpy as np
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.validation import assert_all_finite, check_is_fitted

from skpapers.offline_optimization._tuning import rank_correlation
from skpapers.utils._optional import import_optional

# Okabe and Ito's colours, told apart with every kind of colour vision
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#8C8C8C"
KINDS = ("truth", "distance", "tradeoff")
NEEDS = {
    "truth": ("predicted", "actual"),
    "distance": ("predicted", "distance"),
    "tradeoff": ("multipliers", "criteria"),
}


class DesignDisplay:
    """Pictures of suggested designs and of the multiplier that they depend on.

    Make one with `from_estimator`, `from_designs`, `from_multipliers` or
    `from_cv_results`; `plot` draws again.

    Parameters
    ----------
    predicted : array-like of shape (n_designs,), default=None
        What the surrogate promises.
    actual : array-like of shape (n_designs,), default=None
        What was measured afterwards.
    distance : array-like of shape (n_designs,), default=None
        Distance to the data of the fit.
    best_known : float, default=None
        Best score in the data of the fit; a dashed line.
    maximize : bool, default=True
        Whether large scores are good.
    multipliers : array-like of shape (n_multipliers,), default=None
        Strengths of the regularisation, not negative.
    criteria : dict of str to array-like, default=None
        Name and values of each criterion, of shape (n_multipliers,) or (n_multipliers,
        n_repeats).
    chosen : float, default=None
        Multiplier that was chosen, one of them; a dotted line.
    multiplier_name : str, default="multiplier"
        What the multiplier is called.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the picture, the first ones if there are several criteria.
    axes_ : ndarray of matplotlib.axes.Axes
        All of them, one a criterion.
    figure_ : matplotlib.figure.Figure
        Figure with the axes.
    summary_ : dict of str to float
        For predicted against true scores: "over_optimism", by how much the designs are
        worse than predicted, which is the mean of predicted minus actual (with
        ``maximize=False``, of actual minus predicted); "rank_correlation", Spearman's,
        zero if one of both is constant; and "share_better", the share of the designs
        that beat ``best_known`` (with ``maximize=False``, that are below it), if that
        is given.

    See Also
    --------
    OfflineOptimizer : Suggests designs.
    QuantileShiftSplit : Splits to choose the multiplier with.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from skpapers.offline_optimization import DesignDisplay
    >>> display = DesignDisplay.from_designs(
    ...     [3.0, 2.5, 2.0], actual=[1.0, 1.5, 2.0], best_known=1.2
    ... )
    >>> {name: round(value, 2) for name, value in display.summary_.items()}
    {'over_optimism': 1.0, 'rank_correlation': -1.0, 'share_better': 0.67}
    """

    def __init__(
        self,
        *,
        predicted=None,
        actual=None,
        distance=None,
        best_known=None,
        maximize=True,
        multipliers=None,
        criteria=None,
        chosen=None,
        multiplier_name="multiplier",
    ):
        self.predicted = _column(predicted, "predicted")
        self.actual = _column(actual, "actual")
        self.distance = _column(distance, "distance")
        self.best_known = best_known
        self.multipliers = _column(multipliers, "multipliers")
        self.criteria = None if criteria is None else _tables(criteria)
        self.chosen = chosen
        self.multiplier_name = multiplier_name
        self.maximize = maximize
        check_consistent_length(self.predicted, self.actual, self.distance)
        if self.multipliers is not None:
            check_consistent_length(self.multipliers, *(self.criteria or {}).values())
            if (self.multipliers < 0).any():
                raise ValueError("Multipliers must not be negative.")
            if chosen is not None and chosen not in self.multipliers:
                raise ValueError(f"chosen={chosen} is not among the multipliers.")
        if self.criteria is not None and not self.criteria:
            raise ValueError("criteria must not be empty.")

    @classmethod
    def from_estimator(
        cls, optimizer, *, actual=None, best_known=None, kind=None, ax=None
    ):
        """Draw the designs that a fitted optimizer has suggested.

        Parameters
        ----------
        optimizer : OfflineOptimizer
            Fitted, and asked for suggestions.
        actual : array-like of shape (n_candidates,), default=None
            What was measured of ``candidates_`` afterwards.
        best_known : float, default=None
            Best score in the data of the fit; a dashed line.
        kind : {"truth", "distance"}, default=None
            Which picture; None draws the truth if it is known, else the distance.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a figure.

        Returns
        -------
        DesignDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If no designs were suggested yet, or if ``actual`` has another length.
        """
        check_is_fitted(optimizer)
        if not hasattr(optimizer, "candidate_scores_"):
            raise ValueError("There are no designs yet: call suggest first.")
        display = cls(
            predicted=optimizer.candidate_scores_,
            actual=actual,
            distance=optimizer.distance_to_data_,
            best_known=best_known,
            maximize=getattr(optimizer, "maximize", True),
        )
        kind = kind or ("distance" if actual is None else "truth")
        return display.plot(kind=kind, ax=ax)

    @classmethod
    def from_designs(
        cls,
        predicted,
        *,
        actual=None,
        distance=None,
        best_known=None,
        maximize=True,
        kind=None,
        ax=None,
    ):
        """Draw designs from any source.

        Parameters
        ----------
        predicted : array-like of shape (n_designs,)
            What a model promises.
        actual : array-like of shape (n_designs,), default=None
            What was measured afterwards.
        distance : array-like of shape (n_designs,), default=None
            Distance to the data of the fit.
        best_known : float, default=None
            Best score in the data of the fit; a dashed line.
        maximize : bool, default=True
            Whether large scores are good.
        kind : {"truth", "distance"}, default=None
            Which picture; None draws the truth if it is known, else the distance.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a figure.

        Returns
        -------
        DesignDisplay
            The display, drawn.
        """
        display = cls(
            predicted=predicted,
            actual=actual,
            distance=distance,
            best_known=best_known,
            maximize=maximize,
        )
        kind = kind or ("distance" if actual is None else "truth")
        return display.plot(kind=kind, ax=ax)

    @classmethod
    def from_multipliers(
        cls, multipliers, criteria, *, chosen=None, name="multiplier", ax=None
    ):
        """Draw how criteria depend on the multiplier.

        Parameters
        ----------
        multipliers : array-like of shape (n_multipliers,)
            Strengths of the regularisation, not negative.
        criteria : dict of str to array-like
            Name and values of each criterion, of shape (n_multipliers,) or
            (n_multipliers, n_repeats): scores, sharpness, anything.
        chosen : float, default=None
            Multiplier that was chosen, one of them; a dotted line.
        name : str, default="multiplier"
            What the multiplier is called.
        ax : matplotlib Axes or array of them, default=None
            One for each criterion; None makes a figure.

        Returns
        -------
        DesignDisplay
            The display, drawn.
        """
        display = cls(
            multipliers=multipliers,
            criteria=criteria,
            chosen=chosen,
            multiplier_name=name,
        )
        return display.plot(kind="tradeoff", ax=ax)

    @classmethod
    def from_cv_results(cls, cv_results, *, param=None, metrics=None, ax=None):
        """Draw how the scores of a search depend on the multiplier.

        Parameters
        ----------
        cv_results : dict or fitted search
            ``cv_results_`` of a grid search over the multiplier, or the search itself.
            In a list of grids, those without the multiplier are left out.
            Where other parameters were varied too, the best setting of them at each
            multiplier is shown, by the first metric.
        param : str, default=None
            Name of the parameter, such as "estimator__multiplier". None takes the only
            one that ends in "multiplier".
        metrics : str or list of str, default=None
            Names of the scorers; None takes all.
        ax : matplotlib Axes or array of them, default=None
            One for each metric; None makes a figure.

        Returns
        -------
        DesignDisplay
            The display, drawn, with the best multiplier by the first metric chosen.

        Raises
        ------
        ValueError
            If the search is not fitted, or if the parameter or a metric is not among
            the results.
        """
        results = _results_of(cv_results)
        param = _multiplier_of(results, param)
        metrics = _metrics_of(results, metrics)
        values = _values_of(results, param)
        first = np.asarray(results[f"mean_test_{metrics[0]}"], dtype=float)
        multipliers = np.unique(values[~np.isnan(values)])
        rows = [
            max(np.flatnonzero(values == value), key=lambda row: _finite(first[row]))
            for value in multipliers
        ]
        return cls.from_multipliers(
            multipliers,
            {name: _splits(results, name)[rows] for name in metrics},
            chosen=multipliers[np.argmax([_finite(first[row]) for row in rows])],
            name=param.rpartition("__")[2],
            ax=ax,
        )

    def plot(self, *, kind="truth", ax=None):
        """Draw a picture.

        Parameters
        ----------
        kind : {"truth", "distance", "tradeoff"}, default="truth"
            "truth": actual against predicted scores, with the line on which promises
            are kept. "distance": predicted scores against the distance to the data,
            coloured by the actual scores if they are known. "tradeoff": each criterion
            against the multiplier, with standard errors over the repeats.
        ax : matplotlib Axes or array of them, default=None
            Axes to draw into, for "tradeoff" one a criterion; None makes a figure.

        Returns
        -------
        DesignDisplay
            Itself.

        Raises
        ------
        ValueError
            If ``kind`` is unknown, if what it shows was not given, or if the number of
            axes is wrong.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {kind!r}.")
        missing = [name for name in NEEDS[kind] if getattr(self, name) is None]
        if missing:
            raise ValueError(f"kind={kind!r} needs {' and '.join(missing)}.")
        self.axes_ = _axes(ax, len(self.criteria) if kind == "tradeoff" else 1)
        self.ax_, self.figure_ = self.axes_[0], self.axes_[0].figure
        {
            "truth": self._plot_truth,
            "distance": self._plot_distance,
            "tradeoff": self._plot_tradeoff,
        }[kind]()
        for one in self.axes_:
            one.spines[["top", "right"]].set_visible(False)
        return self

    # -------------------------------------------------------------------- the pictures

    def _plot_truth(self):
        ax = self.ax_
        self.summary_ = self._summary()
        gap = self.summary_["over_optimism"]
        what = "predicted minus actual" if self.maximize else "actual minus predicted"
        ax.scatter(self.predicted, self.actual, s=18, color=COLOURS[0], alpha=0.6, lw=0)
        both = np.concatenate([self.predicted, self.actual])
        ends = [both.min(), both.max()]
        ax.plot(ends, ends, color=GREY, lw=1, label="promise kept", zorder=0)
        self._draw_best_known()
        ax.set(
            xlabel="predicted score",
            ylabel="actual score",
            title=f"mean of {what}: {gap:.3g}",
        )
        ax.title.set_fontsize("small")
        ax.legend(frameon=False, fontsize="small")

    def _summary(self):
        sign = 1 if self.maximize else -1
        summary = {
            "over_optimism": float(np.mean(sign * (self.predicted - self.actual))),
            "rank_correlation": rank_correlation(self.predicted, self.actual),
        }
        if self.best_known is not None:
            gain = sign * (self.actual - self.best_known)
            summary["share_better"] = float(np.mean(gain > 0))
        return summary

    def _plot_distance(self):
        ax, known = self.ax_, self.actual is not None
        look = {"c": self.actual, "cmap": "viridis"} if known else {"color": COLOURS[0]}
        points = ax.scatter(
            self.distance, self.predicted, s=22, alpha=0.8, linewidths=0, **look
        )
        if known:
            self.figure_.colorbar(points, ax=ax, label="actual score")
        if self._draw_best_known():
            ax.legend(frameon=False, fontsize="small")
        ax.set(xlabel="distance to the data", ylabel="predicted score")
        ax.set_xlim(left=min(0.0, ax.get_xlim()[0]))

    def _draw_best_known(self):
        if self.best_known is None:
            return False
        line = {"color": "black", "lw": 1, "ls": "--", "zorder": 0}
        self.ax_.axhline(self.best_known, label="best in the data", **line)
        return True

    def _plot_tradeoff(self):
        order = np.argsort(self.multipliers, kind="stable")
        places = _places(self.multipliers[order])
        for k, (ax, (name, table)) in enumerate(
            zip(self.axes_, self.criteria.items(), strict=True)
        ):
            mean, error = _mean_and_error(table[order])
            colour = COLOURS[k % len(COLOURS)]
            ax.errorbar(places, mean, yerr=error, fmt="o-", ms=4, lw=1.5, color=colour)
            if self.chosen is not None:
                at = places[self.multipliers[order] == self.chosen][0]
                ax.axvline(at, color="black", lw=1, ls=":", label="chosen")
            ax.set_ylabel(name.replace("_", " "))
            _name_places(ax, places, self.multipliers[order])
        self.axes_[-1].set_xlabel(self.multiplier_name)
        if self.chosen is not None:
            # above the axes, where no error bar can be under it
            self.ax_.legend(
                frameon=False,
                fontsize="small",
                loc="lower right",
                bbox_to_anchor=(1.0, 1.0),
                borderaxespad=0.0,
            )


# ------------------------------------------------------------------------ what is drawn


def _column(x, name):
    if x is None:
        return None
    x = column_or_1d(x, dtype=np.float64)
    assert_all_finite(x, input_name=name)
    if not len(x):
        raise ValueError(f"{name} must not be empty.")
    return x


def _tables(criteria):
    """Return arrays of shape (n_multipliers, n_repeats); failed repeats are NaN."""
    tables = {}
    for name, values in criteria.items():
        values = np.asarray(values, dtype=float)
        tables[name] = check_array(
            values[:, None] if values.ndim == 1 else values,
            ensure_all_finite="allow-nan",
            input_name=name,
        )
    return tables


def _mean_and_error(table):
    """Return means and standard errors over the repeats that there are."""
    n = np.isfinite(table).sum(axis=1)
    mean = np.where(n, np.nansum(table, axis=1) / np.maximum(n, 1), np.nan)
    squares = np.nansum((table - mean[:, None]) ** 2, axis=1)
    if table.shape[1] == 1:
        return mean, None
    return mean, np.sqrt(squares / np.maximum(n - 1, 1) / np.maximum(n, 1))


def _places(multipliers):
    """Return places on a logarithmic axis; zero stands one step left of the rest."""
    positive = multipliers > 0
    places = np.zeros(len(multipliers))
    places[positive] = np.log10(multipliers[positive])
    if positive.any():
        known = np.unique(places[positive])
        step = np.median(np.diff(known)) if len(known) > 1 else 1.0
        places[~positive] = known[0] - step
    return places


def _name_places(ax, places, multipliers):
    """Label the multipliers, or as many of them as there is room for."""
    places, first = np.unique(places, return_index=True)
    labels = [_short(value) for value in multipliers[first]]
    inches = ax.get_window_extent().width / ax.figure.dpi
    span = places[-1] - places[0]
    at = places * (inches / span) if span else places
    shown = _with_room(at, labels, ax.xaxis.label.get_size() / 72)
    ax.set_xticks(places[shown], [labels[k] for k in shown])


def _short(value):
    """Return a number as a text of few characters."""
    text = f"{value:g}"
    return text if len(text) <= 5 else f"{float(f'{value:.2g}'):g}"


def _with_room(at, labels, size):
    """Return which labels do not touch, for places and a size of letters in inches."""
    n = len(at)
    half = size * (0.3 * np.array([len(label) for label in labels]) + 0.25)

    def touch(k, m):
        return at[m] - at[k] < half[k] + half[m]

    steps = np.diff(at)
    if np.allclose(steps, steps[:1]):  # every second, third, ...
        for every in range(1, n):
            shown = range(0, n, every)
            if not any(touch(k, k + every) for k in shown[:-1]):
                return list(shown)
    shown = [0]
    for k in range(1, n):
        if not touch(shown[-1], k):
            shown.append(k)
    return shown


def _axes(ax, n):
    """Return n axes."""
    if ax is None:
        pyplot = import_optional(
            "matplotlib.pyplot", extra="plot", needed_by="DesignDisplay"
        )
        size = (5.6, 4.2 if n == 1 else 2.2 * n + 0.6)
        _, ax = pyplot.subplots(n, figsize=size, sharex=True, layout="constrained")
    axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    if len(axes) != n:
        raise ValueError(f"The picture needs {n} axes, got {len(axes)}.")
    return axes


# ------------------------------------------------------------------ results of a search


def _results_of(search):
    """Return the results of a fitted search, or what are results already."""
    results = getattr(search, "cv_results_", search)
    if hasattr(results, "keys"):
        return results
    if hasattr(search, "fit"):
        check_is_fitted(search)
    raise TypeError(
        f"cv_results must be a fitted search or its cv_results_, got {search!r}."
    )


def _values_of(results, param):
    """Return the values of a parameter, NaN where a grid of several lacks it."""
    column = results[f"param_{param}"]
    is_masked = np.ma.getmaskarray(column)
    values = [
        np.nan if masked else _number(value, param)
        for value, masked in zip(column, is_masked, strict=True)
    ]
    if not np.isfinite(values).any():
        raise ValueError(f"The results have no value of {param}.")
    return np.array(values)


def _multiplier_of(results, param):
    names = [key.removeprefix("param_") for key in results if key.startswith("param_")]
    if param is None:
        found = [name for name in names if name.endswith("multiplier")]
        if len(found) != 1:
            raise ValueError(f"Say which parameter with param, one of {names}.")
        return found[0]
    if param not in names:
        raise ValueError(f"The search has not varied {param!r}, only {names}.")
    return param


def _metrics_of(results, metrics):
    start = "mean_test_"
    known = [key.removeprefix(start) for key in results if key.startswith(start)]
    metrics = [metrics] if isinstance(metrics, str) else metrics
    metrics = known if metrics is None else list(metrics)
    unknown = [name for name in metrics if name not in known]
    if unknown or not metrics:
        raise ValueError(f"metrics must be some of {known}, got {metrics}.")
    return metrics


def _number(value, param):
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{param} has to be a number, got {value!r}.") from None


def _finite(score):
    """Return the score, or the lowest one where a fit has failed."""
    return score if np.isfinite(score) else -np.inf


def _splits(results, metric):
    """Return the scores of shape (n_settings, n_splits)."""
    keys, k = [], 0
    while (key := f"split{k}_test_{metric}") in results:
        keys.append(key)
        k += 1
    if not keys:
        return np.asarray(results[f"mean_test_{metric}"], dtype=float)[:, None]
    return np.column_stack([np.asarray(results[key], dtype=float) for key in keys])
