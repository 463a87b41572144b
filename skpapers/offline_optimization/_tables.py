# SPDX-License-Identifier: BSD-3-Clause
"""Tables of any kind, taken apart into columns and put together again.

What is remembered of a table are plain numbers, strings and lists, so that it persists
with the estimator that has read it.
"""

import re
from collections.abc import Hashable
from decimal import Decimal
from numbers import Integral

import numpy as np
from sklearn.utils import check_array

from skpapers.utils._optional import import_optional
from skpapers.utils._sklearn import safe_indexing

FLOAT = "float64"
POLARS_ARGUMENTS = {
    "Decimal": ("precision", "scale"),
    "Datetime": ("time_unit", "time_zone"),
    "Duration": ("time_unit",),
}


def library_of(X):
    """Return "pandas" or "polars" for their frames and "numpy" for all else."""
    name = type(X).__module__.partition(".")[0]
    if name == "polars" and type(X).__name__ == "LazyFrame":
        raise TypeError("X is a LazyFrame, which has no rows yet: pass X.collect().")
    return name if name in ("pandas", "polars") and hasattr(X, "columns") else "numpy"


class TableForm:
    """What is needed to build a table like a given one.

    Parameters
    ----------
    X : array-like, pandas.DataFrame or polars.DataFrame of shape (n, d)
        A table.

    Attributes
    ----------
    library : {"numpy", "pandas", "polars"}
        Kind of container.
    names : list or None
        Names of the columns of a frame.
    level_names : list
        Names of the levels of the columns of a pandas frame: one, or those of a
        MultiIndex.
    dtypes : list of dict
        "name" of each column's dtype, and for frames' categorical columns the list
        "categories" and whether they are "ordered"; "arguments" of a dtype of polars.
    dtype : str or None
        dtype of an array; None for frames.
    """

    def __init__(self, X):
        self.library, self.level_names = library_of(X), []
        if self.library == "numpy":
            X = np.asarray(X)
            self.names, self.dtype = None, X.dtype.str
            self.dtypes = [{"name": _inferred(X[:, j])} for j in range(X.shape[1])]
        else:
            self.names, self.dtype = list(X.columns), None
            describe = _pandas_dtype if self.library == "pandas" else _polars_dtype
            self.dtypes = [describe(dtype) for dtype in X.dtypes]
            self.level_names = list(getattr(X.columns, "names", []))

    @property
    def n_columns(self):
        """Number of columns."""
        return len(self.dtypes)

    def name_of(self, j):
        """Return how messages call a column."""
        return repr(self.names[j]) if self.names is not None else f"at index {j}"

    def index_of(self, column):
        """Return the index of a column given by name or index."""
        if isinstance(column, str):
            if self.names is None:
                raise ValueError(f"X has no column names, so {column!r} is no column.")
            if column not in self.names:
                raise ValueError(f"X has no column {column!r}.")
            return self.names.index(column)
        if isinstance(column, Integral) and not isinstance(column, bool):
            if -self.n_columns <= column < self.n_columns:
                return int(column) % self.n_columns
            raise ValueError(f"X has {self.n_columns} columns, none at {column}.")
        raise ValueError(f"A column is given by name or index, not as {column!r}.")

    def number_type(self, j):
        """Return the NumPy dtype of a column of numbers, None for anything else."""
        return _number_type(self.dtypes[j]["name"])

    def decimals_of(self, j):
        """Return precision and scale of a column of decimals, None for others."""
        dtype = self.dtypes[j]
        if dtype["name"] == "Decimal":
            return dtype["arguments"]["precision"], dtype["arguments"]["scale"]
        found = re.fullmatch(r"decimal\d+\((\d+), (\d+)\)", dtype.get("arrow", ""))
        return None if found is None else (int(found[1]), int(found[2]))

    def build(self, columns, *, needed_by="suggest"):
        """Return a table of the same kind.

        Parameters
        ----------
        columns : list of ndarray or list
            Values of the columns: arrays of numbers, or lists of other values.
        needed_by : str, default="suggest"
            Who needs the library of a frame, for the message if it is missing.
        """
        if self.library == "numpy":
            return self._build_array(columns)
        library = import_optional(self.library, extra="frames", needed_by=needed_by)
        if self.library == "polars":
            return _build_polars(library, columns, self.names, self.dtypes)
        frame = _build_pandas(library, columns, self.dtypes)
        frame.columns = _pandas_index(library, self.names, self.level_names)
        return frame

    def _build_array(self, columns):
        dtype = np.dtype(self.dtype)
        if dtype.kind in "biuf":
            columns = [
                np.asarray(c, dtype) if isinstance(c, list) else c for c in columns
            ]
            types = [column.dtype for column in columns]
            kept = all(np.can_cast(found, dtype) for found in types)
            return np.column_stack(columns).astype(dtype if kept else FLOAT)
        table = np.empty((len(columns[0]), len(columns)), dtype=object)
        for j, column in enumerate(columns):
            table[:, j] = column.tolist() if isinstance(column, np.ndarray) else column
        if dtype.kind in "US":  # no value is cut, whatever the length in the table
            dtype = np.promote_types(dtype, table.astype(dtype.kind).dtype)
        return table.astype(dtype)


