# SPDX-License-Identifier: BSD-3-Clause
"""Tables of measurements as design problems, with a model in place of the truth.

Nobody can measure the designs that an optimiser proposes. A model that is fitted on ALL
rows, the hidden ones included, stands in for the experiment: an approximate oracle. It
is no better than the model, most of all far from the rows.
"""

from collections.abc import Hashable
from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from skpapers.datasets._design_tasks._base import DesignTask, is_frame, values_of
from skpapers.utils._sklearn import HasMethods, StrOptions, validate_params

SCORES = [StrOptions({"oracle", "measured"})]


def one_hot(X, n_labels):
    """Return numbers as they are, followed by a 0/1 column for each label."""
    numeric = [j for j in range(X.shape[1]) if j not in n_labels]
    blocks = [X[:, j, None] == np.arange(n) for j, n in n_labels.items()]
    return np.column_stack([X[:, numeric], *blocks]).astype(np.float64)


def _predict(X, *, model, n_labels):
    return model.predict(one_hot(X, n_labels))


def _positions(columns, names, parameter):
    """Return the positions of columns given by name or position."""
    found = []
    for column in columns:
        if isinstance(column, Integral) and 0 <= column < len(names):
            found.append(int(column))
        elif isinstance(column, str) and column in names:
            found.append(names.index(column))
        else:
            raise ValueError(
                f"{parameter} names {column!r}, which is no column: there are "
                f"{names!r}, or 0 to {len(names) - 1}."
            )
    return found


def _is_missing(value):
    if value is None or type(value).__name__ == "NAType":  # that cannot be compared
        return True
    return isinstance(value, Hashable) and value != value


def _labels_of(column, name):
    """Return the labels of a column: its categories, or its sorted values."""
    values = values_of(column)
    if any(_is_missing(value) for value in values):
        raise ValueError(f"The categorical column {name!r} has missing values.")
    categories = getattr(column.dtype, "categories", None)
    if hasattr(categories, "__len__"):
        return values_of(categories)
    try:
        values = set(values)
    except TypeError:
        raise ValueError(
            f"The column {name!r} holds lists or other values that are no labels."
        ) from None
    try:
        return sorted(values)
    except TypeError:  # labels of several types
        return sorted(values, key=str)


def _split_columns(X):
    """Return the names and the columns of a frame or an array."""
    if is_frame(X):
        return [str(name) for name in X.columns], [X[name] for name in X.columns]
    X = X if hasattr(X, "dtype") else np.asarray(X)
    if X.ndim != 2:
        raise ValueError(f"X has shape {X.shape}: it must be a table of designs.")
    return [f"x{j}" for j in range(X.shape[1])], list(X.T)


@validate_params(
    {
        "X": "no_validation",
        "y": ["array-like"],
        "oracle": [None, HasMethods(["fit", "predict"])],
        "categories": [None, list],
        "integers": [None, list],
        "maximize": ["boolean"],
        "scores": SCORES,
        "name": [str],
    },
    prefer_skip_nested_validation=True,
)
def make_table_task(
    X,
    y,
    oracle=None,
    *,
    categories=None,
    integers=None,
    maximize=True,
    scores="oracle",
    name="table",
):
    """Make a design task of a table of experiments, with an approximate oracle.

    A regressor that is fitted on all rows stands in for the experiment that would
    score new designs. It sees the rows that :func:`make_offline_design` keeps from the
    optimiser. Still, it is a model: differences between methods on such a task say
    which method finds what the model likes.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_designs, n_features)
        Designs of the past.
    y : array-like of shape (n_designs,)
        What was measured.
    oracle : regressor, default=None
        It is cloned, and gets the numeric columns in their units followed by a 0/1
        column for each label of the categorical ones. None means a random forest of
        200 trees with at least 3 rows in a leaf.
    categories : list of str or int, default=None
        Names or positions of categorical columns, in addition to columns of strings,
        objects, booleans or categories, which always are.
    integers : list of str or int, default=None
        Names or positions of columns that only take integer values. None means the
        columns of integers of a frame.
    maximize : bool, default=True
        Whether a large `y` is good. If False, the score is ``-y``.
    scores : {"oracle", "measured"}, default="oracle"
        Scores of the table that the optimiser learns from: what the oracle says of
        these rows, so that old and new designs are judged alike, or what was measured,
        so that the optimiser sees the noise of the experiment.
    name : str, default="table"
        Name of the task.

    Returns
    -------
    task : DesignTask
        With `is_approximate` True, the range of the table as bounds, and no known
        optimum.

    Raises
    ------
    ValueError
        If X or y have NaN, lengths differ, a named column does not exist, a column of
        `integers` has other values, or the scores are all the same.

    See Also
    --------
    make_design_task : Tasks by name, two of this kind among them.
    make_offline_design : The table that an optimiser may see.

    Notes
    -----
    Costs what the fit of the oracle on all rows costs; a score is one prediction.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from skpapers.datasets import make_table_task
    >>> X = [[180, "fan"], [200, "still"], [220, "fan"], [240, "still"]]
    >>> X = np.array(X, dtype=object)
    >>> task = make_table_task(X, [2.0, 1.0, 4.0, 3.0], LinearRegression())
    >>> task.labels, task.integers
    ({1: ['fan', 'still']}, [0])
    >>> task.evaluate(np.array([[230, "fan"]], dtype=object)).round(2)
    array([4.5])
    """
    names, columns = _split_columns(X)
    codes, labels, whole = _encode(columns, names, categories)
    y = column_or_1d(check_array(y, ensure_2d=False, dtype=np.float64, input_name="y"))
    check_consistent_length(codes, y)
    if integers is not None:
        whole = _positions(integers, names, "integers")
    if oracle is None:
        oracle = default_oracle()
    return approximate_task(
        codes,
        y if maximize else -y,
        clone(oracle),
        scores=scores,
        name=name,
        feature_names=names,
        labels=labels,
        integers=whole,
    )


