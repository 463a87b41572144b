# SPDX-License-Identifier: BSD-3-Clause
"""Categories as differences of log-probabilities, so that a search can move smoothly.

A value with index c among the K categories of its column becomes the probabilities
p = (1 - s) onehot(c) + s / K, with the share s of smoothing. With l = log p, the
features are l[1:] - l[0], K - 1 of them: all other combinations follow, and the first
category needs none. The way back appends a zero for the first category and takes the
largest, so that every point of the space is a category.
"""

from numbers import Real

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.preprocessing import OrdinalEncoder
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from skpapers.offline_optimization._tables import (
    TableForm,
    column_values,
    library_of,
    refuse_unhashable,
)
from skpapers.utils._estimator import DocumentedEstimator
from skpapers.utils._sklearn import Interval, StrOptions, fit_context


def logit_step(n_categories, smoothing):
    """Return what separates the logit of the given category from the others.

    log(1 - s + s / K) - log(s / K) = log(1 + K (1 - s) / s).
    """
    return np.log1p(n_categories * (1 - smoothing) / smoothing)


def logits_of(codes, n_categories, smoothing):
    """Return logits of shape (n, K - 1) for indices of shape (n,)."""
    step = logit_step(n_categories, smoothing)
    logits = np.zeros((len(codes), n_categories))
    logits[np.arange(len(codes)), codes] = step
    return logits[:, 1:] - logits[:, :1]


def codes_of(logits):
    """Return the index of the largest logit, the first category having zero."""
    codes = np.zeros(len(logits), dtype=np.int64)
    if logits.shape[1]:
        largest = np.argmax(logits, axis=1)
        codes = np.where(np.max(logits, axis=1) > 0, largest + 1, 0)
    return codes


