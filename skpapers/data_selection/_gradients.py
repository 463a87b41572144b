# SPDX-License-Identifier: BSD-3-Clause
r"""Gradients of fitted classifiers, row by row.

Norms and inner products are computed without forming the gradients. For dense stacks
the inner product of the parameter gradients of two rows is a sum over the layers of
products of two inner products, so the influence of n rows on m others is one
elementwise product of two n x m matrices a layer:

.. math:: \nabla\ell \cdot \nabla\ell' = \sum_l (a_{l-1} \cdot a'_{l-1} + 1)
   (\delta_l \cdot \delta'_l).
"""

import numpy as np
from scipy.sparse import issparse

from skpapers.data_selection._chunks import WORKING_BYTES, is_dask, passes
from skpapers.data_selection._rows import read_labelled, score_rows
from skpapers.data_selection._scores import checked_rates
from skpapers.utils._sklearn import StrOptions, validate_params

BLOCK = 2048  # rows, of the matrices of products: 32 MB


@validate_params({"layers": ["array-like", None]}, prefer_skip_nested_validation=True)
def gradient_norms(estimator, X, y, *, layers=None):
    r"""Return the norm of each row's gradient of the loss by the parameters (GraNd).

    Parameters
    ----------
    estimator : classifier
        Fitted `LogisticRegression`, `SGDClassifier` with ``loss="log_loss"``,
        `MLPClassifier`, a pipeline that ends in one of them, a torch module or a skorch
        net. For one-vs-rest models the loss is the sum of the logistic losses.
    X : {array-like, sparse matrix} of shape (n_samples, n_features), or dask table
        Rows; memory maps and dask tables as of `score_rows`.
    y : array-like of shape (n_samples,)
        Their labels.
    layers : list of int or str, default=None
        Layers whose parameters count, 0 next to the input, -1 the last; None: all. For
        torch networks also names of modules or parameters.

    Returns
    -------
    ndarray of shape (n_samples,)
        Norms, without the penalty's part.

    Raises
    ------
    TypeError
        If the classifier has no gradients.
    ValueError
        If shapes, labels or layers do not fit.

    See Also
    --------
    GraNdScorer : Averages the norms over training runs.
    input_gradients : Gradients by the columns.

    Notes
    -----
    One forward and one backward pass for chunks of rows: O(n P) time for P parameters
    and no more than about 64 MB of memory beside X and the result.

    References
    ----------
    Paul, Ganguli, Dziugaite. Deep Learning on a Data Diet. NeurIPS 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skpapers.data_selection import gradient_norms
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=500).fit(X, y)
    >>> gradient_norms(model, X[[0, 70]], y[[0, 70]]).round(1)
    array([0.2, 6.7])
    """
    options = {"scores": ["grand"], "layers": layers}
    return score_rows(estimator, X, y, **options)["grand"]


