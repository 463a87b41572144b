# SPDX-License-Identifier: BSD-3-Clause
"""Rows in chunks, so that the working memory does not grow with the table."""

import numpy as np
from scipy.sparse import issparse

from skpapers.utils._sklearn import safe_indexing

WORKING_BYTES = 2**26


def count_rows(X):
    """Return the number of rows of an array, a frame or a list."""
    return X.shape[0] if hasattr(X, "shape") else len(X)


def take_rows(X, rows):
    """Return a slice of the rows of whatever X is; a view where there can be one."""
    if isinstance(X, np.ndarray) or issparse(X):
        return X[rows]
    return safe_indexing(X, rows)


def row_slices(n_rows, width, max_rows=None):
    """Return slices over rows of ``width`` float64 numbers within the memory limit."""
    step = max(1, WORKING_BYTES // (8 * max(1, width)))
    step = step if max_rows is None else min(step, max_rows)
    return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


def passes(model, X, max_rows=None):
    """Yield slices of rows and what a model says about them.

    Parameters
    ----------
    model : object
        As of `as_model`.
    X : array-like of shape (n_samples, n_features)
        Rows, as the classifier takes them; only a chunk of them is worked on at once.
    max_rows : int, default=None
        Largest number of rows of a chunk, where the memory limit allows for more.

    Yields
    ------
    rows : slice
        Which rows.
    p : object
        The pass.
    """
    if hasattr(model, "measure") and count_rows(X):
        model.measure(take_rows(X, slice(0, 1)))  # a network, of whatever shape
    width = X.shape[1] if len(getattr(X, "shape", ())) > 1 else 1
    width += getattr(model, "width", 64)
    for rows in row_slices(count_rows(X), width, max_rows):
        yield rows, model.run(take_rows(X, rows))
