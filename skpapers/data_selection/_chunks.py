# SPDX-License-Identifier: BSD-3-Clause
"""Rows in chunks, so that the working memory does not grow with the table.

A table in memory or in a file is worked on by slices of its rows (`passes`). A dask
table is worked on by its partitions, each where it lies (`score_partitions`): the
classifier travels to the rows and only one number a row comes back.
"""

import numpy as np
from scipy.sparse import issparse

from skpapers.utils._optional import import_optional
from skpapers.utils._sklearn import safe_indexing

WORKING_BYTES = 2**26


def count_rows(X):
    """Return the number of rows of an array, a frame or a list."""
    refuse_lazy_frame(X)
    return X.shape[0] if hasattr(X, "shape") else len(X)


def refuse_lazy_frame(X):
    """Raise for a table that cannot be trained on, since its rows are not here."""
    if is_dask(X) and not hasattr(X, "chunks"):
        raise TypeError(
            "A dask DataFrame cannot be trained on. Fit to rows in memory, for example "
            "X.sample(frac=0.01).compute(); score_samples and score_rows then score "
            "the whole table, partition by partition."
        )


def take_rows(X, rows):
    """Return a slice of the rows of whatever X is; a view where there can be one."""
    if isinstance(X, np.ndarray) or issparse(X):
        return X[rows]
    return safe_indexing(X, rows)


def count_numbers(X):
    """Return how many numbers a row holds, about; stored ones if sparse."""
    if issparse(X):
        return 2 * (1 + X.nnz // max(1, X.shape[0]))  # with their columns
    return int(np.prod(getattr(X, "shape", ())[1:]))


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
    width = count_numbers(X) + getattr(model, "width", 64)
    for rows in row_slices(count_rows(X), width, max_rows):
        yield rows, model.run(take_rows(X, rows))


# ------------------------------------------------------------------------- dask tables


def is_dask(X):
    """Return whether X is a table of dask, without importing it."""
    return type(X).__module__.partition(".")[0] in ("dask", "dask_expr") and hasattr(
        X, "__dask_graph__"
    )


def score_partitions(function, X, y=None):
    """Apply a function to the partitions of a dask table, each where it lies.

    Parameters
    ----------
    function : callable
        Of rows and labels, with one result a row; what it refers to, a classifier for
        example, is sent to the workers once.
    X : dask DataFrame or dask Array of shape (n_samples, n_features)
        Rows.
    y : dask Series, dask Array or array-like of shape (n_samples,), default=None
        Labels, with the partitions of X if dask does not know their lengths.

    Returns
    -------
    ndarray
        Results of all rows in their order, the only thing that is gathered.

    Raises
    ------
    ValueError
        If there are not as many labels as rows.

    Notes
    -----
    Computed by the scheduler that is active: on the cluster of a `distributed.Client`
    if there is one.
    """
    dask = import_optional("dask", extra="dask", needed_by="A dask table")
    parts = _partitions(X)
    if y is None:
        labels = [None] * len(parts)
    elif is_dask(y):
        labels = _partitions(_aligned(y, X))
    else:
        labels = _split(dask, np.asarray(y), parts)
    if len(labels) != len(parts):
        raise ValueError(
            f"y has {len(labels)} partitions and X {len(parts)}: repartition y."
        )
    function = dask.delayed(function, pure=False)
    found = [
        dask.delayed(_score_part)(function, part, label)
        for part, label in zip(parts, labels, strict=True)
    ]
    found = [part for part in dask.compute(*found) if part is not None]
    if not found:
        raise ValueError("X has no rows.")
    return np.concatenate(found)


def _score_part(function, X, y):
    """Return the results of a partition, None if it is empty; runs on a worker."""
    if y is not None:
        y = np.asarray(y)
        y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        if len(y) != len(X):
            raise ValueError(
                f"a partition has {len(X)} rows and {len(y)} labels: give X and y the "
                "same partitions."
            )
    return function(X, y) if len(X) else None


def _partitions(X):
    """Return the partitions of a table, whole rows each, as delayed objects."""
    if hasattr(X, "chunks") and X.ndim == 2 and len(X.chunks[1]) > 1:
        X = X.rechunk({1: -1})
    return list(np.ravel(X.to_delayed()))


def _aligned(y, X):
    """Return labels with the partitions of the rows where their lengths are known."""
    chunks = getattr(X, "chunks", None), getattr(y, "chunks", None)
    if None in chunks:
        return y
    of_X, of_y = chunks[0][0], chunks[1][0]
    if np.isnan(of_X + of_y).any() or of_X == of_y or sum(of_X) != sum(of_y):
        return y
    return y.rechunk({0: of_X})


def _split(dask, y, parts):
    """Cut labels that lie here by the lengths of the partitions."""
    lengths = dask.compute(*[dask.delayed(len)(part) for part in parts])
    if sum(lengths) != len(y):
        raise ValueError(f"X has {sum(lengths)} rows and y {len(y)} labels.")
    return np.split(y, np.cumsum(lengths)[:-1])
