# SPDX-License-Identifier: BSD-3-Clause
"""The hidden truth of an offline design problem.

A task has a true score ``f(x)`` (the oracle), to be maximised, for designs ``x`` of
``d`` features. A method for offline optimisation sees only a table ``X, y`` of poor
designs and proposes new ones; afterwards the task scores them, and counts how often it
was asked.

Inside, a design is a row of numbers: a categorical feature holds the position of its
label in the list of labels (its code). Frames hold the labels themselves.
"""

from collections.abc import Hashable
from numbers import Integral

import numpy as np
from sklearn.utils import check_array

from skpapers.datasets._graphs import check_generator
from skpapers.utils._optional import import_optional
from skpapers.utils._sklearn import Interval, validate_params

DEFAULT_SIZE = 3000  # designs drawn from a task that has a formula, not a table


def _check_bounds(bounds, names):
    bounds = np.array(bounds, dtype=np.float64)
    if bounds.ndim != 2 or bounds.shape[1] != 2 or not len(bounds):
        raise ValueError(
            f"bounds has shape {bounds.shape}: it must be (n_features, 2), a lower and "
            "an upper bound for each feature."
        )
    names = names or [f"x{j}" for j in range(len(bounds))]
    wrong = ~(np.isfinite(bounds).all(axis=1) & (bounds[:, 0] < bounds[:, 1]))
    if wrong.any():
        j = int(np.argmax(wrong))
        low, high = bounds[j].tolist()
        raise ValueError(
            f"bounds of feature {names[j]!r} are ({low}, {high}): they must be finite, "
            "the lower one below the upper one."
        )
    return bounds


def _check_table(table):
    X, y = np.asarray(table[0]), np.asarray(table[1], dtype=np.float64)
    if X.ndim != 2 or y.shape != (len(X),) or not len(X):
        raise ValueError(
            f"table has designs of shape {X.shape} and scores of shape {y.shape}: they "
            "must be (n_designs, n_features) and (n_designs,)."
        )
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise ValueError("table contains NaN or infinity.")
    return X, y


def is_frame(X):
    """Tell whether X is a frame of pandas or polars."""
    return hasattr(X, "columns") and hasattr(X, "shape")


def values_of(column):
    """Return the values of a column of any library as a list of hashable objects."""
    if hasattr(column, "to_list"):
        return column.to_list()
    column = np.asarray(column)
    # as Python objects, times of nanoseconds would be integers
    return list(column) if column.dtype.kind in "mM" else column.tolist()


