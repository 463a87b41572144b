# SPDX-License-Identifier: BSD-3-Clause
"""Picture of what equality between groups costs."""

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length

from skpapers.linear_model._constrained._equations import split_constraints
from skpapers.linear_model._constrained._groups import groups_of, named_means, stacked
from skpapers.utils._optional import import_optional

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
BLUE, GREY = "#0072B2", "#8C8C8C"


def group_gap(names, sensitive, y, positive):
    """Return the largest difference of the rates of two groups.

    Parameters
    ----------
    names : list of str
        Constraints whose groups are compared.
    sensitive : ndarray of shape (n,) or (n, s)
        Labels of the groups.
    y : bool ndarray of shape (n,)
        Whether a row belongs to the positive class.
    positive : bool ndarray of shape (n,)
        Whether it is classified so.

    Returns
    -------
    float
        Largest absolute difference to the largest group.
    """
    weight = np.ones(len(y))
    n_features = 1 if sensitive.ndim == 1 else sensitive.shape[1]
    features = groups_of(sensitive, [f"s{j}" for j in range(n_features)], weight)
    means = stacked(named_means(name, features, y * 1, weight, 1) for name in names)
    return float(np.abs(means.a @ positive).max())


def _fold(estimator, X, y, sensitive, names, scorer, strength, train, test):
    """Return the score and the gap of one fit on the rows left out."""
    model = clone(estimator).set_params(strength=strength)
    model.fit(_rows(X, train), y[train], sensitive_features=sensitive[train])
    Z, positive = _rows(X, test), model.classes_[1]
    gap = group_gap(
        names, sensitive[test], y[test] == positive, model.predict(Z) == positive
    )
    return scorer(model, Z, y[test]), gap


def _rows(X, index):
    return X.iloc[index] if hasattr(X, "iloc") else X[index]


class TradeoffDisplay:
    """Picture of accuracy against the gap between groups, on rows left out of the fit.

    Make one with `from_estimator`; `plot` draws again.

    Parameters
    ----------
    strengths : array-like of shape (k,)
        Shares of the gap that were to be removed.
    scores, gaps : array-like of shape (k, n_folds)
        Score, and largest difference of the rates of two groups, of each fold.
    score_name : str, default="score"
        What the score is called.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the picture.
    figure_ : matplotlib.figure.Figure
        Figure with the axes.
    line_ : matplotlib.lines.Line2D
        The curve.

    See Also
    --------
    ConstrainedLogisticRegression : The model with the parameter ``strength``.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> from skpapers.linear_model import TradeoffDisplay
    >>> display = TradeoffDisplay([0.0, 1.0], [[0.84, 0.86], [0.8, 0.82]],
    ...                           [[0.2, 0.18], [0.0, 0.02]]).plot()
    >>> display.line_.get_xdata().round(2)
    array([0.19, 0.01])
    """

    def __init__(self, strengths, scores, gaps, score_name="score"):
        self.strengths = np.asarray(strengths, dtype=float)
        self.scores = check_array(scores, input_name="scores")
        self.gaps = check_array(gaps, input_name="gaps")
        check_consistent_length(self.strengths, self.scores, self.gaps)
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        sensitive_features,
        strengths=STRENGTHS,
        scoring=None,
        cv=5,
        n_jobs=None,
        ax=None,
    ):
        """Fit with several strengths by cross-validation and draw the result.

        Parameters
        ----------
        estimator : ConstrainedLogisticRegression
            An estimator with a constraint on groups; it is cloned.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels of two classes.
        sensitive_features : array-like of shape (n_samples,) or (n_samples, s)
            The group of each row.
        strengths : array-like of shape (k,)
            Values of ``strength``.
        scoring : str or callable, default=None
            Scorer; None is the accuracy.
        cv : int or cross-validation splitter, default=5
            Folds.
        n_jobs : int, default=None
            Number of fits at a time, as in joblib.
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a figure.

        Returns
        -------
        TradeoffDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the estimator has no named constraint on groups, or if there are more
            than two classes.
        """
        named, _ = split_constraints(estimator.constraints)
        names = [name for name in named if name != "calibration"]
        if not names:
            raise ValueError(
                "The estimator compares no groups: set constraints to 'parity', "
                "'equal_opportunity' or 'equalized_odds'."
            )
        y = np.asarray(y)
        if len(np.unique(y)) != 2:
            raise ValueError("The trade-off is drawn for two classes only.")
        sensitive = check_array(
            sensitive_features,
            dtype=None,
            ensure_2d=False,
            input_name="sensitive_features",
        )
        X = X if hasattr(X, "iloc") or hasattr(X, "shape") else np.asarray(X)
        scorer = check_scoring(estimator, scoring=scoring)
        folds = list(check_cv(cv, y, classifier=True).split(np.zeros(len(y)), y))
        found = Parallel(n_jobs=n_jobs)(
            delayed(_fold)(estimator, X, y, sensitive, names, scorer, strength, *fold)
            for strength in strengths
            for fold in folds
        )
        table = np.array(found).reshape(len(strengths), len(folds), 2)
        name = scoring if isinstance(scoring, str) else "accuracy"
        return cls(strengths, table[..., 0], table[..., 1], name).plot(ax)

    def plot(self, ax=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw into; None makes a figure.

        Returns
        -------
        TradeoffDisplay
            Itself.
        """
        if ax is None:
            pyplot = import_optional(
                "matplotlib.pyplot", extra="plot", needed_by="TradeoffDisplay"
            )
            _, ax = pyplot.subplots(figsize=(5.6, 4.2), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        gap, score = self.gaps.mean(axis=1), self.scores.mean(axis=1)
        error = {
            "xerr": self.gaps.std(axis=1) / np.sqrt(self.gaps.shape[1]),
            "yerr": self.scores.std(axis=1) / np.sqrt(self.scores.shape[1]),
        }
        ax.errorbar(gap, score, **error, fmt="none", ecolor=GREY, elinewidth=1)
        (self.line_,) = ax.plot(gap, score, "o-", color=BLUE)
        for x, y, strength in zip(gap, score, self.strengths, strict=True):
            ax.annotate(
                f"{strength:g}",
                (x, y),
                xytext=(5, -11),
                textcoords="offset points",
                fontsize="small",
            )
        ax.set(
            xlabel="largest difference between the rates of two groups",
            ylabel=self.score_name.replace("_", " "),
            title="labels: strength; bars: standard error over folds",
        )
        ax.title.set_fontsize("small")
        ax.set_xlim(left=min(0.0, ax.get_xlim()[0]))
        ax.spines[["top", "right"]].set_visible(False)
        return self
