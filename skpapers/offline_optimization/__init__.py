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
        from importlib import import_module

        from skpapers.utils._deep import engine_module

        engine_module(name)  # or it says what to install
        return getattr(import_module(f"{__name__}.{_ON_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
