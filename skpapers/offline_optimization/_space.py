# SPDX-License-Identifier: BSD-3-Clause
"""The designs that may be proposed, and the coordinates in which they are searched.

A design is a row of the user's table. It has three forms:

- the row, with values of any type in the columns of the table;
- the *code* (n, n_parts), one float64 a part: the number in a column, or the index of
  the category in a categorical column or in a group of one-hot columns (-1: unknown);
- the point Z (n, D) that a search moves: numbers as they are and K - 1 logits for K
  categories, each standardised by mean and standard deviation of the training rows.

Every point of the space decodes to a valid design: numbers are clipped to their bounds
(and rounded inside them, where they are integers), the largest logit is the category.
"""

from numbers import Real

import numpy as np

from skpapers.offline_optimization._bounds import (
    decimal_limits,
    limits,
    read_bounds,
    read_integers,
)
from skpapers.offline_optimization._logit_encoder import (
    codes_of,
    logit_step,
    logits_of,
)
from skpapers.offline_optimization._tables import (
    TableForm,
    column_values,
    refuse_unhashable,
)
from skpapers.utils._sklearn import safe_indexing
from skpapers.utils._units import mean_and_scale

SMOOTHING = 0.4  # of the logits
UNKNOWN = -1
MOVED = 0.5  # probability that a part is varied


# -------------------------------------------------------------------------- categories
class Category:
    """A part with categories: one column of values, or a group of one-hot columns.

    Attributes
    ----------
    columns : list of int
        Index of the column, or of the columns of the group.
    values : list or None
        The values seen in training, sorted; None for a group.
    seen : list of int
        For a group: which of its columns were ever one.
    """

    def __init__(self, X, columns, form, is_group):
        self.columns, self.values, self.seen = columns, None, []
        if is_group:
            hot = self._hot(X, form)
            self.seen = [int(k) for k in np.unique(hot)]
        else:
            self.values = _sorted(set(self._labels(X, form)))

    @property
    def n_categories(self):
        """Number of categories seen in training."""
        return len(self.seen) if self.values is None else len(self.values)

    def read(self, X, form):
        """Return the index of the category of each row, -1 for unknown ones."""
        if self.values is None:
            index = np.full(len(self.columns), UNKNOWN)
            index[self.seen] = np.arange(len(self.seen))
            return index[self._hot(X, form)]
        found = self._labels(X, form)
        index = {value: k for k, value in enumerate(self.values)}
        return np.array([index.get(value, UNKNOWN) for value in found])

    def write(self, codes, form):
        """Yield (column, values) for the indices of categories."""
        if self.values is not None:
            yield self.columns[0], self._typed([self.values[k] for k in codes], form)
            return
        hot = np.asarray(self.seen)[codes]
        for k, column in enumerate(self.columns):
            dtype = form.number_type(column) or "float64"
            yield column, (hot == k).astype(dtype)

    def _labels(self, X, form):
        """Return the values of the column, none of them missing."""
        found, name = column_values(X, self.columns[0]), form.name_of(self.columns[0])
        _refuse_missing(found, name)
        refuse_unhashable(found, name)
        return found

    def _typed(self, values, form):
        """Return numbers as an array of their dtype, other values as they are."""
        dtype = form.number_type(self.columns[0])
        return values if dtype is None else np.array(values, dtype=dtype)

    def _hot(self, X, form):
        """Return which column of the group is one."""
        names = ", ".join(form.name_of(j) for j in self.columns)
        group = np.column_stack([numbers_of(X, j, form) for j in self.columns])
        is_one = group == 1
        good = (is_one | (group == 0)).all(axis=1) & (is_one.sum(axis=1) == 1)
        if not good.all():
            row = int(np.argmin(good))
            raise ValueError(
                f"The columns {names} of categories are not one-hot: row {row} is "
                f"{group[row].tolist()}, where a single 1 among zeros is expected."
            )
        return np.argmax(is_one, axis=1)


def _sorted(values):
    """Return values in an order that does not depend on that of the rows."""
    try:
        return sorted(values)
    except TypeError:  # of several types
        return sorted(values, key=lambda value: (type(value).__name__, repr(value)))


def _refuse_missing(values, name):
    for row, value in enumerate(values):
        is_missing = value is None or type(value).__name__ in ("NAType", "NaTType")
        if is_missing or (isinstance(value, Real) and value != value):
            raise ValueError(
                f"Column {name} has a missing value (NaN) in row {row}; give missing "
                "values a category of their own or leave out such rows."
            )