def default_oracle():
    """Return the forest that stands in for an experiment."""
    return RandomForestRegressor(200, min_samples_leaf=3, random_state=0)


def approximate_task(codes, y, oracle, *, scores, labels, **columns):
    """Fit the oracle on all rows and return a task with its scores."""
    n_labels = {j: len(values) for j, values in labels.items()}
    model = oracle.fit(one_hot(codes, n_labels), y)
    function = partial(_predict, model=model, n_labels=n_labels)
    table = codes, y if scores == "measured" else function(codes)
    return DesignTask(
        function, labels=labels, table=table, is_approximate=True, **columns
    )


def _as_numbers(column):
    """Return a column as floats and whether it is of integers, or None and False."""
    values = np.asarray(column)
    if values.dtype.kind == "O":
        types = {type(value) for value in values}
        if not all(issubclass(t, Real) and not issubclass(t, bool) for t in types):
            return None, False
        return values.astype(np.float64), all(issubclass(t, Integral) for t in types)
    if values.dtype.kind in "iuf":
        return values.astype(np.float64), values.dtype.kind != "f"
    return None, False


def _encode(columns, names, categories):
    """Return a table of numbers and codes, the labels, and the integer columns."""
    asked = _positions(categories or [], names, "categories")
    labels, whole, coded = {}, [], []
    for j, column in enumerate(columns):
        numbers, is_whole = _as_numbers(column)
        if j not in asked and numbers is not None:
            coded.append(numbers)
            if is_whole:
                whole.append(j)
            continue
        labels[j] = _labels_of(column, names[j])
        code = {label: k for k, label in enumerate(labels[j])}
        coded.append([code.get(v, np.nan) for v in values_of(column)])
    codes = check_array(np.column_stack(coded), dtype=np.float64, input_name="X")
    return codes, labels, whole


# ------------------------------------------------------------------------- two tables
def _whole_columns(X, labels):
    return [
        j for j in range(X.shape[1]) if j not in labels and (X[:, j] % 1 == 0).all()
    ]


@validate_params({"scores": SCORES}, prefer_skip_nested_validation=True)
def diabetes_task(scores="oracle"):
    """Return the diabetes table of scikit-learn with a random forest as a task."""
    data = load_diabetes(scaled=False)
    X, labels = data.data.copy(), {1: [1, 2]}
    X[:, 1] -= 1
    return approximate_task(
        X,
        -data.target,
        default_oracle(),
        scores=scores,
        name="diabetes",
        feature_names=data.feature_names,
        labels=labels,
        integers=_whole_columns(X, labels),
    )


@validate_params({"scores": SCORES}, prefer_skip_nested_validation=True)
def wine_task(scores="oracle"):
    """Return the wine table of scikit-learn with a Gaussian process as a task."""
    data = load_wine()
    target = data.feature_names.index("flavanoids")
    X = np.column_stack([np.delete(data.data, target, axis=1), data.target])
    labels = {X.shape[1] - 1: [str(name) for name in data.target_names]}
    names = [name for name in data.feature_names if name != "flavanoids"]
    kernel = ConstantKernel() * RBF(3.0) + WhiteKernel(0.1)
    process = GaussianProcessRegressor(kernel, normalize_y=True)
    return approximate_task(
        X,
        data.data[:, target],
        make_pipeline(StandardScaler(), process),
        scores=scores,
        name="wine",
        feature_names=[*names, "cultivar"],
        labels=labels,
        integers=_whole_columns(X, labels),
    )


BUILDERS = {"diabetes": diabetes_task, "wine": wine_task}
