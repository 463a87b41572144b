# SPDX-License-Identifier: BSD-3-Clause
"""The warning class that is ours; for non-convergence scikit-learn's own serves."""


class DataConditionWarning(UserWarning):
    """The data are usable, but a property of theirs weakens the result.

    Raised for fewer rows than columns, for constant or linearly dependent columns, and
    the like. The message names the property, what was done about it and the remedy.

    Examples
    --------
    >>> import warnings
    >>> from skpapers.utils import DataConditionWarning
    >>> warnings.simplefilter("error", DataConditionWarning)  # be strict
    >>> warnings.simplefilter("default", DataConditionWarning)
    """
