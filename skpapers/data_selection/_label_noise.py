# SPDX-License-Identifier: BSD-3-Clause
r"""How labels go wrong, learnt from probabilities, and how likely each one is wrong.

y are given labels, z true ones (unknown), K classes, :math:`p_i` the probabilities of
the given labels that a model states for row i without having seen its label (out of bag
or out of fold), :math:`T_{ab} = P(y = b \mid z = a)`.

A class b that is confused with a by nature is mistaken in both directions about equally
often; a labeller's habit has a direction. So T is made of two parts: a share of each
class that goes to all others alike, and the *excess* of the confusions a -> b over
b -> a. Confusions are counted as in confident learning (Northcutt, Jiang, Chuang,
Journal of Artificial Intelligence Research 2021): a row is guessed to be of the most
probable class among those that reach their mean self-confidence.

Given T, the probabilities q of the true labels obey :math:`p \approx q T`. Two steps of
the multiplicative iteration of Richardson and Lucy go towards q, which is then raised
to the power under which the given labels are most likely (forests state too little
confidence). The label of row i is right with probability
:math:`q_{iy} T_{yy} / (q_i T)_y`.
"""

import numpy as np
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from skpapers.data_selection._labelled import normalised, warn_of_sums

__all__ = ["label_noise_matrix", "wrong_label_scores"]

MIN_DEVIATIONS = 2.0  # standard deviations of a count that an excess must pass
POWERS = (1.0, 1.5, 2.0, 3.0, 4.0)
FLOOR = 1e-6  # of a probability, before it is raised to a power
DOUBT = 1e-4  # a label that is hardly possible under T says little: towards 1/2
STEPS = 2  # of the deconvolution; more of them amplify the errors of p


def label_noise_matrix(y_true, y_prob, *, classes=None):
    """Estimate how often the labels of one class are given for another.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Given labels, some of them wrong.
    y_prob : array-like of shape (n_samples, n_classes)
        Probabilities of the labels, out of bag or out of fold: a model that has seen
        the label of a row agrees with it.
    classes : array-like of shape (n_classes,), default=None
        Labels of the columns of ``y_prob``; None takes the sorted labels of ``y_true``.

    Returns
    -------
    ndarray of shape (n_classes, n_classes)
        Entry (a, b) is the probability of the label b where a is true; rows sum to 1.

    Raises
    ------
    ValueError
        If shapes do not fit, a label is not among the classes, or a row has no
        positive probability.

    Warns
    -----
    DataConditionWarning
        If probabilities do not sum to 1 within 1e-6; they are divided by their sum.

    See Also
    --------
    wrong_label_scores : What it is used for.

    Notes
    -----
    Time O(n K), memory O(n K). Two classes that cannot be told apart look like labels
    that were swapped in both directions; the estimate takes them for the former. With
    two classes, only a direction or a common share can be seen.

    References
    ----------
    C. G. Northcutt, L. Jiang, I. L. Chuang, Confident learning: estimating uncertainty
    in dataset labels, Journal of Artificial Intelligence Research 70, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.data_selection import label_noise_matrix
    >>> truth = np.repeat([0, 1, 2], 100)
    >>> given = truth.copy()
    >>> given[:30] = 1  # a third of class 0 is called 1
    >>> label_noise_matrix(given, 0.1 + 0.7 * np.eye(3)[truth]).round(1)
    array([[0.7, 0.3, 0. ],
           [0. , 1. , 0. ],
           [0. , 0. , 1. ]])
    """
    codes, p = _checked(y_true, y_prob, classes)
    return _noise_matrix(codes, p)


