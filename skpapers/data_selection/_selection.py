# SPDX-License-Identifier: BSD-3-Clause
r"""Which rows to keep, given a score of each.

n rows with scores s_i, large for hard rows; k = keep · n of them are kept. A policy is
an order of preference, of which the first k rows are kept:

    hardest, easiest    descending, ascending score;
    window              distance from the window of k rows that begins behind the
                        ``offset`` easiest ones;
    random, stratified  chance; within the classes;
    mixed               a share of k by hardest, the others by chance;
    linear, softmax     weighted sampling without replacement. Weights w are the scores
                        mapped to [eps, 1], or exp of the standardised scores. Rows in
                        descending order of log w_i + G_i, with independent Gumbel
                        variables G_i, come like draws one after another (Gumbel top-k).

Rows with equal scores are in random order, the same one for all policies, so that the k
hardest and the n - k easiest rows are complements.

A row of weight w is among the first k with probability about 1 - exp(-w t), where t
makes these sum to k (order sampling, B. Rosén 1997).
"""

import warnings
from dataclasses import dataclass, replace
from numbers import Integral, Real

import numpy as np
from scipy.optimize import brentq
from sklearn.utils import check_random_state, column_or_1d

from skpapers.data_selection._labelled import as_array
from skpapers.data_selection._subgroups import warn_of_losses
from skpapers.data_selection._weights import sampling_weights
from skpapers.utils import DataConditionWarning
from skpapers.utils._array_api import (
    array_namespace,
    is_numpy_array,
    like,
    to_numpy,
)
from skpapers.utils._sklearn import Interval, StrOptions, validate_params

POLICIES = (
    "hardest",
    "easiest",
    "window",
    "random",
    "stratified",
    "mixed",
    "linear",
    "softmax",
)
SAMPLING = ("linear", "softmax")  # with weights from the scores
MAX_INVERSE = 20.0  # cap of inverse weights, in units of their mean

RULE_CONSTRAINTS = {
    "keep": [
        Interval(Real, 0, 1, closed="right"),
        Interval(Integral, 1, None, closed="left"),
    ],
    "policy": [StrOptions(set(POLICIES))],
    "offset": [
        Interval(Real, 0, 1, closed="left"),
        Interval(Integral, 0, None, closed="left"),
        None,
    ],
    "mix": [Interval(Real, 0, 1, closed="both")],
    "by": [StrOptions({"dataset", "class"})],
    "min_per_class": [Interval(Integral, 0, None, closed="left")],
}


@dataclass
class Rule:
    """How rows are chosen; the parameters of `select_samples`."""

    keep: float | int = 0.5
    policy: str = "hardest"
    offset: float | int | None = None
    mix: float = 0.5
    by: str = "dataset"
    min_per_class: int = 1
    eps: float = 0.01

    def __post_init__(self):
        if self.policy not in POLICIES:
            raise ValueError(f"policy must be one of {POLICIES}, got {self.policy!r}.")
        if not isinstance(self.keep, Integral) and not 0 < self.keep <= 1:
            raise ValueError(f"keep={self.keep!r} must be in (0, 1], or a number >= 1.")
        if self.offset is not None and self.policy != "window":
            raise ValueError(
                f"offset={self.offset!r} belongs to policy='window', got "
                f"policy={self.policy!r}."
            )

    @property
    def by_class(self):
        """Whether each class has a quota."""
        return self.by == "class" or self.policy == "stratified"


