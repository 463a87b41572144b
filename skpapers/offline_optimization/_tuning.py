# SPDX-License-Identifier: BSD-3-Clause
"""Choosing parameters for designs beyond the data, without a new experiment.

A search leaves the table: it asks the surrogate about designs that are better than all
known ones. K folds leave out designs of every quality, so they never pose that
question. Here the worse designs train and the better ones validate, and the surrogate
is judged by the order in which it puts designs better than all it has seen.
"""

from numbers import Integral, Real

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import make_scorer
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import assert_all_finite

from skpapers.utils._sklearn import Interval, validate_params


class QuantileShiftSplit(BaseCrossValidator):
    """Split that trains on the worse designs and validates on the better ones.

    Designs with a score up to a quantile train, all above it validate. Several splits
    differ in the training part: each leaves out another group of it, made of every
    ``n_splits``-th design in the order of the scores, so that all groups reach over the
    same range.

    Parameters
    ----------
    n_splits : int, default=5
        Number of splits. With 1 the whole lower part trains.
    train_quantile : float, default=0.8
        Quantile of the scores, between 0 and 1. Designs with exactly this score train,
        so that equal scores are never on both sides. A low one leaves few designs to
        train on, so that what suits them need not suit the whole table.
    maximize : bool, default=True
        Whether high scores are good; if not, the designs with the lowest scores
        validate. In a search that is the ``estimator`` of an `OfflineOptimizer` it is
        True in any case, since that negates scores of which the low ones are good.

    See Also
    --------
    spearman_scorer : Whether the better designs are put in the right order.
    top_k_mean_scorer : What the designs are worth that the surrogate likes best.
    sklearn.model_selection.KFold : Splits without a shift.

    Notes
    -----
    The validation part is the same in all splits. Their mean score has less noise from
    training than a single split, but their standard deviation says nothing of the noise
    from the choice of the validation designs.

    There is no random number: like `sklearn.model_selection.KFold` without shuffling,
    the same table gives the same splits. A split costs O(n log n).

    References
    ----------
    .. [1] M. C. Dao, P. L. Nguyen, T. N. Truong, T. N. Hoang, Incorporating Surrogate
       Gradient Norm to Improve Offline Optimization Techniques, NeurIPS 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.offline_optimization import QuantileShiftSplit
    >>> X, y = np.zeros((6, 1)), np.array([3.0, 9.0, 1.0, 7.0, 2.0, 8.0])
    >>> folds = QuantileShiftSplit(n_splits=3, train_quantile=0.5)
    >>> for train, test in folds.split(X, y):
    ...     print(y[train], y[test])
    [3. 2.] [9. 7. 8.]
    [3. 1.] [9. 7. 8.]
    [1. 2.] [9. 7. 8.]
    """

    @validate_params(
        {
            "n_splits": [Interval(Integral, 1, None, closed="left")],
            "train_quantile": [Interval(Real, 0, 1, closed="neither")],
            "maximize": ["boolean"],
        },
        prefer_skip_nested_validation=True,
    )
    def __init__(self, n_splits=5, *, train_quantile=0.8, maximize=True):
        self.n_splits = n_splits
        self.train_quantile = train_quantile
        self.maximize = maximize

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups : object
            Ignored.

        Returns
        -------
        int
            ``n_splits``.
        """
        return self.n_splits

    def split(self, X, y=None, groups=None):
        """Yield the rows of training and validation.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Designs; only their number matters.
        y : array-like of shape (n_samples,)
            Scores.
        groups : None
            Ignored.

        Yields
        ------
        train : ndarray of int
            Rows of the lower part without one group, ascending.
        test : ndarray of int
            Rows of the upper part, ascending.

        Raises
        ------
        ValueError
            If there are no scores, if some are not finite, if no score is above the
            quantile, or if there are too few designs below it.
        """
        if y is None:
            raise ValueError("QuantileShiftSplit splits by the scores: y is needed.")
        y = _scores(y, "y")
        check_consistent_length(X, y)
        value = y if self.maximize else -y
        is_upper = value > np.quantile(value, self.train_quantile)
        lower, upper = np.flatnonzero(~is_upper), np.flatnonzero(is_upper)
        if not len(upper):
            raise ValueError(
                f"No design is better than the quantile {self.train_quantile}: too "
                "many have the best score. Lower train_quantile."
            )
        if len(lower) < self.n_splits:
            raise ValueError(
                f"There are {len(lower)} designs up to the quantile "
                f"{self.train_quantile}, too few for n_splits={self.n_splits}."
            )
        if self.n_splits == 1:
            yield lower, upper
            return
        place = np.empty(len(lower), dtype=np.int64)
        place[np.argsort(value[lower], kind="stable")] = np.arange(len(lower))
        for k in range(self.n_splits):
            yield lower[place % self.n_splits != k], upper


def rank_correlation(x, y):
    """Return Spearman's correlation, zero if one of both is constant."""
    if np.all(x == x[0]) or np.all(y == y[0]):
        return 0.0
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def spearman_scorer(estimator, X, y):
    """Score a regressor by the rank correlation of its predictions with the truth.

    A search needs the right order of designs, not their right values.

    Parameters
    ----------
    estimator : estimator with ``predict``
        A fitted regressor.
    X : array-like of shape (n_samples, n_features)
        Designs.
    y : array-like of shape (n_samples,)
        Their scores.

    Returns
    -------
    float
        Spearman's correlation, between -1 and 1. Zero if all predictions, or all
        scores, are equal: no order was found, or there was none to find.

    Raises
    ------
    ValueError
        If there is only one design, or if scores or predictions are not finite.

    See Also
    --------
    QuantileShiftSplit : Splits to use it with.

    Notes
    -----
    Use it as it is: ``GridSearchCV(..., scoring=spearman_scorer)``. Apart from the
    prediction it costs O(n log n).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from skpapers.offline_optimization import spearman_scorer
    >>> X = np.arange(6.0)[:, None]
    >>> model = LinearRegression().fit(X, X[:, 0])
    >>> round(spearman_scorer(model, X, np.array([0, 1, 8, 27, 64, 60])), 3)
    0.943
    """
    y, predicted = _scores(y, "y"), _scores(estimator.predict(X), "The prediction")
    check_consistent_length(y, predicted)
    if len(y) < 2:
        raise ValueError("A rank correlation needs at least two designs.")
    return rank_correlation(y, predicted)


