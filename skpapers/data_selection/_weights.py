# SPDX-License-Identifier: BSD-3-Clause
"""From scores to the odds of being drawn, and what a smaller table costs."""

import numpy as np

from skpapers.data_selection._labelled import as_array, as_float
from skpapers.utils._array_api import array_namespace, to_numpy

__all__ = ["data_efficiency", "sampling_weights"]


def sampling_weights(scores, *, kind="linear", eps=0.01):
    r"""Return the odds with which rows are drawn by their scores.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Scores, large for rows that are to be drawn more often; of any array library.
    kind : {"linear", "softmax"}, default="linear"
        "linear": scores are mapped linearly to [eps, 1];
        "softmax": exponentials of the scores, standardised.
    eps : float, default=0.01
        What the row with the smallest score gets where that with the largest gets 1, in
        (0, 1]; for "linear" only.

    Returns
    -------
    array of shape (n_samples,)
        Weights of sum 1, in float64. Equal scores have equal weights.

    Raises
    ------
    ValueError
        If scores are not finite, if there are none, or if a parameter is out of range.

    See Also
    --------
    select_samples : Draws rows by them.

    Notes
    -----
    Time O(n). The linear map is the gentler one: no row is drawn more than 1/eps times
    as often as another.

    References
    ----------
    N. Anand, J. Tan, M. Minakova, Influence scores at scale for efficient language data
    sampling, EMNLP 2023.

    Examples
    --------
    >>> from skpapers.data_selection import sampling_weights
    >>> sampling_weights([0.0, 1.0, 2.0], eps=0.1).round(3)
    array([0.061, 0.333, 0.606])
    >>> sampling_weights([0.0, 1000.0], kind="softmax").round(3)
    array([0.119, 0.881])
    """
    if kind not in ("linear", "softmax"):
        raise ValueError(f"kind must be 'linear' or 'softmax', got {kind!r}.")
    if not 0 < eps <= 1:
        raise ValueError(f"eps must be in (0, 1], got {eps!r}.")
    s = as_float(scores)
    xp = array_namespace(s)
    if s.ndim != 1 or s.shape[0] == 0:
        raise ValueError(
            f"scores must be one number a row, got shape {tuple(s.shape)}."
        )
    if not bool(xp.all(xp.isfinite(s))):
        raise ValueError(
            "scores must be finite. For forgetting, never_learned='max' is."
        )
    weights = _linear(xp, s, eps) if kind == "linear" else _softmax(xp, s)
    return weights / xp.sum(weights)


def _unit(xp, s):
    """Return scores at the largest size 1, so that differences do not overflow."""
    size = xp.max(xp.abs(s))
    return s / size if float(size) > 0 else s


def _linear(xp, s, eps):
    s = _unit(xp, s)
    low, high = xp.min(s), xp.max(s)
    if not float(high) > float(low):
        return xp.ones_like(s)
    return eps + (1.0 - eps) * (s - low) / (high - low)


def _softmax(xp, s):
    s = _unit(xp, s)
    s = s - xp.mean(s)
    std = xp.sqrt(xp.mean(s**2))
    if float(std) <= 1e-15:
        return xp.ones_like(s)
    s = s / std
    return xp.exp(s - xp.max(s))


def data_efficiency(error_full, error_pruned, n_full, n_pruned):
    r"""Return the relative change of the error for a relative change of the rows.

    Parameters
    ----------
    error_full : float or array-like
        Error with all rows, positive.
    error_pruned : float or array-like
        Error with the rows that were kept.
    n_full : int
        Number of all rows.
    n_pruned : int or array-like
        Number of rows that were kept, fewer.

    Returns
    -------
    float or ndarray
        :math:`\sigma = \frac{\Delta E / E}{\Delta n / n}`: 0 where nothing is lost,
        negative where the error grew, positive where it shrank.

    Raises
    ------
    ValueError
        If an error is negative or not finite, the full one not positive, or if the
        numbers do not fulfil 0 < n_pruned < n_full.

    Notes
    -----
    Published tables give it in percent.

    References
    ----------
    N. Anand, J. Tan, M. Minakova, Influence scores at scale for efficient language data
    sampling, EMNLP 2023.

    Examples
    --------
    >>> from skpapers.data_selection import data_efficiency
    >>> round(data_efficiency(0.10, 0.106, 100, 48), 3)
    -0.115
    """
    full, pruned, n, m = (
        np.asarray(to_numpy(as_array(x)), dtype=np.float64)
        for x in (error_full, error_pruned, n_full, n_pruned)
    )
    if not (np.isfinite(full).all() and (full > 0).all()):
        raise ValueError(f"error_full must be positive and finite, got {error_full}.")
    if not (np.isfinite(pruned).all() and (pruned >= 0).all()):
        raise ValueError(
            f"error_pruned must be finite and not negative, got {error_pruned}."
        )
    if not ((m > 0).all() and (m < n).all() and np.isfinite(n).all()):
        raise ValueError(
            f"0 < n_pruned < n_full must hold, got {n_pruned} and {n_full}."
        )
    sigma = (pruned / full - 1.0) / (m / n - 1.0)
    return float(sigma) if sigma.ndim == 0 else sigma
