# SPDX-License-Identifier: BSD-3-Clause
"""Optimizers with the calling convention of torch.

torch is imported when an optimizer is made, not with this package. ``SurrogateNet``, a
net of skorch that trains with `TargetSurrogateOptimizer`, is loaded when it is touched.
"""

from skpapers.optim._target_surrogate import TargetSurrogateOptimizer

__all__ = ["TargetSurrogateOptimizer"]


def __getattr__(name):
    if name == "SurrogateNet":
        from skpapers.utils._optional import import_optional

        import_optional("skorch", extra="torch", needed_by="SurrogateNet")
        from skpapers.optim._surrogate_net import SurrogateNet

        return SurrogateNet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
