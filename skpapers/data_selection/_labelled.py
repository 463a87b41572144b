# SPDX-License-Identifier: BSD-3-Clause
"""Labels and probabilities of any array library, checked, in chunks of rows."""

import math
import warnings

import numpy as np
from array_api_compat import is_array_api_obj

from skpapers.data_selection._chunks import is_dask
from skpapers.utils import DataConditionWarning
from skpapers.utils._array_api import array_namespace, device, to_numpy

CHUNK_BYTES = 2**24  # of the probabilities of a chunk; a few arrays like it are formed
SUM_TOLERANCE = 1e-6  # of the probabilities of a row
LOG_TINY = math.log(1e-300)  # probabilities are cut here


def as_array(x):
    """Return x, or a NumPy array of it where it belongs to no library that computes."""
    return x if is_array_api_obj(x) and not is_dask(x) else np.asarray(x)


def on_host(x):
    """Return an array of another library as one of NumPy, and all else as it is."""
    return to_numpy(x) if is_array_api_obj(x) and not is_dask(x) else x


def as_float(x):
    """Return an array of float64 in the library of x."""
    x = as_array(x)
    xp = array_namespace(x)
    return xp.astype(x, xp.float64, copy=False)


def normalised(p, name):
    """Return probabilities that are not negative and sum to 1 in each row.

    Parameters
    ----------
    p : array of shape (n, K)
        Numbers in float64, of any array library.
    name : str
        What they are, for messages.

    Returns
    -------
    p : array of shape (n, K)
        The probabilities; rows are divided by their sums if these are off by more than
        rounding.
    off : float
        How far a sum was off, for `warn_of_sums`.
    """
    if p.shape[0] == 0:
        return p, 0.0
    xp = array_namespace(p)
    require_finite(p, name)
    p = xp.where(p < 0, 0.0, p)
    total = xp.sum(p, axis=1, keepdims=True)
    if not bool(xp.all(total > 0)):
        raise ValueError(f"There are rows of {name} without a positive probability.")
    off = float(xp.max(xp.abs(total - 1.0)))
    return (p / total if off > SUM_TOLERANCE else p), off


def require_finite(values, name):
    """Raise if there is NaN or infinity."""
    xp = array_namespace(values)
    if not bool(xp.all(xp.isfinite(values))):
        raise ValueError(f"{name} must be finite; there is nan or infinity.")


def warn_of_sums(off, name, stacklevel=3):
    """Warn if sums of rows were off by more than rounding."""
    if off > SUM_TOLERANCE:
        warnings.warn(
            f"the rows of {name} must sum to 1, some sums are off by {off:.2g}: "
            "rows are divided by their sums.",
            DataConditionWarning,
            stacklevel=stacklevel,
        )