@validate_params(
    {"output": [StrOptions({"proba", "logit"})]}, prefer_skip_nested_validation=True
)
def input_gradients(estimator, X, y, *, output="proba"):
    """Return each row's gradient of its label's probability or logit by the columns.

    Parameters
    ----------
    estimator : classifier
        Fitted; as of `gradient_norms`. With a pipeline the columns are those after the
        transformers, with embeddings the numbers that they give.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,)
        Their labels.
    output : {"proba", "logit"}, default="proba"
        What is differentiated. The logit of a linear model has the same gradient for
        all rows of a class.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Gradients.

    Raises
    ------
    TypeError
        If the classifier has no gradients.
    ValueError
        If shapes or labels do not fit.

    See Also
    --------
    vog_scores : Their variance over checkpoints.

    Notes
    -----
    One forward and one backward pass, O(n P) for P parameters.

    References
    ----------
    Agarwal, D'souza, Hooker. Estimating Example Difficulty using Variance of
    Gradients. CVPR 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skpapers.data_selection import input_gradients
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=500).fit(X, y)
    >>> input_gradients(model, X[[70]], y[[70]]).round(1)
    array([[ 0.2,  0.1, -0.7, -0.7]])
    """
    if is_dask(X):
        raise TypeError(
            "input_gradients gives a table as large as X: call it on the partitions of "
            "a dask table (map_partitions)."
        )
    model, X, codes = read_labelled(estimator, X, y)
    found = np.empty((0, 0))
    # the gradients are dense, also where X is sparse
    width = int(np.prod(getattr(X, "shape", ())[1:]))
    max_rows = max(1, WORKING_BYTES // (8 * max(1, width)))
    for rows, p in passes(model, X, max_rows):
        part = p.input_gradients(codes[rows], output=output)
        if rows.start == 0:
            found = np.empty((len(codes), part.shape[1]))
        found[rows] = part
    return found


@validate_params({"layers": ["array-like", None]}, prefer_skip_nested_validation=True)
def tracin_influence(
    estimators, X, y, X_other=None, y_other=None, *, lr=1.0, layers=None
):
    r"""Return how much training on each row lowers the loss of other rows.

    .. math:: \sum_c \eta_c \, \nabla\ell_c(x, y) \cdot \nabla\ell_c(x', y')

    Parameters
    ----------
    estimators : list of classifier
        The classifier at the checkpoints, fitted; linear ones or `MLPClassifier`, or
        pipelines that end in them. Of torch modules only the influence on themselves
        is known (`TracInScorer`).
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows that were trained on; arrays of torch or CuPy are copied to NumPy.
    y : array-like of shape (n_samples,)
        Their labels.
    X_other : {array-like, sparse matrix} of shape (n_others, n_features), default=None
        Rows to explain. None: X itself.
    y_other : array-like of shape (n_others,), default=None
        Their labels.
    lr : float or array-like of shape (n_checkpoints,), default=1.0
        Learning rates at the checkpoints.
    layers : list of int, default=None
        Layers whose parameters count, 0 next to the input, -1 the last; None: all.

    Returns
    -------
    ndarray of shape (n_samples, n_others)
        Positive where the row helps, negative where it harms.

    Raises
    ------
    TypeError
        If a classifier is no stack of dense layers.
    ValueError
        If shapes or labels do not fit, or there is no checkpoint.

    See Also
    --------
    tracin_self_influence : The diagonal.

    Notes
    -----
    No gradient is formed: O(n m w) time for layers of w units in all, chunk by chunk.

    References
    ----------
    Pruthi, Liu, Kale, Sundararajan. Estimating Training Data Influence by Tracing
    Gradient Descent. NeurIPS 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skpapers.data_selection import tracin_influence
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=500).fit(X, y)
    >>> tracin_influence([model], X[[0, 70]], y[[0, 70]]).round(1)
    array([[ 0. , -0.5],
           [-0.5, 45. ]])
    """
    if (X_other is None) != (y_other is None):
        raise ValueError("X_other and y_other must be given together.")
    estimators = list(estimators)
    if not estimators:
        raise ValueError("estimators must hold at least one checkpoint.")
    X_other, y_other = (X, y) if X_other is None else (X_other, y_other)
    total = 0.0
    rates = checked_rates(lr, len(estimators))
    for estimator, rate in zip(estimators, rates, strict=True):
        pairs = (X, y), (X_other, y_other)
        total = total + rate * _gradient_products(estimator, *pairs, layers)
    return total


def _gradient_products(estimator, pairs, other_pairs, layers):
    """Return the inner products of the gradients of rows and of other rows."""
    model, X, codes = read_labelled(estimator, *pairs)
    _, X_other, other_codes = read_labelled(estimator, *other_pairs)
    products = np.zeros((len(codes), len(other_codes)))
    for columns, q in passes(model, X_other, max_rows=BLOCK):
        if not hasattr(q, "factors"):
            raise TypeError(
                f"{type(estimator).__name__} is no stack of dense layers: the influence"
                " on other rows is known for linear classifiers and MLPClassifier; that"
                " of rows on themselves, by TracInScorer, for torch modules too."
            )
        other = list(q.factors(other_codes[columns], layers))
        for rows, p in passes(model, X, max_rows=BLOCK):
            block = products[rows, columns]
            factors = zip(p.factors(codes[rows], layers), other, strict=True)
            for (a, slopes), (a_other, slopes_other) in factors:
                inner = a @ a_other.T
                inner = inner.toarray() if issparse(inner) else inner
                block += (inner + p.has_intercept) * (slopes @ slopes_other.T)
    return products
