# SPDX-License-Identifier: BSD-3-Clause
"""Scores of labelled rows by a classifier that is fitted already."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted, validate_data

from skpapers.data_selection._chunks import is_dask, passes, score_partitions
from skpapers.data_selection._labelled import LOG_TINY, encode_labels, on_host
from skpapers.data_selection._models import as_model
from skpapers.data_selection._models._base import is_torch, no_gradients
from skpapers.data_selection._table import takes_anything

__all__ = ["score_rows"]

FLOATS = [np.float64, np.float32]


def read_labelled(estimator, X, y, needs_gradients=True):
    """Return a model, checked rows and the places of the labels."""
    if not is_torch(estimator):
        check_is_fitted(estimator)
    model = as_model(estimator)
    if needs_gradients and not model.is_differentiable:
        raise no_gradients(_name_of(estimator))
    is_own = not is_torch(estimator) and not takes_anything(estimator)
    if is_own and model.is_differentiable:  # others check the rows themselves
        options = {"accept_sparse": "csr", "dtype": FLOATS}
        X = validate_data(estimator, on_host(X), reset=False, **options)
    codes, _ = encode_labels(y, model.classes_, name="y")
    check_consistent_length(X, codes)
    return model, X, codes


def _name_of(estimator):
    while isinstance(estimator, Pipeline):
        estimator = estimator[-1]
    return type(estimator).__name__


def _margin(p, codes, layers):
    errors = p.errors(codes)
    rows = np.arange(len(codes))
    own, errors[rows, codes] = -errors[rows, codes], 0.0  # 1 - p_y
    return errors.max(axis=1) + own - 1.0


SCORES = {
    "el2n": lambda p, codes, layers: np.linalg.norm(p.errors(codes), axis=1),
    "grand": lambda p, codes, layers: p.gradient_norms(codes, layers=layers),
    "margin": _margin,
    "loss": lambda p, codes, layers: (
        -np.maximum(p.log_proba[np.arange(len(codes)), codes], LOG_TINY)
    ),
}


def score_rows(estimator, X, y, *, scores=("el2n",), layers=None):
    """Score labelled rows by a fitted classifier, in one pass over a table of any size.

    Parameters
    ----------
    estimator : classifier
        Fitted, with probabilities; a pipeline, a torch module or a skorch net, too. For
        "grand" one of those of `gradient_norms`.
    X : {array-like, sparse matrix} of shape (n_samples, n_features), or dask table
        Rows, as the classifier takes them: also a memory map, of which a chunk is read
        at a time, or a dask DataFrame or Array, whose partitions are scored where they
        lie. Arrays of torch or CuPy are copied to NumPy for models of scikit-learn.
    y : array-like of shape (n_samples,)
        Their labels; with a dask table also a dask Series or Array.
    scores : str or sequence of str, default=("el2n",)
        Which: "el2n" (`el2n_scores`), "grand" (`gradient_norms`), "margin"
        (`margin_scores`) and "loss", the cross-entropy in nats.
    layers : list of int, default=None
        Layers whose parameters count for "grand"; None: all.

    Returns
    -------
    dict of ndarray of shape (n_samples,)
        Scores by name, in float64; large where a row is hard or its label wrong. A
        classifier of one class is right about all of its rows.

    Raises
    ------
    TypeError
        If the classifier has no probabilities, or no gradients for "grand".
    ValueError
        If a score is not known, or if shapes, labels or layers do not fit.

    See Also
    --------
    EL2NScorer : Trains, and averages over runs.

    Notes
    -----
    One forward pass, with "grand" one backward pass, over chunks of rows: O(n P) time
    for P parameters, and about 64 MB of memory beside X and the result.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skpapers.data_selection import score_rows
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=500).fit(X, y)
    >>> found = score_rows(model, X[[0, 70]], y[[0, 70]], scores=["el2n", "margin"])
    >>> found["el2n"].round(1), found["margin"].round(1)
    (array([0. , 0.8]), array([-1. ,  0.1]))
    """
    names = [scores] if isinstance(scores, str) else list(scores)
    unknown = [name for name in names if name not in SCORES]
    if unknown or not names:
        raise ValueError(f"scores must be some of {list(SCORES)}, got {scores!r}.")
    function = _PartScorer(estimator, names, layers)
    table = score_partitions(function, X, y) if is_dask(X) else function(X, y)
    return dict(zip(names, table.T.copy(), strict=True))


class _PartScorer:
    """Columns of scores of rows; picklable, for workers."""

    def __init__(self, estimator, names, layers):
        self.estimator, self.names, self.layers = estimator, names, layers

    def __call__(self, X, y):
        needs = "grand" in self.names
        model, X, codes = read_labelled(self.estimator, X, y, needs)
        if len(model.classes_) < 2:  # its probability is 1
            sure = [-1.0 if name == "margin" else 0.0 for name in self.names]
            return np.tile(sure, (len(codes), 1))
        table = np.empty((len(codes), len(self.names)))
        for rows, p in passes(model, X):
            for column, name in enumerate(self.names):
                table[rows, column] = SCORES[name](p, codes[rows], self.layers)
        return table
