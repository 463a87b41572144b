# SPDX-License-Identifier: BSD-3-Clause
r"""Influence scores of labelled rows, from arrays.

For n rows and K classes, p are the probabilities that a classifier states for a row, y
its label (one-hot where subtracted), w the parameters, :math:`\ell = -\log p_y` the
cross-entropy, c = 1..C checkpoints of a training, :math:`\eta_c` learning rates:

==================  ==============================================================
EL2N                :math:`\|p - y\|_2`, also with the 1-norm
margin              :math:`\max_{k \ne y} p_k - p_y`, or
                    :math:`\sum_{k \ne y} (p_k - p_y)`
forgetting          number of times that a row is wrong after it was right
PVI                 :math:`\log_2 p_y - \log_2 q_y`, q what is known without the row
VoG                 mean over the columns j of the spread over c of
                    :math:`\partial f_y^{(c)} / \partial x_j`
TracIn              :math:`\sum_c \eta_c \|\nabla_w \ell\|^2`, a row's influence on
                    itself
==================  ==============================================================

Differences to one are never formed by subtraction: where p_y is close to 1, p_y - 1 is
minus the sum of the other probabilities, so that sure rows keep their order. Everything
is computed in float64.
"""

from collections.abc import Iterator

import numpy as np

from skpapers.data_selection._labelled import (
    Labelled,
    as_array,
    as_float,
    chunks,
    encode_labels,
)
from skpapers.data_selection._spreads import (
    group_moments,
    refuse_equal_spreads,
    standardise,
)
from skpapers.utils._array_api import array_namespace, device, to_numpy

__all__ = [
    "el2n_scores",
    "forgetting_scores",
    "margin_scores",
    "pvi_scores",
    "tracin_self_influence",
    "vog_scores",
]


def el2n_scores(y_true, y_prob, *, classes=None, ord=2, from_logits=False):
    r"""Return the norms of the errors of probabilities, :math:`\|p - y\|`.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels: strings, integers or booleans.
    y_prob : array-like of shape (n_samples, n_classes)
        Probabilities, or logits; of NumPy, torch, CuPy or another array library.
    classes : array-like of shape (n_classes,), default=None
        Labels of the columns of ``y_prob``; None takes the sorted labels of ``y_true``,
        of which there must be as many as columns.
    ord : {1, 2}, default=2
        Order of the norm.
    from_logits : bool, default=False
        Whether ``y_prob`` holds logits, of which the softmax is taken.

    Returns
    -------
    array of shape (n_samples,)
        Scores in [0, sqrt(2)], or [0, 2] for ``ord=1``, in float64, of the library and
        on the device of ``y_prob``; large where a row is hard or its label wrong.

    Raises
    ------
    ValueError
        If shapes do not fit, a label is not among the classes, the order is another, or
        probabilities are not finite or all zero in a row.

    Warns
    -----
    DataConditionWarning
        If probabilities do not sum to 1 within 1e-6; they are divided by their sum.

    See Also
    --------
    gradient_norms : The norm of the gradient by the parameters (GraNd).
    margin_scores : Difference to the best other class.

    Notes
    -----
    Time O(n K); beyond input and result, memory for chunks of rows only. The norm of
    one training is noisy: average the scores of several (`EL2NScorer`).

    References
    ----------
    M. Paul, S. Ganguli, G. K. Dziugaite, Deep learning on a data diet: finding
    important examples early in training, NeurIPS 2021.

    Examples
    --------
    >>> from skpapers.data_selection import el2n_scores
    >>> proba = [[0.9, 0.1], [0.5, 0.5], [0.9, 0.1]]
    >>> el2n_scores(["cat", "cat", "dog"], proba).round(2)
    array([0.14, 0.71, 1.27])
    """
    if ord not in (1, 2):
        raise ValueError(f"ord must be 1 or 2, got {ord!r}.")
    rows = Labelled(y_true, y_prob, classes, from_logits)

    def norms(xp, values, is_label):
        others = xp.where(is_label, 0.0, rows.probabilities(xp, values))
        wrong = xp.sum(others, axis=1)
        if ord == 1:
            return 2.0 * wrong
        # hypot(|others|, wrong), scaled by wrong: squares of 1e-200 are zero
        unit = others / xp.where(wrong > 0, wrong, 1.0)[:, None]
        return wrong * xp.sqrt(xp.sum(unit**2, axis=1) + 1.0)

    return rows.score(norms)


