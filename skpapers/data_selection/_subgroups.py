# SPDX-License-Identifier: BSD-3-Clause
"""What a choice of rows leaves of classes and other groups."""

import warnings

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_consistent_length

from skpapers.utils import DataConditionWarning
from skpapers.utils._array_api import to_numpy

MAX_LOSS_RATIO = 2.0  # of a group to the average, above which we warn
MIN_DEVIATIONS = 3.0  # of what chance does to a group, below which we do not


def subgroup_report(support, groups):
    """Report what a choice of rows leaves of each group.

    Parameters
    ----------
    support : array-like of bool, shape (n_samples,)
        True for the kept rows.
    groups : array-like of shape (n_samples,)
        Group of each row: its class, or any column with few values.

    Returns
    -------
    dict of str to ndarray
        Columns with an entry for each group, in sorted order: "group", its "n_samples",
        "n_kept", "share_kept" = n_kept / n_samples, "share_before" and "share_after" of
        the group among all rows, and "loss_ratio", its lost share in units of that of
        all rows (1 where nothing is lost). ``pandas.DataFrame(report)`` is a table.

    Raises
    ------
    ValueError
        If the lengths differ, or if ``support`` is not boolean.

    See Also
    --------
    select_samples : Warns where a class loses more than twice the average.

    Notes
    -----
    Time O(n log n).

    Examples
    --------
    >>> import numpy as np
    >>> from skpapers.data_selection import subgroup_report
    >>> support = np.array([True, True, True, False, False, True])
    >>> report = subgroup_report(support, ["a", "a", "a", "b", "b", "b"])
    >>> report["share_kept"].round(2)
    array([1.  , 0.33])
    >>> report["loss_ratio"]
    array([0., 2.])
    """
    support = column_or_1d(to_numpy(support) if hasattr(support, "shape") else support)
    groups = column_or_1d(groups)
    if support.dtype != bool:
        raise ValueError(f"support has to be boolean, got dtype {support.dtype}.")
    check_consistent_length(support, groups)
    names, codes = np.unique(groups, return_inverse=True)
    before = np.bincount(codes)
    after = np.bincount(codes[support], minlength=len(before))
    lost = 1 - support.mean()
    return {
        "group": names,
        "n_samples": before,
        "n_kept": after,
        "share_kept": after / before,
        "share_before": before / before.sum(),
        "share_after": after / max(1, after.sum()),
        "loss_ratio": (
            (1 - after / before) / lost if lost > 0 else np.ones(len(before))
        ),
    }


def warn_of_losses(mask, codes, labels, what, stacklevel=3):
    """Warn of groups that vanish or lose far more than the average.

    Parameters
    ----------
    mask : bool ndarray of shape (n_samples,)
        The kept rows.
    codes : int ndarray of shape (n_samples,)
        Codes of the groups.
    labels : ndarray of shape (n_groups,)
        Their names.
    what : str
        What a group is called.
    stacklevel : int, default=3
        As of `warnings.warn`.
    """
    report = subgroup_report(mask, codes)
    kept, n = report["n_kept"], report["n_samples"]
    share = mask.mean()
    deviation = np.sqrt(n * share * (1 - share))
    # below half of the rows no group can lose twice the average: then by what is kept
    much = (report["loss_ratio"] > MAX_LOSS_RATIO) | (kept * MAX_LOSS_RATIO < n * share)
    much &= n * share - kept > MIN_DEVIATIONS * deviation
    gone = kept == 0
    for which, text in ((gone, "vanish"), (much & ~gone, "lose far more rows")):
        if which.any():
            named = ", ".join(
                f"{label} (keeps {a} of {b})"
                for label, a, b in zip(
                    labels[which][:10], kept[which], n[which], strict=False
                )
            )
            than = "" if text == "vanish" else f" than the average ({1 - share:.0%})"
            warnings.warn(
                f"Of the {what} values {which.sum()} {text}{than}: {named}. by='class' "
                "keeps the shares of the classes, min_per_class a number of rows.",
                DataConditionWarning,
                stacklevel=stacklevel,
            )
