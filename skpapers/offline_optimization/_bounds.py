# SPDX-License-Identifier: BSD-3-Clause
"""Between which numbers the columns of a table may move, and which are whole."""

import numpy as np


def read_integers(integers, form, numeric):
    """Return whether each column is of integers, as a mask over all columns."""
    mask = np.zeros(form.n_columns, dtype=bool)
    if integers is None:
        return mask
    if isinstance(integers, str):
        if integers != "dtype":
            raise ValueError(
                f"integers={integers!r}: expected 'dtype', None or a list."
            )
        for j in numeric:
            dtype = form.number_type(j)
            mask[j] = dtype is not None and np.dtype(dtype).kind in "biu"
        return mask
    for column in integers:
        j = form.index_of(column)
        if j not in numeric:
            raise ValueError(
                f"Column {form.name_of(j)} is both in integers and in categories."
            )
        mask[j] = True
    return mask


def read_bounds(bounds, form, numeric, low, high, margin):
    """Return bounds of the columns of numbers, as the user's parameter says.

    Parameters
    ----------
    bounds : None, "free", array-like, pair or dict
        As of `OfflineOptimizer`.
    form : TableForm
        The table's columns.
    numeric : list of int
        Columns of numbers.
    low, high : ndarray of shape (n_numeric,)
        Smallest and largest value in the training rows.
    margin : float
        Share of the range by which these are widened.

    Returns
    -------
    ndarray of shape (n_numeric, 2)
        Lower and upper bounds.
    """
    with np.errstate(over="ignore"):
        extra = margin * (high - low)
        widened = np.column_stack([low - extra, high + extra])
    if bounds is None:
        return widened
    if isinstance(bounds, str):
        if bounds != "free":
            raise ValueError(
                f"bounds={bounds!r}: expected None, 'free', pairs or a dict."
            )
        return np.tile([-np.inf, np.inf], (len(numeric), 1))
    if isinstance(bounds, dict):
        for column, pair in bounds.items():
            j = form.index_of(column)
            if j not in numeric:
                raise ValueError(f"Column {form.name_of(j)} has categories, no bounds.")
            if np.shape(pair) != (2,):
                raise ValueError(
                    f"bounds of feature {form.name_of(j)} are no pair: {pair!r}."
                )
            row = widened[numeric.index(j)] = np.asarray(pair, dtype=np.float64)
            _check_pair(row, form.name_of(j))
        return widened
    pairs = _pairs(bounds, form)[numeric]
    for j, pair in zip(numeric, pairs, strict=True):
        _check_pair(pair, form.name_of(j))
    return pairs


def _pairs(bounds, form):
    """Return an array of bounds of shape (n_columns, 2)."""
    n_columns = form.n_columns
    is_tuple = isinstance(bounds, tuple) and len(bounds) == 2
    # a table of two columns leaves open whether the two are sides or rows
    are_sides = is_tuple and any(
        np.ndim(s) == 1 and hasattr(s, "dtype") for s in bounds
    )
    if isinstance(bounds, list) and len(bounds) == 2:
        is_tuple = are_sides = any(_labels(side) is not None for side in bounds)
    try:
        pairs = np.array(_in_order(bounds, form), dtype=np.float64)  # a copy
    except (TypeError, ValueError):
        if _labels(bounds) is not None:
            raise
        pairs = None  # of a scalar and an array
    if pairs is not None and pairs.shape == (n_columns, 2) and not are_sides:
        return pairs
    if is_tuple:
        sides = [_in_order(side, form) for side in bounds]
        sides = [np.asarray(side, dtype=np.float64) for side in sides]
        if all(side.shape in ((), (n_columns,)) for side in sides):
            full = [np.broadcast_to(side, (n_columns,)) for side in sides]
            return np.column_stack(full)
    shape = "ragged" if pairs is None else pairs.shape
    raise ValueError(
        f"bounds has shape {shape}, but X has {n_columns} features: expected shape "
        f"({n_columns}, 2), or a tuple (lower, upper)."
    )


def _labels(bounds):
    """Return what the rows of a frame, or the values of a series, are called."""
    return bounds.index.tolist() if hasattr(bounds, "iloc") else None


def _in_order(bounds, form):
    """Return bounds with labels in the order of the columns, others as they are."""
    labels, names = _labels(bounds), form.names
    if labels is None:
        return bounds
    values = bounds.to_numpy() if np.ndim(bounds) == 2 else bounds.tolist()
    is_numbered = labels == list(range(len(labels)))
    is_plain = names is None or (is_numbered and set(labels) != set(names))
    if is_plain or labels == names:
        return values
    is_set = len(set(labels)) == len(labels) == len(names)
    if not is_set or set(labels) != set(names):
        raise ValueError(
            f"bounds are labelled {labels}, but the columns of X are {names}: give "
            "each column one row of bounds, or take a dict for some of them."
        )
    return [values[labels.index(name)] for name in names]


def _check_pair(pair, name):
    lower, upper = pair
    if not lower <= upper:
        raise ValueError(
            f"bounds of feature {name}: the lower bound {lower} is above the upper "
            f"bound {upper}, or one of them is no number."
        )
    if lower == upper and np.isinf(lower):
        raise ValueError(f"bounds of feature {name}: both are {lower}.")


def limits(lower, upper, dtype, is_integer, name):
    """Return the smallest and largest value of a dtype within bounds, as floats."""
    dtype = np.dtype(dtype)
    if is_integer:
        lower, upper = np.ceil(lower), np.floor(upper)
    if dtype.kind == "b":
        lower, upper = max(lower, 0.0), min(upper, 1.0)
    elif dtype.kind in "iu" and is_integer:
        info = np.iinfo(dtype)
        largest = float(info.max)
        if largest > info.max:  # is not among the float64 numbers
            largest = np.nextafter(largest, 0)
        lower, upper = max(lower, float(info.min)), min(upper, largest)
    elif dtype.kind == "f" and dtype.itemsize < 8:
        # a single value stands for the number of the dtype that is nearest to it
        inwards = (0, 0) if lower == upper else (np.inf, -np.inf)
        lower, upper = (
            _narrow(lower, dtype, inwards[0]),
            _narrow(upper, dtype, inwards[1]),
        )
    if lower > upper:
        kind = "integer" if is_integer else dtype.name
        raise ValueError(f"bounds of feature {name}: there is no {kind} within them.")
    return lower, upper


def decimal_limits(lower, upper, precision, scale, name):
    """Return the smallest and largest decimal within bounds, as floats."""
    largest = np.nextafter(10.0 ** (precision - scale), 0)
    inwards = (0, 0) if lower == upper else (1, -1)
    lower = _rounded(max(lower, -largest), scale, inwards[0])
    upper = _rounded(min(upper, largest), scale, inwards[1])
    if lower > upper:
        raise ValueError(
            f"bounds of feature {name}: there is no number with {scale} decimals "
            "within them."
        )
    return lower, upper


def _rounded(bound, scale, inwards):
    """Return a bound with some decimals, rounded inwards (0: to the nearest)."""
    near = np.round(bound, scale)
    if inwards * (bound - near) > 0:
        near = np.round(near + inwards * 10.0**-scale, scale)
    return near


def _narrow(bound, dtype, inwards):
    """Return a bound as a number of a less precise dtype, rounded inwards (0: not)."""
    if np.isinf(bound):
        return bound
    largest = float(np.finfo(dtype).max)
    near = dtype.type(np.clip(bound, -largest, largest))
    is_outside = float(near) < bound if inwards > 0 else float(near) > bound
    if inwards and is_outside:
        near = np.nextafter(near, dtype.type(inwards))
    return float(near)