def margin_scores(y_true, y_prob, *, classes=None, reduction="max", from_logits=False):
    """Return how far the other classes are ahead of the label's.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels: strings, integers or booleans.
    y_prob : array-like of shape (n_samples, n_classes)
        Probabilities, or logits; of NumPy, torch, CuPy or another array library.
    classes : array-like of shape (n_classes,), default=None
        Labels of the columns of ``y_prob``; None takes the sorted labels of ``y_true``.
    reduction : {"max", "sum"}, default="max"
        "max": the largest other probability less the label's, in [-1, 1];
        "sum": the sum of all such differences, in [1 - K, 1].
    from_logits : bool, default=False
        Whether ``y_prob`` holds logits, of which the softmax is taken.

    Returns
    -------
    array of shape (n_samples,)
        Scores in float64, of the library and on the device of ``y_prob``; positive
        where "max" disagrees with the label.

    Raises
    ------
    ValueError
        If shapes do not fit, a label is not among the classes, the reduction is
        another, or probabilities are not finite or all zero in a row.

    Warns
    -----
    DataConditionWarning
        If probabilities do not sum to 1 within 1e-6; they are divided by their sum.

    See Also
    --------
    el2n_scores : Norm of the error.

    Notes
    -----
    Time O(n K). Unlike EL2N, margins near -1 are rounded to multiples of 1e-16.

    Examples
    --------
    >>> from skpapers.data_selection import margin_scores
    >>> proba = [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]]
    >>> margin_scores([0, 2], proba, classes=[0, 1, 2]).round(2)
    array([-0.3,  0.2])
    >>> margin_scores([0, 2], proba, classes=[0, 1, 2], reduction="sum").round(2)
    array([-0.8,  0.1])
    """
    if reduction not in ("max", "sum"):
        raise ValueError(f"reduction must be 'max' or 'sum', got {reduction!r}.")
    rows = Labelled(y_true, y_prob, classes, from_logits)

    def margins(xp, values, is_label):
        p = rows.probabilities(xp, values)
        own = xp.sum(xp.where(is_label, p, 0.0), axis=1)
        others = xp.where(is_label, 0.0, p)
        if reduction == "max":
            return xp.max(others, axis=1) - own
        return xp.sum(others, axis=1) - (rows.n_classes - 1) * own

    return rows.score(margins)


def pvi_scores(
    y_true,
    y_prob,
    *,
    null_prob=None,
    classes=None,
    sample_weight=None,
    from_logits=False,
):
    r"""Return the pointwise V-information of rows about their labels, in bits.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels: strings, integers or booleans.
    y_prob : array-like of shape (n_samples, n_classes)
        Probabilities p, or logits, of a model that sees the rows; of NumPy, torch, CuPy
        or another array library.
    null_prob : array-like of shape (n_classes,) or (n_samples, n_classes), default=None
        Probabilities q of a model that sees nothing of the rows; None takes the shares
        of the classes in ``y_true``, which is what such a model learns.
    classes : array-like of shape (n_classes,), default=None
        Labels of the columns of ``y_prob``; None takes the sorted labels of ``y_true``.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows in these shares.
    from_logits : bool, default=False
        Whether ``y_prob`` holds logits, of which the softmax is taken.

    Returns
    -------
    array of shape (n_samples,)
        :math:`\log_2 p_y - \log_2 q_y` in float64, of the library and on the device of
        ``y_prob``. Unlike other scores, small or negative where a row is hard or its
        label wrong. The mean is the V-usable information of the table.

    Raises
    ------
    ValueError
        If shapes do not fit, a label is not among the classes, or probabilities are not
        finite or all zero in a row.

    Warns
    -----
    DataConditionWarning
        If probabilities do not sum to 1 within 1e-6; they are divided by their sum.

    See Also
    --------
    el2n_scores : Norm of the error.

    Notes
    -----
    Time O(n K). Probabilities are cut at 1e-300. Training rows are usually scored with
    the model trained on them; out-of-fold probabilities rank the rows of a class by
    the self-confidence.

    References
    ----------
    K. Ethayarajh, Y. Choi, S. Swayamdipta, Understanding dataset difficulty with
    V-usable information, ICML 2022.

    Examples
    --------
    >>> from skpapers.data_selection import pvi_scores
    >>> pvi_scores([0, 1, 1, 0], [[1, 0], [0.5, 0.5], [0.25, 0.75], [0.75, 0.25]])
    array([1.    , 0.    , 0.5849..., 0.5849...])
    """
    rows = Labelled(y_true, y_prob, classes, from_logits)
    log_p = rows.score(rows.label_log_proba)
    if null_prob is None:
        log_q = _log_shares(rows, sample_weight)
    elif sample_weight is not None:
        raise ValueError("sample_weight has no use where null_prob is given.")
    else:
        log_q = _log_null(rows, null_prob)
    log_q = rows.xp.asarray(log_q, device=device(log_p))
    return (log_p - log_q) / float(np.log(2))