@validate_params(
    {
        **RULE_CONSTRAINTS,
        "scores": "no_validation",
        "y": "no_validation",
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def select_samples(
    scores,
    y=None,
    *,
    keep=0.5,
    policy="hardest",
    offset=None,
    mix=0.5,
    by="dataset",
    min_per_class=1,
    eps=0.01,
    random_state=None,
):
    """Choose rows by their scores.

    Parameters
    ----------
    scores : array of shape (n_samples,) or (n_samples, n_scores)
        Scores, large for hard rows (``hardness_`` of a scorer); also an array of
        another library of the array API standard. Columns of several scores are for
        the policies "linear" and "softmax" alone: their weights are averaged.

    y : array-like of shape (n_samples,), default=None
        Labels. None is one class.

    keep : float or int, default=0.5
        Share of the rows in (0, 1], or their number.

    policy : str, default="hardest"
        How to choose.

        - "hardest": the highest scores. For clean labels.
        - "easiest": the lowest scores.
        - "window": the rows that follow the ``offset`` easiest ones in ascending order;
          leaves out the very hardest too. For labels of which some are wrong.
        - "random": a random sample, the baseline.
        - "stratified": the same within each class.
        - "mixed": a share ``mix`` of the hardest, the others at random. For small
          ``keep``, where the hardest alone leave parts of the table empty.
        - "linear": a weighted sample; the weights are the scores mapped to [eps, 1].
        - "softmax": the same with the exponentials of the standardised scores, which
          prefers hard rows more strongly.

    offset : float or int, default=None
        For "window": share of the rows in [0, 1) or number of the easiest ones that are
        left out; None stands for 0. With ``by="class"`` a number is split among the
        classes by their sizes, as ``keep`` is.

    mix : float, default=0.5
        For "mixed": share of the hardest among the kept rows.

    by : {"dataset", "class"}, default="dataset"
        Whether rows compete with all others or within their class, which then keeps
        its share.

    min_per_class : int, default=1
        So many rows of each class are kept, if it has them; they take the places of
        the least preferred rows of other classes.

    eps : float, default=0.01
        For "linear": weight of the easiest row in that of the hardest.

    random_state : int, RandomState instance or None, default=None
        Source of the random order of equal scores, and of the draws.

    Returns
    -------
    bool array of shape (n_samples,)
        True for the kept rows; of the library and on the device of ``scores``.

    Raises
    ------
    ValueError
        If a score is NaN, or infinite where weights are made of it; if ``keep`` is
        larger than the number of rows; if classes are needed and ``y`` is None.

    Warns
    -----
    DataConditionWarning
        If the window reaches over the end (it is moved back), if ``keep`` is smaller
        than what ``min_per_class`` asks for (more rows are kept), if a class vanishes,
        or if one loses more than twice the average share.

    See Also
    --------
    InfluenceSampler : The same with the scorer, for pipelines.
    subgroup_report : What becomes of the classes, or of any groups.

    Notes
    -----
    Time O(n log n), memory O(n).

    References
    ----------
    M. Paul, S. Ganguli, G. K. Dziugaite, "Deep learning on a data diet: finding
    important examples early in training", NeurIPS 2021.

    N. Anand, J. Tan, M. Minakova, "Influence scores at scale for efficient language
    data sampling", EMNLP 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.data_selection import select_samples
    >>> scores = np.array([0.9, 0.1, 0.5, 0.7, 0.3])
    >>> select_samples(scores, keep=2)
    array([ True, False, False,  True, False])
    >>> np.flatnonzero(select_samples(scores, keep=2, policy="window", offset=0.4))
    array([2, 3])
    >>> select_samples(scores, ["a", "b", "a", "a", "b"], keep=3, by="class")
    array([ True, False, False,  True,  True])
    """
    given = as_array(scores)
    rule = Rule(keep, policy, offset, mix, by, min_per_class, eps)
    codes, labels = _codes(y, given.shape[0] if len(given.shape) else 0)
    if y is None and rule.by == "class":
        raise ValueError("by='class' needs the labels y.")
    mask = choose(given, codes, rule, check_random_state(random_state))
    if len(labels) > 1:
        warn_of_losses(mask, codes, labels, "class")
    return mask if is_numpy_array(given) else like(mask, given)


def _codes(y, n_samples):
    """Return codes and labels; without y all rows are of one class."""
    if y is None:
        return np.zeros(n_samples, dtype=np.int64), np.zeros(1, dtype=np.int64)
    y = column_or_1d(to_numpy(y) if hasattr(y, "__array_namespace__") else y)
    if len(y) != n_samples:
        raise ValueError(f"scores has {n_samples} rows, but y has {len(y)}.")
    labels, codes = np.unique(y, return_inverse=True)
    return codes, labels


# ------------------------------------------------------------------------ the choice


def choose(scores, codes, rule, rng):
    """Return the mask of the kept rows.

    Parameters
    ----------
    scores : array of shape (n_samples,) or (n_samples, n_scores)
        Scores, large for hard rows.
    codes : int ndarray of shape (n_samples,)
        Codes of the classes.
    rule : Rule
        How to choose.
    rng : RandomState
        Source of random numbers.

    Returns
    -------
    bool ndarray of shape (n_samples,)
        The mask.
    """
    _check_scores(scores, rule)
    n = scores.shape[0]
    k = count_kept(rule.keep, n)
    ascending, noise = _ascending(scores, rule, rng), rng.random_sample(n)
    if not rule.by_class:
        order = _preference(scores, ascending, noise, k, rule)
        return _take_with_reserve(order, codes, k, rule)
    mask = np.zeros(n, dtype=bool)
    sizes = np.bincount(codes)
    quotas = _quotas(sizes, k, rule)
    if isinstance(rule.offset, Integral):  # of all rows, as keep; classes have shares
        rule = replace(rule, offset=rule.offset / n)
    position = codes[ascending]
    for code, quota in enumerate(quotas):
        rows = ascending[position == code]  # stays in ascending order of the scores
        part = scores if rule.policy not in SAMPLING else to_numpy(scores)[rows]
        local = np.arange(len(rows))
        order = _preference(part, local, noise[rows], quota, rule)
        mask[rows[order[:quota]]] = True
    return mask


def count_kept(keep, n_samples):
    """Return the number of rows for a share (float) or a number (int)."""
    if isinstance(keep, Integral) and not isinstance(keep, bool):
        if keep > n_samples:
            raise ValueError(
                f"keep={keep} rows of {n_samples}: give at most their number, or a "
                "share in (0, 1]."
            )
        return int(keep)
    return max(1, int(np.floor(keep * n_samples + 0.5)))


def _check_scores(scores, rule):
    if len(scores.shape) == 2 and rule.policy not in SAMPLING:
        raise ValueError(
            f"policy={rule.policy!r} takes one score a row, got {scores.shape[1]}; "
            "combine them by EnsembleScorer, or use 'linear' or 'softmax'."
        )
    if len(scores.shape) not in (1, 2) or 0 in scores.shape:
        raise ValueError(
            "scores has to be of shape (n_samples,) or (n_samples, n_scores) and not "
            f"empty, got {tuple(scores.shape)}."
        )
    xp = array_namespace(scores)
    if xp.isdtype(scores.dtype, ("bool", "integral")):
        return
    if not xp.isdtype(scores.dtype, "real floating"):
        raise ValueError(f"scores have to be real numbers, got dtype {scores.dtype}.")
    if bool(xp.any(xp.isnan(scores))):
        raise ValueError("scores has NaN.")
    if rule.policy in SAMPLING and not bool(xp.all(xp.isfinite(scores))):
        raise ValueError(
            f"policy={rule.policy!r} needs finite scores, got infinite ones (of rows "
            "that were never learnt: use never_learned='max')."
        )


def _ascending(scores, rule, rng):
    """Return the rows in ascending order of the scores, equal ones at random."""
    shuffled = rng.permutation(scores.shape[0])
    if len(scores.shape) == 2:  # sampled: only the weights count
        return shuffled
    xp = array_namespace(scores)
    if is_numpy_array(scores):
        return shuffled[np.argsort(scores[shuffled], kind="stable")]
    taken = xp.take(scores, like(shuffled, scores), axis=0)
    return shuffled[to_numpy(xp.argsort(taken, stable=True))]


def _preference(scores, ascending, noise, k, rule):
    """Return rows from the most to the least wanted one.

    ``ascending`` are the rows by score; ``noise`` holds uniform numbers by row.
    """
    if rule.policy == "hardest":
        return ascending[::-1]
    if rule.policy == "easiest":
        return ascending
    if rule.policy == "window":
        start = _window_start(rule.offset, rule.keep, k, len(ascending))
        distance = np.abs(np.arange(len(ascending)) - (start + (k - 1) / 2))
        return ascending[np.argsort(distance, kind="stable")]
    if rule.policy in SAMPLING:
        with np.errstate(divide="ignore"):
            log_weights = np.log(average_weights(to_numpy(scores), rule))
        gumbel = -np.log(-np.log(noise + np.finfo(float).tiny))
        return np.argsort(-(log_weights + gumbel), kind="stable")
    by_chance = np.argsort(noise, kind="stable")
    if rule.policy != "mixed":
        return by_chance
    n_hard = int(np.floor(rule.mix * k + 0.5))
    hardest = ascending[::-1][:n_hard]
    others = np.ones(len(noise), dtype=bool)
    others[np.searchsorted(np.sort(ascending), hardest)] = False
    return np.concatenate([hardest, by_chance[others[by_chance]]])


def _window_start(offset, keep, k, n_samples):
    """Return where the window begins, moved back if it reaches over the end."""
    offset = 0 if offset is None else offset
    if isinstance(offset, Integral):
        start, over = int(offset), offset + k > n_samples
    else:
        start = int(np.floor(offset * n_samples + 0.5))
        over = start + k > n_samples + 1  # one row by rounding of two shares
    if over:
        warnings.warn(
            f"offset={offset!r} and keep={keep!r} reach over the end of the "
            f"{n_samples} rows by {start + k - n_samples}: the {k} hardest are kept.",
            DataConditionWarning,
            stacklevel=2,
        )
    return min(start, n_samples - k)


def _quotas(sizes, k, rule):
    """Return how many rows of each class are kept: its share, by largest remainders."""
    exact = sizes * (k / sizes.sum())
    quotas = np.floor(exact).astype(np.int64)
    most = np.argsort(quotas - exact, kind="stable")
    quotas[most[: k - quotas.sum()]] += 1
    least = np.minimum(rule.min_per_class, sizes)
    while quotas.sum() > 0 and (quotas < least).any():
        spare = quotas - least
        if spare.max() <= 0:
            _warn_of_reserve(k, least.sum())
            return np.maximum(quotas, least)
        quotas[np.argmax(least - quotas)] += 1
        quotas[np.argmax(spare)] -= 1
    return quotas


def _take_with_reserve(order, codes, k, rule):
    """Return the mask of the first k rows, but so many of each class."""
    mask = np.zeros(len(order), dtype=bool)
    sizes = np.bincount(codes)
    least = np.minimum(rule.min_per_class, sizes)
    short = np.bincount(codes[order[:k]], minlength=len(sizes)) < least
    if not short.any():
        mask[order[:k]] = True
        return mask
    reserved = np.zeros(len(order), dtype=bool)
    for code in range(len(sizes)):
        reserved[order[codes[order] == code][: least[code]]] = True
    if reserved.sum() > k:
        _warn_of_reserve(k, reserved.sum())
    mask |= reserved
    others = order[~reserved[order]]
    mask[others[: max(0, k - reserved.sum())]] = True
    return mask


def _warn_of_reserve(k, least):
    warnings.warn(
        f"keep asks for {k} rows, but min_per_class for {least}: {least} are kept.",
        DataConditionWarning,
        stacklevel=2,
    )


# ------------------------------------------------------------------------ the weights


def average_weights(scores, rule):
    """Return weights of sampling, mean over the columns of the scores; they sum to 1.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,) or (n_samples, n_scores)
        Finite scores.
    rule : Rule
        With the policy and eps.

    Returns
    -------
    ndarray of shape (n_samples,)
        The weights.
    """
    columns = scores.reshape(len(scores), -1).T
    return np.mean(
        [sampling_weights(c, kind=rule.policy, eps=rule.eps) for c in columns], axis=0
    )


def inclusion_probabilities(weights, k):
    """Return how probable each row is among k that are drawn one after another.

    Parameters
    ----------
    weights : ndarray of shape (n_samples,)
        Positive weights.
    k : int
        Number of draws without replacement.

    Returns
    -------
    ndarray of shape (n_samples,)
        Probabilities that sum to k, accurate for many rows.
    """
    n = len(weights)
    if k >= n:
        return np.ones(n)
    rates = weights / weights.max()

    def excess(log_t):
        return -np.expm1(-rates * np.exp(log_t)).sum() - k

    low, high = np.log(k / n) - 1, np.log(n / rates.min()) + 5
    return -np.expm1(-rates * np.exp(brentq(excess, low, high)))


def inverse_weights(scores, codes, rule, mask):
    """Return weights of the kept rows that undo the sampling; their mean is 1.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        Scores.
    codes : int ndarray of shape (n_samples,)
        Codes of the classes.
    rule : Rule
        What the rows were drawn by.
    mask : bool ndarray of shape (n_samples,)
        The kept rows.

    Returns
    -------
    ndarray of shape (n_kept,)
        Inverse probabilities of being kept, at most 20 times their mean.
    """
    if rule.policy not in (*SAMPLING, "random", "stratified"):
        raise ValueError(
            f"policy={rule.policy!r} does not draw rows by chance: inverse weights are "
            "for 'linear', 'softmax', 'random' and 'stratified'."
        )
    probability = np.ones(len(codes))
    parts = codes if rule.by_class else np.zeros_like(codes)
    for part in np.unique(parts[mask]):
        rows = np.flatnonzero(parts == part)
        weights = np.full(len(rows), 1 / len(rows))
        if rule.policy in SAMPLING:
            weights = average_weights(scores[rows], rule)
        weights = np.maximum(weights, 1e-12 * weights.max())
        probability[rows] = inclusion_probabilities(weights, mask[rows].sum())
    weights = 1 / probability[mask]
    weights /= weights.mean()
    weights = np.minimum(weights, MAX_INVERSE)
    return weights / weights.mean()
