# SPDX-License-Identifier: BSD-3-Clause
"""The one door to scikit-learn's private names.

Everything that the package takes from a module of scikit-learn whose name begins with
an underscore passes through here, so that a new release breaks one file.
"""

from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
    validate_params,
)
from sklearn.utils.validation import _get_feature_names as get_feature_names

__all__ = [
    "HasMethods",
    "Interval",
    "Options",
    "StrOptions",
    "fit_context",
    "get_feature_names",
    "validate_params",
]