def _log_shares(rows, sample_weight):
    weight = None
    if sample_weight is not None:
        weight = to_numpy(as_float(sample_weight))
        if weight.shape != rows.codes.shape or not np.all(weight >= 0):
            raise ValueError("sample_weight must be one number >= 0 a row.")
        if not (0 < weight.sum() < np.inf):
            raise ValueError("sample_weight must have a positive, finite sum.")
    counts = np.bincount(rows.codes, weight, rows.n_classes)
    shares = counts / max(counts.sum(), np.finfo(float).tiny)
    return np.log(np.maximum(shares, 1e-300))[rows.codes]


def _log_null(rows, null_prob):
    q = to_numpy(as_float(null_prob))
    if q.ndim == 1:
        q = q[None, :]
    if q.shape[1:] != (rows.n_classes,) or len(q) not in (1, len(rows.codes)):
        raise ValueError(
            f"null_prob must have {rows.n_classes} columns and one row, or one a "
            f"sample; got shape {q.shape}."
        )
    q = np.broadcast_to(q, (len(rows.codes), rows.n_classes))
    null = Labelled(rows.codes, q, np.arange(rows.n_classes), name="null_prob")
    return null.score(null.label_log_proba)


def forgetting_scores(correct, *, never_learned="max"):
    """Return how often rows are forgotten: wrong after they were right.

    Parameters
    ----------
    correct : array-like of shape (n_checks, n_samples) or (n_runs, n_checks, \
n_samples), or iterator
        Whether the prediction for a row was right at each check, in the order of
        training; booleans of any array library. An iterator hands out the checks of one
        run as arrays of shape (n_samples,), and none of them is kept.
    never_learned : {"max", "inf"}, default="max"
        What a run counts for a row that is never right in it: the number of checks, or
        infinity.

    Returns
    -------
    array of shape (n_samples,)
        Events, summed over the runs, in float64. 0: learned and never forgotten.

    Raises
    ------
    ValueError
        If there are no checks, if shapes do not fit, if entries are not booleans, or if
        ``never_learned`` is another word.

    See Also
    --------
    ForgettingScorer : Trains, too.

    Notes
    -----
    Time O(R T n); memory beyond the input: two bits and a counter a row.

    References
    ----------
    M. Toneva, A. Sordoni, R. Tachet des Combes, A. Trischler, Y. Bengio, G. J. Gordon,
    An empirical study of example forgetting during deep neural network learning, ICLR
    2019.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.data_selection import forgetting_scores
    >>> checks = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 1], [0, 0, 1]], dtype=bool)
    >>> forgetting_scores(checks)
    array([2., 4., 0.])
    """
    if never_learned not in ("max", "inf"):
        raise ValueError(
            f"never_learned must be 'max' or 'inf', got {never_learned!r}."
        )
    if isinstance(correct, Iterator):
        return _forgotten(correct, never_learned)
    correct = as_array(correct)
    if correct.ndim not in (2, 3):
        raise ValueError(
            "correct must have shape (n_checks, n_samples) or (n_runs, n_checks, "
            f"n_samples), got {tuple(correct.shape)}."
        )
    runs = (
        [correct]
        if correct.ndim == 2
        else [correct[r, ...] for r in range(len(correct))]
    )
    if not runs:
        raise ValueError("correct holds no run.")
    total = 0.0
    for run in runs:
        checks = (run[t, :] for t in range(run.shape[0]))
        total = total + _forgotten(checks, never_learned)
    return total