def numbers_of(X, j, form):
    """Return a column as finite float64 numbers."""
    column = safe_indexing(X, j, axis=1)
    values = column if isinstance(column, np.ndarray) else column.to_numpy()
    if values.dtype.kind not in "biuf":  # nullable, of objects, or no numbers
        values = column_values(X, j)
        _refuse_missing(values, form.name_of(j))
    values = _as_floats(values)
    if values is None:
        raise ValueError(
            f"Column {form.name_of(j)} holds something else than numbers; name it in "
            "categories, or set categories='dtype'."
        )
    if not np.isfinite(values).all():
        raise ValueError(f"Column {form.name_of(j)} contains NaN or infinity.")
    return values


def _as_floats(values):
    """Return float64 numbers, None if some values are no numbers."""
    if isinstance(values, list) and any(isinstance(v, str | bytes) for v in values):
        return None  # NumPy would read digits
    try:
        values = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return values if values.ndim == 1 else None


def read_categories(categories, form):
    """Return the parts with categories as a list of (columns, is_group)."""
    if categories is None:
        return []
    if isinstance(categories, str):
        if categories != "dtype":
            raise ValueError(
                f"categories={categories!r}: expected 'dtype', None or a list."
            )
        plain = [form.number_type(j) for j in range(form.n_columns)]
        return [([j], False) for j, t in enumerate(plain) if t in (None, "bool")]
    parts, used = [], set()
    for entry in categories:
        is_group = isinstance(entry, list | tuple | np.ndarray)
        columns = [form.index_of(column) for column in (entry if is_group else [entry])]
        if is_group and len(columns) < 2:
            raise ValueError(f"A one-hot group needs two columns or more: {entry!r}.")
        for j in columns:
            if j in used:
                raise ValueError(f"Column {form.name_of(j)} is twice in categories.")
            used.add(j)
        parts.append((columns, is_group))
    return parts