def column_values(X, j):
    """Return the values of a column as a list of Python objects."""
    column = safe_indexing(X, j, axis=1)
    return column.to_list() if hasattr(column, "to_list") else column.tolist()


def refuse_unhashable(values, name):
    """Raise if some values of a column, such as lists, are no categories."""
    for value in values:
        if not isinstance(value, Hashable):
            raise ValueError(
                f"Column {name} holds values of type {type(value).__name__}, which "
                "cannot be categories."
            )


def as_table(owner, X, **checks):
    """Return a frame as it is, anything else as an array of two dimensions."""
    if library_of(X) != "numpy":
        if len(X) < checks.get("ensure_min_samples", 1):
            raise ValueError(
                f"Found array with {len(X)} sample(s) (shape={X.shape}) while a "
                f"minimum of {checks.get('ensure_min_samples', 1)} is required by "
                f"{type(owner).__name__}."
            )
        return X
    if not hasattr(X, "dtype"):
        X = np.array(X, dtype=object)  # numbers must not become texts
    return check_array(
        X, dtype=None, ensure_all_finite=False, estimator=owner, **checks
    )


def _number_type(name):
    """Return the NumPy dtype of a column of numbers by the name of any library."""
    plain = name.partition("[")[0].lower()  # nullable, or backed by arrow
    plain = {"boolean": "bool", "double": FLOAT, "float": "float32"}.get(plain, plain)
    try:
        dtype = np.dtype(plain)
    except (TypeError, ValueError):
        return None
    return dtype.name if dtype.kind in "biuf" and dtype.itemsize <= 8 else None


def _inferred(column):
    """Return the dtype of a column of an array, that of its objects if they agree."""
    if column.dtype.kind != "O":
        return column.dtype.str if column.dtype.kind in "USMm" else column.dtype.name
    kinds = {type(value) for value in column.tolist()}
    for kind in (bool, int, float):
        if kinds == {kind}:
            return np.dtype(kind).name
    return "object"


def _pandas_dtype(dtype):
    if hasattr(dtype, "categories"):
        known = dtype.categories.tolist()
        return {"name": "category", "categories": known, "ordered": bool(dtype.ordered)}
    if type(dtype).__name__ == "ArrowDtype":  # strings share their name with others
        return {"name": str(dtype), "arrow": str(dtype.pyarrow_dtype)}
    return {"name": str(dtype)}


def _polars_dtype(dtype):
    name = dtype.base_type().__name__
    if name == "Enum":
        return {"name": name, "categories": dtype.categories.to_list()}
    if name in POLARS_ARGUMENTS:
        found = {key: getattr(dtype, key) for key in POLARS_ARGUMENTS[name]}
        return {"name": name, "arguments": found}
    return {"name": name}


def _pandas_index(pd, names, level_names):
    """Return the columns of a frame, of one level or of several."""
    if len(level_names) > 1:
        return pd.MultiIndex.from_tuples(names, names=level_names)
    return pd.Index(names, name=level_names[0], tupleize_cols=False)


def _pandas_type(pd, dtype):
    """Return a dtype by its description."""
    # what pandas cannot read from a name, or reads as another dtype
    known = r"(string|large_string|decimal\d+)(?:\((\d+), (\d+)\))?"
    found = re.fullmatch(known, dtype.get("arrow", ""))
    if found is None:
        return dtype["name"]
    arrow = import_optional("pyarrow", extra="frames", needed_by="a column of arrow")
    kind, *arguments = found.groups()
    arguments = [int(argument) for argument in arguments if argument]
    return pd.ArrowDtype(getattr(arrow, kind)(*arguments))


def _build_pandas(pd, columns, dtypes):
    def series(values, dtype):
        name, is_list = dtype["name"], isinstance(values, list)
        if "categories" in dtype:
            if not is_list:  # numbers between those categories
                return pd.Series(values)
            kind = pd.CategoricalDtype(dtype["categories"], dtype["ordered"])
            return pd.Series(values, dtype=kind)
        if is_list:  # a type that is found by pandas could change values
            return pd.Series(values, dtype=object).astype(_pandas_type(pd, dtype))
        is_kept = _is_within(values, _number_type(name))
        kind = _pandas_type(pd, dtype)
        return pd.Series(values).astype(kind) if is_kept else pd.Series(values)

    parts = [series(*pair) for pair in zip(columns, dtypes, strict=True)]
    return pd.concat(parts, axis=1)


def _build_polars(pl, columns, names, dtypes):
    def series(name, values, dtype):
        kind = getattr(pl, dtype["name"])
        if "categories" in dtype:
            kind = kind(dtype["categories"])
        elif "arguments" in dtype:
            kind = kind(**dtype["arguments"])
        if dtype["name"] == "Decimal":  # older versions cut numbers instead of rounding
            scale = dtype["arguments"]["scale"]
            values = [Decimal(f"{value:.{scale}f}") for value in values]
        is_list = isinstance(values, list)
        is_kept = is_list or _is_within(values, _number_type(dtype["name"]))
        column = pl.Series(name, values)
        return column.cast(kind) if is_kept else column

    parts = zip(names, columns, dtypes, strict=True)
    return pl.DataFrame([series(*part) for part in parts])


def _is_within(values, dtype):
    """Tell whether a dtype holds numbers of an array; of Decimals and such, any."""
    return dtype is None or np.can_cast(values.dtype, dtype)
