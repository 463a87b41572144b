# SPDX-License-Identifier: BSD-3-Clause
"""Picture of the covariates of two groups before and after weighting."""

import numpy as np
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skpapers.causal._drawing import BLUE, GREY, ORANGE
from skpapers.utils._optional import import_optional

# Differences below it count as small by the convention of the field.
SMALL_DIFFERENCE = 0.1


class BalanceDisplay:
    """Picture of how alike two groups are, before and after they are weighed.

    One line a covariate: the difference of the group means in standard deviations.
    Make one with `from_estimator`; `plot` draws again.

    Parameters
    ----------
    before, after : array-like of shape (n_moments,)
        Standardised differences without and with weights.
    names : list of str
        Names of the moments.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the picture.
    figure_ : matplotlib.figure.Figure
        Figure with the axes.
    shown_ : list of str
        The moments, from top to bottom.

    See Also
    --------
    EntropyBalancing : The weights.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from skpapers.causal import BalanceDisplay
    >>> display = BalanceDisplay([0.2, -0.7], [0.0, 0.05], ["age", "dose"]).plot()
    >>> display.shown_
    ['dose', 'age']
    """

    def __init__(self, before, after, names):
        read = [
            column_or_1d(check_array(values, ensure_2d=False, input_name=name))
            for name, values in (("before", before), ("after", after))
        ]
        check_consistent_length(*read, names)
        self.before, self.after = read
        self.names = list(names)

    @classmethod
    def from_estimator(cls, estimator, *, n_moments=30, absolute=False, ax=None):
        """Draw the balance that an estimator has reached.

        Parameters
        ----------
        estimator : EntropyBalancing
            A fitted estimator with ``balance_``.
        n_moments : int, default=30
            Largest number of moments; those with the largest difference before are
            drawn.
        absolute : bool, default=False
            Whether to draw the sizes of the differences without their signs.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a figure of a fitting size.

        Returns
        -------
        BalanceDisplay
            The display, drawn.
        """
        check_is_fitted(estimator, "balance_")
        table = estimator.balance_
        display = cls(
            table["difference_before"], table["difference_after"], table["moment"]
        )
        return display.plot(ax, n_moments=n_moments, absolute=absolute)

    def plot(self, ax=None, *, n_moments=30, absolute=False):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a figure of a fitting size.
        n_moments : int, default=30
            Largest number of moments; those with the largest difference before are
            drawn.
        absolute : bool, default=False
            Whether to draw the sizes of the differences without their signs.

        Returns
        -------
        BalanceDisplay
            Itself.
        """
        rows = np.argsort(-np.abs(self.before), kind="stable")[:n_moments]
        before, after = self.before[rows], self.after[rows]
        if absolute:
            before, after = np.abs(before), np.abs(after)
        self.shown_ = [self.names[j] for j in rows]
        if ax is None:
            pyplot = import_optional(
                "matplotlib.pyplot", extra="plot", needed_by="BalanceDisplay"
            )
            size = (6.4, max(2.4, 0.3 * len(rows) + 1.4))
            _, ax = pyplot.subplots(figsize=size, layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        at = np.arange(len(rows))
        ax.axvspan(
            0 if absolute else -SMALL_DIFFERENCE,
            SMALL_DIFFERENCE,
            color=GREY,
            alpha=0.15,
            linewidth=0,
        )
        ax.axvline(0, color=GREY, linewidth=1)
        ax.hlines(at, before, after, color=GREY, linewidth=1)
        ax.plot(before, at, "o", color=ORANGE, fillstyle="none", label="before")
        ax.plot(after, at, "o", color=BLUE, label="after weighting")
        ax.set_yticks(at, self.shown_, parse_math=False)
        ax.invert_yaxis()
        size = "size of the standardised" if absolute else "standardised"
        ax.set_xlabel(f"{size} difference, treated − untreated")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize="small")
        return self