def _forgotten(checks, never_learned):
    n_checks, right, learned, events = 0, None, None, None
    for check in checks:
        now = _as_bool(as_array(check))
        xp = array_namespace(now)
        if right is None:
            right = learned = now
            events = xp.zeros(now.shape, dtype=xp.int32, device=device(now))
        elif now.shape != right.shape:
            raise ValueError(
                f"the checks have {right.shape[0]} and {now.shape[0]} rows."
            )
        events = events + xp.astype(right & ~now, xp.int32)
        right, learned, n_checks = now, learned | now, n_checks + 1
    if right is None:
        raise ValueError("correct holds no check.")
    top = float(n_checks) if never_learned == "max" else float("inf")
    return xp.where(learned, xp.astype(events, xp.float64), top)


def _as_bool(check):
    xp = array_namespace(check)
    if check.ndim != 1:
        raise ValueError(f"a check must have shape (n_samples,), got {check.shape}.")
    if xp.isdtype(check.dtype, "bool"):
        return check
    is_true = check == 1
    if not bool(xp.all(is_true | (check == 0))):
        raise ValueError("correct must hold booleans (right or wrong).")
    return is_true


def vog_scores(gradients, y=None, *, spread="var", normalize="class", clip=1e4):
    r"""Return the variance of gradients over the checkpoints of a training.

    Parameters
    ----------
    gradients : array-like of shape (n_checkpoints, n_samples, n_features) or iterator
        Gradients of the label's probability or logit by the inputs
        (`input_gradients`), of any array library. An iterator hands out one checkpoint
        after the other as arrays of shape (n_samples, n_features); none is kept.
    y : array-like of shape (n_samples,), default=None
        Labels, for ``normalize="class"``.
    spread : {"var", "std"}, default="var"
        Population variance of each component over the checkpoints, or its root.
    normalize : {"class", "dataset"} or None, default="class"
        Whether the means of the spreads are brought to mean 0 and standard deviation 1
        in each class, in all rows together, or not at all.
    clip : float or None, default=1e4
        Largest spread, before it is normalised.

    Returns
    -------
    array of shape (n_samples,)
        Scores in float64; large where the model was of many minds about a row. 0 where
        all rows to compare with have the same spread.

    Raises
    ------
    ValueError
        If shapes do not fit, if there is no checkpoint, if gradients are not finite, or
        if the gradients of all rows of a class are the same, as the logits of a linear
        model have them, so that there is nothing to compare.

    See Also
    --------
    input_gradients : The gradients.
    VoGScorer : Trains, too.

    Notes
    -----
    Time O(C n d). Mean and variance are updated by Welford's recurrence: from an
    iterator, memory is 2 n d numbers whatever C is; from an array, chunks of rows.

    References
    ----------
    C. Agarwal, D. D'souza, S. Hooker, Estimating example difficulty using variance of
    gradients, CVPR 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.data_selection import vog_scores
    >>> gradients = np.array([[[1.0, 0], [1, 1]], [[1, 0], [3, 1]]])
    >>> vog_scores(gradients, normalize=None)
    array([0. , 0.5])
    """
    if spread not in ("var", "std"):
        raise ValueError(f"spread must be 'var' or 'std', got {spread!r}.")
    if normalize not in ("class", "dataset", None):
        raise ValueError(
            f"normalize must be 'class', 'dataset' or None, got {normalize!r}."
        )
    if normalize == "class" and y is None:
        raise ValueError("normalize='class' needs y; or take 'dataset' or None.")
    if isinstance(gradients, Iterator):
        spreads = _spreads(gradients, spread)
    else:
        spreads = _spreads_by_chunks(as_array(gradients), spread)
    xp = array_namespace(spreads)
    if clip is not None:
        spreads = xp.where(spreads > clip, float(clip), spreads)
    if normalize is None:
        return spreads
    values = to_numpy(spreads)
    groups = np.zeros(len(values), dtype=np.intp)
    if normalize == "class":
        groups, _ = encode_labels(y, name="y")
        if len(groups) != len(values):
            raise ValueError(
                f"y has {len(groups)} labels and gradients {len(values)} rows."
            )
    moments = group_moments(values, groups, int(groups.max(initial=-1)) + 1)
    if normalize == "class":
        refuse_equal_spreads(*moments, groups)
    found = standardise(values, groups, *moments)
    return xp.asarray(found, device=device(spreads))


