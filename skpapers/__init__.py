# SPDX-License-Identifier: BSD-3-Clause
"""Recent research methods as scikit-learn estimators.

The families are loaded when they are first touched, so that ``import skpapers`` costs
nothing: ``skpapers.causal``, ``skpapers.data_selection``, ``skpapers.datasets``,
``skpapers.linear_model``, ``skpapers.metrics``, ``skpapers.offline_optimization``,
``skpapers.optim``, ``skpapers.policy``, ``skpapers.solvers``, ``skpapers.utils``.
"""

from importlib import import_module

__version__ = "0.1.0.dev0"

_SUBPACKAGES = (
    "causal",
    "data_selection",
    "datasets",
    "linear_model",
    "metrics",
    "offline_optimization",
    "optim",
    "policy",
    "solvers",
    "utils",
)

__all__ = ["__version__", *_SUBPACKAGES]


def __dir__():
    return list(__all__)


def __getattr__(name):
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