def top_k_mean_scorer(k, *, maximize=True):
    """Return a scorer: the mean true score of the k designs predicted to be best.

    It is what an experimenter would find who tried the surrogate's first k choices out
    of the validation designs.

    Parameters
    ----------
    k : int
        Number of designs.
    maximize : bool, default=True
        Whether high scores are good; if not, the k lowest predictions are taken, and
        the mean is negated, since a higher value of a scorer is better.

    Returns
    -------
    scorer
        Callable with arguments estimator, X and y, for ``scoring=``. It raises a
        ValueError if there are fewer than k designs.

    See Also
    --------
    QuantileShiftSplit : Splits to use it with.

    Notes
    -----
    Designs with equal predictions share the places that are left to them: the scorer
    does not depend on the order of the rows, and a constant prediction has the mean of
    all designs. Apart from the prediction it costs O(n log n).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from skpapers.offline_optimization import top_k_mean_scorer
    >>> X = np.arange(6.0)[:, None]
    >>> model = LinearRegression().fit(X, X[:, 0])
    >>> top_k_mean_scorer(2)(model, X, np.array([0, 1, 8, 27, 64, 60]))
    62.0
    """
    _check_top_k(k, maximize)
    if maximize:
        return make_scorer(top_k_mean, k=k)
    return make_scorer(bottom_k_mean, greater_is_better=False, k=k)


def _check_top_k(k, maximize):
    if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k must be an int of at least 1, got {k!r}.")
    if not isinstance(maximize, bool | np.bool_):
        raise ValueError(f"maximize must be True or False, got {maximize!r}.")


def top_k_mean(y_true, y_pred, *, k):
    """Return the mean of ``y_true`` where ``y_pred`` is largest; ties share."""
    y, predicted = _scores(y_true, "y"), _scores(y_pred, "The prediction")
    check_consistent_length(y, predicted)
    if k > len(y):
        raise ValueError(f"k={k}, but there are only {len(y)} designs.")
    cut = np.partition(predicted, len(y) - k)[len(y) - k]
    above, tied = predicted > cut, predicted == cut
    places = k - above.sum()
    return float((y[above].sum() + places * y[tied].mean()) / k)


def bottom_k_mean(y_true, y_pred, *, k):
    """Return the mean of ``y_true`` where ``y_pred`` is smallest; ties share."""
    return top_k_mean(y_true, -_scores(y_pred, "The prediction"), k=k)


def _scores(y, name):
    """Return finite numbers of shape (n,)."""
    y = column_or_1d(y, dtype=np.float64)
    assert_all_finite(y, input_name=name)
    return y