def chunks(n_rows, width):
    """Return slices over rows of ``width`` numbers, at least one slice."""
    step = max(1, CHUNK_BYTES // (8 * max(width, 1)))
    return [
        slice(start, min(start + step, n_rows))
        for start in range(0, max(n_rows, 1), step)
    ]


def encode_labels(y, classes=None, *, n_classes=None, name="y_true"):
    """Return the places of labels among the classes.

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels of any kind.
    classes : array-like of shape (K,), default=None
        Labels in the order of the columns; None takes the sorted labels of y.
    n_classes : int, default=None
        Number of columns; None if there are none to compare with.
    name : str, default="y_true"
        Name of y, for messages.

    Returns
    -------
    codes : ndarray of shape (n,)
        Places.
    classes : ndarray of shape (K,)
        Labels.
    """
    y = to_numpy(as_array(y))
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(f"{name} must hold one label a row, got shape {y.shape}.")
    if y.dtype.kind == "f" and not (y == np.floor(y)).all():  # nan as well
        raise ValueError(
            f"Unknown label type: {name} holds fractions or nan; scores are for "
            "classification."
        )
    if classes is None:
        classes, codes = np.unique(y, return_inverse=True)
    else:
        classes = to_numpy(as_array(classes))
        codes = _find_labels(y, classes, name)
    if n_classes is not None and len(classes) != n_classes:
        raise ValueError(
            f"there are {n_classes} columns of probabilities and {len(classes)} "
            f"classes{_shown(classes)}: pass classes=, the labels of the columns."
        )
    return codes, classes


def _find_labels(y, classes, name):
    order = np.argsort(classes)
    ranked = classes[order]
    if len(np.unique(ranked)) < len(ranked):
        raise ValueError(f"classes has a label twice{_shown(classes)}.")
    if len(ranked) == 0:
        raise ValueError("classes is empty.")
    place = np.minimum(np.searchsorted(ranked, y), len(ranked) - 1)
    unknown = ranked[place] != y
    if np.any(unknown):
        raise ValueError(
            f"{name} has labels that are not among the classes{_shown(classes)}: "
            f"{np.unique(y[unknown])[:5].tolist()}."
        )
    return order[place]


def _shown(classes):
    return f" ({', '.join(map(repr, classes[:10].tolist()))})"


class Labelled:
    """Probabilities, or logits, of rows with labels.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Labels.
    y_prob : array-like of shape (n, K)
        Probabilities or logits, of any array library.
    classes : array-like of shape (K,), default=None
        Labels of the columns; None takes the sorted labels of ``y_true``.
    from_logits : bool, default=False
        Whether ``y_prob`` holds logits.
    name : str, default="y_prob"
        Name of ``y_prob``, for messages.
    """

    def __init__(self, y_true, y_prob, classes=None, from_logits=False, name="y_prob"):
        self.given, self.from_logits, self.name = as_array(y_prob), from_logits, name
        self.xp = array_namespace(self.given)
        if self.given.ndim != 2:
            raise ValueError(
                f"{name} must have a row a sample and a column a class, got shape "
                f"{tuple(self.given.shape)}."
            )
        n_samples, self.n_classes = self.given.shape
        self.codes, self.classes = encode_labels(
            y_true, classes, n_classes=self.n_classes
        )
        if len(self.codes) != n_samples:
            raise ValueError(
                f"y_true has {len(self.codes)} labels and {name} {n_samples} rows."
            )

    def score(self, function):
        """Apply a function to chunks of rows.

        Parameters
        ----------
        function : callable
            Of the array library, of values (m, K) in float64, which are probabilities
            or, from logits, shifted logits of which the largest in each row is 0, and
            of the places of the labels as a boolean array (m, K).

        Returns
        -------
        array of shape (n,)
            In the library, on the device of the probabilities.
        """
        xp, where = self.xp, device(self.given)
        columns = xp.arange(self.n_classes, device=where)
        parts, off = [], 0.0
        for part in chunks(len(self.codes), self.n_classes):
            codes = xp.asarray(self.codes[part], device=where)
            values, rounding = self._values(self.given[part, :])
            off = max(off, rounding)
            is_label = columns[None, :] == codes[:, None]
            parts.append(function(xp, values, is_label))
        warn_of_sums(off, self.name, stacklevel=4)
        return parts[0] if len(parts) == 1 else xp.concat(parts)

    def _values(self, chunk):
        values = as_float(chunk)
        if not self.from_logits:
            return normalised(values, self.name)
        require_finite(values, self.name)
        if values.shape[0] == 0:
            return values, 0.0
        return values - self.xp.max(values, axis=1, keepdims=True), 0.0

    def probabilities(self, xp, values):
        """Return probabilities, of the values that `score` hands over."""
        if not self.from_logits:
            return values
        p = xp.exp(values)
        return p / xp.sum(p, axis=1, keepdims=True)

    def label_log_proba(self, xp, values, is_label):
        """Return logarithms of the labels' probabilities, cut at 1e-300."""
        own = xp.sum(xp.where(is_label, values, 0.0), axis=1)
        if self.from_logits:
            own = own - xp.log(xp.sum(xp.exp(values), axis=1))
        else:
            own = xp.log(xp.where(own < 1e-300, 1e-300, own))
        return xp.where(own < LOG_TINY, LOG_TINY, own)
