# SPDX-License-Identifier: BSD-3-Clause
"""The one door to scikit-learn's private names.

Everything that the package takes from a module of scikit-learn whose name begins with
an underscore passes through here, so that a new release breaks one file.
"""

from array_api_compat import array_namespace
from sklearn.base import _fit_context as fit_context
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
    validate_params,
)
from sklearn.utils.metaestimators import _BaseComposition as BaseComposition
from sklearn.utils.validation import _check_sample_weight
from sklearn.utils.validation import _get_feature_names as get_feature_names

__all__ = [
    "BaseComposition",
    "HasMethods",
    "Interval",
    "LinearClassifierMixin",
    "Options",
    "StrOptions",
    "check_sample_weight",
    "fit_context",
    "get_feature_names",
    "safe_indexing",
    "validate_params",
]


def check_sample_weight(sample_weight, X):
    """Return weights of the dtype and library of X, non-negative and not all zero."""
    weight = _check_sample_weight(
        sample_weight, X, dtype=X.dtype, ensure_non_negative=True
    )
    if not array_namespace(weight).any(weight > 0):
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weight
