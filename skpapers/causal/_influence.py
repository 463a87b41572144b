# SPDX-License-Identifier: BSD-3-Clause
r"""Which rows made this edge: how fitted weights depend on the weights of the rows.

On a fixed graph the variable j is regressed on its parents P. With row weights
:math:`\omega`, their sum n, weighted means m and covariance C, the coefficients w solve

.. math:: g(w, \omega) = \sum_r \omega_r (x_{rP} - m_P) e_r = 0, \qquad
          e_r = (x_{rj} - m_j) - (x_{rP} - m_P)^\top w .

The means depend on the weights too, but g does not change with them to first order,
because weighted residuals and weighted centred parents both sum to zero. So the
derivative of the solution (implicit function theorem) is

.. math:: \frac{dw}{d\omega_r} = \frac{1}{n} C_{PP}^{-1} (x_{rP} - m_P)\, e_r ,

and the exact change when the row is left out is :math:`-\omega_r/(1 - h_r)` times that,
with the leverage :math:`h_r = \omega_r (1 + (x_{rP} - m_P)^\top C_{PP}^{-1} (x_{rP} -
m_P)) / n`.

References
----------
R. D. Cook, S. Weisberg, "Residuals and influence in regression", Chapman and Hall 1982.
"""

import numpy as np
from scipy.linalg import lstsq
from sklearn.utils.validation import check_is_fitted

from skpapers.causal._moments import moments
from skpapers.causal._stability import LEARNER, read_table
from skpapers.utils._array_api import to_numpy
from skpapers.utils._graph import check_adjacency
from skpapers.utils._sklearn import StrOptions, validate_params


def find_column(column, learner, name):
    """Return the index of a column of a fitted learner, given by name or index.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    names = list(learner.get_feature_names_out())
    if isinstance(column, str) and column in names:
        return names.index(column)
    if not isinstance(column, (str, bool)) and 0 <= column < len(names):
        return int(column)
    raise ValueError(
        f"{name}={column!r} is no column; known are the names {names} and the indices "
        f"0 to {len(names) - 1}."
    )


def graph_of(learner, d):
    """Return the edges of a fitted learner.

    Raises
    ------
    NotFittedError
        If it is not fitted.
    ValueError
        If its graph is of another number of columns than d, or cyclic.
    """
    check_is_fitted(learner)
    adjacency = check_adjacency(
        to_numpy(learner.adjacency_), name="adjacency_", acyclic=True
    )
    if len(adjacency) != d:
        raise ValueError(
            f"learner was fitted to {len(adjacency)} columns, but X has {d}."
        )
    return adjacency != 0


@validate_params(
    {
        "learner": LEARNER,
        "X": ["array-like"],
        "sample_weight": ["array-like", None],
        "change": [StrOptions({"derivative", "deletion"})],
    },
    prefer_skip_nested_validation=True,
)
def edge_influence(
    learner, X, source, target, *, sample_weight=None, change="derivative"
):
    """Tell how much each row contributes to the weight of an edge.

    The weight is that of the least squares regression of ``target`` on its parents in
    the learnt graph, which is taken as given: rows that matter for *which* edges there
    are may differ from those that matter for this weight.

    Parameters
    ----------
    learner : estimator
        Fitted learner of causal graphs (whatever has ``adjacency_``). Of a learner
        whose weights are not least squares coefficients only the graph is used.
    X : array-like of shape (n_samples, n_features)
        The rows, usually those of the fit.
    source, target : int or str
        The edge, by column names or indices.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights of the rows; None stands for ones.
    change : {"derivative", "deletion"}, default="derivative"
        "derivative": derivative of the edge's weight in each row's weight. "deletion":
        the exact difference between the edge's weight and the one without the row;
        it is larger for rows that draw the regression to themselves.

    Returns
    -------
    ndarray of shape (n_samples,)
        Positive where the row pulls the weight of the edge up, in units of the target
        per unit of the source.

    Raises
    ------
    NotFittedError
        If the learner is not fitted.
    ValueError
        If a column is unknown, if the graph has no edge from source to target, or if
        the parents of the target are linearly dependent in X.

    See Also
    --------
    bootstrap_edges : How often an edge is found in resampled rows.

    Notes
    -----
    O(n (d + k²)) for k parents of the target. With the weights of the rows, the sum of
    weight times derivative is zero.

    References
    ----------
    .. [1] R. D. Cook, S. Weisberg, "Residuals and influence in regression", Chapman and
       Hall 1982.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.causal import TopologicalSwap, edge_influence
    >>> rng = np.random.default_rng(0)
    >>> cause = rng.standard_normal(200)
    >>> X = np.column_stack([cause, 2 * cause + rng.standard_normal(200)])
    >>> X[17] = [4.0, -10.0]  # a typing error in the sign
    >>> learner = TopologicalSwap(loss="squared").fit(X)
    >>> int(np.abs(edge_influence(learner, X, 0, 1)).argmax())
    17
    """
    X, weight, _ = read_table(X, sample_weight)
    support = graph_of(learner, X.shape[1])
    i = find_column(source, learner, "source")
    j = find_column(target, learner, "target")
    if not support[i, j]:
        names = learner.get_feature_names_out()
        raise ValueError(
            f"The graph has no edge {names[i]} -> {names[j]}. The parents of "
            f"{names[j]} are {list(names[support[:, j]])}."
        )
    parents = np.flatnonzero(support[:, j])
    n, mean, C = moments(X[:, [*parents, j]], weight)
    centred = X[:, [*parents, j]] - mean
    Z, y = centred[:, :-1], centred[:, -1]
    scale = np.sqrt(np.diag(C)[:-1])
    scale[scale == 0] = 1.0
    R = C[:-1, :-1] / scale / scale[:, None]
    # rows of the inverse and the coefficients, in units of standard deviations
    identity = np.eye(len(parents))
    solved, _, rank, _ = lstsq(R, np.column_stack([identity, C[:-1, -1] / scale]))
    if rank < len(parents):
        raise ValueError(
            "The parents of the target are linearly dependent in X, so that the weight "
            "of the edge is not determined: drop columns."
        )
    Z = Z / scale
    residual = y - Z @ solved[:, -1]
    at = int(np.flatnonzero(parents == i)[0])
    derivative = (Z @ solved[:, at]) * residual / (n * scale[at])
    if change == "derivative":
        return derivative
    weight = np.ones(len(X)) if weight is None else weight
    leverage = weight * (1 + np.einsum("rp,rp->r", Z @ solved[:, :-1], Z)) / n
    return derivative * weight / np.maximum(1 - leverage, np.finfo(np.float64).eps)