def wrong_label_scores(y_true, y_prob, *, noise_matrix=None, classes=None):
    """Return how likely each label is wrong, from probabilities by other rows.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Given labels, some of them wrong.
    y_prob : array-like of shape (n_samples, n_classes)
        Probabilities of the labels, out of bag or out of fold.
    noise_matrix : array-like of shape (n_classes, n_classes), default=None
        Probability of each label (columns) where a class is true (rows); None takes
        `label_noise_matrix`.
    classes : array-like of shape (n_classes,), default=None
        Labels of the columns of ``y_prob``; None takes the sorted labels of ``y_true``.

    Returns
    -------
    ndarray of shape (n_samples,)
        In [0, 1]; large where the label is suspect.

    Raises
    ------
    ValueError
        If shapes do not fit, a label is not among the classes, or a row has no
        positive probability.

    Warns
    -----
    DataConditionWarning
        If probabilities do not sum to 1 within 1e-6; they are divided by their sum.

    See Also
    --------
    NoisyLabelDetector : Fits the model, too, and decides.
    margin_scores : Ranks without an idea of how labels go wrong.

    Notes
    -----
    Time O(n K²), memory O(n K). If wrong labels are spread evenly over the classes, the
    ranking is nearly that of 1 - p of the given label; if a class is mostly mistaken
    for one other, rows of those two come first.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.data_selection import wrong_label_scores
    >>> truth = np.repeat([0, 1, 2], 100)
    >>> given = truth.copy()
    >>> given[:30] = 1
    >>> scores = wrong_label_scores(given, 0.1 + 0.7 * np.eye(3)[truth])
    >>> bool(scores[:30].min() > 0.9), bool(scores[30:].max() < 0.1)
    (True, True)
    """
    codes, p = _checked(y_true, y_prob, classes)
    if p.shape[1] == 1:
        return np.zeros(len(codes))
    if noise_matrix is None:
        T = _noise_matrix(codes, p)
    else:
        T = check_array(noise_matrix, dtype=np.float64)
        if T.shape != (p.shape[1],) * 2:
            raise ValueError(
                f"noise_matrix has shape {T.shape}, but y_prob {p.shape[1]} columns."
            )
    q = _sharpened(_deconvolved(p, T), T, codes)
    rows = np.arange(len(codes))
    right = q[rows, codes] * T[codes, codes]
    others = q * T[:, codes].T
    others[rows, codes] = 0.0
    wrong = others.sum(axis=1)
    return (wrong + DOUBT) / (wrong + right + 2 * DOUBT)


def _checked(y_true, y_prob, classes):
    """Return codes of the labels, and probabilities that sum to one."""
    y = column_or_1d(y_true)
    p = check_array(y_prob, dtype=np.float64, input_name="y_prob")
    check_consistent_length(y, p)
    labels = np.unique(y) if classes is None else column_or_1d(classes)
    if len(labels) != p.shape[1]:
        raise ValueError(
            f"y_prob has {p.shape[1]} columns for {len(labels)} classes; name the "
            "labels of the columns in classes."
        )
    order = np.argsort(labels)
    place = np.searchsorted(labels, y, sorter=order).clip(max=len(labels) - 1)
    codes = order[place]
    if np.any(labels[codes] != y):
        raise ValueError("y_true contains a label that is not among the classes.")
    p, off = normalised(p, "y_prob")
    warn_of_sums(off, "y_prob", stacklevel=4)
    return codes, p


def _confusions(codes, p):
    """Count guesses of the true class (rows) by given label (columns)."""
    K = p.shape[1]
    counts = np.bincount(codes, minlength=K)
    own = np.bincount(codes, p[np.arange(len(codes)), codes], K)
    # rounding must not decide where all rows of a class state the same
    confidence = own / np.maximum(counts, 1) - 1e-12
    confident = (p >= confidence) & (counts > 0)
    guess = np.where(confident, p, -1.0).argmax(axis=1)
    known = confident.any(axis=1)
    found = np.zeros((K, K))
    np.add.at(found, (guess[known], codes[known]), 1.0)
    return found


def _noise_matrix(codes, p):
    """Split the confusions in an even part and a directed one."""
    K = p.shape[1]
    if K == 1:
        return np.ones((1, 1))
    found = _confusions(codes, p)
    off = ~np.eye(K, dtype=bool)
    size = found.sum(axis=1, keepdims=True)
    rates = found / np.maximum(size, 1.0)
    even = np.median(np.minimum(rates, rates.T)[off]) * size * off
    excess = np.maximum(found - even, 0.0) * off
    excess = excess - excess.T
    chance = MIN_DEVIATIONS * np.sqrt(found + found.T)
    excess = np.where(excess > chance, excess, 0.0)
    total = excess.sum() + even.sum()
    if total > 0:  # a few directions beside many even errors are chance or nature
        excess *= min(1.0, 2.0 * excess.sum() / total)
    # one more of each: nothing is impossible
    T = excess + even + np.diag(np.diag(found)) + 1.0
    return T / T.sum(axis=1, keepdims=True)


def _deconvolved(p, T):
    """Return probabilities of the true labels, about those that T turns into p."""
    q = p + 1e-3
    for _ in range(STEPS):
        q = q * ((p / np.maximum(q @ T, 1e-9)) @ T.T)
        q /= np.maximum(q.sum(axis=1, keepdims=True), 1e-300)
    return q


def _sharpened(q, T, codes):
    """Raise q to the power under which the given labels are most likely."""
    best = -np.inf, q
    for power in POWERS:
        sharp = (q + FLOOR) ** power
        sharp /= sharp.sum(axis=1, keepdims=True)
        stated = (sharp * T[:, codes].T).sum(axis=1)
        likelihood = np.log(np.maximum(stated, 1e-300)).mean()
        if likelihood > best[0] + 1e-9:  # rounding must not decide between ties
            best = likelihood, sharp
    return best[1]