# ------------------------------------------------------------------------------- space
class DesignSpace:
    """Valid designs and their search coordinates, learnt from the training rows.

    Parameters
    ----------
    X : array-like or frame of shape (n, d)
        Training rows.
    bounds, bounds_margin, categories, integers
        As of `OfflineOptimizer`.

    Attributes
    ----------
    training : ndarray of shape (n, n_parts)
        Code of the training rows.
    n_parts : int
        Columns of the code.
    n_coordinates : int
        D, the number of search coordinates.
    lower, upper : ndarray of shape (D,)
        Box of the search coordinates; may be infinite.
    blocks : list of slice
        Coordinates of each part with categories.
    bounds : ndarray of shape (d, 2)
        Bounds of the columns in their units; NaN for categorical columns.
    """

    def __init__(
        self, X, *, bounds=None, bounds_margin=0.1, categories=None, integers="dtype"
    ):
        self.form = form = TableForm(X)
        groups = read_categories(categories, form)
        taken = {j for columns, _ in groups for j in columns}
        numeric = [j for j in range(form.n_columns) if j not in taken]
        self.categories = [Category(X, *pair_of(group, form)) for group in groups]
        self._lay_out(numeric)
        self.training = code = self.read(X)
        self._limit(code, numeric, bounds, bounds_margin, integers)
        self.mean, self.scale = np.zeros(self.n_coordinates), 1.0
        raw = self.encode(code)
        self.mean, self.scale = mean_and_scale(raw)
        self._box(bounds)

    def _lay_out(self, numeric):
        """Give each part its place in code and coordinates, in the order of columns."""
        parts = [(j, None) for j in numeric]
        parts += [(category.columns[0], category) for category in self.categories]
        parts.sort(key=lambda part: part[0])
        self.number_parts, self.number_coordinates, self.number_columns = [], [], []
        self.category_parts, self.category_starts, ordered = [], [], []
        start = 0
        for place, (column, category) in enumerate(parts):
            if category is None:
                self.number_parts.append(place)
                self.number_coordinates.append(start)
                self.number_columns.append(column)
                start += 1
            else:
                self.category_parts.append(place)
                self.category_starts.append(start)
                ordered.append(category)
                start += category.n_categories - 1
        self.categories = ordered
        self.n_parts, self.n_coordinates = len(parts), start
        if start == 0:
            raise ValueError("X has a single category in each column: no choice.")

    def _limit(self, code, numeric, bounds, margin, integers):
        """Find the smallest and largest value of each column of numbers."""
        form, values = self.form, code[:, self.number_parts]
        is_integer = read_integers(integers, form, numeric)
        pairs = np.empty((len(numeric), 2))
        if numeric:
            low, high = values.min(axis=0), values.max(axis=0)
            pairs = read_bounds(bounds, form, numeric, low, high, margin)
        self.is_integer = is_integer[numeric]
        self.number_types, self.decimals = [], {}
        asked = pairs.copy()
        for k, j in enumerate(numeric):
            dtype = form.number_type(j) or "float64"
            if np.dtype(dtype).kind in "biu" and not self.is_integer[k]:
                dtype = "float64"
            self.number_types.append(dtype)
            name, decimals = form.name_of(j), form.decimals_of(j)
            pairs[k] = limits(*pairs[k], dtype, self.is_integer[k], name)
            if decimals is not None:
                pairs[k] = decimal_limits(*pairs[k], *decimals, name)
                self.decimals[k] = decimals[1]
        pairs += 0.0  # no negative zeros
        self.smallest, self.largest = pairs[:, 0].copy(), pairs[:, 1].copy()
        # the limits of a dtype of many integers are no bounds that a search should know
        is_open = np.isinf(asked) & (np.abs(pairs) > np.iinfo(np.uint8).max)
        self.asked = np.where(is_open, asked, pairs)
        self.bounds = np.full((form.n_columns, 2), np.nan)
        self.bounds[numeric] = self.asked
        for category in self.categories:
            if category.values is None:
                self.bounds[category.columns] = [0.0, 1.0]

    def _box(self, bounds):
        """Find the box of the search coordinates."""
        lower, upper = np.empty((2, self.n_coordinates))
        lower[self.number_coordinates] = self.asked[:, 0]
        upper[self.number_coordinates] = self.asked[:, 1]
        is_free = isinstance(bounds, str)
        for block, category in zip(self.blocks, self.categories, strict=True):
            # beyond the logits of the categories themselves there is nothing new
            step = np.inf if is_free else logit_step(category.n_categories, SMOOTHING)
            lower[block], upper[block] = -step, step
        self.lower = (lower - self.mean) / self.scale
        self.upper = (upper - self.mean) / self.scale

    @property
    def blocks(self):
        """Coordinates of each part with categories."""
        return [
            slice(start, start + category.n_categories - 1)
            for start, category in zip(
                self.category_starts, self.categories, strict=True
            )
        ]

    @property
    def is_discrete(self):
        """Whether all coordinates are logits of categories."""
        return not self.number_parts

    @property
    def n_designs(self):
        """Number of designs of the space, infinite where a number is not an integer."""
        sizes = [category.n_categories for category in self.categories]
        spans = self.largest - self.smallest
        sizes += [
            span + 1 if is_integer or span == 0 else np.inf
            for span, is_integer in zip(spans, self.is_integer, strict=True)
        ]
        return float(np.prod(np.asarray(sizes, dtype=np.float64)))

    # ------------------------------------------------------ rows, code, coordinates
    def read(self, X):
        """Return the code of the rows of a table like that of training."""
        n = X.shape[0]
        code = np.empty((n, self.n_parts))
        if isinstance(X, np.ndarray) and X.dtype.kind in "biuf":
            code[:, self.number_parts] = X[:, self.number_columns]
        else:
            for place, j in zip(self.number_parts, self.number_columns, strict=True):
                code[:, place] = numbers_of(X, j, self.form)
        for place, category in zip(self.category_parts, self.categories, strict=True):
            code[:, place] = category.read(X, self.form)
        return code + 0.0  # no negative zeros

    def write(self, code):
        """Return the rows of a code, in the container and types of the table."""
        columns = [None] * self.form.n_columns
        for place, j, dtype in zip(
            self.number_parts, self.number_columns, self.number_types, strict=True
        ):
            columns[j] = code[:, place].astype(dtype)
        for place, category in zip(self.category_parts, self.categories, strict=True):
            codes = code[:, place].astype(np.int64)
            for j, values in category.write(codes, self.form):
                columns[j] = values
        return self.form.build(columns)

    def to_array(self, code):
        """Return the rows of a code as an array: float64, or objects if need be."""
        columns = [None] * self.form.n_columns
        for place, j in zip(self.number_parts, self.number_columns, strict=True):
            columns[j] = code[:, place]
        for place, category in zip(self.category_parts, self.categories, strict=True):
            codes = code[:, place].astype(np.int64)
            for j, values in category.write(codes, self.form):
                columns[j] = values
        if all(isinstance(column, np.ndarray) for column in columns):
            return np.column_stack(columns).astype(np.float64)
        table = np.empty((len(code), len(columns)), dtype=object)
        for j, column in enumerate(columns):
            table[:, j] = column.tolist() if isinstance(column, np.ndarray) else column
        return table

    def encode(self, code):
        """Return the search coordinates of a code, even ones for unknown categories.

        Parameters
        ----------
        code : ndarray of shape (n, n_parts)
            As of `read`.

        Returns
        -------
        ndarray of shape (n, D)
            Standardised coordinates.
        """
        raw = np.empty((len(code), self.n_coordinates))
        raw[:, self.number_coordinates] = code[:, self.number_parts]
        for place, block, category in zip(
            self.category_parts, self.blocks, self.categories, strict=True
        ):
            codes = code[:, place].astype(np.int64)
            logits = logits_of(np.maximum(codes, 0), category.n_categories, SMOOTHING)
            raw[:, block] = np.where(codes[:, None] == UNKNOWN, 0.0, logits)
        return (raw - self.mean) / self.scale

    def decode(self, Z):
        """Return the code of the valid designs for points of the search.

        Parameters
        ----------
        Z : ndarray of shape (n, D)
            Any points.

        Returns
        -------
        ndarray of shape (n, n_parts)
            Numbers within their bounds and known categories.
        """
        raw = Z * self.scale + self.mean
        code = np.empty((len(Z), self.n_parts))
        code[:, self.number_parts] = self._valid(raw[:, self.number_coordinates])
        for place, block in zip(self.category_parts, self.blocks, strict=True):
            code[:, place] = codes_of(raw[:, block])
        return code

    def _valid(self, numbers):
        """Return numbers moved to the nearest values that their columns may have."""
        numbers = np.where(self.is_integer, np.rint(numbers), numbers)
        for k, decimals in self.decimals.items():
            numbers[:, k] = np.round(numbers[:, k], decimals)
        numbers = np.clip(numbers, self.smallest, self.largest)
        for k, dtype in enumerate(self.number_types):
            if dtype in ("float32", "float16"):
                largest = np.finfo(dtype).max
                column = np.clip(numbers[:, k], -largest, largest).astype(dtype)
                numbers[:, k] = column  # the limits are numbers of this dtype
        return numbers + 0.0

    def project(self, Z):
        """Return points moved into the box."""
        return np.clip(Z, self.lower, self.upper)

    def categories_of(self, block):
        """Return the points (K, K - 1) of the K categories of a block."""
        n_categories = block.stop - block.start + 1
        logits = logits_of(np.arange(n_categories), n_categories, SMOOTHING)
        return (logits - self.mean[block]) / self.scale[block]

    # ------------------------------------------------------------- designs from nowhere
    def every_design(self):
        """Return the codes of all designs of a finite space."""
        axes = [np.empty(0)] * self.n_parts
        for k, place in enumerate(self.number_parts):
            span = self.largest[k] - self.smallest[k]
            axes[place] = self.smallest[k] + np.arange(span + 1)
        for place, category in zip(self.category_parts, self.categories, strict=True):
            axes[place] = np.arange(category.n_categories, dtype=np.float64)
        grid = np.meshgrid(*axes, indexing="ij")
        return np.column_stack([axis.ravel() for axis in grid])

    def vary(self, code, size, rng):
        """Return random neighbours of designs.

        Parameters
        ----------
        code : ndarray of shape (n, n_parts)
            Designs.
        size : float
            Standard deviation of the moves of numbers, in units of their training
            rows; integers move by a step at least. It is also the probability that a
            category that is moved is drawn anew.
        rng : RandomState
            Source of the draws.

        Returns
        -------
        ndarray of shape (n, n_parts)
            Valid designs.
        """
        n, moved = len(code), code.copy()
        scale = size * self.scale[self.number_coordinates]
        scale = np.where(self.is_integer, np.maximum(scale, 1.0), scale)
        moves = rng.standard_normal((n, len(scale))) * scale
        moves *= rng.uniform(size=moves.shape) < MOVED
        moved[:, self.number_parts] = self._valid(code[:, self.number_parts] + moves)
        for place, category in zip(self.category_parts, self.categories, strict=True):
            drawn = rng.randint(category.n_categories, size=n)
            is_drawn = rng.uniform(size=n) < max(min(size, 1.0), 1 / self.n_parts)
            moved[:, place] = np.where(is_drawn, drawn, code[:, place])
        return moved


def pair_of(group, form):
    """Return the arguments of a `Category` after the table."""
    columns, is_group = group
    return columns, form, is_group
