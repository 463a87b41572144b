# SPDX-License-Identifier: BSD-3-Clause
"""Better designs from a fixed table of past experiments."""

from skpapers.offline_optimization._conservative import ConservativeRegressor
from skpapers.offline_optimization._display import DesignDisplay
from skpapers.offline_optimization._logit_encoder import LogitEncoder
from skpapers.offline_optimization._optimizer import OfflineOptimizer
from skpapers.offline_optimization._regressor import SharpnessRegularizedRegressor
from skpapers.offline_optimization._tuning import (
    QuantileShiftSplit,
    spearman_scorer,
    top_k_mean_scorer,
)

__all__ = [
    "ConservativeRegressor",
    "DesignDisplay",
    "LogitEncoder",
    "OfflineOptimizer",
    "QuantileShiftSplit",
    "SharpnessRegularizedRegressor",
    "spearman_scorer",
    "top_k_mean_scorer",
]

_ON_TORCH = {  # loaded when they are touched, since they import torch
    "SharpnessMixin": "_sharp_net",
    "SharpnessRegularizedNet": "_sharp_net",
    "sharpness_gradient": "_sharpness",
}


def __getattr__(name):
    if name in _ON_TORCH:
        from skpapers.utils._optional import import_optional

        module = f"{__name__}.{_ON_TORCH[name]}"
        import_optional("skorch", extra="torch", needed_by=name)
        return getattr(import_optional(module, extra="torch", needed_by=name), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