class LogitEncoder(TransformerMixin, DocumentedEstimator):
    """Encode categories as smoothed logits, and decode any point to a category.

    A column with K categories becomes K - 1 features. Unlike with one-hot columns,
    every point of the encoded space stands for a category, so that a search by gradient
    or by random steps can move freely and be decoded at the end.

    Parameters
    ----------
    categories : "auto" or list of array-like, default="auto"
        Categories of each column. "auto" takes those of the data, sorted; a list gives
        them column by column, sorted if they are numbers. The first one is the
        reference with logits of minus one step.
    smoothing : float, default=0.4
        Share s of the probability that is spread evenly over all categories, between 0
        and 1, both excluded. A little smoothing puts categories far apart.

    Attributes
    ----------
    categories_ : list of ndarray
        Categories of each column.
    offsets_ : ndarray of int, shape (`n_features_in_` + 1,)
        The features of column j are ``offsets_[j]`` to ``offsets_[j + 1] - 1``.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str, shape (`n_features_in_`,)
        Names of the columns, if all are strings.

    See Also
    --------
    sklearn.preprocessing.OneHotEncoder : One column of zeros and ones a category.

    Notes
    -----
    Every column is taken for categorical, numbers too; use a
    `sklearn.compose.ColumnTransformer` where that holds for some columns only. Missing
    values are refused: impute them, or give them a category of their own.

    A row costs O(sum of K), memory included; fitting sorts each column, O(n log n).

    The smoothing share of 0.4 is the one of the reference.

    References
    ----------
    .. [1] B. Trabucco, X. Geng, A. Kumar, S. Levine, Design-Bench: Benchmarks for
       Data-Driven Offline Model-Based Optimization, ICML 2022.
    .. [2] M. C. Dao, P. L. Nguyen, T. N. Truong, T. N. Hoang, Incorporating Surrogate
       Gradient Norm to Improve Offline Optimization Techniques, NeurIPS 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.offline_optimization import LogitEncoder
    >>> X = np.array([["A", "left"], ["C", "right"], ["G", "left"]])
    >>> encoder = LogitEncoder().fit(X)
    >>> encoder.get_feature_names_out()
    array(['x0_C', 'x0_G', 'x1_right'], dtype=object)
    >>> Z = encoder.transform(X)
    >>> Z.round(2)
    array([[-1.7 , -1.7 , -1.39],
           [ 1.7 ,  0.  ,  1.39],
           [ 0.  ,  1.7 , -1.39]])
    >>> encoder.inverse_transform(Z + 0.5)
    array([['A', 'left'],
           ['C', 'right'],
           ['G', 'left']], dtype='<U5')
    """

    _parameter_constraints: dict = {
        "categories": [StrOptions({"auto"}), list],
        "smoothing": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(self, *, categories="auto", smoothing=0.4):
        self.categories = categories
        self.smoothing = smoothing

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the categories of each column.

        Parameters
        ----------
        X : {array-like, dataframe} of shape (n_samples, n_features)
            Strings, integers, booleans, categories or other numbers.
        y : None
            Ignored.

        Returns
        -------
        LogitEncoder
            Itself.

        Raises
        ------
        ValueError
            If values are missing, if ``categories`` are not one list a column or lack
            a value of X, or if a category is listed twice.
        """
        table, X = X, self._columns(X, reset=True)
        encoder = OrdinalEncoder(categories=self.categories, dtype=np.int64).fit(X)
        for name, categories in zip(self._names(), encoder.categories_, strict=True):
            _check_categories(name, categories)
        self._encoder = encoder
        self._form = TableForm(X if library_of(table) == "numpy" else table)
        self.categories_ = encoder.categories_
        sizes = [len(categories) - 1 for categories in self.categories_]
        self.offsets_ = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return self

    def transform(self, X):
        """Return the logits of all columns, side by side.

        Parameters
        ----------
        X : {array-like, dataframe} of shape (n_samples, n_features)
            Values that were among the categories of `fit`.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_logits)
            K - 1 logits of each column.

        Raises
        ------
        ValueError
            If a value is missing or not among the categories.
        """
        check_is_fitted(self)
        codes = self._encoder.transform(self._columns(X, reset=False))
        blocks = [
            logits_of(column, len(categories), self.smoothing)
            for column, categories in zip(codes.T, self.categories_, strict=True)
        ]
        return np.concatenate(blocks, axis=1)

    def inverse_transform(self, X):
        """Return the category that each group of logits stands for.

        Parameters
        ----------
        X : {array-like, dataframe} of shape (n_samples, n_logits)
            Any numbers.

        Returns
        -------
        {ndarray, dataframe} of shape (n_samples, n_features)
            Values of the kind that `fit` has seen: an array of the same dtype, or a
            frame of the same library, column names and column types.

        Raises
        ------
        ValueError
            If the number of columns is not that of the logits.
        """
        check_is_fitted(self)
        index = X.index if library_of(X) == "pandas" else None
        least = 0 if self.offsets_[-1] == 0 else 1  # constant columns have no logits
        Z = check_array(X, dtype=np.float64, ensure_min_features=least)
        if Z.shape[1] != self.offsets_[-1]:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but the {self.n_features_in_} columns of "
                f"fit have {self.offsets_[-1]} logits."
            )
        columns = [
            categories[codes_of(Z[:, first:last])].tolist()
            for categories, first, last in zip(
                self.categories_, self.offsets_[:-1], self.offsets_[1:], strict=True
            )
        ]
        table = self._form.build(columns, needed_by="LogitEncoder.inverse_transform")
        is_indexed = index is not None and self._form.library == "pandas"
        return table.set_index(index) if is_indexed else table

    def get_feature_names_out(self, input_features=None):
        """Return a name for each logit: column, underscore, category.

        Parameters
        ----------
        input_features : array-like of str, shape (n_features,), default=None
            Names of the columns; None takes those of `fit`, or x0, x1, ...

        Returns
        -------
        ndarray of str, dtype object, shape (n_logits,)
            Names of the features. The first category of a column has none.
        """
        check_is_fitted(self)
        names = self._names(input_features)
        return np.array(
            [
                f"{name}_{category}"
                for name, categories in zip(names, self.categories_, strict=True)
                for category in categories[1:].tolist()
            ],
            dtype=object,
        )

    def _columns(self, X, reset):
        """Return X validated, each column with its own type of values."""
        library = library_of(X)
        if library != "numpy":
            validate_data(self, X, reset=reset, skip_check_array=True)
            _refuse_nested(X)
            return _from_pandas(X) if library == "pandas" else _from_polars(X)
        array = validate_data(self, X, reset=reset, dtype=None)
        if array.dtype.kind == "U" and not hasattr(X, "dtype"):
            return np.asarray(X, dtype=object)  # longer strings may follow
        return array

    def _names(self, given=None):
        known = getattr(self, "feature_names_in_", None)
        if given is None:
            return (
                [f"x{j}" for j in range(self.n_features_in_)]
                if known is None
                else known
            )
        given = np.asarray(given, dtype=object)
        if known is not None and not np.array_equal(known, given):
            raise ValueError("input_features is not equal to feature_names_in_")
        if len(given) != self.n_features_in_:
            raise ValueError(
                "input_features should have length equal to number of features "
                f"({self.n_features_in_}), got {len(given)}"
            )
        return given

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []  # categories have no precision
        return tags


# ---------------------------------------------------------------- tables of values


def _check_categories(name, categories):
    """Refuse missing values and repeated categories."""
    values = categories.tolist()
    if any(value is None or value != value for value in values):
        raise ValueError(
            f"Column {name} has missing values: impute them or give them a category "
            "of their own."
        )
    if len(set(values)) < len(values):
        raise ValueError(f"A category of column {name} is listed twice.")


def _refuse_nested(X):
    """Raise if a column of a frame holds lists or other values that are no labels."""
    form = TableForm(X)
    for j in range(form.n_columns):
        if form.number_type(j) is None:
            refuse_unhashable(column_values(X, j), form.name_of(j))


def _from_polars(X):
    """Return an array of objects: a common type would change the values."""
    plain = np.empty(X.shape, dtype=object)
    for j, column in enumerate(X.iter_columns()):
        plain[:, j] = column.to_list()
    return plain


def _from_pandas(X):
    """Return the frame without missing values and nullable types."""
    missing = X.isna().any().to_numpy()
    if missing.any():
        _check_categories(X.columns[np.argmax(missing)], np.array([np.nan]))
    return X.astype({name: _plain(dtype) for name, dtype in X.dtypes.items()})


def _plain(dtype):
    """Return the dtype of NumPy for nullable numbers, which would become floats."""
    plain = getattr(dtype, "numpy_dtype", dtype)
    has_zone = plain is not dtype and plain.kind in "mM"
    return dtype if has_zone else plain
