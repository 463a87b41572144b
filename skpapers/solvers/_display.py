# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of how solvers converge."""

import numpy as np
from scipy.optimize import OptimizeResult

from skpapers.utils._optional import import_optional

__all__ = ["ConvergenceDisplay"]

# Okabe and Ito's colours, told apart with every kind of colour vision
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")
# What solvers and estimators call the columns of their histories.
ALIASES = {
    "objective": ("objective", "fun", "loss", "f"),
    "residual": ("residual", "kkt", "kkt_residual", "gradient_norm", "gradient"),
    "seconds": ("seconds", "cpu_seconds", "time"),
}
LABELS = {
    "iterations": "iterations",
    "seconds": "seconds",
    "gap": "objective gap",
    "objective": "objective",
    "residual": "residual",
}
FLOOR = 1e-16  # gaps at and below rounding are drawn here, relative to the largest


class ConvergenceDisplay:
    """Objective gaps and residuals of solvers against iterations and seconds.

    Make one with `from_results`; `plot` draws again.

    Parameters
    ----------
    histories : dict of str to dict or list of dict
        For every solver, a dict of columns or a list of records, one entry a step.
        Columns are "objective" (also "fun", "loss"), "residual" (also "kkt",
        "gradient_norm", "gradient") and "seconds"; what is missing is not drawn.
    best : float, default=None
        The minimum, of which gaps are taken; None takes the lowest objective of all
        histories, whose own last gap is then zero and not drawn.

    Attributes
    ----------
    axes_ : ndarray of matplotlib.axes.Axes
        The pictures, rows for what is measured and columns for what it costs.
    figure_ : matplotlib.figure.Figure
        The figure with the axes.
    lines_ : dict of str to list of matplotlib.lines.Line2D
        The lines of every solver.

    See Also
    --------
    gns_minimize : A solver with such a history.
    ConvergenceRecorder : Histories of SciPy's solvers under equations.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from scipy.optimize import rosen, rosen_der, rosen_hess
    >>> from skpapers.solvers import ConvergenceDisplay, gns_minimize
    >>> results = {
    ...     name: gns_minimize(rosen, [2.0, 2.0], rosen_der, rosen_hess, gamma0=radius)
    ...     for name, radius in [("small radius", 0.1), ("large radius", 10.0)]
    ... }
    >>> display = ConvergenceDisplay.from_results(results, best=0.0)
    >>> display.axes_.shape
    (2, 2)
    """

    def __init__(self, histories, *, best=None):
        _require_names("histories", histories)
        if not histories:
            raise ValueError("histories is empty: give at least one solver.")
        self.histories = {
            str(name): _columns(name, history) for name, history in histories.items()
        }
        if best is None:
            lowest = [
                np.nanmin(columns["objective"])
                for columns in self.histories.values()
                if "objective" in columns
            ]
            best = min(lowest, default=0.0)
        self.best = float(best)

    @classmethod
    def from_results(cls, results, *, best=None, **options):
        """Draw results of solvers and fitted estimators.

        Parameters
        ----------
        results : dict of str to result
            Names, and what has a ``history`` or ``history_``: results of the solvers,
            fitted estimators; or histories themselves.
        best : float, default=None
            The minimum; None takes the lowest objective of all.
        **options : dict
            Arguments of `plot`.

        Returns
        -------
        ConvergenceDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the results have no names.
        ValueError
            If a result has no history, or one that is no table of numbers.
        """
        _require_names("results", results)
        histories = {
            name: _history_of(name, result) for name, result in results.items()
        }
        return cls(histories, best=best).plot(**options)

    def plot(
        self, axes=None, *, x=("iterations", "seconds"), y=("gap", "residual"), **lines
    ):
        """Draw.

        Parameters
        ----------
        axes : matplotlib Axes or array of them, default=None
            Axes to draw into, as many as pairs of ``y`` and ``x``; None makes a figure.
        x : str or sequence of str, default=("iterations", "seconds")
            What the solvers spend: "iterations", "seconds", or another column.
        y : str or sequence of str, default=("gap", "residual")
            What is measured: "gap", "residual", "objective", or another column.
        **lines : dict
            Further properties of the lines.

        Returns
        -------
        ConvergenceDisplay
            The display.

        Raises
        ------
        ValueError
            If no history has a column, or there are too few axes.
        """
        x, y = _as_tuple(x), _as_tuple(y)
        shape = len(y), len(x)
        axes = self._make_axes(axes, shape)
        self.axes_, self.figure_ = axes, axes.flat[0].figure
        self.lines_ = {name: [] for name in self.histories}
        for i, measure in enumerate(y):
            for j, cost in enumerate(x):
                self._draw(axes[i, j], cost, measure, lines)
        for i in range(shape[0]):
            axes[i, 0].set_ylabel(LABELS.get(y[i], y[i]))
        for j in range(shape[1]):
            axes[-1, j].set_xlabel(LABELS.get(x[j], x[j]))
        if len(self.histories) > 1:
            axes[0, -1].legend(frameon=False)
        return self

    def _make_axes(self, axes, shape):
        if axes is None:
            pyplot = import_optional(
                "matplotlib.pyplot", extra="plot", needed_by="ConvergenceDisplay"
            )
            size = 0.8 + 3.4 * shape[1], 0.6 + 2.4 * shape[0]
            _, axes = pyplot.subplots(
                *shape,
                figsize=size,
                sharex="col",
                sharey="row",
                squeeze=False,
                layout="constrained",
            )
        axes = np.atleast_1d(np.asarray(axes, dtype=object))
        if axes.size != shape[0] * shape[1]:
            raise ValueError(
                f"{shape[0]} measures against {shape[1]} costs need "
                f"{shape[0] * shape[1]} axes, got {axes.size}."
            )
        return axes.reshape(shape)

    def _draw(self, ax, cost, measure, options):
        drawn = False
        for k, (name, columns) in enumerate(self.histories.items()):
            values, spent = self._values(columns, measure), _cost(columns, cost)
            if values is None or spent is None:
                continue
            style = {
                "color": COLOURS[k % len(COLOURS)],
                "linestyle": STYLES[(k // len(COLOURS)) % len(STYLES)],
                "label": name,
            }
            (line,) = ax.plot(spent, values, **(style | options))
            self.lines_[name].append(line)
            drawn = True
        if not drawn:
            raise ValueError(
                f"No history has what {measure!r} against {cost!r} needs; there are "
                f"{sorted(set().union(*self.histories.values()))}."
            )
        if measure != "objective":
            ax.set_yscale("log")
        ax.spines[["top", "right"]].set_visible(False)

    def _values(self, columns, measure):
        if measure != "gap":
            return columns.get(measure)
        if "objective" not in columns:
            return None
        gap = columns["objective"] - self.best
        floor = FLOOR * max(np.nanmax(gap), abs(self.best), np.finfo(float).tiny)
        # a logarithm has no place for what is not positive
        return np.where(gap > floor, gap, np.nan)


def _require_names(name, given):
    """Raise unless there is a dict by name; a result of SciPy is a dict of its own."""
    if not isinstance(given, dict) or isinstance(given, OptimizeResult):
        raise TypeError(
            f"{name} must be a dict with a name for every solver, such as "
            f"{{'gns': result}}; got {type(given).__name__}."
        )


def _as_tuple(names):
    return (names,) if isinstance(names, str) else tuple(names)


def _cost(columns, name):
    if name != "iterations":
        return columns.get(name)
    return np.arange(len(next(iter(columns.values()))))


def _history_of(name, result):
    for attribute in ("history", "history_"):
        if hasattr(result, attribute):
            return getattr(result, attribute)
    if isinstance(result, dict | list) and not isinstance(result, OptimizeResult):
        return result
    raise ValueError(
        f"{name!r} has neither history nor history_: solvers keep it with "
        "return_history=True, and a ConvergenceRecorder keeps it for SciPy's."
    )


def _columns(name, history):
    """Return a history as a dict of arrays with the names of this module."""
    if not isinstance(history, dict):
        records = isinstance(history, list) and all(
            isinstance(record, dict) for record in history
        )
        if not records:
            raise ValueError(
                f"The history of {name!r} is not a table of numbers: it is neither a "
                "dict of columns nor a list of dicts."
            )
        keys = list(dict.fromkeys(key for record in history for key in record))
        history = {key: [record.get(key, np.nan) for record in history] for key in keys}
    columns = {}
    for key, column in history.items():
        try:
            columns[key] = np.asarray(column, dtype=np.float64)
        except (TypeError, ValueError):
            continue  # words, or arrays of several sizes
    for ours, theirs in ALIASES.items():
        found = [key for key in theirs if key in columns]
        if found:
            columns[ours] = columns[found[0]]
    if not columns or any(column.ndim != 1 for column in columns.values()):
        raise ValueError(f"The history of {name!r} is not a table of numbers.")
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError(f"The columns of {name!r} have different lengths.")
    return columns