def _spreads_by_chunks(gradients, spread):
    if gradients.ndim != 3:
        raise ValueError(
            "gradients must have shape (n_checkpoints, n_samples, n_features), got "
            f"{tuple(gradients.shape)}."
        )
    n_checkpoints, n_samples, n_features = gradients.shape
    parts = []
    for rows in chunks(n_samples, n_features):
        checkpoints = (gradients[c, rows, :] for c in range(n_checkpoints))
        parts.append(_spreads(checkpoints, spread))
    return array_namespace(parts[0]).concat(parts)


def _spreads(checkpoints, spread):
    """Return means over the features of the spreads over the checkpoints."""
    count, mean, squares = 0, None, None
    for gradients in checkpoints:
        g = as_float(gradients)
        xp = array_namespace(g)
        if g.ndim != 2 or (mean is not None and g.shape != mean.shape):
            raise ValueError(
                "each checkpoint must have shape (n_samples, n_features), got "
                f"{tuple(g.shape)}."
            )
        count += 1
        if mean is None:
            mean, squares = xp.zeros_like(g), xp.zeros_like(g)
        step = g - mean
        mean = mean + step / count
        squares = squares + step * (g - mean)
    if mean is None:
        raise ValueError("gradients holds no checkpoint.")
    if not bool(xp.all(xp.isfinite(squares))):
        raise ValueError("gradients must be finite; they have nan or infinity.")
    spreads = squares / count
    if spread == "std":
        spreads = xp.sqrt(xp.where(spreads < 0, 0.0, spreads))
    if spreads.shape[1] == 0:
        raise ValueError("gradients has no features.")
    return xp.mean(spreads, axis=1)


def tracin_self_influence(gradient_norms, lr=1.0):
    r"""Return the influence of rows on themselves over a training.

    Parameters
    ----------
    gradient_norms : array-like of shape (n_checkpoints, n_samples) or iterator
        Norms of the gradient of the loss by the parameters at each checkpoint, as of
        `gradient_norms`, of any array library; an iterator hands out one checkpoint
        after the other.
    lr : float or array-like of shape (n_checkpoints,), default=1.0
        Step sizes :math:`\eta_c`. A constant leaves the ranking as it is.

    Returns
    -------
    array of shape (n_samples,)
        :math:`\sum_c \eta_c \|\nabla_w \ell\|^2` in float64; large where a row is hard
        or its label wrong.

    Raises
    ------
    ValueError
        If shapes do not fit, if there is no checkpoint, or if a number is not finite.

    See Also
    --------
    tracin_influence : Of rows on others.
    gradient_norms : The norms.

    Notes
    -----
    Time O(C n).

    References
    ----------
    G. Pruthi, F. Liu, M. Sundararajan, S. Kale, Estimating training data influence by
    tracing gradient descent, NeurIPS 2020.

    Examples
    --------
    >>> from skpapers.data_selection import tracin_self_influence
    >>> tracin_self_influence([[3.0, 1.0], [1.0, 0.0]], lr=[0.5, 0.1])
    array([4.6, 0.5])
    """
    if isinstance(gradient_norms, Iterator):
        norms = list(gradient_norms)
    else:
        norms = as_array(gradient_norms)
        if norms.ndim != 2:
            raise ValueError(
                "gradient_norms must have shape (n_checkpoints, n_samples), got "
                f"{tuple(norms.shape)}."
            )
        norms = [norms[c, :] for c in range(norms.shape[0])]
    if not norms:
        raise ValueError("gradient_norms holds no checkpoint.")
    rates = checked_rates(lr, len(norms))
    total = 0.0
    for rate, norm in zip(rates, norms, strict=True):
        total = total + rate * as_float(norm) ** 2
    xp = array_namespace(total)
    if not bool(xp.all(xp.isfinite(total))):
        raise ValueError("gradient_norms must be finite; they have nan or infinity.")
    return total


def checked_rates(lr, n_checkpoints):
    """Return a learning rate for each checkpoint, a list of float."""
    rates = np.asarray(to_numpy(as_array(lr)), dtype=np.float64)
    if rates.shape not in ((), (n_checkpoints,)):
        raise ValueError(
            f"lr must be one number or {n_checkpoints}, one a checkpoint; "
            f"got shape {rates.shape}."
        )
    if not (np.isfinite(rates).all() and (rates >= 0).all()):
        raise ValueError("lr must be finite and not negative.")
    return np.broadcast_to(rates, (n_checkpoints,)).tolist()