class DesignTask:
    """A design problem with a hidden true score, for judging offline optimisers.

    The score is always to be maximised. The built-in tasks come from
    :func:`make_design_task`; this class wraps a function of your own.
    :func:`make_offline_design` draws the table that an optimiser may see, and nothing
    in that table leads back to the task.

    Parameters
    ----------
    function : callable
        The true score: ``function(X)`` takes designs of shape (n, n_features), with
        codes 0, 1, ... in categorical columns, and returns n scores.
    bounds : array-like of shape (n_features, 2), default=None
        Lower and upper bound of each feature. May be left out where all features are
        categorical, or where `table` says the range. The rows of categorical features
        are replaced by the range of their codes.
    name : str, default="custom"
        Name of the task.
    feature_names : list of str, default=None
        Names of the features, ``x0, x1, ...`` by default.
    labels : dict of int to list, default=None
        The labels of each categorical feature, by its column number: code ``k`` means
        ``labels[column][k]``.
    integers : list of int, default=None
        Columns of features that only take integer values.
    table : tuple of array-like (X, y), default=None
        All designs there are and their scores, if the task is a table; the designs as
        numbers and codes, which must fit `labels` and `integers`. Else designs are
        drawn uniformly within the bounds.
    optimum : float, default=None
        The largest score within the bounds, if known.
    optimum_designs : array-like of shape (n_optima, n_features), default=None
        Designs that reach it, as numbers and codes.
    is_approximate : bool, default=False
        Whether the score is itself a model of data, not the truth.

    Attributes
    ----------
    bounds : ndarray of shape (n_features, 2) or None
        Lower and upper bound of each feature; None if all features are categorical.
    categories : list of int or None
        Columns of the categorical features; None if there are none.
    feature_names : list of str
        Names of the features.
    integers : list of int
        Columns of the features with integer values.
    is_approximate : bool
        Whether the score is itself a model of data, not the truth.
    labels : dict of int to list
        Labels of the categorical features.
    maximize : bool
        Always True.
    n_calls_ : int
        How often the true score was asked for.
    n_evaluations_ : int
        How many designs were scored in these calls.
    n_features : int
        Number of features.
    name : str
        Name of the task.
    optimum : float or None
        Largest score within the bounds, None if unknown.
    optimum_designs : ndarray of shape (n_optima, n_features) or None
        Designs that reach it.
    y_min_, y_max_ : float or None
        Smallest and largest score of the full, hidden set of designs: the table of the
        task, or what `sample` (or :func:`make_offline_design`) drew last; None before.

    See Also
    --------
    make_design_task : Built-in tasks, by name.
    make_table_task : A task from a table of experiments.
    make_offline_design : The table that an optimiser may see.

    Notes
    -----
    Scores of the table that an optimiser learns from are not counted as evaluations:
    these experiments were made before. Designs outside of `bounds` are scored like
    others as long as the score is defined there.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.datasets import DesignTask, make_offline_design
    >>> def score(X):
    ...     return -((X - 0.3) ** 2).sum(axis=1)
    >>> task = DesignTask(score, bounds=[(0, 1), (0, 1)], name="bowl")
    >>> X, y, bounds = make_offline_design(task, 100, random_state=0)
    >>> X.shape, round(float(y.max()), 3)
    ((50, 2), -0.289)
    >>> task.normalized_score([[0.3, 0.3], [0.9, 0.9]]).round(3)
    array([1.005, 0.243])
    >>> task.n_evaluations_
    2
    """

    maximize = True

    def __init__(
        self,
        function,
        bounds=None,
        *,
        name="custom",
        feature_names=None,
        labels=None,
        integers=None,
        table=None,
        optimum=None,
        optimum_designs=None,
        is_approximate=False,
    ):
        if not callable(function):
            raise TypeError(f"function={function!r} must be callable.")
        self._function = function
        self._table = None if table is None else _check_table(table)
        self.name = name
        self.labels = {int(j): list(values) for j, values in (labels or {}).items()}
        self.categories = sorted(self.labels) or None
        self.integers = sorted(int(j) for j in integers or [])
        self._box = self._make_box(bounds, feature_names)
        self.n_features = len(self._box)
        self._check_columns()
        self.feature_names = self._check_names(feature_names)
        if self._table is not None:
            self._check_codes(self._table[0])
            self._check_whole(self._table[0])
        is_all_categorical = len(self.labels) == self.n_features
        self.bounds = None if is_all_categorical else self._box.copy()
        self.optimum = optimum
        self.optimum_designs = None
        if optimum_designs is not None:
            self.optimum_designs = np.atleast_2d(optimum_designs).astype(self._dtype)
        self.is_approximate = is_approximate
        self.n_calls_ = self.n_evaluations_ = 0
        self.y_min_ = self.y_max_ = None
        if self._table is not None:
            self._set_range(self._table[1])

    def __repr__(self):
        return f"DesignTask(name={self.name!r}, n_features={self.n_features})"

    @property
    def _dtype(self):
        whole = len(set(self.labels) | set(self.integers)) == self.n_features
        return np.dtype(np.int64 if whole else np.float64)

    def _make_box(self, bounds, names):
        """Return finite bounds of all features, codes included."""
        n_labels = [len(self.labels[j]) for j in sorted(self.labels)]
        if bounds is not None:
            box = np.array(bounds, dtype=np.float64)
        elif self._table is not None:
            X = self._table[0]
            box = np.column_stack([X.min(axis=0), X.max(axis=0)]).astype(np.float64)
            constant = np.flatnonzero(box[:, 0] == box[:, 1]).tolist()
            constant = [j for j in constant if j not in self.labels]
            if constant:
                name = names[constant[0]] if names else f"x{constant[0]}"
                raise ValueError(
                    f"Feature {name!r} has the same value in all rows of the table: "
                    "leave it out, or pass bounds."
                )
        elif n_labels and sorted(self.labels) == list(range(len(n_labels))):
            box = np.zeros((len(n_labels), 2))
        else:
            raise ValueError(
                "bounds=None needs a table, or labels for all features: pass a lower "
                "and an upper bound for each feature."
            )
        for j, values in self.labels.items():
            if box.ndim == 2 and 0 <= j < len(box):
                box[j] = 0, max(len(values) - 1, 1)
        return _check_bounds(box, names)

    def _check_columns(self):
        if self._table is not None and self._table[0].shape[1] != self.n_features:
            raise ValueError(
                f"table has {self._table[0].shape[1]} columns, but there are bounds "
                f"for {self.n_features} features."
            )
        for kind, columns in (("labels", self.labels), ("integers", self.integers)):
            for j in columns:
                if not 0 <= j < self.n_features:
                    raise ValueError(
                        f"{kind} names column {j}, but the columns are 0 to "
                        f"{self.n_features - 1}."
                    )
        for j, values in self.labels.items():
            if len(set(values)) != len(values) or not values:
                raise ValueError(
                    f"labels of column {j} must be distinct, and at least one."
                )
        if both := set(self.labels) & set(self.integers):
            raise ValueError(
                f"Column {min(both)} cannot be both categorical and integer."
            )

    def _check_names(self, names):
        if names is None:
            return [f"x{j}" for j in range(self.n_features)]
        names = [str(name) for name in names]
        if len(names) != self.n_features or len(set(names)) != len(names):
            raise ValueError(
                f"feature_names={names!r} must be {self.n_features} distinct names."
            )
        return names

    def _check_codes(self, X):
        for j, values in self.labels.items():
            wrong = ~np.isin(X[:, j], np.arange(len(values)))
            if wrong.any():
                raise ValueError(
                    f"Feature {self.feature_names[j]!r} has the code "
                    f"{X[np.argmax(wrong), j]:g}: the codes of {values!r} are 0 to "
                    f"{len(values) - 1}."
                )

    def _check_whole(self, X):
        for j in self.integers:
            wrong = X[:, j] % 1 != 0
            if wrong.any():
                raise ValueError(
                    f"Feature {self.feature_names[j]!r} is among the integers, but the "
                    f"table has the value {X[np.argmax(wrong), j]:g}."
                )

    def _set_range(self, y):
        low, high = float(y.min()), float(y.max())
        if not low < high:
            raise ValueError(
                f"All {len(y)} designs of task {self.name!r} have the score {low}: "
                "there is nothing to optimise."
            )
        self.y_min_, self.y_max_ = low, high

    def _decode_column(self, j, values):
        """Return the codes of labels, or numbers as they are."""
        if j not in self.labels:
            return np.asarray(values, dtype=np.float64)
        code = {label: k for k, label in enumerate(self.labels[j])}
        values = values_of(values)
        for value in values:
            if not isinstance(value, Hashable) or value not in code:
                raise ValueError(
                    f"Feature {self.feature_names[j]!r} has the value {value!r}: it "
                    f"must be one of {self.labels[j]!r}."
                )
        return np.array([code[value] for value in values], np.float64)

    def _as_codes(self, X):
        """Return designs as numbers and codes, checked."""
        if is_frame(X):
            names = [str(name) for name in X.columns]
            if sorted(names) != sorted(self.feature_names):
                raise ValueError(
                    f"The designs have the columns {names!r}, but task {self.name!r} "
                    f"has the features {self.feature_names!r}."
                )
            columns = [X[name] for name in self.feature_names]
        else:
            X = X if hasattr(X, "dtype") else np.asarray(X)
            columns = list(X.T) if X.dtype.kind in "OUSmM" and X.ndim == 2 else None
        n_columns = X.shape[1] if len(X.shape) == 2 else self.n_features
        if n_columns != self.n_features:
            raise ValueError(
                f"X has {n_columns} features, but task {self.name!r} has "
                f"{self.n_features} features."
            )
        if columns is not None:
            columns = [self._decode_column(j, c) for j, c in enumerate(columns)]
            X = np.column_stack(columns)
        X = check_array(X, dtype=np.float64, input_name="X")
        self._check_codes(X)
        return X.astype(np.int64) if len(self.labels) == self.n_features else X

    def _score(self, X):
        with np.errstate(over="ignore"):
            y = np.asarray(self._function(X), dtype=np.float64)
        if y.shape != (len(X),):
            raise ValueError(
                f"The function of task {self.name!r} returned an array of shape "
                f"{y.shape} for {len(X)} designs."
            )
        return y

    def evaluate(self, X):
        """Return the true scores of designs, and count them.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_designs, n_features)
            Designs. Arrays of numbers hold codes in categorical columns; arrays of
            strings or objects, and frames (pandas or polars, columns by name in any
            order), hold labels.

        Returns
        -------
        y : ndarray of shape (n_designs,), dtype=float64
            Scores, the larger the better.

        Raises
        ------
        ValueError
            If X has other features, NaN, or unknown labels or codes.
        """
        X = self._as_codes(X)
        y = self._score(X)
        self.n_calls_ += 1
        self.n_evaluations_ += len(X)
        return y

    def normalized_score(self, X):
        """Return true scores in units of the full, hidden set of designs.

        ``(f(x) - y_min_) / (y_max_ - y_min_)``: above 1 a design beats every design of
        the full set, not only of the part that the optimiser saw.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_designs, n_features)
            Designs, as for `evaluate`; they are counted.

        Returns
        -------
        score : ndarray of shape (n_designs,), dtype=float64
            Normalised scores.

        Raises
        ------
        ValueError
            If no set of designs was drawn yet and the task has no table, or if
            `evaluate` refuses X.
        """
        if self.y_min_ is None:
            raise ValueError(
                f"Task {self.name!r} has no set of designs to compare with yet: call "
                "make_offline_design(task, ...) or task.sample(...) first."
            )
        return (self.evaluate(X) - self.y_min_) / (self.y_max_ - self.y_min_)

    @validate_params(
        {
            "self": "no_validation",
            "n_samples": [None, Interval(Integral, 1, None, closed="left")],
            "random_state": "no_validation",
            "as_frame": ["boolean"],
        },
        prefer_skip_nested_validation=True,
    )
    def sample(self, n_samples=None, *, random_state=None, as_frame=False):
        """Draw a full set of designs, good ones included, with their scores.

        Sets `y_min_` and `y_max_` of a task without a table. Does not count as an
        evaluation.

        Parameters
        ----------
        n_samples : int, default=None
            Number of designs: uniform within the bounds, or rows of the table without
            replacement. None means all rows of the table, in its order, or 3000.
        random_state : int, numpy.random.Generator or None, default=None
            Seed, or the generator to draw from (its stream goes on).
        as_frame : bool, default=False
            If True, return a pandas DataFrame and a Series.

        Returns
        -------
        X : ndarray or DataFrame of shape (n_samples, n_features)
            Designs; int64 if all features are categorical or integer, else float64. A
            DataFrame has integer columns as int64 and labels as categories.
        y : ndarray or Series of shape (n_samples,), dtype=float64
            Their scores.

        Raises
        ------
        ValueError
            If the table has fewer than `n_samples` rows.
        """
        X, y = self._draw(n_samples, check_generator(random_state))
        return (self._as_frame(X), self._as_series(y)) if as_frame else (X, y)

    def _draw(self, n_samples, rng):
        if self._table is None:
            X = self._draw_uniform(n_samples or DEFAULT_SIZE, rng)
            y = self._score(X)
            self._set_range(y)
            return X, y
        X, y = self._table
        if n_samples is None:
            return X.astype(self._dtype), y.copy()
        if n_samples > len(X):
            raise ValueError(
                f"n_samples={n_samples}, but task {self.name!r} is a table of "
                f"{len(X)} designs."
            )
        rows = rng.choice(len(X), n_samples, replace=False)
        return X[rows].astype(self._dtype), y[rows]

    def _draw_uniform(self, n_samples, rng):
        lower, upper = self._box.T
        X = rng.uniform(lower, upper, (n_samples, self.n_features))
        for j in self.integers:
            low, high = np.ceil(lower[j]), np.floor(upper[j])
            X[:, j] = rng.integers(int(low), int(high), n_samples, endpoint=True)
        for j, values in self.labels.items():
            X[:, j] = rng.integers(len(values), size=n_samples)
        return X.astype(self._dtype)

    def _as_frame(self, X):
        pd = import_optional("pandas", extra="frames", needed_by="as_frame=True")
        columns = {}
        for j, name in enumerate(self.feature_names):
            column = np.array(X[:, j])
            if j in self.labels:
                columns[name] = pd.Categorical.from_codes(
                    column.astype(np.int64), categories=self.labels[j]
                )
            elif j in self.integers:
                columns[name] = column.astype(np.int64)
            else:
                columns[name] = column
        return pd.DataFrame(columns)

    def _as_series(self, y):
        pd = import_optional("pandas", extra="frames", needed_by="as_frame=True")
        return pd.Series(y, name="score")
